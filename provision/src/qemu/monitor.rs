//! QMP, through the `qapi` crate: the conversation at start over an inherited socket, and short ones later over
//! the socket in the state directory. Every answer has a deadline.

use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use qapi::qmp;

use super::args::{DISK_NODE, NET};
use super::complaint::last_words;
use crate::wait::readable;

/// Longest wait for one answer: QEMU answers in microseconds, unless it is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for a snapshot to be saved or loaded: 2 GiB take about a second, more on a slow disk.
const JOB_WITHIN: Duration = Duration::from_secs(120);
/// The name of the one job at a time.
const JOB: &str = "provision";

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

    /// Forwards a port of 127.0.0.1 to the guest's port 22; 0 for any that is free. Returns the host's port.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`](io::ErrorKind::AddrInUse) when the port is taken, or no answer.
    pub fn forward_ssh(&mut self, port: u16) -> io::Result<u16> {
        let said = self.human(&format!("hostfwd_add {NET} tcp:127.0.0.1:{port}-:22"))?;
        if !said.is_empty() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, last_words(&said)));
        }
        let users = self.human("info usernet")?;
        forwarded_port(&users)
            .ok_or_else(|| io::Error::other(format!("no forwarded port in: {}", last_words(&users))))
    }

    /// A command of the human monitor, for what QMP has no command for. Returns what it printed.
    fn human(&mut self, line: &str) -> io::Result<String> {
        self.qmp
            .execute(&qmp::human_monitor_command { command_line: line.to_owned(), cpu_index: None })
            .map_err(as_io)
    }

    /// Saves memory, devices and disk as the snapshot `tag`, in place of an older one of that name.
    ///
    /// # Errors
    /// QEMU's own words, for example that the disk is full.
    pub fn save(&mut self, tag: &str) -> io::Result<()> {
        self.delete(tag)?;
        let (devices, vmstate) = (vec![DISK_NODE.to_owned()], DISK_NODE.to_owned());
        self.job(&qmp::snapshot_save { job_id: JOB.to_owned(), tag: tag.to_owned(), vmstate, devices })
    }

    /// Removes the snapshot `tag`, if it is there.
    ///
    /// # Errors
    /// QEMU's own words.
    pub fn delete(&mut self, tag: &str) -> io::Result<()> {
        let devices = vec![DISK_NODE.to_owned()];
        self.job(&qmp::snapshot_delete { job_id: JOB.to_owned(), tag: tag.to_owned(), devices })
    }

    /// Puts the VM into the state of the snapshot `tag`. The vCPUs must not run.
    ///
    /// # Errors
    /// QEMU's own words: there is no such snapshot, or it does not fit this machine.
    pub fn load(&mut self, tag: &str) -> io::Result<()> {
        let (devices, vmstate) = (vec![DISK_NODE.to_owned()], DISK_NODE.to_owned());
        self.job(&qmp::snapshot_load { job_id: JOB.to_owned(), tag: tag.to_owned(), vmstate, devices })
    }

    /// Starts a job and waits for its end. QEMU answers nothing while it saves or loads, so the patience for an
    /// answer is the job's.
    fn job<C: qapi::Command>(&mut self, command: &C) -> io::Result<()> {
        self.patience(JOB_WITHIN)?;
        let ended = self.qmp.execute(command).map_err(as_io).and_then(|_| self.job_end());
        self.patience(ANSWER_WITHIN)?;
        ended
    }

    fn job_end(&mut self) -> io::Result<()> {
        loop {
            let jobs = self.qmp.execute(&qmp::query_jobs {}).map_err(as_io)?;
            let Some(job) = jobs.into_iter().find(|job| job.id == JOB) else { return Ok(()) };
            if matches!(job.status, qmp::JobStatus::concluded) {
                self.qmp.execute(&qmp::job_dismiss { id: JOB.to_owned() }).map_err(as_io)?;
                return job.error.map_or(Ok(()), |said| Err(io::Error::other(last_words(&said))));
            }
            // Each change of the job's state is an event, and an event makes the socket readable.
            if self.qmp.events().count() == 0 && self.qmp.inner().get_ref_read().buffer().is_empty() {
                let [changed] = readable([self.as_fd()], Some(Instant::now() + JOB_WITHIN))?;
                if !changed {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no end within {JOB_WITHIN:?}"),
                    ));
                }
            }
        }
    }

    fn patience(&self, patience: Duration) -> io::Result<()> {
        self.qmp.inner().get_ref_write().set_read_timeout(Some(patience))
    }

    /// Presses the power button: the guest is asked to shut down.
    ///
    /// # Errors
    /// No answer.
    pub fn power_down(&mut self) -> io::Result<()> {
        self.qmp.execute(&qmp::system_powerdown {}).map(drop).map_err(as_io)
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

/// The host's port in what `info usernet` prints: lines such as
/// `  TCP[HOST_FORWARD]  12       127.0.0.1  2222       10.0.2.15    22      0      0`.
fn forwarded_port(users: &str) -> Option<u16> {
    let forward = users.lines().find(|line| line.contains("[HOST_FORWARD]"))?;
    forward.split_ascii_whitespace().nth(3)?.parse().ok()
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
