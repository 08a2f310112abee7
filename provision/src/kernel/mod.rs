//! The guest's kernel: a file the user names, or Debian's cloud kernel, fetched once and kept.

mod cache;
mod fetch;
mod image;
mod modules;

use std::path::{Path, PathBuf};

pub use fetch::FetchError;
pub(crate) use image::inspect;
pub use image::{ImageError, KernelImage};
pub use modules::{KernelModule, stock as stock_modules};

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
    /// Its modules could not be fetched.
    #[error("no modules for the guest's kernel: {0}")]
    Modules(FetchError),
    /// Only kernels we fetched have modules.
    #[error(
        "kernel {path} was given with --kernel, and comes without the modules that a driver needs: leave --kernel \
         out, and Debian's own is fetched with them"
    )]
    NoModules {
        /// The kernel.
        path: PathBuf,
    },
    /// It is not among its modules.
    #[error("kernel {release} has no module {name}")]
    NoModule {
        /// The module.
        name: String,
        /// The kernel.
        release: String,
    },
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
    Ok(fetch::fetch(&directory, interrupts).map_err(KernelError::from)?)
}
