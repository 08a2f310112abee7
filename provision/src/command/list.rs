//! `provision list`: all VMs there are, running or not.

use std::process::ExitCode;

use comfy_table::{Table, presets};
use indicatif::BinaryBytes;
use serde::Serialize;

use super::{SERVER_IS_DEAD, print, print_json};
use crate::Error;
use crate::cli::ListArgs;
use crate::disk::allocated_bytes;
use crate::name::VmName;
use crate::paths::state_root;
use crate::state::{DiskRecord, Found, VmDirectory, VmRecord, names, survey};

/// One VM.
#[derive(Debug, Serialize)]
struct Entry {
    name: VmName,
    /// `running`, `starting`, `down`, `dead` or `unreadable`.
    state: &'static str,
    guest: Option<String>,
    accelerator: Option<String>,
    ssh_port: Option<u16>,
    region: Option<String>,
    /// Whether the doorbell server of a running VM lives: `running` or `dead`.
    doorbell_server: Option<&'static str>,
    /// What its disk takes on the host.
    disk_allocated_bytes: Option<u64>,
    snapshot: bool,
    /// Why its state cannot be read.
    problem: Option<String>,
}

/// Lists the VMs.
///
/// # Errors
/// There is no state directory to look into.
pub(super) fn run(args: &ListArgs) -> Result<ExitCode, Error> {
    let root = state_root()?;
    let entries: Vec<Entry> =
        names(&root).iter().filter_map(|name| entry(&VmDirectory::new(&root, name))).collect();
    if args.json {
        print_json(&serde_json::json!({"schema": "ivshmem-list/1", "vms": entries}))?;
    } else {
        print(text(&entries).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `None` for a directory that holds nothing.
fn entry(directory: &VmDirectory) -> Option<Entry> {
    let found = survey(directory);
    let (state, vm, problem) = match found {
        Ok(Found::Absent) => return None,
        Ok(Found::Down(_)) => ("down", None, None),
        Ok(Found::Starting(_)) => ("starting", None, None),
        Ok(Found::Running(vm)) => ("running", Some(vm), None),
        Ok(Found::Stale { vm, .. }) => ("dead", vm, None),
        Err(e) => ("unreadable", None, Some(e.to_string())),
    };
    let disk = directory.read_disk().ok().flatten();
    Some(describe(directory, state, vm.as_deref(), disk.as_ref(), problem))
}

fn describe(
    directory: &VmDirectory,
    state: &'static str,
    vm: Option<&VmRecord>,
    disk: Option<&DiskRecord>,
    problem: Option<String>,
) -> Entry {
    Entry {
        name: directory.name().clone(),
        state,
        guest: vm.map(|vm| vm.guest.clone()).or(disk.map(|_| "debian".to_owned())),
        accelerator: vm.map(|vm| vm.accelerator.effective.to_string()),
        ssh_port: vm.and_then(|vm| vm.ssh.as_ref()).map(|ssh| ssh.port),
        region: vm.map(|vm| vm.shm_path.display().to_string()),
        doorbell_server: vm.filter(|_| state == "running").and_then(VmRecord::doorbell_server_state),
        disk_allocated_bytes: disk.and_then(|_| allocated_bytes(&directory.disk()).ok()),
        snapshot: disk.is_some_and(|disk| disk.snapshot.is_some()),
        problem,
    }
}

fn text(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no VMs; 'provision up' makes one\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["NAME", "STATE", "GUEST", "ACCEL", "SSH", "REGION", "DISK", "SNAPSHOT"]);
    let dash = || "-".to_owned();
    for entry in entries {
        table.add_row([
            entry.name.to_string(),
            entry.state.to_owned(),
            entry.guest.clone().unwrap_or_else(dash),
            entry.accelerator.clone().unwrap_or_else(dash),
            entry.ssh_port.map_or_else(dash, |port| port.to_string()),
            entry.region.clone().unwrap_or_else(dash),
            entry.disk_allocated_bytes.map_or_else(dash, |bytes| BinaryBytes(bytes).to_string()),
            if entry.snapshot { "yes".to_owned() } else { dash() },
        ]);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    for entry in entries {
        if let Some(problem) = &entry.problem {
            text.push_str(&format!("{}: {problem}\n", entry.name));
        }
        if entry.doorbell_server == Some("dead") {
            let name = &entry.name;
            text.push_str(&format!(
                "{name}: {SERVER_IS_DEAD}: 'provision down --name {name}', then 'provision up' again\n"
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::doorbell_example;

    #[test]
    fn a_vm_without_its_server_is_told_below_the_table() {
        let root = tempfile::tempdir().unwrap();
        let directory = VmDirectory::new(root.path(), &"micro".parse().unwrap());
        // The example's server was never started here.
        let (vm, no_disk) = (doorbell_example(), None);
        let vm = VmRecord { host_boot_id: crate::process::host_boot_id(), ..vm };
        let running = describe(&directory, "running", Some(&vm), no_disk, None);
        let dead = describe(&directory, "dead", Some(&vm), no_disk, None);
        assert_eq!((running.doorbell_server, dead.doorbell_server), (Some("dead"), None));
        insta::assert_snapshot!(text(&[running, dead]));
    }
}
