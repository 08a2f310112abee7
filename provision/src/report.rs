//! What `up` tells the user: phases on standard error as they happen, the summary on standard output.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::accel::{Accelerator, Asked};
use crate::boot::Event;
use crate::size::Bytes;
use crate::state::{AcceleratorRecord, VmRecord};

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Nothing.
    pub quiet: bool,
}

impl Progress {
    /// Something the user should know.
    pub fn note(self, text: &str) {
        self.line(format_args!("provision: {text}"));
    }

    /// A phase of the start, with its time since QEMU was started.
    pub fn phase(self, event: &Event<'_>, since: Duration) {
        let what = match event {
            Event::Running(version) => format!("QEMU {version} runs"),
            Event::FirstSerialByte => "the kernel's first byte on the serial port".to_owned(),
            Event::Ready => "ready".to_owned(),
        };
        self.line(format_args!("[{:7.3} s] {what}", since.as_secs_f64()));
    }

    fn line(self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            // A closed standard error is no reason to give up a VM.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

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
    let _ = writeln!(
        text,
        "{} is ready after {total:.2} s ({:.0} ms before QEMU's start)",
        vm.name, vm.prepare_ms
    );
    for (label, value) in facts(vm) {
        let _ = writeln!(text, "  {label:<12} {value}");
    }
    let default_region = vm.shm_path.as_os_str() == "/dev/shm/ivshmem";
    let shm = if default_region { String::new() } else { format!(" --shm {}", vm.shm_path.display()) };
    let name = if vm.name.as_str() == "micro" { String::new() } else { format!(" --name {}", vm.name) };
    let _ = writeln!(text, "Measure with 'host-writer{shm}', stop with 'provision down{name}'.");
    text
}

/// What is worth knowing about a VM, label and value.
pub fn facts(vm: &VmRecord) -> Vec<(&'static str, String)> {
    let release = vm.kernel.release.clone().unwrap_or_else(|| vm.kernel.path.display().to_string());
    let vcpus = if vm.vcpus == 1 { "1 vCPU".to_owned() } else { format!("{} vCPUs", vm.vcpus) };
    let pinned: Vec<String> =
        vm.vcpu_threads.iter().filter_map(|t| t.cpu).map(|cpu| cpu.to_string()).collect();
    let pinned =
        if pinned.is_empty() { "not pinned".to_owned() } else { format!("on CPU {}", pinned.join(",")) };
    let made = if vm.shm_created { "created, removed by down" } else { "was there, stays" };
    let guest = vm.ready.strip_prefix("READY").unwrap_or(&vm.ready).trim();
    vec![
        ("accelerator", accelerator_line(&vm.accelerator)),
        ("region", format!("{}, {} ({made})", vm.shm_path.display(), Bytes(vm.shm_bytes))),
        (
            "machine",
            format!(
                "{vcpus} {pinned}, {}, kernel {release}, QEMU {}",
                Bytes(vm.memory_bytes),
                vm.qemu.version
            ),
        ),
        ("guest", if guest.is_empty() { "ready".to_owned() } else { guest.to_owned() }),
    ]
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
            shm_created: true,
            shm_inode: 7,
            kernel: KernelRecord {
                path: "/cache/vmlinuz".into(),
                release: Some("6.1.0-28-cloud-amd64".to_owned()),
                sha256: None,
            },
            vcpu_threads: vec![VcpuThread { vcpu: 0, tid: 124, cpu: Some(1) }],
            phases_ms: PhasesMs { qmp: 12.3, first_serial_byte: 300.0, ready: 2310.0 },
            prepare_ms: 90.0,
            ready: "READY version=0.1.0 device=0000:00:02.0 map=resource2_wc bytes=67108864".to_owned(),
            started_utc: "2026-11-20T20:00:00Z".to_owned(),
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

    #[test]
    fn the_record_reads_back_as_it_was() {
        let text = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<VmRecord>(&text).unwrap(), example());
    }
}
