//! One or two sentences on what happened, and one on whether it can be believed.

use super::concern;
use super::text::{duration, four_digits, grouped, percent, plural, time};
use crate::analysis::{Analysis, Analyzed};
use crate::doorbell::Cell;
use crate::doubt::Severity;
use crate::latency_summary::LatencySummary;

/// The sentences, and the gravest of the doubts behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was measured and what came of it.
    pub happened: String,
    /// Whether that can be believed, and why not.
    pub belief: String,
    /// The gravest doubt; `None` without any.
    pub gravest: Option<Severity>,
}

impl Verdict {
    /// Of `analysis`.
    #[must_use]
    pub fn of(analysis: &Analysis) -> Self {
        let sentences = [latency(analysis), bandwidth(&analysis.main), doorbells(analysis)];
        let happened: Vec<String> = sentences.into_iter().flatten().collect();
        let happened = if happened.is_empty() { "Nothing was measured.".into() } else { happened.join(" ") };
        let severities: Vec<Severity> = concern::all(analysis).iter().map(|each| each.severity).collect();
        Self { happened, belief: belief(&severities), gravest: severities.into_iter().min() }
    }
}

fn latency(analysis: &Analysis) -> Option<String> {
    let main = &analysis.main;
    let summary = main.summary.latency.as_ref()?;
    if summary.ok == 0 {
        return Some(format!("{}: no message of {} was acknowledged.", main.title(), grouped(summary.sent)));
    }
    let what = if summary.is_open() { "from due time to PROCESSED" } else { "round trip to PROCESSED" };
    let p50 = summary.p50_ns().map(|ns| format!("half within {}", duration(ns as f64)));
    let p99 = summary.p99_ns().map(|ns| format!("99 of 100 within {}", duration(ns as f64)));
    let times: Vec<String> = p50.into_iter().chain(p99).collect();
    let times = if times.is_empty() { "too few for percentiles".to_owned() } else { times.join(", ") };
    let beside = beside_baseline(analysis).unwrap_or_default();
    let messages = plural(summary.ok, "message");
    Some(format!("{}: {messages}, {what}: {times}{beside}.", main.title()))
}

/// The median beside that of the baseline, if both count alike.
fn beside_baseline(analysis: &Analysis) -> Option<String> {
    let baseline = analysis.baseline.as_ref()?;
    let of = |analyzed: &Analyzed| analyzed.summary.latency.as_ref().map(LatencySummary::is_open);
    let ratio = analysis.ratios.iter().find(|ratio| ratio.name.ends_with("_processed_p50_ns"))?.ratio?;
    (of(&analysis.main) == of(baseline))
        .then(|| format!("; the median is {} times that of {}", four_digits(ratio), baseline.title()))
}

/// The largest frames that went at a rate of their own.
fn bandwidth(main: &Analyzed) -> Option<String> {
    let frames = &main.summary.bandwidth.as_ref()?.frames;
    let Some((frame, rate)) =
        frames.iter().filter_map(|f| Some((f, f.rate?))).max_by_key(|(frame, _)| frame.size_bytes)
    else {
        return Some("No frame arrived.".into());
    };
    let rate = four_digits(rate.median_gb_per_s);
    let share = frame.share_of_roof.and_then(|share| share.total);
    let share = share
        .map_or_else(String::new, |share| format!(", {} of what plain copies reach", percent(Some(share))));
    Some(format!("{}: {} at {rate} GB/s{share}.", frame.label, plural(frame.ok, "transfer")))
}

/// The quickest way to wait through a guest at each rate, on an idle machine if there is one.
fn doorbells(analysis: &Analysis) -> Option<String> {
    let cells = &analysis.doorbells.as_ref()?.cells;
    let timed = |cell: &&Cell| cell.p50_ns().is_some();
    let is_of_interest = |cell: &&Cell| timed(cell) && !cell.is_floor();
    let load = cells.iter().filter(is_of_interest).map(|cell| &cell.load).min_by_key(|load| *load != "idle");
    let at_one_rate = |group: &[Cell]| {
        let compared: Vec<&Cell> =
            group.iter().filter(is_of_interest).filter(|cell| Some(&cell.load) == load).collect();
        let quickest = compared.iter().min_by_key(|cell| cell.p50_ns())?;
        let of =
            if compared.len() > 1 { format!(", the quickest of {}", compared.len()) } else { String::new() };
        Some(format!("{} {} at p50 by {}{of}", quickest.rate(), time(quickest.p50_ns()), quickest.name()))
    };
    let rates: Vec<String> = cells.chunk_by(Cell::is_beside).filter_map(at_one_rate).collect();
    let floor = || cells.iter().find(timed).map(|cell| format!("{} {}", cell.name(), time(cell.p50_ns())));
    Some(match (load, rates.is_empty()) {
        (Some(load), false) => format!("Doorbells, {load}: {}.", rates.join("; ")),
        _ => floor().map_or("Doorbells: too few messages for a median.".into(), |floor| {
            format!("Doorbells, between two processes of the host: {floor} at p50.")
        }),
    })
}

fn belief(severities: &[Severity]) -> String {
    let count = |severity| severities.iter().filter(|each| **each == severity).count() as u64;
    match severities.iter().min() {
        Some(Severity::Alarm) => {
            format!("Do not rely on these figures: {} below.", plural(count(Severity::Alarm), "alarm"))
        }
        Some(Severity::Warning) => {
            format!("Believe it with care: {} below.", plural(count(Severity::Warning), "warning"))
        }
        Some(Severity::Note) => "Nothing speaks against these figures but what is noted below.".into(),
        None => "Nothing that was looked for speaks against these figures.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_reason_decides() {
        use Severity::{Alarm, Note, Warning};
        assert_eq!(belief(&[Note, Alarm, Warning]), "Do not rely on these figures: 1 alarm below.");
        assert_eq!(belief(&[Warning, Note, Warning]), "Believe it with care: 2 warnings below.");
        assert!(belief(&[Note]).contains("noted below") && !belief(&[]).contains("below"));
    }
}
