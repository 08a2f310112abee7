//! The figures that a gate watches, and what became of each.

use serde::Serialize;

use super::limits::Limits;
use crate::compare_runs::comparison::{Compared, Comparison};
use crate::compare_runs::one_run::Unit;
use crate::compare_runs::problem::Problem;
use crate::report::text::four_digits;
use crate::stats::ratio::{Interval, least_runs, runs_needed};

/// What became of a figure, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of the interval is allowed.
    Passed,
    /// Some of it is.
    CannotTell,
    /// None of it is.
    Regressed,
}

/// A figure that is watched.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Watched<'a> {
    /// As the limits name it.
    pub(super) key: &'a str,
    /// As in summary.json.
    name: &'a str,
    pub(super) outcome: Outcome,
    /// Of the base runs.
    pub(super) base_median: f64,
    /// Of the new runs.
    pub(super) new_median: f64,
    pub(super) ratio: f64,
    /// `None` of one run a side: what runs differ by is not known.
    interval: Option<Interval>,
    /// Of one run a side: what the messages of these two leave open. No outcome rests on it.
    within_runs: Option<Interval>,
    /// The worst ratio that is allowed.
    pub(super) allowed_ratio: f64,
    /// Runs a side that would tell.
    pub(super) runs_needed: Option<u64>,
    #[serde(skip)]
    pub(super) figure: &'a Compared,
}

/// The figures that `limits` name.
///
/// # Errors
/// When one is not in all runs.
pub(super) fn watch<'a>(comparison: &'a Comparison, limits: &Limits) -> Result<Vec<Watched<'a>>, Problem> {
    let mut watched = Vec::new();
    for (key, allowed) in &limits.0 {
        let all_of = format!("_{key}");
        let every = matches!(key.as_str(), "rate" | "duration");
        let meant = |figure: &&Compared| {
            figure.id.key == *key || every && figure.id.key.ends_with(&all_of) && !limits.name(&figure.id.key)
        };
        let before = watched.len();
        watched.extend(
            comparison.figures.iter().filter(meant).map(|figure| Watched::of(figure, *allowed, comparison)),
        );
        if watched.len() == before {
            let known = comparison.figures.iter().map(|figure| figure.id.key.clone()).collect();
            return Err(Problem::NoSuchFigure { key: key.clone(), known });
        }
    }
    Ok(watched)
}

impl<'a> Watched<'a> {
    fn of(figure: &'a Compared, allowed: f64, comparison: &Comparison) -> Self {
        let Interval { low, high, level } = figure.interval;
        let (allowed_ratio, passes, regressed) = match figure.id.unit {
            Unit::Ns => (1.0 + allowed, high <= 1.0 + allowed, low > 1.0 + allowed),
            Unit::GbPerS => (1.0 - allowed, low >= 1.0 - allowed, high < 1.0 - allowed),
        };
        let outcome = match () {
            () if level < comparison.standard.level - 1e-9 => Outcome::CannotTell,
            () if regressed => Outcome::Regressed,
            () if passes => Outcome::Passed,
            () => Outcome::CannotTell,
        };
        let distance = (figure.ratio / allowed_ratio).ln().abs();
        let needed =
            figure.spread_of_runs.map(|spread| runs_needed(spread, distance, comparison.standard.level));
        let least = least_runs(comparison.standard.level).max(figure.base.len().min(figure.new.len()) + 1);
        let runs_needed = needed.map(|needed| needed.max(least as f64)).filter(|needed| *needed <= 1e3);
        Self {
            key: &figure.id.key,
            name: &figure.id.name,
            outcome,
            base_median: figure.base_median,
            new_median: figure.new_median,
            ratio: figure.ratio,
            interval: Some(figure.interval).filter(|interval| interval.level > 0.0),
            within_runs: figure.within_runs,
            allowed_ratio,
            runs_needed: runs_needed.filter(|_| outcome == Outcome::CannotTell).map(|needed| needed as u64),
            figure,
        }
    }

    /// What is allowed, in words: `at most 1.050`.
    pub(super) fn allowed(&self) -> String {
        let bound = if self.figure.id.unit == Unit::Ns { "at most" } else { "at least" };
        format!("{bound} {}", four_digits(self.allowed_ratio))
    }
}

impl Outcome {
    /// In a word or two.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::CannotTell => "cannot tell",
            Self::Regressed => "REGRESSED",
        }
    }
}
