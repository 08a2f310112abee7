//! What became of the messages, and how long they took.

use super::{Block, Row, Section, Table, runs};
use crate::analysis::{Analysis, Analyzed};
use crate::latency_summary::LatencySummary;
use crate::report::figures::Figures;
use crate::report::latency::facts;

/// Statistics of samples, by name and key.
const STATISTICS: [(&str, &str); 11] = [
    ("samples", "count"),
    ("min", "min_ns"),
    ("p50", "p50_ns"),
    ("p90", "p90_ns"),
    ("p95", "p95_ns"),
    ("p99", "p99_ns"),
    ("p99.9", "p99_9_ns"),
    ("p99.99", "p99_99_ns"),
    ("max", "max_ns"),
    ("mean", "mean_ns"),
    ("standard deviation", "stddev_ns"),
];

pub(super) fn section(analysis: &Analysis, figures: &Figures) -> Option<Section> {
    let measured: Vec<(String, &Analyzed, &LatencySummary)> = runs(analysis)
        .filter_map(|(key, analyzed)| Some((key, analyzed, analyzed.summary.latency.as_ref()?)))
        .collect();
    if measured.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Table(messages(&measured, figures))];
    let columns: Vec<(String, String)> =
        measured.iter().flat_map(|(key, analyzed, summary)| columns(key, analyzed, summary)).collect();
    if columns.is_empty() {
        blocks.push(Block::Note("No message was acknowledged: there is nothing to measure.".into()));
    } else {
        blocks.push(Block::Table(times(&columns, figures)));
    }
    for (_, analyzed, summary) in &measured {
        let all = facts(summary, analyzed.run.latency_plan());
        let name = |key: &str| {
            if measured.len() > 1 { format!("{key} ({})", analyzed.short) } else { key.to_owned() }
        };
        blocks.push(Block::Facts(all.into_iter().map(|(key, value)| (name(&key), value)).collect()));
    }
    Some(Section { id: "latency", title: "Latency".into(), blocks })
}

/// Messages by what became of them, a row for each run.
fn messages(measured: &[(String, &Analyzed, &LatencySummary)], figures: &Figures) -> Table {
    let rows = measured.iter().map(|(key, analyzed, _)| {
        let keys = ["sent", "ok", "failed", "lost"].map(|name| format!("{key}.latency.{name}"));
        (analyzed.title(), keys.into())
    });
    Table::of_keys("Messages", &["run", "sent", "ok", "failed", "lost"], &rows.collect::<Vec<_>>(), figures)
}

/// Heading and key of each distribution there is.
fn columns(key: &str, analyzed: &Analyzed, summary: &LatencySummary) -> Vec<(String, String)> {
    let title = analyzed.title();
    let (quantity, names) = if summary.is_open() {
        ("due", ["from_due_processed", "from_due_received", "send_delay"])
    } else {
        ("RTT", ["rtt_processed", "rtt_received", "send_delay"])
    };
    let there = [
        (summary.processed().is_some(), names[0], format!("{title}: {quantity} to PROCESSED")),
        (summary.received().is_some(), names[1], format!("{title}: {quantity} to RECEIVED")),
        (summary.send_delay.is_some(), names[2], format!("{title}: due to publication")),
        (
            summary.histogram.is_some(),
            "histogram",
            format!("{title}: {quantity} to PROCESSED, from a histogram"),
        ),
    ];
    let there = there.into_iter().filter(|(is_there, ..)| *is_there);
    there.map(|(_, name, title)| (title, format!("{key}.latency.{name}"))).collect()
}

/// A row for each statistic that any of the columns has.
fn times(columns: &[(String, String)], figures: &Figures) -> Table {
    let row = |(name, key): (&str, &str)| Row {
        name: name.to_owned(),
        cells: columns.iter().map(|(_, column)| figures.cell(&format!("{column}.{key}"))).collect(),
    };
    let header = std::iter::once(String::new()).chain(columns.iter().map(|(title, _)| title.clone()));
    Table {
        caption: "Times of ok messages; n/a: fewer than 10 samples beyond".into(),
        columns: header.collect(),
        rows: STATISTICS.into_iter().map(row).collect(),
    }
}
