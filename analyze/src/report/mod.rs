//! The report: what was measured, on what, and what to doubt, as text of 80 columns.

mod bandwidth;
mod comparison;
mod latency;
mod provenance;
pub mod text;

use crate::analysis::{Analysis, Analyzed};
use text::{WIDTH, heading, wrapped};

/// The whole report.
#[must_use]
pub fn render(analysis: &Analysis) -> String {
    let rule = "=".repeat(WIDTH);
    let mut out = format!("{rule}\nIVSHMEM PERFORMANCE REPORT\n{rule}\n");
    out += &about("Run", &analysis.main);
    if let Some(baseline) = &analysis.baseline {
        out += &about("Baseline", baseline);
    }
    for analyzed in analysis.runs() {
        out += &doubts(analyzed, analysis.baseline.is_some());
    }
    if let Some(baseline) = &analysis.baseline {
        out += &comparison::section(&analysis.ratios, &analysis.main.title(), &baseline.title());
    }
    for analyzed in analysis.runs() {
        if let Some(summary) = &analyzed.summary.latency {
            out += &latency::section(&analyzed.title(), summary);
        }
    }
    for analyzed in analysis.runs() {
        if let Some(summary) = &analyzed.summary.bandwidth {
            out += &bandwidth::section(&analyzed.title(), summary);
        }
    }
    for analyzed in analysis.runs() {
        out += &provenance::section(&analyzed.title(), analyzed.run.provenance.as_ref().map(|p| &p.run));
    }
    out += &heading("HOW TO READ THIS");
    out += &notes();
    out
}

fn about(key: &str, analyzed: &Analyzed) -> String {
    text::entry(key, &format!("{}: {}", analyzed.title(), analyzed.summary.directory))
}

fn doubts(analyzed: &Analyzed, name_the_run: bool) -> String {
    let name = if name_the_run { format!("{}: ", analyzed.title()) } else { String::new() };
    let lines: String =
        analyzed.doubts.iter().map(|doubt| wrapped("  ! ", &format!("{name}{doubt}"))).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn notes() -> String {
    [
        "RTT is the round trip on the host's clock: message published, to RECEIVED (the guest saw it) or to PROCESSED \
         (it has all the bytes). Times, rates and percentiles are over ok rows; failed and lost ones are counted \
         beside them. No sample is trimmed.",
        "A percentile is the nearest rank: of n samples in ascending order, p is the ceil(p / 100 × n)-th. One with \
         fewer than 10 samples beyond it is n/a. The standard deviation has n - 1.",
        "GB/s is 1e9 bytes a second, computed as test_size_bytes / duration_ns, each payload byte counted once. The \
         bandwidth_gbps column of the CSV is GiB/s (2^30) of the same. The duration is write + notify + read; \
         verification comes after it and is in no rate.",
    ]
    .map(|note| wrapped("  - ", note))
    .concat()
}
