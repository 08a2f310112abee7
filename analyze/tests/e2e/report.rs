//! What users see and get: help, the report, summary.json, the files.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::scene::{LATENCY_HEADER, Scene, latency, run_json};
use serde_json::Value;

const ALL_FILES: [&str; 13] = [
    "bandwidth_analysis.png",
    "bandwidth_results.csv",
    "latency_ccdf.png",
    "latency_heatmap.png",
    "latency_histogram.png",
    "latency_over_time.png",
    "latency_percentiles.png",
    "latency_results.csv",
    "performance_report.txt",
    "phase_breakdown.png",
    "report.html",
    "run.json",
    "summary.json",
];

#[test]
fn help() {
    insta::assert_snapshot!("help", Scene::new().stdout(&["--help"]));
}

#[test]
fn the_report_of_a_vm_beside_its_native_baseline() {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    scene.run("vm", 130, "resource2_wc");
    let report = scene.stdout(&["native", "vm"]);
    insta::assert_snapshot!("vm_and_native", report);
    assert!(report.lines().all(|line| line.chars().count() <= 80));
    // By default the results go to the run the report is about.
    assert_eq!(scene.names("vm"), ALL_FILES);
    assert_eq!(scene.names("native"), ["bandwidth_results.csv", "latency_results.csv", "run.json"]);
    assert_eq!(fs::read_to_string(scene.path("vm/performance_report.txt")).unwrap(), report);
}

#[test]
fn the_report_of_the_prototypes_own_files() {
    let scene = Scene::new();
    let mut rows = String::from("\u{feff}iteration,latency_ns,latency_us\r\n");
    for i in (1..=400).filter(|i| i % 20 != 7) {
        rows += &format!("{i},{},{:.2}\r\n", 84_000 + i * 100, f64::from(84_000 + i * 100) / 1e3);
    }
    scene.file("proto/latency_results.csv", rows);
    scene.file(
        "proto/bandwidth_results.csv",
        "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,bandwidth_mbps,\
         bandwidth_gbps,data_verified\n\
         1,4K,3840,2160,24,24883200,23.73,412000000,412.00,57.60,0.06,1\n\
         2,4K,3840,2160,24,24883200,23.73,3266,0.00,7265853.95,7095.56,1\n\
         4,4K,3840,2160,24,24883200,23.73,3266,0.00,7265853.95,7095.56,0\n",
    );
    let report = scene.stdout(&["proto/latency_results.csv", "proto/bandwidth_results.csv", "--out", "out"]);
    insta::assert_snapshot!("prototype", report);
    assert_eq!(scene.names("out").len(), 9);
    assert_eq!(scene.names("proto").len(), 2);
}

#[test]
fn only_the_pictures_of_what_was_given() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    scene.stdout(&["vm/latency_results.csv", "--out", "a"]);
    assert_eq!(
        scene.names("a"),
        [
            "latency_ccdf.png",
            "latency_heatmap.png",
            "latency_histogram.png",
            "latency_over_time.png",
            "latency_percentiles.png",
            "performance_report.txt",
            "report.html",
            "summary.json"
        ]
    );
    scene.stdout(&["vm/bandwidth_results.csv", "--out", "b"]);
    assert_eq!(
        scene.names("b"),
        [
            "bandwidth_analysis.png",
            "performance_report.txt",
            "phase_breakdown.png",
            "report.html",
            "summary.json"
        ]
    );
}

#[test]
fn a_run_without_payloads_has_no_line_about_copies() {
    let scene = Scene::new();
    scene.file("vm/latency_results.csv", latency(130));
    let mut json: Value = serde_json::from_str(&run_json("resource2_wc")).unwrap();
    json["bandwidth"] = Value::Null;
    json["copy_kernel"] = Value::Null;
    json["copy_candidates"] = serde_json::json!([]);
    scene.file("vm/run.json", json.to_string());
    let report = scene.stdout(&["vm"]);
    assert!(report.contains("\n  Plan ") && !report.contains("\n  Copies"), "{report}");
    // A forced kernel had no rivals.
    json["copy_kernel"] = "memcpy".into();
    scene.file("vm/run.json", json.to_string());
    let report = scene.stdout(&["vm"]);
    assert!(report.contains("\n  Copies        host memcpy; guest avx2\n"), "{report}");
}

#[test]
fn failures_and_losses_are_counted_and_said() {
    let scene = Scene::new();
    let mut rows = format!("{LATENCY_HEADER}\n");
    for i in (1..=100).filter(|i| i % 10 != 0) {
        rows += &if i % 25 == 1 {
            format!("{i},,,,timeout_received\n")
        } else {
            format!("{i},130,0.130,98,ok\n")
        };
    }
    scene.file("vm/latency_results.csv", rows);
    // run.json promises 20 more than the numbering shows.
    let json = run_json("resource2_wc").replace("\"messages\":12000", "\"messages\":119");
    scene.file(
        "vm/run.json",
        json.replace("\"dirty\":false,\"reasons\":[]", "\"dirty\":true,\"reasons\":[\"steal 4 %\"]"),
    );
    let report = scene.stdout(&["vm"]);
    assert!(
        report
            .contains("119 sent, 86 ok (72.269 %), 4 failed, 29 lost\n  Failed as     timeout_received: 4\n"),
        "{}",
        &report[..1500]
    );
    assert!(report.contains("! DIRTY RUN: disturbed while it was measured (steal 4 %). Repeat it."));
    assert!(report.contains("! LOST: 29 messages left no row"));
    assert!(report.contains("! FAILED: 4 messages of 119 not ok"));
    assert!(report.contains("Interference  DIRTY: steal 4 %"));

    let summary: Value = serde_json::from_str(&scene.stdout(&["vm", "--json"])).unwrap();
    let latency = &summary["runs"][0]["latency"];
    assert_eq!(latency["lost"], 29);
    assert_eq!(latency["failed_by_status"]["timeout_received"], 4);
    assert_eq!(latency["rtt_processed"]["count"], 86);
    assert_eq!(summary["runs"][0]["doubts"][0]["code"], "dirty");
}

#[test]
fn an_interrupted_run_has_lost_nothing() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    let json = run_json("resource2_wc").replace("\"messages\":12000", "\"messages\":100000");
    let json =
        json.replace("\"completed\":true,\"interrupted\":false", "\"completed\":false,\"interrupted\":true");
    scene.file("vm/run.json", json);
    let report = scene.stdout(&["vm"]);
    assert!(report.contains("! INCOMPLETE: the run was interrupted"));
    assert!(report.contains("12,000 sent, 12,000 ok (100.000 %), 0 failed, 0 lost"));
}

#[test]
fn a_run_without_a_single_ok_row_is_reported_too() {
    let scene = Scene::new();
    scene.file("vm/latency_results.csv", format!("{LATENCY_HEADER}\n1,,,,timeout_received\n2,,,,mismatch\n"));
    let report = scene.stdout(&["vm"]);
    assert!(report.contains("2 sent, 0 ok (0.000 %), 2 failed, 0 lost\n  Failed as     mismatch: 1\n  Failed as     timeout_received: 1\n"));
    assert!(report.contains("No message was acknowledged"));
    let (width, height, pixels) = crate::scene::decode(&scene.path("vm/latency_histogram.png"));
    assert_eq!((width, height), (1200, 1000));
    assert!(pixels.iter().any(|p| *p != 255));
}

#[test]
fn summary_json_holds_every_figure_with_its_unit() {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    scene.run("vm", 130, "resource2_wc");
    let summary: Value = serde_json::from_str(&scene.stdout(&["native", "vm", "--json"])).unwrap();
    assert_eq!(summary["schema"], "ivshmem-summary/1");
    assert_eq!(summary["runs"][0]["role"], "vm");
    assert_eq!(summary["runs"][1]["role"], "native");
    assert_eq!(summary["runs"][0]["provenance"]["schema"], "ivshmem-run/1");
    let rtt = &summary["runs"][0]["latency"]["rtt_processed"];
    // 12,000 samples, 24 in the tail: the body is base + two residues of 21.
    assert_eq!(rtt["count"], 12_000);
    assert_eq!(rtt["min_ns"], 130);
    assert_eq!(rtt["max_ns"], 52_000);
    assert_eq!(rtt["p50_ns"], 150);
    assert!(rtt["p99_9_ns"].is_u64());
    assert!(rtt["p99_99_ns"].is_null());
    let frame = &summary["runs"][0]["bandwidth"]["frames"][2];
    assert_eq!(frame["frame"], "4k");
    assert_eq!(frame["size_bytes"], 24_883_200);
    assert_eq!(frame["write_median_ns"], 2_488_320);
    let ratio = &summary["ratios"][0];
    assert_eq!(ratio["name"], "rtt_processed_p50_ns");
    assert_eq!(ratio["vm_over_native"], 150.0 / 140.0);
    let written: Value = serde_json::from_slice(&fs::read(scene.path("vm/summary.json")).unwrap()).unwrap();
    assert_eq!(written, summary);
}

#[test]
fn the_order_of_the_inputs_does_not_matter_and_repeats_are_one() {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    scene.run("vm", 130, "resource2_wc");
    let report = scene.stdout(&["native", "vm"]);
    assert_eq!(scene.stdout(&["vm", "native", "vm/latency_results.csv"]), report);
}

#[test]
fn a_lone_native_run_is_the_main_one() {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    let report = scene.stdout(&["native"]);
    assert!(report.contains("  Run           native: native\n"));
    assert!(!report.contains("Baseline"));
}

#[test]
fn quiet_prints_nothing() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    scene.analyze(&["vm", "--quiet"]).assert().success().stdout("").stderr("");
    assert_eq!(scene.names("vm"), ALL_FILES);
    // Both together: what was asked for, and nothing else.
    let json = scene.stdout(&["vm", "--json"]);
    scene.analyze(&["vm", "-q", "--json"]).assert().success().stdout(json).stderr("");
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_failure() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    let mut child = Command::new(env!("CARGO_BIN_EXE_analyze"))
        .arg(scene.path("vm"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(scene.names("vm"), ALL_FILES);
}

#[test]
fn columns_and_failures_of_a_later_version_are_accepted() {
    let scene = Scene::new();
    let csv = latency(130).replace(",status\n", ",status,guest_ns\n").replace(",ok\n", ",ok,7\n");
    scene.file("vm/latency_results.csv", csv.replacen(",ok,7\n", ",some_new_failure,7\n", 1));
    let report = scene.stdout(&["vm"]);
    assert!(report.contains("11,999 ok (99.992 %), 1 failed, 0 lost\n  Failed as     some_new_failure: 1\n"));
}

#[test]
fn an_interrupt_leaves_no_file() {
    let scene = Scene::new();
    let pipe = scene.path("l.csv");
    let succeeds = |program: &str, argument: &str, other: &str| {
        assert!(Command::new(program).args([argument, other]).status().unwrap().success());
    };
    succeeds("mkfifo", "--mode=600", pipe.to_str().unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_analyze"))
        .arg(&pipe)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Opening waits for the reader, which by then handles signals; the data comes after the signal.
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    succeeds("kill", "-INT", &child.id().to_string());
    writer.write_all(latency(130).as_bytes()).unwrap();
    drop(writer);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(stderr, "analyze: interrupted; no unfinished file was left behind\n");
    assert_eq!(scene.names("."), ["l.csv"]);
}
