//! The peers of an ivshmem server, as a process on the host sees them: rung by number, gone or not.
//!
//! A server that dies takes no doorbell along: descriptors are shared, and whoever has them keeps them.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use crate::doorbell::Ring;
use crate::event::Event;
use crate::mapping::{MapError, Mapping};
use crate::server_client::{Joined, ServerError, join};

/// The other peers of a server.
#[derive(Debug)]
pub struct Peers {
    joined: Joined,
    path: PathBuf,
    own_vector: u16,
    /// It has ended, or what it said made no sense: what is known of peers is all that ever will be.
    is_over: bool,
}

impl Peers {
    /// Joins the server at `path` as a peer that is rung at `vector`.
    ///
    /// # Errors
    /// [`ServerError`]: none there, one that speaks another language, one with fewer vectors.
    pub fn join(path: &Path, vector: u16, patience: Duration) -> Result<Self, ServerError> {
        let joined = join(path, vector.saturating_add(1), patience)?;
        Ok(Self { joined, path: path.to_owned(), own_vector: vector, is_over: false })
    }

    /// Where this process is rung.
    #[must_use]
    pub fn own_ring(&self) -> Ring {
        Ring { peer: self.joined.table.own_id, vector: self.own_vector }
    }

    /// What this process is rung with.
    ///
    /// # Errors
    /// There are no more descriptors to be had.
    pub fn own_event(&self) -> std::io::Result<Event> {
        let fd = self.joined.table.own.get(usize::from(self.own_vector));
        let fd =
            fd.ok_or_else(|| std::io::Error::other("the server gave fewer vectors than were asked for"))?;
        Ok(Event::of_eventfd(fd.try_clone()?))
    }

    /// Maps what all peers map.
    ///
    /// # Errors
    /// As [`Mapping::from_fd`].
    pub fn map(&self) -> Result<Mapping, MapError> {
        let nameless = format!("memfd of the server at {}", self.path.display());
        Mapping::from_fd(self.joined.memory.as_fd(), &nameless)
    }

    /// Readable when [`Self::update`] has something to take in; `None` when the server is no more.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_over).then(|| self.joined.as_fd())
    }

    /// Takes in who has come and gone, without blocking.
    ///
    /// # Errors
    /// Once, when the server is no more: peers that are known stay known.
    pub fn update(&mut self) -> Result<(), ServerError> {
        if self.is_over {
            return Ok(());
        }
        self.joined.update().map(|_| ()).inspect_err(|_| self.is_over = true)
    }

    /// Whether there is such a peer with such a vector, as far as is known.
    #[must_use]
    pub fn has(&self, ring: Ring) -> bool {
        self.descriptor(ring).is_some()
    }

    /// The vectors of a peer; `None` when there is no such peer.
    #[must_use]
    pub fn vectors(&self, peer: u16) -> Option<usize> {
        self.joined.table.peers.get(&peer).map(Vec::len)
    }

    /// Waits until there is; false when it does not come in time.
    pub fn wait_for(&mut self, ring: Ring, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let is_over = self.update().is_err();
            if self.has(ring) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(socket) = self.socket().filter(|_| !is_over && !left.is_zero()) else { return false };
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], timeout);
        }
    }

    /// Rings; false when there is no such peer or vector.
    #[inline]
    pub fn ring(&mut self, ring: Ring) -> bool {
        let Some(fd) = self.descriptor(ring) else { return false };
        // A counter at its end (EAGAIN) rings as well: nobody has read what is in it.
        let _ = write(fd, &1u64.to_ne_bytes());
        true
    }

    #[inline]
    fn descriptor(&self, ring: Ring) -> Option<BorrowedFd<'_>> {
        self.joined.table.doorbell(ring.peer, ring.vector).map(|fd| fd.as_fd())
    }
}
