//! Fetching the cloud kernel: only the kernel image and the modules that a guest may want are unpacked of its
//! package.

use std::io;
use std::path::{Path, PathBuf};

use super::image::{self, ImageError, KernelImage};
use super::{PACKAGE, cache, modules};
use crate::apt::{self, Apt, AptError, Sources};
use crate::cache::staging;
use crate::interrupt::{Interrupted, Interrupts};

/// Why the kernel was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// The package was not had.
    #[error("{package} could not be fetched: {source}")]
    Apt {
        /// The package.
        package: String,
        /// Why.
        source: AptError,
    },
    /// The package held no kernel.
    #[error("the downloaded {PACKAGE} held no usable kernel: {0}")]
    NoKernel(ImageError),
    /// The cache cannot be written.
    #[error("kernel cache {path}: {source}")]
    Cache {
        /// The cache.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl FetchError {
    pub(super) fn apt(package: &str) -> impl Fn(AptError) -> Self {
        move |source| match source {
            AptError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            source => Self::Apt { package: package.to_owned(), source },
        }
    }

    pub(super) fn cache(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Cache { path: path.to_owned(), source }
    }
}

/// Downloads the kernel's package and puts its image and modules into the cache at `directory`.
pub(super) fn fetch(directory: &Path, interrupts: &Interrupts) -> Result<KernelImage, FetchError> {
    let io = FetchError::cache(directory);
    let staging = staging(directory).map_err(&io)?;
    let download = |apt: &Apt<'_>| {
        let current = current_kernel(apt.depends(PACKAGE)?);
        let current = current.ok_or_else(|| AptError::NoCandidate { package: PACKAGE.to_owned() })?;
        apt.download(&current, &staging.path().join("package"))
    };
    let package = apt::with_lists(&staging.path().join("apt"), Sources::Machine, interrupts, download)
        .map_err(FetchError::apt(PACKAGE))?;
    let staged = cache::staged_image(staging.path()).map_err(&io)?;
    let inner = staged.parent().unwrap_or(staging.path());
    // The kernel comes early in the package: tar stops there.
    let kernel =
        ["--occurrence=1", "--wildcards", "--transform=s,.*/vmlinuz-.*,vmlinuz,", "./boot/vmlinuz-*"];
    apt::tar(&package, &kernel, inner, interrupts).map_err(FetchError::apt(PACKAGE))?;
    image::inspect(&staged).map_err(FetchError::NoKernel)?;
    // A kernel boots without them; whoever wants them and finds none is told.
    if let Err(AptError::Interrupted(interrupted)) = modules::unpack(&package, inner, interrupts) {
        return Err(FetchError::Interrupted(interrupted));
    }
    let name = package.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let path = cache::adopt(directory, staging.path(), &name).map_err(&io)?;
    image::inspect(&path).map_err(FetchError::NoKernel)
}

/// The versioned kernel package among what the unversioned one depends on.
fn current_kernel(depends: Vec<String>) -> Option<String> {
    depends
        .into_iter()
        .find(|package| package.starts_with("linux-image-") && package.ends_with("-cloud-amd64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versioned_package_is_the_kernel() {
        let packages = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let found = current_kernel(packages(&["linux-headers-6.1", "linux-image-6.1.0-28-cloud-amd64"]));
        assert_eq!(found.as_deref(), Some("linux-image-6.1.0-28-cloud-amd64"));
        assert_eq!(current_kernel(packages(&["linux-headers-6.1"])), None);
    }
}
