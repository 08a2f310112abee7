//! Sleeping until an interrupt comes: a descriptor that becomes readable, waited for with ppoll(2), read later.
//!
//! What the descriptor says is read before the next sleep and not after the wake-up, because a system call in the way of a
//! message is time (microseconds under TCG). Nothing is lost by that: whoever sleeps looks for messages after reading.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike as _};

/// How late an interrupt may be: its way leads through other threads, which may have to wait for a CPU.
const LATE: Duration = Duration::from_millis(100);

/// What a descriptor's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Eight bytes: events since the last reading (eventfd(2)).
    Eventfd,
    /// Four bytes: interrupts since the driver was loaded (the kernel's uio-howto).
    Uio {
        /// At the last reading.
        total: u32,
    },
}

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// By an interrupt.
    Interrupt,
    /// By the other descriptor.
    Other,
    /// Its time was over, or a signal came.
    Nothing,
}

/// Interrupts as a descriptor.
#[derive(Debug)]
pub struct Event {
    file: File,
    format: Format,
    /// Readable, and not read yet.
    pending: bool,
    count: u64,
}

impl Event {
    /// An eventfd: a peer's on the host, or VFIO's.
    #[must_use]
    pub fn of_eventfd(fd: OwnedFd) -> Self {
        Self { file: fd.into(), format: Format::Eventfd, pending: false, count: 0 }
    }

    /// A UIO device that had counted `total` interrupts when it was opened.
    #[must_use]
    pub fn of_uio(file: File, total: u32) -> Self {
        Self { file, format: Format::Uio { total }, pending: false, count: 0 }
    }

    /// Interrupts read so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes in what came so far: before sleeping, and before looking for messages a last time.
    ///
    /// # Errors
    /// The descriptor is broken: the device is gone.
    pub fn drain(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.pending) {
            return Ok(());
        }
        let mut bytes = [0; 8];
        let buffer = match self.format {
            Format::Eventfd => &mut bytes[..],
            Format::Uio { .. } => &mut bytes[..4],
        };
        match self.file.read_exact(buffer) {
            Ok(()) => {}
            // Not blocking, and somebody else has read it; or a signal.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        let word = u64::from_le_bytes(bytes);
        self.count += match &mut self.format {
            Format::Eventfd => word,
            Format::Uio { total } => {
                let now = word as u32;
                u64::from(now.wrapping_sub(std::mem::replace(total, now)))
            }
        };
        Ok(())
    }

    /// Whether an interrupt has come that no sleep has ended with, or comes soon: one that is merely late is not lost. A
    /// sleep may be over by its time just when a message is there and its interrupt under way; with messages as far apart
    /// as a sleep is long, that is often.
    pub fn has_come(&mut self) -> bool {
        self.comes_within(LATE)
    }

    fn comes_within(&mut self, patience: Duration) -> bool {
        matches!(self.sleep(patience, None), Ok(Woken::Interrupt))
    }

    /// Sleeps until an interrupt comes, `other` becomes readable, or `longest` is over. One that came since the last
    /// [`Self::drain`] ends it at once.
    ///
    /// # Errors
    /// ppoll(2) fails, or the descriptor is broken.
    pub fn sleep(&mut self, longest: Duration, other: Option<BorrowedFd<'_>>) -> io::Result<Woken> {
        let ours = PollFd::new(self.file.as_fd(), PollFlags::POLLIN);
        let mut both = [ours, PollFd::new(other.unwrap_or(self.file.as_fd()), PollFlags::POLLIN)];
        let polled = &mut both[..1 + usize::from(other.is_some())];
        let timeout = TimeSpec::nanoseconds(longest.as_nanos().try_into().unwrap_or(i64::MAX));
        match ppoll(polled, Some(timeout), None) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Woken::Nothing),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let said = |polled: &PollFd<'_>| polled.revents().unwrap_or(PollFlags::empty());
        if said(&polled[0]).contains(PollFlags::POLLIN) {
            self.pending = true;
            return Ok(Woken::Interrupt);
        }
        if said(&polled[0]).intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            return Err(io::Error::other("the interrupt's descriptor is broken: its device is gone"));
        }
        Ok(Woken::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use nix::unistd::{pipe, write};

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    fn pair(flags: EfdFlags) -> (EventFd, Event) {
        let fd = EventFd::from_value_and_flags(0, flags).unwrap();
        let event = Event::of_eventfd(fd.as_fd().try_clone_to_owned().unwrap());
        (fd, event)
    }

    #[test]
    fn a_sleep_ends_by_an_interrupt_by_the_other_descriptor_or_in_time() {
        for flags in [EfdFlags::empty(), EfdFlags::EFD_NONBLOCK] {
            let (peer, mut event) = pair(flags);
            let (reader, writer) = pipe().unwrap();
            assert_eq!(event.sleep(SHORT, Some(reader.as_fd())).unwrap(), Woken::Nothing);
            write(&writer, b"x").unwrap();
            assert_eq!(event.sleep(LONG, Some(reader.as_fd())).unwrap(), Woken::Other);
            peer.write(1).unwrap();
            assert_eq!(event.sleep(LONG, Some(reader.as_fd())).unwrap(), Woken::Interrupt);
            drop(writer);
            drop(reader);
        }
    }

    #[test]
    fn events_are_counted_once_and_a_sleep_after_draining_is_a_sleep() {
        let (peer, mut event) = pair(EfdFlags::empty());
        event.drain().unwrap();
        peer.write(1).unwrap();
        peer.write(2).unwrap();
        assert_eq!(event.sleep(LONG, None).unwrap(), Woken::Interrupt);
        assert_eq!(event.sleep(LONG, None).unwrap(), Woken::Interrupt, "not drained");
        event.drain().unwrap();
        event.drain().unwrap();
        assert_eq!((event.count(), event.sleep(SHORT, None).unwrap()), (3, Woken::Nothing));
        assert!(!event.has_come());
        peer.write(1).unwrap();
        assert!(event.has_come());
        event.drain().unwrap();
        assert_eq!(event.count(), 4);
    }

    #[test]
    fn an_interrupt_that_is_under_way_when_a_sleep_is_over_is_not_lost() {
        let (peer, mut event) = pair(EfdFlags::empty());
        assert_eq!(event.sleep(SHORT, None).unwrap(), Woken::Nothing);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(SHORT);
                peer.write(1).unwrap();
            });
            assert!(event.comes_within(LONG));
        });
        event.drain().unwrap();
        assert_eq!(event.count(), 1);
    }

    #[test]
    fn uio_says_a_total_that_wraps() {
        let (reader, writer) = pipe().unwrap();
        let mut event = Event::of_uio(reader.into(), u32::MAX - 2);
        for (total, count) in [(u32::MAX - 1, 1), (u32::MAX, 2), (4, 7)] {
            write(&writer, &total.to_le_bytes()).unwrap();
            assert_eq!(event.sleep(LONG, None).unwrap(), Woken::Interrupt);
            event.drain().unwrap();
            assert_eq!(event.count(), count);
        }
    }

    #[test]
    fn a_device_that_is_gone_is_an_error_and_no_endless_wake_up() {
        let (reader, writer) = pipe().unwrap();
        let mut event = Event::of_uio(reader.into(), 0);
        drop(writer);
        assert!(event.sleep(LONG, None).is_err());
    }
}
