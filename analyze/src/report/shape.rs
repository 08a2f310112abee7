//! What a run's samples say together: intervals, always; whatever else only where there is something to tell.

use super::text::{duration, entry, four_digits, grouped, heading, plural};
use crate::latency_summary::LatencySummary;
use crate::stats::bootstrap::Interval;
use crate::stats::outliers::Outliers;
use crate::stats::shape::{Autocorrelation, Shape};

/// Neighbours are said to depend on each other from this autocorrelation on, or where the samples are worth less than this
/// share of their number.
const NOTABLE_CORRELATION: f64 = 0.1;
const NOTABLE_WORTH: f64 = 0.8;

/// The section for one run; empty where there are too few samples for an interval.
pub(super) fn section(title: &str, summary: &LatencySummary, shape: &Shape) -> String {
    let intervals = intervals(summary, shape);
    if intervals.is_empty() {
        return intervals;
    }
    let lines = [
        shape.jitter_ns.map(|ns| {
            ("Jitter", format!("{} ns on average between a message and the next", four_digits(ns)))
        }),
        shape
            .autocorrelation
            .as_ref()
            .and_then(|dependence| Some(("Dependence", dependence_in_words(dependence)?))),
        shape.is_multimodal().then(|| ("Modes", modes(shape))),
        shape.outliers.as_ref().filter(|found| found.count > 0).map(|found| ("Outliers", outliers(found))),
        warm_up(shape).map(|words| ("Warm-up", words)),
        drift(shape).map(|words| ("Drift", words)),
    ];
    let lines: String = lines.iter().flatten().map(|(key, value)| entry(key, value)).collect();
    heading(&format!("SHAPE · {title}")) + &intervals + "\n" + &lines
}

fn intervals(summary: &LatencySummary, shape: &Shape) -> String {
    let quantity = if summary.is_open() { "from due" } else { "RTT" };
    let row = |name: &str, estimate: &str, low: &str, high: &str| {
        format!("  {name:<26}{estimate:>16}{low:>18}{high:>18}\n")
    };
    let figure = |name: &str, ns: f64| if name == "mean" { four_digits(ns) } else { grouped(ns as u64) };
    let of = |(name, interval): (String, Interval)| {
        let [estimate, low, high] =
            [interval.estimate_ns, interval.low_ns, interval.high_ns].map(|ns| figure(&name, ns));
        row(&name, &estimate, &low, &high)
    };
    let rows: String = shape.intervals.named().map(of).collect();
    if rows.is_empty() {
        return rows;
    }
    row(&format!("{quantity} to PROCESSED, ns"), "of this run", "95 % from", "to") + &rows
}

fn dependence_in_words(dependence: &Autocorrelation) -> Option<String> {
    let of_sides = dependence.lag_1_of_sides.unwrap_or(0.0);
    let correlation = dependence.lag_1.abs().max(of_sides.abs());
    let worth = dependence.effective_samples / dependence.samples as f64;
    if correlation < NOTABLE_CORRELATION && worth > NOTABLE_WORTH {
        return None;
    }
    let limit = if dependence.block_length_is_at_limit { ", the longest that fit" } else { "" };
    Some(format!(
        "a message and the next correlate by {:.2} (by {of_sides:.2} in which side of the median they are on); the mean is \
         as sure as of {} independent messages; intervals from blocks of {}{limit}",
        dependence.lag_1,
        grouped(dependence.effective_samples.round() as u64),
        grouped(dependence.block_length)
    ))
}

fn modes(shape: &Shape) -> String {
    let mode = |mode: &crate::stats::modes::Mode| {
        format!("{} ({:.1} %)", duration(mode.at_ns.round()), mode.share * 100.0)
    };
    let all: Vec<_> = shape.modes.iter().map(mode).collect();
    format!("{}: {}; mean and percentiles mix them", all.len(), all.join(", "))
}

fn outliers(found: &Outliers) -> String {
    let clusters = if found.clusters < found.count {
        format!(" in {}", plural(found.clusters, "cluster"))
    } else {
        String::new()
    };
    let period = match (found.period_ns, &found.likely, found.time_base) {
        (Some(period), Some(likely), Some(base)) => {
            format!(", most of them {} apart: likely a {likely} (time: {})", duration(period), base.words())
        }
        (Some(period), _, Some(base)) => {
            format!(", most of them {} apart (time: {})", duration(period), base.words())
        }
        _ => String::new(),
    };
    format!("{} above {}{clusters}{period}", grouped(found.count), duration(found.threshold_ns.round()))
}

fn warm_up(shape: &Shape) -> Option<String> {
    let warm_up = shape.warm_up?;
    Some(format!(
        "the first {}, {:+.0} % against the rest",
        plural(warm_up.messages, "message"),
        warm_up.excess * 100.0
    ))
}

/// Of less than a percent nobody wants to hear.
fn drift(shape: &Shape) -> Option<String> {
    let drift = shape.drift.filter(|drift| drift.significant && drift.percent.abs() >= 1.0)?;
    Some(format!("{:+.1} % from beginning to end, more than chance would", drift.percent))
}
