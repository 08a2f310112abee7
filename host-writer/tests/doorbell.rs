//! Being told instead of looking: host-writer and guest-reader as peers of a real ivshmem server.
//!
//! Needs the binaries that `scripts/test.sh` builds first: `provision`, and the static `guest-reader`.

mod common;

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::double::{answer, guest_rung};
use common::{Place, Server, assert_no_leftovers, complaint, guest_reader, stderr};
use ivshmem_proto::doorbell::{GuestWait, Ring};
use ivshmem_proto::peers::Peers;
use ivshmem_proto::wire::WaitSource;
use nix::sys::signal::Signal;
use serde_json::Value;

const LATENCY: [&str; 4] = ["--frames", "none", "--warmup", "10"];

/// One test at a time: sides that look need a CPU each.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run whose every message is ok; returns what run.json says of the doorbells.
fn run_well(place: &Place, server: &Server, args: &[&str]) -> Value {
    run_to(place, server, args, &[0])
}

/// The same with other exit codes: a rate that this machine cannot keep ends with 3.
fn run_to(place: &Place, server: &Server, args: &[&str], codes: &[i32]) -> Value {
    let output = server.host(place, args).output().unwrap();
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{args:?}: {code}: {}", stderr(&output));
    let doorbell = place.run_json()["doorbell"].clone();
    let count = |key: &str| doorbell[key].as_u64().unwrap();
    // Whatever the pace, nobody slept over a message.
    assert_eq!((count("missed"), count("guest_missed")), (0, 0), "{args:?}: {doorbell}");
    let warm_up = 2;
    assert!(count("rings_to_guest") <= count("interrupts") + count("coalesced") + warm_up, "{doorbell}");
    assert!(count("host_interrupts") <= count("rings_to_host") + warm_up, "{doorbell}");
    doorbell
}

fn messages<'a>(count: &'a str, wait: &'a str) -> Vec<&'a str> {
    [&LATENCY[..], &["--messages", count, "--wait", wait]].concat()
}

#[test]
fn two_sides_that_sleep_are_woken_for_every_message_and_the_files_say_what_it_took() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let _guest = server.guest(&["--wait", "doorbell", "--vector", "1"]);
    // Long enough for the kernel's ticks to count the guest's CPU time: 2000 pauses of 100 us.
    let paced = [&messages("2000", "doorbell")[..], &["--interval", "100us"]].concat();
    let doorbell = run_well(&place, &server, &paced);
    assert_eq!((&doorbell["guest_wait"], &doorbell["host_wait"]), (&"doorbell".into(), &"doorbell".into()));
    assert_eq!((&doorbell["guest_peer"], &doorbell["guest_vector"]), (&0.into(), &1.into()));
    assert_eq!((&doorbell["host_peer"], &doorbell["host_vector"]), (&1.into(), &0.into()));
    assert!(doorbell["host_cpu_ns_per_message"].as_f64().unwrap() > 0.0, "{doorbell}");
    // A native guest has no vCPUs, but a thread.
    assert_eq!(doorbell["vcpu_cpu_ns_per_message"], Value::Null);
    assert!(doorbell["guest_cpu_ns_per_message"].as_f64().unwrap() > 0.0, "{doorbell}");
    assert_eq!(doorbell["guest_cpu_unknown_because"], Value::Null);
    assert!(doorbell["rings_to_guest"].as_u64().unwrap() > 0, "{doorbell}");
    assert!(doorbell["rings_to_host"].as_u64().unwrap() > 0, "{doorbell}");

    let (latency, rows) = (place.rows("latency_results.csv"), place.rows("doorbell_results.csv"));
    assert_eq!((latency.len(), rows.len()), (2000, 2000));
    // On a busy machine the clocks' offset may not be known well enough; then a sentence stands in its place.
    let one_way = place.run_json()["latency"]["one_way"].clone();
    let is_refused = one_way["accepted"] == false;
    for (row, latency) in rows.iter().zip(&latency) {
        assert_eq!((row["status"].as_str(), row["rtt_ns"].as_str()), ("ok", latency["latency_ns"].as_str()));
        assert_eq!(row["received_ns"], "", "nobody was told of RECEIVED");
        assert_eq!((row["rate_per_s"].as_str(), row["load"].as_str()), ("10000", "idle"));
        let ns = |column: &str| {
            row[column].parse::<f64>().unwrap_or_else(|_| panic!("{column}: {}", place.run_json()["latency"]))
        };
        if is_refused {
            assert_eq!((row["guest_wake_ns"].as_str(), row["host_wake_ns"].as_str()), ("", ""), "{one_way}");
        } else {
            assert!((ns("guest_wake_ns") + ns("host_wake_ns") - ns("rtt_ns")).abs() <= 2.0, "{row:?}");
            assert!(ns("oneway_bound_ns") < ns("rtt_ns"), "{row:?}");
        }
        for column in ["rings_to_guest", "rings_to_host", "interrupts", "coalesced", "missed"] {
            assert_eq!(row[column], doorbell[column].to_string(), "{column}");
        }
        assert_eq!(
            row["guest_cpu_ns_per_message"].parse::<f64>().unwrap(),
            doorbell["guest_cpu_ns_per_message"].as_f64().unwrap()
        );
    }
    assert_no_leftovers(&place.out());
}

#[test]
fn a_host_that_sleeps_can_be_told_of_both_phases() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let _guest = server.guest(&["--wait", "doorbell"]);
    for (wait, name) in [("doorbell", "doorbell=both"), ("adaptive", "adaptive=both")] {
        let told = ["--phases", "both", "--interval", "1ms"];
        let doorbell = run_well(&place, &server, &[&messages("300", wait)[..], &told].concat());
        assert_eq!(doorbell["host_wait"], name);
        let rows = place.rows("doorbell_results.csv");
        assert_eq!(rows.len(), 300);
        for row in rows {
            let ns =
                |column: &str| row[column].parse::<u64>().unwrap_or_else(|_| panic!("{column}: {row:?}"));
            assert!(ns("received_ns") <= ns("rtt_ns"), "{row:?}");
            assert_eq!((row["host_wait"].as_str(), row["status"].as_str()), (name, "ok"));
        }
    }
    // Back to back, where the second acknowledgement may come while this host falls asleep for it.
    run_well(&place, &server, &[&messages("3000", "doorbell")[..], &["--phases", "both"]].concat());
    assert!(place.statuses("latency_results.csv").iter().all(|status| status == "ok"));
}

#[test]
fn bells_that_nobody_meant_wake_and_harm_nobody() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let _guest = server.guest(&["--wait", "doorbell"]);
    let mut stranger = Peers::join(&server.socket, 0, Duration::from_secs(5)).unwrap();
    let guest = Ring { peer: 0, vector: 0 };
    let host = Ring { peer: stranger.own_ring().peer + 1, vector: 0 };
    // Before anybody has a session, and then in the middle of one.
    assert!((0..100).all(|_| stranger.ring(guest)) && !stranger.ring(host));
    let paced = [&messages("500", "doorbell")[..], &["--interval", "500us"]].concat();
    let child = server.host(&place, &paced).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(stranger.wait_for(host, Duration::from_secs(30)), "the host has joined");
    let is_rung = AtomicBool::new(true);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_rung.load(Ordering::Relaxed) {
                stranger.ring(guest);
                stranger.ring(host);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let output = child.wait_with_output().unwrap();
        is_rung.store(false, Ordering::Relaxed);
        output
    });
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(place.statuses("latency_results.csv").iter().all(|status| status == "ok"));
    let doorbell = &place.run_json()["doorbell"];
    let count = |key: &str| doorbell[key].as_u64().unwrap();
    assert_eq!(count("missed"), 0, "{doorbell}");
    assert!(count("interrupts") > 0 && count("host_interrupts") > 0, "{doorbell}");
}

#[test]
fn messages_around_the_end_of_looking_are_never_slept_over() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    for guest_wait in ["adaptive", "doorbell"] {
        let _guest = server.guest(&["--wait", guest_wait]);
        for host_wait in ["adaptive", "doorbell"] {
            // Gaps from nothing to several times what is looked for at most.
            for rate in ["100k", "10k"] {
                let pace = ["--rate", rate, "--arrivals", "poisson"];
                run_to(&place, &server, &[&messages("3000", host_wait)[..], &pace].concat(), &[0, 3]);
                assert!(place.statuses("latency_results.csv").iter().all(|status| status == "ok"));
            }
        }
    }
}

#[test]
fn either_side_may_look_while_the_other_sleeps() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    {
        let _guest = server.guest(&["--wait", "poll"]);
        let doorbell = run_well(&place, &server, &messages("500", "doorbell"));
        assert_eq!((&doorbell["rings_to_guest"], &doorbell["guest_peer"]), (&0.into(), &Value::Null));
        assert!(doorbell["rings_to_host"].as_u64().unwrap() > 0, "{doorbell}");
    }
    let _guest = server.guest(&["--wait", "doorbell"]);
    let pause = ["--interval", "1ms"];
    let doorbell = run_well(&place, &server, &[&messages("200", "poll")[..], &pause].concat());
    assert_eq!(doorbell["rings_to_host"], 0);
    assert!(doorbell["rings_to_guest"].as_u64().unwrap() > 100, "it sleeps between messages: {doorbell}");
    // Who looks sees RECEIVED.
    assert!(place.rows("doorbell_results.csv").iter().all(|row| !row["received_ns"].is_empty()));
}

#[test]
fn payloads_travel_the_same_whoever_sleeps() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "4M");
    let _guest = server.guest(&["--wait", "doorbell"]);
    for mode in [
        &[][..],
        &["--mode", "chunked", "--chunk", "64KiB"],
        &["--mode", "stream"],
        &["--direction", "guest-to-host", "--verify", "xxh3"],
        &["--direction", "both"],
    ] {
        for wait in ["doorbell", "adaptive"] {
            let sizes = ["--messages", "0", "--sizes", "64KiB,1MiB", "--iterations", "5", "--wait", wait];
            run_well(&place, &server, &[&sizes[..], mode].concat());
            let rows = place.rows("bandwidth_results.csv");
            assert!(rows.iter().all(|row| row["data_verified"] == "1"), "{mode:?}: {rows:?}");
        }
    }
}

#[test]
fn a_guest_that_dies_is_known_to_have_left_at_once() {
    let _alone = alone();
    for wait in ["doorbell", "poll"] {
        let place = Place::new();
        let server = Server::start(&place, &place.region.display().to_string(), "1M");
        let guest = server.guest(&["--wait", "doorbell"]);
        let endless = [&messages("1000000", wait)[..], &["--interval", "1ms", "--timeout", "500ms"]].concat();
        let host =
            server.host(&place, &endless).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        place.wait_for_message(1020, 0);
        guest.signal(Signal::SIGKILL);
        let output = host.wait_with_output().unwrap();
        let (code, line) = complaint(&place, &output);
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains("the guest left the server (peer 0 vector 0) at message "), "{line}");
        assert_eq!(place.run_json()["completed"], false);
        let last = place.statuses("latency_results.csv").pop();
        assert_eq!(last.as_deref(), Some("timeout_received"), "the message that was under way is a row");
    }
}

#[test]
fn a_server_that_dies_takes_no_doorbell_along() {
    let _alone = alone();
    let place = Place::new();
    let mut server = Server::start(&place, &place.region.display().to_string(), "1M");
    let mut guest = server.guest(&["--wait", "doorbell"]);
    let paced = [&messages("300", "doorbell")[..], &["--interval", "1ms"]].concat();
    let host = server.host(&place, &paced).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The first burst is over.
    place.wait_for_message(1010, 0);
    server.kill();
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.run_json()["doorbell"]["missed"], 0);
    let text = stderr(&output);
    assert!(text.contains("the ivshmem server has ended") && text.contains("QEMU cannot rejoin"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    guest.wait_for_line("is gone, or has disconnected this peer");
}

#[test]
fn a_host_that_was_killed_finds_the_same_guest_asleep() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, &place.region.display().to_string(), "1M");
    let _guest = server.guest(&["--wait", "doorbell"]);
    let endless = [&messages("1000000", "doorbell")[..], &["--interval", "1ms"]].concat();
    let mut session = 0;
    for _ in 0..2 {
        let mut host = server.host(&place, &endless).stdout(Stdio::null()).spawn().unwrap();
        session = place.wait_for_message(1010, session);
        host.kill().unwrap();
        host.wait().unwrap();
    }
    run_well(&place, &server, &messages("200", "doorbell"));
}

#[test]
fn a_host_without_a_doorbell_is_answered_by_a_guest_that_has_one() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, &place.region.display().to_string(), "1M");
    let _guest = server.guest(&["--wait", "doorbell"]);
    run_well(&place, &server, &messages("200", "doorbell"));
    let output = place.run_host(&messages("2000", "poll")[..6]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        (&place.run_json()["doorbell"], place.statuses("latency_results.csv").len()),
        (&Value::Null, 2000)
    );
    // Rows of a run with doorbells do not stay beside those of one without.
    assert!(!place.out().join("doorbell_results.csv").exists());
    run_well(&place, &server, &messages("200", "doorbell"));
}

/// Exit status and the one line.
fn refused(place: &Place, output: &Output) -> String {
    let (code, line) = complaint(place, output);
    format!("{}: {line}", code.unwrap())
}

#[test]
fn what_cannot_work_is_one_clear_line() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, &place.region.display().to_string(), "1M");
    let mut lines = Vec::new();
    let vector = [&messages("10", "doorbell")[..], &["--vector", "7"]].concat();
    lines.push(refused(&place, &server.host(&place, &vector).output().unwrap()));
    let mut guest = Command::new(guest_reader());
    let guest = guest.args(["--wait", "doorbell", "--vector", "2", "--server"]).arg(&server.socket);
    lines.push(refused(&place, &guest.output().unwrap()));
    {
        // On the server's region, and no peer of it.
        let _guest = place.guest(&[]);
        lines.push(refused(&place, &server.host(&place, &messages("10", "doorbell")).output().unwrap()));
        let output = server.host(&place, &messages("10", "poll")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    // The run before has counted as far as the one that is waited for.
    let before = place.wait_for_message(1, 0);
    let _guest = server.guest(&["--wait", "doorbell"]);
    let endless = [&messages("1000000", "doorbell")[..], &["--interval", "1ms"]].concat();
    let mut first = server.host(&place, &endless).stdout(Stdio::null()).spawn().unwrap();
    place.wait_for_message(1010, before);
    lines.push(refused(&place, &server.host(&place, &messages("10", "doorbell")).output().unwrap()));
    first.kill().unwrap();
    first.wait().unwrap();
    drop(server);
    let absent = place.dir.path().join("absent").display().to_string();
    let args = [&messages("10", "doorbell")[..], &["--server", &absent]].concat();
    lines.push(refused(&place, &place.bare_host(&args).output().unwrap()));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_guest_that_is_rung_where_nobody_is_is_refused_in_one_line() {
    let _alone = alone();
    // A peer that the server does not know, and a vector that the guest's device has and the server has not.
    for (peer, vector, expected) in [
        (99, 0, "the guest says that it is peer 99, and this server knows no such peer"),
        (0, 2, "the guest says that it is rung at peer 0 vector 2, but that peer has 2 vectors"),
    ] {
        let place = Place::new();
        let server = Server::start(&place, &place.region.display().to_string(), "1M");
        let _peer = Peers::join(&server.socket, 0, Duration::from_secs(5)).unwrap();
        let wait = GuestWait { source: WaitSource::Uio, adaptive: false, can_ring: true };
        let _guest = guest_rung(&place, wait, Some(Ring { peer, vector }), answer);
        let line = refused(&place, &server.host(&place, &messages("10", "doorbell")).output().unwrap());
        assert!(line.starts_with("1: ") && line.contains(expected), "{line}");
    }
}

#[test]
fn a_histogram_has_no_rows_and_the_summary_says_so() {
    let _alone = alone();
    let place = Place::new();
    let server = Server::start(&place, "memfd", "1M");
    let _guest = server.guest(&["--wait", "doorbell"]);
    let line = "no doorbell_results.csv: a histogram has no rows";
    for (extent, is_said) in [(["--duration", "100ms"], true), (["--messages", "100"], false)] {
        let output = server.host(&place, &[&LATENCY[..], &extent].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.contains(line), is_said, "{text}");
        assert_eq!(place.out().join("doorbell_results.csv").exists(), !is_said);
    }
}

#[test]
fn flags_of_a_doorbell_need_a_server() {
    let _alone = alone();
    let place = Place::new();
    for args in [
        &["--server", "/s", "--shm", "/dev/shm/x"][..],
        // More than any peer can have.
        &["--server", "/s", "--vector", "2048"],
        &["--server", "/s", "--phases", "both", "--broadcast", "2"],
    ] {
        assert_eq!(place.bare_host(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
    for flags in [["--wait", "doorbell"], ["--wait", "adaptive"], ["--vector", "1"], ["--phases", "both"]] {
        // The region's file beside them is no server, and no reason to leave them unheard.
        for shm in [&[][..], &["--shm", "/dev/shm/x"]] {
            let output = place.bare_host(&[&flags[..], shm].concat()).output().unwrap();
            let expected = format!("2: host-writer: {} needs --server SOCKET", flags.join(" "));
            let line = refused(&place, &output);
            assert!(line.starts_with(&expected), "{shm:?}: {line}");
        }
    }
}
