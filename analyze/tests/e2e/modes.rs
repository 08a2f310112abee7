//! Reports of chunked, streamed, open-loop, histogram-only and loaded runs, and runs above the roof.

use crate::experiment::{Experiment, plain_sizes};
use crate::scene::{BANDWIDTH_HEADER, Scene, decode};
use serde_json::{Value, json};

/// The report of one run, without the provenance that other snapshots show.
fn until_provenance(report: &str) -> &str {
    report.split("\nPROVENANCE").next().unwrap()
}

/// Reasons to doubt the main run, the gravest first.
fn codes(summary: &Value) -> Vec<&str> {
    summary["runs"][0]["doubts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|doubt| doubt["code"].as_str().unwrap())
        .collect()
}

#[test]
fn plain_sizes_in_chunks_under_their_roof() {
    let scene = Scene::new();
    Experiment { sizes: plain_sizes(), mode: "chunked", ..Experiment::default() }.write(&scene, "chunked");
    let report = scene.stdout(&["chunked"]);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!("chunked_plain_sizes", report);
    let summary: Value = serde_json::from_str(&scene.stdout(&["chunked", "--json"])).unwrap();
    let frame = &summary["runs"][0]["bandwidth"]["frames"][9];
    assert_eq!((&frame["frame"], &frame["mode"]), (&json!("16MiB"), &json!("chunked")));
    // Chunked: the slower of the host's write (12) and the guest's copy (3).
    assert_eq!(frame["roof"]["total_gb_per_s"], 3.0);
    assert!(frame["share_of_roof"]["read"].as_f64().unwrap() > 0.8);
    assert_eq!((&frame["ok"], &frame["verified"], &frame["spared"]), (&json!(12), &json!(3), &json!(9)));
    assert_eq!(codes(&summary), ["uncached", "tcg", "too_few_samples"]);
}

#[test]
fn a_roof_without_a_spread_is_one_figure() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "r");
    let mut json = run.run_json();
    for side in ["host", "guest"] {
        let side = json["roof"]["sizes"][0][side].as_object_mut().unwrap();
        side.retain(|key, _| !key.contains("_low_"));
    }
    scene.file("r/run.json", json.to_string());
    let report = scene.stdout(&["r"]);
    let roof = "\n  roof              write       read      total\n  4K frame          12.00      3.000      2.400\n";
    assert!(report.contains(roof), "{report}");
}

#[test]
fn two_modes_in_one_file_are_two_lines() {
    let scene = Scene::new();
    let chunked = Experiment { mode: "chunked", ..Experiment::default() };
    chunked.write(&scene, "chunked");
    Experiment::default().write(&scene, "both");
    let rows = std::fs::read_to_string(scene.path("chunked/bandwidth_results.csv")).unwrap();
    let mut both = std::fs::read_to_string(scene.path("both/bandwidth_results.csv")).unwrap();
    both.push_str(rows.split_once('\n').unwrap().1);
    scene.file("both/bandwidth_results.csv", both);
    let report = scene.stdout(&["both"]);
    assert!(
        report.contains("\n  4K frame whole\n               24,883,200         12         12"),
        "{report}"
    );
    assert!(
        report.contains("\n  4K frame chunked\n               24,883,200         12         12"),
        "{report}"
    );
}

#[test]
fn a_stream_lists_its_late_frames_with_what_was_seen_beside_them() {
    let scene = Scene::new();
    let stream = Experiment { mode: "stream", frames: 240, ..Experiment::default() };
    stream.write(&scene, "stream");
    let report = scene.stdout(&["stream"]);
    insta::assert_snapshot!("stream", until_provenance(&report));
    // A tenth of 240 never left; of the rest every eighth was late, but those dropped.
    let summary: Value = serde_json::from_str(&scene.stdout(&["stream", "--json"])).unwrap();
    let frame = &summary["runs"][0]["bandwidth"]["frames"][0];
    assert_eq!(frame["stream"]["dropped"], 24);
    assert_eq!(frame["stream"]["late"].as_array().unwrap().len(), 24);
    assert_eq!(frame["failed_by_status"]["dropped"], 24);
    assert_eq!(codes(&summary), ["dropped", "uncached", "tcg", "too_few_samples"]);
    assert_eq!(decode(&scene.path("stream/bandwidth_analysis.png")).0, 1400);
}

#[test]
fn a_stream_that_kept_its_schedule_is_at_the_asked_rate_and_not_at_a_share_of_its_roof() {
    let scene = Scene::new();
    let stream = Experiment { mode: "stream", frames: 9, ..Experiment::default() };
    stream.write(&scene, "stream");
    let report = |fps: f64| {
        let mut json = stream.run_json();
        json["bandwidth"]["fps"] = json!(fps);
        scene.file("stream/run.json", json.to_string());
        scene.stdout(&["stream"])
    };
    let kept = report(60.0);
    assert!(kept.contains(" asked rate\n  4K frame: at the asked rate of 60.00 frames/s"), "{kept}");
    // Twice as much was asked for: what came is what the link did.
    assert!(!report(120.0).contains("asked rate"));
    let note = "A stream's rate is test_size_bytes over the time";
    assert!(kept.contains(note) && !kept.contains("write + notify + read"), "{kept}");
}

#[test]
fn a_frame_with_a_mismatch_was_checked_and_is_named() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "r");
    let text = std::fs::read_to_string(scene.path("r/bandwidth_results.csv")).unwrap();
    let row = |(place, line): (usize, &str)| match place {
        0 => format!("{line},mismatch_offset\n"),
        3 => format!("{},12441600\n", line.replace(",ok,", ",mismatch,")),
        7 => format!("{},\n", line.replace(",ok,", ",mismatch,")),
        _ => format!("{line},\n"),
    };
    let text: String = text.lines().enumerate().map(row).collect();
    scene.file("r/bandwidth_results.csv", text);
    let report = scene.stdout(&["r"]);
    // Three of twelve matched.
    assert!(
        report.contains(
            "  Verified      checked 5 of 12 frames by xxh3, 2 mismatches, one in 4 asked for\n  \
             Mismatch      4K frame: iteration 3 from byte 12,441,600 on, iteration 7\n"
        ),
        "{report}"
    );
    let summary: Value = serde_json::from_str(&scene.stdout(&["r", "--json"])).unwrap();
    let frame = &summary["runs"][0]["bandwidth"]["frames"][0];
    assert_eq!((&frame["verified"], &frame["checked"]), (&json!(3), &json!(5)));
    assert_eq!(frame["mismatches"][0], json!({"iteration": 3, "offset": 12_441_600}));
}

#[test]
fn what_a_bar_shows_adds_up_to_the_duration() {
    let scene = Scene::new();
    Experiment::default().write(&scene, "whole");
    Experiment { mode: "chunked", ..Experiment::default() }.write(&scene, "chunked");
    let parts = |run: &str| {
        let summary: Value = serde_json::from_str(&scene.stdout(&[run, "--json"])).unwrap();
        summary["runs"][0]["bandwidth"]["frames"][0]["parts"].clone()
    };
    let whole = parts("whole");
    let sum: f64 = ["write", "notify", "read"].map(|part| whole[part].as_f64().unwrap()).iter().sum();
    assert!((sum - 1.0).abs() < 1e-9, "{whole}");
    // Written at 10, read at 2.5.
    assert!((whole["read"].as_f64().unwrap() - 0.8).abs() < 0.001);
    assert!(parts("chunked").is_null());
}

#[test]
fn a_report_says_what_the_mapping_costs_and_how_long_vcpus_waited() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "r");
    let mut json = run.run_json();
    json["interference"]["vcpu_run_delay_ns"] = json!(115_013_846);
    json["interference"]["vcpu_involuntary_context_switches"] = json!(256);
    let mut report = |anon: f64| {
        json["guest"]["copy_candidates"] = json!([{"kernel": "avx2", "region_gb_per_s": null, "anon_gb_per_s": 9.0},
                {"kernel": "memcpy", "region_gb_per_s": 2.0, "anon_gb_per_s": anon}]);
        scene.file("r/run.json", json.to_string());
        scene.stdout(&["r"])
    };
    let free = report(2.1);
    assert!(
        free.contains("  Mapping costs nothing: region read at 2.000 GB/s, private memory at 2.100\n"),
        "{free}"
    );
    let words = free.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("vCPUs 115.0 ms without a CPU they were ready for, vCPUs preempted 256 times"),
        "{words}"
    );
    assert!(report(5.0).contains("  Mapping costs reads that take 2.500 times as long: "));
}

#[test]
fn a_run_that_was_loaded_on_purpose_is_not_to_be_repeated() {
    let scene = Scene::new();
    Experiment { load: Some("cpu=2"), dirty: true, ..Experiment::default() }.write(&scene, "r");
    let report = scene.stdout(&["r"]);
    assert!(
        report.contains("- LOADED RUN: disturbed while it was measured, as its load cpu=2 was meant to.")
    );
    assert!(!report.contains("DIRTY") && !report.contains("Repeat it"), "{report}");
}

#[test]
fn the_guest_writes_and_the_host_reads() {
    let scene = Scene::new();
    let run = Experiment { direction: "guest-to-host", ..Experiment::default() };
    run.write(&scene, "back");
    let summary: Value = serde_json::from_str(&scene.stdout(&["back", "--json"])).unwrap();
    let frame = &summary["runs"][0]["bandwidth"]["frames"][0];
    assert_eq!(frame["roof"]["write_gb_per_s"], 2.0);
    assert_eq!(frame["roof"]["read_gb_per_s"], 10.0);
    // The write is timed on the guest's own clock.
    assert!((frame["write_median_gb_per_s"].as_f64().unwrap() - 2.5).abs() < 0.01);
}

#[test]
fn an_open_loop_counts_from_the_due_time_and_never_calls_it_a_round_trip() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "open");
    let mut rows = String::from(
        "iteration,latency_ns,latency_us,received_ns,status,send_delay_ns,to_guest_ns,to_host_ns\n",
    );
    for i in 1..=3_000_u64 {
        let delay = i * 7 % 40;
        let (ns, us) = (130 + delay, 0.13 + delay as f64 / 1e3);
        rows += &format!("{i},{ns},{us:.3},{},ok,{delay},{},{}\n", 98 + delay, 60 + i % 9, 70);
    }
    scene.file("open/latency_results.csv", rows);
    let mut json = run.run_json();
    json["latency"] = json!({"messages": 3000, "warmup": 100, "loop": "open", "rate_per_s": 100_000.0,
        "arrivals": "poisson", "payload_bytes": 64, "record": "samples", "lost": 0, "duplicated": 2, "reordered": 1,
        "missed_rate": true, "achieved_per_s": 81_250.0, "one_way": {"accepted": true, "why": null, "offset_ns": 5.0,
        "bound_ns": 31.5, "drift_ppm": 0.25, "exchanges": 4000, "to_guest_ns": {"p50": 1.0, "p99": 2.0},
        "to_host_ns": {"p50": 1.0, "p99": 2.0}}});
    scene.file("open/run.json", json.to_string());
    let report = scene.stdout(&["open"]);
    insta::assert_snapshot!("open_loop", until_provenance(&report).split("\nBANDWIDTH").next().unwrap());
    let summary: Value = serde_json::from_str(&scene.stdout(&["open", "--json"])).unwrap();
    let latency = &summary["runs"][0]["latency"];
    assert!(latency["rtt_processed"].is_null() && latency["half_rtt_estimate"].is_null());
    assert_eq!(latency["from_due_processed"]["count"], 3000);
    assert_eq!(latency["one_way"]["to_host"]["p50_ns"], 70.0);
}

#[test]
fn a_histogram_without_samples_is_reported_and_not_drawn() {
    let scene = Scene::new();
    let mut json = Experiment::default().run_json();
    json["bandwidth"] = Value::Null;
    json["latency"] = json!({"messages": null, "loop": "closed", "record": "histogram", "duration_s": 60.0,
        "sent": 5_001_010, "warmup": 1000, "lost": 10,
        "status_counts": {"ok": 5_000_000, "timeout_processed": 10}, "duplicated": 0, "reordered": 0, "missed_rate": false, "payload_bytes": 8,
        "rtt_ns": {"p50": 131, "p90": 140, "p99": 171, "p99.9": 2048, "max": 999_999, "count": 5_000_000},
        "one_way": {"accepted": false, "why": "the error bound of 400 ns is larger than the latency"}});
    scene.file("long/run.json", json.to_string());
    let report = scene.stdout(&["long"]);
    insta::assert_snapshot!("histogram_only", until_provenance(&report));
    assert_eq!(scene.names("long"), ["performance_report.txt", "report.html", "run.json", "summary.json"]);
}

#[test]
fn a_loaded_run_beside_an_idle_one() {
    let scene = Scene::new();
    Experiment::default().write(&scene, "idle");
    Experiment { load: Some("cpu=2"), base_ns: 390, read_rate: 1.25, ..Experiment::default() }
        .write(&scene, "loaded");
    let report = scene.stdout(&["idle", "loaded"]);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!("loaded_over_idle", report.split("\nLATENCY").next().unwrap());
    assert!(report.contains("  Load          cpu=2 (host: stress-ng --cpu 2)\n"), "{report}");
    assert!(scene.names("loaded").contains(&"summary.json".to_owned()));
    assert_eq!(scene.names("idle"), ["bandwidth_results.csv", "latency_results.csv", "run.json"]);
    let summary: Value = serde_json::from_str(&scene.stdout(&["loaded", "idle", "--json"])).unwrap();
    assert_eq!(summary["runs"][0]["load"], "cpu=2");
    assert!(summary["runs"][1]["load"].is_null());
    assert!(summary["ratios"][0]["loaded_over_idle"].as_f64().unwrap() > 2.5);
}

#[test]
fn two_loaded_runs_are_as_wrong_as_two_idle_ones() {
    let scene = Scene::new();
    for name in ["a", "b"] {
        Experiment { load: Some("cpu=2"), ..Experiment::default() }.write(&scene, name);
    }
    assert!(scene.error(&["a", "b"]).starts_with("analyze: a and b: two VM runs; a report is about one run"));
}

#[test]
fn figures_above_the_roof_and_a_guest_that_broke_the_protocol_are_said_first() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "r");
    let mut json = run.run_json();
    json["roof"]["exceeded"] = json!(["4k: total 3.1 GB/s above a roof of 2.4 GB/s"]);
    json["peer_violations"] = json!(["PROCESSED went back from 9 to 4"]);
    json["interference"]["throttle_events"] = json!(3);
    scene.file("r/run.json", json.to_string());
    let report = scene.stdout(&["r"]);
    insta::assert_snapshot!("alarms", report.split("\nLATENCY").next().unwrap());
}

#[test]
fn a_bandwidth_file_with_a_mode_that_is_no_name_is_refused() {
    let scene = Scene::new();
    let row = "1,4k,3840,2160,24,24883200,23.73,1000,1,1,23173.8,1,,,,,ok,,,who le";
    scene.file("b.csv", format!("{BANDWIDTH_HEADER},mode\n{row}\n"));
    assert_eq!(scene.error(&["b.csv"]), "analyze: b.csv, line 2, column mode: `who le` is not a name");
}
