//! Where a command's output goes: into memory, up to a limit, or to a descriptor that is written only when it has
//! room, so that a slow reader stops nothing but the output.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, write};

/// `PIPE_BUF` (pipe(7)): a pipe that poll(2) calls writable takes this much without blocking.
const CHUNK_BYTES: usize = 4096;

/// A receiver of output.
#[derive(Debug)]
pub enum Sink<'a> {
    /// Keeps all, and refuses more than the limit.
    Memory {
        /// What came.
        bytes: Vec<u8>,
        /// How much is too much.
        limit_bytes: usize,
    },
    /// Passes on.
    Descriptor(BorrowedFd<'a>),
}

/// A sink and what it has not taken yet.
pub(super) struct Drain<'s, 'a> {
    sink: &'s mut Sink<'a>,
    pending: Vec<u8>,
}

/// The sink refuses.
pub(super) enum Refused {
    /// More than the limit.
    TooMuch(usize),
    /// What the kernel said.
    Io(io::Error),
}

impl<'s, 'a> Drain<'s, 'a> {
    pub(super) fn new(sink: &'s mut Sink<'a>) -> Self {
        Self { sink, pending: Vec::new() }
    }

    /// Whether all was passed on; only then may more be put in.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The descriptor that must get room before anything goes on.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'a>> {
        match &*self.sink {
            Sink::Descriptor(fd) if !self.is_empty() => Some(*fd),
            _ => None,
        }
    }

    /// Takes output.
    pub(super) fn put(&mut self, output: &[u8]) -> Result<(), Refused> {
        match &mut *self.sink {
            Sink::Memory { bytes, limit_bytes } if bytes.len() + output.len() > *limit_bytes => {
                Err(Refused::TooMuch(*limit_bytes))
            }
            Sink::Memory { bytes, .. } => {
                bytes.extend_from_slice(output);
                Ok(())
            }
            Sink::Descriptor(_) => {
                self.pending.extend_from_slice(output);
                Ok(())
            }
        }
    }

    /// Writes a chunk to a descriptor that has room.
    pub(super) fn write_some(&mut self) -> Result<(), Refused> {
        let Sink::Descriptor(fd) = &*self.sink else { return Ok(()) };
        let chunk = &self.pending[..self.pending.len().min(CHUNK_BYTES)];
        match write(fd, chunk) {
            Ok(written) => {
                self.pending.drain(..written);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(Refused::Io(e.into())),
        }
    }
}
