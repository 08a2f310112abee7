//! Running a program that takes long, and hearing each line it prints as it comes.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{Helper, HelperError, name, spoken};
use crate::interrupt::{Interrupts, unblocked};
use crate::process::ProcessId;
use crate::wait::readable;

/// Longest wait for processes that were sent SIGKILL.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Runs `command` and passes each line it prints, on either stream, to `on_line` as it comes. When this returns,
/// everything the program started has ended, or has at least closed its streams.
///
/// # Errors
/// [`HelperError`].
pub fn run_watched(
    command: &mut Command,
    interrupts: &Interrupts,
    patience: Duration,
    on_line: &mut dyn FnMut(&str),
) -> Result<(), HelperError> {
    let program = name(command);
    let start = |source| HelperError::Start { program: program.clone(), source };
    let (reader, writer) = io::pipe().map_err(start)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| start(e.into()))?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(start)?).stderr(writer);
    command.env("LC_ALL", "C.UTF-8").process_group(0);
    let spawned = unblocked(command).spawn().map_err(start);
    // The command's own copies of the pipe would keep it open for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut helper = Helper { program: program.clone(), child: spawned?, said: None };
    let mut lines = Lines { pipe: reader, rest: Vec::new(), last: String::new(), ended: false };
    let deadline = Instant::now() + patience;
    let ended = lines.until_end(&helper, interrupts, deadline, on_line);
    helper.kill();
    // Whoever still has the pipe was killed, too, and is only not gone yet.
    let gone_by = Instant::now() + GONE_WITHIN;
    while !lines.ended && readable([lines.pipe.as_fd()], Some(gone_by)).map_err(start)? == [true] {
        lines.take(on_line).map_err(start)?;
    }
    match ended.map_err(start)? {
        End::Itself => {}
        End::Interrupted => interrupts.check()?,
        End::Late => return Err(HelperError::Late { program, patience }),
    }
    let status = helper.child.wait().map_err(start)?;
    if status.success() {
        return Ok(());
    }
    Err(HelperError::Failed { program, status, said: spoken(&lines.last) })
}

enum End {
    Itself,
    Interrupted,
    Late,
}

/// The lines that come through a pipe.
struct Lines {
    pipe: PipeReader,
    /// What came of a line not yet ended.
    rest: Vec<u8>,
    /// The last line that was not empty.
    last: String,
    /// Whether all writers are gone.
    ended: bool,
}

impl Lines {
    fn until_end(
        &mut self,
        helper: &Helper,
        interrupts: &Interrupts,
        deadline: Instant,
        on_line: &mut dyn FnMut(&str),
    ) -> io::Result<End> {
        let process = ProcessId::open_child(&helper.child)?;
        loop {
            let [ended, stop, talks] = if self.ended {
                let [ended, stop] = readable([process.as_fd(), interrupts.as_fd()], Some(deadline))?;
                [ended, stop, false]
            } else {
                readable([process.as_fd(), interrupts.as_fd(), self.pipe.as_fd()], Some(deadline))?
            };
            match (talks, ended, stop) {
                (true, ..) if !stop => self.take(on_line)?,
                (_, _, true) => return Ok(End::Interrupted),
                (_, true, _) => return Ok(End::Itself),
                _ => return Ok(End::Late),
            }
        }
    }

    /// Takes what is there now.
    fn take(&mut self, on_line: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let got = match self.pipe.read(&mut chunk) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        self.ended = got == 0;
        self.rest.extend_from_slice(&chunk[..got]);
        if self.ended && !self.rest.is_empty() {
            self.rest.push(b'\n');
        }
        while let Some(at) = self.rest.iter().position(|&byte| matches!(byte, b'\n' | b'\r')) {
            let line = String::from_utf8_lossy(&self.rest[..at]).trim_end().to_owned();
            self.rest.drain(..=at);
            if !line.is_empty() {
                on_line(&line);
                self.last = line;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_watched_program_is_heard_line_by_line() {
        let interrupts = Interrupts::catch().unwrap();
        let mut heard = Vec::new();
        let mut hear = |line: &str| heard.push(line.to_owned());
        run_watched(&mut shell("echo one; echo two >&2; printf three"), &interrupts, PATIENCE, &mut hear)
            .unwrap();
        assert_eq!(heard, ["one", "two", "three"]);
        let error = run_watched(&mut shell("echo 'E: no' >&2; exit 3"), &interrupts, PATIENCE, &mut |_| {})
            .unwrap_err();
        assert_eq!(error.to_string(), "sh failed (exit status: 3): E: no");
    }

    #[test]
    fn a_watched_program_is_killed_with_all_it_started_when_late() {
        let interrupts = Interrupts::catch().unwrap();
        let mut script = shell("sleep 1000 & echo started; sleep 1000");
        let error =
            run_watched(&mut script, &interrupts, Duration::from_millis(50), &mut |_| {}).unwrap_err();
        assert!(matches!(error, HelperError::Late { .. }), "{error}");
    }
}
