//! The run a report is about beside its baseline.

use super::text::{heading, optional, times};
use crate::analysis::{Analysis, Analyzed};

/// Width of a figure's column.
const COLUMN: usize = 16;

/// The section; empty if the runs have nothing in common.
pub(super) fn section(analysis: &Analysis, baseline: &Analyzed) -> String {
    let ratios = &analysis.ratios;
    if ratios.is_empty() {
        return String::new();
    }
    let main = &analysis.main;
    let mut out = heading(&format!("{} OVER {}", main.title(), baseline.title()));
    let titles = [main.title(), baseline.title()];
    let fit = titles.iter().all(|title| title.chars().count() < COLUMN);
    let [main, baseline] = if fit { titles } else { [main, baseline].map(|a| a.short.to_owned()) };
    out += &row("", &main, &baseline, "ratio");
    for ratio in ratios {
        let (main, baseline) = (optional(ratio.main), optional(ratio.baseline));
        out += &row(&label(&ratio.name), &main, &baseline, &times(ratio.ratio));
    }
    out
}

/// `rtt_processed_p50_ns` as people say it.
fn label(name: &str) -> String {
    if let Some(frame) = name.strip_prefix("rate_").and_then(|rest| rest.strip_suffix("_mean_gb_per_s")) {
        return format!("{} mean rate, GB/s", frame.replace('_', " "));
    }
    match name {
        "rtt_processed_p50_ns" => "RTT to PROCESSED, p50, ns".into(),
        "rtt_processed_p99_ns" => "RTT to PROCESSED, p99, ns".into(),
        "rtt_received_p50_ns" => "RTT to RECEIVED, p50, ns".into(),
        "from_due_processed_p50_ns" => "due to PROCESSED, p50, ns".into(),
        "from_due_processed_p99_ns" => "due to PROCESSED, p99, ns".into(),
        "from_due_received_p50_ns" => "due to RECEIVED, p50, ns".into(),
        other => other.into(),
    }
}

fn row(name: &str, main: &str, baseline: &str, ratio: &str) -> String {
    format!("  {name:<30}{main:>COLUMN$}{baseline:>COLUMN$}{ratio:>14}\n")
}
