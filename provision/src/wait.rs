//! The one place that waits: poll(2) over a few descriptors with a deadline. Nothing here sleeps and retries.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until one of `fds` is readable (or closed by its peer) or `deadline` passes, and says which are. All
/// `false` means the deadline passed.
///
/// # Errors
/// poll(2) failed for another reason than a signal.
pub fn readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    deadline: Option<Instant>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll_until(&mut polled, deadline)?;
    Ok(polled.map(|fd| fd.any().unwrap_or(false)))
}

/// What is waited for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the peer's end.
    Read,
    /// Room to write, or a peer that reads no more.
    Write,
    /// Either.
    Both,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::POLLIN,
            Self::Write => PollFlags::POLLOUT,
            Self::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }
}

/// What a descriptor is ready for. One whose peer is gone, or that failed, is ready for both: using it tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Reading does not block.
    pub read: bool,
    /// Writing does not block.
    pub write: bool,
}

impl Readiness {
    /// Whether anything can be done.
    pub fn any(self) -> bool {
        self.read || self.write
    }
}

/// [`readable`] for any number of descriptors, each with what is wanted of it.
///
/// # Errors
/// poll(2) failed for another reason than a signal.
pub fn ready(fds: &[(BorrowedFd<'_>, Interest)], deadline: Option<Instant>) -> io::Result<Vec<Readiness>> {
    let mut polled: Vec<_> = fds.iter().map(|(fd, interest)| PollFd::new(*fd, interest.flags())).collect();
    poll_until(&mut polled, deadline)?;
    let readiness = |fd: &PollFd<'_>| {
        let events = fd.revents().unwrap_or(PollFlags::empty());
        let broken = events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL);
        Readiness {
            read: broken || events.contains(PollFlags::POLLIN),
            write: broken || events.contains(PollFlags::POLLOUT),
        }
    };
    Ok(polled.iter().map(readiness).collect())
}

fn poll_until(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        match poll(polled, timeout(deadline)) {
            Ok(0) if deadline.is_none_or(|d| d > Instant::now()) => {}
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Milliseconds until the deadline, rounded up so that the last fraction is waited for and not spun through.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now());
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn tells_which_descriptor_is_ready() {
        let (a, _keep) = UnixStream::pair().unwrap();
        let (b, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(readable([a.as_fd(), b.as_fd()], None).unwrap(), [false, true]);
    }

    #[test]
    fn a_closed_peer_counts_as_readable() {
        let (a, peer) = UnixStream::pair().unwrap();
        drop(peer);
        assert_eq!(readable([a.as_fd()], None).unwrap(), [true]);
    }

    #[test]
    fn room_to_write_and_something_to_read_are_told_apart() {
        let (a, mut peer) = UnixStream::pair().unwrap();
        let only = |write, read| [Readiness { read, write }];
        assert_eq!(ready(&[(a.as_fd(), Interest::Both)], None).unwrap(), only(true, false));
        let now = Some(Instant::now());
        assert_eq!(ready(&[(a.as_fd(), Interest::Read)], now).unwrap(), only(false, false));
        peer.write_all(b"x").unwrap();
        assert_eq!(ready(&[(a.as_fd(), Interest::Both)], None).unwrap(), only(true, true));
        drop(peer);
        assert!(ready(&[(a.as_fd(), Interest::Write)], None).unwrap()[0].any());
    }

    #[test]
    fn a_deadline_in_the_past_returns_at_once() {
        let (a, _keep) = UnixStream::pair().unwrap();
        assert_eq!(readable([a.as_fd()], Some(Instant::now())).unwrap(), [false]);
        let soon = Instant::now() + Duration::from_millis(2);
        assert_eq!(readable([a.as_fd()], Some(soon)).unwrap(), [false]);
        assert!(Instant::now() >= soon);
    }
}
