//! The forms a report is printed in, and colours.

use crate::doorbell::many_runs;
use crate::scene::Scene;

fn both_runs() -> Scene {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    scene.run("vm", 130, "resource2_wc");
    scene
}

#[test]
fn csv_has_a_row_for_each_figure() {
    insta::assert_snapshot!("csv", both_runs().stdout(&["native", "vm", "--format", "csv"]));
}

#[test]
fn markdown_has_the_verdict_the_tables_and_folded_provenance() {
    let scene = both_runs();
    insta::assert_snapshot!("md", scene.stdout(&["native", "vm", "--format", "md"]));
    scene.file("all.csv", many_runs());
    let report = scene.stdout(&["all.csv", "--format", "md", "--out", "out"]);
    let sections: Vec<&str> = report.lines().filter(|line| line.starts_with('#')).collect();
    let doorbells = "### Doorbells: being told (interrupts) against looking (polling)";
    assert_eq!(sections, ["## ivshmem: run without provenance", doorbells]);
}

#[test]
fn html_is_the_file_that_is_written() {
    let scene = both_runs();
    let page = scene.stdout(&["native", "vm", "--format", "html"]);
    assert_eq!(page, std::fs::read_to_string(scene.path("vm/report.html")).unwrap());
    insta::assert_snapshot!("html", without_assets(&page));
}

/// The page less its style, script and charts, which are not for reading here.
pub(crate) fn without_assets(page: &str) -> String {
    let mut out = page.to_owned();
    for [begin, end] in [
        ["<style>", "</style>"],
        ["<script>", "</script>"],
        ["<svg", "</svg>"],
        ["class=\"hover\">", "</script>"],
    ] {
        let mut from = 0;
        while let Some(at) = out[from..].find(begin).map(|at| from + at + begin.len()) {
            let stop = at + out[at..].find(end).unwrap();
            out.replace_range(at..stop, "…");
            from = at;
        }
    }
    out
}

#[test]
fn json_has_two_names() {
    let scene = both_runs();
    let args = |form: &[&str]| scene.stdout(&[&["native", "vm"], form].concat());
    assert_eq!(args(&["--json"]), args(&["--format", "json"]));
    assert_eq!(args(&[]), args(&["--format", "text"]));
    scene.analyze(&["vm", "--json", "--format", "csv"]).assert().code(2).stdout("");
}

#[test]
fn a_matrix_has_no_markdown() {
    let scene = both_runs();
    let csv = scene.stdout(&["--matrix", "vm", "native", "--format", "csv"]);
    assert_eq!(csv, std::fs::read_to_string(scene.path("matrix.csv")).unwrap());
    let refused = scene.analyze(&["--matrix", "vm", "--format", "md"]).assert().code(2).stdout("");
    let error = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(error.contains("--matrix prints text, json or csv"), "{error}");
}

#[test]
fn colours_are_for_terminals_and_never_in_a_file() {
    let scene = both_runs();
    let print = |environment: &[(&str, &str)]| {
        let mut command = scene.analyze(&["native", "vm"]);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm").envs(environment.iter().copied());
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    let plain = print(&[]);
    assert!(!plain.contains('\u{1b}'));
    let forced = print(&[("CLICOLOR_FORCE", "1")]);
    assert!(forced.contains("\u{1b}[1mLATENCY · VM (tcg)\u{1b}[0m\n"), "{forced}");
    assert_eq!(print(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), plain);
    assert_eq!(std::fs::read_to_string(scene.path("vm/performance_report.txt")).unwrap(), plain);
}

#[test]
fn a_hostile_name_is_text_on_the_page() {
    let scene = Scene::new();
    let name = "<script>alert(1)</script>\" onload=\"x";
    let directory = name.replace('/', "∕");
    scene.run(&directory, 130, "resource2_wc");
    let run = std::fs::read_to_string(scene.path(&format!("{directory}/run.json"))).unwrap();
    // What a guest says of itself.
    let hostile = serde_json::to_string("</pre><script>alert(2)</script>").unwrap();
    scene.file(&format!("{directory}/run.json"), run.replace("\"Guest CPU\"", &hostile));
    let page = scene.stdout(&[&directory, "--format", "html"]);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;∕script&gt;&quot; onload=&quot;x"), "the name is there");
    assert!(page.contains("&lt;script&gt;alert(2)&lt;/script&gt;"), "the CPU is there");
    assert!(!page.contains("<script>alert") && !page.contains("onload=\""));
    let markdown = scene.stdout(&[&directory, "--format", "md"]);
    assert!(!markdown.contains("<script"));
}
