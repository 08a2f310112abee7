//! Where a command's input comes from: memory, or a descriptor that is read only when it has something.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, read};

/// A source of input.
pub enum Input<'a> {
    /// None: the command reads the end of file at once.
    Nothing,
    /// All of a slice.
    Bytes {
        /// The slice.
        bytes: &'a [u8],
        /// Told how many have been sent, whenever some have.
        sent: &'a mut dyn FnMut(usize),
    },
    /// Whatever a descriptor gives, until its end.
    Descriptor(BorrowedFd<'a>),
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Bytes { bytes, .. } => write!(f, "{} bytes", bytes.len()),
            Self::Descriptor(fd) => fd.fmt(f),
        }
    }
}

/// How much is read at once; libssh2 packs no more into a packet.
const CHUNK_BYTES: usize = 32_700;

/// An input, and how far it has been sent.
pub(super) struct Feed<'a> {
    input: Input<'a>,
    /// Read from the descriptor and not sent.
    chunk: Vec<u8>,
    /// How much of the slice or the chunk was sent.
    sent: usize,
    /// The descriptor gave its last.
    ended: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        let ended = !matches!(input, Input::Descriptor(_));
        Self { input, chunk: Vec::new(), sent: 0, ended }
    }

    /// What is to be sent next; the same until [`Feed::advance`], as libssh2 wants it.
    pub(super) fn pending(&self) -> &[u8] {
        match &self.input {
            Input::Nothing => &[],
            Input::Bytes { bytes, .. } => &bytes[self.sent..],
            Input::Descriptor(_) => &self.chunk[self.sent..],
        }
    }

    /// Whether all was sent and no more will come.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.pending().is_empty()
    }

    /// Notes that so much of [`Feed::pending`] was sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if let Input::Bytes { sent, .. } = &mut self.input {
            sent(self.sent);
        }
    }

    /// The descriptor that must have something before there is more to send.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'a>> {
        match &self.input {
            Input::Descriptor(fd) if !self.ended && self.pending().is_empty() => Some(*fd),
            _ => None,
        }
    }

    /// Reads from a descriptor that has something. One that cannot be read, because it is closed or a directory,
    /// is at its end.
    pub(super) fn read_some(&mut self) {
        let Input::Descriptor(fd) = &self.input else { return };
        self.chunk.resize(CHUNK_BYTES, 0);
        self.sent = 0;
        let length = match read(fd, &mut self.chunk[..]) {
            Ok(length) => {
                self.ended = length == 0;
                length
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                self.ended = true;
                0
            }
        };
        self.chunk.truncate(length);
    }
}
