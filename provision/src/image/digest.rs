//! Digests of whole files, which take seconds: Ctrl-C counts in between. Those of the user's own files are
//! remembered for as long as the file looks the same.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ImageError;
use crate::hex::hex;
use crate::interrupt::Interrupts;
use crate::progress::Task;

const CHUNK_BYTES: usize = 1 << 20;

/// The digest of the file at `path`, as hexadecimal digits.
pub(super) fn of_file<D: Digest>(
    path: &Path,
    interrupts: &Interrupts,
    task: Option<&Task>,
) -> Result<String, ImageError> {
    let io = || ImageError::io("read", path);
    let mut file = File::open(path).map_err(io())?;
    let mut digest = D::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done = 0;
    loop {
        interrupts.check()?;
        let got = file.read(&mut chunk).map_err(io())?;
        if got == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&chunk[..got]);
        done += got as u64;
        if let Some(task) = task {
            task.at_bytes(done);
        }
    }
}

/// The SHA-256 of some text.
pub(super) fn of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// What tells a file that was not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Looks {
    path: PathBuf,
    bytes: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Looks {
    fn of(path: &Path) -> Result<Self, ImageError> {
        let meta = fs::metadata(path).map_err(ImageError::io("look at", path))?;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Ok(Self {
            path: path.to_owned(),
            bytes: meta.len(),
            inode: meta.ino(),
            modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    looks: Looks,
    sha256: String,
}

/// The SHA-256 of a file of the user's: computed once, and again whenever size, inode, mtime or ctime changed.
pub(super) fn of_users_file(
    path: &Path,
    cache_root: &Path,
    interrupts: &Interrupts,
    task: impl FnOnce() -> Task,
) -> Result<String, ImageError> {
    let looks = Looks::of(path)?;
    let directory = cache_root.join("digests");
    let memory = directory.join(format!("{}.json", of_text(&path.to_string_lossy())));
    let remembered =
        fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice::<Remembered>(&bytes).ok());
    if let Some(known) = remembered.filter(|known| known.looks == looks) {
        return Ok(known.sha256);
    }
    let sha256 = of_file::<Sha256>(path, interrupts, Some(&task()))?;
    // Not remembering only costs time. Whoever reads half a record computes again.
    if let Ok(bytes) = serde_json::to_vec(&Remembered { looks, sha256: sha256.clone() }) {
        let _ = fs::create_dir_all(&directory).and_then(|()| fs::write(&memory, bytes));
    }
    Ok(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use sha2::Sha512;

    #[test]
    fn known_answers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let interrupts = Interrupts::catch().unwrap();
        // FIPS 180-2, appendix B.1 and C.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file::<Sha256>(file.path(), &interrupts, None).unwrap(), sha256);
        assert_eq!(of_text("abc"), sha256);
        assert!(
            of_file::<Sha512>(file.path(), &interrupts, None).unwrap().starts_with("ddaf35a193617abacc41")
        );
    }

    #[test]
    fn a_users_file_is_read_again_only_when_it_looks_different() {
        let cache = tempfile::tempdir().unwrap();
        let path = cache.path().join("disk.raw");
        fs::write(&path, "abc").unwrap();
        let interrupts = Interrupts::catch().unwrap();
        let digest = |read: &mut bool| {
            let task = || {
                *read = true;
                Progress { quiet: true }.task("x")
            };
            of_users_file(&path, cache.path(), &interrupts, task).unwrap()
        };
        let (mut first, mut second, mut third) = (false, false, false);
        let before = digest(&mut first);
        assert_eq!(digest(&mut second), before);
        fs::write(&path, "abd").unwrap();
        assert_ne!(digest(&mut third), before);
        assert_eq!((first, second, third), (true, false, true));
    }
}
