//! `provision ssh`: a shell in the guest through OpenSSH's client, or one command through our own session.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use super::find;
use crate::Error;
use crate::cli::SshArgs;
use crate::interrupt::Interrupts;
use crate::ssh::client::{ClientError, PROGRAM, interactive_args};
use crate::ssh::{Input, Patience, Sink};

/// How long the login may take. It takes a second under TCG; a guest that is busy with itself takes longer.
pub(super) const LOGIN_WITHIN: Duration = Duration::from_secs(60);

/// Opens a shell, or runs the command and ends with its exit code.
///
/// # Errors
/// [`Error`]: there is no such VM, or SSH failed.
pub(super) fn run(args: &SshArgs) -> Result<ExitCode, Error> {
    let (_, vm) = find::running(args.name.name.as_ref())?;
    let (ssh, process) = find::reachable(&vm)?;
    if args.command.is_empty() {
        return Err(ClientError::from(Command::new(PROGRAM).args(interactive_args(ssh)).exec()).into());
    }
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let patience = Patience::within(&interrupts, process.as_fd(), LOGIN_WITHIN);
    let session = find::connect(&vm, ssh, &patience)?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    // As OpenSSH's client does: the guest's shell splits the words again.
    let exit = session.exec(
        &args.command.join(" "),
        Input::Descriptor(stdin.as_fd()),
        &mut Sink::Descriptor(stdout.as_fd()),
        &mut Sink::Descriptor(stderr.as_fd()),
        &Patience { deadline: None, ..patience },
    );
    match exit {
        Ok(exit) => Ok(ExitCode::from(exit.code())),
        // A reader who has seen enough.
        Err(e) if e.is_broken_pipe() => Ok(ExitCode::SUCCESS),
        Err(e) => Err(Error::ssh(&vm.name)(e)),
    }
}
