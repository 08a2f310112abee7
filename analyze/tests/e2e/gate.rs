//! `analyze gate`: each outcome with its exit status, its lines and its JSON.

use crate::many_runs::runs;
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
        p50                  1.100      1.078 to 1.121     at most 1.050  REGRESSED
        p99                  1.100      1.078 to 1.122     at most 1.100  cannot tell
        mean                 1.100      1.079 to 1.122     at most 1.200  ok
        1080p_rate           0.917      0.902 to 0.933    at least 0.970  REGRESSED
        1440p_rate           0.917      0.902 to 0.933    at least 0.970  REGRESSED
        4k_rate              0.917      0.902 to 0.933    at least 0.700  ok
      10 runs in base and 10 in new cannot tell; more than a thousand a side would be
      needed.
    ");
    assert_eq!(code, 3);
    let (json, code) = gate(&scene, "p50=5%,p99=50%", &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["outcome"], code), (&"ivshmem-gate/1".into(), &"regressed".into(), 3));
    assert_eq!(json["figures"][0]["outcome"], "regressed");
    assert_eq!(json["figures"][1]["outcome"], "passed");
    assert_eq!(json["figures"][0]["allowed_ratio"], 1.05);
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
        p50                  1.050      1.029 to 1.071     at most 1.050  cannot tell
      6 runs in base and 6 in new cannot tell; more than a thousand a side would be
      needed.
    ");
    assert_eq!(code, 4);
    assert_eq!(gate(&scene, "p50=5%", &["--cannot-tell", "pass"]).1, 0);
    // What is proven stays proven.
    assert_eq!(gate(&scene, "p50=5%,mean=1%", &["--cannot-tell", "pass"]).1, 3);
}

#[test]
fn too_few_runs_never_prove_anything() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 1, 1.0);
    runs(&scene, "new", 0, 1, 9.0);
    let (lines, code) = gate(&scene, "p50=5%", &[]);
    insta::assert_snapshot!(lines, @r"
        p50                  9.002      9.002 to 9.002     at most 1.050  cannot tell
      1 run in base and 1 in new cannot tell; one run a side never can: make ten.
    ");
    assert_eq!(code, 4);
    // Three a side reach 90 %, and are enough where that is all that is asked for.
    runs(&scene, "old", 0, 3, 1.0);
    runs(&scene, "new", 0, 3, 9.0);
    assert_eq!(gate(&scene, "p50=5%", &[]).1, 4);
    assert_eq!(gate(&scene, "p50=5%", &["--level", "90%"]).1, 3);
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
        scene.error(&["gate", "--base", "old", "--new", "new", "--max-regression", "p42=5%"]),
        @"analyze: --max-regression p42: no such figure in every run; there are p50, p90, p99, mean, received_p50, 1080p_rate, 1080p_duration, 1440p_rate, 1440p_duration, 4k_rate, 4k_duration"
    );
}
