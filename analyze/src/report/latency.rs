//! The latency section: what became of the messages, then the round trips in two columns.

use super::text::{NOT_AVAILABLE, entry, four_digits, grouped, heading};
use crate::summary::{Distribution, LatencySummary};

/// The section for one run.
pub(super) fn section(title: &str, summary: &LatencySummary) -> String {
    let mut out = heading(&format!("LATENCY · {title}"));
    out += &entry("Messages", &outcome(summary));
    for (status, count) in &summary.failed_by_status {
        out += &entry("Failed as", &format!("{status}: {}", grouped(*count)));
    }
    let Some(processed) = &summary.rtt_processed else {
        return out + "  No message was acknowledged: there is nothing to measure.\n";
    };
    out.push('\n');
    out += &table(processed, summary.rtt_received.as_ref());
    if let Some(half) = &summary.half_rtt_estimate {
        let p50 = half.p50_ns.map_or_else(|| NOT_AVAILABLE.into(), |ns| format!("{} ns", four_digits(ns)));
        out.push('\n');
        out += &entry(
            "Half RTT",
            &format!("mean {} ns, p50 {p50} (estimate: assumes symmetry)", four_digits(half.mean_ns)),
        );
    }
    out
}

fn outcome(summary: &LatencySummary) -> String {
    let share = summary.ok as f64 * 100.0 / summary.sent as f64;
    format!(
        "{} sent, {} ok ({share:.3} %), {} failed, {} lost",
        grouped(summary.sent),
        grouped(summary.ok),
        grouped(summary.failed),
        grouped(summary.lost)
    )
}

fn table(processed: &Distribution, received: Option<&Distribution>) -> String {
    let mut out = row("RTT, ns", "to PROCESSED", received.map(|_| "to RECEIVED"));
    let mut add = |name: &str, of: &dyn Fn(&Distribution) -> Option<String>| {
        let cell = |d| of(d).unwrap_or_else(|| NOT_AVAILABLE.into());
        out += &row(name, &cell(processed), received.map(cell).as_deref());
    };
    add("samples", &|d| Some(grouped(d.count)));
    add("min", &|d| Some(grouped(d.min_ns)));
    add("max", &|d| Some(grouped(d.max_ns)));
    add("mean", &|d| Some(four_digits(d.mean_ns)));
    add("stddev", &|d| d.stddev_ns.map(four_digits));
    for (index, (name, _)) in processed.percentiles().iter().enumerate() {
        add(name, &|d| d.percentiles()[index].1.map(grouped));
    }
    out
}

fn row(name: &str, processed: &str, received: Option<&str>) -> String {
    let line = format!("  {name:<14}{processed:>28}{:>28}", received.unwrap_or_default());
    format!("{}\n", line.trim_end())
}
