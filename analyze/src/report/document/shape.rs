//! How sure the figures are and how they behave over time: intervals, jitter, modes, outliers, drift.
//!
//! Taken from summary.json by name, so that a run without a figure has no row for it.

use serde_json::Value;

use super::{Block, Row, Section, Table, runs};
use crate::analysis::Analysis;
use crate::report::figures::{Cell, Figures};

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
    let mut blocks = Vec::new();
    for (key, analyzed) in runs(analysis) {
        let shape = format!("{key}.shape");
        if figures.get(&shape).is_none() {
            continue;
        }
        let title = analyzed.title();
        blocks.extend(intervals(&title, &shape, figures).map(Block::Table));
        blocks.extend(behaviour(&title, &shape, figures).map(Block::Table));
    }
    let title = "How sure, and how steady".into();
    (!blocks.is_empty()).then_some(Section { id: "shape", title, blocks })
}

fn intervals(title: &str, shape: &str, figures: &Figures) -> Option<Table> {
    let known = |(_, key): &(&str, &str)| figures.get(&format!("{shape}.intervals.{key}")).is_some();
    let row = |(name, key): (&str, &str)| {
        let keys = ["estimate_ns", "low_ns", "high_ns"].map(|end| format!("{shape}.intervals.{key}.{end}"));
        (name.to_owned(), keys.into())
    };
    let rows: Vec<(String, Vec<String>)> = ESTIMATES.into_iter().filter(known).map(row).collect();
    let caption = format!("{title}: 95 % intervals by block bootstrap");
    (!rows.is_empty()).then(|| Table::of_keys(&caption, &["", "estimate", "low", "high"], rows, figures))
}

fn behaviour(title: &str, shape: &str, figures: &Figures) -> Option<Table> {
    let mut rows: Vec<Row> = Vec::new();
    for place in 0..figures.count(&format!("{shape}.modes")) {
        let cell = |end: &str| figures.cell(&format!("{shape}.modes.{place}.{end}"));
        rows.push(Row { name: format!("mode {} at", place + 1), cells: vec![cell("at_ns")] });
        rows.push(Row { name: format!("share of mode {}", place + 1), cells: vec![cell("share")] });
    }
    for (name, key) in FIGURES {
        let key = format!("{shape}.{key}");
        if figures.get(&key).is_some() {
            rows.push(Row { name: name.to_owned(), cells: vec![figures.cell(&key)] });
        }
    }
    if let Some(significant) = figures.get(&format!("{shape}.drift.significant")).and_then(Value::as_bool) {
        let text = if significant { "more than chance" } else { "no more than chance" };
        rows.push(Row { name: "the drift is".into(), cells: vec![Cell::from(text)] });
    }
    let columns = vec![String::new(), "figure".to_owned()];
    (!rows.is_empty()).then(|| Table { caption: format!("{title}: behaviour"), columns, rows })
}
