//! One peer of the server: its connection, its doorbells, and what it has still to be told.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ivshmem_proto::descriptor_passing::send;
use ivshmem_proto::server_wire::Message;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, recv};

use super::events::Why;

/// A message on its way to a peer.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    message: Message,
    descriptor: Option<Rc<OwnedFd>>,
}

impl Parcel {
    pub(super) fn bare(message: Message) -> Self {
        Self { message, descriptor: None }
    }

    pub(super) fn with(message: Message, descriptor: &Rc<OwnedFd>) -> Self {
        Self { message, descriptor: Some(Rc::clone(descriptor)) }
    }
}

/// What became of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is sent.
    All,
    /// The peer has to read first.
    Full,
    /// The kernel lets this user have no more descriptors under way (unix(7), ETOOMANYREFS), whoever is to read them.
    /// Nothing tells when that changes.
    TooManyUnderWay,
}

#[derive(Debug)]
pub(super) struct Peer {
    socket: UnixStream,
    id: u16,
    bells: Vec<Rc<OwnedFd>>,
    outbox: VecDeque<Parcel>,
    /// How much of the first message is sent.
    sent_bytes: usize,
    /// Whether nothing more went into its socket, and no word came since that there is room.
    pub(super) is_full: bool,
    /// Whether the event loop tells when there is room.
    pub(super) is_watched_for_room: bool,
}

impl Peer {
    /// One that has heard nothing yet.
    pub(super) fn new(socket: UnixStream, id: u16, vectors: u16) -> io::Result<Self> {
        let bell = |_| {
            let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            Ok(Rc::new(OwnedFd::from(EventFd::from_flags(flags)?)))
        };
        let bells = (0..vectors).map(bell).collect::<io::Result<_>>()?;
        Ok(Self {
            socket,
            id,
            bells,
            outbox: VecDeque::new(),
            sent_bytes: 0,
            is_full: false,
            is_watched_for_room: false,
        })
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// What others are told when it is there: its doorbells, in the vectors' order.
    pub(super) fn introduction(&self) -> impl Iterator<Item = Parcel> {
        self.bells.iter().map(|bell| Parcel::with(Message::Vector(self.id()), bell))
    }

    /// What others are told when it is gone.
    pub(super) fn farewell(&self) -> Parcel {
        Parcel::bare(Message::Left(self.id))
    }

    pub(super) fn post(&mut self, parcels: impl IntoIterator<Item = Parcel>) {
        self.outbox.extend(parcels);
    }

    /// How many messages it has still to be told.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.len()
    }

    /// Sends as much as there is room for.
    pub(super) fn flush(&mut self) -> Result<Flushed, Why> {
        while let Some(parcel) = self.outbox.front() {
            let bytes = &parcel.message.encode()[self.sent_bytes..];
            // The descriptor went with the first byte.
            let descriptor = parcel.descriptor.as_ref().filter(|_| self.sent_bytes == 0);
            match send(self.socket.as_fd(), bytes, descriptor.map(|fd| fd.as_fd())) {
                Ok(sent) if sent == bytes.len() => {
                    self.outbox.pop_front();
                    self.sent_bytes = 0;
                }
                Ok(sent) => self.sent_bytes += sent,
                Err(e) => match Errno::from_raw(e.raw_os_error().unwrap_or(0)) {
                    Errno::EINTR => {}
                    Errno::EAGAIN => return Ok(Flushed::Full),
                    Errno::ETOOMANYREFS => return Ok(Flushed::TooManyUnderWay),
                    Errno::EPIPE | Errno::ECONNRESET => return Err(Why::Closed),
                    _ => return Err(Why::Failed(e.to_string())),
                },
            }
        }
        Ok(Flushed::All)
    }

    /// Looks at a connection that is readable: a peer has nothing to say, so that it either closed or is no peer.
    pub(super) fn listen(&self) -> Result<(), Why> {
        // Descriptors that come with the byte are closed by the kernel, for there is no room for them.
        match recv(self.socket.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET | Errno::EPIPE) => Err(Why::Closed),
            Ok(_) => Err(Why::Spoke),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(Why::Failed(errno.to_string())),
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
