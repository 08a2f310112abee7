//! `analyze gate`: each outcome with its exit status, its lines and its JSON.

use crate::formats::without_assets;
use crate::many_runs::{provenance, runs};
use crate::scene::Scene;
use serde_json::Value;

/// What `gate` prints for `new` over `base`, and its exit status.
fn gate(scene: &Scene, limits: &str, more: &[&str]) -> (String, i32) {
    let arguments =
        [&["gate", "--base", "old", "--new", "new", "--max-regression", limits][..], more].concat();
    let output = scene.analyze(&arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn help() {
    insta::assert_snapshot!("gate_help", Scene::new().stdout(&["gate", "--help"]));
}

#[test]
fn what_stays_within_its_limit_passes_and_what_leaves_it_does_not() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 10, 1.0);
    runs(&scene, "new", 0, 10, 1.1);
    let (lines, code) = gate(&scene, "p50=15%,rate=20%", &[]);
    assert_eq!(code, 0, "{lines}");
    let (lines, code) = gate(&scene, "p50=5%,p99=10%,mean=20%,rate=3%,4k_rate=30%", &[]);
    assert_eq!(lines.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!(lines, @r"
        new over base        ratio       95 % interval           allowed  outcome
        p50                  1.100      1.078 to 1.121     at most 1.050  REGRESSED
        p99                  1.100      1.078 to 1.122     at most 1.100  cannot tell
        mean                 1.100      1.079 to 1.122     at most 1.200  ok
        1080p_rate           0.917      0.902 to 0.933    at least 0.970  REGRESSED
        1440p_rate           0.917      0.902 to 0.933    at least 0.970  REGRESSED
        4k_rate              0.917      0.902 to 0.933    at least 0.700  ok
      10 runs in base and 10 in new cannot tell; more than a thousand a side would be
      needed.
      gate: failed: p50, 1080p_rate, 1440p_rate regressed; nothing is told of p99
    ");
    assert_eq!(code, 3);
    let (json, code) = gate(&scene, "p50=5%,p99=50%", &["--json"]);
    insta::assert_snapshot!("gate_json", json);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["outcome"], code), (&"ivshmem-gate/1".into(), &"regressed".into(), 3));
    assert_eq!(json["figures"][0]["outcome"], "regressed");
    assert_eq!(json["figures"][1]["outcome"], "passed");
    assert_eq!(json["figures"][0]["allowed_ratio"], 1.05);
}

#[test]
fn every_form_has_the_same_exit_status() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.1);
    let limits = "p50=5%,mean=10%,rate=20%";
    let form = |format: &str| {
        let (printed, code) = gate(&scene, limits, &["--format", format]);
        assert_eq!(code, 3, "{format}");
        printed
    };
    insta::assert_snapshot!("gate_csv", form("csv"));
    insta::assert_snapshot!("gate_md", form("md"));
    insta::assert_snapshot!("gate_html", without_assets(&form("html")));
    // A page says at first sight what became of the gate, whatever there is to doubt.
    let level = |limits: &str| {
        let (page, _) = gate(&scene, limits, &["--format", "html"]);
        let begin = page.find("<section id=\"verdict\" class=\"").unwrap() + 29;
        page[begin..].split('"').next().unwrap().to_owned()
    };
    assert_eq!([limits, "p99=10%", "p50=50%"].map(level), ["alarm", "warning", "note"]);
    assert_eq!(form("text"), gate(&scene, limits, &[]).0);
    assert_eq!(form("json"), gate(&scene, limits, &["--json"]).0);
}

#[test]
fn a_faster_run_never_regresses() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 5, 1.0);
    runs(&scene, "new", 0, 5, 0.8);
    assert_eq!(gate(&scene, "p50=0%,rate=0%,duration=0%", &[]).1, 0);
}

#[test]
fn an_interval_across_the_limit_closes_the_gate_unless_told_otherwise() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 6, 1.0);
    runs(&scene, "new", 0, 6, 1.05);
    let (lines, code) = gate(&scene, "p50=5%", &[]);
    insta::assert_snapshot!(lines, @r"
        new over base        ratio       95 % interval           allowed  outcome
        p50                  1.050      1.029 to 1.071     at most 1.050  cannot tell
      6 runs in base and 6 in new cannot tell; more than a thousand a side would be
      needed.
      gate: failed: nothing is told of p50
    ");
    assert_eq!(code, 4);
    let closing = |limits: &str| {
        let (lines, code) = gate(&scene, limits, &["--cannot-tell", "pass"]);
        (lines.lines().last().unwrap().to_owned(), code)
    };
    let passed = "gate: passed, because of --cannot-tell pass: nothing is told of p50";
    assert_eq!(closing("p50=5%"), (passed.into(), 0));
    assert_eq!(closing("p50=50%"), ("gate: passed".into(), 0));
    // What is proven stays proven.
    let failed = "gate: failed: mean regressed; nothing is told of p50";
    assert_eq!(closing("p50=5%,mean=1%"), (failed.into(), 3));
}

#[test]
fn too_few_runs_never_prove_anything() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 1, 1.0);
    runs(&scene, "new", 0, 1, 9.0);
    let (lines, code) = gate(&scene, "p50=5%", &[]);
    insta::assert_snapshot!(lines, @r"
        new over base        ratio         within runs           allowed  outcome
        p50                  9.002      8.995 to 9.027     at most 1.050  cannot tell
      1 run in base and 1 in new cannot tell; one run a side never can: make ten.
      gate: failed: nothing is told of p50
    ");
    assert_eq!(code, 4);
    let json: Value = serde_json::from_str(&gate(&scene, "p50=5%", &["--json"]).0).unwrap();
    assert_eq!((&json["figures"][0]["interval"], &json["passed"]), (&Value::Null, &false.into()));
    // Three a side reach 90 %, and are enough where that is all that is asked for.
    runs(&scene, "old", 0, 3, 1.0);
    runs(&scene, "new", 0, 3, 9.0);
    assert_eq!(gate(&scene, "p50=5%", &[]).1, 4);
    assert_eq!(gate(&scene, "p50=5%", &["--level", "90%"]).1, 3);
}

#[test]
fn what_makes_runs_doubtful_is_said_in_text_and_json() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.0);
    for run in [1, 3] {
        let mut json = provenance("new", run);
        json["interference"]["dirty"] = true.into();
        json["interference"]["reasons"] = serde_json::json!(["steal 12 %"]);
        scene.file(&format!("new/{run:02}/run.json"), json.to_string());
    }
    let (lines, code) = gate(&scene, "p50=9%", &[]);
    assert_eq!(code, 0, "{lines}");
    insta::assert_snapshot!("gate_doubtful", lines);
    // Neither says that these runs were emulated, which all of them were.
    assert!(!lines.contains("TCG"), "{lines}");
    let json: Value = serde_json::from_str(&gate(&scene, "p50=9%", &["--json"]).0).unwrap();
    let doubts = json["doubts"].as_array().unwrap();
    let dirty = doubts.iter().find(|doubt| doubt["code"] == "dirty").unwrap();
    assert_eq!((&dirty["severity"], &dirty["first_run"]), (&"warning".into(), &"new/01".into()));
    assert_eq!((&dirty["base_runs"], &dirty["new_runs"]), (&0.into(), &2.into()));
    assert!(doubts.iter().all(|doubt| doubt["severity"] != "note"), "{json}");
    // The picture of the same runs names them, too.
    scene.stdout(&["compare", "old", "new", "--out", "out", "--pictures", "svg"]);
    let svg = std::fs::read_to_string(scene.path("out/comparison_forest.svg")).unwrap();
    assert!(svg.contains("Runs to doubt: DIRTY (0 of base, 2 of new)"), "{svg}");
}

#[test]
fn bad_limits_are_usage_errors_and_unknown_figures_are_named() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 1, 1.0);
    runs(&scene, "new", 0, 1, 1.0);
    for limits in ["", "p50", "p50=", "p50=x", "=5%", "p50=5%,p50=6%", "p50=-1%", "p50=NaN%"] {
        let arguments = ["gate", "--base", "old", "--new", "new", "--max-regression", limits];
        scene.analyze(&arguments).assert().code(2).stdout("");
    }
    scene.analyze(&["gate", "--base", "old", "--new", "new"]).assert().code(2);
    scene.analyze(&["gate", "--base", "old", "--max-regression", "p50=5%"]).assert().code(2);
    insta::assert_snapshot!(
        scene.error_of(&["gate", "--base", "old", "--new", "new", "--max-regression", "p42=5%"], 2),
        @"analyze: --max-regression p42: no such figure in every run; there are p50, p90, p99, mean, received_p50, 1080p_rate, 1080p_duration, 1440p_rate, 1440p_duration, 4k_rate, 4k_duration"
    );
}
