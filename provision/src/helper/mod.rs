//! Running another program to its end, where Ctrl-C and a deadline count too: the program is its own process
//! group, and is killed with all it started.

mod watched;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt::{Interrupted, Interrupts, unblocked};
use crate::process::ProcessId;
use crate::wait::readable;

pub use watched::run_watched;

/// Why a helper program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// It is not installed, or cannot be started.
    #[error("{program} does not start: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It said no.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last it said.
        said: String,
    },
    /// It took too long.
    #[error("{program} did not end within {}", seconds(.patience))]
    Late {
        /// The program.
        program: String,
        /// How long it had.
        patience: Duration,
    },
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Runs `command` and returns what it printed.
///
/// # Errors
/// [`HelperError`].
pub fn run(
    command: &mut Command,
    interrupts: &Interrupts,
    patience: Duration,
) -> Result<String, HelperError> {
    let program = name(command);
    let start = |source| HelperError::Start { program: program.clone(), source };
    let mut output = tempfile::tempfile().map_err(start)?;
    command.stdout(output.try_clone().map_err(start)?);
    let helper = Helper::start(command)?;
    helper.finish(interrupts, patience)?;
    text(&mut output).map_err(start)
}

/// Runs `from` piped into `to`, whose standard output the caller has set. Only the second's end counts.
///
/// # Errors
/// [`HelperError`].
pub fn run_pair(
    from: &mut Command,
    to: &mut Command,
    interrupts: &Interrupts,
    patience: Duration,
) -> Result<(), HelperError> {
    let mut first = Helper::start(from.stdout(Stdio::piped()))?;
    if let Some(pipe) = first.child.stdout.take() {
        to.stdin(pipe);
    }
    // `first` is killed and reaped when dropped, whether it ended by then or not.
    Helper::start_reading(to)?.finish(interrupts, patience).map(drop)
}

/// A program under way; dropping it kills it with all it started.
struct Helper {
    program: String,
    child: Child,
    /// What it says on standard error, when nobody watches.
    said: Option<File>,
}

impl Helper {
    fn start(command: &mut Command) -> Result<Self, HelperError> {
        Self::start_reading(command.stdin(Stdio::null()))
    }

    fn start_reading(command: &mut Command) -> Result<Self, HelperError> {
        let program = name(command);
        let start = |source| HelperError::Start { program: program.clone(), source };
        let said = tempfile::tempfile().map_err(start)?;
        command.stderr(said.try_clone().map_err(start)?).env("LC_ALL", "C.UTF-8").process_group(0);
        let child = unblocked(command).spawn().map_err(start)?;
        Ok(Self { program, child, said: Some(said) })
    }

    fn finish(mut self, interrupts: &Interrupts, patience: Duration) -> Result<(), HelperError> {
        let program = self.program.clone();
        let start = |source| HelperError::Start { program: program.clone(), source };
        let deadline = Instant::now() + patience;
        let process = ProcessId::open_child(&self.child).map_err(start)?;
        match readable([process.as_fd(), interrupts.as_fd()], Some(deadline)).map_err(start)? {
            [true, _] => {}
            [false, true] => interrupts.check()?,
            [false, false] => return Err(HelperError::Late { program, patience }),
        }
        let status = self.child.wait().map_err(start)?;
        if status.success() {
            return Ok(());
        }
        let all = self.said.as_mut().map(text).transpose().map_err(start)?.unwrap_or_default();
        let said = spoken(all.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default());
        Err(HelperError::Failed { program, status, said })
    }

    /// Kills it with all it started, unless it ended already.
    fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if let Ok(group) = i32::try_from(self.child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}

fn spoken(last: &str) -> String {
    if last.is_empty() { "it said nothing".to_owned() } else { last.trim().to_owned() }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
    fn output_is_returned_and_failure_carries_the_last_words() {
        let interrupts = Interrupts::catch().unwrap();
        assert_eq!(run(&mut shell("echo hello"), &interrupts, PATIENCE).unwrap(), "hello\n");
        let error =
            run(&mut shell("echo first >&2; echo 'E: no such package' >&2; exit 7"), &interrupts, PATIENCE);
        assert_eq!(error.unwrap_err().to_string(), "sh failed (exit status: 7): E: no such package");
    }

    #[test]
    fn an_absent_program_is_named() {
        let interrupts = Interrupts::catch().unwrap();
        let error = run(&mut Command::new("no-such-program"), &interrupts, PATIENCE).unwrap_err();
        assert!(error.to_string().starts_with("no-such-program does not start"), "{error}");
    }

    #[test]
    fn a_late_program_is_killed_with_all_it_started() {
        let interrupts = Interrupts::catch().unwrap();
        let error =
            run(&mut shell("sleep 1000 & sleep 1000"), &interrupts, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, HelperError::Late { .. }), "{error}");
    }

    #[test]
    fn a_pair_ends_with_its_second_half() {
        let interrupts = Interrupts::catch().unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let mut head = shell("head -c 3");
        head.stdout(out.try_clone().unwrap());
        run_pair(&mut shell("yes"), &mut head, &interrupts, PATIENCE).unwrap();
        assert_eq!(text(&mut out).unwrap(), "y\ny");
    }
}
