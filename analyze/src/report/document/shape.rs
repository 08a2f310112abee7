//! How sure the figures are and how they behave over time: intervals, jitter, modes, outliers, drift.
//!
//! Taken from summary.json by name, so that a run without a figure has no row for it.

use serde_json::Value;

use super::{Block, Row, Section, Table, runs};
use crate::analysis::Analysis;
use crate::report::figures::{Cell, Figures};
use crate::report::text::NOT_AVAILABLE;

/// What intervals are of.
const ESTIMATES: [(&str, &str); 5] =
    [("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p99_9"), ("mean", "mean")];

/// Other figures.
const FIGURES: [(&str, &str); 13] = [
    ("jitter", "jitter_ns"),
    ("autocorrelation at lag 1", "autocorrelation.lag_1"),
    ("the same of sides of the median", "autocorrelation.lag_1_of_sides"),
    ("effective samples", "autocorrelation.effective_samples"),
    ("block length", "autocorrelation.block_length"),
    ("outliers", "outliers.count"),
    ("outliers are above", "outliers.threshold_ns"),
    ("clusters of outliers", "outliers.clusters"),
    ("period of outliers", "outliers.period_ns"),
    ("likely cause of outliers", "outliers.likely"),
    ("messages until warm", "warm_up.messages"),
    ("warm-up above the rest by", "warm_up.excess"),
    ("drift", "drift.percent"),
];

pub(super) fn section(analysis: &Analysis, figures: &Figures) -> Option<Section> {
    let shaped: Vec<Shaped> = runs(analysis)
        .map(|(key, analyzed)| Shaped { title: analyzed.title(), key: format!("{key}.shape") })
        .filter(|run| figures.get(&run.key).is_some())
        .collect();
    let tables = [intervals(&shaped, figures), behaviour(&shaped, figures)];
    let blocks: Vec<Block> = tables.into_iter().flatten().map(Block::Table).collect();
    let title = "How sure, and how steady".into();
    (!blocks.is_empty()).then_some(Section { id: "shape", title, blocks })
}

/// A run's name, and where its shape is.
struct Shaped {
    title: String,
    key: String,
}

fn intervals(runs: &[Shaped], figures: &Figures) -> Option<Table> {
    let ends = [("", "estimate_ns"), (", 95 % from", "low_ns"), (", to", "high_ns")];
    let columns = runs.iter().flat_map(|run| ends.map(|(end, _)| format!("{}{end}", run.title)));
    let rows = ESTIMATES.into_iter().filter_map(|(name, key)| {
        let keys =
            runs.iter().flat_map(|run| ends.map(|(_, end)| format!("{}.intervals.{key}.{end}", run.key)));
        row(name, keys, figures)
    });
    let rows: Vec<Row> = rows.collect();
    let caption = "Time to PROCESSED, with 95 % intervals by block bootstrap".into();
    (!rows.is_empty()).then(|| Table { caption, columns: headings(columns), rows })
}

fn behaviour(runs: &[Shaped], figures: &Figures) -> Option<Table> {
    let of_key =
        |name: &str, key: &str| row(name, runs.iter().map(|run| format!("{}.{key}", run.key)), figures);
    let most = runs.iter().map(|run| figures.count(&format!("{}.modes", run.key))).max().unwrap_or(0);
    let mut rows: Vec<Row> = Vec::new();
    // A single mode is where all of the samples are.
    for place in (0..most).filter(|_| most > 1) {
        rows.extend(of_key(&format!("mode {} at", place + 1), &format!("modes.{place}.at_ns")));
        rows.extend(of_key(&format!("share of mode {}", place + 1), &format!("modes.{place}.share")));
    }
    rows.extend(FIGURES.into_iter().filter_map(|(name, key)| of_key(name, key)));
    rows.extend(drifts(runs, figures));
    let columns = headings(runs.iter().map(|run| run.title.clone()));
    (!rows.is_empty()).then(|| Table { caption: "Behaviour of the samples".into(), columns, rows })
}

/// Whether the drift says anything.
fn drifts(runs: &[Shaped], figures: &Figures) -> Option<Row> {
    let verdict =
        |run: &Shaped| figures.get(&format!("{}.drift.significant", run.key)).and_then(Value::as_bool);
    let cell = |run: &Shaped| match verdict(run) {
        Some(true) => Cell::from("more than chance"),
        Some(false) => Cell::from("no more than chance"),
        None => Cell::from(NOT_AVAILABLE),
    };
    runs.iter()
        .any(|run| verdict(run).is_some())
        .then(|| Row { name: "the drift is".into(), cells: runs.iter().map(cell).collect() })
}

fn headings(columns: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(String::new()).chain(columns).collect()
}

/// A row, if there is any of its figures.
fn row(name: &str, keys: impl Iterator<Item = String>, figures: &Figures) -> Option<Row> {
    let cells: Vec<Cell> = keys.map(|key| figures.cell(&key)).collect();
    let is_known = cells.iter().any(|cell| cell.figure.is_some());
    is_known.then(|| Row { name: name.to_owned(), cells })
}
