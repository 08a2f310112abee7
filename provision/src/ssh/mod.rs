//! The guest's SSH, through libssh2: sessions that never block, so that every wait is one poll(2) over the
//! socket, the user's Ctrl-C and QEMU's end, with a deadline.
//!
//! The server's host key is compared with the one this VM was given before anything is told to it: a port that
//! leads to another machine learns neither the user nor the key. [`client`] is for shells: they get OpenSSH.

pub mod client;
mod error;
mod exec;
mod exit;
mod feed;
mod host_key;
mod patience;
mod session;
mod sink;
mod tcp;

pub use error::{SshError, Stage};
pub use exec::{OUTPUT_BYTES_MAX, Output};
pub use exit::Exit;
pub use feed::Input;
pub use patience::Patience;
pub use session::{Handshaken, Session};
pub use sink::Sink;

use std::path::PathBuf;

use crate::state::SshRecord;

/// A server to log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The private key that logs in.
    pub identity_file: PathBuf,
    /// The host key it must show, as `ssh-ed25519 AAAA...`.
    pub host_key: String,
}

impl From<&SshRecord> for Target {
    fn from(record: &SshRecord) -> Self {
        Self {
            port: record.port,
            user: record.user.clone(),
            identity_file: record.identity_file.clone(),
            host_key: record.host_key.clone(),
        }
    }
}
