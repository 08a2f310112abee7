//! The server's socket: private from its first moment, never another living server's, and removed when the server ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use ivshmem_proto::server_client::SOCKET_PATH_BYTES_MAX;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{Mode, umask};

use super::DoorbellError;

/// Connections that wait to be accepted; one more waits in its own connect(2).
const BACKLOG: i32 = 128;

/// A socket that is listened on. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Listens on `path`. The socket of a server that is dead is replaced.
    pub(super) fn bind(path: &Path) -> Result<Self, DoorbellError> {
        let length = path.as_os_str().as_bytes().len();
        if length > SOCKET_PATH_BYTES_MAX {
            return Err(DoorbellError::PathTooLong { path: path.to_owned(), length });
        }
        let io = |action| move |source| DoorbellError::Io { action, path: path.to_owned(), source };
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Between the look at a dead server's socket and the end of its replacement, nobody else may do the same.
        let turn = File::open(directory).map_err(io("open the directory of"))?;
        let _turn = Flock::lock(turn, FlockArg::LockExclusive)
            .map_err(|(_, errno)| io("lock the directory of")(errno.into()))?;
        remove_dead(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(|errno| io("make a socket for")(errno.into()))?;
        let address = UnixAddr::new(path).map_err(|errno| io("name")(errno.into()))?;
        // Never readable by others, not even between two system calls.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = bind(fd.as_raw_fd(), &address);
        umask(before);
        bound.map_err(|errno| io("listen on")(errno.into()))?;
        let listener = UnixListener::from(fd);
        let inode = std::fs::symlink_metadata(path).map_err(io("inspect"))?.ino();
        let bound = Self { listener, path: path.to_owned(), inode };
        let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXALLOWABLE);
        listen(&bound.listener, backlog).map_err(|errno| io("listen on")(errno.into()))?;
        Ok(bound)
    }

    /// The next connection; `WouldBlock` when there is none.
    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept()?.0)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Only the very socket that was made: someone may have put another in its place.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_dead(path: &Path) -> Result<(), DoorbellError> {
    let io = |action| move |source| DoorbellError::Io { action, path: path.to_owned(), source };
    let kind = match std::fs::symlink_metadata(path) {
        Ok(file) => file.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io("inspect")(e)),
    };
    if !kind.is_socket() {
        return Err(DoorbellError::NoSocket { path: path.to_owned() });
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| io("make a socket for")(errno.into()))?;
    let address = UnixAddr::new(path).map_err(|errno| io("name")(errno.into()))?;
    match connect(probe.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path).map_err(io("remove the dead socket")),
        Err(Errno::ENOENT) => Ok(()),
        // A server that does not come to accepting (EAGAIN) lives, too.
        Ok(()) | Err(Errno::EAGAIN) => Err(DoorbellError::Taken { path: path.to_owned() }),
        Err(errno) => Err(io("connect to")(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_socket_is_private_and_goes_with_its_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bell.sock");
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let taken = Listener::bind(&path).unwrap_err().to_string();
        assert!(taken.contains("is taken by a server that runs"), "{taken}");
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_servers_socket_is_replaced_and_anything_else_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bell.sock");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&path).unwrap();
        // Someone else's in its place is spared.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "something of value").unwrap();
        drop(listener);
        let refused = Listener::bind(&path).unwrap_err();
        assert!(matches!(refused, DoorbellError::NoSocket { .. }), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"something of value");
        let long = directory.path().join("l".repeat(120));
        assert!(matches!(Listener::bind(&long), Err(DoorbellError::PathTooLong { .. })));
        let nowhere = Listener::bind(&directory.path().join("no/bell.sock")).unwrap_err();
        assert!(matches!(nowhere, DoorbellError::Io { .. }), "{nowhere}");
    }
}
