//! The files QEMU is given, made before it starts.

pub mod debian;
pub mod micro;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ivshmem_proto::region_file::{self, Ensured, RegionFileError};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::claim::Claim;
use crate::config::{GuestConfig, UpConfig};
use crate::doorbell_server::is_memfd;
use crate::hex::hex;
use crate::hugepages::{HugePage, HugePageError, Place, Pool};
use crate::interrupt::Interrupts;
use crate::qemu::args::Boot;
use crate::report::Progress;
use crate::start::Guest;
use debian::DebianParts;
use micro::MicroParts;

/// The files of a guest, and what is known about them.
#[derive(Debug)]
pub enum Parts {
    /// A micro guest's, and its kernel's command line.
    Micro(MicroParts, String),
    /// A Debian guest's.
    Debian(Box<DebianParts>),
}

/// Makes the files that QEMU is given.
///
/// # Errors
/// [`Error`].
pub fn prepare(
    config: &UpConfig,
    claim: &mut Claim,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<Parts, Error> {
    Ok(match &config.guest {
        GuestConfig::Micro { kernel, command_line } => {
            let parts = micro::prepare(config, kernel.as_deref(), claim, interrupts, progress)?;
            Parts::Micro(parts, command_line.clone())
        }
        GuestConfig::Debian(debian) => {
            Parts::Debian(Box::new(debian::prepare(config, debian, claim, interrupts, progress)?))
        }
    })
}

impl Parts {
    /// What a start needs of them; `identity` is the private key's file.
    pub fn guest<'a>(&'a self, identity: &'a Path) -> Guest<'a> {
        match self {
            Self::Debian(parts) => parts.guest(identity),
            Self::Micro(parts, append) => {
                Guest::Micro(Boot { kernel: &parts.kernel.path, initrd: &parts.initramfs, append })
            }
        }
    }

    /// The file with the guest's kernel, if it is a file of its own.
    pub fn kernel_path(&self) -> Option<&Path> {
        match self {
            Self::Micro(parts, _) => Some(&parts.kernel.path),
            Self::Debian(parts) => {
                parts.disk.base_image.direct_boot.as_ref().map(|boot| boot.kernel.as_path())
            }
        }
    }

    /// That file, or the image that holds the kernel, and the kernel's release as its header tells.
    pub fn kernel(&self) -> (PathBuf, Option<String>) {
        match self {
            Self::Micro(parts, _) => (parts.kernel.path.clone(), parts.kernel.release.clone()),
            Self::Debian(parts) => {
                let image = &parts.disk.base_image;
                (self.kernel_path().unwrap_or(&image.path).to_owned(), None)
            }
        }
    }

    /// The region's inode.
    pub fn shm_inode(&self) -> u64 {
        match self {
            Self::Micro(parts, _) => parts.shm_inode,
            Self::Debian(parts) => parts.shm_inode,
        }
    }
}

/// SHA-256 of a file, in hexadecimal digits.
pub fn sha256(path: &Path) -> Option<String> {
    Some(hex(&Sha256::digest(std::fs::read(path).ok()?)))
}

/// Makes sure of the region's file, all of it allocated, and returns its inode; 0 for memory without a file, which the
/// doorbell server makes.
fn region(config: &UpConfig, claim: &mut Claim) -> Result<u64, Error> {
    let Place { path, page, mount_at } = &config.region;
    if is_memfd(path) {
        return Ok(0);
    }
    if config.join.is_some() {
        return inode_of(path);
    }
    if let Some(page) = *page {
        if !path.exists() {
            check_pool(page, config.shm_bytes)?;
        }
        if let Some(directory) = mount_at {
            let mounted = claim.directory().mount_hugepages(page);
            mounted.map_err(|error| HugePageError::Mount { path: directory.clone(), page, error })?;
        }
    }
    let ensured = region_file::ensure(path, config.shm_bytes).map_err(|e| match page {
        Some(page) => no_pages(e, *page),
        None => e.into(),
    })?;
    let inode = inode_of(path)?;
    if ensured == Ensured::Created {
        claim.region_created(inode)?;
    }
    Ok(inode)
}

fn inode_of(path: &Path) -> Result<u64, Error> {
    Ok(std::fs::metadata(path).map_err(|e| Error::io(format!("inspect {}", path.display()), e))?.ino())
}

/// A region that cannot fit takes nothing: allocating would empty the pool under others before it failed.
fn check_pool(page: HugePage, bytes: u64) -> Result<(), HugePageError> {
    let needed = bytes.div_ceil(page.bytes());
    match Pool::read(Path::new("/"), page) {
        None => Err(HugePageError::Unsupported { page }),
        Some(pool) if pool.free + pool.on_demand < needed => {
            Err(HugePageError::NotReserved { page, pool, needed })
        }
        Some(_) => Ok(()),
    }
}

/// What it means that a hugetlbfs has no room after all.
fn no_pages(e: RegionFileError, page: HugePage) -> Error {
    let RegionFileError::NoRoom { path, bytes, error } = e else { return e.into() };
    let needed = bytes.div_ceil(page.bytes());
    match Pool::read(Path::new("/"), page) {
        Some(pool) if pool.free < needed => HugePageError::NotReserved { page, pool, needed }.into(),
        pool => {
            let free = pool.map_or(0, |pool| pool.free);
            HugePageError::Limited { path, page, needed, free, error }.into()
        }
    }
}
