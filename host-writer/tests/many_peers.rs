//! Many peers on one server and one region: each pair in a lane of its own, one message to two guests, a peer that asks
//! another; between processes, and between two virtual machines.
//!
//! Needs the binaries that `scripts/test.sh` builds first: `provision`, and the static `guest-reader`.

mod common;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Place, Server, guest_reader, stderr, target_release, until};
use ivshmem_proto::layout::host_words;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;
use ivshmem_proto::word::sequence_of;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// One test at a time: sides that look need a CPU each.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guest-reader that asks another.
fn initiator(server: &Server, args: &[&str]) -> Child {
    let mut command = Command::new(guest_reader());
    command.arg("--server").arg(&server.socket).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What stands behind `RESULT` in a text.
fn result_in(text: &str) -> Value {
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("RESULT "));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no result: {text}"))).unwrap()
}

fn asked(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    result_in(&String::from_utf8_lossy(&output.stdout))
}

/// Waits until message `sequence` was published in a lane of the place's region.
fn wait_for_message(place: &Place, lane: &str, sequence: u64) {
    let map = Mapping::open(&place.region).unwrap().lane(lane.parse().unwrap()).unwrap();
    until("published that message", || {
        (sequence_of(map.load(host_words::publish, std::sync::atomic::Ordering::Relaxed)) >= sequence)
            .then_some(())
    });
}

const BROADCAST: [&str; 6] = ["--broadcast", "2", "--warmup", "10", "--messages", "300"];

#[test]
fn a_peer_asks_another_however_both_wait() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    for wait in ["poll", "doorbell", "adaptive"] {
        let _guest = server.guest(&["--lane", "1/2", "--wait", wait]);
        for own in ["poll", "doorbell", "adaptive"] {
            let args = ["--lane", "1/2", "--wait", own, "--initiate", "300"];
            let result = asked(&initiator(&server, &args).wait_with_output().unwrap(), 0);
            assert_eq!(
                (&result["ok"], &result["lost"], &result["end"]),
                (&300.into(), &0.into(), &"done".into())
            );
            assert_eq!((&result["missed"], &result["tampered"]), (&0.into(), &0.into()), "{result}");
            assert_eq!(result["lane"], "1/2");
            assert!(result["rtt_ns"]["p50"].as_u64() <= result["rtt_ns"]["max"].as_u64(), "{result}");
            // Of two that sleep, one may answer while the other is ringing it.
            let is_told = own == "doorbell" && wait != "doorbell";
            assert!(result["interrupts"].as_u64().unwrap() > 0 || !is_told, "{result}");
            assert_eq!(result["other_peer"].is_null(), wait == "poll", "{result}");
        }
    }
}

#[test]
fn two_pairs_use_their_lanes_at_the_same_time() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "8M");
    let _first = server.guest(&["--lane", "0/2", "--wait", "doorbell"]);
    let _second = server.guest(&["--lane", "1/2", "--wait", "doorbell"]);
    let asking = initiator(&server, &["--lane", "1/2", "--wait", "doorbell", "--initiate", "2000"]);
    let args =
        ["--lane", "0/2", "--wait", "doorbell", "--messages", "500", "--sizes", "1MiB", "--iterations", "5"];
    let output = server.host(&place, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let region = &place.run_json()["region"];
    assert_eq!((&region["lane"], &region["bytes"]), (&"0/2".into(), &(4 << 20).into()));
    assert!(place.rows("bandwidth_results.csv").iter().all(|row| row["data_verified"] == "1"));
    let result = asked(&asking.wait_with_output().unwrap(), 0);
    assert_eq!((&result["ok"], &result["tampered"]), (&2000.into(), &0.into()));
}

#[test]
fn one_message_reaches_two_guests_however_the_host_waits() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let _first = server.guest(&["--lane", "0/2", "--wait", "doorbell"]);
    let _second = server.guest(&["--lane", "1/2", "--wait", "doorbell"]);
    for wait in ["poll", "doorbell", "adaptive"] {
        let output = server.host(&place, &[&BROADCAST[..], &["--wait", wait]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{wait}: {}", stderr(&output));
        let rows = place.rows("broadcast_results.csv");
        assert_eq!(rows.len(), 300);
        for row in &rows {
            let ns =
                |column: &str| row[column].parse::<u64>().unwrap_or_else(|_| panic!("{column}: {row:?}"));
            assert_eq!((row["status"].as_str(), row["peers"].as_str()), ("ok", "2"));
            let (first, second) = (ns("processed_ns_0"), ns("processed_ns_1"));
            assert_eq!((ns("slowest_ns"), ns("fastest_ns")), (first.max(second), first.min(second)));
            assert_eq!(ns("spread_ns"), first.abs_diff(second));
            // Who sleeps is told of PROCESSED only.
            assert_eq!(row["received_ns_0"].is_empty(), wait != "poll", "{row:?}");
        }
        let run = place.run_json();
        let broadcast = &run["broadcast"];
        assert_eq!((&broadcast["ok"], &broadcast["missed"]), (&300.into(), &0.into()), "{broadcast}");
        assert_eq!(broadcast["guests"][1]["lane"], "1/2");
        assert!(run["interference"]["guest_run_delay_ns"].is_u64(), "{}", run["interference"]);
        assert!(run["latency"].is_null() && run["bandwidth"].is_null());
        let rung = broadcast["rings_to_guests"].as_u64().unwrap();
        assert!(rung > 0 && rung <= 600, "{broadcast}");
        assert!(!place.out().join("latency_results.csv").exists());
    }
}

#[test]
fn a_broadcast_goes_on_without_a_guest_that_was_killed() {
    let _alone = alone();
    for (wait, why) in [("doorbell", "left the server"), ("poll", "stopped answering")] {
        let place = Place::new();
        let server = Server::start(&place, &place.region.display().to_string(), "1M");
        let _first = server.guest(&["--lane", "0/2", "--wait", "doorbell"]);
        let second = server.guest(&["--lane", "1/2", "--wait", wait]);
        let paced =
            [&BROADCAST[..], &["--wait", "doorbell", "--interval", "2ms", "--timeout", "200ms"]].concat();
        let mut host = server.host(&place, &paced);
        let host = host.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for_message(&place, "1/2", 60);
        second.signal(Signal::SIGKILL);
        let output = host.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let rows = place.rows("broadcast_results.csv");
        assert_eq!(rows.len(), 300);
        assert_eq!((rows[0]["status"].as_str(), rows[0]["peers"].as_str()), ("ok", "2"));
        let last = &rows[299];
        assert_eq!((last["status"].as_str(), last["peers"].as_str()), ("lane1:gone", "1"));
        assert!(last["processed_ns_1"].is_empty() && !last["processed_ns_0"].is_empty(), "{last:?}");
        assert!(rows.iter().all(|row| !row["processed_ns_0"].is_empty()), "the other one answers to the end");
        let run = place.run_json();
        assert_eq!((&run["completed"], &run["broadcast"]["guests"][0]["lost"]), (&true.into(), &Value::Null));
        assert_eq!(run["broadcast"]["guests"][1]["lost"], why);
        // Which guest, and in which row: the next is the first without it.
        let at = rows.iter().position(|row| row["status"] == "lane1:gone").unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        let line = format!("\nLOST     the guest of lane 1/2 {why} at message {at}\n");
        assert!(shown.contains(&line), "{at}: {shown}");
        // Nobody is left.
        drop(second);
    }
}

#[test]
fn an_initiator_says_that_its_peer_was_killed() {
    let _alone = alone();
    for (wait, end) in [("doorbell", "peer_left"), ("poll", "peer_dead")] {
        let place = Place::new();
        let server = Server::start(&place, &place.region.display().to_string(), "1M");
        let guest = server.guest(&["--lane", "0/2", "--wait", wait]);
        let args = ["--lane", "0/2", "--wait", "doorbell", "--initiate", "1000000000", "--timeout", "200ms"];
        let asking = initiator(&server, &args);
        wait_for_message(&place, "0/2", 500);
        guest.signal(Signal::SIGKILL);
        let output = asking.wait_with_output().unwrap();
        let result = asked(&output, 3);
        assert_eq!(result["end"], end, "{result}");
        assert!(result["ok"].as_u64().unwrap() > 0, "{result}");
        // Of those that count, the first hundred being warm-up: the last that was answered, or the next.
        let text = stderr(&output);
        let at = text.split_once("the peer ").and_then(|(_, said)| said.split_once(" at message "));
        let at: u64 = at.unwrap().1.split_once(';').unwrap().0.parse().unwrap();
        let ok = result["ok"].as_u64().unwrap();
        assert!(at == ok || at == ok + 1, "{text} {result}");
    }
}

#[test]
fn an_initiator_notices_a_peer_that_misbehaves_and_goes_on() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    // The hundred messages of the warm-up are counted here.
    for (fault, status) in
        [("drop-ack=150", "timeout_processed"), ("future-ack=150", "protocol_error"), ("scribble=150", "")]
    {
        let _guest = server.guest(&["--wait", "doorbell", "--inject", fault]);
        let args = ["--wait", "doorbell", "--initiate", "200", "--timeout", "200ms"];
        let result = asked(&initiator(&server, &args).wait_with_output().unwrap(), 3);
        assert_eq!(result["end"], "done", "{fault}: {result}");
        assert!(result["ok"].as_u64().unwrap() >= 198, "{fault}: {result}");
        match status {
            "" => assert_ne!(result["tampered"], 0, "{fault}: {result}"),
            status => assert_eq!(result["statuses"][status], 1, "{fault}: {result}"),
        }
    }
}

#[test]
fn lanes_that_cannot_be_are_usage_errors() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    for lane in ["2/2", "0/3", "0/0", "0/32", "x", "-1/2", "1"] {
        let lane = format!("--lane={lane}");
        let guest =
            Command::new(guest_reader()).arg("--server").arg(&server.socket).arg(&lane).output().unwrap();
        assert_eq!(guest.status.code(), Some(2), "{lane}: {}", stderr(&guest));
        let host = server.host(&place, &[&lane, "--messages", "10", "--frames", "none"]).output().unwrap();
        assert_eq!(host.status.code(), Some(2), "{lane}: {}", stderr(&host));
    }
    for count in ["0", "1", "3", "32", "512"] {
        let host = server.host(&place, &["--broadcast", count, "--messages", "10"]).output().unwrap();
        assert_eq!(host.status.code(), Some(2), "{count}: {}", stderr(&host));
    }
    // Taken, lane by lane.
    let _guest = server.guest(&["--lane", "0/2"]);
    let _other = server.guest(&["--lane", "1/2"]);
    for lane in ["0/2", "0/1", "3/4"] {
        let mut second = Command::new(guest_reader());
        let second = second.args(["--lane", lane, "--server"]).arg(&server.socket).output().unwrap();
        assert_eq!(second.status.code(), Some(1), "{lane}");
        assert!(stderr(&second).contains("another guest-reader is running here"), "{}", stderr(&second));
    }
}

#[test]
fn nobody_to_talk_to_is_one_clear_line() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let nobody = ["--frames", "none", "--guest-timeout", "100ms"];
    let said = stderr(&server.host(&place, &nobody).output().unwrap());
    assert!(
        said.contains(&format!("in memfd of the server at {}; start one", server.socket.display())),
        "{said}"
    );
    assert!(
        said.contains("guest-reader --server for the native baseline), or give the --lane of one"),
        "{said}"
    );
    let _first = server.guest(&["--lane", "0/2"]);
    let output =
        server.host(&place, &[&BROADCAST[..], &["--guest-timeout", "300ms"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("host-writer: lane 1/2: no guest after "), "{}", stderr(&output));
    assert!(!place.out().join("broadcast_results.csv").exists());
    let args = ["--lane", "1/2", "--initiate", "5", "--peer-timeout", "100ms"];
    let output = initiator(&server, &args).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("nobody answers in this lane after 100ms: start a guest-reader with the same --lane"),
        "{text}"
    );
}

#[test]
fn lanes_that_do_not_match_are_named_on_both_sides() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let mut guest = server.guest(&["--lane", "0/2"]);
    let quick = ["--messages", "10", "--guest-timeout", "300ms"];
    let host = |args: &[&str]| {
        let output = server.host(&place, &[args, &quick].concat()).output().unwrap();
        assert!(!place.out().exists());
        (output.status.code(), stderr(&output).replace(&place.dir.path().display().to_string(), "DIR"))
    };
    let differ = "the host is in lane 0/4 of the region, the guest in lane 0/2: start guest-reader with --lane 0/4, or \
                  host-writer with --lane 0/2\n";
    assert_eq!(host(&["--lane", "0/4", "--frames", "none"]), (Some(1), format!("host-writer: {differ}")));
    guest.wait_for_line(&format!("session refused: {differ}"));
    assert_eq!(host(&["--broadcast", "4"]), (Some(1), format!("host-writer: lane 0/4: {differ}")));
    guest.wait_for_line(&format!("session refused: {differ}"));
    let (_, whole) = host(&["--frames", "none"]);
    assert!(whole.contains("the host is in lane 0/1 of the region, the guest in lane 0/2: "), "{whole}");
    let (_, nobody) = host(&["--lane", "1/2", "--frames", "none"]);
    let expected = "host-writer: no guest after 0.3 s: nothing has announced itself in lane 1/2 of memfd of the server at \
                    DIR/server; start a guest with --lane 1/2 (provision up --guest micro --doorbell --join VM --guest-args \
                    '--lane 1/2'), or take the lane of one that is there\n";
    assert_eq!(nobody, expected);
    let asking = initiator(&server, &["--lane", "0/4", "--initiate", "5", "--peer-timeout", "100ms"]);
    let text = stderr(&asking.wait_with_output().unwrap());
    assert!(text.contains("was in lane 0/2 of the region, this one is in lane 0/4; give both"), "{text}");
}

/// Whether either side was rung. That both were is not certain: without a pause, one may answer while the other is about to
/// sleep.
fn has_been_told(result: &Value) -> bool {
    ["interrupts", "rings_sent"].iter().any(|counted| result[counted].as_u64().unwrap() > 0)
}

/// `provision` with a place's state; taken down when the test ends.
struct Vms<'a>(&'a Place);

impl Vms<'_> {
    fn provision(&self, args: &[&str]) -> Output {
        let path: PathBuf = target_release().join("provision");
        assert!(path.exists(), "{} is missing; run scripts/test.sh, which builds it first", path.display());
        Command::new(path)
            .args(args)
            .env("IVSHMEM_STATE_DIR", self.0.dir.path().join("state"))
            .env("IVSHMEM_GUEST_READER", guest_reader())
            .output()
            .unwrap()
    }

    fn up(&self, name: &str, more: &[&str], guest_args: &str) -> Value {
        let args =
            ["up", "--guest", "micro", "--accel", "tcg", "--doorbell", "--json", "--quiet", "--name", name];
        let output = self.provision(&[&args[..], more, &["--guest-args", guest_args]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The result of a VM whose program ends with one.
    fn result(&self, name: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let output = self.provision(&["status", "--json", "--name", name]);
            let status: Value = serde_json::from_slice(&output.stdout).unwrap();
            if let Some(line) = status["result"].as_str() {
                return result_in(line);
            }
            assert!(Instant::now() < deadline, "{status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Vms<'_> {
    fn drop(&mut self) {
        for name in ["d", "c", "b", "a"] {
            self.provision(&["down", "--name", name]);
        }
    }
}

#[test]
fn two_virtual_machines_share_a_server_are_told_at_once_and_ask_each_other() {
    let _alone = alone();
    let place = Place::new();
    let vms = Vms(&place);
    let region = place.region.display().to_string();
    let a = vms.up("a", &["--shm", &region, "--shm-size", "16M"], "--lane 0/2 --wait uio");
    let b = vms.up("b", &["--join", "a"], "--lane 1/2 --wait uio --vector 1");
    for field in ["socket", "server_pid", "vectors"] {
        assert_eq!(b["doorbell"][field], a["doorbell"][field], "{field}");
    }
    assert_eq!((&a["doorbell"]["joined"], &b["doorbell"]["joined"]), (&Value::Null, &"a".into()));
    assert_eq!((&b["shm_path"], &b["shm_bytes"]), (&a["shm_path"], &a["shm_bytes"]));

    let socket = a["doorbell"]["socket"].as_str().unwrap();
    let paced = ["--server", socket, "--wait", "doorbell", "--interval", "1ms"];
    let output = place.bare_host(&[&BROADCAST[..], &paced].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = place.run_json();
    let guests = &run["broadcast"]["guests"];
    assert_eq!((&guests[0]["vm"], &guests[1]["vm"]), (&"a".into(), &"b".into()));
    assert_eq!((&guests[0]["peer"], &guests[1]["peer"]), (&0.into(), &1.into()));
    assert_eq!((&guests[0]["wait"], &guests[1]["map_kind"]), (&"uio".into(), &"uio".into()));
    assert!(run["broadcast"]["rings_to_guests"].as_u64().unwrap() >= 300, "{run}");
    assert_eq!(run["broadcast"]["missed"], 0);
    assert_eq!(place.rows("broadcast_results.csv").len(), 300);

    // The server is not taken from under b.
    let refused = vms.provision(&["down", "--name", "a"]);
    assert_eq!(refused.status.code(), Some(1));
    let line = stderr(&refused);
    assert_eq!(line, "provision: VM a has the server and the region of b: 'provision down --name b' first\n");
    assert_eq!(vms.provision(&["down", "--name", "b"]).status.code(), Some(0));

    // From guest to guest, told by interrupts on both sides; and by looking, in the same lane.
    for (name, wait) in [("c", "uio"), ("d", "poll")] {
        vms.up(name, &["--join", "a"], &format!("--lane 0/2 --wait {wait} --initiate 200"));
        let result = vms.result(name);
        assert_eq!(
            (&result["ok"], &result["end"], &result["wait"]),
            (&200.into(), &"done".into(), &wait.into())
        );
        assert_eq!((&result["missed"], &result["peer_wait"]), (&0.into(), &"uio".into()), "{result}");
        assert_eq!(result["other_peer"], 0, "{result}");
        assert!(result["own_peer"].as_u64().unwrap() > 1, "{result}");
        assert!(has_been_told(&result) || wait == "poll", "{result}");
        let console = vms.provision(&["console", "--name", name]);
        assert_eq!(result_in(&String::from_utf8_lossy(&console.stdout)), result);
        let status = vms.provision(&["status", "--name", name]);
        assert_eq!(status.status.code(), Some(3));
        assert!(
            String::from_utf8_lossy(&status.stdout).contains("is over: its program has ended with a result")
        );
        assert_eq!(vms.provision(&["down", "--name", name]).status.code(), Some(0));
    }
    assert!(place.region.exists());
    assert_eq!(vms.provision(&["down", "--name", "a"]).status.code(), Some(0));
    assert!(!place.region.exists());
}

/// The answering guest first, then the one that asks: both ways of being interrupted, and each beside the other.
#[test]
fn guests_ask_each_other_through_vfio_too() {
    let _alone = alone();
    let place = Place::new();
    let vms = Vms(&place);
    let a = vms.up("a", &["--viommu", "--shm", "memfd", "--shm-size", "16M"], "--lane 0/2 --wait vfio");
    assert_eq!(a["viommu"], true);
    for (name, more, wait) in
        [("b", &["--join", "a", "--viommu"][..], "vfio"), ("c", &["--join", "a"], "uio")]
    {
        vms.up(name, more, &format!("--lane 0/2 --wait {wait} --initiate 200"));
        let result = vms.result(name);
        assert_eq!((&result["ok"], &result["end"]), (&200.into(), &"done".into()), "{result}");
        assert_eq!((&result["wait"], &result["peer_wait"]), (&wait.into(), &"vfio".into()), "{result}");
        assert_eq!((&result["missed"], &result["tampered"]), (&0.into(), &0.into()), "{result}");
        assert!(has_been_told(&result), "{result}");
        vms.provision(&["down", "--name", name]);
    }
    // A server with as many peers as it takes is told before QEMU waits there for ever.
    let socket = a["doorbell"]["socket"].as_str().unwrap();
    let crowd: Vec<UnixStream> = (0..63).map(|_| UnixStream::connect(socket).unwrap()).collect();
    let up =
        ["up", "--guest", "micro", "--accel", "tcg", "--doorbell", "--join", "a", "--quiet", "--name", "d"];
    let refused = vms.provision(&up);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("closed the connection before all was said"), "{}", stderr(&refused));
    drop(crowd);
    // And one that has died, by all who would need it.
    let server = a["doorbell"]["server_pid"].as_i64().unwrap();
    kill(Pid::from_raw(server.try_into().unwrap()), Signal::SIGKILL).unwrap();
    let out = place.out().display().to_string();
    let died = "provision: the doorbell server of VM a has died, and QEMU cannot rejoin another: 'provision down --name a', then \
                'provision up --doorbell --name a'\n";
    for args in [&up[..], &["run", "--name", "a", "--out", &out]] {
        let refused = vms.provision(args);
        assert_eq!((refused.status.code(), stderr(&refused).as_str()), (Some(1), died));
    }
    let host = place.bare_host(&["--server", socket, "--messages", "10"]).output().unwrap();
    assert!(
        stderr(&host).contains("it has died, and the QEMUs it had cannot rejoin another"),
        "{}",
        stderr(&host)
    );
    assert_eq!(vms.provision(&["down", "--name", "a"]).status.code(), Some(0));
}
