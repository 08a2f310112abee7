//! The comparison as a forest of intervals.

use super::comparison::{Compared, Comparison};
use super::verdict::Verdict;
use super::{doubts, percent};
use crate::charts::Picture;
use crate::charts::forest::{self, ForestHeading, ForestRow, ForestVerdict};
use crate::report::text::plural;

/// Letters that fit across the picture.
const LINE: usize = 150;

/// Every figure's ratio with its interval; of one run a side with that of their messages, in the colour of no verdict.
#[must_use]
pub fn picture(comparison: &Comparison) -> Picture<'static> {
    forest::picture(heading(comparison), comparison.figures.iter().map(row).collect())
}

/// What is compared, how the intervals are made, and what to doubt.
pub(super) fn heading(comparison: &Comparison) -> ForestHeading {
    let [base, new] = [&comparison.base, &comparison.new].map(|side| plural(side.len() as u64, "run"));
    let interval = if comparison.is_one_a_side() {
        "Lines: what the messages of these two runs leave open, not what runs differ by".to_owned()
    } else {
        let level = comparison.figures.first().map_or(0.0, |figure| figure.interval.level);
        format!("Lines: {} intervals over runs", percent::shown(level.min(comparison.standard.level)))
    };
    let grave = comparison.differences.iter().filter(|difference| difference.matters);
    // A line of a picture; the report has all of it.
    let cut = |sentence: String| sentence.chars().take(LINE).collect::<String>();
    let despite = grave.map(|difference| cut(format!("Compared despite: {}", difference.sentence())));
    ForestHeading {
        title: format!("New over base: {new} over {base}"),
        facts: std::iter::once(interval).chain(despite).chain(doubtful(comparison).map(cut)).collect(),
        same_within: Some(comparison.standard.same_within).filter(|share| *share > 0.0),
    }
}

/// The names of the grave doubts, with how many runs each is of; the report explains them.
fn doubtful(comparison: &Comparison) -> Option<String> {
    let name = |known: &doubts::DoubtOfRuns<'_>| {
        let name = known.doubt.code().replace('_', " ").to_uppercase();
        format!("{name} ({} of base, {} of new)", known.base_runs, known.new_runs)
    };
    let names: Vec<String> = doubts::grave(comparison).iter().map(name).collect();
    (!names.is_empty()).then(|| format!("Runs to doubt: {}", names.join(", ")))
}

/// A figure with its verdict.
pub(super) fn row(figure: &Compared) -> ForestRow {
    let (low, high) =
        figure.shown_interval().map_or((f64::NAN, f64::NAN), |interval| (interval.low, interval.high));
    let verdict = match figure.judgement.verdict {
        Verdict::Faster => ForestVerdict::Faster,
        Verdict::Slower => ForestVerdict::Slower,
        Verdict::Same => ForestVerdict::Same,
        Verdict::CannotTell => ForestVerdict::CannotTell,
    };
    ForestRow { label: figure.label(), ratio: figure.ratio, low, high, verdict, allowed: None }
}
