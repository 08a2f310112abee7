//! The serial log, watched as it grows: its first byte, and a few lines that tell how far a boot has come. A guest
//! may write anything there, so what is kept of it is bounded.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// What the log can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// There is something at all.
    FirstByte,
    /// The kernel's banner.
    Kernel,
    /// systemd's first line.
    Userland,
    /// A login prompt.
    Login,
}

/// The marks with the words they are known by, all of them Debian 12's. None is longer than [`OVERLAP_BYTES`].
const MARKS: [(Mark, &[u8]); 3] =
    [(Mark::Kernel, b"Linux version "), (Mark::Userland, b"systemd[1]: "), (Mark::Login, b" login: ")];
/// What is kept of the log's end, in case a mark comes in two pieces.
const OVERLAP_BYTES: usize = 32;

/// A serial log under watch.
pub(super) struct SerialWatch {
    inotify: Inotify,
    log: File,
    tail: Vec<u8>,
    found: Vec<Mark>,
}

impl SerialWatch {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        Ok(Self { inotify, log: File::open(path)?, tail: Vec::new(), found: Vec::new() })
    }

    /// Takes the events, reads what was added, and tells the marks seen for the first time.
    pub(super) fn look(&mut self) -> Vec<Mark> {
        let _ = self.inotify.read_events();
        let mut marks = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(bytes @ 1..) = self.log.read(&mut chunk) {
            self.tail.extend(&chunk[..bytes]);
            let seen = MARKS.iter().filter(|(_, words)| contains(&self.tail, words)).map(|(mark, _)| *mark);
            for mark in [Mark::FirstByte].into_iter().chain(seen) {
                if !self.found.contains(&mark) {
                    self.found.push(mark);
                    marks.push(mark);
                }
            }
            self.tail.drain(..self.tail.len().saturating_sub(OVERLAP_BYTES));
        }
        marks
    }
}

impl AsFd for SerialWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::readable;
    use std::io::Write;

    #[test]
    fn the_serial_log_is_silent_until_its_first_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serial.log");
        std::fs::write(&path, "").unwrap();
        let mut serial = SerialWatch::new(&path).unwrap();
        // QEMU truncates the log when it opens it.
        let mut log = File::create(&path).unwrap();
        assert_eq!(serial.look(), []);
        log.write_all(b"\r").unwrap();
        assert_eq!(readable([serial.as_fd()], None).unwrap(), [true]);
        assert_eq!(serial.look(), [Mark::FirstByte]);
        assert_eq!(serial.look(), []);
    }

    #[test]
    fn marks_are_found_once_also_in_pieces_and_behind_much_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serial.log");
        std::fs::write(&path, "").unwrap();
        let mut serial = SerialWatch::new(&path).unwrap();
        let mut log = File::create(&path).unwrap();
        log.write_all(b"[    0.000000] Linux ver").unwrap();
        assert_eq!(serial.look(), [Mark::FirstByte]);
        log.write_all(b"sion 6.1.0\n").unwrap();
        log.write_all(&[b'x'; 10_000]).unwrap();
        log.write_all(b"\n[    5.1] systemd[1]: systemd 252\nLinux version again\ndebian login: ").unwrap();
        assert_eq!(serial.look(), [Mark::Kernel, Mark::Userland, Mark::Login]);
        assert_eq!(serial.look(), []);
    }
}
