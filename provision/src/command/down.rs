//! `provision down`: stops the VM and removes what `up` made, but for what a Debian VM keeps. Done already is done, too.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{find, print};
use crate::Error;
use crate::claim::{busy, check_unused, end_process, sweep};
use crate::cli::DownArgs;
use crate::interrupt::Interrupts;
use crate::process::Process;
use crate::qemu::monitor::Monitor;
use crate::state::{Lock, VmDirectory, VmRecord, regions_in_use};
use crate::wait::readable;

/// How long QEMU may take to quit when asked, before it is killed. It takes milliseconds.
const QUIT_WITHIN: Duration = Duration::from_secs(5);

/// Stops a VM.
///
/// # Errors
/// Another command works on it, or it does not end.
pub(super) fn run(args: &DownArgs) -> Result<ExitCode, Error> {
    let directory = find::existing(args.name.name.as_ref())?;
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let said = if directory.path().exists() {
        down(&directory, args, &interrupts)?
    } else {
        "is not up; nothing to do".to_owned()
    };
    print(format!("{} {said}\n", directory.name()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn down(directory: &VmDirectory, args: &DownArgs, interrupts: &Interrupts) -> Result<String, Error> {
    let lock = Lock::acquire(&directory.lock_file()).map_err(|e| busy(directory.name(), e))?;
    check_unused(directory)?;
    let vm = directory.read_vm()?;
    let stopped = match &vm {
        Some(vm) if vm.is_alive() => Some(stop(directory, vm, args, interrupts)?),
        _ => None,
    };
    let swept = sweep(directory, &regions_in_use(directory.root(), directory.name()))?;
    let destroyed = args.destroy && directory.remove_machine()?;
    let mut said = match (stopped, swept, destroyed) {
        (Some(said), ..) => said,
        (None, true, _) => "was not running any more; what it left is removed".to_owned(),
        (None, false, true) => "is not up".to_owned(),
        (None, false, false) => "is not up; nothing to do".to_owned(),
    };
    if destroyed {
        said.push_str("; its disk is removed");
    }
    lock.remove_with_directory();
    Ok(said)
}

/// Asks for an end, and insists.
fn stop(
    directory: &VmDirectory,
    vm: &VmRecord,
    args: &DownArgs,
    interrupts: &Interrupts,
) -> Result<String, Error> {
    let waiting = |source| Error::io("wait for QEMU's end", source);
    let Some(process) = vm.process().open().map_err(waiting)? else { return Ok("is down".to_owned()) };
    let monitor = Monitor::connect(&directory.qmp_socket());
    // The micro guest has nothing to write back, and no one who would listen to a power button.
    let has_disk = vm.disk.is_some();
    let (patience, asked) = match monitor {
        Ok(mut monitor) if has_disk => (Duration::from_secs(args.timeout.into()), monitor.power_down()),
        Ok(mut monitor) => (QUIT_WITHIN, monitor.quit()),
        Err(e) => (Duration::ZERO, Err(e)),
    };
    if asked.is_ok() && ended(&process, Instant::now() + patience, interrupts)? {
        return Ok("is down".to_owned());
    }
    end_process("QEMU", vm.process())?;
    Ok(match asked {
        Ok(()) if has_disk => format!("did not power off within {} s and was killed", patience.as_secs()),
        _ => "did not answer and was killed".to_owned(),
    })
}

fn ended(process: &Process, deadline: Instant, interrupts: &Interrupts) -> Result<bool, Error> {
    let ready = readable([process.as_fd(), interrupts.as_fd()], Some(deadline));
    let [ended, stop] = ready.map_err(|e| Error::io("wait for QEMU's end", e))?;
    if stop && !ended {
        interrupts.check()?;
    }
    Ok(ended)
}
