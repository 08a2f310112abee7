//! `provision driver`: the guest's kernel driver, built for a kernel; and `provision deploy --driver`: into a running
//! guest with it.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::ssh::LOGIN_WITHIN;
use super::{find, print};
use crate::Error;
use crate::cli::DriverArgs;
use crate::deploy::{self, patience_for};
use crate::driver::{self, FILE};
use crate::interrupt::Interrupts;
use crate::kernel;
use crate::name::VmName;
use crate::paths::cache_root;
use crate::progress::Progress;
use crate::ssh::{Exit, Output, Patience};

/// Where the driver lies in the guest.
const IN_GUEST: &str = "/usr/local/lib/ivshmem_uio.ko";
/// Longest that loading it takes. Unloading one that is in use waits for I/O with its pages.
const LOAD_WITHIN: Duration = Duration::from_secs(60);
/// Loads the driver in the place of one that is loaded, and names the UIO devices there are now. What it says last on
/// standard error is shown.
const LOAD: &str = r#"set -e
modprobe uio
if [ -d /sys/module/ivshmem_uio ]; then
    rmmod ivshmem_uio || { echo "the loaded one is in use: stop guest-reader and deploy again" >&2; exit 1; }
fi
insmod "$1"
cd /sys/bus/pci/drivers/ivshmem_uio
for device in *:*; do
    [ -e "$device" ] || { echo "it is loaded, but no ivshmem device is free for it: another driver has it" >&2; exit 1; }
    for uio in "$device"/uio/*; do
        echo "/dev/${uio##*/} $(cat "$uio/name")"
    done
done
"#;

/// Builds it, unless it is cached, and prints where it is.
///
/// # Errors
/// [`Error`]: it cannot be built, or not be copied to where it should go.
pub(super) fn run(args: &DriverArgs) -> Result<ExitCode, Error> {
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let progress = Progress { quiet: false };
    let release = match &args.kernel_release {
        Some(release) => release.clone(),
        None => micro_guests_release(&interrupts, progress)?,
    };
    let built = driver::obtain(&release, &cache_root()?, &interrupts, progress)?;
    let path = match &args.out {
        Some(directory) => copy(&built, directory)?,
        None => built,
    };
    print(format!("{}\n", path.display()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn micro_guests_release(interrupts: &Interrupts, progress: Progress) -> Result<String, Error> {
    let kernel = kernel::obtain(None, cache_root, interrupts, &mut |text| progress.note(text))?;
    kernel.release.ok_or_else(|| Error::BadFlag {
        flag: "--kernel-release",
        value: "(none)".to_owned(),
        why: format!("{} does not tell its release: name one", kernel.path.display()),
    })
}

fn copy(built: &Path, directory: &Path) -> Result<PathBuf, Error> {
    let target = directory.join(FILE);
    fs::create_dir_all(directory)
        .and_then(|()| fs::copy(built, &target))
        .map_err(|e| Error::io(format!("write {}", target.display()), e))?;
    Ok(target)
}

/// Builds the driver for the kernel that runs in the guest, puts it there and loads it.
///
/// # Errors
/// [`Error`]: there is no such VM, no driver for its kernel, or the guest does not take it.
pub(super) fn deploy(name: Option<&VmName>) -> Result<ExitCode, Error> {
    let (_, vm) = find::running(name)?;
    let (ssh, process) = find::reachable(&vm)?;
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let within = |time| Patience::within(&interrupts, process.as_fd(), time);
    let session = find::connect(&vm, ssh, &within(LOGIN_WITHIN))?;
    let ask = |command: &str, input: &str| {
        session.output(command, input.as_bytes(), &within(LOAD_WITHIN)).map_err(Error::ssh(&vm.name))
    };
    let release = text(&ask("uname -r", "")?.stdout);
    let built = driver::obtain(&release, &cache_root()?, &interrupts, Progress { quiet: false })?;
    let image = fs::read(&built).map_err(|e| Error::io(format!("read {}", built.display()), e))?;
    let patience = within(patience_for(image.len()));
    deploy::bytes(&session, &image, IN_GUEST.as_bytes(), 0o644, true, &patience).map_err(Error::deploy)?;
    let Output { exit, stdout, stderr } = ask(&format!("sudo -n sh -s {IN_GUEST}"), LOAD)?;
    if exit != Exit::Code(0) {
        let said = text(&stderr);
        let said = said.lines().last().map_or_else(|| exit.to_string(), ToOwned::to_owned);
        return Err(Error::DriverRefused { name: vm.name.clone(), said });
    }
    print(format!("{} is loaded in {}, built for kernel {release}\n", driver::NAME, vm.name).as_bytes())?;
    print(&stdout)?;
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
