//! The TCP connection to a port of this machine, made without blocking.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::patience::Hurry;
use super::{Patience, SshError, Stage};
use crate::wait::Interest;

/// Connects to 127.0.0.1. The socket stays non-blocking.
pub(super) fn open(port: u16, patience: &Patience<'_>) -> Result<TcpStream, SshError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::ConnectionRefused => SshError::Refused { port },
        _ => SshError::Io { action: "connect to the guest's SSH", source },
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(|e| failed(e.into()))?;
    let stream = TcpStream::from(fd);
    match connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &SockaddrIn::new(127, 0, 0, 1, port)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            let wanted = [(stream.as_fd(), Interest::Write)];
            patience.wait(&wanted, Hurry::Wait, (port, Stage::Connect))?;
        }
        Err(e) => return Err(failed(e.into())),
    }
    match stream.take_error() {
        Ok(None) => {}
        Ok(Some(e)) | Err(e) => return Err(failed(e)),
    }
    // Keystrokes and window adjustments are small, and each would wait for the last one's acknowledgement.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}
