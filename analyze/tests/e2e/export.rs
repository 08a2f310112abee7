//! `analyze export`: files where queries look for them, each row once, and nothing of a run that cannot be placed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use polars::prelude::{DataFrame, ParquetReader, SerReader};

use crate::scene::{LATENCY_HEADER, Scene, run_json};

const NATIVE: &str = "fleet/kind=latency/host=host-cpu/accelerator=native/date=2026-11-20";
const PART: &str = "part-1122334455667788.parquet";

fn read(path: &Path) -> DataFrame {
    ParquetReader::new(File::open(path).unwrap()).finish().unwrap()
}

/// Every file below a directory, by its path from there.
fn files(scene: &Scene, directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![scene.path(directory)];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(scene.path(directory)).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_row_and_its_runs_provenance() {
    let scene = Scene::new();
    scene.run("results/vm", 130, "resource2_wc");
    scene.run("results/native", 120, "file");
    let native = run_json("file").replace("1122334455667788", "99");
    scene.file("results/native/run.json", native);
    let stdout = scene.stdout(&["export", "--parquet", "fleet", "results/vm", "results/native"]);
    insta::assert_snapshot!(stdout);
    let frame =
        read(&scene.path("fleet/kind=latency/host=host-cpu/accelerator=tcg/date=2026-11-20").join(PART));
    assert_eq!(frame.height(), 12_000);
    let names: Vec<_> = frame.get_column_names().iter().map(ToString::to_string).collect();
    assert_eq!(names[..5].join(","), LATENCY_HEADER);
    assert!(names[5..].iter().all(|name| name.starts_with("run_")));
    let text = |column: &str| frame.column(column).unwrap().str().unwrap().get(11_999).map(str::to_owned);
    assert_eq!(text("run_qemu_version").as_deref(), Some("7.2.22"));
    assert_eq!(text("run_name").as_deref(), Some("vm"));
    assert_eq!(text("run_load"), None);
    assert_eq!(frame.column("run_host_cpu_pinned").unwrap().i64().unwrap().get(0), Some(0));
    assert_eq!(frame.column("latency_ns").unwrap().i64().unwrap().iter().flatten().max(), Some(52_000));
}

#[test]
fn failed_rows_and_columns_of_later_versions_are_exported_from_gzip_too() {
    let scene = Scene::new();
    let csv = format!(
        "{LATENCY_HEADER},later\n1,130,0.130,98,ok,x\n2,,,99,timeout_processed,\n\n3,140,0.140,99,ok,\"a,b\"\n"
    );
    scene.file("r/run.json", run_json("file"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(csv.as_bytes()).unwrap();
    scene.file("r/latency_results.csv.gz", gzip.finish().unwrap());
    scene.stdout(&["export", "--parquet", "fleet", "r"]);
    let frame = read(&scene.path(NATIVE).join(PART));
    assert_eq!(frame.height(), 3);
    let text = |column: &str, row| frame.column(column).unwrap().str().unwrap().get(row).map(str::to_owned);
    assert_eq!(text("status", 1).as_deref(), Some("timeout_processed"));
    assert_eq!(text("later", 2).as_deref(), Some("a,b"));
    assert_eq!(frame.column("latency_ns").unwrap().i64().unwrap().get(1), None);
}

#[test]
fn a_run_exported_again_is_there_once() {
    let scene = Scene::new();
    scene.run("r", 130, "file");
    fs::remove_file(scene.path("r/bandwidth_results.csv")).unwrap();
    let export = |more: &[&str]| scene.stdout(&[&["export", "--parquet", "fleet", "r"], more].concat());
    export(&[]);
    scene.file("r/latency_results.csv", format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n"));
    export(&[]);
    assert_eq!(files(&scene, "fleet"), [format!("{NATIVE}/{PART}").replace("fleet/", "")]);
    assert_eq!(read(&scene.path(NATIVE).join(PART)).height(), 1);
    export(&["--host", "node7"]);
    let moved = format!("{NATIVE}/{PART}").replace("fleet/", "").replace("host-cpu", "node7");
    assert_eq!(files(&scene, "fleet"), [moved]);
}

#[test]
fn what_cannot_be_placed_or_read_leaves_no_file() {
    let scene = Scene::new();
    scene.run("good", 130, "file");
    scene.run("again", 130, "file");
    scene.file("bare/latency_results.csv", format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n"));
    scene.file("timeless/latency_results.csv", format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n"));
    scene.file("timeless/run.json", run_json("file").replace("2026-11-20T", "20.11.2026 "));
    scene
        .file("bad/latency_results.csv", format!("{LATENCY_HEADER}\n1,130,0.130,98,ok\n1,130,0.130,98,ok\n"));
    scene.file("bad/run.json", run_json("file").replace("1122334455667788", "2"));
    scene.file("huge/latency_results.csv", format!("{LATENCY_HEADER}\n1,9223372036854775808,0.130,98,ok\n"));
    scene.file("huge/run.json", run_json("file").replace("1122334455667788", "3"));
    let errors = ["bare", "timeless", "bad", "huge", "again", "absent"]
        .map(|run| scene.error(&["export", "--parquet", "fleet", "good", run]));
    insta::assert_snapshot!(errors.join("\n"));
    assert_eq!(scene.names("fleet"), [""; 0]);
    scene.file("taken", "");
    assert!(
        scene
            .error(&["export", "--parquet", "taken", "good"])
            .starts_with("analyze: taken: is not a directory")
    );
}

#[test]
fn a_run_that_kept_a_histogram_has_no_rows_to_export() {
    let scene = Scene::new();
    let plan = r#""latency":{"record":"histogram","rtt_ns":{"p50":130,"count":12000},"#;
    scene.file("r/run.json", run_json("file").replace("\"latency\":{", plan));
    assert_eq!(
        scene.stdout(&["export", "--parquet", "fleet", "r"]),
        "r: no rows, the run kept a histogram\n"
    );
}

#[test]
fn the_help_of_export() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.stdout(&["export", "--help"]));
    scene.analyze(&["export", "r"]).assert().code(2);
    scene.analyze(&["export", "--parquet", "f", "--host", "../x", "r"]).assert().code(2);
}
