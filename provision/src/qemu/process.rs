//! QEMU's process: started in a session of its own, with the monitor's socket as descriptor 0 and the READY
//! channel's as descriptor 1, so that nothing else needs to be inherited and no socket path is raced for.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::interrupt::unblocked;
use crate::process::{Process, ProcessId};

/// A QEMU we started. Dropping it kills it, unless it was [`Qemu::release`]d.
#[derive(Debug)]
pub struct Qemu {
    child: Option<Child>,
    process: Process,
    log: PathBuf,
    /// When it was started.
    pub started: Instant,
}

/// Our ends of the two sockets.
#[derive(Debug)]
pub struct Channels {
    /// The monitor.
    pub monitor: UnixStream,
    /// The guest's second serial port; non-blocking.
    pub ready: UnixStream,
}

impl Qemu {
    /// Starts `program`, its standard error going to `log`.
    ///
    /// # Errors
    /// The program cannot be executed, or the sockets and the log cannot be made.
    pub fn start(program: &Path, args: &[OsString], log: &Path) -> io::Result<(Self, Channels)> {
        let (monitor, their_monitor) = UnixStream::pair()?;
        let (ready, their_ready) = UnixStream::pair()?;
        ready.set_nonblocking(true)?;
        let stderr = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(log)?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::from(OwnedFd::from(their_monitor)))
            .stdout(Stdio::from(OwnedFd::from(their_ready)))
            .stderr(stderr)
            .current_dir("/");
        in_own_session(&mut command);
        unblocked(&mut command);
        let started = Instant::now();
        let mut child = command.spawn()?;
        match ProcessId::open_child(&child) {
            Ok(process) => {
                let qemu = Self { child: Some(child), process, log: log.to_owned(), started };
                Ok((qemu, Channels { monitor, ready }))
            }
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(e)
            }
        }
    }

    /// Who it is.
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// What it wrote to its standard error.
    pub fn stderr(&self) -> String {
        let mut bytes = Vec::new();
        let _ = File::open(&self.log).and_then(|mut file| file.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for its end, which is certain or near, and reaps it.
    ///
    /// # Errors
    /// wait(2) failed.
    pub fn wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.as_mut().map(Child::wait).transpose()
    }

    /// Lets it live on after this process.
    pub fn release(mut self) {
        self.child = None;
    }
}

impl AsFd for Qemu {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) use detach::in_own_session;

/// The one unsafe step: code between fork and exec.
#[allow(unsafe_code)]
mod detach {
    use super::Command;
    use nix::sys::stat::{Mode, umask};
    use nix::unistd::setsid;
    use std::os::unix::process::CommandExt;

    /// Gives the program a session of its own, so that neither the terminal's Ctrl-C nor its end reaches it, and
    /// a mask that keeps what it creates (its socket, its log) private.
    pub(crate) fn in_own_session(command: &mut Command) {
        // SAFETY: between fork and exec only async-signal-safe functions may be called. setsid(2) and umask(2)
        // are such (signal-safety(7)); nothing here allocates, locks or touches memory the parent shares.
        unsafe {
            command.pre_exec(|| {
                umask(Mode::from_bits_truncate(0o077));
                setsid()?;
                Ok(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn start(script: &str, directory: &Path) -> (Qemu, Channels) {
        let args = ["-c".into(), script.into()];
        Qemu::start(Path::new("/bin/sh"), &args, &directory.join("log")).unwrap()
    }

    #[test]
    fn the_sockets_are_descriptors_0_and_1_and_stderr_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (mut qemu, mut channels) =
            start("read line; echo \"got $line\"; echo oops >&2; exit 3", directory.path());
        channels.monitor.write_all(b"hello\n").unwrap();
        assert_eq!(qemu.wait().unwrap().unwrap().code(), Some(3));
        // Another test may have forked just now, and have the other end until it executes its program.
        channels.ready.set_nonblocking(false).unwrap();
        let mut answer = String::new();
        channels.ready.read_to_string(&mut answer).unwrap();
        assert_eq!((answer.as_str(), qemu.stderr().as_str()), ("got hello\n", "oops\n"));
    }

    #[test]
    fn it_leads_a_session_of_its_own_and_dies_with_its_owner_unless_released() {
        let directory = tempfile::tempdir().unwrap();
        let (qemu, _channels) = start("read line", directory.path());
        let id = qemu.id();
        let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(id.pid.cast_signed()))).unwrap();
        assert_eq!(session.as_raw().cast_unsigned(), id.pid);
        drop(qemu);
        assert!(!id.is_alive());

        let (qemu, _channels) = start("read line", directory.path());
        let id = qemu.id();
        qemu.release();
        assert!(id.is_alive());
        id.open().unwrap().unwrap().kill().unwrap();
    }
}
