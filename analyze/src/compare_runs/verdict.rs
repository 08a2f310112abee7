//! What may be said of a figure, and why.

use serde::Serialize;

use super::one_run::Unit;
use super::percent;
use crate::report::text::four_digits;
use crate::stats::ratio::{Ratio, least_runs, runs_needed};

/// Runs a side to begin with, where nothing is known of how runs differ: with so many, a change of 1.3 times what runs
/// differ by is found in four of five attempts.
pub(crate) const RUNS_TO_BEGIN_WITH: u64 = 10;

/// More runs than this nobody makes.
const MANY_RUNS: f64 = 1_000.0;

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better, by more than is called the same.
    Faster,
    /// Worse.
    Slower,
    /// Any difference there may be is too small to matter.
    Same,
    /// The runs do not show which of these it is.
    CannotTell,
}

/// A verdict and its reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// What may be said.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
    /// Runs a side that would tell; `None` where more than a thousand would be needed, or where it is told.
    pub runs_needed: Option<u64>,
}

/// What is asked of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Standard {
    /// Of all intervals: 0 to 1.
    pub level: f64,
    /// Differences up to this share are none.
    pub same_within: f64,
}

impl Verdict {
    /// In a table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "same",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// Judges a figure of `runs` (base, new), which differ by `spread` (a standard deviation of logarithms) within sides.
#[must_use]
pub(crate) fn judge(
    ratio: &Ratio,
    unit: Unit,
    runs: (usize, usize),
    spread: Option<f64>,
    standard: Standard,
) -> Judgement {
    let (low, high) = (ratio.interval.low, ratio.interval.high);
    let whole = format!(
        "the whole {} interval, {} to {},",
        percent::shown(standard.level),
        four_digits(low),
        four_digits(high)
    );
    let told = |verdict, reason: String| Judgement { verdict, reason, runs_needed: None };
    if ratio.interval.level < standard.level - 1e-9 {
        return too_few(ratio, runs, spread, standard);
    }
    let same = percent::shown(standard.same_within);
    if low >= 1.0 - standard.same_within && high <= 1.0 + standard.same_within {
        return told(Verdict::Same, format!("{whole} lies within {same} of 1"));
    }
    let (above, below) = match unit {
        Unit::Ns => (Verdict::Slower, Verdict::Faster),
        Unit::GbPerS => (Verdict::Faster, Verdict::Slower),
    };
    if low > 1.0 {
        return told(above, format!("{whole} lies above 1"));
    }
    if high < 1.0 {
        return told(below, format!("{whole} lies below 1"));
    }
    let needed = needed(ratio, runs, spread, standard);
    let interval = format!("{} to {}", four_digits(low), four_digits(high));
    let reason = format!(
        "the {} interval, {interval}, holds 1 and differences of more than {same}, too; you need {}",
        percent::shown(standard.level),
        runs_in_words(needed)
    );
    Judgement { verdict: Verdict::CannotTell, reason, runs_needed: needed }
}

/// Where no order of so few runs is rare enough for the level.
fn too_few(ratio: &Ratio, runs: (usize, usize), spread: Option<f64>, standard: Standard) -> Judgement {
    let level = percent::shown(standard.level);
    let (reason, runs_needed) = match (runs, spread) {
        ((1, 1), _) | (_, None) => (
            format!(
                "one run a side cannot show what runs of the same thing differ by; you need {RUNS_TO_BEGIN_WITH} runs a \
                 side to begin with"
            ),
            Some(RUNS_TO_BEGIN_WITH),
        ),
        ((base, new), spread) => {
            let needed = needed(ratio, runs, spread, standard);
            let reached = percent::shown(ratio.interval.level);
            let reason = format!(
                "no interval of {base} and {new} runs holds the truth in more than {reached} of all cases, and {level} is \
                 asked for; you need {}",
                runs_in_words(needed)
            );
            (reason, needed)
        }
    };
    Judgement { verdict: Verdict::CannotTell, reason, runs_needed }
}

/// Runs a side that would tell this ratio from 1, or show it to be the same, whichever takes fewer.
fn needed(ratio: &Ratio, runs: (usize, usize), spread: Option<f64>, standard: Standard) -> Option<u64> {
    let difference = ratio.estimate.ln().abs();
    let target = difference.max((1.0 + standard.same_within).ln() - difference);
    let least = least_runs(standard.level).max(runs.0.min(runs.1) + 1) as f64;
    let needed = runs_needed(spread?, target, standard.level).max(least);
    (needed <= MANY_RUNS).then_some(needed as u64)
}

fn runs_in_words(needed: Option<u64>) -> String {
    match needed {
        Some(needed) => format!("about {needed} runs a side"),
        None => format!("more than {MANY_RUNS} runs a side"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ratio::{Interval, ratio_of_runs, spread_of_runs};

    const STANDARD: Standard = Standard { level: 0.95, same_within: 0.02 };

    fn judged(low: f64, estimate: f64, high: f64, unit: Unit) -> Judgement {
        let ratio = Ratio { estimate, interval: Interval { low, high, level: 0.957 } };
        judge(&ratio, unit, (10, 10), Some(0.05), STANDARD)
    }

    #[test]
    fn the_place_of_the_interval_is_the_verdict() {
        let verdict = |low, estimate, high| {
            [Unit::Ns, Unit::GbPerS].map(|unit| judged(low, estimate, high, unit).verdict)
        };
        assert_eq!(verdict(1.01, 1.05, 1.09), [Verdict::Slower, Verdict::Faster]);
        assert_eq!(verdict(0.91, 0.95, 0.99), [Verdict::Faster, Verdict::Slower]);
        // A difference that is sure and too small to matter is none.
        assert_eq!(verdict(1.005, 1.01, 1.015), [Verdict::Same; 2]);
        assert_eq!(verdict(0.99, 1.0, 1.01), [Verdict::Same; 2]);
        assert_eq!(verdict(0.99, 1.02, 1.05), [Verdict::CannotTell; 2]);
        assert_eq!(verdict(1.0, 1.02, 1.05), [Verdict::CannotTell; 2]);
    }

    #[test]
    fn reasons_are_sentences_with_figures() {
        assert_eq!(
            judged(1.01, 1.05, 1.09, Unit::Ns).reason,
            "the whole 95 % interval, 1.010 to 1.090, lies above 1"
        );
        let undecided = judged(0.99, 1.02, 1.05, Unit::Ns);
        assert_eq!(
            undecided.reason,
            "the 95 % interval, 0.990 to 1.050, holds 1 and differences of more than 2 %, too; you need about 105 runs a side"
        );
        assert_eq!(undecided.runs_needed, Some(105));
    }

    fn of_runs(base: &[f64], new: &[f64]) -> Judgement {
        let ratio = ratio_of_runs(base, new, 0.95).unwrap();
        judge(&ratio, Unit::Ns, (base.len(), new.len()), spread_of_runs(base, new), STANDARD)
    }

    #[test]
    fn one_run_a_side_never_tells_however_large_the_difference() {
        for new in [100.0, 101.0, 150.0, 1e6] {
            let judgement = of_runs(&[100.0], &[new]);
            assert_eq!((judgement.verdict, judgement.runs_needed), (Verdict::CannotTell, Some(10)));
            assert!(
                judgement.reason.contains("you need 10 runs a side to begin with"),
                "{}",
                judgement.reason
            );
        }
    }

    #[test]
    fn three_runs_a_side_need_a_fourth_and_four_can_tell() {
        let judgement = of_runs(&[100.0, 101.0, 102.0], &[150.0, 151.0, 152.0]);
        assert_eq!((judgement.verdict, judgement.runs_needed), (Verdict::CannotTell, Some(4)));
        assert!(judgement.reason.contains("more than 90 % of all cases"), "{}", judgement.reason);
        let judgement = of_runs(&[100.0, 101.0, 102.0, 103.0], &[150.0, 151.0, 152.0, 153.0]);
        assert_eq!(judgement.verdict, Verdict::Slower);
    }
}
