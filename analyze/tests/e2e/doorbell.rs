//! Doorbell files: alone, many runs in one, beside other kinds, and damaged.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::scene::{Scene, run_json};

pub(crate) const HEADER: &str = "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,received_ns,guest_wake_ns,host_wake_ns,\
                      oneway_bound_ns,host_cpu_ns_per_message,vcpu_cpu_ns_per_message,rings_to_guest,rings_to_host,\
                      interrupts,coalesced,missed,status";

/// One run: what waiting so takes, in nanoseconds.
pub(crate) struct Ways {
    pub(crate) guest: &'static str,
    pub(crate) host: &'static str,
    pub(crate) base_ns: u64,
    pub(crate) host_cpu_ns: u64,
    pub(crate) vcpu_cpu_ns: Option<u64>,
}

pub(crate) const POLL: Ways =
    Ways { guest: "poll", host: "poll", base_ns: 400, host_cpu_ns: 100_000, vcpu_cpu_ns: Some(900_000) };
pub(crate) const UIO: Ways =
    Ways { guest: "uio", host: "doorbell", base_ns: 50_000, host_cpu_ns: 20_000, vcpu_cpu_ns: Some(30_000) };
const FLOOR: Ways =
    Ways { guest: "doorbell", host: "doorbell", base_ns: 25_000, host_cpu_ns: 15_000, vcpu_cpu_ns: None };

impl Ways {
    /// Rows of `count` messages, of which the fifth had no answer.
    pub(crate) fn rows(&self, rate: &str, load: &str, count: u64) -> String {
        let Self { guest, host, base_ns, host_cpu_ns, vcpu_cpu_ns } = self;
        let vcpu = vcpu_cpu_ns.map_or_else(String::new, |ns| ns.to_string());
        let slower = if load == "idle" { 1 } else { 3 };
        let rings = if *guest == "poll" { 0 } else { count };
        let interrupts = rings.saturating_sub(3);
        let mut rows = String::new();
        for i in 1..=count {
            let ns = slower * (base_ns + i * 13 % 97 * base_ns / 200);
            let times = if i == 5 {
                ",,,".to_owned()
            } else {
                let received = if *host == "poll" { (ns / 2).to_string() } else { String::new() };
                format!("{ns},{received},{},{}", ns as i64 / 2 - 1_000, ns / 2)
            };
            let status = if i == 5 { "timeout_received" } else { "ok" };
            writeln!(
                rows,
                "{i},{guest},{host},{rate},{load},{times},180.5,{host_cpu_ns}.5,{vcpu},{rings},{rings},{interrupts},\
                 {},{},{status}",
                rings - interrupts,
                u64::from(*guest == "uio" && load != "idle"),
            )
            .unwrap();
        }
        rows
    }
}

/// Three ways to wait, two rates, idle and loaded: as a script puts the files of many runs together.
pub(crate) fn many_runs() -> String {
    let mut csv = format!("{HEADER}\n");
    for (load, ways) in [("idle", [POLL, UIO, FLOOR]), ("\"cpu=1,io=1\"", [POLL, UIO, FLOOR])] {
        for ways in ways {
            csv += &ways.rows("1000", load, 1_200);
            csv += &ways.rows("max", load, 30);
        }
    }
    csv
}

fn summary(scene: &Scene, arguments: &[&str]) -> Value {
    serde_json::from_str(&scene.stdout(arguments)).unwrap()
}

/// From the doorbells' heading to the next section's.
fn section(report: &str) -> &str {
    let begin = report.find("\nDOORBELLS").unwrap();
    let end = report[begin..].find("\nPROVENANCE").unwrap();
    &report[begin..begin + end]
}

#[test]
pub(crate) fn many_runs_in_one_file_are_set_side_by_side() {
    let scene = Scene::new();
    scene.file("all.csv", many_runs());
    let report = scene.stdout(&["all.csv", "--out", "out"]);
    assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!("doorbells", section(&report));
}

#[test]
fn the_cells_are_in_summary_json() {
    let scene = Scene::new();
    scene.file("all.csv", many_runs());
    let summary = summary(&scene, &["all.csv", "--json"]);
    let cells = summary["doorbells"].as_array().unwrap();
    assert_eq!(cells.len(), 12);
    let uio = &cells[1];
    assert_eq!(
        (&uio["guest_wait"], &uio["host_wait"], &uio["load"], &uio["rate_per_s"]),
        (&json!("uio"), &json!("doorbell"), &json!("idle"), &json!(1000.0))
    );
    assert_eq!((&uio["messages"], &uio["ok"]), (&json!(1200), &json!(1199)));
    assert_eq!(uio["failed_by_status"], json!({"timeout_received": 1}));
    assert_eq!((&uio["interrupts"], &uio["coalesced"]), (&json!(1197), &json!(3)));
    assert_eq!((&uio["native"], &cells[2]["native"]), (&json!(false), &json!(true)));
    assert_eq!(uio["rtt"]["count"], 1199);
    assert!(uio["received_p50_ns"].is_null() && cells[0]["received_p50_ns"].is_u64());
    assert!(uio["rtt"]["p99_9_ns"].is_null() && uio["rtt"]["p99_ns"].is_u64());
    let over_floor = uio["rtt_p50_over_native_floor"].as_f64().unwrap();
    assert!((over_floor - 2.0).abs() < 0.01, "{over_floor}");
    // Of 29 ok messages there is a median; the loaded ones come after all idle ones.
    assert!(cells[3]["rate_per_s"].is_null() && cells[3]["rtt"]["p50_ns"].is_u64());
    assert_eq!(cells[6]["load"], "cpu=1,io=1");
}

#[test]
fn a_run_directory_has_all_its_kinds_in_one_report() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    scene.run("native", 120, "file");
    scene.file("vm/doorbell_results.csv", format!("{HEADER}\n{}", UIO.rows("1000", "idle", 100)));
    scene.file("native/doorbell_results.csv", format!("{HEADER}\n{}", FLOOR.rows("1000", "idle", 100)));
    let report = scene.stdout(&["vm", "native"]);
    for heading in ["\nLATENCY · VM (tcg)", "\nDOORBELLS", "\nBANDWIDTH · VM (tcg)", "\nVM (tcg) OVER native"]
    {
        assert!(report.contains(heading), "{heading}");
    }
    // The baseline's rows are the floor.
    let summary = summary(&scene, &["vm", "native", "--json"]);
    assert_eq!(summary["runs"].as_array().unwrap().len(), 2);
    assert!(summary["doorbells"][0]["rtt_p50_over_native_floor"].as_f64().unwrap() > 1.9);
    assert_eq!(summary["doorbells"].as_array().unwrap().len(), 2);
    // As a cell of a matrix it is read, too.
    scene.analyze(&["--matrix", "vm", "--out", "matrix"]).assert().success();
}

#[test]
fn files_of_any_directory_are_put_together_and_are_no_runs_beside_one() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    for (name, ways) in [("a", POLL), ("b", UIO)] {
        scene.file(
            &format!("{name}/doorbell_results.csv"),
            format!("{HEADER}\n{}", ways.rows("10", "idle", 50)),
        );
    }
    let dirty = run_json("resource2")
        .replace("\"dirty\":false,\"reasons\":[]", "\"dirty\":true,\"reasons\":[\"steal 4 %\"]");
    scene.file("b/run.json", dirty);
    let files = ["a/doorbell_results.csv", "b/doorbell_results.csv"];
    let all = summary(&scene, &[&["vm", "--json"], files.as_slice()].concat());
    assert_eq!(all["runs"].as_array().unwrap().len(), 1);
    assert_eq!(all["doorbells"].as_array().unwrap().len(), 2);
    let report = scene.stdout(&[files.as_slice(), &["--out", "out"]].concat());
    assert!(
        report.contains("  File          a/doorbell_results.csv, 1 run; no run.json beside it\n"),
        "{report}"
    );
    assert!(
        report.contains(
            "  File          b/doorbell_results.csv, 1 run, tcg, Host CPU,\n                2026-11-20T20:00:00Z; its run.json says DIRTY RUN: steal 4 %\n"
        ),
        "{report}"
    );
    // A file and one that it was put into: what was measured once counts once.
    let whole = fs::read_to_string(scene.path("a/doorbell_results.csv")).unwrap();
    scene.file("all.csv", whole + &UIO.rows("10", "idle", 50));
    let twice = summary(&scene, &["all.csv", files[0], files[1], "--json", "--out", "out"]);
    assert_eq!(twice["doorbells"][0]["messages"], 50);
    assert_eq!(twice["doorbells"], all["doorbells"]);
}

#[test]
fn each_file_says_which_run_it_is_of_and_different_machines_are_doubted() {
    let scene = Scene::new();
    for (name, ways) in [("a", POLL), ("b", UIO)] {
        let rows = format!("{HEADER}\n{}", ways.rows("10", "idle", 50));
        scene.file(&format!("{name}/doorbell_results.csv"), rows);
        scene.file(&format!("{name}/run.json"), run_json("resource2_wc"));
    }
    let files = ["a/doorbell_results.csv", "b/doorbell_results.csv"];
    let report = || {
        let report = scene.stdout(&[files[0], files[1], "--out", "out"]);
        assert_eq!(report.lines().find(|line| line.chars().count() > 80), None);
        report.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let alike = report();
    assert!(!alike.contains("DIFFERENT MACHINES"), "{alike}");
    let head = "Run VM (tcg): a, the first of 2 doorbell files, which DOORBELLS names with their runs";
    assert!(alike.contains(head), "{alike}");
    let mut other: Value = serde_json::from_str(&run_json("resource2_wc")).unwrap();
    other["vm"]["accelerator"]["effective"] = "kvm".into();
    other["host"]["cpu_model"] = "Other CPU".into();
    other["started_utc"] = "2026-11-21T07:00:00Z".into();
    scene.file("b/run.json", other.to_string());
    let differ = report();
    for said in [
        "a/doorbell_results.csv, 1 run, tcg, ",
        "b/doorbell_results.csv, 1 run, kvm, Other CPU, 2026-11-21T07:00:00Z",
    ] {
        assert!(differ.contains(said), "{said}: {differ}");
    }
    assert!(
        differ.contains(
            "DOORBELLS OF DIFFERENT MACHINES: the files differ in accelerator (tcg, kvm) and CPU ("
        ),
        "{differ}"
    );
    let page = fs::read_to_string(scene.path("out/report.html")).unwrap();
    for said in [
        "the first of 2 doorbell files",
        "kvm, Other CPU",
        "DIFFERENT ACCELERATORS: tcg, kvm",
        "2 DIFFERENT CPUS",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn a_file_without_a_single_ok_row_or_cpu_time_is_reported() {
    let scene = Scene::new();
    let bare = "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,status\n";
    scene.file(
        "f.csv",
        format!("{bare}1,uio,doorbell,10,idle,,timeout_received\n2,uio,doorbell,10,idle,,mismatch\n"),
    );
    let report = scene.stdout(&["f.csv", "--out", "out"]);
    insta::assert_snapshot!("doorbells_none_ok", section(&report));
}

#[test]
fn a_damaged_file_is_named_by_line_and_column() {
    let scene = Scene::new();
    let error = |content: &str| {
        scene.file("d/f.csv", content);
        let error = scene.error(&["d/f.csv"]);
        assert_eq!(scene.names("d"), ["f.csv"]);
        error
    };
    let whole = format!("{HEADER}\n{}", UIO.rows("10", "idle", 3));
    for end in whole.trim_end().rfind('\n').unwrap() + 2..whole.len() {
        let error = error(&whole[..end]);
        assert!(
            error.starts_with("analyze: d/f.csv, line 4, column ") && error.contains("cut short"),
            "{end}: {error}"
        );
    }
    insta::assert_snapshot!(
        error(&whole.replace(",load,", ",")),
        @"analyze: d/f.csv, line 1, column load: missing from the header of this doorbell file"
    );
    insta::assert_snapshot!(error(&format!("{HEADER}\n")), @"analyze: d/f.csv, line 2: no rows after the header; the run measured nothing");
    insta::assert_snapshot!(error(&whole.replacen(",180.5,", ",-180.5,", 1)), @"analyze: d/f.csv, line 2, column oneway_bound_ns: `-180.5` is negative");
    insta::assert_snapshot!(
        error(&whole.replacen("10,idle", "often,idle", 1)),
        @"analyze: d/f.csv, line 2, column rate_per_s: not a rate; expected messages a second, or max"
    );
}

#[test]
fn messages_that_were_sent_late_are_told_from_those_of_their_rate() {
    let scene = Scene::new();
    let run = |late_ns: u64, missed: bool| {
        let mut json: Value = serde_json::from_str(&run_json("resource2_wc")).unwrap();
        json["latency"] = json!({
            "messages": 100, "loop": "open", "rate_per_s": 1000, "missed_rate": missed, "rtt_ns": { "p50": late_ns },
        });
        json.to_string()
    };
    for (name, late_ns, missed) in
        [("kept", 900_000, false), ("backlog", 79_000_000, false), ("missed", 1, true)]
    {
        scene.file(
            &format!("{name}/doorbell_results.csv"),
            format!("{HEADER}\n{}", UIO.rows("1000", "idle", 100)),
        );
        scene.file(&format!("{name}/run.json"), run(late_ns, missed));
    }
    let files = ["kept", "backlog", "missed"].map(|name| format!("{name}/doorbell_results.csv"));
    let report = scene.stdout(&[&files[0], &files[1], &files[2], "--out", "out"]);
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(report.contains("2 of 3 doorbell files behind the rate"), "{report}");
    for (file, is_late) in files.iter().zip([false, true, true]) {
        let late = format!("{file}, 1 run, tcg, Host CPU, 2026-11-20T20:00:00Z; behind its rate");
        assert_eq!(report.contains(&late), is_late, "{file}: {report}");
    }
    assert!(report.contains("Doorbells, idle: 1,000/s"), "{report}");
}
