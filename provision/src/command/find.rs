//! Which VM a command means: the one that is named, else the only one there is.

use std::path::Path;

use super::directory_of;
use crate::Error;
use crate::cli::Guest;
use crate::name::VmName;
use crate::paths::state_root;
use crate::process::Process;
use crate::ssh::{Session, Target};
use crate::state::{Found, SshRecord, VmDirectory, VmRecord, survey};

/// The VM that is named, else the only one that runs.
///
/// # Errors
/// It does not run, none does, or several do.
pub(super) fn running(name: Option<&VmName>) -> Result<(VmDirectory, Box<VmRecord>), Error> {
    match name {
        Some(name) => running_named(directory_of(name)?),
        None => only_running(&state_root()?),
    }
}

/// The VM that is named, else the only one that runs, else the only one there is. Where there is none, it is the
/// one that `up` would start.
///
/// # Errors
/// Several could be meant.
pub(super) fn existing(name: Option<&VmName>) -> Result<VmDirectory, Error> {
    match name {
        Some(name) => directory_of(name),
        None => only_existing(&state_root()?),
    }
}

/// A VM that runs: how its SSH is reached, and its process, whose end ends all waiting.
///
/// # Errors
/// It has no SSH, or ended meanwhile.
pub(super) fn reachable(vm: &VmRecord) -> Result<(&SshRecord, Process), Error> {
    let ssh = vm.ssh.as_ref().ok_or_else(|| Error::NoSsh { name: vm.name.clone() })?;
    let process = vm.process().open().map_err(|e| Error::io("look for QEMU", e))?;
    let process = process.ok_or_else(|| Error::NotRunning { name: vm.name.clone(), starting: false })?;
    Ok((ssh, process))
}

/// A session with that VM.
///
/// # Errors
/// [`Error::Ssh`].
pub(super) fn connect(
    vm: &VmRecord,
    ssh: &SshRecord,
    patience: &crate::ssh::Patience<'_>,
) -> Result<Session, Error> {
    Session::connect(&Target::from(ssh), patience).map_err(Error::ssh(&vm.name))
}

fn running_named(directory: VmDirectory) -> Result<(VmDirectory, Box<VmRecord>), Error> {
    let name = directory.name().clone();
    match survey(&directory)? {
        Found::Running(vm) => Ok((directory, vm)),
        Found::Absent => Err(Error::NoVm { name }),
        Found::Starting(_) => Err(Error::NotRunning { name, starting: true }),
        Found::Down(_) | Found::Stale { .. } => Err(Error::NotRunning { name, starting: false }),
    }
}

fn only_running(root: &Path) -> Result<(VmDirectory, Box<VmRecord>), Error> {
    let mut running = Vec::new();
    for directory in all(root) {
        if let Found::Running(vm) = survey(&directory)? {
            running.push((directory, vm));
        }
    }
    match running.len() {
        0 => match all(root).as_slice() {
            // The one that is meant, and why it is not to be had.
            [only] => running_named(only.clone()),
            _ => Err(Error::NoVmRuns),
        },
        1 => Ok(running.swap_remove(0)),
        _ => Err(several(running.iter().map(|(directory, _)| directory), true)),
    }
}

fn only_existing(root: &Path) -> Result<VmDirectory, Error> {
    let mut there = all(root);
    let mut alive = Vec::new();
    for directory in &there {
        // An unreadable record is told by the command that is about that VM.
        if matches!(survey(directory), Ok(Found::Running(_) | Found::Starting(_))) {
            alive.push(directory.clone());
        }
    }
    match (alive.len(), there.len()) {
        (1, _) => Ok(alive.swap_remove(0)),
        (0, 1) => Ok(there.swap_remove(0)),
        (0, 0) => {
            let name = Guest::Debian.as_str().parse().map_err(|e: crate::name::BadName| Error::BadFlag {
                flag: "--name",
                value: e.0.clone(),
                why: e.to_string(),
            })?;
            Ok(VmDirectory::new(root, &name))
        }
        (0, _) => Err(several(there.iter(), false)),
        _ => Err(several(alive.iter(), true)),
    }
}

/// The VMs with a directory, by name.
fn all(root: &Path) -> Vec<VmDirectory> {
    let entries = std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<VmName> =
        directories.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    names.iter().map(|name| VmDirectory::new(root, name)).collect()
}

fn several<'a>(directories: impl Iterator<Item = &'a VmDirectory>, running: bool) -> Error {
    Error::SeveralVms { names: directories.map(|directory| directory.name().clone()).collect(), running }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{ProcessId, host_boot_id};
    use crate::report::tests::example;

    /// A VM whose process is this one, or none.
    fn vm(root: &Path, name: &str, runs: bool) {
        let me = ProcessId::current().unwrap();
        let record = VmRecord {
            name: name.parse().unwrap(),
            pid: me.pid,
            pid_start_time_ticks: if runs { me.start_time_ticks } else { 1 },
            host_boot_id: host_boot_id(),
            ..example()
        };
        let directory = VmDirectory::new(root, &record.name);
        directory.create().unwrap();
        directory.write_vm(&record).unwrap();
    }

    fn chosen(found: Result<VmDirectory, Error>) -> String {
        found.map_or_else(|e| e.to_string(), |directory| directory.name().to_string())
    }

    #[test]
    fn the_only_vm_is_meant_and_a_running_one_before_others() {
        let root = tempfile::tempdir().unwrap();
        let existing = || chosen(only_existing(root.path()));
        let running = || chosen(only_running(root.path()).map(|(directory, _)| directory));
        assert_eq!(
            (existing(), running()),
            ("debian".into(), "no VM runs: start one with 'provision up'".into())
        );
        vm(root.path(), "old", false);
        assert_eq!(existing(), "old");
        assert_eq!(running(), "VM old does not run: start it with 'provision up'");
        vm(root.path(), "older", false);
        assert_eq!(existing(), "several VMs are there (old, older): say which with --name");
        vm(root.path(), "b", true);
        assert_eq!((existing(), running()), ("b".into(), "b".into()));
        vm(root.path(), "a", true);
        let several = "several VMs run (a, b): say which with --name";
        assert_eq!((existing(), running()), (several.into(), several.into()));
    }

    #[test]
    fn a_named_vm_that_does_not_run_is_told_from_one_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        vm(root.path(), "old", false);
        let named = |name: &str| {
            chosen(running_named(VmDirectory::new(root.path(), &name.parse().unwrap())).map(|(d, _)| d))
        };
        assert_eq!(named("old"), "VM old does not run: start it with 'provision up'");
        assert!(named("none").starts_with("there is no VM none"));
    }

    #[test]
    fn the_micro_guest_has_no_ssh() {
        let line = reachable(&example()).unwrap_err().to_string();
        assert!(line.starts_with("VM micro has no SSH: it is the micro guest"), "{line}");
    }
}
