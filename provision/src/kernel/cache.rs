//! Kernels kept: `<cache>/kernels/<package and version>/vmlinuz`. A directory appears there by one rename, whole
//! or not at all; two commands that fetch at once do not disturb each other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use tempfile::TempDir;

use super::image::{self, KernelImage};

const IMAGE: &str = "vmlinuz";
const STAGING_PREFIX: &str = ".fetch-";

/// The kernel cached last, if there is a usable one.
pub(super) fn newest(directory: &Path) -> Option<KernelImage> {
    let mut images: Vec<(SystemTime, PathBuf)> = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let path = entry.path().join(IMAGE);
            let staged = entry.file_name().to_string_lossy().starts_with('.');
            (!staged).then_some((fs::metadata(&path).ok()?.modified().ok()?, path))
        })
        .collect();
    images.sort();
    images.iter().rev().find_map(|(_, path)| image::inspect(path).ok())
}

/// A directory of our own to fetch into, removed when dropped. What fetches that were killed left behind is
/// removed here.
pub(super) fn staging(directory: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)?.filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(STAGING_PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{STAGING_PREFIX}{}-", process::id())).tempdir_in(directory)
}

/// Where a staged kernel is to be written, so that [`adopt`] finds it.
pub(super) fn staged_image(staging: &Path) -> io::Result<PathBuf> {
    let inner = staging.join("kernel");
    fs::create_dir_all(&inner)?;
    Ok(inner.join(IMAGE))
}

/// Makes the staged kernel the cached one of `name`.
pub(super) fn adopt(directory: &Path, staging: &Path, name: &str) -> io::Result<PathBuf> {
    let target = directory.join(name);
    fs::File::open(staged_image(staging)?)?.sync_data()?;
    match fs::rename(staging.join("kernel"), &target) {
        // Another command was quicker with the same package: its copy is as good.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        other => other?,
    }
    Ok(target.join(IMAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::image::tests::bzimage;

    fn stage(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
        let staging = staging(directory).unwrap();
        fs::write(staged_image(staging.path()).unwrap(), content).unwrap();
        adopt(directory, staging.path(), name).unwrap()
    }

    #[test]
    fn an_adopted_kernel_is_found_and_nothing_else_remains() {
        let root = tempfile::tempdir().unwrap();
        assert!(newest(root.path()).is_none());
        let path = stage(root.path(), "linux-image_1", &bzimage("6.1.0-1-cloud"));
        let twice = stage(root.path(), "linux-image_1", &bzimage("6.1.0-1-cloud"));
        assert_eq!(path, twice);
        assert_eq!(newest(root.path()).unwrap().path, path);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_kernel_in_the_cache_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        stage(root.path(), "bad", b"not a kernel");
        assert!(newest(root.path()).is_none());
        let good = stage(root.path(), "good", &bzimage("6.1.0-1-cloud"));
        assert_eq!(newest(root.path()).unwrap().path, good);
    }

    #[test]
    fn staging_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let dead = root.path().join(".fetch-4294967295-x");
        let alive = root.path().join(format!(".fetch-{}-x", process::id()));
        fs::create_dir_all(dead.join("kernel")).unwrap();
        fs::create_dir_all(&alive).unwrap();
        drop(staging(root.path()).unwrap());
        assert!(!dead.exists() && alive.exists());
    }
}
