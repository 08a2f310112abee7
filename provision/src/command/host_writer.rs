//! host-writer, run by us: found, started, told of Ctrl-C, and waited for until its files are written.

use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;
use crate::guest_load::ENVIRONMENT;
use crate::interrupt::{Interrupted, Interrupts, unblocked};
use crate::process::ProcessId;
use crate::state::VmRecord;
use crate::wait::readable;

/// The program: the chosen one, else the one beside this executable.
///
/// # Errors
/// It is not there.
pub(super) fn find(chosen: Option<&Path>) -> Result<PathBuf, Error> {
    let path = match chosen {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|e| Error::io("find this program", e))?
            .with_file_name("host-writer"),
    };
    if path.is_file() { Ok(path) } else { Err(Error::NoHostWriter { path }) }
}

/// Runs it to its end, whose exit code is returned.
///
/// It is a process group of its own: a Ctrl-C on the terminal would otherwise reach it twice, from the kernel and
/// from us, and a `kill` of us not at all. Whatever stops us is passed on, and it then has the rows it has written.
/// It is told which lane the guest answers in, unless `options` say that, and of the guest's load, which it cannot see, and of no other that happens to be in our environment.
///
/// # Errors
/// It does not start.
pub(super) fn measure(
    program: &Path,
    vm: &VmRecord,
    out: &Path,
    options: &[String],
    guest_load: Option<&str>,
    interrupts: &Interrupts,
) -> Result<u8, Error> {
    let failed = |e| Error::io(format!("run {}", program.display()), e);
    let mut command = Command::new(program);
    match &vm.doorbell {
        // With the region come doorbells, for guests that sleep and for '--wait'.
        Some(doorbell) => command.arg("--server").arg(&doorbell.socket),
        None => command.arg("--shm").arg(&vm.shm_path),
    };
    command.arg("--out").arg(out);
    let chooses_lanes = |option: &String| option.starts_with("--lane") || option.starts_with("--broadcast");
    if let Some(lane) = vm.lane().filter(|_| !options.iter().any(chooses_lanes)) {
        command.arg("--lane").arg(lane.to_string());
    }
    command.args(options);
    match guest_load {
        Some(load) => command.env(ENVIRONMENT, load),
        None => command.env_remove(ENVIRONMENT),
    };
    command.stdin(Stdio::null()).process_group(0);
    let mut child = unblocked(&mut command).spawn().map_err(failed)?;
    let ended = watch(&child, interrupts).map_err(failed);
    if ended.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    ended.map(|()| code(status))
}

/// Waits for the child's end and passes signals on.
fn watch(child: &Child, interrupts: &Interrupts) -> std::io::Result<()> {
    let process = ProcessId::open_child(child)?;
    loop {
        let [ended, _] = readable([process.as_fd(), interrupts.as_fd()], None)?;
        if ended {
            return Ok(());
        }
        if let Err(Interrupted { signal }) = interrupts.check() {
            // It finishes its files on these two, and would die of a hang-up.
            let signal = if signal == Signal::SIGINT { Signal::SIGINT } else { Signal::SIGTERM };
            let pid = Pid::from_raw(child.id().cast_signed());
            // Not reaped yet, so that the pid is its own.
            kill(pid, signal)?;
        }
    }
}

/// The shell's convention.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_shell() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn the_default_lies_beside_this_program() {
        let Err(Error::NoHostWriter { path }) = find(None) else { panic!("found in the tests' directory") };
        assert_eq!(path, std::env::current_exe().unwrap().with_file_name("host-writer"));
        assert_eq!(find(Some(Path::new("/bin/sh"))).unwrap(), Path::new("/bin/sh"));
    }
}
