//! `provision console`: the serial log, as it is or as it grows.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::find;
use crate::Error;
use crate::cli::ConsoleArgs;
use crate::interrupt::Interrupts;
use crate::process::{Process, ProcessId};
use crate::state::{Found, VmDirectory, survey};
use crate::wait::readable;

/// Prints the serial log, and with `--follow` what is added to it until the VM ends.
///
/// # Errors
/// There is no such VM, or its log cannot be read.
pub(super) fn run(args: &ConsoleArgs) -> Result<ExitCode, Error> {
    let directory = find::existing(args.name.name.as_ref())?;
    // Of a VM that does not run, what it last said.
    let path = [directory.serial_log(), directory.last_serial_log()];
    let path = path.iter().find(|path| path.exists()).unwrap_or(&path[0]);
    let failed = |source| Error::io(format!("console {}", path.display()), source);
    let log = match File::open(path) {
        Ok(log) => log,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoVm { name: directory.name().clone() });
        }
        Err(e) => return Err(failed(e)),
    };
    let stdout = io::stdout();
    let mut console = Console { log, tame: stdout.is_terminal(), out: stdout.lock() };
    let shown = match args.follow {
        true => follow(&mut console, path, qemu(&directory)?),
        false => console.show_new(),
    };
    match shown {
        // A reader who has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS).map_err(failed),
    }
}

/// The process whose end ends the log.
fn qemu(directory: &VmDirectory) -> Result<Option<Process>, Error> {
    let id: Option<ProcessId> = match survey(directory)? {
        Found::Running(vm) => Some(vm.process()),
        Found::Starting(start) => start.and_then(|start| start.qemu),
        Found::Absent | Found::Down(_) | Found::Stale { .. } => None,
    };
    let open = id.map(|id| id.open()).transpose();
    Ok(open.map_err(|source| Error::io("look for QEMU", source))?.flatten())
}

fn follow(console: &mut Console<impl Write>, path: &Path, qemu: Option<Process>) -> io::Result<()> {
    let interrupts = Interrupts::catch()?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
    // The watch stands before the first look, so nothing written in between is missed.
    console.show_new()?;
    let Some(qemu) = qemu else { return Ok(()) };
    loop {
        let [stop, _, ended] = readable([interrupts.as_fd(), inotify.as_fd(), qemu.as_fd()], None)?;
        let _ = inotify.read_events();
        console.show_new()?;
        // Ctrl-C is how one leaves; the VM goes on.
        if stop || ended {
            return Ok(());
        }
    }
}

struct Console<W> {
    log: File,
    /// Whether control characters must not reach the output: it is a terminal.
    tame: bool,
    out: W,
}

impl<W: Write> Console<W> {
    /// Prints what was added since the last time.
    fn show_new(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.log.read_to_end(&mut bytes)?;
        if self.tame {
            tame(&mut bytes);
        }
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

/// Drops carriage returns and makes dots of all other control bytes but newline and tab: a guest must not drive
/// the user's terminal. Bytes from 0x80 on become dots, too, for C1 controls hide among them.
fn tame(bytes: &mut Vec<u8>) {
    bytes.retain(|&byte| byte != b'\r');
    for byte in bytes.iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
        *byte = b'.';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(log: File, tame: bool) -> Console<Vec<u8>> {
        Console { log, tame, out: Vec::new() }
    }

    #[test]
    fn a_terminal_is_spared_control_bytes_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serial.log");
        std::fs::write(&path, b"a\x1b[2Jb\r\n\tc\x9b\x07\n").unwrap();
        let mut shown = console(File::open(&path).unwrap(), true);
        shown.show_new().unwrap();
        assert_eq!(shown.out, b"a.[2Jb\n\tc..\n");
        let mut raw = console(File::open(&path).unwrap(), false);
        raw.show_new().unwrap();
        assert_eq!(raw.out, b"a\x1b[2Jb\r\n\tc\x9b\x07\n");
    }

    #[test]
    fn following_shows_what_was_added_and_ends_with_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serial.log");
        std::fs::write(&path, "one\n").unwrap();
        let mut shown = console(File::open(&path).unwrap(), false);
        let mut child =
            std::process::Command::new("sh").args(["-c", "echo two >> \"$0\""]).arg(&path).spawn().unwrap();
        let process = ProcessId::open_child(&child).unwrap();
        follow(&mut shown, &path, Some(process)).unwrap();
        child.wait().unwrap();
        assert_eq!(shown.out, b"one\ntwo\n");
    }
}
