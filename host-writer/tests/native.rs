//! host-writer and guest-reader as two processes over one file: good runs, faults, deaths and returns.

mod common;

use std::fs;
use std::process::Stdio;

use common::{ENDLESS, Place, assert_no_leftovers, complaint, stderr, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn every_message_is_ok_and_the_files_are_as_contracted() {
    let place = Place::with_region(64 << 20);
    let _guest = place.guest(&[]);
    let output =
        place.run_host(&["--messages", "2000", "--warmup", "10", "--iterations", "2", "--seed", "7"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let latency = place.rows("latency_results.csv");
    assert_eq!(latency.len(), 2000);
    for (i, row) in latency.iter().enumerate() {
        assert_eq!((row["iteration"].as_str(), row["status"].as_str()), ((i + 1).to_string().as_str(), "ok"));
        let (rtt, received): (u64, u64) =
            (row["latency_ns"].parse().unwrap(), row["received_ns"].parse().unwrap());
        assert!(0 < received && received <= rtt, "{row:?}");
    }
    let frames = place.rows("bandwidth_results.csv");
    let sizes: Vec<_> =
        frames.iter().map(|r| (r["frame_type"].as_str(), r["test_size_bytes"].as_str())).collect();
    let expected = [("1080p", "6220800"), ("1440p", "11059200"), ("4k", "24883200")];
    assert_eq!(sizes, expected.iter().flat_map(|&size| [size; 2]).collect::<Vec<_>>());
    for row in &frames {
        assert_eq!((row["status"].as_str(), row["data_verified"].as_str()), ("ok", "1"));
        let ns = |column: &str| row[column].parse::<i64>().unwrap();
        // Each part is rounded to a nanosecond on its own.
        let parts = ns("write_ns") + ns("notify_ns") + ns("read_ns");
        assert!((ns("duration_ns") - parts).abs() <= 2, "{row:?}");
    }
    let hgrm = fs::read_to_string(place.out().join("latency.hgrm")).unwrap();
    assert!(hgrm.contains("Total count    =         2000"), "{hgrm}");

    let run = place.run_json();
    assert_eq!(run["schema"], "ivshmem-run/1");
    assert_eq!((&run["completed"], &run["interrupted"]), (&true.into(), &false.into()));
    assert_eq!(
        (&run["guest"]["map_kind"], &run["guest"]["memory_type"]),
        (&"file".into(), &"write-back".into())
    );
    assert_eq!((&run["latency"]["ok"], &run["latency"]["warmup"]), (&2000.into(), &10.into()));
    assert_eq!((&run["bandwidth"]["ok"], &run["bandwidth"]["seed"]), (&6.into(), &7.into()));
    assert!(run["copy_candidates"].as_array().unwrap().len() > 1);
    let guest = &run["guest"];
    let largest = run["copy_by_size"].as_array().unwrap().iter().rfind(|row| row["side"] == "guest").unwrap();
    assert_eq!(largest["chosen"], guest["copy_kernel"], "what a reader takes for the kernel is the kernel");
    let names = guest["copy_candidates"].as_array().unwrap().iter().map(|c| &c["kernel"]).collect::<Vec<_>>();
    assert!(names.contains(&&guest["copy_kernel_by_itself"]), "{guest}");
    let unmeasured = |c: &serde_json::Value| c["anon_gb_per_s"] == 0.0 || c["region_gb_per_s"] == 0.0;
    assert!(!guest["copy_candidates"].as_array().unwrap().iter().any(unmeasured), "null, not 0: {guest}");
    let interference = &run["interference"];
    assert!(interference["vcpu_run_delay_ns"].is_null(), "there is no vCPU");
    for field in ["run_delay_ns", "guest_run_delay_ns"] {
        assert!(interference[field].is_u64(), "{field}: {interference}");
    }
    assert_no_leftovers(&place.out());
}

#[test]
fn either_side_may_start_first_and_yesterdays_state_disturbs_neither() {
    let place = Place::new();
    let quick = ["--messages", "100", "--warmup", "0", "--frames", "none"];
    // Host first, on no region at all.
    let host = place.host(&quick).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let guest = place.guest(&[]);
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // The guest dies without a word and leaves its page behind; guest first, then host first, on stale pages.
    guest.signal(Signal::SIGKILL);
    drop(guest);
    let guest = place.guest(&[]);
    assert_eq!(place.run_host(&quick).status.code(), Some(0));
    guest.signal(Signal::SIGKILL);
    drop(guest);
    let host = place.host(&quick).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _guest = place.guest(&[]);
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(place.statuses("latency_results.csv").iter().all(|status| status == "ok"));
}

#[test]
fn a_dropped_acknowledgement_is_a_timeout_row_and_the_run_goes_on() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&["--inject", "drop-ack=5"]);
    let args = ["--messages", "20", "--warmup", "0", "--frames", "none", "--timeout", "100ms"];
    let output = place.run_host(&args);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let rows = place.rows("latency_results.csv");
    let failed: Vec<_> = rows.iter().filter(|r| r["status"] != "ok").collect();
    assert_eq!((rows.len(), failed.len()), (20, 1));
    assert_eq!((failed[0]["iteration"].as_str(), failed[0]["status"].as_str()), ("5", "timeout_processed"));
    assert_eq!(failed[0]["latency_ns"], "");
    assert_ne!(failed[0]["received_ns"], "");
    assert_eq!(place.run_json()["latency"]["status_counts"]["timeout_processed"], 1);
}

#[test]
fn a_dropped_frame_is_a_timeout_row_too() {
    let place = Place::with_region(64 << 20);
    let _guest = place.guest(&["--inject", "drop-ack=2"]);
    let args = ["--messages", "0", "--frames", "1080p", "--iterations", "3", "--timeout", "500ms"];
    assert_eq!(place.run_host(&args).status.code(), Some(3));
    assert_eq!(place.statuses("bandwidth_results.csv"), ["ok", "timeout_processed", "ok"]);
}

#[test]
fn a_corrupted_frame_is_a_mismatch() {
    let place = Place::with_region(64 << 20);
    let _guest = place.guest(&["--inject", "corrupt=2"]);
    let args = ["--messages", "0", "--frames", "1080p", "--iterations", "3"];
    assert_eq!(place.run_host(&args).status.code(), Some(3));
    assert_eq!(place.statuses("bandwidth_results.csv"), ["ok", "mismatch", "ok"]);
    let verified: Vec<_> = place
        .rows("bandwidth_results.csv")
        .into_iter()
        .map(|mut r| r.remove("data_verified").unwrap())
        .collect();
    assert_eq!(verified, ["1", "0", "1"]);
}

#[test]
fn without_verification_nothing_is_called_verified() {
    let place = Place::with_region(64 << 20);
    let _guest = place.guest(&["--inject", "corrupt=1"]);
    let args = ["--messages", "0", "--frames", "1080p", "--iterations", "1", "--verify", "none"];
    assert_eq!(place.run_host(&args).status.code(), Some(0));
    let row = &place.rows("bandwidth_results.csv")[0];
    assert_eq!(
        (row["status"].as_str(), row["data_verified"].as_str(), row["verify_ns"].as_str()),
        ("ok", "0", "")
    );
}

#[test]
fn the_message_at_which_a_guest_died_is_named_as_its_row_is() {
    for (warmup, published) in [("100000", 5), ("20", 30)] {
        let place = Place::with_region(1 << 20);
        let guest = place.guest(&[]);
        let mut args = ENDLESS;
        args[3] = warmup;
        let host = place.host(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        place.wait_for_message(published, 0);
        guest.signal(Signal::SIGKILL);
        let (_, line) = complaint(&place, &host.wait_with_output().unwrap());
        if published < 20 {
            assert!(line.contains("stopped answering at warm-up message "), "{line}");
            assert!(line.contains("; there are no rows yet; "), "{line}");
            assert!(!place.out().exists(), "nothing was written");
        } else {
            let last =
                format!("stopped answering at message {} and", place.rows("latency_results.csv").len());
            assert!(line.contains(&last), "{line}");
        }
    }
}

#[test]
fn a_guest_that_is_killed_ends_the_run_with_the_rows_so_far() {
    let place = Place::with_region(1 << 20);
    let guest = place.guest(&[]);
    let host = place.host(&ENDLESS).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    place.wait_for_message(5, 0);
    guest.signal(Signal::SIGKILL);
    let output = host.wait_with_output().unwrap();
    let (code, line) = complaint(&place, &output);
    assert_eq!(code, Some(1));
    assert!(line.contains("the guest stopped answering at message"), "{line}");
    assert!(line.contains("heartbeat stands still"), "{line}");
    let run = place.run_json();
    assert_eq!(run["completed"], false);
    let statuses = place.statuses("latency_results.csv");
    let (last, before) = statuses.split_last().unwrap();
    assert!(last.starts_with("timeout") && before.iter().all(|s| s == "ok"), "{statuses:?}");
    // And the region is good for the next pair.
    let _guest = place.guest(&[]);
    assert_eq!(place.run_host(&["--messages", "10", "--frames", "none"]).status.code(), Some(0));
}

#[test]
fn a_host_that_is_killed_can_start_again_with_the_same_guest() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let mut session = 0;
    for _ in 0..3 {
        session = place.kill_a_host(session);
    }
    let output = place.run_host(&["--messages", "1000", "--frames", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(place.statuses("latency_results.csv").iter().all(|status| status == "ok"));
}

#[test]
fn an_interrupted_run_keeps_its_rows_and_says_so() {
    let place = Place::with_region(1 << 20);
    let mut guest = place.guest(&[]);
    let host = place.host(&ENDLESS).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    place.wait_for_message(5, 0);
    kill(Pid::from_raw(host.id() as i32), Signal::SIGINT).unwrap();
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let run = place.run_json();
    assert_eq!((&run["completed"], &run["interrupted"]), (&false.into(), &true.into()));
    let statuses = place.statuses("latency_results.csv");
    assert!((4..100_000).contains(&statuses.len()) && statuses.iter().all(|s| s == "ok"));
    assert_no_leftovers(&place.out());
    // The guest ends on request, too, and in good order.
    guest.wait_for_line("session closed");
    guest.signal(Signal::SIGTERM);
    assert_eq!(guest.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_while_waiting_for_a_guest_leaves_nothing_behind() {
    let place = Place::new();
    let mut host = place.host(&["--guest-timeout", "60s"]).stderr(Stdio::piped()).spawn().unwrap();
    // The region appears once the signal handlers are in place and the outputs prepared.
    until("made the region", || {
        assert!(host.try_wait().unwrap().is_none());
        place.region.exists().then_some(())
    });
    kill(Pid::from_raw(host.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(host.wait().unwrap().code(), Some(130));
    assert!(!place.region.exists());
    assert!(!place.out().exists(), "nothing is left of the output directory");
}

#[test]
fn two_hosts_or_two_guests_on_one_region_are_refused() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let mut first = place.host(&ENDLESS).stdout(Stdio::null()).spawn().unwrap();
    place.wait_for_message(5, 0);
    let second = place.run_host(&["--messages", "10", "--frames", "none"]);
    first.kill().unwrap();
    first.wait().unwrap();
    insta::assert_debug_snapshot!(complaint(&place, &second));

    let output =
        std::process::Command::new(common::guest_reader()).arg("--map").arg(&place.region).output().unwrap();
    insta::assert_debug_snapshot!(complaint(&place, &output));
}

#[test]
fn json_is_json_and_quiet_is_quiet() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let output = place.run_host(&["--messages", "20000", "--frames", "none", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["figures"]["rtt"]["count"], 20_000);
    assert_eq!(json["run"]["latency"]["ok"], 20_000);
    let percentiles = &json["figures"]["rtt"]["percentiles_ns"];
    assert_eq!(percentiles[3][0], 99.9);
    assert!(percentiles[3][1].is_u64() && percentiles[4][1].is_null(), "{percentiles}");
    let output = place.run_host(&["--messages", "10", "--frames", "none", "--quiet"]);
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
}

#[test]
fn a_skipped_test_leaves_no_rows_of_another_run_beside_its_run_json() {
    let place = Place::with_region(64 << 20);
    let _guest = place.guest(&[]);
    assert_eq!(place.run_host(&["--messages", "100", "--frames", "none"]).status.code(), Some(0));
    let frames_only = ["--messages", "0", "--frames", "1080p", "--iterations", "1"];
    assert_eq!(place.run_host(&frames_only).status.code(), Some(0));
    let mut names: Vec<_> =
        fs::read_dir(place.out()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["bandwidth_results.csv", "run.json"]);
}

#[test]
fn an_interrupt_before_the_first_row_leaves_earlier_results_alone() {
    let place = Place::with_region(64 << 20);
    let _guest = place.guest(&[]);
    assert_eq!(place.run_host(&["--messages", "100", "--frames", "none"]).status.code(), Some(0));
    let (rows, run) = (place.rows("latency_results.csv"), place.run_json());
    let session = place.wait_for_message(1, 0);
    let host = place.host(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The first messages of a run rank copy kernels and are in no row.
    place.wait_for_message(1, session);
    kill(Pid::from_raw(host.id() as i32), Signal::SIGINT).unwrap();
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    insta::assert_snapshot!(stderr(&output).trim_end(), @"host-writer: interrupted before the first message that counts; nothing written");
    assert_eq!((place.rows("latency_results.csv"), place.run_json()), (rows, run));
    assert_no_leftovers(&place.out());
}

#[test]
fn a_process_that_serves_the_region_of_a_vm_is_not_taken_for_the_vm() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    // The state of a live VM with this region: this process stands for its QEMU.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let vm = serde_json::json!({"name": "micro", "shm_path": place.region, "pid": std::process::id(),
        "pid_start_time_ticks": start, "vcpu_threads": [{"vcpu": 0, "tid": std::process::id(), "cpu": null}],
        "accelerator": {"asked": "auto", "effective": "tcg", "why": "no KVM"}});
    let state = place.dir.path().join("state/micro");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("vm.json"), vm.to_string()).unwrap();
    let output = place.run_host(&["--messages", "100", "--frames", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = place.run_json();
    assert_eq!((&run["vm"], &run["vm_beside"]), (&serde_json::Value::Null, &"micro".into()));
    assert!(run["interference"]["vcpu_run_delay_ns"].is_null(), "its vCPUs are not the guest's");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("not the VM micro, which has this region too"), "{text}");
}
