//! `--matrix`: the files it writes, what it says of runs whose answers are known, and what it refuses.

use crate::experiment::{Experiment, plain_sizes};
use crate::scene::{Scene, decode};
use serde_json::Value;

/// Whole and chunked, two guest kernels, idle and loaded; the loaded one dirty.
fn experiment(scene: &Scene) {
    let base = Experiment {
        sizes: vec![("1MiB".into(), 1 << 20), ("4k".into(), 24_883_200)],
        ..Experiment::default()
    };
    base.write(scene, "exp/whole");
    Experiment { mode: "chunked", ..base.clone() }.write(scene, "exp/chunked");
    Experiment { guest_kernel: "memcpy", read_rate: 2.0, ..base.clone() }.write(scene, "exp/memcpy");
    Experiment { load: Some("cpu=2"), base_ns: 1_560, read_rate: 1.25, dirty: true, ..base }
        .write(scene, "exp/whole-loaded");
}

const CELLS: [&str; 4] = ["exp/whole", "exp/chunked", "exp/memcpy", "exp/whole-loaded"];

fn matrix<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--matrix"], CELLS.as_slice(), more].concat()
}

#[test]
fn the_report_of_an_experiment() {
    let scene = Scene::new();
    experiment(&scene);
    let report = scene.stdout(&matrix(&[]));
    insta::assert_snapshot!("experiments_report", report);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    // By default the results go beside the runs.
    let written = ["experiments.png", "experiments_report.txt", "matrix.csv"];
    assert!(written.iter().all(|name| scene.names("exp").contains(&(*name).to_owned())));
    assert_eq!(scene.names("exp/whole"), ["bandwidth_results.csv", "latency_results.csv", "run.json"]);
}

#[test]
fn the_csv_has_a_row_for_each_run_and_size() {
    let scene = Scene::new();
    experiment(&scene);
    scene.stdout(&matrix(&["--out", "out"]));
    let mut reader = csv::Reader::from_path(scene.path("out/matrix.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 8);
    let field = |row: &csv::StringRecord, name: &str| {
        row[header.iter().position(|column| column == name).unwrap()].to_owned()
    };
    let row = &rows[7];
    for (name, expected) in [
        ("label", "whole-loaded"),
        ("mode", "whole"),
        ("direction", "host-to-guest"),
        ("size_bytes", "24883200"),
        ("copy_kernel", "avx2_nt"),
        ("guest_copy_kernel", "avx2"),
        ("cache", "warm"),
        ("consume", "copy"),
        ("verify", "xxh3"),
        ("load", "cpu=2"),
        ("frames_ok", "12"),
        ("frames_total", "12"),
        ("from_due_p50_ns", ""),
        ("dirty", "true"),
    ] {
        assert_eq!(field(row, name), expected, "{name}");
    }
    // Written at 10, read at 1.25: 1 / (1/10 + 1/1.25) = 1.111; the roof is 1 / (1/12 + 1/3) = 2.4.
    let number = |name: &str| field(row, name).parse::<f64>().unwrap();
    assert!((number("total_gb_per_s") - 1.111).abs() < 0.001);
    assert!((number("share_of_roof") - 1.111 / 2.4).abs() < 0.001);
    assert!(number("rtt_p50_ns") > 1_560.0);
}

#[test]
fn json_names_the_pairs_and_the_findings() {
    let scene = Scene::new();
    experiment(&scene);
    let json: Value = serde_json::from_str(&scene.stdout(&matrix(&["--json"]))).unwrap();
    assert_eq!(json["schema"], "ivshmem-matrix/1");
    assert_eq!(json["rows"].as_array().unwrap().len(), 8);
    let pair = &json["loaded_latencies"][0];
    assert_eq!((&pair["idle_label"], &pair["loaded_label"]), (&"whole".into(), &"whole-loaded".into()));
    let rates = json["loaded_rates"].as_array().unwrap();
    assert_eq!(rates.len(), 2);
    // The idle row of the same kernels, although memcpy's would be slower and chunked faster.
    assert!(rates.iter().all(|pair| pair["idle_label"] == "whole"));
    let findings: Vec<&str> =
        json["findings"].as_array().unwrap().iter().map(|finding| finding.as_str().unwrap()).collect();
    let has = |start: &str| findings.iter().any(|finding| finding.starts_with(start));
    assert!(has("4K frame (idle): chunked takes 0.82 of whole's time"), "{findings:#?}");
    assert!(has("best guest read kernel from 1 MiB to 4K frame: avx2, 1.25 times memcpy"), "{findings:#?}");
    assert!(has("under cpu=2 RTT p99 grows 12 times"), "{findings:#?}");
    // The loaded run is dirty, and was meant to be.
    assert!(!findings.iter().any(|finding| finding.contains("disturbed") || finding.contains("DIRTY")));
}

#[test]
fn two_directions_at_once_are_not_taken_for_either_alone() {
    let scene = Scene::new();
    let alone = Experiment::default();
    alone.write(&scene, "alone");
    let half = Experiment { read_rate: 1.0, ..alone.clone() };
    half.write(&scene, "both");
    Experiment { direction: "guest-to-host", ..half.clone() }.write(&scene, "back");
    let rows = std::fs::read_to_string(scene.path("back/bandwidth_results.csv")).unwrap();
    let mut both = std::fs::read_to_string(scene.path("both/bandwidth_results.csv")).unwrap();
    both.push_str(rows.split_once('\n').unwrap().1);
    scene.file("both/bandwidth_results.csv", both);
    let mut json = half.run_json();
    json["bandwidth"]["direction"] = "both".into();
    scene.file("both/run.json", json.to_string());
    let report = scene.stdout(&["--matrix", "alone", "both"]);
    for part in [
        "4K frame: host-to-guest of both takes 2.20 of host-to-guest's time",
        "4K frame: fastest alone (host-to-guest) at 2.000 GB/s",
        "RATES, GB/s · VM (tcg), host-to-guest, warm, copy\n",
        "RATES, GB/s · VM (tcg), host-to-guest of both, warm, copy\n",
        "RATES, GB/s · VM (tcg), guest-to-host of both, warm, copy\n",
        "  #2   4K frame    whole   avx2>avx2_nt ",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!report.contains("guest-to-host takes"), "{report}");
    let report = scene.stdout(&["both"]);
    assert!(report.contains("direction host-to-guest and guest-to-host, both at\n"), "{report}");
    // Under load each is compared with itself.
    Experiment { load: Some("cpu=2"), ..half.clone() }.write(&scene, "loaded");
    std::fs::copy(scene.path("both/bandwidth_results.csv"), scene.path("loaded/bandwidth_results.csv"))
        .unwrap();
    let mut json = Experiment { load: Some("cpu=2"), ..half }.run_json();
    json["bandwidth"]["direction"] = "both".into();
    scene.file("loaded/run.json", json.to_string());
    let report = scene.stdout(&["--matrix", "alone", "both", "loaded"]);
    for direction in ["host-to-guest", "guest-to-host"] {
        let finding = format!("under cpu=2 4K frame whole, {direction} of both keeps 1.00 of its rate");
        assert!(report.contains(&finding), "{finding}: {report}");
    }
}

#[test]
fn runs_through_different_mappings_are_compared_and_never_pooled() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "wc");
    let uncached = Experiment { read_rate: 1.25, base_ns: 260, ..run };
    uncached.write(&scene, "uc");
    let mut json = uncached.run_json();
    json["guest"]["map_kind"] = "resource2".into();
    json["guest"]["memory_type"] = "uncached-minus".into();
    scene.file("uc/run.json", json.to_string());
    let report = scene.stdout(&["--matrix", "wc", "uc", "--out", "out"]);
    for part in [
        "  #1  wc: VM (tcg), write-combining by resource2_wc; RTT p50 ",
        "what the mapping costs, 4K frame: uncached-minus by resource2 takes 1.80\n    times as long as write-combining by resource2_wc\n",
        "what the mapping costs, RTT p50: uncached-minus by resource2 takes 1.9",
        "GUEST READS, VM (tcg), uncached-minus by resource2\n",
        "memcpy 2.000 (trial copies; one trial)",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    let csv = std::fs::read_to_string(scene.path("out/matrix.csv")).unwrap();
    assert!(csv.contains("uc,VM (tcg),resource2,uncached-minus,whole,"), "{csv}");
    // The rates, and the kernels of both sides through each mapping.
    assert_eq!(decode(&scene.path("out/experiments.png")).1, 3 * 530 + 40);
    // A native run has a mapping of its own without being another way.
    std::fs::remove_dir_all(scene.path("uc")).unwrap();
    scene.run("native", 120, "file");
    let report = scene.stdout(&["--matrix", "wc", "native"]);
    assert!(!report.contains("mapping") && !report.contains(" by resource2_wc"), "{report}");
}

#[test]
fn a_stream_on_a_schedule_is_compared_with_none_that_goes_as_it_can() {
    let scene = Scene::new();
    Experiment::default().write(&scene, "whole");
    let stream = Experiment { mode: "stream", frames: 9, ..Experiment::default() };
    stream.write(&scene, "stream");
    let of_whole = "4K frame: stream takes ";
    assert!(scene.stdout(&["--matrix", "whole", "stream"]).contains(of_whole));
    let mut json = stream.run_json();
    json["bandwidth"]["fps"] = 60.into();
    scene.file("stream/run.json", json.to_string());
    let report = scene.stdout(&["--matrix", "whole", "stream"]);
    assert!(!report.contains(of_whole) && report.contains("  asked\n"), "{report}");
}

#[test]
fn kernels_that_each_run_chose_for_itself_do_not_hide_what_was_tried() {
    let scene = Scene::new();
    let run = Experiment::default();
    run.write(&scene, "a");
    Experiment { guest_kernel: "sse2", read_rate: 0.5, ..run }.write(&scene, "b");
    let json: Value = serde_json::from_str(&scene.stdout(&["--matrix", "a", "b", "--json"])).unwrap();
    let guest: Vec<&str> = json["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rate| rate["side"] == "guest")
        .map(|rate| rate["kernel"].as_str().unwrap())
        .collect();
    assert_eq!(guest, ["avx2", "memcpy"]);
}

#[test]
fn a_best_kernel_says_how_many_trials_it_rests_on_and_whether_they_were_disturbed() {
    let scene = Scene::new();
    let run = Experiment::default();
    Experiment { dirty: true, ..run.clone() }.write(&scene, "a");
    let best = "best guest read kernel at 4K frame: avx2, 1.30 times memcpy (one trial); of a DIRTY run";
    let findings = |directories: &[&str]| -> Vec<String> {
        let json = scene.stdout(&[&["--matrix", "--json"], directories].concat());
        serde_json::from_value(serde_json::from_str::<Value>(&json).unwrap()["findings"].take()).unwrap()
    };
    assert!(findings(&["a"]).contains(&best.to_owned()), "{:#?}", findings(&["a"]));
    // Two undisturbed runs, in one of which memcpy was as fast.
    run.write(&scene, "b");
    run.write(&scene, "c");
    let mut json = run.run_json();
    for by_size in json["copy_by_size"].as_array_mut().unwrap() {
        by_size["candidates"][0]["region_gb_per_s"] = by_size["candidates"][1]["region_gb_per_s"].clone();
    }
    scene.file("c/run.json", json.to_string());
    let none = "no best guest read kernel at 4K frame: 2 trials cannot tell avx2 and memcpy apart";
    let said = findings(&["a", "b", "c"]);
    assert!(said.contains(&none.to_owned()) && !said.iter().any(|s| s.starts_with("best ")), "{said:#?}");
    let report = scene.stdout(&["--matrix", "a", "b", "c"]);
    assert!(
        report.contains("  4K frame      avx2 2.600 [2.600 to 2.600], memcpy 2.000 [2.000 to 2.600]"),
        "{report}"
    );
}

#[test]
fn the_picture_has_the_panels_there_is_data_for() {
    let scene = Scene::new();
    experiment(&scene);
    scene.stdout(&matrix(&["--out", "all"]));
    let (width, height, pixels) = decode(&scene.path("all/experiments.png"));
    assert_eq!((width, height), (1400, 2 * 530 + 40));
    let blue = |left: usize, top: usize| {
        let inside = |index: usize| {
            let (x, y) = (index % width as usize, index / width as usize);
            (left..left + 560).contains(&x) && (top..top + 340).contains(&y)
        };
        let pixel = |rgb: &[u8]| rgb[0] < 60 && rgb[1].abs_diff(120) < 25 && rgb[2].abs_diff(180) < 25;
        pixels.chunks(3).enumerate().filter(|(index, rgb)| inside(*index) && pixel(rgb)).count()
    };
    for (left, top) in [(90, 142), (790, 142), (90, 672), (790, 672)] {
        assert!(blue(left, top) > 50, "{left}, {top}: {}", blue(left, top));
    }
    // One run: nothing under load.
    Experiment { sizes: plain_sizes(), ..Experiment::default() }.write(&scene, "one/run");
    scene.stdout(&["--matrix", "one/run"]);
    assert_eq!(decode(&scene.path("one/experiments.png")).1, 2 * 530 + 40);
    // Latency alone has nothing to be drawn by size.
    std::fs::remove_file(scene.path("one/run/bandwidth_results.csv")).unwrap();
    let json = scene.file("one/run/run.json", "{\"schema\":\"ivshmem-run/1\"}");
    assert!(json.exists());
    scene.stdout(&["--matrix", "one/run", "--out", "bare"]);
    assert_eq!(scene.names("bare"), ["experiments_report.txt", "matrix.csv"]);
}

#[test]
fn directories_of_one_name_are_called_by_their_paths_and_repeats_are_one() {
    let scene = Scene::new();
    Experiment::default().write(&scene, "a/run");
    Experiment::default().write(&scene, "b/run");
    let json: Value = serde_json::from_str(
        &scene.stdout(&["--matrix", "a/run", "b/run", "a/run/", "--json", "--out", "out"]),
    )
    .unwrap();
    let labels: Vec<&str> =
        json["rows"].as_array().unwrap().iter().map(|row| row["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["a/run", "b/run"]);
}

#[test]
fn a_directory_that_is_no_run_is_named() {
    let scene = Scene::new();
    experiment(&scene);
    std::fs::remove_file(scene.path("exp/chunked/run.json")).unwrap();
    assert_eq!(
        scene.error(&matrix(&[])),
        "analyze: exp/chunked: no run.json in this directory, so it cannot be a cell of a matrix"
    );
    assert_eq!(scene.error(&["--matrix", "nowhere"]), "analyze: nowhere: no such file or directory");
    scene.file("empty/run.json", "{\"schema\":\"ivshmem-run/1\"}");
    assert_eq!(
        scene.error(&["--matrix", "empty"]),
        "analyze: empty: no latency_results.csv, bandwidth_results.csv or doorbell_results.csv in this directory"
    );
    assert!(!scene.path("exp/matrix.csv").exists());
}
