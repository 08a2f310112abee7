//! What `up` tells the user: phases on standard error as they happen, the summary on standard output.

use std::fmt::Write as _;

use crate::accel::{Accelerator, Asked};
use crate::doorbell_server::is_memfd;
pub use crate::progress::Progress;
use crate::size::Bytes;
use crate::state::{AcceleratorRecord, Start, VmRecord};

/// One line on the accelerator: what runs, what was asked, why.
pub fn accelerator_line(record: &AcceleratorRecord) -> String {
    if record.asked == Asked::Tcg {
        return format!("{}, as asked for", record.effective);
    }
    format!("{} (asked {}): {}", record.effective, record.asked, record.why)
}

/// The summary of a VM that became ready.
pub fn summary(vm: &VmRecord) -> String {
    let mut text = String::new();
    let total = (vm.prepare_ms + vm.phases_ms.ready) / 1e3;
    let how = how_started(vm);
    let prepare_ms = vm.prepare_ms;
    let _ = writeln!(
        text,
        "{} is {how} and ready after {total:.2} s ({prepare_ms:.0} ms before QEMU's start)",
        vm.name
    );
    for (label, value) in facts(vm) {
        let _ = writeln!(text, "  {label:<12} {value}");
    }
    if let Some(ssh) = &vm.ssh {
        let _ = writeln!(text, "A shell: 'provision ssh{}', on port {}.", name_flag(vm), ssh.port);
        let _ =
            writeln!(text, "Measure with 'provision run{0}', stop with 'provision down{0}'.", name_flag(vm));
        return text;
    }
    let default_region = vm.shm_path.as_os_str() == "/dev/shm/ivshmem";
    let shm = match &vm.doorbell {
        Some(doorbell) => format!(" --server {}", doorbell.socket.display()),
        None if default_region => String::new(),
        None => format!(" --shm {}", vm.shm_path.display()),
    };
    let name = name_flag(vm);
    if vm.asks() {
        let _ = writeln!(
            text,
            "It asks another guest; 'provision status{name}' shows the result, 'provision down{name}' stops it."
        );
        return text;
    }
    let lane = vm.lane().map_or_else(String::new, |lane| format!(" --lane {lane}"));
    // A guest that is told by a host that looks hardly sleeps: what is measured then is looking.
    let wait = vm.host_wait().map_or_else(String::new, |wait| format!(" --wait {wait}"));
    let _ = writeln!(text, "Measure with 'host-writer{shm}{lane}{wait}', stop with 'provision down{name}'.");
    text
}

/// How later commands say which VM is meant, where its name is not the kind's own.
fn name_flag(vm: &VmRecord) -> String {
    if vm.name.as_str() == vm.guest { String::new() } else { format!(" --name {}", vm.name) }
}

/// Booted or restored.
pub fn how_started(vm: &VmRecord) -> &'static str {
    match vm.start {
        Start::Cold => "booted",
        Start::Restored => "restored from its snapshot",
    }
}

/// What is worth knowing about a VM, label and value.
pub fn facts(vm: &VmRecord) -> Vec<(&'static str, String)> {
    let release = vm.kernel.release.clone().unwrap_or_else(|| vm.kernel.path.display().to_string());
    let vcpus = if vm.vcpus == 1 { "1 vCPU".to_owned() } else { format!("{} vCPUs", vm.vcpus) };
    let pinned: Vec<String> =
        vm.vcpu_threads.iter().filter_map(|t| t.cpu).map(|cpu| cpu.to_string()).collect();
    let pinned =
        if pinned.is_empty() { "not pinned".to_owned() } else { format!("on CPU {}", pinned.join(",")) };
    let whose = vm.joined().map(|owner| format!("VM {owner}'s"));
    let made = match (&whose, vm.shm_created) {
        (Some(whose), _) => whose,
        (None, true) => "created, removed by down",
        (None, false) if is_memfd(&vm.shm_path) => "sealed, only for those who join the server",
        (None, false) => "was there, stays",
    };
    let pages = vm.hugepages.map_or_else(String::new, |page| format!(" in huge pages of {page}"));
    let guest = vm.ready.strip_prefix("READY").unwrap_or(&vm.ready).trim();
    let mut facts = vec![
        ("accelerator", accelerator_line(&vm.accelerator)),
        ("region", format!("{}, {}{pages} ({made})", vm.shm_path.display(), Bytes(vm.shm_bytes))),
        (
            "machine",
            format!(
                "{vcpus} {pinned}, {}, kernel {release}, QEMU {}",
                Bytes(vm.memory_bytes),
                vm.qemu.version
            ),
        ),
        ("guest", if guest.is_empty() { "ready".to_owned() } else { guest.to_owned() }),
    ];
    if let Some(doorbell) = &vm.doorbell {
        let vectors =
            if doorbell.vectors == 1 { "1 vector" } else { &format!("{} vectors", doorbell.vectors) };
        let iommu = if vm.viommu { ", the guest has an IOMMU" } else { "" };
        let whose = doorbell.joined.as_ref().map_or_else(String::new, |owner| format!("VM {owner}'s "));
        let server = format!("{whose}server {} (pid {})", doorbell.socket.display(), doorbell.server_pid);
        facts.insert(2, ("doorbell", format!("{vectors}, {server}{iommu}")));
    }
    if let Some(disk) = &vm.disk {
        let next = match disk.snapshot {
            true => {
                "an up with the same settings returns to the moment it was first ready: what is written from now on is gone then"
            }
            false => "no snapshot: the next up boots it as it was left",
        };
        facts.push(("image", format!("{} (sha256 {:.16})", disk.image, disk.image_sha256)));
        facts.push(("disk", format!("{}; {next}", Bytes(disk.bytes))));
    }
    if let Some(ssh) = &vm.ssh {
        facts.push((
            "ssh",
            format!("{}@127.0.0.1 port {}, key {}", ssh.user, ssh.port, ssh.identity_file.display()),
        ));
    }
    facts
}

/// What the user should know about a choice of accelerator before the guest starts.
pub fn accelerator_note(record: &AcceleratorRecord) -> String {
    let cost = match record.effective {
        Accelerator::Tcg if record.ladder.is_empty() => String::new(),
        _ => format!(" [checked in {:.0} ms]", record.ladder_ms),
    };
    format!("accelerator {}{cost}", accelerator_line(record))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::accel::Rung;
    use crate::doorbell::DoorbellRecord;
    use crate::doorbell_server::MemoryKind;
    use crate::state::{KernelRecord, PhasesMs, QemuRecord, SCHEMA, VcpuThread};

    /// A record as `up` would write it.
    pub(crate) fn example() -> VmRecord {
        VmRecord {
            schema: SCHEMA.to_owned(),
            name: "micro".parse().unwrap(),
            guest: "micro".to_owned(),
            pid: 123,
            pid_start_time_ticks: 999,
            qemu: QemuRecord {
                path: "/usr/bin/qemu-system-x86_64".into(),
                version: "7.2.22 (Debian 1:7.2+dfsg-7)".to_owned(),
                args: vec!["-nodefaults".to_owned()],
            },
            accelerator: AcceleratorRecord {
                asked: Asked::Auto,
                effective: Accelerator::Tcg,
                why: "/dev/kvm is absent".to_owned(),
                ladder: vec![Rung::failed("open the KVM device", "/dev/kvm is absent")],
                instructions_per_second: None,
                exit_cost_ns: None,
                ladder_ms: 0.1,
            },
            vcpus: 1,
            memory_bytes: 512 << 20,
            shm_path: "/dev/shm/ivshmem".into(),
            shm_bytes: 64 << 20,
            hugepages: None,
            doorbell: None,
            viommu: false,
            shm_created: true,
            shm_inode: 7,
            kernel: KernelRecord {
                path: "/cache/vmlinuz".into(),
                release: Some("6.1.0-28-cloud-amd64".to_owned()),
                sha256: None,
            },
            vcpu_threads: vec![VcpuThread { vcpu: 0, tid: 124, cpu: Some(1) }],
            phases_ms: PhasesMs { qmp: 12.3, first_serial_byte: 300.0, ready: 2310.0, ..PhasesMs::default() },
            prepare_ms: 90.0,
            ready: "READY version=0.1.0 device=0000:00:02.0 map=resource2_wc bytes=67108864".to_owned(),
            started_utc: "2026-11-20T20:00:00Z".to_owned(),
            host_boot_id: "6f7a2f3e-1c39-4a5e-9a4b-0d8a4f1f6c11".to_owned(),
            start: Start::Cold,
            disk: None,
            ssh: None,
        }
    }

    #[test]
    fn the_summary_and_the_record_as_the_user_sees_them() {
        insta::assert_snapshot!("summary", summary(&example()));
        insta::assert_snapshot!("vm_json", serde_json::to_string_pretty(&example()).unwrap());
    }

    #[test]
    fn another_name_and_region_appear_in_what_to_type() {
        let vm = VmRecord { name: "b".parse().unwrap(), shm_path: "/dev/shm/b".into(), ..example() };
        assert!(summary(&vm).ends_with(
            "Measure with 'host-writer --shm /dev/shm/b', stop with 'provision down --name b'.\n"
        ));
    }

    /// The same with doorbells and without a file.
    pub(crate) fn doorbell_example() -> VmRecord {
        let doorbell = DoorbellRecord {
            server_pid: 122,
            server_pid_start_time_ticks: 998,
            socket: "/state/micro/doorbell.sock".into(),
            vectors: 2,
            memory: MemoryKind::Memfd,
            joined: None,
        };
        let shm_path = "memfd".into();
        VmRecord {
            doorbell: Some(doorbell),
            viommu: true,
            shm_path,
            shm_created: false,
            shm_inode: 0,
            ..example()
        }
    }

    #[test]
    fn a_doorbell_server_is_told_beside_the_region() {
        insta::assert_snapshot!(summary(&doorbell_example()));
        let record = serde_json::to_value(doorbell_example().doorbell).unwrap();
        assert_eq!(record["memory"], "memfd");
    }

    #[test]
    fn what_to_type_is_in_the_guests_lane_and_nothing_is_measured_that_asks_by_itself() {
        let ready = |ready: &str| VmRecord { ready: ready.to_owned(), ..doorbell_example() };
        let vm = ready("READY version=0.1.0 lane=1/2");
        let expected = "Measure with 'host-writer --server /state/micro/doorbell.sock --lane 1/2', stop with 'provision down'.\n";
        assert!(summary(&vm).ends_with(expected), "{}", summary(&vm));
        for (wait, flag) in [
            ("poll", ""),
            ("uio", " --wait doorbell"),
            ("vfio", " --wait doorbell"),
            ("adaptive=uio", " --wait adaptive"),
        ] {
            let vm = ready(&format!("READY version=0.1.0 wait={wait} bytes=1"));
            let expected = format!("doorbell.sock{flag}', stop with");
            assert!(summary(&vm).contains(&expected), "{}", summary(&vm));
        }
        let vm = ready("READY version=0.1.0 lane=1/2 initiate=5");
        let expected =
            "It asks another guest; 'provision status' shows the result, 'provision down' stops it.\n";
        assert!(summary(&vm).ends_with(expected), "{}", summary(&vm));
    }

    #[test]
    fn huge_pages_are_told_beside_the_region() {
        let vm = VmRecord { hugepages: Some(crate::hugepages::HugePage::Size2M), ..example() };
        let region = facts(&vm).into_iter().find(|(label, _)| *label == "region").unwrap().1;
        assert_eq!(region, "/dev/shm/ivshmem, 64 MiB in huge pages of 2 MiB (created, removed by down)");
    }

    #[test]
    fn the_record_reads_back_as_it_was() {
        let text = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<VmRecord>(&text).unwrap(), example());
    }
}
