//! Reasons to doubt the runs of a comparison: each kind once, with how many runs it is of.

use serde::Serialize;

use super::comparison::{Comparison, RunEntry};
use crate::doubt::{Doubt, Severity};
use crate::report::text::wrapped;

/// One kind of doubt.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DoubtOfRuns<'a> {
    /// As it is of the first run that it is of.
    #[serde(flatten)]
    pub(super) doubt: &'a Doubt,
    /// That run.
    pub(super) first_run: &'a str,
    /// Base runs that it is of.
    pub(super) base_runs: usize,
    /// New runs.
    pub(super) new_runs: usize,
}

/// All kinds, the gravest first; notes among them, which are of all runs of a kind rather than of some.
pub(super) fn all(comparison: &Comparison) -> Vec<DoubtOfRuns<'_>> {
    let mut all: Vec<DoubtOfRuns<'_>> = Vec::new();
    for run in comparison.base.iter().chain(&comparison.new) {
        for doubt in &run.doubts {
            if all.iter().any(|known| known.doubt.code() == doubt.code()) {
                continue;
            }
            let of = |runs: &[RunEntry]| {
                runs.iter().filter(|run| run.doubts.iter().any(|other| other.code() == doubt.code())).count()
            };
            all.push(DoubtOfRuns {
                doubt,
                first_run: &run.run,
                base_runs: of(&comparison.base),
                new_runs: of(&comparison.new),
            });
        }
    }
    all.sort_by_key(|known| known.doubt.severity());
    all
}

/// Alarms and warnings.
pub(super) fn grave(comparison: &Comparison) -> Vec<DoubtOfRuns<'_>> {
    let mut all = all(comparison);
    all.retain(|known| known.doubt.severity() < Severity::Note);
    all
}

/// The grave ones as lines of a report, each with what to do.
pub(super) fn lines(comparison: &Comparison) -> String {
    let line = |known: &DoubtOfRuns<'_>| {
        let mark = if known.doubt.severity() == Severity::Alarm { "  !! " } else { "  ! " };
        let counts = format!(
            "{} of {} base and {} of {} new runs",
            known.base_runs,
            comparison.base.len(),
            known.new_runs,
            comparison.new.len()
        );
        let (first, doubt) = (known.first_run, known.doubt);
        wrapped(mark, &format!("{counts}, the first of them {first}: {doubt} {}", doubt.advice()))
    };
    grave(comparison).iter().map(line).collect()
}
