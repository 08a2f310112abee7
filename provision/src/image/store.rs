//! Images kept: `<cache>/images/<origin>-<digest>/` with `disk.qcow2`, `image.json`, and for those booted by their
//! kernel `vmlinuz` and `initrd.img`. A directory appears there by one rename, whole or not at all. Whoever makes an
//! image of some origin holds that origin's lock meanwhile.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{BaseImage, ImageError, Origin};
use crate::state::Lock;

const SCHEMA: &str = "ivshmem-image/1";
const RECORD: &str = "image.json";
pub(super) const DISK: &str = "disk.qcow2";
pub(super) const KERNEL: &str = "vmlinuz";
pub(super) const INITRD: &str = "initrd.img";
const STAGING_PREFIX: &str = ".new-";

/// How a cached image was made, by which later wishes find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Made {
    /// Downloaded.
    Official {
        /// From below this URL.
        image_url: String,
        /// The release asked for.
        release: String,
        /// The digest its checksum file gave.
        sha512: String,
    },
    /// Built.
    Mirror {
        /// From this mirror; none for the machine's own.
        mirror: Option<String>,
        /// With compilers and kernel headers.
        dev_tools: bool,
        /// The digest of packages and scripts.
        recipe: String,
    },
}

/// What lies in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    schema: String,
    /// The image.
    pub image: BaseImage,
    /// How it was made.
    pub made: Made,
    /// When.
    pub made_utc: String,
}

impl Stored {
    pub(super) fn new(image: BaseImage, made: Made) -> Self {
        let made_utc = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Self { schema: SCHEMA.to_owned(), image, made, made_utc }
    }
}

/// Where images are.
pub(super) fn directory(cache_root: &Path) -> PathBuf {
    cache_root.join("images")
}

/// The lock of those who make images of `origin`.
pub(super) fn lock_file(cache_root: &Path, origin: Origin) -> PathBuf {
    directory(cache_root).join(format!(".{}.lock", origin.as_str()))
}

/// Keeps everyone from making images of `origin` until it is dropped; `None` while someone does, or when there is
/// nothing to lock because no image was ever made.
pub fn lock(cache_root: &Path, origin: Origin) -> Option<Lock> {
    Lock::acquire(&lock_file(cache_root, origin)).ok()
}

/// All whole images in the cache, with their directories. What cannot be read is passed over.
pub fn stored(cache_root: &Path) -> Vec<(PathBuf, Stored)> {
    let Ok(entries) = fs::read_dir(directory(cache_root)) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<_> = paths.filter_map(|path| read(&path).map(|stored| (path, stored))).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// The image in `directory`. Its paths are where it lies now, wherever the cache was when it was made.
fn read(directory: &Path) -> Option<Stored> {
    if directory.file_name()?.to_str()?.starts_with('.') {
        return None;
    }
    let mut stored: Stored = serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()?;
    stored.image.path = directory.join(DISK);
    let mut whole = stored.image.path.is_file() && stored.schema == SCHEMA;
    if let Some(boot) = &mut stored.image.direct_boot {
        (boot.kernel, boot.initrd) = (directory.join(KERNEL), directory.join(INITRD));
        whole &= boot.kernel.is_file() && boot.initrd.is_file();
    }
    whole.then_some(stored)
}

/// The cached image with this digest.
pub fn find(cache_root: &Path, sha256: &str) -> Option<BaseImage> {
    stored(cache_root).into_iter().map(|(_, stored)| stored.image).find(|image| image.sha256 == sha256)
}

/// A directory to make an image in, removed when dropped. The caller holds the lock of `origin`, so whatever else
/// is being made of that origin was left by someone who died.
pub(super) fn staging(cache_root: &Path, origin: Origin) -> Result<TempDir, ImageError> {
    let directory = directory(cache_root);
    let prefix = format!("{STAGING_PREFIX}{}-", origin.as_str());
    let make = || -> io::Result<TempDir> {
        for entry in fs::read_dir(&directory)?.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let staging = tempfile::Builder::new().prefix(&prefix).tempdir_in(&directory)?;
        fs::set_permissions(staging.path(), Permissions::from_mode(0o755))?;
        Ok(staging)
    };
    make().map_err(ImageError::io("create a directory in", &directory))
}

/// Makes what lies in `staging` a cached image: nothing in it changes any more, and it gets its name.
pub(super) fn adopt(cache_root: &Path, staging: &Path, stored: &Stored) -> Result<BaseImage, ImageError> {
    let directory = directory(cache_root);
    let name = format!("{}-{}", stored.image.origin.as_str(), &stored.image.sha256[..16]);
    let target = directory.join(name);
    let write = || -> io::Result<()> {
        let mut record = File::create(staging.join(RECORD))?;
        serde_json::to_writer_pretty(&mut record, stored)?;
        record.write_all(b"\n")?;
        for entry in fs::read_dir(staging)? {
            let file = File::open(entry?.path())?;
            file.set_permissions(Permissions::from_mode(0o444))?;
            file.sync_all()?;
        }
        match fs::rename(staging, &target) {
            // The very same image was there already, or damaged remains of it.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                if read(&target).is_none() {
                    fs::remove_dir_all(&target)?;
                    fs::rename(staging, &target)?;
                } else {
                    // The record is of the newer wish, which may be worded otherwise.
                    fs::rename(staging.join(RECORD), target.join(RECORD))?;
                }
            }
            other => other?,
        }
        File::open(&directory)?.sync_all()
    };
    write().map_err(ImageError::io("keep the image in", &directory))?;
    read(&target)
        .map(|stored| stored.image)
        .ok_or_else(|| ImageError::io("read", &target)(io::Error::other("the image just made is not there")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::image) fn example(sha256: &str, made_utc: &str, made: Made) -> Stored {
        let image = BaseImage {
            origin: Origin::Mirror,
            path: PathBuf::new(),
            format: "qcow2".into(),
            sha256: sha256.into(),
            virtual_bytes: 20 << 30,
            direct_boot: None,
            grows_in_guest: false,
            what: "an example".into(),
        };
        Stored { made_utc: made_utc.into(), ..Stored::new(image, made) }
    }

    fn put(cache: &Path, sha256: &str) -> BaseImage {
        fs::create_dir_all(directory(cache)).unwrap();
        let staging = staging(cache, Origin::Mirror).unwrap();
        fs::write(staging.path().join(DISK), "disk").unwrap();
        let made = Made::Mirror { mirror: None, dev_tools: false, recipe: "r".into() };
        adopt(cache, staging.path(), &example(sha256, "2026-01-01T00:00:00Z", made)).unwrap()
    }

    #[test]
    fn an_adopted_image_is_found_read_only_and_nothing_else_remains() {
        let cache = tempfile::tempdir().unwrap();
        let digest = "0123456789abcdef0123";
        assert!(find(cache.path(), digest).is_none());
        let image = put(cache.path(), digest);
        assert_eq!(put(cache.path(), digest), image);
        assert_eq!(find(cache.path(), digest), Some(image.clone()));
        assert_eq!(fs::metadata(&image.path).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(image.path.parent().unwrap().file_name().unwrap(), "mirror-0123456789abcdef");
        assert_eq!(fs::read_dir(directory(cache.path())).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_image_is_passed_over_and_replaced() {
        let cache = tempfile::tempdir().unwrap();
        let image = put(cache.path(), "0123456789abcdef0123");
        fs::remove_file(&image.path).unwrap();
        assert!(stored(cache.path()).is_empty());
        assert_eq!(put(cache.path(), "0123456789abcdef0123"), image);
        assert!(image.path.is_file());
    }

    #[test]
    fn a_cache_that_moved_still_knows_its_images() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("a"), "0123456789abcdef0123");
        fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
        let image = find(&root.path().join("b"), "0123456789abcdef0123").unwrap();
        assert!(image.path.starts_with(root.path().join("b")) && image.path.is_file());
    }

    #[test]
    fn what_the_dead_left_is_removed_with_the_next_image() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory(cache.path()).join(".new-mirror-dead")).unwrap();
        fs::create_dir_all(directory(cache.path()).join(".new-official-other")).unwrap();
        put(cache.path(), "0123456789abcdef0123");
        assert!(!directory(cache.path()).join(".new-mirror-dead").exists());
        assert!(directory(cache.path()).join(".new-official-other").exists());
    }
}
