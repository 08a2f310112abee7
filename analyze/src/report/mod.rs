//! The report: what was measured, on what, and what to doubt, as text of 80 columns, as Markdown and as CSV; what HTML is made of.

mod bandwidth;
mod comparison;
pub mod concern;
pub mod csv;
pub mod document;
mod doorbell;
pub mod figures;
pub mod format;
pub mod forms;
mod histogram;
mod latency;
pub mod markdown;
pub mod provenance;
mod shape;
mod stream;
pub mod terminal;
pub mod text;
pub mod verdict;

use crate::analysis::{Analysis, Analyzed};
use crate::doubt::{Doubt, Severity};
use crate::input::Setup;
use crate::latency_summary::LatencySummary;
use concern::Concern;
use text::{WIDTH, heading, plural, wrapped};
use verdict::Verdict;

/// The whole report.
#[must_use]
pub fn render(analysis: &Analysis) -> String {
    let rule = "=".repeat(WIDTH);
    let mut out = format!("{rule}\nIVSHMEM PERFORMANCE REPORT\n{rule}\n");
    let verdict = Verdict::of(analysis);
    out += &wrapped("  ", &verdict.happened);
    out += &wrapped("  ", &verdict.belief);
    out.push('\n');
    for analyzed in analysis.runs() {
        out += &alarms(analyzed, analysis.baseline.is_some());
    }
    out += &about("Run", &analysis.main, first_of(analysis).as_deref());
    if let Some(baseline) = &analysis.baseline {
        out += &about("Baseline", baseline, None);
    }
    out += &doubts(analysis);
    if let Some(baseline) = &analysis.baseline {
        out += &comparison::section(analysis, baseline);
    }
    for analyzed in analysis.runs() {
        if let Some(summary) = &analyzed.summary.latency {
            out += &latency::section(&analyzed.title(), summary, analyzed.run.latency_plan());
            out += &histogram::section(analyzed);
            out += &analyzed
                .shape
                .as_ref()
                .map_or_else(String::new, |s| shape::section(&analyzed.title(), summary, s));
        }
    }
    if let Some(doorbells) = &analysis.doorbells {
        out += &doorbell::section(doorbells);
    }
    for analyzed in analysis.runs() {
        if let Some(summary) = &analyzed.summary.bandwidth {
            out += &bandwidth::section(&analyzed.title(), summary, analyzed.run.bandwidth_plan());
        }
    }
    for analyzed in analysis.runs() {
        out += &provenance::section(&analyzed.title(), analyzed.run.provenance.as_ref().map(|p| &p.run));
    }
    out += &heading("HOW TO READ THIS");
    out += &notes(analysis).into_iter().map(|note| wrapped("  - ", note)).collect::<String>();
    out
}

fn about(key: &str, analyzed: &Analyzed, more: Option<&str>) -> String {
    let more = more.unwrap_or_default();
    text::entry(key, &format!("{}: {}{more}", analyzed.title(), analyzed.summary.directory))
}

/// That the run is but the first of several whose doorbell files are the whole report.
#[must_use]
pub fn first_of(analysis: &Analysis) -> Option<String> {
    let summary = &analysis.main.summary;
    let files = analysis.doorbells.as_ref().map_or(0, |doorbells| doorbells.sources.len());
    let is_all = summary.latency.is_none() && summary.bandwidth.is_none();
    (is_all && files > 1)
        .then(|| format!(", the first of {files} doorbell files, which DOORBELLS names with their runs"))
}

/// What makes the figures worthless, above everything else; the doubts below it say more.
fn alarms(analyzed: &Analyzed, name_the_run: bool) -> String {
    let name = if name_the_run { format!("{}: ", analyzed.title()) } else { String::new() };
    let alarm = |doubt: &Doubt| match doubt {
        Doubt::PeerViolations(all) => Some(format!(
            "{name}THE GUEST BROKE THE PROTOCOL ({}): trust nothing below",
            plural(all.len() as u64, "way")
        )),
        Doubt::WrongBytes(count) => Some(format!(
            "{name}WRONG BYTES IN {}: what arrived is not what was sent",
            plural(*count, "frame").to_uppercase()
        )),
        Doubt::RoofExceeded(all) => Some(format!(
            "{name}{} ABOVE THE ROOF, more than this machine can copy: an error of the tool",
            plural(all.len() as u64, "figure").to_uppercase()
        )),
        _ => None,
    };
    analyzed.doubts.iter().filter_map(alarm).map(|text| wrapped("  !! ", &text)).collect()
}

fn doubts(analysis: &Analysis) -> String {
    let line = |concern: &Concern| {
        let mark = if concern.severity == Severity::Note { "  - " } else { "  ! " };
        wrapped(mark, &format!("{} {}", concern.text, concern.advice))
    };
    let lines: String = concern::all(analysis).iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// Explanations of what is there: each names what it is about, so that none describes figures the report has not.
#[must_use]
pub fn notes(analysis: &Analysis) -> Vec<&'static str> {
    let latencies = || analysis.runs().filter_map(|a| a.summary.latency.as_ref());
    let frames = || analysis.runs().filter_map(|a| a.summary.bandwidth.as_ref()).flat_map(|b| &b.frames);
    let any = |of: fn(&Setup) -> bool| frames().any(|frame| of(&frame.setup));
    let mut notes = Vec::new();
    if latencies().any(|latency| !latency.is_open()) {
        notes.push(
            "RTT is the round trip on the host's clock: message published, to RECEIVED (the guest saw it) or to \
             PROCESSED (it has all the bytes).",
        );
    }
    if latencies().any(LatencySummary::is_open) {
        notes.push(
            "Latency from the due time counts from the moment a message was due, sent in time or not: a writer that \
             falls behind its schedule makes every later message slower, as it would for a user.",
        );
    }
    notes.push(
        "Times, rates and percentiles are over ok rows; failed and lost ones are counted beside them. No sample is \
         trimmed. The standard deviation has n - 1.",
    );
    if latencies().next().is_some() || analysis.doorbells.is_some() {
        notes.push(
            "A percentile is the nearest rank: of n samples in ascending order, p is the ceil(p / 100 × n)-th. One \
             with fewer than 10 samples beyond it is n/a.",
        );
    }
    if analysis.runs().filter_map(|a| a.shape.as_ref()).any(|shape| shape.intervals.named().next().is_some())
    {
        notes.push(
            "An interval holds the true figure of 19 runs in 20, as far as this one run can tell (block bootstrap): \
             another run may differ by more. docs/analysis.md explains every statistic.",
        );
    }
    if frames().next().is_some() {
        notes.push(
            "GB/s is 1e9 bytes a second, each payload byte counted once. The bandwidth_gbps column of the CSV is GiB/s \
             (2^30) of test_size_bytes / duration_ns. Verification comes after the duration and is in no rate. A median \
             rate is the rate of the median time: of two times in the middle, of the shorter one.",
        );
    }
    if any(|setup| !setup.overlaps()) {
        notes.push(
            "A whole frame's rate is test_size_bytes / duration_ns. Its duration is write + notify + read; where both \
             directions go at once, it contains waiting for the other one, too.",
        );
    }
    if any(|setup| setup.overlaps() && !setup.is_stream()) {
        notes.push(
            "A chunked frame's rate is test_size_bytes / duration_ns. The receiver reads what is published while the \
             sender still writes: the duration is less than write + read.",
        );
    }
    if any(Setup::is_stream) {
        notes.push(
            "A stream's rate is test_size_bytes over the time from the end of one frame to the end of the next. The \
             duration of a frame runs from its first byte written to PROCESSED and contains its wait behind the frames \
             before it, so it says nothing of the rate; write and read are of the same frame and overlap with others'.",
        );
    }
    if analysis.doorbells.is_some() {
        notes.extend(doorbell::NOTES);
    }
    notes
}
