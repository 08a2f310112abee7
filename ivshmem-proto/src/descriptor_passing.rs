//! Bytes over a Unix stream socket with a descriptor beside them (`SCM_RIGHTS`, unix(7)).
#![allow(unsafe_code, reason = "the kernel hands over descriptors as numbers, which have to find an owner")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Most descriptors that one message can carry: `SCM_MAX_FD`, Linux, include/net/scm.h.
const DESCRIPTORS_MAX: usize = 253;

/// What one read brought.
#[derive(Debug)]
pub struct Received {
    /// How many bytes; 0 at the end of the stream.
    pub bytes: usize,
    /// The descriptors that came with them, closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// Whether the kernel dropped descriptors, because this process can have no more.
    pub dropped_descriptors: bool,
}

/// Reads without blocking.
///
/// # Errors
/// recvmsg(2) failed; `WouldBlock` when there is nothing to read.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // Room for all that can come, though one is expected: what has no room is not returned, and could not be closed.
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    let dropped_descriptors = message.flags.contains(MsgFlags::MSG_CTRUNC);
    if let Ok(controls) = message.cmsgs() {
        for control in controls {
            let ControlMessageOwned::ScmRights(numbers) = control else { continue };
            // SAFETY: the kernel has just made these descriptors for this very message. Nobody else in this process
            // knows their numbers, so each gets its one owner here.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok(Received { bytes: message.bytes, descriptors, dropped_descriptors })
}

/// Writes without blocking, the descriptor with the first byte, and returns how many bytes were taken. A peer that is
/// gone is an error, not a signal.
///
/// # Errors
/// sendmsg(2) failed; `WouldBlock` when there is no room.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let numbers: Vec<RawFd> = descriptor.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let controls = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], controls, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_arrives_with_its_bytes_and_is_another_for_the_same_file() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"payload").unwrap();
        assert_eq!(send(a.as_fd(), b"12345678", Some(file.as_fd())).unwrap(), 8);
        assert_eq!(send(a.as_fd(), b"bare", None).unwrap(), 4);
        let mut buffer = [0; 8];
        let mut received = receive(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((received.bytes, received.dropped_descriptors), (8, false));
        let mut passed = File::from(received.descriptors.pop().unwrap());
        assert!(received.descriptors.is_empty());
        let (mut text, _) = (String::new(), passed.rewind().unwrap());
        passed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "payload");
        let received = receive(b.as_fd(), &mut buffer).unwrap();
        assert!(received.bytes == 4 && received.descriptors.is_empty());
        let nothing = receive(b.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert_eq!(receive(b.as_fd(), &mut buffer).unwrap().bytes, 0);
    }

    #[test]
    fn all_descriptors_of_a_message_find_an_owner() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let numbers = [file.as_raw_fd(); DESCRIPTORS_MAX];
        let (bytes, rights) = ([IoSlice::new(b"x")], [ControlMessage::ScmRights(&numbers)]);
        sendmsg::<()>(a.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
        let received = receive(b.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!((received.descriptors.len(), received.dropped_descriptors), (DESCRIPTORS_MAX, false));
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(b);
        assert_eq!(send(a.as_fd(), b"x", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
