//! Every way a payload can travel, over a native pair: all rows are there, all columns mean what the contract says.

mod common;

use std::collections::HashMap;

use common::{Place, stderr};

type Row = HashMap<String, String>;

/// The contract's columns, in order.
const COLUMNS: &str = "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
     bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,guest_verify_ns,\
     mode,direction,cache,consume,verify,chunk_bytes,slots,copy_kernel,guest_copy_kernel,guest_stall_ns,start_ns,\
     from_due_ns,late,gap_ns,switches,mismatch_offset";
const VERIFY: [&str; 5] = ["sha256", "xxh3", "crc32c", "pattern", "none"];
const WAYS: [(&str, &str); 7] = [
    ("whole", "host-to-guest"),
    ("whole", "guest-to-host"),
    ("whole", "both"),
    ("chunked", "host-to-guest"),
    ("chunked", "guest-to-host"),
    ("stream", "host-to-guest"),
    ("stream", "guest-to-host"),
];

/// The rows of a run of odd-sized payloads that must end well.
fn rows(place: &Place, args: &[&str]) -> Vec<Row> {
    let common = ["--messages", "0", "--sizes", "200001", "--iterations", "5"];
    let chunk: &[&str] = if args.contains(&"chunked") { &["--chunk", "64KiB"] } else { &[] };
    let output = place.host(&common).args(chunk).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    let header = std::fs::read_to_string(place.out().join("bandwidth_results.csv")).unwrap();
    assert_eq!(header.lines().next(), Some(COLUMNS));
    place.rows("bandwidth_results.csv")
}

fn ns(row: &Row, column: &str) -> u64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {row:?}"))
}

fn check(row: &Row, mode: &str, verify: &str, consume: &str) {
    let is = |column: &str, expected: &str| assert_eq!(row[column], expected, "{column}: {row:?}");
    is("status", "ok");
    is("mode", mode);
    is("verify", verify);
    is("consume", consume);
    is("frame_type", "200001B");
    is("bpp", "0");
    is("chunk_bytes", if mode == "chunked" { "65536" } else { "" });
    is("data_verified", if verify == "none" { "0" } else { "1" });
    is("mismatch_offset", "");
    is("from_due_ns", "");
    is("late", "");
    // Trials choose a kernel for the guest's reading only, and none where one is far ahead of all others.
    if row["direction"] == "guest-to-host" || consume != "copy" {
        is("guest_copy_kernel", "");
    }
    assert!(ns(row, "duration_ns") > 0 && ns(row, "slots") > 0, "{row:?}");
    for column in ["write_ns", "read_ns", "guest_read_ns", "guest_stall_ns", "start_ns", "gap_ns", "switches"]
    {
        let _ = ns(row, column);
    }
    let guest_checks = verify != "none" && row["direction"] == "host-to-guest";
    assert_eq!(row["verify_ns"].is_empty(), verify == "none", "{row:?}");
    assert_eq!(row["guest_verify_ns"].is_empty(), !guest_checks, "{row:?}");
    assert_ne!(row["copy_kernel"], "");
}

#[test]
fn every_mode_direction_and_check_brings_every_payload_intact() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    for (mode, direction) in WAYS {
        for verify in VERIFY {
            let rows = rows(&place, &["--mode", mode, "--direction", direction, "--verify", verify]);
            let ways: &[&str] =
                if direction == "both" { &["host-to-guest", "guest-to-host"] } else { &[direction] };
            assert_eq!(rows.len(), 5 * ways.len());
            for way in ways {
                let mine: Vec<_> = rows.iter().filter(|row| row["direction"] == *way).collect();
                let iterations: Vec<_> = mine.iter().map(|row| row["iteration"].as_str()).collect();
                assert_eq!(iterations, ["1", "2", "3", "4", "5"], "{mode} {direction} {verify}");
            }
            rows.iter().for_each(|row| check(row, mode, verify, "copy"));
            let bandwidth = &place.run_json()["bandwidth"];
            let total = rows.len() as u64;
            let verified = if verify == "none" { 0 } else { total };
            assert_eq!((&bandwidth["ok"], &bandwidth["verified"]), (&total.into(), &verified.into()));
            assert_eq!((&bandwidth["mode"], &bandwidth["direction"]), (&mode.into(), &direction.into()));
        }
    }
}

#[test]
fn what_the_reader_does_with_the_bytes_is_as_asked_for_in_every_mode() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    for (mode, direction) in WAYS {
        for consume in ["scan", "none"] {
            let args = ["--mode", mode, "--direction", direction, "--verify", "none", "--consume", consume];
            rows(&place, &args).iter().for_each(|row| check(row, mode, "none", consume));
        }
    }
}

#[test]
fn payloads_out_of_cold_caches_arrive_in_every_mode() {
    let memory = ivshmem_proto::available_memory::now().unwrap_or(0);
    if memory / 4 < host_writer::caches::llc_bytes(0).unwrap_or(64 << 20) {
        eprintln!("skipped: {} MiB of memory are too few for a working set", memory >> 20);
        return;
    }
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    for (mode, direction) in
        [("whole", "host-to-guest"), ("chunked", "guest-to-host"), ("stream", "host-to-guest")]
    {
        let rows =
            rows(&place, &["--mode", mode, "--direction", direction, "--verify", "xxh3", "--cache", "cold"]);
        assert_eq!(rows.len(), 5);
        for row in &rows {
            check(row, mode, "xxh3", "copy");
            assert_eq!(row["cache"], "cold");
        }
        let bandwidth = &place.run_json()["bandwidth"];
        let llc = bandwidth["llc_bytes"].as_u64().unwrap_or(64 << 20);
        assert!(bandwidth["working_set_bytes"].as_u64().unwrap() > llc, "{bandwidth}");
    }
}

#[test]
fn every_third_payload_is_checked_when_asked_and_the_others_say_that_they_were_not() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    for (mode, direction) in WAYS.into_iter().filter(|way| way.1 != "both") {
        let args = ["--mode", mode, "--direction", direction, "--verify", "xxh3", "--verify-every", "3"];
        let rows = rows(&place, &args);
        let seen: Vec<_> =
            rows.iter().map(|row| (row["verify"].as_str(), row["data_verified"].as_str())).collect();
        let (yes, no) = (("xxh3", "1"), ("none", "0"));
        assert_eq!(seen, [yes, no, no, yes, no], "{mode} {direction}");
        let bandwidth = &place.run_json()["bandwidth"];
        let counts = [&bandwidth["verified"], &bandwidth["verifiable"], &bandwidth["verify_every"]];
        assert_eq!(counts.map(serde_json::Value::as_u64), [Some(2), Some(5), Some(3)]);
    }
}

#[test]
fn a_stream_at_a_rate_counts_from_the_due_time_and_a_forced_kernel_is_recorded() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    let args =
        ["--mode", "stream", "--fps", "20", "--copy", "sse2", "--guest-copy", "memcpy", "--slots", "3"];
    let all = rows(&place, &args);
    assert_eq!(all.len(), 5);
    for row in &all {
        assert_eq!((row["copy_kernel"].as_str(), row["guest_copy_kernel"].as_str()), ("sse2", "memcpy"));
        assert_eq!(row["slots"], "3");
        assert!(ns(row, "from_due_ns") >= ns(row, "duration_ns"), "{row:?}");
        assert!(["0", "1"].contains(&row["late"].as_str()));
    }
    let run = place.run_json();
    assert_eq!((&run["bandwidth"]["fps"], &run["bandwidth"]["slots"]), (&20.0.into(), &3.into()));
    let by_size = run["copy_by_size"].as_array().unwrap();
    assert!(by_size.iter().all(|side| side["forced"] == true) && by_size.len() == 2, "{by_size:?}");
}

#[test]
fn a_stream_that_nobody_can_keep_up_with_drops_frames_and_each_is_a_row() {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&[]);
    let args =
        ["--messages", "0", "--sizes", "1MiB", "--iterations", "300", "--mode", "stream", "--fps", "1M"];
    // The guest hashes longer than the host writes.
    let output = place.host(&args).args(["--verify", "sha256", "--slots", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let rows = place.rows("bandwidth_results.csv");
    assert_eq!(rows.len(), 300);
    let dropped: Vec<_> = rows.iter().filter(|row| row["status"] == "dropped").collect();
    assert_eq!(place.run_json()["bandwidth"]["dropped"], dropped.len());
    assert!(
        !dropped.is_empty()
            && dropped.iter().all(|row| row["duration_ns"].is_empty() && row["write_ns"].is_empty())
    );
}

#[test]
fn a_sweep_goes_from_a_cache_line_to_what_a_slot_holds() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let output = place.run_host(&["--messages", "0", "--sweep", "--iterations", "1", "--verify", "xxh3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let sizes: Vec<u64> = place
        .rows("bandwidth_results.csv")
        .iter()
        .map(|row| row["test_size_bytes"].parse().unwrap())
        .collect();
    assert_eq!(sizes, (6..=18).map(|shift| 1 << shift).collect::<Vec<u64>>());
}

#[test]
fn a_stream_by_time_sends_as_many_frames_as_were_due_and_calls_its_rate_the_asked_one() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    // A period that is no whole number of nanoseconds: rounded down, one more would be due before the end.
    let args = ["--preset", "4k60", "--sizes", "4KiB", "--fps", "30", "--duration", "1s"];
    let output = place.run_host(&args);
    assert_eq!(place.rows("bandwidth_results.csv").len(), 30, "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("preset   4k60 changed by --fps, --duration, --sizes\n"), "{text}");
    assert!(text.contains("asked rate"), "{text}");
    let run = place.run_json();
    assert!(run["bandwidth"]["note"].as_str().unwrap().contains("asked for with --fps"), "{run}");
}
