//! Where and beside what a run takes place: pinned, in real time, locked, under load; and that run.json says so.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{ENDLESS, Place, stderr};
use ivshmem_proto::affinity::{allowed_cpus, pin_current_thread};
use nix::sched::sched_getaffinity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[test]
fn a_pinned_real_time_run_with_locked_memory_is_one_and_says_so() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: real-time priority takes root");
        return;
    }
    let place = Place::with_region(1 << 20);
    let allowed = allowed_cpus().unwrap();
    let (other, cpu) = (allowed[0], allowed[allowed.len() - 1]);
    // Behind the spinning host, with the other CPU busy, the guest would be taken for dead before it gets a turn.
    let _guest = place.guest(&["--spin", "sleep=10us", "--cpu", &other.to_string()]);
    let mut host = place.host(&ENDLESS);
    host.args(["--cpu", &cpu.to_string(), "--fifo", "10", "--mlock"]);
    let host = host.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    place.wait_for_message(5, 0);
    let pid = Pid::from_raw(host.id() as i32);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let cpus = sched_getaffinity(pid).unwrap();
    kill(pid, Signal::SIGINT).unwrap();
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));

    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim();
    assert_ne!(locked, "0 kB");
    // Fields 40 and 41 of /proc/<pid>/stat (proc(5)): real-time priority and policy; SCHED_FIFO is 1.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!(fields[37..=38], ["10", "1"]);
    assert!(cpus.is_set(cpu as usize).unwrap() && (0..64).filter(|&n| cpus.is_set(n).unwrap()).count() == 1);
    let host = &place.run_json()["host"];
    assert_eq!((&host["cpu_pinned"], &host["fifo_priority"]), (&cpu.into(), &10.into()));
    assert_eq!(host["mlock"], true);
}

#[test]
fn a_run_beside_a_load_says_which() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let args = ["--messages", "1000", "--sizes", "64KiB", "--iterations", "2", "--load", "cpu=1"];
    let output = place.run_host(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let load = &place.run_json()["load"];
    assert_eq!((&load["label"], &load["host"]["cpu"]), (&"cpu=1".into(), &1.into()));
    assert!(load["host_command"].as_str().unwrap().starts_with("stress-ng --timeout 0 --cpu 1 "), "{load}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("load     cpu=1"));
}

/// A run beside a busy loop on `busy`, with the host and its guest each on a CPU.
fn interference_beside_a_busy_loop(busy: u32, host: u32, guest: u32) -> Value {
    let place = Place::with_region(1 << 20);
    let guest = place.guest(&["--cpu", &guest.to_string()]);
    let stop = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            pin_current_thread(busy).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let output = place.host(&["--cpu", &host.to_string(), "--duration", "500ms"]).output();
        stop.store(true, Ordering::Relaxed);
        output.unwrap()
    });
    drop(guest);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    place.run_json()["interference"].take()
}

#[test]
fn a_run_is_dirty_when_either_thread_shares_its_cpu() {
    let allowed = allowed_cpus().unwrap();
    let (cpu, other) = (allowed[0], allowed[allowed.len() - 1]);
    for (host, guest, whose, field) in [
        (cpu, other, "this thread", "run_delay_ns"),
        (other, cpu, "the guest's thread", "guest_run_delay_ns"),
    ] {
        let seen = interference_beside_a_busy_loop(cpu, host, guest);
        let expected = format!("{whose} ready and without a CPU: ");
        let mut reasons = seen["reasons"].as_array().unwrap().iter().filter_map(Value::as_str);
        assert!(reasons.any(|reason| reason.starts_with(&expected)), "{seen}");
        assert!(seen["dirty"] == true && seen[field].as_u64().unwrap() > 0, "{seen}");
    }
}

#[test]
fn a_plain_run_claims_none_of_it() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    assert_eq!(place.run_host(&["--messages", "100", "--frames", "none"]).status.code(), Some(0));
    let run = place.run_json();
    assert!(run["load"].is_null() && run["host"]["fifo_priority"].is_null() && run["roof"].is_null());
    assert_eq!((&run["host"]["mlock"], &run["peer_violations"]), (&false.into(), &serde_json::json!([])));
    assert_eq!((&run["region"]["filesystem"], &run["region"]["page_bytes"]), (&"tmpfs".into(), &4096.into()));
}
