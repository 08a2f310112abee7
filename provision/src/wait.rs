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
    loop {
        match poll(&mut polled, timeout(deadline)) {
            Ok(0) if deadline.is_some_and(|d| d > Instant::now()) => {}
            Ok(_) => return Ok(polled.map(|fd| fd.any().unwrap_or(false))),
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
    fn a_deadline_in_the_past_returns_at_once() {
        let (a, _keep) = UnixStream::pair().unwrap();
        assert_eq!(readable([a.as_fd()], Some(Instant::now())).unwrap(), [false]);
        let soon = Instant::now() + Duration::from_millis(2);
        assert_eq!(readable([a.as_fd()], Some(soon)).unwrap(), [false]);
        assert!(Instant::now() >= soon);
    }
}
