//! What is kept about a VM: one directory below the state root, locked while a command works on it.

mod directory;
mod disk;
mod lock;
mod phase;
mod record;
mod starting;
mod survey;

pub use directory::VmDirectory;
pub use disk::{DISK_SCHEMA, DiskRecord, MadeOf, SnapshotRecord, Wanted, args_sha256};
pub use lock::{Lock, LockError};
pub use phase::{Phase, PhasesMs};
pub use record::{
    AcceleratorRecord, KernelRecord, QemuRecord, SCHEMA, SshRecord, Start, VcpuThread, VmDisk, VmRecord,
};
pub use starting::StartingRecord;
pub use survey::{Found, RegionUse, names, regions_in_use, survey, users_of_server};

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ivshmem_proto::server_client::SOCKET_PATH_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why the state of a VM cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refuses.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A record is there but cannot be understood.
    #[error("{path} is not a record this version understands ({source}); remove {} when that VM is gone", .path.parent().unwrap_or(.path).display())]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The control socket would not fit into a socket address.
    #[error(
        "the state directory is too deep for a Unix socket: {path} has {length} bytes, at most \
         {SOCKET_PATH_BYTES_MAX} fit; set IVSHMEM_STATE_DIR to a shorter path"
    )]
    SocketPathTooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
}

impl StateError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Writes a record aside and renames it into place: readers see the old one or the new one, never a half.
fn write_record<T: Serialize>(path: &Path, record: &T) -> Result<(), StateError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, record)?;
        file.write_all(b"\n")?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(StateError::io("write", path))
}

/// Reads a record; `None` when there is none.
fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StateError::Unreadable { path: path.to_owned(), source }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StateError::io("read", path)(e)),
    }
}
