//! One command in the guest: input, both outputs and the exit, all moving at once. Whatever is stuck (a full
//! window, a slow reader, a silent terminal) holds up only itself.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd;

use ssh2::{Channel, Stream};

use super::feed::Feed;
use super::patience::Hurry;
use super::session::{Wire, would_block};
use super::sink::{Drain, Refused};
use super::{Exit, Input, Patience, Session, Sink, SshError, Stage};
use crate::wait::Interest;

/// The most that [`Session::output`] holds of each stream.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// How much is taken from the session at once.
const CHUNK_BYTES: usize = 32 << 10;

/// What a short command left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Session {
    /// Runs `command`, as the guest's shell reads it, and passes its streams on as they come. It is over when the
    /// guest says so, whatever input is left.
    ///
    /// # Errors
    /// [`SshError`]; the session is of no further use then. A command that fails is no error but an [`Exit`].
    pub fn exec<'a>(
        &self,
        command: &str,
        input: Input<'a>,
        stdout: &mut Sink<'a>,
        stderr: &mut Sink<'a>,
        patience: &Patience<'_>,
    ) -> Result<Exit, SshError> {
        let wire = &self.wire;
        let mut channel = wire.drive(patience, Stage::Start, || wire.session.channel_session())?;
        wire.drive(patience, Stage::Start, || channel.exec(command))?;
        let mut pump = Pump {
            wire,
            feed: Feed::new(input),
            stdout: Drain::new(stdout),
            stderr: Drain::new(stderr),
            out: channel.stream(0),
            err: channel.stderr(),
            channel,
            eof_sent: false,
            writable: false,
            half_sent: false,
            buffer: vec![0; CHUNK_BYTES],
        };
        pump.run(patience)
    }

    /// Runs a short command to its end, with `input` as its standard input.
    ///
    /// # Errors
    /// [`SshError`], also when it prints more than [`OUTPUT_BYTES_MAX`].
    pub fn output(&self, command: &str, input: &[u8], patience: &Patience<'_>) -> Result<Output, SshError> {
        let input = Input::Bytes { bytes: input, sent: &mut |_| {} };
        let memory = || Sink::Memory { bytes: Vec::new(), limit_bytes: OUTPUT_BYTES_MAX };
        let (mut out, mut err) = (memory(), memory());
        let exit = self.exec(command, input, &mut out, &mut err, patience)?;
        let bytes = |sink| match sink {
            Sink::Memory { bytes, .. } => bytes,
            Sink::Descriptor(_) => Vec::new(),
        };
        Ok(Output { exit, stdout: bytes(out), stderr: bytes(err) })
    }
}

struct Pump<'p, 'a> {
    wire: &'p Wire,
    channel: Channel,
    feed: Feed<'a>,
    out: Stream,
    err: Stream,
    stdout: Drain<'p, 'a>,
    stderr: Drain<'p, 'a>,
    eof_sent: bool,
    /// The socket had room when last looked at.
    writable: bool,
    /// A packet of input is on its way in part; only the same call again completes it.
    half_sent: bool,
    buffer: Vec<u8>,
}

impl Pump<'_, '_> {
    fn run(&mut self, patience: &Patience<'_>) -> Result<Exit, SshError> {
        loop {
            let fed = self.send()?;
            let out = take(self.wire, &mut self.out, &mut self.stdout, &mut self.buffer)?;
            let err = take(self.wire, &mut self.err, &mut self.stderr, &mut self.buffer)?;
            if self.is_over()? {
                break;
            }
            // Reading one stream may have fetched bytes of the other, which poll(2) knows nothing of.
            let unread =
                self.stdout.is_empty() && self.stderr.is_empty() && self.channel.read_window().available > 0;
            self.wait(if fed || out || err || unread { Hurry::Look } else { Hurry::Wait }, patience)?;
        }
        let wire = self.wire;
        wire.drive(patience, Stage::Command, || self.channel.close())?;
        self.exit()
    }

    /// Sends some input, or its end; true when something went.
    fn send(&mut self) -> Result<bool, SshError> {
        if self.feed.is_over() {
            // libssh2 keeps no copy of this packet, and a second call that differs in its place on the stack would
            // not complete the first: it is sent when there is room for all of it.
            if !self.eof_sent && self.writable {
                self.eof_sent = match self.channel.send_eof() {
                    Ok(()) => true,
                    Err(e) if would_block(&e) => false,
                    Err(_) => return Err(self.wire.last_failure(Stage::Command)),
                };
            }
            return Ok(false);
        }
        if self.feed.pending().is_empty() {
            return Ok(false);
        }
        match self.channel.write(self.feed.pending()) {
            Ok(sent) => {
                self.half_sent = false;
                self.feed.advance(sent);
                Ok(sent > 0)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                // A closed window is the other reason not to send, and then libssh2 waits to hear.
                self.half_sent = self.wire.is_sending();
                Ok(false)
            }
            Err(_) => Err(self.wire.last_failure(Stage::Command)),
        }
    }

    /// Whether the guest closed the channel and all it sent is passed on.
    fn is_over(&mut self) -> Result<bool, SshError> {
        if !self.channel.eof() || !self.stdout.is_empty() || !self.stderr.is_empty() {
            return Ok(false);
        }
        // Reads return at once now; a window adjustment that one of them began is completed by this.
        match self.channel.adjust_receive_window(0, false) {
            Ok(_) => {}
            Err(e) if would_block(&e) => return Ok(false),
            Err(_) => return Err(self.wire.last_failure(Stage::Command)),
        }
        // The end of output is not the end: the command may still read, and its exit code comes last.
        match self.channel.wait_close() {
            Ok(()) => Ok(!self.half_sent),
            Err(e) if would_block(&e) => Ok(false),
            Err(_) => Err(self.wire.last_failure(Stage::Command)),
        }
    }

    fn wait(&mut self, hurry: Hurry, patience: &Patience<'_>) -> Result<(), SshError> {
        let wants_to_send = self.wire.is_sending() || (self.feed.is_over() && !self.eof_sent);
        let socket = if wants_to_send { Interest::Both } else { Interest::Read };
        let mut fds = vec![(self.wire.socket.as_fd(), socket)];
        let (input, stdout, stderr) =
            (self.feed.waits_for(), self.stdout.waits_for(), self.stderr.waits_for());
        fds.extend(input.map(|fd| (fd, Interest::Read)));
        fds.extend(stdout.map(|fd| (fd, Interest::Write)));
        fds.extend(stderr.map(|fd| (fd, Interest::Write)));
        let found = patience.wait(&fds, hurry, (self.wire.port, Stage::Command))?;
        let mut found = found.into_iter();
        self.writable = found.next().unwrap_or_default().write;
        let mut is_ready = |waited: bool| waited && found.next().is_some_and(crate::wait::Readiness::any);
        if is_ready(input.is_some()) {
            self.feed.read_some();
        }
        if is_ready(stdout.is_some()) {
            self.stdout.write_some().map_err(refused)?;
        }
        if is_ready(stderr.is_some()) {
            self.stderr.write_some().map_err(refused)?;
        }
        Ok(())
    }

    fn exit(&self) -> Result<Exit, SshError> {
        let failed = |_| self.wire.last_failure(Stage::Command);
        if let Some(signal) = self.channel.exit_signal().map_err(failed)?.exit_signal {
            return Ok(Exit::Signal(signal));
        }
        let code = self.channel.exit_status().map_err(failed)?;
        // The guest's own exit(3) keeps eight bits, too.
        Ok(Exit::Code(code.to_le_bytes()[0]))
    }
}

/// Moves some output; true when something came. None is taken before the last was passed on, so that a slow reader
/// closes the window and not the memory.
fn take(
    wire: &Wire,
    stream: &mut Stream,
    drain: &mut Drain<'_, '_>,
    buffer: &mut [u8],
) -> Result<bool, SshError> {
    if !drain.is_empty() {
        return Ok(false);
    }
    match stream.read(buffer) {
        Ok(length) => {
            drain.put(&buffer[..length]).map_err(refused)?;
            Ok(length > 0)
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(_) => Err(wire.last_failure(Stage::Command)),
    }
}

fn refused(refused: Refused) -> SshError {
    match refused {
        Refused::TooMuch(limit_bytes) => SshError::TooMuchOutput { limit_bytes },
        Refused::Io(source) => SshError::Sink { source },
    }
}
