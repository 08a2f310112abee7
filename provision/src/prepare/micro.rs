//! What a micro guest is made of: a kernel, and an initramfs that holds guest-reader and, where there are interrupts, the
//! modules that bring them.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::claim::Claim;
use crate::config::UpConfig;
use crate::driver;
use crate::guest_binary;
use crate::initramfs;
use crate::interrupt::Interrupts;
use crate::kernel::{self, KernelImage};
use crate::paths::cache_root;
use crate::report::Progress;

/// The files of a micro guest.
#[derive(Debug)]
pub struct MicroParts {
    /// The kernel.
    pub kernel: KernelImage,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The region's inode.
    pub shm_inode: u64,
}

/// Makes the files of a micro guest.
///
/// # Errors
/// [`Error`].
pub fn prepare(
    config: &UpConfig,
    kernel: Option<&Path>,
    claim: &mut Claim,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<MicroParts, Error> {
    let guest = guest_binary::load(config.guest_reader.as_deref())?;
    let is_users = kernel.is_some();
    let kernel = kernel::obtain(kernel, cache_root, interrupts, &mut |text| progress.note(text))?;
    let modules = match config.doorbell_vectors {
        None => Vec::new(),
        Some(_) if is_users => {
            progress.note(
                "the kernel is yours, and no modules of it are here: the guest can ring but not be rung",
            );
            Vec::new()
        }
        Some(_) => driver::micro_guest_modules(&kernel, config.viommu, &cache_root()?, interrupts, progress)?,
    };
    let initramfs = claim.directory().initramfs();
    initramfs::write(&initramfs, &guest.image, &modules)
        .map_err(|e| Error::io(format!("write {}", initramfs.display()), e))?;
    Ok(MicroParts { kernel, initramfs, shm_inode: super::region(config, claim)? })
}
