//! The READY channel: lines that the guest writes to a port of its own. A guest may write anything there, so lines
//! are bounded and their control characters are taken out.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::qemu::complaint::printable;

/// Longest line accepted.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Our end of the channel.
#[derive(Debug)]
pub struct ReadyChannel {
    /// Non-blocking.
    stream: UnixStream,
    received: Vec<u8>,
}

/// What a look at the channel gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// No whole line yet.
    Nothing,
    /// One line. There may be more at once: look again until there is nothing.
    Line(String),
    /// The other end is closed.
    Closed,
}

impl ReadyChannel {
    /// The channel over `stream`, which must not block.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Takes the next line, if there is one.
    ///
    /// # Errors
    /// The line does not end, or the socket fails.
    pub fn look(&mut self) -> io::Result<Heard> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(Heard::Line(printable(String::from_utf8_lossy(&line).trim())));
            }
            if self.received.len() > LINE_BYTES_MAX {
                let said = format!("the guest sent {LINE_BYTES_MAX} bytes without an end of line");
                return Err(io::Error::other(said));
            }
            let mut buffer = [0; 512];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Heard::Closed),
                Ok(bytes) => self.received.extend(&buffer[..bytes]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(Heard::Closed),
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for ReadyChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn channel() -> (ReadyChannel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ReadyChannel::new(ours), theirs)
    }

    #[test]
    fn lines_arrive_in_pieces_and_together_and_lose_their_control_characters() {
        let (mut ours, mut theirs) = channel();
        assert_eq!(ours.look().unwrap(), Heard::Nothing);
        theirs.write_all(b"READY a").unwrap();
        assert_eq!(ours.look().unwrap(), Heard::Nothing);
        theirs.write_all(b"=\x1b[1m\r\nmore\nand").unwrap();
        assert_eq!(ours.look().unwrap(), Heard::Line("READY a= [1m".to_owned()));
        assert_eq!(ours.look().unwrap(), Heard::Line("more".to_owned()));
        drop(theirs);
        assert_eq!(ours.look().unwrap(), Heard::Closed);
    }

    #[test]
    fn a_guest_that_never_ends_its_line_is_cut_off() {
        let (mut ours, mut theirs) = channel();
        theirs.write_all(&[b'x'; 2 * LINE_BYTES_MAX]).unwrap();
        let error = std::iter::repeat_with(|| ours.look()).find_map(Result::err).unwrap();
        assert!(error.to_string().contains("without an end of line"));
    }
}
