//! Joining an ivshmem server as a peer: a process on the host that shares memory and doorbells with guests.
//!
//! [`join`] blocks, until everything is there or a deadline passes; afterwards [`Joined::update`] takes what has come
//! and never blocks. The server is trusted to be one, not to be right: what it sends goes through
//! [`crate::server_wire`], and an answer that makes no sense ends the conversation.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::descriptor_passing::receive;
use crate::peer_table::PeerTable;
use crate::server_wire::{Decoder, Told, WORD_BYTES, WireError};

/// Longest path that fits into `sockaddr_un.sun_path` with its terminating zero (unix(7)).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why there is no server to be had, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nobody listens there.
    #[error("no ivshmem server at {path} ({error}): {}", advice(.error))]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// Something else stands there.
    #[error("{path} is no socket; 'provision status' names the VM's")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The path does not fit into a socket's address.
    #[error(
        "{path} has {length} bytes, and a socket's path at most {SOCKET_PATH_BYTES_MAX}: use a shorter one"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// It takes the connection, or not even that, and then says nothing, or not enough.
    #[error(
        "the server at {path} did not send {missing} within {waited:?}: is it an ivshmem server, and not stopped?"
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What was waited for.
        missing: &'static str,
        /// How long.
        waited: Duration,
    },
    /// It has fewer vectors than are needed.
    #[error(
        "the server at {path} gives each peer {given} vectors, and {wanted} are needed: start it with --vectors {wanted}"
    )]
    Vectors {
        /// The socket.
        path: PathBuf,
        /// How many came.
        given: usize,
        /// How many are needed.
        wanted: u16,
    },
    /// It turned this peer away.
    #[error(
        "the server at {path} closed the connection before all was said: it may have as many peers as it takes; end some, \
         or start it with more --max-peers"
    )]
    TurnedAway {
        /// The socket.
        path: PathBuf,
    },
    /// It is gone, or has disconnected this peer.
    #[error(
        "the server at {path} is gone, or has disconnected this peer: nobody can be told of peers that come and go"
    )]
    Gone {
        /// The socket.
        path: PathBuf,
    },
    /// It speaks another language.
    #[error("the server at {path} does not keep to the protocol: {error}")]
    Wire {
        /// The socket.
        path: PathBuf,
        /// What it did.
        error: WireError,
    },
    /// Descriptors were lost.
    #[error(
        "this process can have no more descriptors: raise its limit ('ulimit -n'), or start the server with fewer vectors"
    )]
    DescriptorsExhausted,
    /// Anything else.
    #[error("{action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Whether something else stands at `path`.
fn is_no_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.file_type().is_socket())
}

/// What to do where nobody listens.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        // The socket is there: nobody has removed it.
        io::ErrorKind::ConnectionRefused => {
            "it has died, and the QEMUs it had cannot rejoin another: end their VMs ('provision down') and start them anew \
             ('provision up --doorbell')"
        }
        _ => "'provision up --doorbell' starts one for a VM, 'provision doorbell-server' one for any",
    }
}

/// A membership, which ends when it is dropped.
#[derive(Debug)]
pub struct Joined {
    /// What all peers map.
    pub memory: OwnedFd,
    /// Who is there. The descriptors are shared with the peer they lead to, which may make them non-blocking or blocking at
    /// any time.
    pub table: PeerTable<OwnedFd>,
    connection: Connection,
}

/// Joins the server at `path`, which gives each peer at least `vectors` vectors.
///
/// # Errors
/// [`ServerError`]: also when the server does not say all of it within `patience`.
pub fn join(path: &Path, vectors: u16, patience: Duration) -> Result<Joined, ServerError> {
    let deadline = Instant::now() + patience;
    let mut connection = Connection::open(path, patience)?;
    let mut own_id = None;
    let memory = loop {
        match connection.next_until(
            deadline,
            patience,
            if own_id.is_none() { "an id" } else { "the memory" },
        )? {
            Told::OwnId(id) => own_id = Some(id),
            Told::Memory(memory) => break memory,
            _ => {}
        }
    };
    // The decoder lets nothing come before the id.
    let own_id = own_id.unwrap_or_default();
    let mut joined = Joined { memory, table: PeerTable::new(own_id), connection };
    // The protocol has no mark at the end of what is said at once. One's own vectors come last of it.
    while joined.table.own.len() < usize::from(vectors.max(1)) {
        let told = match joined.connection.next_until(deadline, patience, "this peer's vectors") {
            Err(ServerError::Silent { path, .. }) if !joined.table.own.is_empty() => {
                return Err(ServerError::Vectors { path, given: joined.table.own.len(), wanted: vectors });
            }
            told => told?,
        };
        joined.apply(told)?;
    }
    joined.update()?;
    Ok(joined)
}

impl Joined {
    /// Takes what the server has said since, without blocking: peers that joined or left. True when there was any.
    ///
    /// # Errors
    /// [`ServerError`]. What was known before stays usable: doorbells do not need the server.
    pub fn update(&mut self) -> Result<bool, ServerError> {
        let mut changed = false;
        while let Some(told) = self.connection.next()? {
            self.apply(told)?;
            changed = true;
        }
        Ok(changed)
    }

    fn apply(&mut self, told: Told<OwnedFd>) -> Result<(), ServerError> {
        self.table.take(told).map_err(|error| self.connection.wire(error))
    }
}

/// Readable when [`Joined::update`] has something to take.
impl AsFd for Joined {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.socket.as_fd()
    }
}

#[derive(Debug)]
struct Connection {
    path: PathBuf,
    socket: OwnedFd,
    decoder: Decoder<OwnedFd>,
    is_set_up: bool,
}

impl Connection {
    fn open(path: &Path, patience: Duration) -> Result<Self, ServerError> {
        let length = path.as_os_str().as_bytes().len();
        if length > SOCKET_PATH_BYTES_MAX {
            return Err(ServerError::PathTooLong { path: path.to_owned(), length });
        }
        let io = |errno: Errno| ServerError::Io {
            action: "connect to",
            path: path.to_owned(),
            error: errno.into(),
        };
        let address = UnixAddr::new(path).map_err(io)?;
        let socket =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(io)?;
        // A server that is stopped, with its queue of connections full, lets connect(2) wait; this bounds it. Zero would
        // mean for ever.
        let bound = patience.clamp(Duration::from_millis(1), Duration::from_secs(1_000_000));
        let microseconds = bound.as_micros().try_into().unwrap_or(i64::MAX);
        setsockopt(&socket, SendTimeout, &TimeVal::microseconds(microseconds)).map_err(io)?;
        loop {
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let (path, missing) = (path.to_owned(), "its version");
                    return Err(ServerError::Silent { path, missing, waited: patience });
                }
                // The kernel says the same of a socket without a listener and of a file that is none (connect(2)).
                Err(Errno::ECONNREFUSED | Errno::ENOTSOCK) if is_no_socket(path) => {
                    return Err(ServerError::NoSocket { path: path.to_owned() });
                }
                Err(errno @ (Errno::ENOENT | Errno::ECONNREFUSED)) => {
                    return Err(ServerError::Absent { path: path.to_owned(), error: errno.into() });
                }
                Err(errno) => return Err(io(errno)),
            }
        }
        Ok(Self { path: path.to_owned(), socket, decoder: Decoder::new(), is_set_up: false })
    }

    /// The next thing said, if it is there already.
    fn next(&mut self) -> Result<Option<Told<OwnedFd>>, ServerError> {
        let mut word = [0; WORD_BYTES];
        loop {
            // No further than this word: a descriptor belongs to the word it arrives with.
            let room = self.decoder.room();
            let mut received = match receive(self.socket.as_fd(), &mut word[..room]) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(self.ended()),
                Err(error) => {
                    return Err(ServerError::Io { action: "read from", path: self.path.clone(), error });
                }
            };
            if received.dropped_descriptors {
                return Err(ServerError::DescriptorsExhausted);
            }
            let descriptor = received.descriptors.pop();
            if !received.descriptors.is_empty() {
                return Err(self.wire(WireError::SeveralDescriptors));
            }
            if received.bytes == 0 {
                return Err(self.ended());
            }
            match self.decoder.take(&word[..received.bytes], descriptor) {
                Ok(None) => {}
                Ok(Some(told)) => {
                    self.is_set_up |= matches!(told, Told::OwnVector(_));
                    return Ok(Some(told));
                }
                Err(error) => return Err(self.wire(error)),
            }
        }
    }

    /// The next thing said, waited for.
    fn next_until(
        &mut self,
        deadline: Instant,
        waited: Duration,
        missing: &'static str,
    ) -> Result<Told<OwnedFd>, ServerError> {
        loop {
            if let Some(told) = self.next()? {
                return Ok(told);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ServerError::Silent { path: self.path.clone(), missing, waited });
            }
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(ServerError::Io {
                        action: "wait for",
                        path: self.path.clone(),
                        error: errno.into(),
                    });
                }
            }
        }
    }

    fn ended(&self) -> ServerError {
        let path = self.path.clone();
        if self.is_set_up { ServerError::Gone { path } } else { ServerError::TurnedAway { path } }
    }

    fn wire(&self, error: WireError) -> ServerError {
        ServerError::Wire { path: self.path.clone(), error }
    }
}

#[cfg(test)]
mod tests;
