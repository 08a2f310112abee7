//! experiments_report.txt: the runs, what they say, and the tables it is said from; 80 columns.

use super::kernels::trials;
use super::{Cell, KernelRate, Matrix, Row};
use crate::report::text::{
    WIDTH, four_digits, grouped, heading, named, optional, payload, percent, time, times, wrapped,
};

/// Width of the column of kernels, and of all up to it.
const KERNELS: usize = 20;
const WAY: usize = 25 + KERNELS;

/// The whole report.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let rule = "=".repeat(WIDTH);
    let mut out = format!("{rule}\nIVSHMEM EXPERIMENTS\n{rule}\n");
    out += &runs(matrix);
    out += &heading("WHAT THIS SAYS");
    for finding in &matrix.findings {
        out += &wrapped("  - ", finding);
    }
    if matrix.findings.is_empty() {
        out += "  Nothing: no two figures of these runs differ in one thing only.\n";
    }
    out += &rates(matrix);
    out += &kernels(&matrix.kernels);
    out += &loads(matrix);
    out += &heading("HOW TO READ THIS");
    for note in [
        "GB/s is 1e9 bytes a second of payload, each byte counted once; a rate is that of the median duration, \
         of a stream that of the median time from one end to the next. Read and write are the two halves, the guest's on its own clock and without its waiting.",
        "of roof: the total over what plain copies of that size reached in the same run; asked: the rate of a schedule that was kept, which is no limit. Figures of one run each: \
         a difference of a few percent may be chance.",
        "Two figures are compared where all but one thing is equal, with the same kernels where there is such a \
         row, else the best with the best. ! marks a run that was disturbed while it was measured and was not meant to be.",
        "A kernel's rate is the median of its trials, one a run, with their range behind it. Where ranges touch, or lone trials are within 5 %, none is \
         called the best. Disturbed runs count where there is no other.",
    ] {
        out += &wrapped("  - ", note);
    }
    out
}

fn number(matrix: &Matrix, label: &str) -> String {
    let place = matrix.cells.iter().position(|cell| cell.label == label);
    place.map_or_else(String::new, |place| format!("#{}", place + 1))
}

fn mark(dirty: bool) -> &'static str {
    if dirty { " !" } else { "" }
}

fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

fn runs(matrix: &Matrix) -> String {
    let mut out = heading("RUNS");
    for (place, cell) in matrix.cells.iter().enumerate() {
        let latency = cell.analyzed.summary.latency.as_ref();
        let latency = latency.map_or_else(String::new, |l| {
            let what = if l.is_open() { "from due" } else { "RTT" };
            format!("; {what} p50 {}, p99 {}", time(l.p50_ns()), time(l.p99_ns()))
        });
        let run = &cell.analyzed.run;
        let dirty = match (run.is_suspect(), run.is_dirty()) {
            (true, _) => "; DIRTY!",
            (false, true) => "; disturbed, as its load was meant to",
            (false, false) => "",
        };
        let title = cell.analyzed.title();
        let mapping = mapping_of(cell, &matrix.cells).map_or_else(String::new, |it| format!(", {it}"));
        out += &wrapped(
            &format!("  {:<4}", format!("#{}", place + 1)),
            &format!("{}: {title}{mapping}{latency}{dirty}", cell.label),
        );
    }
    out
}

/// How the run's guest mapped the region, where other runs of the same machine did otherwise.
fn mapping_of(cell: &Cell, all: &[Cell]) -> Option<String> {
    let of = |cell: &Cell| cell.analyzed.run.provenance.as_ref().and_then(|p| p.run.mapping());
    let machine = cell.analyzed.machine();
    let differs = |other: &Cell| other.analyzed.machine() == machine && of(other) != of(cell);
    all.iter().any(differs).then(|| of(cell).unwrap_or_else(|| "mapping not recorded".into()))
}

/// A table for each machine, mapping, direction, cache and use, with a line for each size, mode and pair of kernels.
fn rates(matrix: &Matrix) -> String {
    let rated: Vec<&Row> = matrix.rows.iter().filter(|row| row.size.is_some()).collect();
    let title = |row: &Row| {
        let mapping = row.mapping.as_ref().filter(|_| row.has_rival_mapping(&rated));
        let parts =
            [Some(&row.machine), mapping, row.direction.as_ref(), row.cache.as_ref(), row.consume.as_ref()];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut titles: Vec<String> = Vec::new();
    for row in &rated {
        if !titles.contains(&title(row)) {
            titles.push(title(row));
        }
    }
    let mut out = String::new();
    for wanted in titles {
        out += &heading(&format!("RATES, GB/s · {wanted}"));
        out += &cells(["run", "payload", "mode", "kernels", "write", "read", "total", "of roof"]);
        let mut rows: Vec<&&Row> = rated.iter().filter(|row| title(row) == wanted).collect();
        rows.sort_by(|a, b| {
            (a.size_bytes, &a.size, &a.mode, a.load.is_some()).cmp(&(
                b.size_bytes,
                &b.size,
                &b.mode,
                b.load.is_some(),
            ))
        });
        for row in rows {
            let run = format!("{}{}", number(matrix, &row.label), mark(row.is_suspect()).trim());
            let (ok, of) = (row.frames_ok.unwrap_or(0), row.frames_total.unwrap_or(0));
            out += &cells([
                &run,
                &row.payload(),
                row.mode.as_deref().unwrap_or_default(),
                &row.kernels(),
                &optional(row.write_gb_per_s),
                &optional(row.read_gb_per_s),
                &optional(row.total_gb_per_s),
                &if at_asked_rate(row) { "asked".into() } else { percent(row.share_of_roof) },
            ]);
            if ok < of {
                out += &line(&format!("       {} of {} frames were not ok", grouped(of - ok), grouped(of)));
            }
        }
    }
    out
}

fn at_asked_rate(row: &Row) -> bool {
    row.due_fps.is_some() && row.share_of_roof.is_none()
}

fn cells(cells: [&str; 8]) -> String {
    let [run, size, mode, kernels, write, read, total, roof] = cells;
    let figures = format!("{write:>7} {read:>7} {total:>7} {roof:>7}");
    let way = format!("{run:<4} {size:<11} {mode:<7} {kernels:<KERNELS$}");
    named(&way, WAY, &format!(" {figures}"))
}

fn kernels(rates: &[KernelRate]) -> String {
    let mut out = String::new();
    for group in rates.chunk_by(|a, b| a.is_of_like_place(b) && a.side == b.side) {
        let [first, ..] = group else { continue };
        let what = if first.side == "host" { "HOST WRITES" } else { "GUEST READS" };
        out += &heading(&format!("KERNELS BY SIZE, GB/s · {what}, {}", first.place(rates)));
        for of_size in group.chunk_by(|a, b| a.size_bytes == b.size_bytes) {
            let [first, others @ ..] = of_size else { continue };
            let is_best = !others.is_empty() && !others.iter().any(|other| first.is_alike(other));
            let rates: Vec<String> = of_size.iter().map(rate).collect();
            let source = match first.mode.as_deref() {
                _ if first.source == "frames" => String::new(),
                Some(mode) if mode != "whole" => format!("trial copies, {mode}; "),
                _ => "trial copies; ".into(),
            };
            let name = format!("{}{}", payload(&first.size), mark(of_size.iter().any(|rate| rate.dirty)));
            let best = if is_best { "best " } else { "" };
            let text = format!("{best}{} ({source}{})", rates.join(", "), trials(of_size));
            out += &wrapped(&format!("  {name:<14}"), &text);
        }
    }
    out
}

/// A kernel's rate, with the range of its trials if there are several.
fn rate(of: &KernelRate) -> String {
    let figure = format!("{} {}", of.kernel, four_digits(of.gb_per_s));
    if of.trials < 2 {
        return figure;
    }
    format!("{figure} [{} to {}]", four_digits(of.low_gb_per_s), four_digits(of.high_gb_per_s))
}

fn loads(matrix: &Matrix) -> String {
    if matrix.loaded_rates.is_empty() && matrix.loaded_latencies.is_empty() {
        return String::new();
    }
    let mut out = heading("IDLE BESIDE LOADED");
    let row = |what: &str, load: &str, idle: &str, loaded: &str, ratio: &str| {
        named(what, 23, &format!(" {load:<20} {idle:>11} {loaded:>11} {ratio:>9}"))
    };
    out += &row("", "load", "idle", "loaded", "ratio");
    for pair in &matrix.loaded_latencies {
        let what = if pair.from_due { "from due" } else { "RTT" };
        let runs = format!("{} {}", number(matrix, &pair.idle_label), number(matrix, &pair.loaded_label));
        for (name, idle, loaded) in
            [("p50", pair.idle_p50_ns, pair.loaded_p50_ns), ("p99", pair.idle_p99_ns, pair.loaded_p99_ns)]
        {
            let ratio = idle.zip(loaded).filter(|(idle, _)| *idle > 0);
            let ratio = ratio.map(|(idle, loaded)| loaded as f64 / idle as f64);
            let name = format!("{what} {name}, {runs}{}", mark(pair.dirty));
            out += &row(&name, &pair.load, &time(idle), &time(loaded), &times(ratio));
        }
    }
    for pair in &matrix.loaded_rates {
        let runs = format!("{} {}", number(matrix, &pair.idle_label), number(matrix, &pair.loaded_label));
        let name = format!("{} {}, {runs}{}", payload(&pair.size), pair.way, mark(pair.dirty));
        let (idle, loaded) = (four_digits(pair.idle_gb_per_s), four_digits(pair.loaded_gb_per_s));
        out += &row(&name, &pair.load, &idle, &loaded, &times(Some(pair.loaded_over_idle)));
    }
    out
}
