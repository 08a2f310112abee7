//! The file behind the region: created 0600 and fully allocated, never truncated.
//!
//! QEMU's `memory-backend-file`, `host-writer` and a native `guest-reader` all map the same file. Shrinking a
//! mapped file turns the next access into SIGBUS in *every* process that maps it, so this module only ever
//! creates a file or checks an existing one; it has no way to resize. Memory without a file ([`memfd`]) is sealed, so that
//! nobody it is passed to has one either.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tempfile::NamedTempFile;

use crate::available_memory;
use crate::layout::{REGION_BYTES_MAX, REGION_BYTES_MIN};

/// What [`ensure`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// The file was absent and has been created with every page allocated.
    Created,
    /// A file of exactly the wanted size was there already.
    Existing,
}

/// Why a region file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegionFileError {
    /// The requested size is not one the layout can describe.
    #[error(
        "region size {bytes} is not a power of two between {REGION_BYTES_MIN} and {REGION_BYTES_MAX} bytes; \
         use for example 64M"
    )]
    BadSize {
        /// The size asked for.
        bytes: u64,
    },
    /// The file exists with another size.
    #[error(
        "{path} holds {found} bytes but {wanted} are wanted; stop whatever uses it and remove it, or ask for \
         its size"
    )]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size asked for.
        wanted: u64,
    },
    /// The path names something that cannot back a region.
    #[error("{path} is not a regular file; name a file under /dev/shm")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file system has no room for the whole region.
    #[error("no room for {bytes} bytes at {path}: {error}; free some of /dev/shm or use a smaller region")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The bytes that were to be allocated.
        bytes: u64,
        /// What the kernel said.
        error: io::Error,
    },
    /// Any other refusal of the operating system.
    #[error("{action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Checks that `bytes` is a power of two within the layout's limits.
///
/// # Errors
/// [`RegionFileError::BadSize`] otherwise.
pub fn check_size(bytes: u64) -> Result<(), RegionFileError> {
    if bytes.is_power_of_two() && (REGION_BYTES_MIN..=REGION_BYTES_MAX).contains(&bytes) {
        Ok(())
    } else {
        Err(RegionFileError::BadSize { bytes })
    }
}

/// Makes sure that `path` is a region file of exactly `bytes` bytes, creating it (mode 0600, every page
/// allocated) when absent.
///
/// # Errors
/// A size that is no power of two, a file of another size or type, no room, or no permission. A file that could
/// not be fully allocated is removed again.
pub fn ensure(path: &Path, bytes: u64) -> Result<Ensured, RegionFileError> {
    check_size(bytes)?;
    let io = |action| move |error| RegionFileError::Io { action, path: path.to_owned(), error };
    if path.symlink_metadata().is_err() {
        // Made aside and named when whole: a peer that starts meanwhile sees all of it or nothing. Dropped, and
        // so removed, unless it gets its name.
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::metadata(directory).map_err(io("create"))?;
        let file = NamedTempFile::with_prefix_in(".region.", directory).map_err(io("create"))?;
        allocate(file.as_file(), path, bytes)?;
        match file.persist_noclobber(path) {
            Ok(_) => return Ok(Ensured::Created),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io("create")(e.error)),
        }
    }
    let file = open_existing(path)?;
    let found = file.metadata().map_err(io("inspect"))?.len();
    if found != bytes {
        return Err(RegionFileError::WrongSize { path: path.to_owned(), found, wanted: bytes });
    }
    // An existing sparse file gets its missing pages now, not as SIGBUS in the middle of a run.
    allocate(&file, path, bytes)?;
    Ok(Ensured::Existing)
}

/// Opens an existing region file for reading and writing, following no device or directory by mistake.
///
/// # Errors
/// The path is absent, forbidden or no regular file.
pub fn open_existing(path: &Path) -> Result<File, RegionFileError> {
    let io = |action| move |error| RegionFileError::Io { action, path: path.to_owned(), error };
    let kind = std::fs::metadata(path).map_err(io("open"))?.file_type();
    if kind.is_dir() || kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device()
    {
        return Err(RegionFileError::NotAFile { path: path.to_owned() });
    }
    OpenOptions::new().read(true).write(true).open(path).map_err(io("open"))
}

/// Memory of `bytes` bytes without a file: every page allocated, of a size that is sealed. It lives as long as anyone
/// has it open or mapped.
///
/// # Errors
/// A size that is no power of two, or no room.
pub fn memfd(bytes: u64) -> Result<File, RegionFileError> {
    check_size(bytes)?;
    let path = Path::new("memfd");
    // No file system bounds it: the kernel would allocate until it has to kill someone.
    if let Some(available) = available_memory::now().filter(|available| bytes > *available) {
        let error = io::Error::other(format!("this machine has {available} available"));
        return Err(RegionFileError::NoRoom { path: path.to_owned(), bytes, error });
    }
    let io = |action| {
        move |errno: nix::Error| RegionFileError::Io { action, path: path.to_owned(), error: errno.into() }
    };
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create("ivshmem", flags).map_err(io("create"))?);
    allocate(&file, path, bytes)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(io("seal"))?;
    Ok(file)
}

fn allocate(file: &File, path: &Path, bytes: u64) -> Result<(), RegionFileError> {
    let length = i64::try_from(bytes).map_err(|_| RegionFileError::BadSize { bytes })?;
    // Mode 0 extends and allocates; it never discards data that is there.
    fallocate(file, FallocateFlags::empty(), 0, length).map_err(|errno| RegionFileError::NoRoom {
        path: path.to_owned(),
        bytes,
        error: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn creates_a_private_fully_allocated_file_and_accepts_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("region");
        assert_eq!(ensure(&path, 1 << 20).unwrap(), Ensured::Created);
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), 1 << 20);
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        assert!(meta.blocks() * 512 >= 1 << 20, "sparse: {} blocks", meta.blocks());
        assert_eq!(ensure(&path, 1 << 20).unwrap(), Ensured::Existing);
    }

    #[test]
    fn a_file_of_another_size_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("region");
        for found in [0u64, 4096, 3 << 20] {
            std::fs::write(&path, vec![7u8; found as usize]).unwrap();
            let error = ensure(&path, 1 << 20).unwrap_err();
            assert!(matches!(error, RegionFileError::WrongSize { found: f, .. } if f == found), "{error}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), found);
        }
    }

    #[test]
    fn memory_without_a_file_keeps_its_size() {
        let file = memfd(1 << 20).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), 1 << 20);
        assert!(meta.blocks() * 512 >= 1 << 20, "sparse: {} blocks", meta.blocks());
        for bytes in [0, 4096, 2 << 20] {
            assert_eq!(file.set_len(bytes).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        assert!(matches!(memfd(3 << 20), Err(RegionFileError::BadSize { .. })));
    }

    #[test]
    fn sizes_that_are_no_power_of_two_are_refused() {
        for bytes in [0, 1, 4096, 3 << 20, (64 << 20) + 1, u64::MAX] {
            assert!(check_size(bytes).is_err(), "{bytes}");
        }
        for bytes in [REGION_BYTES_MIN, 1 << 20, 64 << 20, REGION_BYTES_MAX] {
            assert!(check_size(bytes).is_ok(), "{bytes}");
        }
    }

    #[test]
    fn directories_and_devices_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ensure(dir.path(), 1 << 20), Err(RegionFileError::NotAFile { .. })));
        assert!(matches!(ensure(Path::new("/dev/null"), 1 << 20), Err(RegionFileError::NotAFile { .. })));
        assert!(matches!(ensure(Path::new("/no/such/dir/x"), 1 << 20), Err(RegionFileError::Io { .. })));
    }
}
