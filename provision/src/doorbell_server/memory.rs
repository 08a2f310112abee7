//! What all peers map: a region file, or memory without a name.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use ivshmem_proto::region_file::{self, Ensured, RegionFileError};
use serde::{Deserialize, Serialize};

use crate::claim::remove_region;

/// The word for memory without a file. A file of that name is `./memfd`.
pub const MEMFD: &str = "memfd";

/// Which memory is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shm {
    /// A file, which others can map by its name.
    File(PathBuf),
    /// Memory that only peers get, sealed against any change of its size.
    Memfd,
}

impl FromStr for Shm {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == MEMFD { Self::Memfd } else { Self::File(text.into()) })
    }
}

impl fmt::Display for Shm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Memfd => f.write_str(MEMFD),
        }
    }
}

/// The kind of memory, as records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryKind {
    /// A file.
    File,
    /// Without one.
    Memfd,
}

/// The memory, open. Dropping it removes a file that it made.
#[derive(Debug)]
pub(super) struct Memory {
    fd: Rc<OwnedFd>,
    made: Option<(PathBuf, u64)>,
}

impl Memory {
    pub(super) fn open(shm: &Shm, bytes: u64) -> Result<Self, RegionFileError> {
        let Shm::File(path) = shm else {
            return Ok(Self { fd: Rc::new(region_file::memfd(bytes)?.into()), made: None });
        };
        let ensured = region_file::ensure(path, bytes)?;
        let file = region_file::open_existing(path)?;
        let made = match (ensured, file.metadata()) {
            (Ensured::Created, Ok(meta)) => Some((path.clone(), meta.ino())),
            _ => None,
        };
        Ok(Self { fd: Rc::new(file.into()), made })
    }

    pub(super) fn fd(&self) -> &Rc<OwnedFd> {
        &self.fd
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some((path, inode)) = &self.made {
            remove_region(path, *inode);
        }
    }
}

/// Whether a region's path stands for memory without a file: a file's is absolute by then.
pub fn is_memfd(path: &Path) -> bool {
    path.as_os_str() == MEMFD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_there_stays_and_one_that_was_made_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("region");
        let shm = Shm::File(path.clone());
        let made = Memory::open(&shm, 1 << 20).unwrap();
        drop(Memory::open(&shm, 1 << 20).unwrap());
        assert!(path.exists());
        drop(made);
        assert!(!path.exists());
        assert!(Memory::open(&shm, 3).is_err());
    }

    #[test]
    fn a_file_named_memfd_needs_a_directory() {
        assert_eq!("memfd".parse(), Ok(Shm::Memfd));
        assert_eq!("./memfd".parse(), Ok(Shm::File("./memfd".into())));
        assert!(is_memfd(Path::new("memfd")) && !is_memfd(Path::new("/memfd")));
    }
}
