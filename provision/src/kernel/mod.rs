//! The guest's kernel: a file the user names, or Debian's cloud kernel, fetched once and kept.

mod apt;
mod cache;
mod image;

use std::path::{Path, PathBuf};

pub use apt::FetchError;
pub(crate) use image::inspect;
pub use image::{ImageError, KernelImage};

use crate::interrupt::Interrupts;

/// The Debian package that depends on the current cloud kernel.
pub const PACKAGE: &str = "linux-image-cloud-amd64";

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The file the user named is unusable.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It could not be fetched.
    #[error("{0}; or name a kernel with --kernel FILE")]
    Fetch(#[from] FetchError),
}

/// The newest usable kernel in the cache, if there is any.
pub fn cached(cache_root: &Path) -> Option<KernelImage> {
    cache::newest(&kernels(cache_root))
}

fn kernels(cache_root: &Path) -> PathBuf {
    cache_root.join("kernels")
}

/// Finds the kernel: `chosen` when given, else the newest in the cache, else fetched into it. `announce` is told
/// before anything that takes long.
///
/// # Errors
/// [`KernelError`].
pub fn obtain(
    chosen: Option<&Path>,
    cache_root: impl FnOnce() -> Result<PathBuf, crate::paths::NoRoot>,
    interrupts: &Interrupts,
    announce: &mut dyn FnMut(&str),
) -> Result<KernelImage, crate::Error> {
    if let Some(path) = chosen {
        return Ok(inspect(path).map_err(KernelError::from)?);
    }
    let directory = kernels(&cache_root()?);
    if let Some(image) = cache::newest(&directory) {
        return Ok(image);
    }
    announce(&format!("fetching Debian's {PACKAGE} into {} (once)", directory.display()));
    match apt::fetch(&directory, interrupts) {
        Ok(image) => Ok(image),
        Err(FetchError::Interrupted(interrupted)) => Err(interrupted.into()),
        Err(e) => Err(KernelError::from(e).into()),
    }
}
