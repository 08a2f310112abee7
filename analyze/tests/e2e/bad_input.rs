//! Every bad input: one line that names the file, line and column, exit status 1, and nothing written.

use std::fs;

use crate::scene::{BANDWIDTH_HEADER, LATENCY_HEADER, Scene, latency, run_json};

/// The error for a latency file of this content; nothing may be written.
fn error_for(content: impl AsRef<[u8]>) -> String {
    let scene = Scene::new();
    scene.file("r/l.csv", content);
    let error = scene.error(&["r/l.csv"]);
    assert_eq!(scene.names("r"), ["l.csv"]);
    error
}

#[test]
fn an_absent_file() {
    let scene = Scene::new();
    assert_eq!(scene.error(&["no.csv"]), "analyze: no.csv: no such file or directory");
}

#[test]
fn an_empty_file_and_one_with_a_header_only() {
    insta::assert_snapshot!(error_for(""), @"analyze: r/l.csv, line 1: the file is empty; expected a CSV header");
    insta::assert_snapshot!(
        error_for(format!("{LATENCY_HEADER}\n")),
        @"analyze: r/l.csv, line 2: no rows after the header; the run measured nothing"
    );
}

#[test]
fn a_file_of_something_else() {
    insta::assert_snapshot!(
        error_for("date,open,close\n2026-01-01,1,2\n"),
        @"analyze: r/l.csv, line 1, column date: not a file of this toolkit; a latency file begins iteration,latency_ns,latency_us, a bandwidth file iteration,frame_type,width and a doorbell file iteration,guest_wait,host_wait"
    );
    insta::assert_snapshot!(
        error_for(b"\x7fELF\x02\xff\x01\n\xff\xfe\n"),
        @"analyze: r/l.csv, line 1, column byte 6: not UTF-8 text (binary or UTF-16?)"
    );
    insta::assert_snapshot!(
        error_for([format!("{LATENCY_HEADER}\n1,130,").as_bytes(), b"\xfe\n"].concat()),
        @"analyze: r/l.csv, line 2, column byte 7: not UTF-8 text (binary or UTF-16?)"
    );
}

#[test]
fn the_rows_of_a_broadcast_by_themselves_and_by_their_directory() {
    let header = "iteration,peers,slowest_ns,fastest_ns,spread_ns,status,received_ns_0,processed_ns_0";
    let scene = Scene::new();
    scene.file("r/broadcast_results.csv", format!("{header}\n1,2,9,7,2,ok,,9\n"));
    for input in ["r/broadcast_results.csv", "r"] {
        assert_eq!(
            scene.error(&[input]),
            "analyze: r/broadcast_results.csv: the rows of a broadcast, which analyze does not read: host-writer has printed \
             their summary, and \"broadcast\" in the run.json beside them holds it"
        );
    }
}

#[test]
fn a_column_that_is_missing() {
    insta::assert_snapshot!(
        error_for("iteration,latency_ns,status\n1,130,ok\n"),
        @"analyze: r/l.csv, line 1, column latency_us: missing from the header of this latency file"
    );
    insta::assert_snapshot!(
        error_for(BANDWIDTH_HEADER.replace(",duration_ns", "") + "\n1\n"),
        @"analyze: r/l.csv, line 1, column duration_ns: missing from the header of this bandwidth file"
    );
}

#[test]
fn a_file_cut_off_anywhere_in_its_last_row() {
    let whole = format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n2,140,0.140,99,ok\n");
    let last_row = whole.len() - "2,140,0.140,99,ok\n".len();
    for end in last_row + 1..whole.len() {
        let error = error_for(&whole[..end]);
        assert!(error.starts_with("analyze: r/l.csv, line 3, column "), "{end}: {error}");
        assert!(error.contains("cut short"), "{end}: {error}");
    }
}

#[test]
fn values_that_are_no_measurements() {
    for (row, column, problem) in [
        ("3,NaN,0.1,9,ok", "latency_ns", "`NaN` is not a whole number"),
        ("3,inf,0.1,9,ok", "latency_ns", "`inf` is not a whole number"),
        ("3,-1,0.1,9,ok", "latency_ns", "`-1` is negative"),
        (
            "3,18446744073709551616,0.1,9,ok",
            "latency_ns",
            "`18446744073709551616` is larger than 18446744073709551615",
        ),
        ("3,100,nan,9,ok", "latency_us", "`nan` is not a finite number"),
        ("3,100,-inf,9,ok", "latency_us", "`-inf` is not a finite number"),
        ("3,100,0.1,1e9,ok", "received_ns", "`1e9` is not a whole number"),
        ("3,,0.1,9,ok", "latency_ns", "empty in a row that is ok"),
        ("x,100,0.1,9,ok", "iteration", "`x` is not a whole number"),
        ("1,100,0.1,9,ok", "iteration", "1 after 2; iterations must increase"),
        (
            "3,100,0.1,9,fine thanks",
            "status",
            "not a status; expected ok, or a failure's name such as timeout_received",
        ),
        ("3,100,0.1,9", "status", "4 fields where the header has 5"),
    ] {
        let error =
            error_for(format!("{LATENCY_HEADER}\n1,130,0.1,9,ok\n2,131,0.1,9,ok\n{row}\n4,133,0.1,9,ok\n"));
        assert_eq!(error, format!("analyze: r/l.csv, line 4, column {column}: {problem}"));
    }
}

#[test]
fn the_first_of_many_bad_values_is_named_deep_in_a_large_file() {
    let csv = latency(130).replace("\n9001,", "\n9001,NaN").replace("\n9500,", "\n9500,NaN");
    assert!(error_for(csv).starts_with("analyze: r/l.csv, line 9002, column latency_ns: `NaN"));
}

#[test]
fn a_directory_without_csvs_says_where_they_are() {
    let scene = Scene::new();
    scene.run("results/vm", 130, "resource2_wc");
    scene.run("results/native", 120, "file");
    insta::assert_snapshot!(
        scene.error(&["results"]),
        @"analyze: results: no latency_results.csv, bandwidth_results.csv or doorbell_results.csv in this directory; try: analyze results/native results/vm"
    );
    fs::create_dir(scene.path("empty")).unwrap();
    insta::assert_snapshot!(
        scene.error(&["empty"]),
        @"analyze: empty: no latency_results.csv, bandwidth_results.csv or doorbell_results.csv in this directory"
    );
}

#[test]
fn a_damaged_or_foreign_run_json() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    for (content, expected) in [
        (
            "",
            "not a valid run.json: EOF while parsing a value at line 1 column 0; it was cut short or written by something else: restore it, or remove it to analyze without provenance",
        ),
        (
            "{\n  \"schema\": oops",
            "not a valid run.json: expected value at line 2 column 13; it was cut short or written by something else: restore it, or remove it to analyze without provenance",
        ),
        (
            "[]",
            "schema is absent, this analyze reads \"ivshmem-run/1\"; no host-writer wrote it: move it away, or give another directory",
        ),
        (
            r#"{"schema":"ivshmem-run/9"}"#,
            "schema is \"ivshmem-run/9\", this analyze reads \"ivshmem-run/1\"; a newer version of the toolkit wrote it: use the analyze of that version",
        ),
    ] {
        scene.file("vm/run.json", content);
        assert_eq!(scene.error(&["vm"]), format!("analyze: vm/run.json: {expected}"));
    }
    scene.file("vm/run.json", run_json("file").replace("\"wall_s\":1.25", "\"wall_s\":\"long\""));
    assert!(
        scene.error(&["vm"]).starts_with("analyze: vm/run.json: not a valid run.json: invalid type: string")
    );
}

#[test]
fn runs_that_one_report_cannot_be_about() {
    let scene = Scene::new();
    for (name, kind) in [("a", "resource2"), ("b", "resource2_wc"), ("c", "file"), ("d", "file")] {
        scene.run(name, 130, kind);
    }
    insta::assert_snapshot!(
        scene.error(&["a", "b"]),
        @"analyze: a and b: two VM runs; a report is about one run, with at most one native run as its baseline, or about one run under a load with an idle one of the same machine; for a verdict on two or more, analyze compare, for a table of many, analyze --matrix"
    );
    insta::assert_snapshot!(
        scene.error(&["c", "a", "d"]),
        @"analyze: c and d: two native runs; a report is about one run, with at most one native run as its baseline, or about one run under a load with an idle one of the same machine; for a verdict on two or more, analyze compare, for a table of many, analyze --matrix"
    );
    let loaded = run_json("file").replacen('{', r#"{"load":{"label":"cpu=2"},"#, 1);
    scene.file("d/run.json", loaded);
    let report = scene.stdout(&["c", "d", "--out", "both"]);
    assert!(report.contains("native, load cpu=2 OVER native, idle"), "{report}");
    fs::copy(scene.path("a/latency_results.csv"), scene.path("a/again.csv")).unwrap();
    insta::assert_snapshot!(
        scene.error(&["a", "a/again.csv"]),
        @"analyze: a/latency_results.csv and a/again.csv: two latency files of one run; give one, or put the runs into directories of their own"
    );
}

#[test]
fn an_output_directory_that_cannot_be() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    scene.file("taken", "a file");
    for command in [&["vm", "--out", "taken"][..], &["export", "--parquet", "taken", "vm"]] {
        assert_eq!(
            scene.error(command),
            "analyze: taken: is not a directory; name one, or a path where one can be made"
        );
    }
    assert!(scene.error(&["vm", "--out", "taken/below"]).starts_with("analyze: taken/below: cannot write: "));
    assert_eq!(scene.names("vm"), ["bandwidth_results.csv", "latency_results.csv", "run.json"]);
}

#[test]
fn a_bandwidth_row_without_meaning() {
    let row = |duration: &str, verified: &str| {
        let row = format!("1,4k,3840,2160,24,24883200,23.73,{duration},1,1,0,{verified},,,,,ok,,");
        error_for(format!("{BANDWIDTH_HEADER}\n{row}\n"))
    };
    assert!(row("0", "1").ends_with("line 2, column duration_ns: empty or 0 in a row that is ok"));
    assert!(row("1000", "perhaps").ends_with("line 2, column data_verified: expected 1 or 0"));
    assert!(row("-1000", "1").ends_with("line 2, column duration_ns: `-1000` is negative"));
}

#[test]
fn wrong_usage_is_status_2() {
    let scene = Scene::new();
    scene.analyze(&[]).assert().code(2);
    scene.analyze(&["--frobnicate", "x.csv"]).assert().code(2);
}

#[test]
fn a_file_in_place_of_a_run_directory_is_not_exported() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    insta::assert_snapshot!(
        scene.error(&["export", "--parquet", "fleet", "r/latency_results.csv"]),
        @"analyze: r/latency_results.csv: a file; give the run directory it lies in, which is exported whole"
    );
}
