//! `provision down`: stops the VM and removes what `up` made. Done already is done, too.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{directory_of, print};
use crate::Error;
use crate::claim::{busy, end_process, sweep};
use crate::name::VmName;
use crate::process::ProcessId;
use crate::qemu::monitor::Monitor;
use crate::state::{Lock, VmDirectory, regions_in_use};

/// How long QEMU may take to quit when asked, before it is killed. It takes milliseconds.
const QUIT_WITHIN: Duration = Duration::from_secs(5);

/// Stops the VM `name`.
///
/// # Errors
/// Another command works on it, or it does not end.
pub(super) fn run(name: &VmName) -> Result<ExitCode, Error> {
    let directory = directory_of(name)?;
    let said = if directory.path().exists() { down(&directory)? } else { "is not up; nothing to do" };
    print(format!("{name} {said}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn down(directory: &VmDirectory) -> Result<&'static str, Error> {
    let lock = Lock::acquire(&directory.lock_file()).map_err(|e| busy(directory.name(), e))?;
    let running = directory.read_vm()?.map(|vm| vm.process()).filter(ProcessId::is_alive);
    let said = match running {
        Some(qemu) => stop(directory, qemu)?,
        None => "was not running any more; what it left is removed",
    };
    sweep(directory, &regions_in_use(directory.root(), directory.name()))?;
    lock.remove_with_directory();
    Ok(said)
}

/// Asks QEMU to quit, and insists.
fn stop(directory: &VmDirectory, qemu: ProcessId) -> Result<&'static str, Error> {
    let waiting = |source| Error::io("wait for QEMU's end", source);
    let Some(process) = qemu.open().map_err(waiting)? else { return Ok("is down") };
    let asked = Monitor::connect(&directory.qmp_socket()).and_then(|mut monitor| monitor.quit());
    if asked.is_ok() && process.wait_until(Instant::now() + QUIT_WITHIN).map_err(waiting)? {
        return Ok("is down");
    }
    end_process(qemu)?;
    Ok("did not answer and was killed")
}
