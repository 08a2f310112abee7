//! The real thing: a guest under TCG, its PCI BAR2, and faults that only a virtual machine can have.
//!
//! Needs the binaries that `scripts/test.sh` builds first: `provision`, and the static `guest-reader`.

mod common;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{ENDLESS, Place, complaint, guest_reader, stderr, target_release};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A micro guest on a place's region, taken down when the test ends.
struct Vm<'a> {
    place: &'a Place,
}

impl<'a> Vm<'a> {
    fn up(place: &'a Place, guest_args: &str) -> Self {
        let vm = Self { place };
        let region = place.region.display().to_string();
        let mut args = vec!["up", "--guest", "micro", "--accel", "tcg", "--shm", &region];
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

    fn pid(&self) -> Pid {
        let output = self.provision(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
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
    for field in ["vcpu_run_delay_ns", "vcpu_involuntary_context_switches"] {
        assert!(run["interference"][field].is_u64(), "{field}: {}", run["interference"]);
    }
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
    assert_eq!((&run["vm"]["name"], &run["vm_beside"]), (&"micro".into(), &serde_json::Value::Null));
}
