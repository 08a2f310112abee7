//! What became of the frames, how fast they went and where their time went, a row for each size and way.

use super::{Block, Section, Table, runs};
use crate::analysis::Analysis;
use crate::report::bandwidth::facts;
use crate::report::figures::Figures;
use crate::report::stream;
use crate::summary::BandwidthSummary;

/// A table's caption, its headings and the keys behind them, below a frame.
type Shape = (&'static str, &'static [(&'static str, &'static str)]);

const TABLES: [Shape; 4] = [
    (
        "Frames",
        &[
            ("bytes", "size_bytes"),
            ("sent", "sent"),
            ("ok", "ok"),
            ("failed", "failed"),
            ("lost", "lost"),
            ("success", "success_rate"),
            ("checked", "checked"),
        ],
    ),
    (
        "Rate, GB/s (1e9 bytes a second)",
        &[
            ("mean", "rate.mean_gb_per_s"),
            ("standard deviation", "rate.stddev_gb_per_s"),
            ("median", "rate.median_gb_per_s"),
            ("min", "rate.min_gb_per_s"),
            ("max", "rate.max_gb_per_s"),
            ("roof", "roof.total_gb_per_s"),
            ("of roof", "share_of_roof.total"),
        ],
    ),
    (
        "Median times",
        &[
            ("duration", "duration_median_ns"),
            ("write", "write_median_ns"),
            ("notify", "notify_median_ns"),
            ("read", "read_median_ns"),
            ("stall", "guest_stall_median_ns"),
            ("verify", "verify_median_ns"),
        ],
    ),
    (
        "Median copy rate, GB/s",
        &[
            ("write", "write_median_gb_per_s"),
            ("write roof", "roof.write_gb_per_s"),
            ("of roof", "share_of_roof.write"),
            ("read", "read_median_gb_per_s"),
            ("read roof", "roof.read_gb_per_s"),
            ("of roof", "share_of_roof.read"),
        ],
    ),
];

pub(super) fn section(analysis: &Analysis, figures: &Figures) -> Option<Section> {
    let mut blocks = Vec::new();
    for (key, analyzed) in runs(analysis) {
        let Some(summary) = &analyzed.summary.bandwidth else { continue };
        let title = analyzed.title();
        for (caption, columns) in TABLES {
            let table = table(&format!("{title}: {}", lowered(caption)), columns, &key, summary, figures);
            // All of it may be unknown, such as the copies of a file of the prototype's.
            blocks.extend((table.columns.len() > 1).then_some(Block::Table(table)));
        }
        blocks.push(Block::Facts(facts(summary, analyzed.run.bandwidth_plan())));
        for frame in &summary.frames {
            blocks.extend(stream::sentences(frame).map(Block::List));
        }
    }
    (!blocks.is_empty()).then(|| Section { id: "bandwidth", title: "Bandwidth".into(), blocks })
}

/// The caption behind a run's name; abbreviations keep their capitals.
fn lowered(caption: &str) -> String {
    let mut chars = caption.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn table(
    caption: &str,
    columns: &[(&str, &str)],
    run: &str,
    summary: &BandwidthSummary,
    figures: &Figures,
) -> Table {
    let titles: Vec<&str> =
        std::iter::once("payload").chain(columns.iter().map(|(title, _)| *title)).collect();
    let row = |(place, frame): (usize, &crate::summary::FrameSummary)| {
        let key = |(_, name): &(&str, &str)| format!("{run}.bandwidth.frames.{place}.{name}");
        (frame.label.clone(), columns.iter().map(key).collect())
    };
    let rows: Vec<_> = summary.frames.iter().enumerate().map(row).collect();
    Table::of_keys(caption, &titles, &rows, figures)
}
