//! Input that is unusual and good: it is read, and the report says what it is.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::process::{Command, ExitStatus, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::many_runs::runs;
use crate::scene::{BANDWIDTH_HEADER, LATENCY_HEADER, Scene, bandwidth, latency, run_json};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn summary(scene: &Scene, file: &str) -> Value {
    serde_json::from_str(&scene.stdout(&[file, "--json", "--out", "out"])).unwrap()
}

#[test]
fn a_run_whose_files_are_compressed_has_the_same_report() {
    let [plain, compressed] = [Scene::new(), Scene::new()];
    plain.run("r", 130, "file");
    compressed.file("r/latency_results.csv.gz", gzip(&latency(130)));
    compressed.file("r/bandwidth_results.csv.gz", gzip(&bandwidth(130)));
    compressed.file("r/run.json", run_json("file"));
    assert_eq!(plain.stdout(&["r"]), compressed.stdout(&["r"]));
    // Told by its first bytes, whatever its name; and of two, the plain one is read.
    compressed.file("other.csv", gzip(&latency(130)));
    compressed.stdout(&["other.csv", "--out", "out"]);
    compressed.file("r/latency_results.csv", "");
    assert!(
        compressed.error(&["r"]).starts_with("analyze: r/latency_results.csv, line 1: the file is empty")
    );
}

#[test]
fn compressed_runs_are_found_wherever_runs_are_looked_for() {
    let scene = Scene::new();
    for (side, factor) in [("old", 1.0), ("new", 1.1)] {
        runs(&scene, side, 0, 4, factor);
    }
    let limits = ["--max-regression", "mean=50%"];
    let compared = |sides: [&str; 2]| {
        let text = scene.stdout(&["compare", sides[0], sides[1], "--format", "csv"]);
        scene.stdout(&[&["gate", "--base", sides[0], "--new", sides[1]][..], &limits].concat());
        text
    };
    let (plain, history) = (compared(["old", "new"]), scene.stdout(&["history", "."]));
    for side in ["old", "new"] {
        for run in 0..4 {
            for name in ["latency_results.csv", "bandwidth_results.csv"] {
                let path = scene.path(&format!("{side}/{run:02}/{name}"));
                scene.file(
                    &format!("{side}/{run:02}/{name}.gz"),
                    gzip(&std::fs::read_to_string(&path).unwrap()),
                );
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    for sides in [["old", "new"], ["old/*", "new/*"], ["old/*/*", "new/*/*_results.csv.gz"]] {
        assert_eq!(compared(sides), plain, "{sides:?}");
    }
    assert_eq!(scene.stdout(&["history", "."]), history);
    let by_name = scene.stdout(&["history", "old/*/*.gz"]);
    assert!(by_name.contains("4 runs of 1 setting"), "files of one directory are one run: {by_name}");
    scene.file("broadcast/broadcast_results.csv.gz", gzip("x"));
    assert!(scene.error(&["broadcast"]).starts_with("analyze: broadcast/broadcast_results.csv.gz: "));
}

#[test]
fn a_run_json_that_says_little_else_says_dirty() {
    let scene = Scene::new();
    scene.file("r/latency_results.csv", latency(130));
    for interference in [r#"{"dirty":true,"reasons":["x"]}"#, r#"{"dirty":true}"#, r#"{"reasons":["x"]}"#] {
        scene.file("r/run.json", format!(r#"{{"schema":"ivshmem-run/1","interference":{interference}}}"#));
        let report = scene.stdout(&["r", "--pictures", "svg"]);
        assert!(
            report.contains("  ! DIRTY RUN: disturbed while it was measured"),
            "{interference}: {report}"
        );
        let page = std::fs::read_to_string(scene.path("r/report.html")).unwrap();
        assert!(page.matches("DIRTY RUN").count() > 5, "in the list and in every picture");
        let gate =
            ["gate", "--base", "r", "--new", "s", "--max-regression", "p50=9%", "--despite-differences"];
        scene.file("s/latency_results.csv", latency(131));
        let gate = scene.analyze(&gate).assert().code(4);
        let said = String::from_utf8_lossy(&gate.get_output().stdout).into_owned();
        assert!(said.contains("1 of 1 base and 0 of 1 new runs, the first of them r: DIRTY"), "{said}");
    }
}

#[test]
fn rows_whose_times_disagree_are_said() {
    let scene = Scene::new();
    let rows = latency(130);
    scene.file("r/latency_results.csv", &rows);
    let doubt = || {
        let doubts = summary(&scene, "r")["runs"][0]["doubts"].clone();
        doubts.as_array().unwrap().iter().find(|doubt| doubt["code"] == "times_disagree").cloned()
    };
    assert_eq!(doubt(), None);
    let wrong = rows.replacen(",0.1", ",1.1", 3);
    assert_ne!(rows, wrong);
    scene.file("r/latency_results.csv", wrong);
    let doubt = doubt().unwrap();
    assert_eq!(doubt["severity"], "warning");
    insta::assert_snapshot!(
        doubt["message"].as_str().unwrap(),
        @"DISAGREEMENT: latency_us of 3 rows (the first of iteration 1) is not latency_ns / 1000; the figures below are of latency_ns."
    );
    // Where the column is empty there is nothing that could disagree.
    let bare: String = rows
        .lines()
        .map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            let us = if fields[0] == "iteration" { "latency_us" } else { "" };
            format!("{},{},{us},{},{}\n", fields[0], fields[1], fields[3], fields[4])
        })
        .collect();
    scene.file("r/latency_results.csv", bare);
    assert!(!scene.stdout(&["r"]).contains("DISAGREEMENT"));
}

#[test]
fn compressed_files_that_are_cut_or_damaged() {
    let scene = Scene::new();
    let whole = gzip(&latency(130));
    scene.file("cut.gz", &whole[..whole.len() / 2]);
    insta::assert_snapshot!(
        scene.error(&["cut.gz"]),
        @"analyze: cut.gz: the gzip data are cut short; copy or compress the file again"
    );
    let mut damaged = whole.clone();
    let place = damaged.len() - 6;
    damaged[place] ^= 0xff;
    scene.file("damaged.gz", damaged);
    let error = scene.error(&["damaged.gz"]);
    assert!(error.starts_with("analyze: damaged.gz: the gzip data are damaged ("), "{error}");
    scene.file("short.gz", gzip(latency(130).trim_end()));
    assert!(scene.error(&["short.gz"]).contains("cut short"));
}

#[test]
fn a_million_rows_that_failed() {
    let scene = Scene::new();
    let mut csv = format!("{LATENCY_HEADER}\n");
    for i in 1..=1_000_000 {
        let row = match i % 4 {
            0 => "130,0.130,98,ok",
            2 => ",,98,timeout_processed",
            _ => ",,,timeout_received",
        };
        writeln!(csv, "{i},{row}").unwrap();
    }
    scene.file("l.csv", csv);
    let latency = &summary(&scene, "l.csv")["runs"][0]["latency"];
    assert_eq!((&latency["sent"], &latency["ok"]), (&1_000_000.into(), &250_000.into()));
    let failed = serde_json::json!({"timeout_processed": 250_000, "timeout_received": 500_000});
    assert_eq!(latency["failed_by_status"], failed);
}

#[test]
fn samples_that_are_all_equal_and_a_single_one() {
    let scene = Scene::new();
    let mut csv = format!("{LATENCY_HEADER}\n");
    (1..=12_000).for_each(|i| writeln!(csv, "{i},130,0.130,98,ok").unwrap());
    scene.file("equal.csv", csv);
    let rtt = &summary(&scene, "equal.csv")["runs"][0]["latency"]["rtt_processed"];
    assert_eq!((&rtt["p99_ns"], &rtt["stddev_ns"]), (&130.into(), &0.0.into()));
    scene.file("one.csv", format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n"));
    let rtt = &summary(&scene, "one.csv")["runs"][0]["latency"]["rtt_processed"];
    assert_eq!(
        (&rtt["max_ns"], &rtt["p50_ns"], &rtt["stddev_ns"]),
        (&130.into(), &Value::Null, &Value::Null)
    );
}

#[test]
fn kinds_that_are_mixed_are_refused_where_the_other_begins() {
    let scene = Scene::new();
    let row = "1,130,0.130,98,ok";
    scene.file("two.csv", format!("{LATENCY_HEADER}\n{row}\n{LATENCY_HEADER}\n{row}\n"));
    scene.file("both.csv", format!("{LATENCY_HEADER}\n{row}\n{}", bandwidth(130)));
    let names = "iteration,latency_ns,latency_us,latency_ns";
    scene.file("twice.csv", format!("{names}\n1,130,0.130,130\n"));
    scene.file("merged.csv", format!("{BANDWIDTH_HEADER},latency_ns,latency_us\n"));
    let errors = ["two", "both", "twice", "merged"].map(|name| scene.error(&[&format!("{name}.csv")]));
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure_and_a_full_disk_is_one() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    let analyze = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
        command.current_dir(scene.path(".")).args(["r", "--json"]).stdout(stdout).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut child = analyze(Stdio::piped());
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let full = analyze(File::options().write(true).open("/dev/full").unwrap().into());
    let output = full.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("analyze: cannot print the report: "));
}

#[test]
fn a_standard_error_that_takes_nothing_changes_no_exit_status() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    let status = |arguments: &[&str], stderr: Stdio| -> ExitStatus {
        let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
        command.current_dir(scene.path(".")).args(arguments).stdout(Stdio::null()).stderr(stderr);
        command.status().unwrap()
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(status(&["r"], full()).code(), Some(0));
    assert_eq!(status(&["absent"], full()).code(), Some(1));
    assert_eq!(status(&["--frobnicate"], full()).code(), Some(2));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(status(&["r"], writer.into()).code(), Some(0));
}

/// The warnings and alarms of a report of one run.
fn doubts(scene: &Scene, directory: &str) -> Vec<Value> {
    let doubts = &summary(scene, directory)["runs"][0]["doubts"];
    let grave = doubts.as_array().unwrap().iter().filter(|doubt| doubt["severity"] != "note");
    grave.map(|doubt| doubt["code"].clone()).collect()
}

#[test]
fn a_run_json_that_does_not_say_where_makes_no_vm() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    assert_eq!(doubts(&scene, "r"), ["unpinned"]);
    scene.file("r/run.json", r#"{"schema":"ivshmem-run/1"}"#);
    assert_eq!(doubts(&scene, "r"), ["no_provenance"]);
    let all = summary(&scene, "r");
    assert_eq!(all["runs"][0]["role"], "unknown");
    let report = scene.stdout(&["r", "--out", "out"]);
    assert!(report.contains("run without provenance: r") && !report.contains("VM"), "{report}");
}

#[test]
fn a_run_json_of_another_run_is_told_by_its_messages() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    scene.file("r/run.json", run_json("file").replace("\"messages\":12000", "\"messages\":0"));
    assert_eq!(doubts(&scene, "r"), ["other_run", "unpinned"]);
}

#[test]
fn frames_with_other_content_raise_an_alarm_above_everything() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    let corrupt = |line: &str| match line.starts_with("3,4k,") {
        true => line.replace(",ok,", ",mismatch,"),
        false => line.to_owned(),
    };
    let csv: Vec<String> = bandwidth(130).lines().map(corrupt).collect();
    scene.file("r/bandwidth_results.csv", csv.join("\n") + "\n");
    assert_eq!(doubts(&scene, "r"), ["wrong_bytes", "failed", "unpinned"]);
    let report = scene.stdout(&["r", "--out", "out"]);
    let (alarm, facts) = (report.find("!! WRONG BYTES IN 1 FRAME"), report.find("Run  "));
    assert!(alarm.is_some() && alarm < facts, "{report}");
    assert!(report.contains("Do not rely on these figures: 1 alarm below."), "{report}");
}
