//! The VM beside the native baseline.

use super::text::{NOT_AVAILABLE, four_digits, heading};
use crate::compare::Ratio;

/// The section; empty if the runs have nothing in common.
pub(super) fn section(ratios: &[Ratio], main: &str, baseline: &str) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let mut out = heading(&format!("{main} OVER {baseline}"));
    out += &row("", main, baseline, "ratio");
    for ratio in ratios {
        let figure = |value: Option<f64>| value.map_or_else(|| NOT_AVAILABLE.into(), four_digits);
        let times =
            ratio.vm_over_native.map_or_else(|| NOT_AVAILABLE.into(), |r| format!("{} ×", four_digits(r)));
        out += &row(&label(&ratio.name), &figure(ratio.vm), &figure(ratio.native), &times);
    }
    out
}

/// `rtt_processed_p50_ns` as people say it.
fn label(name: &str) -> String {
    if let Some(frame) = name.strip_prefix("rate_").and_then(|rest| rest.strip_suffix("_mean_gb_per_s")) {
        return format!("{frame} mean rate, GB/s");
    }
    match name {
        "rtt_processed_p50_ns" => "RTT to PROCESSED, p50, ns".into(),
        "rtt_processed_p99_ns" => "RTT to PROCESSED, p99, ns".into(),
        "rtt_received_p50_ns" => "RTT to RECEIVED, p50, ns".into(),
        other => other.into(),
    }
}

fn row(name: &str, main: &str, baseline: &str, ratio: &str) -> String {
    format!("  {name:<30}{main:>16}{baseline:>16}{ratio:>14}\n")
}
