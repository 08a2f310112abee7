//! The life of a micro guest, end to end: real QEMU under TCG, Debian's cloud kernel, the real guest-reader.
//!
//! Needs the static guest-reader (provision says how to build it) and, the first time, the package mirror.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use common::{Place, fail, script, succeed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn pid(vm: &Value) -> Pid {
    Pid::from_raw(vm["pid"].as_i64().unwrap().try_into().unwrap())
}

#[test]
fn up_status_console_down_leave_nothing() {
    let place = Place::new();
    let (out, err) = succeed(&mut place.up(&["--accel", "tcg", "--json"]));
    let vm = json(&out);
    assert_eq!(vm["schema"], "ivshmem-vm/1");
    assert_eq!(vm["accelerator"]["asked"], "tcg");
    assert_eq!(vm["accelerator"]["effective"], "tcg");
    assert_eq!(vm["shm_bytes"], 16 << 20);
    assert_eq!(vm["shm_created"], true);
    assert!(vm["ready"].as_str().unwrap().starts_with("READY version="), "{}", vm["ready"]);
    assert!(err.contains("the kernel's first byte on the serial port"), "{err}");
    let phases = &vm["phases_ms"];
    assert!(phases["qmp"].as_f64() < phases["first_serial_byte"].as_f64());
    assert!(phases["first_serial_byte"].as_f64() < phases["ready"].as_f64());
    assert_eq!(vm["kernel"]["sha256"].as_str().unwrap().len(), 64);

    let recorded = fs::read_to_string(place.state().join("micro/vm.json")).unwrap();
    assert_eq!(json(&recorded), vm);
    if let Some(cpu) = vm["vcpu_threads"][0]["cpu"].as_u64() {
        let tid = &vm["vcpu_threads"][0]["tid"];
        let status = fs::read_to_string(format!("/proc/{}/task/{tid}/status", pid(&vm))).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(allowed.trim(), cpu.to_string());
    }

    let (out, _) = succeed(&mut place.provision(&["status", "--json"]));
    let status = json(&out);
    assert_eq!((status["state"].as_str(), status["qemu"].as_str()), (Some("running"), Some("running")));
    assert_eq!(status["vm"], vm);
    let (out, _) = succeed(&mut place.provision(&["status"]));
    assert!(out.starts_with("micro is up since"), "{out}");
    let (out, _) = succeed(&mut place.provision(&["console"]));
    assert!(out.contains("--ready-port /dev/ttyS1"), "{out}");

    let again = fail(&mut place.up(&[]), 1);
    assert!(again.starts_with("provision: VM micro is already up (pid "), "{again}");
    let same_region = fail(&mut place.up(&["--name", "other"]), 1);
    assert!(
        same_region.contains("belongs to VM micro: 'provision down --name micro' first"),
        "{same_region}"
    );
    assert!(
        place.region().exists() && !place.processes().is_empty(),
        "the first VM must not have been touched"
    );

    let mut follow = place.provision(&["console", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut followed = BufReader::new(follow.stdout.take().unwrap());
    followed.read_line(&mut first).unwrap();

    let (out, _) = succeed(&mut place.provision(&["down"]));
    assert_eq!(out, "micro is down\n");
    followed.read_to_string(&mut first).unwrap();
    assert!(follow.wait().unwrap().success(), "following ends with the VM");
    place.assert_clean();
    // Without a VM to go by, the name has to be given.
    let (out, _) = succeed(&mut place.provision(&["down", "--name", "micro"]));
    assert_eq!(out, "micro is not up; nothing to do\n");
    fail(&mut place.provision(&["status"]), 3);
    let none = fail(&mut place.provision(&["console", "--name", "micro"]), 1);
    assert!(none.starts_with("provision: there is no VM micro"), "{none}");
}

#[test]
fn a_vm_killed_behind_our_back_is_told_and_cleaned_by_the_next_up() {
    let place = Place::new();
    let (out, _) = succeed(&mut place.up(&["--kvm-device", "/nonexistent/kvm", "--json", "--quiet"]));
    let vm = json(&out);
    let accelerator = &vm["accelerator"];
    assert_eq!(
        (accelerator["asked"].as_str(), accelerator["effective"].as_str()),
        (Some("auto"), Some("tcg"))
    );
    assert!(accelerator["why"].as_str().unwrap().starts_with("/nonexistent/kvm is absent"), "{accelerator}");
    assert_eq!(accelerator["ladder"][0]["passed"], false);

    kill(pid(&vm), Signal::SIGKILL).unwrap();
    let id = provision::process::ProcessId {
        pid: vm["pid"].as_u64().unwrap().try_into().unwrap(),
        start_time_ticks: vm["pid_start_time_ticks"].as_u64().unwrap(),
    };
    if let Some(process) = id.open().unwrap() {
        assert!(process.wait_until(std::time::Instant::now() + std::time::Duration::from_secs(30)).unwrap());
    }
    let output = place.provision(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("micro is dead: QEMU is gone"));

    let (out, err) = succeed(&mut place.up(&["--accel", "tcg"]));
    assert!(err.contains("removed what a dead VM micro had left"), "{err}");
    assert!(out.contains("accelerator  TCG, as asked for"), "{out}");
    succeed(&mut place.provision(&["down"]));
    place.assert_clean();
}

#[test]
fn a_region_that_was_there_before_stays() {
    let place = Place::new();
    fs::write(place.region(), vec![0; 16 << 20]).unwrap();
    // Without seccomp, and with the user's own arguments for the guest.
    let qemu = script(
        &place,
        r#"case "$*" in *-sandbox*) echo "seccomp support is disabled" >&2; exit 1;; esac; exec qemu-system-x86_64 "$@""#,
    );
    let mut up = place.up(&["--accel", "tcg", "--guest-args", "--spin pause", "--json", "--qemu"]);
    let (out, err) = succeed(up.arg(&qemu));
    assert!(err.contains("this QEMU has no seccomp sandbox: starting without"), "{err}");
    assert_eq!(json(&out)["shm_created"], false);
    succeed(&mut place.provision(&["down"]));
    assert!(place.region().exists());
    fs::remove_file(place.region()).unwrap();
    place.assert_clean();
}

/// Starts a boot and sends `signal` when its kernel runs.
fn stop_while_booting(place: &Place, signal: Signal) -> std::process::ExitStatus {
    let mut up = place.up(&["--accel", "tcg"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let seen = lines.by_ref().find(|line| line.contains("first byte on the serial port"));
    assert!(seen.is_some(), "the guest did not boot");
    let busy = fail(&mut place.provision(&["down"]), 1);
    assert!(busy.contains(&format!("is being worked on by another provision (pid {})", up.id())), "{busy}");
    kill(Pid::from_raw(up.id().cast_signed()), signal).unwrap();
    let rest: Vec<String> = lines.collect();
    let status = up.wait().unwrap();
    if signal != Signal::SIGKILL {
        assert_eq!(rest, [format!("provision: interrupted ({})", signal.as_str())]);
    }
    status
}

#[test]
fn an_interrupt_while_booting_leaves_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let place = Place::new();
        assert_eq!(stop_while_booting(&place, signal).code(), Some(code));
        place.assert_clean();
    }
}

#[test]
fn what_a_start_killed_without_mercy_left_is_removed_by_down() {
    let place = Place::new();
    assert_eq!(stop_while_booting(&place, Signal::SIGKILL).signal(), Some(9));
    assert_eq!(place.processes().len(), 1, "QEMU is in a session of its own");
    let output = place.provision(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (out, _) = succeed(&mut place.provision(&["down"]));
    assert_eq!(out, "micro was not running any more; what it left is removed\n");
    place.assert_clean();
}

/// What is after `--` on the kernel's command line becomes guest-reader's arguments as it was typed.
#[test]
fn guest_arguments_with_equals_signs_arrive_whole() {
    let place = Place::new();
    let error =
        fail(&mut place.up(&["--accel", "tcg", "--guest-args", "--spin pause --device sleep=10us"]), 1);
    assert!(
        error.starts_with("provision: the guest is not ready: ") && error.contains("sleep=10us"),
        "{error}"
    );
    place.assert_clean();
    let (out, _) = succeed(&mut place.up(&[
        "--accel",
        "tcg",
        "--json",
        "--guest-args",
        "--spin pause  --inject drop-ack=4000000000",
    ]));
    assert!(json(&out)["ready"].as_str().unwrap().starts_with("READY "), "{out}");
    let (out, _) = succeed(&mut place.provision(&["console"]));
    assert!(out.contains("--spin pause  --inject drop-ack=4000000000"), "{out}");
    succeed(&mut place.provision(&["down"]));
    place.assert_clean();
}

#[test]
fn the_guests_own_reason_is_passed_on() {
    let place = Place::new();
    let error = fail(&mut place.up(&["--accel", "tcg", "--guest-args", "--device 0000:1f:1f.7"]), 1);
    assert!(error.starts_with("provision: the guest is not ready: "), "{error}");
    place.assert_clean();
}
