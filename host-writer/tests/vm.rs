//! The real thing: a guest under TCG, its PCI BAR2, and faults that only a virtual machine can have.
//!
//! Needs the binaries that `scripts/test.sh` builds first: `provision`, and the static `guest-reader`.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{ENDLESS, Place, complaint, guest_reader, stderr, target_release};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A micro guest on a place's region, taken down when the test ends.
struct Vm<'a> {
    place: &'a Place,
}

impl<'a> Vm<'a> {
    fn up(place: &'a Place, guest_args: &str) -> Self {
        Self::up_with(place, &[], guest_args)
    }

    fn up_with(place: &'a Place, more: &[&str], guest_args: &str) -> Self {
        let vm = Self { place };
        let region = place.region.display().to_string();
        let mut args = vec!["up", "--guest", "micro", "--accel", "tcg"];
        if !more.contains(&"--shm") {
            args.extend(["--shm", &region]);
        }
        args.extend(more);
        if !guest_args.is_empty() {
            args.extend(["--guest-args", guest_args]);
        }
        let output = vm.provision(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        vm
    }

    fn provision(&self, args: &[&str]) -> Output {
        let path: PathBuf = target_release().join("provision");
        assert!(path.exists(), "{} is missing; run scripts/test.sh, which builds it first", path.display());
        Command::new(path)
            .args(args)
            .env("IVSHMEM_STATE_DIR", self.place.dir.path().join("state"))
            .env("IVSHMEM_GUEST_READER", guest_reader())
            .output()
            .unwrap()
    }

    /// host-writer as a peer of the VM's server.
    fn host(&self, args: &[&str]) -> Output {
        let output = self.provision(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let socket = status["vm"]["doorbell"]["socket"].as_str().or(status["doorbell"]["socket"].as_str());
        let mut command = self.place.bare_host(args);
        command.args(["--server", socket.unwrap()]).output().unwrap()
    }

    fn pid(&self) -> Pid {
        let output = self.provision(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        Pid::from_raw(status["vm"]["pid"].as_i64().or(status["pid"].as_i64()).unwrap() as i32)
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        self.provision(&["down"]);
    }
}

#[test]
fn every_byte_through_the_bar_is_verified_and_the_run_says_where_it_took_place() {
    let place = Place::new();
    let _vm = Vm::up(&place, "");
    let output = place.run_host(&["--messages", "20000", "--iterations", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.rows("latency_results.csv").len(), 20_000);
    assert!(place.statuses("latency_results.csv").iter().all(|status| status == "ok"));
    let frames = place.rows("bandwidth_results.csv");
    assert_eq!(frames.len(), 6);
    assert!(frames.iter().all(|row| row["status"] == "ok" && row["data_verified"] == "1"), "{frames:?}");

    let run = place.run_json();
    let device = run["guest"]["device"].as_str().unwrap();
    assert!(device.ends_with(" 1af4:1110 BAR2"), "{device}");
    assert!(run["guest"]["map_kind"].as_str().unwrap().starts_with("resource2"), "{run}");
    assert!(run["guest"]["cpu_model"].as_str().unwrap().contains("TCG"), "{run}");
    assert_ne!(run["guest"]["memory_type"], "unknown");
    let accelerator = &run["vm"]["accelerator"];
    assert_eq!((&accelerator["asked"], &accelerator["effective"]), (&"tcg".into(), &"tcg".into()));
    assert!(!accelerator["why"].as_str().unwrap().is_empty());
    for field in ["run_delay_ns", "vcpu_run_delay_ns", "vcpu_involuntary_context_switches"] {
        assert!(run["interference"][field].is_u64(), "{field}: {}", run["interference"]);
    }
    assert!(run["interference"]["guest_run_delay_ns"].is_null(), "its threads are the VM's");
    assert!(run["vm"]["qemu"]["version"].is_string() && run["vm"]["qemu"]["args"].is_array());
}

#[test]
fn faults_in_the_guest_are_rows_on_the_host() {
    let place = Place::new();
    let vm = Vm::up(&place, "--inject corrupt=2");
    let args = ["--messages", "0", "--frames", "1080p", "--iterations", "3"];
    let output = place.run_host(&args);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(place.statuses("bandwidth_results.csv"), ["ok", "mismatch", "ok"]);
    drop(vm);

    let _vm = Vm::up(&place, "--inject drop-ack=5 --map resource2 --spin pause");
    let args = ["--messages", "20", "--warmup", "0", "--frames", "none", "--timeout", "300ms"];
    let output = place.run_host(&args);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let statuses = place.statuses("latency_results.csv");
    assert_eq!(statuses.iter().filter(|s| *s == "ok").count(), 19);
    assert_eq!(statuses[4], "timeout_processed");
    let run = place.run_json();
    assert_eq!((&run["guest"]["map_kind"], &run["guest"]["spin"]), (&"resource2".into(), &"pause".into()));
}

#[test]
fn a_vm_that_is_killed_ends_the_run_and_a_host_that_is_killed_does_not_end_the_vm() {
    let place = Place::new();
    let vm = Vm::up(&place, "");
    // The host dies first, twice; the same guest serves the next one.
    let mut session = 0;
    for _ in 0..2 {
        session = place.kill_a_host(session);
        let output = place.run_host(&["--messages", "1000", "--frames", "none"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        session = place.wait_for_message(1, session);
    }
    // Then QEMU does.
    let host = place.host(&ENDLESS).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    place.wait_for_message(5, session);
    kill(vm.pid(), Signal::SIGKILL).unwrap();
    let output = host.wait_with_output().unwrap();
    let (code, line) = complaint(&place, &output);
    assert_eq!(code, Some(1));
    assert!(line.contains("the guest stopped answering at message"), "{line}");
    let statuses = place.statuses("latency_results.csv");
    let (last, before) = statuses.split_last().unwrap();
    assert!(last.starts_with("timeout") && before.iter().all(|s| s == "ok"), "{statuses:?}");
    assert_eq!(vm.provision(&["status"]).status.code(), Some(3), "provision knows that it is dead");
    assert_eq!(place.run_json()["completed"], false);
}

/// A run through interrupts in which every message is ok; returns run.json.
fn rung(vm: &Vm<'_>, wait: &str, pace: &[&str]) -> Value {
    let args = [&["--messages", "300", "--warmup", "10", "--frames", "none", "--wait", wait], pace].concat();
    let output = vm.host(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = vm.place.run_json();
    let doorbell = &run["doorbell"];
    assert_eq!(doorbell["missed"], 0, "{doorbell}");
    let is_known = doorbell["vcpu_cpu_ns_per_message"].as_f64().is_some_and(|ns| ns > 0.0);
    // Back to back it may be over before the kernel's ticks tell.
    let is_too_short = pace.is_empty() && doorbell["guest_cpu_unknown_because"].is_string();
    assert!(is_known || is_too_short, "{doorbell}");
    run
}

#[test]
fn a_guest_sleeps_until_its_own_driver_tells_it_of_a_message() {
    let place = Place::new();
    let vm = Vm::up_with(&place, &["--doorbell"], "--wait uio --vector 1");
    let run = rung(&vm, "doorbell", &["--interval", "1ms"]);
    let doorbell = &run["doorbell"];
    assert_eq!((&doorbell["guest_wait"], &doorbell["guest_vector"]), (&"uio".into(), &1.into()));
    assert!(doorbell["interrupts"].as_u64().unwrap() >= 200, "{doorbell}");
    assert!(doorbell["host_interrupts"].as_u64().unwrap() >= 200, "{doorbell}");
    assert_eq!(
        (&run["guest"]["map_kind"], &run["guest"]["memory_type"]),
        (&"uio".into(), &"write-back".into())
    );
    // Without a pause, looking on one side, adapting, and payloads.
    rung(&vm, "doorbell", &[]);
    rung(&vm, "poll", &["--interval", "1ms"]);
    rung(&vm, "adaptive", &["--rate", "200", "--arrivals", "poisson"]);
    let output =
        vm.host(&["--messages", "0", "--frames", "1080p", "--iterations", "2", "--wait", "doorbell"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(place.rows("bandwidth_results.csv").iter().all(|row| row["data_verified"] == "1"));
    // A host that has no doorbell is answered all the same.
    let output = place.run_host(&["--messages", "1000", "--frames", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // One that is killed leaves a guest that rings a peer which is no more.
    let endless = [
        "--server",
        doorbell["server"].as_str().unwrap(),
        "--wait",
        "doorbell",
        "--messages",
        "100000",
        "--frames",
        "none",
    ];
    let before = place.wait_for_message(1, 0);
    let mut killed =
        place.bare_host(&endless).args(["--interval", "1ms"]).stdout(Stdio::null()).spawn().unwrap();
    let before = place.wait_for_message(1010, before);
    killed.kill().unwrap();
    killed.wait().unwrap();
    rung(&vm, "doorbell", &["--interval", "1ms"]);
    let before = place.wait_for_message(1, before);
    // QEMU goes, and with it the guest from the server.
    let mut command = place.bare_host(&["--messages", "100000", "--interval", "1ms", "--frames", "none"]);
    command.args(["--server", doorbell["server"].as_str().unwrap(), "--wait", "doorbell"]);
    let host = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    place.wait_for_message(1010, before);
    kill(vm.pid(), Signal::SIGKILL).unwrap();
    let (code, line) = complaint(&place, &host.wait_with_output().unwrap());
    assert_eq!(code, Some(1));
    assert!(line.contains("the guest left the server (peer 0 vector 1) at "), "{line}");
}

#[test]
fn a_guest_sleeps_until_vfio_tells_it_of_a_message() {
    let place = Place::new();
    let vm = Vm::up_with(&place, &["--doorbell", "--viommu", "--shm", "memfd"], "--wait adaptive=vfio");
    let run = rung(&vm, "doorbell", &["--interval", "1ms"]);
    let doorbell = &run["doorbell"];
    assert_eq!(
        (&doorbell["guest_wait"], &run["guest"]["map_kind"]),
        (&"adaptive=vfio".into(), &"vfio".into())
    );
    assert!(doorbell["interrupts"].as_u64().unwrap() >= 200, "{doorbell}");
    assert_eq!(run["vm"]["accelerator"]["effective"], "tcg", "found by its server: the region has no name");
}

#[test]
fn a_guest_that_cannot_be_told_says_why() {
    for (up, guest_args, expected) in [
        (&[][..], "--wait uio", "has no interrupts: it is ivshmem-plain"),
        (&["--doorbell"], "--wait uio --vector 2", "has 2 vectors, 0 to 1"),
        (&["--doorbell"], "--wait vfio", "is in no IOMMU group: vfio-pci needs an IOMMU"),
    ] {
        let place = Place::new();
        let vm = Vm { place: &place };
        let region = place.region.display().to_string();
        let args = ["up", "--guest", "micro", "--accel", "tcg", "--shm", &region, "--guest-args", guest_args];
        let output = vm.provision(&[&args[..], up].concat());
        assert_eq!(output.status.code(), Some(1), "{guest_args}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

/// A program in QEMU's place: QEMU itself, after a change to its arguments.
fn qemu_with(place: &Place, change: &str) -> String {
    let (text, program) = (place.dir.path().join("qemu.sh"), place.dir.path().join("qemu"));
    fs::write(&text, format!("#!/bin/bash\n{change}\nexec qemu-system-x86_64 \"$@\"\n")).unwrap();
    // By another process: were it written by this one, a test that forks at that moment would hold it open for writing,
    // and it could not be executed (ETXTBSY).
    let mut install = Command::new("install");
    assert!(install.args(["-m", "755"]).args([&text, &program]).status().unwrap().success());
    program.display().to_string()
}

#[test]
fn a_kernel_that_takes_no_module_of_ours_says_so_and_vfio_works_there() {
    for (kernel_argument, guest_args, expected) in [
        (
            "module.sig_enforce=1",
            "--wait uio",
            "ivshmem_uio.ko: EKEYREJECTED: Key was rejected by service: this kernel takes only signed modules",
        ),
        (
            "lockdown=integrity",
            "--wait uio",
            "ivshmem_uio.ko: EPERM: Operation not permitted: that takes root's rights, ",
        ),
        (
            "lockdown=integrity",
            "--wait poll",
            "this kernel is locked down (secure boot) and lets no program map",
        ),
    ] {
        let place = Place::new();
        let vm = Vm { place: &place };
        let qemu = qemu_with(&place, &format!("set -- \"${{@/#console=/{kernel_argument} console=}}\""));
        let region = place.region.display().to_string();
        let args =
            ["up", "--guest", "micro", "--accel", "tcg", "--doorbell", "--shm", &region, "--qemu", &qemu];
        let output = vm.provision(&[&args[..], &["--guest-args", guest_args]].concat());
        assert_eq!(output.status.code(), Some(1), "{kernel_argument} {guest_args}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let place = Place::new();
    let qemu = qemu_with(&place, "set -- \"${@/#console=/lockdown=integrity console=}\"");
    // Who leaves the choice open gets what there is.
    let vm = Vm::up_with(&place, &["--doorbell", "--viommu", "--qemu", &qemu], "--wait adaptive");
    let console = vm.provision(&["console"]);
    assert!(String::from_utf8_lossy(&console.stdout).contains("lockdown=integrity"));
    let doorbell = &rung(&vm, "doorbell", &["--interval", "2ms"])["doorbell"];
    assert_eq!(doorbell["guest_wait"], "adaptive=vfio");
    assert!(doorbell["interrupts"].as_u64().unwrap() >= 100, "{doorbell}");
}

#[test]
fn a_guest_with_more_vectors_than_its_server_gives_is_told_from_one_with_fewer() {
    // Of the server's two, the device has one: the other is QEMU's to ignore.
    let place = Place::new();
    let qemu = qemu_with(&place, "set -- \"${@/vectors=2/vectors=1}\"");
    {
        let vm = Vm::up_with(&place, &["--doorbell", "--qemu", &qemu], "--wait adaptive");
        let doorbell = &rung(&vm, "doorbell", &["--interval", "2ms"])["doorbell"];
        assert_eq!(doorbell["guest_wait"], "adaptive=uio");
    }
    let place = Place::new();
    let qemu = qemu_with(&place, "set -- \"${@/vectors=2/vectors=4}\"");
    let vm = Vm::up_with(&place, &["--doorbell", "--qemu", &qemu], "--wait uio --vector 3");
    let output = vm.host(&["--messages", "10", "--frames", "none", "--wait", "doorbell"]);
    let (code, line) = complaint(&place, &output);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("rung at peer 0 vector 3, but that peer has 2 vectors"), "{line}");
}

#[test]
fn a_second_reader_leaves_the_region_to_the_vm_that_has_it() {
    let place = Place::new();
    let _vm = Vm::up(&place, "");
    let output = Command::new(guest_reader()).arg("--map").arg(&place.region).output().unwrap();
    let (code, line) = complaint(&place, &output);
    assert_eq!(code, Some(1));
    assert!(line.starts_with("guest-reader: another guest serves this region (device 0000:00:"), "{line}");
    let output = place.run_host(&["--messages", "1000", "--frames", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = place.run_json();
    assert_eq!((&run["vm"]["name"], &run["vm_beside"]), (&"micro".into(), &Value::Null));
}
