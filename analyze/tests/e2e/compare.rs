//! `analyze compare`: verdicts over runs of known content, and what is refused.

use std::fs;

use crate::many_runs::{provenance, runs};
use crate::scene::{Scene, decode, latency, run_json};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn help() {
    insta::assert_snapshot!("compare_help", Scene::new().stdout(&["compare", "--help"]));
}

#[test]
fn a_tenth_slower_over_ten_runs_a_side() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 10, 1.0);
    runs(&scene, "new", 0, 10, 1.1);
    let report = scene.stdout(&["compare", "old", "new"]);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!("compare_slower", report);

    let comparison = json(&scene.stdout(&["compare", "old", "new", "--json"]));
    assert_eq!(comparison["schema"], "ivshmem-comparison/1");
    let p50 = &comparison["figures"][0];
    assert_eq!((&p50["key"], &p50["verdict"]), (&"p50".into(), &"slower".into()));
    assert!((p50["ratio"].as_f64().unwrap() / 1.1 - 1.0).abs() < 0.01, "{p50}");
    assert_eq!(p50["base"].as_array().unwrap().len(), 10);
    // The other way round, one over it.
    let back = json(&scene.stdout(&["compare", "new", "old", "--json"]));
    let product = back["figures"][0]["ratio"].as_f64().unwrap() * p50["ratio"].as_f64().unwrap();
    assert!((product - 1.0).abs() < 1e-9, "{product}");
    assert_eq!(back["figures"][0]["verdict"], "faster");
    // Rates fall while times grow: both are slower.
    let figures = comparison["figures"].as_array().unwrap();
    let rate = figures.iter().find(|figure| figure["key"] == "4k_rate").unwrap();
    assert_eq!((rate["verdict"].as_str(), rate["ratio"].as_f64().unwrap() < 1.0), (Some("slower"), true));
}

#[test]
fn globs_directories_and_lists_are_the_same_sides() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.1);
    let report = scene.stdout(&["compare", "old", "new"]);
    for arguments in [
        &["compare", "old/*", "new/*"][..],
        &["compare", "old", "new/00", "new/01", "new/0[23]"],
        &["compare", "--base", "old", "--new", "new/00", "--new", "new/0[1-3]"],
        &["compare", "old", "new", "new/00"],
    ] {
        assert_eq!(scene.stdout(arguments), report, "{arguments:?}");
    }
}

#[test]
fn the_json_of_a_comparison() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.1);
    let mut comparison = json(&scene.stdout(&["compare", "old", "new", "--json"]));
    // The first of each list says what the others look like.
    for list in ["figures", "shift", "base", "new"] {
        comparison[list].as_array_mut().unwrap().truncate(1);
    }
    insta::assert_snapshot!("compare_json", serde_json::to_string_pretty(&comparison).unwrap());
}

#[test]
fn the_same_within_two_percent() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 10, 1.0);
    runs(&scene, "new", 10, 10, 1.0);
    let verdict = |within: &str| {
        let comparison = json(&scene.stdout(&["compare", "old", "new", "--same-within", within, "--json"]));
        comparison["figures"][0].clone()
    };
    assert_eq!(verdict("5%")["verdict"], "same");
    let undecided = verdict("0.1%");
    assert_eq!(undecided["verdict"], "cannot_tell");
    assert!(undecided["runs_needed"].as_u64().is_none_or(|needed| needed > 10), "{undecided}");
}

#[test]
fn one_run_a_side_cannot_tell_however_different() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 1, 1.0);
    runs(&scene, "new", 0, 1, 3.0);
    let report = scene.stdout(&["compare", "old", "new"]);
    insta::assert_snapshot!("compare_one_run_a_side", report);
    let comparison = json(&scene.stdout(&["compare", "old", "new", "--json"]));
    for figure in comparison["figures"].as_array().unwrap() {
        assert_eq!((&figure["verdict"], &figure["runs_needed"]), (&"cannot_tell".into(), &10.into()));
    }
}

#[test]
fn two_files_without_provenance_are_compared_on_request_only() {
    let scene = Scene::new();
    scene.file("a.csv", latency(130));
    scene.file("b.csv", latency(150));
    insta::assert_snapshot!(
        scene.error(&["compare", "a.csv", "b.csv"]),
        @"analyze: a.csv: no run.json beside it, so nothing tells whether it may be compared; --despite-differences compares it anyway"
    );
    let report = scene.stdout(&["compare", "a.csv", "b.csv", "--despite-differences"]);
    assert!(report.contains("CANNOT TELL.") && report.contains("NO PROVENANCE"), "{report}");
}

#[test]
fn runs_that_differ_in_what_matters_are_refused_with_the_difference_first() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 2, 1.0);
    runs(&scene, "new", 0, 2, 1.0);
    for run in 0..2 {
        let mut json = provenance("new", run);
        json["vm"]["accelerator"]["effective"] = "kvm".into();
        json["host"]["cpu_model"] = "Another CPU".into();
        json["tool"]["git_revision"] = "def5678".into();
        scene.file(&format!("new/{run:02}/run.json"), json.to_string());
    }
    insta::assert_snapshot!(
        scene.error(&["compare", "old", "new"]),
        @"analyze: accelerator (base tcg, new kvm); host CPU (base Host CPU, new Another CPU): such runs differ by more than what is compared; --despite-differences compares them anyway"
    );
    let report = scene.stdout(&["compare", "old", "new", "--despite-differences"]);
    insta::assert_snapshot!("compare_despite_differences", report);
}

#[test]
fn figures_that_some_runs_lack_are_named() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.0);
    fs::remove_file(scene.path("new/02/bandwidth_results.csv")).unwrap();
    let report = scene.stdout(&["compare", "old", "new"]);
    assert!(report.contains("  - 4K frame, mean rate is in 7 of 8 runs only, and not compared."), "{report}");
    for run in 0..4 {
        fs::remove_file(scene.path(&format!("old/{run:02}/latency_results.csv"))).unwrap();
    }
    fs::remove_file(scene.path("new/00/bandwidth_results.csv")).unwrap();
    let error = scene.error(&["compare", "old", "new/00"]);
    assert!(
        error.starts_with("analyze: no figure is in every run: base has 1080p_rate,")
            && error.ends_with("new has p50, p90, p99, mean, received_p50; compare runs of the same test"),
        "{error}"
    );
}

#[test]
fn a_run_counts_once() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 2, 1.0);
    assert_eq!(
        scene.error(&["compare", "old", "old/01"]),
        "analyze: old/01 and old/01: the same run twice; each run counts once, on one side"
    );
    // A copy is no new run.
    runs(&scene, "new", 0, 2, 1.0);
    scene.file("new/01/run.json", fs::read(scene.path("old/00/run.json")).unwrap());
    assert_eq!(
        scene.error(&["compare", "old", "new"]),
        "analyze: old/00 and new/01: the same run twice; each run counts once, on one side"
    );
}

#[test]
fn sides_that_are_empty_or_damaged() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 2, 1.0);
    fs::create_dir(scene.path("none")).unwrap();
    let error = |new: &str| scene.error(&["compare", "old", new]);
    assert_eq!(error("none"), "analyze: none: holds no run directory");
    assert_eq!(error("new-*"), "analyze: new-*: matches no run directory and no CSV");
    assert_eq!(error("gone"), "analyze: gone: no such file or directory");
    assert_eq!(error("."), "analyze: .: holds no run directory; try './*/00'");
    scene.file("foreign/latency_results.csv", "date,open\n1,2\n");
    assert!(
        error("foreign")
            .starts_with("analyze: foreign/latency_results.csv, line 1, column date: not a file of")
    );
    scene.file("later/latency_results.csv", latency(130));
    scene.file("later/run.json", run_json("file").replace("ivshmem-run/1", "ivshmem-run/2"));
    assert_eq!(
        error("later"),
        "analyze: later/run.json: schema is \"ivshmem-run/2\", this analyze reads \"ivshmem-run/1\"; a newer version of the toolkit wrote it: use the analyze of that version"
    );
    scene.file(
        "failed/latency_results.csv",
        "iteration,latency_ns,latency_us,received_ns,status\n1,,,,timeout\n",
    );
    assert!(error("failed").starts_with("analyze: failed: no figure to compare"), "{}", error("failed"));
}

#[test]
fn usage_errors() {
    let scene = Scene::new();
    for arguments in [
        &["compare"][..],
        &["compare", "one"],
        &["compare", "--base", "a"],
        &["compare", "a", "b", "--base", "c", "--new", "d"],
        &["compare", "a", "b", "--same-within", "x"],
        &["compare", "a", "b", "--level", "100%"],
        &["compare", "a", "b", "--matrix"],
    ] {
        scene.analyze(arguments).assert().code(2).stdout("");
    }
}

#[test]
fn what_is_written_is_what_is_printed() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.1);
    let report = scene.stdout(&["compare", "old", "new", "--out", "out/deep"]);
    assert_eq!(fs::read_to_string(scene.path("out/deep/comparison.txt")).unwrap(), report);
    let (width, height, pixels) = decode(&scene.path("out/deep/comparison_forest.png"));
    assert!(width >= 800 && height >= 400, "{width} x {height}");
    assert!(pixels.iter().any(|pixel| *pixel != pixels[0]));
    let arguments = ["compare", "old", "new", "--out", "out/deep", "--json", "--pictures", "svg"];
    let json = scene.stdout(&arguments);
    let svg = fs::read_to_string(scene.path("out/deep/comparison_forest.svg")).unwrap();
    for label in ["RTT to PROCESSED, p99", "4K frame, mean rate"] {
        assert!(svg.contains(label), "{label}: {svg}");
    }
    assert_eq!(fs::read_to_string(scene.path("out/deep/comparison.json")).unwrap(), json);
    let html = scene.stdout(&["compare", "old", "new", "--out", "out/deep", "--format", "html"]);
    assert_eq!(fs::read_to_string(scene.path("out/deep/comparison.html")).unwrap(), html);
    let names = [
        "comparison.html",
        "comparison.json",
        "comparison.txt",
        "comparison_forest.png",
        "comparison_forest.svg",
    ];
    assert_eq!(scene.names("out/deep"), names);
    insta::assert_snapshot!("compare_csv", scene.stdout(&["compare", "old", "new", "--format", "csv"]));
    insta::assert_snapshot!("compare_md", scene.stdout(&["compare", "old", "new", "--format", "md"]));
    scene.file("taken", "");
    assert!(
        scene
            .error(&["compare", "old", "new", "--out", "taken"])
            .starts_with("analyze: taken: is not a directory")
    );
    // Nothing is written where it was not asked for.
    assert_eq!(scene.names("old/00"), ["bandwidth_results.csv", "latency_results.csv", "run.json"]);
}

#[test]
fn a_run_directory_of_a_commands_name() {
    let scene = Scene::new();
    scene.run("compare", 130, "resource2_wc");
    assert!(scene.stdout(&["./compare"]).contains("IVSHMEM PERFORMANCE REPORT"));
}
