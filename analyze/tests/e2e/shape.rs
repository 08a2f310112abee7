//! What the samples of a run say together: in the report, in summary.json, and as reasons to doubt.

use std::fmt::Write as _;

use crate::scene::{LATENCY_HEADER, Scene, run_json};
use serde_json::{Value, json};

/// 200,000 messages of 400 or, one in five, 600 ns; the first 1,500 a quarter slower; a timer that costs 6 µs every 4 ms.
fn rows() -> String {
    let mut csv = format!("{LATENCY_HEADER}\n");
    let (mut now_ns, mut tick_ns, mut bits) = (0, 1_000_000, 1_u64);
    for i in 1..=200_000_u64 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = bits >> 59;
        let mut ns = if bits >> 40 & 0xff < 51 { 600 + 2 * noise } else { 400 + noise };
        ns += if i <= 1_500 { ns / 4 } else { 0 };
        if now_ns >= tick_ns {
            ns += 6_000;
            tick_ns += 4_000_000;
        }
        now_ns += ns;
        writeln!(csv, "{i},{ns},{:.3},{},ok", ns as f64 / 1e3, ns / 2).unwrap();
    }
    csv
}

#[test]
fn a_run_with_two_modes_a_tick_and_a_warm_up() {
    let scene = Scene::new();
    scene.file("vm/latency_results.csv", rows());
    let mut json: Value = serde_json::from_str(&run_json("resource2_wc")).unwrap();
    json["latency"]["messages"] = json!(200_000);
    scene.file("vm/run.json", json.to_string());
    let report = scene.stdout(&["vm"]);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    let doubts = report.split("\nLATENCY").next().unwrap();
    let shape = report.split("\nSHAPE").nth(1).unwrap().split("\nPROVENANCE").next().unwrap();
    insta::assert_snapshot!("two_modes_a_tick_and_a_warm_up", format!("{doubts}\nSHAPE{shape}"));

    let summary = scene.stdout(&["vm", "--json"]);
    // To the last bit.
    assert_eq!(scene.stdout(&["vm", "--json"]), summary);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let run = &summary["runs"][0];
    let shape = &run["shape"];
    for name in ["p50", "p90", "p99", "p99_9"] {
        let interval = &shape["intervals"][name];
        let [low, high] = ["low_ns", "high_ns"].map(|end| interval[end].as_f64().unwrap());
        let estimate = interval["estimate_ns"].as_f64().unwrap();
        assert!(low <= estimate && estimate <= high && interval["level"] == 0.95, "{name}: {interval}");
        assert_eq!(run["latency"]["rtt_processed"][format!("{name}_ns")].as_f64().unwrap(), estimate);
    }
    assert_eq!(shape["modes"].as_array().unwrap().len(), 2);
    assert_eq!(shape["outliers"]["likely"], "250 Hz timer tick");
    assert_eq!(shape["outliers"]["time_base"], "round_trips");
    let messages = shape["warm_up"]["messages"].as_u64().unwrap();
    assert!((1_000..=2_000).contains(&messages), "{messages}");
    let doubt = &run["doubts"][0];
    assert_eq!((&doubt["code"], &doubt["severity"]), (&json!("warm_up"), &json!("warning")));
    assert_eq!(doubt["advice"], "Raise --warmup by 4,000.");
}

#[test]
fn a_few_samples_have_a_shape_without_intervals_and_no_section() {
    let scene = Scene::new();
    scene.file("vm/latency_results.csv", format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n2,131,0.131,98,ok\n"));
    assert!(!scene.stdout(&["vm"]).contains("SHAPE"));
    let summary: Value = serde_json::from_str(&scene.stdout(&["vm", "--json"])).unwrap();
    let shape = &summary["runs"][0]["shape"];
    assert!(shape["intervals"]["p50"].is_null() && shape["intervals"]["mean"].is_null());
    assert_eq!(shape["jitter_ns"], 1.0);
}

#[test]
fn a_run_without_a_sample_has_no_shape() {
    let scene = Scene::new();
    scene.file("vm/latency_results.csv", format!("{LATENCY_HEADER}\n1,,,,timeout_received\n"));
    let summary: Value = serde_json::from_str(&scene.stdout(&["vm", "--json"])).unwrap();
    assert!(summary["runs"][0]["shape"].is_null());
}
