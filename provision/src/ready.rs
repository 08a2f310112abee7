//! The READY channel: the one line the guest writes to its second serial port. A guest may write anything there,
//! so the line is bounded and its control characters are taken out.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::qemu::complaint::printable;

/// Longest line accepted.
const LINE_BYTES_MAX: usize = 4096;

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
    /// The guest serves: its READY line.
    Ready(String),
    /// The guest does not, and why.
    Failed(String),
    /// The other end is closed.
    Closed,
}

impl ReadyChannel {
    /// The channel over `stream`, which must not block.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// The line does not end, or the socket fails.
    pub fn look(&mut self) -> io::Result<Heard> {
        let mut buffer = [0; 512];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(Heard::Closed),
            Ok(bytes) => {
                self.received.extend(&buffer[..bytes]);
                self.first_line()
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Heard::Nothing)
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(Heard::Closed),
            Err(e) => Err(e),
        }
    }

    fn first_line(&self) -> io::Result<Heard> {
        match self.received.iter().position(|&byte| byte == b'\n') {
            Some(end) => Ok(judge(&printable(String::from_utf8_lossy(&self.received[..end]).trim()))),
            None if self.received.len() > LINE_BYTES_MAX => {
                Err(io::Error::other(format!("the guest sent {LINE_BYTES_MAX} bytes without an end of line")))
            }
            None => Ok(Heard::Nothing),
        }
    }
}

impl AsFd for ReadyChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn judge(line: &str) -> Heard {
    if line == "READY" || line.starts_with("READY ") {
        return Heard::Ready(line.to_owned());
    }
    Heard::Failed(
        line.strip_prefix("FAILED ").map_or_else(|| format!("unexpected words: {line}"), str::to_owned),
    )
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
    fn the_guests_line_is_ready_or_a_reason() {
        let ready = "READY version=0.1.0 device=0000:00:02.0";
        assert_eq!(judge(ready), Heard::Ready(ready.to_owned()));
        assert_eq!(judge("FAILED no device 1af4:1110"), Heard::Failed("no device 1af4:1110".to_owned()));
        assert_eq!(judge("READYX"), Heard::Failed("unexpected words: READYX".to_owned()));
    }

    #[test]
    fn a_line_arrives_in_pieces_and_loses_its_control_characters() {
        let (mut ours, mut theirs) = channel();
        assert_eq!(ours.look().unwrap(), Heard::Nothing);
        theirs.write_all(b"READY a").unwrap();
        assert_eq!(ours.look().unwrap(), Heard::Nothing);
        theirs.write_all(b"=\x1b[1m\r\nmore").unwrap();
        assert_eq!(ours.look().unwrap(), Heard::Ready("READY a= [1m".to_owned()));
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
