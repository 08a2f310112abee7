//! report.html in a real browser: headless Chromium loads a page that holds the report in frames of two widths, looks at it
//! as a reader would, and writes what it found into its own document.

use std::path::Path;
use std::process::Command;

use crate::doorbell::many_runs;
use crate::experiment::Experiment;
use crate::many_runs::runs;
use crate::scene::{Scene, run_json};
use serde_json::Value;

/// Looks at the report; its only output is JSON in an element of the page.
const HARNESS: &str = include_str!("browser.js");

/// Without this variable a machine without Chromium fails the test: one that skips itself proves nothing.
const SKIP: &str = "IVSHMEM_NO_BROWSER";

/// The document of `page` after its scripts ran, and what the browser's console said; `None` if the user wants no browser.
fn rendered(scene: &Scene, page: &Path) -> Option<(String, String)> {
    if std::env::var_os(SKIP).is_some() {
        eprintln!("{SKIP} is set: report.html was not looked at");
        return None;
    }
    let profile = scene.path("profile");
    let output = Command::new("chromium")
        // Root has no sandbox; the page is ours. No request may leave, whatever the page asks for.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--no-first-run"])
        .args([
            "--enable-logging=stderr",
            "--log-level=0",
            "--virtual-time-budget=20000",
            "--window-size=1400,1000",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("chromium: {error}; apt-get install chromium, or set {SKIP}=1 to leave this test out")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some((text(&output.stdout), text(&output.stderr)))
}

/// What the harness found in the page that `arguments` make, beside the JSON that they make.
fn found(scene: &Scene, arguments: &[&str]) -> Option<Value> {
    // A gate that fails prints all the same.
    let printed = |format| {
        let output = scene.analyze(&[arguments, &["--format", format]].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (report, summary) = (printed("html"), printed("json"));
    let inside = |value: &str| serde_json::to_string(value).unwrap().replace('<', "\\u003c");
    let harness = format!(
        "<!DOCTYPE html><meta charset=utf-8><body><pre id=found></pre><script>\nconst REPORT = {};\nconst SUMMARY = JSON.parse({});\n\
         {HARNESS}</script>",
        inside(&report),
        inside(&summary)
    );
    let (document, log) = rendered(scene, &scene.file("harness.html", harness))?;
    // Errors of scripts and violations of the page's policy go to the console.
    let meant = "Blocked script execution in 'about:srcdoc' because the document's frame is sandboxed";
    let said = log.lines().filter(|line| line.contains("CONSOLE") && !line.contains(meant));
    let said: Vec<&str> = said.collect();
    assert_eq!(said, Vec::<&str>::new());
    let begin = document.find("<pre id=\"found\">").unwrap() + "<pre id=\"found\">".len();
    let json = &document[begin..begin + document[begin..].find("</pre>").unwrap()];
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    assert!(!json.is_empty(), "the harness did not come to its end: {log}");
    Some(serde_json::from_str(&json).unwrap())
}

/// Looks at the report of `runs`, which has `charts` charts.
fn looks_right(scene: &Scene, runs: &[&str], charts: usize) {
    let Some(found) = found(scene, runs) else { return };
    for frame in found["frames"].as_array().unwrap() {
        let is_empty =
            |key: &str| assert_eq!(frame[key], serde_json::json!([]), "{key} at {}", frame["width"]);
        ["too_wide", "wrong_figures", "wrong_texts", "requests", "empty_charts", "unnamed"]
            .iter()
            .for_each(|key| is_empty(key));
        assert!(frame["figures"].as_u64().unwrap() >= 20, "{frame}");
        assert_eq!(frame["charts"], charts, "{frame}");
        assert_eq!(frame["tables_without_scopes"], 0, "{frame}");
        if frame["scripts"] == true {
            assert_eq!(frame["mute"], serde_json::json!([]), "charts without a value to hover over");
            assert_eq!(frame["rigid"], serde_json::json!([]), "charts that do not zoom");
        } else {
            assert_eq!(frame["tools"], 0, "buttons that do nothing");
        }
    }
    assert_eq!(found["frames"].as_array().unwrap().len(), 4);
}

#[test]
fn a_vm_beside_its_baseline_with_every_kind_of_chart() {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    scene.run("vm", 130, "resource2_wc");
    scene.file("vm/doorbell_results.csv", many_runs());
    looks_right(&scene, &["native", "vm"], pictures(&scene, &["native", "vm"]));
}

#[test]
fn a_stream_with_doubts() {
    let scene = Scene::new();
    Experiment { mode: "stream", frames: 240, ..Experiment::default() }.write(&scene, "stream");
    looks_right(&scene, &["stream"], pictures(&scene, &["stream"]));
}

#[test]
fn hostile_names_do_not_run() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    let hostile =
        "</script><script>document.body.remove()</script><img src=x onerror=document.body.remove()>";
    let hostile = serde_json::to_string(hostile).unwrap();
    scene.file("vm/run.json", run_json("resource2_wc").replace("\"Guest CPU\"", &hostile));
    looks_right(&scene, &["vm"], pictures(&scene, &["vm"]));
}

#[test]
fn runs_before_and_after() {
    let scene = Scene::new();
    runs(&scene, "old", 0, 4, 1.0);
    runs(&scene, "new", 0, 4, 1.1);
    looks_right(&scene, &["compare", "old", "new"], 1);
    let limits = "p50=5%,p99=20%,rate=5%,duration=20%";
    looks_right(&scene, &["gate", "--base", "old", "--new", "new", "--max-regression", limits], 1);
}

#[test]
fn runs_over_time() {
    let scene = Scene::new();
    runs(&scene, "results", 0, 6, 1.0);
    runs(&scene, "results", 6, 5, 1.1);
    looks_right(&scene, &["history", "results"], 1);
}

/// How many pictures are written beside the report: the page has each of them.
fn pictures(scene: &Scene, runs: &[&str]) -> usize {
    scene.stdout(&[runs, &["--out", "out"]].concat());
    scene.names("out").iter().filter(|name| name.ends_with(".png")).count()
}
