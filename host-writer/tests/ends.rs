//! Runs that end before their time: what was measured is kept, and the region is good for the next pair.

mod common;

use std::fs;
use std::process::{Child, Output, Stdio};

use common::{Place, assert_no_leftovers, complaint, stderr};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const STREAM: [&str; 10] =
    ["--messages", "0", "--mode", "stream", "--sizes", "64KiB", "--duration", "60s", "--timeout", "300ms"];
const CHUNKED: [&str; 12] = [
    "--messages",
    "0",
    "--mode",
    "chunked",
    "--sizes",
    "1MiB",
    "--chunk",
    "64",
    "--iterations",
    "1000000",
    "--timeout",
    "300ms",
];

/// A run with all output kept.
fn start(place: &Place, args: &[&str]) -> Child {
    place.host(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the messages that count are under way; those that rank copy kernels have a session of their own.
fn wait_for_rows(place: &Place) {
    let calibration = place.wait_for_message(1, 0);
    place.wait_for_message(20, calibration);
}

fn interrupt(host: Child) -> Output {
    kill(Pid::from_raw(host.id() as i32), Signal::SIGINT).unwrap();
    host.wait_with_output().unwrap()
}

#[test]
fn a_guest_killed_in_the_middle_of_frames_ends_the_run_with_a_row_for_each() {
    for args in [&STREAM[..], &CHUNKED] {
        let place = Place::with_region(4 << 20);
        let guest = place.guest(&[]);
        let host = start(&place, args);
        wait_for_rows(&place);
        guest.signal(Signal::SIGKILL);
        let output = host.wait_with_output().unwrap();
        let (code, line) = complaint(&place, &output);
        assert_eq!(code, Some(1));
        assert!(line.contains("the guest stopped answering at message"), "{line}");
        let rows = place.rows("bandwidth_results.csv");
        let (ok, lost): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["status"] == "ok");
        assert!(ok.len() >= 10 && !lost.is_empty(), "{} {lost:?}", ok.len());
        assert!(lost.iter().all(|row| row["status"].starts_with("timeout")), "{lost:?}");
        // What was in flight is all there: iterations without a hole.
        let mut iterations: Vec<u64> = rows.iter().map(|row| row["iteration"].parse().unwrap()).collect();
        iterations.sort_unstable();
        assert_eq!(iterations, (1..=rows.len() as u64).collect::<Vec<_>>());
        assert_eq!(place.run_json()["completed"], false);
        let _guest = place.guest(&[]);
        let quick = ["--messages", "0", "--sizes", "64KiB", "--iterations", "2"];
        assert_eq!(place.run_host(&quick).status.code(), Some(0), "the next pair");
    }
}

#[test]
fn a_host_killed_in_the_middle_of_a_chunked_frame_can_start_again_with_the_same_guest() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    let mut session = 0;
    for _ in 0..3 {
        let mut host = start(&place, &CHUNKED);
        let calibration = place.wait_for_message(1, session);
        session = place.wait_for_message(20, calibration);
        host.kill().unwrap();
        host.wait().unwrap();
    }
    let output =
        place.run_host(&["--messages", "0", "--mode", "chunked", "--sizes", "1MiB", "--chunk", "64"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.statuses("bandwidth_results.csv"), ["ok"; 10]);
}

#[test]
fn an_interrupted_stream_keeps_its_rows_and_calls_none_of_them_verified_that_was_not() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    let host = start(&place, &STREAM);
    wait_for_rows(&place);
    let output = interrupt(host);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let rows = place.rows("bandwidth_results.csv");
    assert!(rows.len() >= 10, "{}", rows.len());
    for row in &rows {
        let checked = if row["verify"] == "none" { "0" } else { "1" };
        assert_eq!((row["status"].as_str(), row["data_verified"].as_str()), ("ok", checked), "{row:?}");
    }
    let run = place.run_json();
    assert_eq!((&run["completed"], &run["interrupted"]), (&false.into(), &true.into()));
    assert_no_leftovers(&place.out());
}

#[test]
fn an_interrupted_soak_keeps_its_histogram() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let host = start(&place, &["--duration", "60s"]);
    place.wait_for_message(5_000, 0);
    let output = interrupt(host);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let latency = place.run_json()["latency"].clone();
    let count = latency["rtt_ns"]["count"].as_u64().unwrap();
    assert!(count > 3_000, "{latency}");
    let histogram = fs::read_to_string(place.out().join("latency.hgrm")).unwrap();
    assert!(histogram.contains(&format!("Total count    = {count:>12}]")), "{histogram}");
    assert!(!place.out().join("latency_results.csv").exists());
}

#[test]
fn an_interrupt_is_heard_during_a_long_pause() {
    for pause in [["--rate", "0.01"], ["--interval", "1h"]] {
        let place = Place::with_region(1 << 20);
        let _guest = place.guest(&[]);
        let host =
            start(&place, &["--messages", "5", "--warmup", "1", "--frames", "none", pause[0], pause[1]]);
        if pause[0] == "--rate" {
            place.wait_for_message(1, 0);
        } else {
            place.wait_for_session();
        }
        let output = interrupt(host);
        assert_eq!(output.status.code(), Some(130), "{pause:?}: {}", stderr(&output));
    }
}

#[test]
fn an_interrupt_takes_the_load_along() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let host = start(&place, &["--duration", "60s", "--warmup", "0", "--load", "cpu=1,io=1"]);
    place.wait_for_message(100, 0);
    let output = interrupt(host);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(place.run_json()["load"]["label"], "cpu=1,io=1");
    let mut names: Vec<_> =
        fs::read_dir(place.out()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["latency.hgrm", "run.json"], "nothing of the load's is left");
}
