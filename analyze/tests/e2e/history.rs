//! `analyze history`: series, changes, and runs that are left out.

use std::fs;

use crate::formats::without_assets;
use crate::many_runs::{provenance, runs};
use crate::scene::{Scene, decode, latency};
use serde_json::Value;

fn history(scene: &Scene, more: &[&str]) -> Value {
    let arguments = [&["history", "results", "--json"][..], more].concat();
    serde_json::from_str(&scene.stdout(&arguments)).unwrap()
}

#[test]
fn help() {
    insta::assert_snapshot!("history_help", Scene::new().stdout(&["history", "--help"]));
}

#[test]
fn a_step_is_marked_where_it_is() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 9, 1.0);
    runs(&scene, "results", 9, 8, 1.1);
    let report = scene.stdout(&["history", "results"]);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!("history_step", report);
    let json = history(&scene, &["--figure", "p50"]);
    let changes = json["series"][0]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0]["index"], &changes[0]["run"]), (&9.into(), &"results/09".into()));
    assert!((changes[0]["ratio"].as_f64().unwrap() - 1.1).abs() < 0.02);
    // The same numbers come of the same seed.
    assert_eq!(history(&scene, &["--figure", "p50"]), json);
}

#[test]
fn runs_that_only_scatter_have_no_change() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 20, 1.0);
    // A link to a run, and a file beside the runs, are no runs.
    std::os::unix::fs::symlink("19", scene.path("results/latest")).unwrap();
    scene.file("results/readme.txt", "");
    let report = scene.stdout(&["history", "results"]);
    assert!(report.contains("20 runs of 1 setting. No change.") && !report.contains("LEFT OUT"), "{report}");
}

#[test]
fn runs_of_other_settings_are_other_series_and_time_is_the_run_jsons() {
    let scene = Scene::new();
    runs(&scene, "results/vm", 0, 3, 1.0);
    runs(&scene, "results/other", 3, 2, 5.0);
    for run in 3..5 {
        let mut json = provenance("other", run);
        json["load"] = serde_json::json!({"label": "cpu=2"});
        scene.file(&format!("results/other/{run:02}/run.json"), json.to_string());
    }
    // The last by name began first.
    let mut json = provenance("vm", 2);
    json["started_utc"] = "2026-11-19T00:00:00Z".into();
    scene.file("results/vm/02/run.json", json.to_string());
    let report = scene.stdout(&["history", "results"]);
    insta::assert_snapshot!("history_two_series", report);
    let json = history(&scene, &[]);
    assert_eq!(json["series"][0]["runs"][0]["run"], "results/vm/02");
    assert_eq!(json["series"][1]["runs"].as_array().unwrap().len(), 2);
    insta::assert_snapshot!("history_json", serde_json::to_string_pretty(&json["series"][1]).unwrap());
}

#[test]
fn runs_without_latency_show_their_rates() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 3, 1.0);
    for run in 0..3 {
        fs::remove_file(scene.path(&format!("results/{run:02}/latency_results.csv"))).unwrap();
    }
    let report = scene.stdout(&["history", "results"]);
    assert!(report.contains("1080p_rate") && report.contains("GB/s"), "{report}");
    let report =
        scene.stdout(&["history", "results", "--figure", "4k_rate,4k_duration,1440p_rate,1080p_rate"]);
    assert!(report.contains("  - 1 figure more in the JSON; choose with --figure."), "{report}");
}

#[test]
fn a_figure_that_no_run_has_is_a_usage_error() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 3, 1.0);
    let error = |figures: &str| scene.error_of(&["history", "results", "--figure", figures], 2);
    insta::assert_snapshot!(
        error("p50,typo"),
        @"analyze: --figure typo: no such figure in any run; there are p50, p90, p99, mean, received_p50, 1080p_rate, 1080p_duration, 1440p_rate, 1440p_duration, 4k_rate, 4k_duration"
    );
    assert_eq!(error("typo"), error("p50, typo"));
    for run in 0..3 {
        fs::remove_file(scene.path(&format!("results/{run:02}/latency_results.csv"))).unwrap();
    }
    assert!(
        error("p50").starts_with("analyze: --figure p50: no such figure in any run; there are 1080p_rate,")
    );
    scene.analyze(&["history", "results", "--false-alarms", "0%"]).assert().code(2).stdout("");
}

#[test]
fn a_revision_is_named_only_where_it_changed() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 9, 1.0);
    runs(&scene, "results", 9, 8, 1.1);
    let same = scene.stdout(&["history", "results", "--figure", "p50"]);
    assert!(same.contains("p50 changed") && !same.contains("revision"), "{same}");
    for run in 9..17 {
        let mut json = provenance("results", run);
        json["tool"]["git_revision"] = "def5678".into();
        scene.file(&format!("results/{run:02}/run.json"), json.to_string());
    }
    let other = scene.stdout(&["history", "results", "--figure", "p50"]);
    assert!(other.contains("def5678") && !other.contains("abc1234"), "{other}");
}

#[test]
fn one_damaged_run_is_named_and_takes_nothing_away() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 6, 1.0);
    scene.file("results/00/latency_results.csv", "");
    scene.file("results/01/run.json", "{");
    fs::remove_file(scene.path("results/02/run.json")).unwrap();
    scene.file("results/03/run.json", fs::read(scene.path("results/04/run.json")).unwrap());
    let report = scene.stdout(&["history", "results"]);
    let left_out = report.split("\nLEFT OUT\n").nth(1).unwrap().split("\nHOW TO READ").next().unwrap();
    insta::assert_snapshot!("history_left_out", left_out);
    assert_eq!(history(&scene, &[])["series"][0]["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn folders_without_a_history() {
    let scene = Scene::new();
    fs::create_dir(scene.path("empty")).unwrap();
    assert_eq!(scene.error(&["history", "empty"]), "analyze: empty: holds no run directory");
    assert_eq!(scene.error(&["history", "gone"]), "analyze: gone: no such file or directory");
    assert_eq!(scene.error(&["history", "gone-*"]), "analyze: gone-*: matches no run directory and no CSV");
    scene.file("bare/a/latency_results.csv", latency(130));
    assert_eq!(
        scene.error(&["history", "bare"]),
        "analyze: bare: no run with a time and figures; the first that has not: bare/a: no run.json beside it"
    );
    scene.analyze(&["history"]).assert().code(2);
    scene.analyze(&["history", "bare", "--false-alarms", "x"]).assert().code(2);
}

#[test]
fn what_is_written_is_what_is_printed() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 9, 1.0);
    runs(&scene, "results", 9, 8, 1.1);
    let report = scene.stdout(&["history", "results", "--out", "out", "--pictures", "both"]);
    let (width, height, pixels) = decode(&scene.path("out/history_trend.png"));
    assert!(width >= 800 && height >= 400, "{width} x {height}");
    assert!(pixels.iter().any(|pixel| *pixel != pixels[0]));
    let svg = fs::read_to_string(scene.path("out/history_trend.svg")).unwrap();
    assert!(svg.contains("p50") && svg.contains("p99"), "{svg}");
    assert_eq!(fs::read_to_string(scene.path("out/history.txt")).unwrap(), report);
    let json: Value = serde_json::from_slice(&fs::read(scene.path("out/history.json")).unwrap()).unwrap();
    assert_eq!(json, history(&scene, &[]));
    let page = scene.stdout(&["history", "results", "--format", "html"]);
    assert_eq!(fs::read_to_string(scene.path("out/history.html")).unwrap(), page);
}

#[test]
fn every_form_has_the_runs_and_their_changes() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 5, 1.0);
    runs(&scene, "results", 5, 4, 1.1);
    runs(&scene, "results/other", 9, 1, 5.0);
    let mut json = provenance("other", 9);
    json["load"] = serde_json::json!({"label": "cpu=2"});
    scene.file("results/other/09/run.json", json.to_string());
    let mut json = provenance("results", 3);
    json["interference"]["dirty"] = true.into();
    scene.file("results/03/run.json", json.to_string());
    fs::remove_file(scene.path("results/04/run.json")).unwrap();
    let form = |format: &str| scene.stdout(&["history", "results", "--format", format]);
    insta::assert_snapshot!("history_csv", form("csv"));
    insta::assert_snapshot!("history_md", form("md"));
    insta::assert_snapshot!("history_html", without_assets(&form("html")));
    assert_eq!(form("text"), scene.stdout(&["history", "results"]));
    assert_eq!(form("json"), scene.stdout(&["history", "results", "--json"]));
}
