//! QMP, through the `qapi` crate: the conversation at start over an inherited socket, and short ones later over
//! the socket in the state directory. Every answer has a deadline.

use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use qapi::qmp;

/// Longest wait for one answer: QEMU answers in microseconds, unless it is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A monitor connection.
pub struct Monitor {
    qmp: qapi::Qmp<qapi::Stream<BufReader<UnixStream>, UnixStream>>,
}

/// What QEMU says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// A vCPU as QMP lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vcpu {
    /// Its index.
    pub index: i64,
    /// The thread that runs it.
    pub tid: i64,
}

impl Monitor {
    /// A conversation over `stream`, not yet begun.
    ///
    /// # Errors
    /// The socket cannot be set up.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { qmp: qapi::Qmp::new(qapi::Stream::new(reader, stream)) })
    }

    /// Connects to a running QEMU's socket and begins.
    ///
    /// # Errors
    /// Nobody listens, or the one who does is no QEMU.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let mut monitor = Self::new(UnixStream::connect(socket)?)?;
        monitor.greet()?;
        Ok(monitor)
    }

    /// Takes the greeting and leaves capability negotiation.
    ///
    /// # Errors
    /// QEMU closed the connection, is late, or speaks something else.
    pub fn greet(&mut self) -> io::Result<Version> {
        // The crate takes an early end for impossible and panics; an aborting QEMU makes it ordinary.
        if self.qmp.inner_mut().fill_buf()?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let greeting = self.qmp.handshake().map_err(as_io)?;
        let qmp::VersionTriple { major, minor, micro } = greeting.version.qemu;
        let package = greeting.version.package;
        let package = if package.is_empty() { String::new() } else { format!(" ({package})") };
        Ok(Version(format!("{major}.{minor}.{micro}{package}")))
    }

    /// The vCPUs and their threads.
    ///
    /// # Errors
    /// No answer.
    pub fn vcpus(&mut self) -> io::Result<Vec<Vcpu>> {
        let infos = self.qmp.execute(&qmp::query_cpus_fast {}).map_err(as_io)?;
        infos
            .iter()
            .map(|info| match info {
                qmp::CpuInfoFast::x86_64(cpu) => Ok(Vcpu { index: cpu.cpu_index, tid: cpu.thread_id }),
                _ => Err(io::Error::other("this QEMU emulates another processor than x86-64")),
            })
            .collect()
    }

    /// Lets the vCPUs run.
    ///
    /// # Errors
    /// No answer.
    pub fn run(&mut self) -> io::Result<()> {
        self.qmp.execute(&qmp::cont {}).map(drop).map_err(as_io)
    }

    /// Whether the guest runs, in QEMU's word for it (`running`, `paused`, ...).
    ///
    /// # Errors
    /// No answer.
    pub fn run_state(&mut self) -> io::Result<String> {
        let status = self.qmp.execute(&qmp::query_status {}).map_err(as_io)?.status;
        Ok(qapi::Enum::name(&status).to_owned())
    }

    /// Asks QEMU to end.
    ///
    /// # Errors
    /// The request cannot be sent.
    pub fn quit(&mut self) -> io::Result<()> {
        match self.qmp.execute(&qmp::quit {}).map_err(as_io) {
            // QEMU may be gone before its answer is read, or before it is asked.
            Err(e) if gone(e.kind()) => Ok(()),
            other => other.map(drop),
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.qmp.inner().get_ref_write().as_fd()
    }
}

fn gone(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn as_io(error: qapi::ExecuteError) -> io::Error {
    let error = io::Error::from(error);
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER_WITHIN:?}"));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::thread;

    const GREETING: &str = r#"{"QMP":{"version":{"qemu":{"micro":1,"minor":2,"major":7},"package":"Debian 1:7.2"},"capabilities":["oob"]}}"#;

    /// A QEMU that greets and then gives `answers`, one to each line it reads.
    fn double(answers: &'static [&'static str]) -> Monitor {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut out = theirs.try_clone().unwrap();
            writeln!(out, "{GREETING}").unwrap();
            for (answer, _request) in answers.iter().zip(BufReader::new(theirs).lines()) {
                writeln!(out, "{answer}").unwrap();
            }
        });
        Monitor::new(ours).unwrap()
    }

    const OK: &str = r#"{"return": {}}"#;

    #[test]
    fn events_between_answers_do_not_disturb() {
        let event = concat!(
            r#"{"timestamp":{"seconds":1,"microseconds":2},"event":"RESUME"}"#,
            "\n",
            r#"{"return":[{"cpu-index":0,"qom-path":"/machine/unattached/device[0]","thread-id":4321,"target":"x86_64"}]}"#
        );
        let leaked: &'static [&'static str] = Box::leak(Box::new([OK, event, OK]));
        let mut monitor = double(leaked);
        assert_eq!(monitor.greet().unwrap(), Version("7.2.1 (Debian 1:7.2)".to_owned()));
        assert_eq!(monitor.vcpus().unwrap(), [Vcpu { index: 0, tid: 4321 }]);
        monitor.run().unwrap();
    }

    #[test]
    fn an_end_instead_of_a_greeting_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(Monitor::new(ours).unwrap().greet().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_stranger_is_an_error() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"HTTP/1.1 200 OK\n").unwrap();
        assert!(Monitor::new(ours).unwrap().greet().is_err());
    }

    #[test]
    fn a_quit_may_cost_the_answer() {
        let mut monitor = double(&[OK]);
        monitor.greet().unwrap();
        monitor.quit().unwrap();
    }
}
