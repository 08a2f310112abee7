//! `provision status`: whether the VM runs, and what is known about it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::{SERVER_IS_DEAD, find, print, print_json};
use crate::Error;
use crate::cli::StatusArgs;
use crate::name::VmName;
use crate::qemu::complaint::printable;
use crate::qemu::monitor::Monitor;
use crate::report::{facts, how_started};
use crate::state::{DiskRecord, Found, VmDirectory, VmRecord, survey};

/// The exit code of a VM that does not run.
const NOT_RUNNING: u8 = 3;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Status {
    schema: &'static str,
    name: VmName,
    /// `running`, `starting`, `dead`, `down` (its disk is kept) or `absent`.
    state: &'static str,
    /// QEMU's own word for a running VM, or why it has none.
    qemu: Option<String>,
    /// Whether the doorbell server of a running VM lives: `running` or `dead`.
    doorbell_server: Option<&'static str>,
    vm: Option<Box<VmRecord>>,
    /// The last line of a guest whose program has ended with one: `RESULT {json}`.
    result: Option<String>,
    /// What is kept of a Debian VM, running or not.
    disk: Option<DiskRecord>,
}

/// Tells about the VM.
///
/// # Errors
/// Its state is unreadable.
pub(super) fn run(args: &StatusArgs) -> Result<ExitCode, Error> {
    let directory = find::existing(args.name.name.as_ref())?;
    let status = examine(&directory)?;
    if args.json {
        print_json(&status)?;
    } else {
        print(text(&status).as_bytes())?;
    }
    Ok(if status.state == "running" { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}

fn examine(directory: &VmDirectory) -> Result<Status, Error> {
    let (state, vm) = match survey(directory)? {
        Found::Absent => ("absent", None),
        Found::Down(_) => ("down", None),
        Found::Starting(_) => ("starting", None),
        Found::Running(vm) => ("running", Some(vm)),
        Found::Stale { vm, .. } => ("dead", vm),
    };
    let qemu = (state == "running").then(|| {
        Monitor::connect(&directory.qmp_socket())
            .and_then(|mut monitor| monitor.run_state())
            .unwrap_or_else(|e| format!("does not answer: {e}"))
    });
    let doorbell_server =
        vm.as_ref().filter(|_| state == "running").and_then(|vm| vm.doorbell_server_state());
    Ok(Status {
        schema: "ivshmem-status/1",
        name: directory.name().clone(),
        state,
        qemu,
        doorbell_server,
        vm,
        result: if state == "dead" { result_of(&directory.serial_log()) } else { None },
        disk: directory.read_disk()?,
    })
}

/// What a guest's program has ended with, from its serial log.
fn result_of(serial_log: &Path) -> Option<String> {
    let log = std::fs::read(serial_log).ok()?;
    let text = String::from_utf8_lossy(&log);
    text.lines().rev().find(|line| line.starts_with("RESULT {")).map(|line| printable(line.trim()))
}

fn down(disk: Option<&DiskRecord>) -> String {
    let snapshot = disk.and_then(|disk| disk.snapshot.as_ref());
    let next = snapshot.map_or_else(
        || "boots it".to_owned(),
        |snapshot| format!("returns to its snapshot of {} in seconds", snapshot.saved_utc),
    );
    format!("down, its disk is kept: 'provision up' {next}; 'provision down --destroy' removes it")
}

fn text(status: &Status) -> String {
    let name = &status.name;
    let state = match (status.state, &status.vm) {
        ("running", Some(vm)) => {
            let qemu = status.qemu.as_deref().unwrap_or_default();
            format!("up since {}, pid {}, QEMU says: {qemu}", vm.started_utc, vm.pid)
        }
        ("starting", _) => "being worked on by another provision".to_owned(),
        ("down", _) => down(status.disk.as_ref()),
        ("dead", _) if status.result.is_some() => {
            "over: its program has ended with a result; 'provision down' removes what it left".to_owned()
        }
        ("dead", _) => "dead: QEMU is gone; 'provision console' has its last words, 'provision down' removes what it left".to_owned(),
        _ => "not up: 'provision up' starts it".to_owned(),
    };
    let mut text = format!("{name} is {state}\n");
    if let Some(result) = &status.result {
        let _ = writeln!(text, "  {result}");
    }
    let Some(vm) = status.vm.as_ref() else { return text };
    for (label, value) in facts(vm) {
        let _ = writeln!(text, "  {label:<12} {value}");
    }
    if status.doorbell_server == Some("dead") {
        let _ = writeln!(text, "  {:<12} {SERVER_IS_DEAD}: 'provision down' && 'provision up'", "doorbell");
    }
    let _ = writeln!(text, "  {:<12} {}, milliseconds since QEMU's start:", "start", how_started(vm));
    for (phase, ms) in vm.phases_ms.seen() {
        let _ = writeln!(text, "  {:<12} {ms:>8.0}  {phase}", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{doorbell_example, example};

    fn status(state: &'static str, vm: Option<VmRecord>) -> Status {
        let qemu = (state == "running").then(|| "running".to_owned());
        Status {
            schema: "ivshmem-status/1",
            name: "micro".parse().unwrap(),
            state,
            qemu,
            doorbell_server: None,
            vm: vm.map(Box::new),
            result: None,
            disk: None,
        }
    }

    #[test]
    fn each_state_as_the_user_sees_it() {
        let texts = [
            text(&status("running", Some(example()))),
            text(&Status { doorbell_server: Some("dead"), ..status("running", Some(doorbell_example())) }),
            text(&status("starting", None)),
            text(&status("dead", Some(example()))),
            text(&status("dead", None)),
            text(&Status { result: Some("RESULT {\"ok\":1}".to_owned()), ..status("dead", None) }),
            text(&status("absent", None)),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
