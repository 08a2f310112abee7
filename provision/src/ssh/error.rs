//! What can go wrong between here and the guest's shell, each as one line that says what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::interrupt::Interrupted;

/// What was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The TCP connection.
    Connect,
    /// The server's first words, and the exchange of keys.
    Handshake,
    /// The login.
    Authenticate,
    /// Asking for a command.
    Start,
    /// The command's run.
    Command,
    /// The end of the connection.
    Goodbye,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Handshake => "the SSH handshake",
            Self::Authenticate => "the login",
            Self::Start => "the start of the command",
            Self::Command => "the command",
            Self::Goodbye => "the end of the connection",
        })
    }
}

/// Why SSH did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The VM is gone.
    #[error("the VM ended during {stage}: 'provision console' shows its last words")]
    VmEnded {
        /// What was under way.
        stage: Stage,
    },
    /// Nobody listens.
    #[error("nothing listens on 127.0.0.1:{port}: does the VM run? 'provision status' tells")]
    Refused {
        /// The port.
        port: u16,
    },
    /// The other side hung up. User-mode networking accepts before the guest's server runs, and then closes.
    #[error(
        "127.0.0.1:{port} closed the connection during {stage}: does the guest's SSH server run? 'provision console' tells"
    )]
    Closed {
        /// The port.
        port: u16,
        /// What was under way.
        stage: Stage,
    },
    /// The deadline passed.
    #[error(
        "{stage} on 127.0.0.1:{port} did not end in time: is the guest busy or stuck? 'provision console' tells"
    )]
    Late {
        /// The port.
        port: u16,
        /// What was under way.
        stage: Stage,
    },
    /// Another machine answers. Nothing was told to it.
    #[error(
        "the server on 127.0.0.1:{port} is not this VM: its host key is {got}, this VM's is {expected}; see with \
         'ss -ltnp sport = :{port}' who has the port, then 'provision down' and 'provision up --ssh-port auto'"
    )]
    WrongHostKey {
        /// The port.
        port: u16,
        /// The fingerprint of the VM's key.
        expected: String,
        /// The fingerprint of the key shown.
        got: String,
    },
    /// The login is refused.
    #[error("the guest refuses user {user} with the key {}: did a cloud-config of yours replace its authorized key? 'provision up --fresh' starts over", .identity_file.display())]
    LoginRefused {
        /// The user.
        user: String,
        /// The key's file.
        identity_file: PathBuf,
    },
    /// The private key cannot be used.
    #[error("private key {}: {why}; 'provision down --destroy' and 'provision up' make a new one", .path.display())]
    BadIdentity {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The recorded host key cannot be understood.
    #[error(
        "the recorded host key {text:?} is no ssh-ed25519 key ({why}): 'provision down --destroy' and 'provision up' make a new one"
    )]
    BadHostKey {
        /// As recorded.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A command said more than anyone wants to hold.
    #[error("a command in the guest printed more than {limit_bytes} bytes: have it write to a file there")]
    TooMuchOutput {
        /// How much is held.
        limit_bytes: usize,
    },
    /// What the command printed cannot be passed on.
    #[error("pass on what the command prints: {source}")]
    Sink {
        /// What the kernel said.
        source: io::Error,
    },
    /// libssh2 gives up.
    #[error("{stage} on 127.0.0.1:{port}: {said}; is that the guest's SSH server? 'provision console' tells")]
    Protocol {
        /// The port.
        port: u16,
        /// What was under way.
        stage: Stage,
        /// What libssh2 says.
        said: String,
    },
    /// The operating system refuses.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SshError {
    /// Something the operating system refused.
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// Whether a reader of our output has seen enough, as in `| head`.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Sink { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_to_do() {
        let port = 2222;
        let lines = [
            SshError::VmEnded { stage: Stage::Command },
            SshError::Refused { port },
            SshError::Closed { port, stage: Stage::Handshake },
            SshError::Late { port, stage: Stage::Authenticate },
            SshError::WrongHostKey { port, expected: "SHA256:aaa".into(), got: "SHA256:bbb".into() },
            SshError::LoginRefused { user: "debian".into(), identity_file: "/state/id_ed25519".into() },
            SshError::BadIdentity { path: "/state/id_ed25519".into(), why: "No such file".into() },
            SshError::BadHostKey { text: "x".into(), why: "unexpected end".into() },
            SshError::TooMuchOutput { limit_bytes: 1 << 20 },
            SshError::Protocol { port, stage: Stage::Handshake, said: "unable to exchange keys".into() },
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"));
    }
}
