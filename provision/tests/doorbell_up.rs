//! `provision up --doorbell` with the micro guest, end to end: the server beside QEMU, what a program that joins it sees
//! of the guest, and nothing left of either however it ends. The guest-reader in it polls.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, fail, run, script, succeed};
use ivshmem_proto::server_client::{Joined, join};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provision::process::ProcessId;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn up(place: &Place, args: &[&str]) -> Command {
    place.up(&[&["--accel", "tcg", "--doorbell"], args].concat())
}

/// The same with memory that has no file.
fn up_memfd(place: &Place, args: &[&str]) -> Command {
    let mut command = place.provision(&["up", "--guest", "micro", "--shm-size", "16M", "--shm", "memfd"]);
    command.args(["--accel", "tcg", "--doorbell"]).args(args);
    command
}

fn server(vm: &Value) -> ProcessId {
    let number = |name: &str| vm["doorbell"][name].as_u64().unwrap();
    ProcessId {
        pid: number("server_pid").try_into().unwrap(),
        start_time_ticks: number("server_pid_start_time_ticks"),
    }
}

fn join_vm(vm: &Value) -> Joined {
    join(&PathBuf::from(vm["doorbell"]["socket"].as_str().unwrap()), 1, PATIENCE).unwrap()
}

/// What guest-reader writes at the head of the guest's page, whose first word is not zero.
fn guest_has_written(memory: &File) -> bool {
    let mut word = [0; 8];
    memory.read_exact_at(&mut word, 4096).unwrap();
    word != [0; 8]
}

#[test]
fn a_named_region_and_its_server_come_and_go_with_the_vm() {
    let place = Place::new();
    let (out, _) = succeed(&mut up(&place, &["--vectors", "3", "--json"]));
    let vm = json(&out);
    let doorbell = &vm["doorbell"];
    assert_eq!((doorbell["vectors"].as_u64(), doorbell["memory"].as_str()), (Some(3), Some("file")));
    assert!(server(&vm).is_alive());
    assert_eq!(vm["viommu"], false);
    let args: Vec<&str> =
        vm["qemu"]["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(args.contains(&"ivshmem-doorbell,chardev=doorbell,vectors=3,master=on"), "{args:?}");
    assert!(args.contains(&"-sandbox"), "{args:?}");

    let peer = join_vm(&vm);
    assert_eq!(peer.table.peers.iter().map(|(id, bells)| (*id, bells.len())).collect::<Vec<_>>(), [(0, 3)]);
    let memory = File::from(peer.memory.try_clone().unwrap());
    assert_eq!(memory.metadata().unwrap().ino(), fs::metadata(place.region()).unwrap().ino());
    assert!(guest_has_written(&memory));
    let log = fs::read_to_string(place.state().join("micro/doorbell.log")).unwrap();
    assert!(log.contains("peer 0 joined (pid ") && log.contains("qemu-system"), "{log}");

    let (out, _) = succeed(&mut place.provision(&["status"]));
    assert!(out.contains("\n  doorbell     3 vectors, server ") && !out.contains("dead"), "{out}");
    succeed(&mut place.provision(&["down"]));
    place.assert_clean();
}

#[test]
fn a_memfd_is_shared_by_the_server_alone_also_behind_an_iommu() {
    let place = Place::new();
    let (out, _) = succeed(&mut up_memfd(&place, &["--viommu", "--json"]));
    let vm = json(&out);
    assert_eq!((vm["doorbell"]["memory"].as_str(), vm["shm_path"].as_str()), (Some("memfd"), Some("memfd")));
    assert_eq!((vm["viommu"].as_bool(), vm["shm_created"].as_bool()), (Some(true), Some(false)));
    let memory = File::from(join_vm(&vm).memory);
    assert_eq!(memory.metadata().unwrap().len(), 16 << 20);
    assert!(guest_has_written(&memory));
    let (console, _) = succeed(&mut place.provision(&["console"]));
    assert!(console.contains("intel_iommu=on"), "{console}");

    // Memory without a name is nobody else's.
    let (out, _) = succeed(&mut up_memfd(&place, &["--name", "other", "--json"]));
    assert_ne!(json(&out)["doorbell"]["socket"], vm["doorbell"]["socket"]);
    succeed(&mut place.provision(&["down", "--name", "other"]));

    server(&vm).open().unwrap().unwrap().kill().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while server(&vm).is_alive() {
        assert!(Instant::now() < deadline, "the server does not die");
    }
    let (out, _) = succeed(&mut place.provision(&["status"]));
    assert!(out.contains("its server is dead") && out.contains("QEMU cannot rejoin"), "{out}");
    let (out, _) = succeed(&mut place.provision(&["status", "--json"]));
    assert_eq!(json(&out)["doorbell_server"], "dead");
    let (out, _) = succeed(&mut place.provision(&["list"]));
    assert!(out.contains("\nmicro: its server is dead: "), "{out}");
    assert_eq!(succeed(&mut place.provision(&["down"])).0, "micro is down\n");
    place.assert_clean();
}

#[test]
fn a_start_that_fails_leaves_no_server() {
    let place = Place::new();
    let error = fail(&mut up(&place, &["--guest-args", "--device 0000:1f:1f.7"]), 1);
    assert!(error.starts_with("provision: the guest is not ready: "), "{error}");
    place.assert_clean();
    // More than any machine has, which the server finds out.
    let mut big = place.provision(&["up", "--guest", "micro", "--shm", "memfd", "--shm-size", "1024G"]);
    let error = fail(big.args(["--accel", "tcg", "--doorbell"]), 1);
    assert!(
        error.starts_with("provision: the doorbell server does not start: no room for 1099511627776"),
        "{error}"
    );
    place.assert_clean();
    let said = "x: 'ivshmem-doorbell' is not a valid device model name";
    let old = script(&place, &format!("echo \"{said}\" >&2; exit 1"));
    let error = fail(up(&place, &["--qemu"]).arg(&old), 1);
    assert!(error.contains("has no ivshmem-doorbell device: install Debian's QEMU"), "{error}");
    place.assert_clean();
}

/// The same start twice: first QEMU refuses to confine itself, and leaves the server it had joined.
#[test]
fn a_second_attempt_meets_the_same_server() {
    let place = Place::new();
    let qemu = script(
        &place,
        r#"case "$*" in *-sandbox*) echo "seccomp support is disabled" >&2; exit 1;; esac; exec qemu-system-x86_64 "$@""#,
    );
    let (_, err) = succeed(up_memfd(&place, &["--qemu"]).arg(&qemu));
    assert!(err.contains("this QEMU has no seccomp sandbox: starting without"), "{err}");
    succeed(&mut place.provision(&["down"]));
    place.assert_clean();
}

/// Starts a boot and sends `signal` when its kernel runs.
fn stop_while_booting(place: &Place, signal: Signal) {
    let mut up = up_memfd(place, &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let seen = lines.by_ref().find(|line| line.contains("first byte on the serial port"));
    assert!(seen.is_some(), "the guest did not boot");
    kill(Pid::from_raw(up.id().cast_signed()), signal).unwrap();
    drop(lines);
    up.wait().unwrap();
}

#[test]
fn neither_an_interrupt_nor_a_kill_leaves_a_server() {
    let place = Place::new();
    stop_while_booting(&place, Signal::SIGINT);
    place.assert_clean();
    stop_while_booting(&place, Signal::SIGKILL);
    assert_eq!(place.processes().len(), 2, "QEMU and the server are in sessions of their own");
    let (out, _) = succeed(&mut place.provision(&["down"]));
    assert_eq!(out, "micro was not running any more; what it left is removed\n");
    place.assert_clean();
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let place = Place::new();
    for args in [
        &["--vectors", "2"][..],
        &["--viommu"],
        &["--doorbell", "--vectors", "0"],
        &["--join", "x"],
        &["--doorbell", "--join", "x"],
    ] {
        let (code, _, err) = run(&mut place.up(args));
        assert_eq!(code, Some(2), "{args:?}: {err}");
    }
    // Without a region of its own.
    let error = fail(&mut place.provision(&["up", "--guest", "micro", "--doorbell", "--join", "x"]), 1);
    assert_eq!(error, "provision: there is no VM x: start it with 'provision up --name x'");
    let deep =
        place.state().join("d".repeat(107 - place.state().as_os_str().len() - "//micro/qmp.sock".len()));
    let error = fail(up(&place, &[]).env("IVSHMEM_STATE_DIR", &deep), 1);
    assert!(error.contains("/micro/doorbell.sock has 11") && error.contains("to a shorter path"), "{error}");
    place.assert_clean();
}
