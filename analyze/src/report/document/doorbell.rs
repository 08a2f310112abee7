//! Ways to wait side by side, by load and rate.

use super::{Block, Section, Table};
use crate::analysis::Analysis;
use crate::report::doorbell::sources;
use crate::report::figures::Figures;

/// Captions, headings and the keys behind them, below a cell.
const TABLES: [(&str, &[(&str, &str)]); 3] = [
    (
        "Round trip to PROCESSED",
        &[
            ("p50", "rtt.p50_ns"),
            ("p90", "rtt.p90_ns"),
            ("p99", "rtt.p99_ns"),
            ("p99.9", "rtt.p99_9_ns"),
            ("max", "rtt.max_ns"),
            ("p50 over the native floor", "rtt_p50_over_native_floor"),
        ],
    ),
    (
        "Messages, and waking up (medians)",
        &[
            ("messages", "messages"),
            ("ok", "ok"),
            ("lost", "lost"),
            ("RECEIVED seen", "received_p50_ns"),
            ("guest awake", "guest_wake_p50_ns"),
            ("then host", "host_wake_p50_ns"),
            ("each of both ±", "oneway_bound_ns"),
        ],
    ),
    (
        "CPU time a message, and bells in all",
        &[
            ("host CPU", "host_cpu_ns_per_message"),
            ("vCPU", "vcpu_cpu_ns_per_message"),
            ("to guest", "rings_to_guest"),
            ("interrupts", "interrupts"),
            ("coalesced", "coalesced"),
            ("to host", "rings_to_host"),
            ("missed", "missed"),
        ],
    ),
];

pub(super) fn section(analysis: &Analysis, figures: &Figures) -> Option<Section> {
    let doorbells = analysis.doorbells.as_ref()?;
    let mut blocks = vec![Block::Facts(sources(doorbells))];
    for (caption, columns) in TABLES {
        let rows = doorbells.cells.iter().enumerate().map(|(place, cell)| {
            let name = format!("{}, {}: {}", cell.load, cell.rate(), cell.name());
            (name, columns.iter().map(|(_, key)| format!("doorbells.{place}.{key}")).collect())
        });
        let titles: Vec<&str> = std::iter::once("").chain(columns.iter().map(|(title, _)| *title)).collect();
        blocks.push(Block::Table(Table::of_keys(caption, &titles, &rows.collect::<Vec<_>>(), figures)));
    }
    if !doorbells.findings.is_empty() {
        blocks.push(Block::List(doorbells.findings.clone()));
    }
    let title = "Doorbells: being told (interrupts) against looking (polling)".into();
    Some(Section { id: "doorbells", title, blocks })
}
