//! A session: connected, its server known to be the VM, logged in. Each stage is a call of its own, for whoever
//! takes their times.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;

use ssh2::{BlockDirections, ErrorCode, MethodType};

use super::host_key::Expected;
use super::patience::Hurry;
use super::{Patience, SshError, Stage, Target, tcp};
use crate::wait::Interest;

/// What is offered. A guest under TCG encrypts in emulation, and there the choice of cipher is felt: under
/// `qemu-x86_64 -cpu max` (7.2) `openssl speed` gives 208 MB/s for aes128-ctr and 99 for SHA-512 (30 for SHA-256),
/// but 21 for chacha20-poly1305 and 12 for aes128-gcm, whose carry-less multiplication is emulated bit by bit.
/// On real hardware all are fast. The others stay as a fallback for a server with ideas of its own.
const METHODS: [(MethodType, &str); 6] = [
    (MethodType::HostKey, "ssh-ed25519"),
    (MethodType::Kex, "curve25519-sha256,curve25519-sha256@libssh.org"),
    (MethodType::CryptCs, CIPHERS),
    (MethodType::CryptSc, CIPHERS),
    (MethodType::MacCs, MACS),
    (MethodType::MacSc, MACS),
];
const CIPHERS: &str = "aes128-ctr,chacha20-poly1305@openssh.com,aes128-gcm@openssh.com";
const MACS: &str = "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512,hmac-sha2-256";

/// `LIBSSH2_ERROR_EAGAIN` of `libssh2.h`; those below are from there, too.
const EAGAIN: [i32; 1] = [-37];
/// `BANNER_RECV`, `BANNER_SEND`, `SOCKET_SEND`, `SOCKET_DISCONNECT`, `SOCKET_RECV`.
const HANG_UPS: [i32; 5] = [-2, -3, -7, -13, -43];
/// `AUTHENTICATION_FAILED`, `PUBLICKEY_UNVERIFIED`.
const REFUSALS: [i32; 2] = [-18, -19];
/// `FILE`, `METHOD_NOT_SUPPORTED`, `INVAL`, `KEYFILE_AUTH_FAILED`.
const BAD_KEYS: [i32; 4] = [-16, -33, -34, -48];

/// A connection whose server proved to be the VM. Nobody is logged in yet.
pub struct Handshaken {
    wire: Wire,
}

/// A session, logged in.
pub struct Session {
    pub(super) wire: Wire,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("port", &self.wire.port).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Handshaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshaken").field("port", &self.wire.port).finish_non_exhaustive()
    }
}

impl Handshaken {
    /// Connects, exchanges keys, and makes sure that the server is the VM.
    ///
    /// # Errors
    /// [`SshError`]; nothing about the user was told to the server.
    pub fn connect(target: &Target, patience: &Patience<'_>) -> Result<Self, SshError> {
        let port = target.port;
        let expected = Expected::parse(&target.host_key)?;
        let socket = Arc::new(tcp::open(port, patience)?);
        let setup = |e: ssh2::Error| failure(port, Stage::Handshake, &e);
        let mut session = ssh2::Session::new().map_err(setup)?;
        session.set_blocking(false);
        for (kind, names) in METHODS {
            session.method_pref(kind, names).map_err(setup)?;
        }
        session.set_tcp_stream(Arc::clone(&socket));
        let wire = Wire { session: session.clone(), socket, port };
        wire.drive(patience, Stage::Handshake, || session.handshake())?;
        let (shown, _) = session.host_key().unwrap_or((&[], ssh2::HostKeyType::Unknown));
        expected.check(port, shown)?;
        Ok(Self { wire })
    }

    /// Logs in with the target's key.
    ///
    /// # Errors
    /// [`SshError`].
    pub fn authenticate(self, target: &Target, patience: &Patience<'_>) -> Result<Session, SshError> {
        let path = &target.identity_file;
        let bad = |why: String| SshError::BadIdentity { path: path.clone(), why };
        let key = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        if !key.contains("PRIVATE KEY-----") {
            return Err(bad("is no private key".to_owned()));
        }
        let Self { wire } = self;
        let login = || match wire.session.userauth_pubkey_memory(&target.user, None, &key, None) {
            Err(e) if is_one_of(&e, &REFUSALS) => {
                Ok(Err(SshError::LoginRefused { user: target.user.clone(), identity_file: path.clone() }))
            }
            Err(e) if is_one_of(&e, &BAD_KEYS) => Ok(Err(bad(e.message().to_owned()))),
            other => other.map(Ok),
        };
        wire.drive(patience, Stage::Authenticate, login)??;
        Ok(Session { wire })
    }
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`SshError`].
    pub fn connect(target: &Target, patience: &Patience<'_>) -> Result<Self, SshError> {
        Handshaken::connect(target, patience)?.authenticate(target, patience)
    }

    /// Says goodbye and waits until the server has hung up: from then on the guest knows of no connection.
    ///
    /// # Errors
    /// [`SshError`].
    pub fn close(self, patience: &Patience<'_>) -> Result<(), SshError> {
        let (wire, stage) = (&self.wire, Stage::Goodbye);
        wire.drive(patience, stage, || wire.session.disconnect(None, "done", None))?;
        let mut rest = [0; 512];
        loop {
            match (&*wire.socket).read(&mut rest) {
                Ok(0) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let wanted = [(wire.socket.as_fd(), Interest::Read)];
                    patience.wait(&wanted, Hurry::Wait, (wire.port, stage))?;
                }
                Err(e) => return Err(SshError::io("hang up")(e)),
            }
        }
    }
}

/// libssh2's session and its socket.
pub(super) struct Wire {
    pub(super) session: ssh2::Session,
    pub(super) socket: Arc<TcpStream>,
    pub(super) port: u16,
}

impl Wire {
    /// Calls `step` again and again until it has what it wants, and waits for the socket in between. libssh2 wants
    /// the very same call repeated.
    pub(super) fn drive<T>(
        &self,
        patience: &Patience<'_>,
        stage: Stage,
        mut step: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, SshError> {
        loop {
            match step() {
                Ok(value) => return Ok(value),
                Err(e) if would_block(&e) => {}
                Err(e) => return Err(failure(self.port, stage, &e)),
            }
            let wanted = [(self.socket.as_fd(), self.interest())];
            patience.wait(&wanted, Hurry::Wait, (self.port, stage))?;
        }
    }

    /// What libssh2 waits for.
    fn interest(&self) -> Interest {
        match self.session.block_directions() {
            BlockDirections::Outbound => Interest::Write,
            BlockDirections::Both => Interest::Both,
            BlockDirections::Inbound | BlockDirections::None => Interest::Read,
        }
    }

    /// Whether a packet waits for room in the socket.
    pub(super) fn is_sending(&self) -> bool {
        self.interest() != Interest::Read
    }

    /// The error behind a failed read or write on a channel.
    pub(super) fn last_failure(&self, stage: Stage) -> SshError {
        let error = ssh2::Error::last_session_error(&self.session).unwrap_or_else(ssh2::Error::unknown);
        failure(self.port, stage, &error)
    }
}

/// Whether the call is to be repeated when the socket is ready.
pub(super) fn would_block(error: &ssh2::Error) -> bool {
    is_one_of(error, &EAGAIN)
}

fn is_one_of(error: &ssh2::Error, codes: &[i32]) -> bool {
    matches!(error.code(), ErrorCode::Session(code) if codes.contains(&code))
}

/// libssh2's error as ours.
fn failure(port: u16, stage: Stage, error: &ssh2::Error) -> SshError {
    if is_one_of(error, &HANG_UPS) {
        return SshError::Closed { port, stage };
    }
    SshError::Protocol { port, stage, said: error.message().to_owned() }
}
