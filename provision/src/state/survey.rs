//! Telling apart what a state directory can mean: nothing, a start under way, a VM that runs, or remains.

use std::path::{Path, PathBuf};

use super::{DiskRecord, Lock, StartingRecord, StateError, VmDirectory, VmRecord};
use crate::doorbell_server::is_memfd;
use crate::name::VmName;

/// What is known of a VM of some name.
#[derive(Debug)]
pub enum Found {
    /// No state at all.
    Absent,
    /// It does not run; its disk is kept.
    Down(Box<DiskRecord>),
    /// A `provision up` works on it right now.
    Starting(Option<StartingRecord>),
    /// It became ready and its QEMU runs.
    Running(Box<VmRecord>),
    /// State of a VM that runs no more.
    Stale {
        /// Its record, when it had become ready.
        vm: Option<Box<VmRecord>>,
        /// What its start left, when that was cut off.
        starting: Option<StartingRecord>,
    },
}

/// Looks at a VM's directory and changes nothing.
///
/// # Errors
/// A record is there but unreadable.
pub fn survey(directory: &VmDirectory) -> Result<Found, StateError> {
    if !directory.path().exists() {
        return Ok(Found::Absent);
    }
    let vm = directory.read_vm()?.map(Box::new);
    if let Some(vm) = vm.as_ref().filter(|vm| vm.is_alive()) {
        return Ok(Found::Running(vm.clone()));
    }
    let starting = directory.read_starting()?;
    if starting.as_ref().is_some_and(|start| start.is_of_this_boot() && start.starter.is_alive())
        || Lock::is_held(&directory.lock_file())
    {
        return Ok(Found::Starting(starting));
    }
    if vm.is_none() && starting.is_none() {
        // Only what `down` keeps is there, or nothing.
        return Ok(directory.read_disk()?.map_or(Found::Absent, |disk| Found::Down(Box::new(disk))));
    }
    Ok(Found::Stale { vm, starting })
}

/// A region in the hands of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionUse {
    /// The VM.
    pub vm: VmName,
    /// The region's file.
    pub shm_path: PathBuf,
}

/// The record of a VM that runs, and of one that is being started; what cannot be read is passed over.
fn alive(directory: &VmDirectory) -> (Option<VmRecord>, Option<StartingRecord>) {
    let running = directory.read_vm().ok().flatten().filter(VmRecord::is_alive);
    let starting = directory.read_starting().ok().flatten().filter(StartingRecord::is_alive);
    (running, starting)
}

/// The region files of all VMs below `root` that run or are being started, except those of `but`. Unreadable records
/// of others are passed over: they are reported when their own VM is asked for.
pub fn regions_in_use(root: &Path, but: &VmName) -> Vec<RegionUse> {
    names(root)
        .into_iter()
        .filter(|name| name != but)
        .filter_map(|vm| {
            let (running, starting) = alive(&VmDirectory::new(root, &vm));
            let shm_path = running.map(|r| r.shm_path).or(starting.map(|s| s.shm_path))?;
            (!is_memfd(&shm_path)).then_some(RegionUse { vm, shm_path })
        })
        .collect()
}

/// The VMs below `root` that run or are being started on the server of `owner`, which is another VM.
pub fn users_of_server(root: &Path, owner: &VmName) -> Vec<VmName> {
    let uses = |vm: &VmName| {
        let (running, starting) = alive(&VmDirectory::new(root, vm));
        let running = running.as_ref().and_then(VmRecord::joined);
        running == Some(owner) || starting.is_some_and(|start| start.joined.as_ref() == Some(owner))
    };
    names(root).into_iter().filter(|vm| uses(vm)).collect()
}

/// The names of all VMs that have a directory below `root`, in order.
pub fn names(root: &Path) -> Vec<VmName> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let directories = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let mut names: Vec<VmName> =
        directories.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{ProcessId, host_boot_id};

    fn directory(root: &Path, name: &str) -> VmDirectory {
        let directory = VmDirectory::new(root, &name.parse().unwrap());
        directory.create().unwrap();
        directory
    }

    fn start(starter: ProcessId) -> StartingRecord {
        StartingRecord {
            starter,
            qemu: None,
            doorbell_server: None,
            joined: None,
            shm_path: "/dev/shm/r".into(),
            shm_created_inode: None,
            machine_created: false,
            host_boot_id: host_boot_id(),
        }
    }

    #[test]
    fn nothing_a_live_start_and_a_dead_one_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let absent = VmDirectory::new(root.path(), &"none".parse().unwrap());
        assert!(matches!(survey(&absent).unwrap(), Found::Absent));

        let me = ProcessId::current().unwrap();
        let live = directory(root.path(), "live");
        live.write_starting(&start(me)).unwrap();
        assert!(matches!(survey(&live).unwrap(), Found::Starting(Some(_))));

        let dead = directory(root.path(), "dead");
        dead.write_starting(&start(ProcessId { start_time_ticks: 1, ..me })).unwrap();
        assert!(matches!(survey(&dead).unwrap(), Found::Stale { vm: None, starting: Some(_) }));
    }

    #[test]
    fn pids_of_another_boot_of_the_host_mean_nothing() {
        let root = tempfile::tempdir().unwrap();
        let me = ProcessId::current().unwrap();
        let before = directory(root.path(), "before");
        before.write_starting(&StartingRecord { host_boot_id: "another".to_owned(), ..start(me) }).unwrap();
        assert!(matches!(survey(&before).unwrap(), Found::Stale { .. }));
        assert!(regions_in_use(root.path(), &"other".parse().unwrap()).is_empty());
    }

    #[test]
    fn only_living_vms_hold_regions_and_ones_own_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let me = ProcessId::current().unwrap();
        directory(root.path(), "live").write_starting(&start(me)).unwrap();
        directory(root.path(), "dead")
            .write_starting(&start(ProcessId { start_time_ticks: 1, ..me }))
            .unwrap();
        let uses = regions_in_use(root.path(), &"other".parse().unwrap());
        assert_eq!(uses, [RegionUse { vm: "live".parse().unwrap(), shm_path: "/dev/shm/r".into() }]);
        assert!(regions_in_use(root.path(), &"live".parse().unwrap()).is_empty());
        assert!(regions_in_use(&root.path().join("absent"), &"live".parse().unwrap()).is_empty());
    }
}
