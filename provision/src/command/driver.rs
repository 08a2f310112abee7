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
if ! said=$(insmod "$1" 2>&1); then
    case $said in
    *"Operation not permitted"* | *"Key was rejected"*)
        said="$said: this kernel takes only signed modules (secure boot, lockdown or module.sig_enforce): boot it without, or use \
guest-reader --wait vfio, which needs none but the kernel's own" ;;
    esac
    echo "$said" >&2
    exit 1
fi
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    /// The last line of what LOAD says where insmod says `words` and fails.
    fn said(words: &str) -> String {
        let programs = tempfile::tempdir().unwrap();
        for (name, text) in [("modprobe", "exit 0"), ("insmod", &format!("echo '{words}' >&2; exit 1"))] {
            let path = programs.path().join(name);
            // Written by another process: see ETXTBSY.
            let mut shell = Command::new("sh");
            shell.args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\""]).arg(&path).arg(text);
            assert!(shell.status().unwrap().success());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut shell = Command::new("sh");
        let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
        shell.args(["-s", IN_GUEST]).env("PATH", path).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        child.stdin.take().unwrap().write_all(LOAD.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr).lines().last().unwrap().to_owned()
    }

    #[test]
    fn what_a_kernel_does_not_load_is_told_in_its_words_and_with_advice_where_there_is_some() {
        let lines = ["Operation not permitted", "Key was rejected by service", "Unknown symbol in module"]
            .map(|why| said(&format!("insmod: ERROR: could not insert module {IN_GUEST}: {why}")));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
