//! Kernels kept: `<cache>/kernels/<package and version>/vmlinuz`, with their [`super::modules`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::image::{self, KernelImage};
use crate::cache;

const IMAGE: &str = "vmlinuz";

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
    cache::adopt(&staging.join("kernel"), &target)?;
    Ok(target.join(IMAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::image::tests::bzimage;

    fn stage(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
        let staging = cache::staging(directory).unwrap();
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
}
