//! The guest's kernel driver `ivshmem_uio`, built here for the guest's kernel: its source is part of this program,
//! headers come from Debian's archive and are installed nowhere, and what was built is kept as
//! `<cache>/drivers/<kernel release>-<digest of the source>/ivshmem_uio.ko`.

mod error;
mod headers;
mod make;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache::{adopt, staging};
use crate::hex::hex;
use crate::interrupt::Interrupts;
use crate::kernel::{self, KernelImage, KernelModule};
use crate::progress::Progress;
pub use error::DriverError;

/// The driver's name, of the module as of the PCI driver.
pub const NAME: &str = "ivshmem_uio";
/// The file that is built.
pub const FILE: &str = "ivshmem_uio.ko";

/// The source, which says itself what it is for.
const SOURCE: [(&str, &str); 2] = [
    ("ivshmem_uio.c", include_str!("../../../guest-reader/ivshmem_uio/ivshmem_uio.c")),
    ("Kbuild", include_str!("../../../guest-reader/ivshmem_uio/Kbuild")),
];

/// The driver built for the kernel `release`, from the cache when it was built before.
///
/// # Errors
/// [`DriverError`].
pub fn obtain(
    release: &str,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<PathBuf, DriverError> {
    check_release(release)?;
    let drivers = cache_root.join("drivers");
    let home = drivers.join(format!("{release}-{}", source_digest()));
    let built = home.join(FILE);
    if built.is_file() {
        return Ok(built);
    }
    make::check_programs()?;
    let headers = headers::obtain(release, cache_root, interrupts, progress)?;
    let task = progress.task(&format!("building {NAME} for kernel {release}"));
    let io = DriverError::io(&drivers);
    let staging = staging(&drivers).map_err(&io)?;
    let workplace = staging.path().join("source");
    fs::create_dir(&workplace).map_err(&io)?;
    for (name, text) in SOURCE {
        fs::write(workplace.join(name), text).map_err(&io)?;
    }
    let warnings = make::build(&headers, &workplace, &drivers.join("build.log"), interrupts)?;
    for line in warnings {
        progress.note(&line);
    }
    let staged = staging.path().join("driver");
    fs::create_dir(&staged).map_err(&io)?;
    fs::rename(workplace.join(FILE), staged.join(FILE)).map_err(&io)?;
    adopt(&staged, &home).map_err(&io)?;
    let seconds = task.elapsed().as_secs_f64();
    task.done(&format!("built {NAME} for kernel {release} in {seconds:.0} s"));
    Ok(built)
}

/// All modules that a micro guest may need for interrupts, in loading order: the driver's, and where there is an IOMMU,
/// VFIO's.
///
/// # Errors
/// [`crate::Error`]: the kernel is one of the user's, or something is not to be had.
pub fn micro_guest_modules(
    kernel: &KernelImage,
    viommu: bool,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<Vec<KernelModule>, crate::Error> {
    let stock = |wanted: &[&str]| {
        kernel::stock_modules(kernel, wanted, cache_root, interrupts, &mut |text| progress.note(text))
    };
    let mut modules = stock(&["uio"])?;
    // A kernel without a release has no modules either, and has just been refused.
    let release = kernel.release.as_deref().unwrap_or_default();
    let path = obtain(release, cache_root, interrupts, progress)?;
    let image = fs::read(&path).map_err(DriverError::io(&path))?;
    modules.push(KernelModule { name: NAME.to_owned(), image });
    if viommu {
        modules.extend(stock(&["vfio_iommu_type1", "vfio-pci"])?);
    }
    Ok(modules)
}

/// Whether a kernel calls itself so: the release becomes part of file and package names.
///
/// # Errors
/// [`DriverError::BadRelease`].
pub fn check_release(release: &str) -> Result<(), DriverError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    if release.starts_with(|c: char| c.is_ascii_digit()) && release.chars().all(fits) {
        return Ok(());
    }
    Err(DriverError::BadRelease { release: release.to_owned() })
}

/// What tells one source from another.
fn source_digest() -> String {
    let mut digest = Sha256::new();
    for (name, text) in SOURCE {
        digest.update(format!("{name} {}\n{text}", text.len()));
    }
    hex(&digest.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_what_uname_prints() {
        for good in ["6.1.0-56-cloud-amd64", "6.12.95+deb12-cloud-amd64", "6.1.0-0.deb11.5~x"] {
            assert!(check_release(good).is_ok(), "{good}");
        }
        for bad in ["", "../6.1", "6.1/..", "6.1 x", "-6.1", "linux"] {
            assert!(matches!(check_release(bad), Err(DriverError::BadRelease { .. })), "{bad:?}");
        }
    }

    #[test]
    fn one_that_was_built_is_not_built_again() {
        let cache = tempfile::tempdir().unwrap();
        let home = cache.path().join(format!("drivers/6.1.0-1-{}", source_digest()));
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join(FILE), "built").unwrap();
        let interrupts = Interrupts::catch().unwrap();
        let found = obtain("6.1.0-1", cache.path(), &interrupts, Progress { quiet: true }).unwrap();
        assert_eq!(found, home.join(FILE));
    }
}
