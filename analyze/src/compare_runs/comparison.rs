//! Both sides, figure by figure; serialised, what `compare --json` prints.

use serde::Serialize;

use super::Problem;
use super::conditions::{Difference, differences};
use super::one_run::{FigureId, OneRun};
use super::verdict::{Judgement, Standard, Verdict, judge};
use crate::doubt::Doubt;
use crate::stats::rank::{CliffsDelta, MannWhitney, cliffs_delta, mann_whitney};
use crate::stats::ratio::{Interval, ratio_of_runs, spread_of_runs, within_runs};
use crate::stats::shift::{Shift, median, shift_function};

/// Schema of comparison.json.
pub const COMPARISON_SCHEMA: &str = "ivshmem-comparison/1";

/// What runs before and after come to.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// [`COMPARISON_SCHEMA`].
    pub schema: &'static str,
    /// The tool and its version.
    pub tool: &'static str,
    /// What was asked for.
    #[serde(flatten)]
    pub standard: Standard,
    /// What the runs differ in beside their figures, the gravest first.
    pub differences: Vec<Difference>,
    /// The runs before.
    pub base: Vec<RunEntry>,
    /// The runs after.
    pub new: Vec<RunEntry>,
    /// The figures of both, the one the comparison is about first.
    pub figures: Vec<Compared>,
    /// Figures that some runs have not, and so are not compared.
    pub left_out: Vec<LeftOut>,
    /// Where in the distribution of messages the change lies; empty where not every run has deciles.
    pub shift: Vec<Shift>,
}

/// A run of a side.
#[derive(Debug, Clone, Serialize)]
pub struct RunEntry {
    /// Its directory or file.
    pub run: String,
    /// When it began.
    pub started_utc: Option<String>,
    /// Reasons to doubt it.
    pub doubts: Vec<Doubt>,
}

/// A figure of both sides.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Which.
    #[serde(flatten)]
    pub id: FigureId,
    /// Of the base runs, in their order.
    pub base: Vec<f64>,
    /// Of the new runs.
    pub new: Vec<f64>,
    /// The median of the base runs.
    pub base_median: f64,
    /// The median of the new runs.
    pub new_median: f64,
    /// New over base: the median of the ratios of all pairs of runs.
    pub ratio: f64,
    /// Where the ratio lies. Of one run a side it is a point of level 0.
    pub interval: Interval,
    /// Of one run a side: where the ratio of these two lies by their own messages.
    pub within_runs: Option<Interval>,
    /// What runs of one side differ by: the standard deviation of the logarithms, both sides together.
    pub spread_of_runs: Option<f64>,
    /// Mann and Whitney's test.
    pub mann_whitney: MannWhitney,
    /// Cliff's delta.
    pub cliffs_delta: CliffsDelta,
    /// What may be said.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// A figure that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Its name in a report.
    #[serde(skip)]
    pub label: String,
    /// Runs that have it, of both sides.
    pub runs_with_it: usize,
    /// All runs.
    pub runs: usize,
}

impl Comparison {
    /// Of the runs of both sides.
    ///
    /// # Errors
    /// When a run is on both sides, has no provenance, or differs from others in what matters (these two unless `despite`),
    /// or when no figure is in all runs.
    pub fn of(base: &[OneRun], new: &[OneRun], standard: Standard, despite: bool) -> Result<Self, Problem> {
        refuse_repeats(base, new)?;
        let differences = differences_of(base, new, despite)?;
        let (figures, left_out) = figures(base, new, standard);
        if figures.is_empty() {
            return Err(Problem::NothingInCommon { base: names(base), new: names(new) });
        }
        let deciles = |runs: &[OneRun]| runs.iter().map(|run| run.deciles).collect::<Option<Vec<_>>>();
        let shift = deciles(base)
            .zip(deciles(new))
            .map_or_else(Vec::new, |(base, new)| shift_function(&base, &new, standard.level));
        let entries = |runs: &[OneRun]| runs.iter().map(RunEntry::of).collect();
        Ok(Self {
            schema: COMPARISON_SCHEMA,
            tool: concat!("analyze ", env!("CARGO_PKG_VERSION")),
            standard,
            differences,
            base: entries(base),
            new: entries(new),
            figures,
            left_out,
            shift,
        })
    }

    /// Indented JSON with a line ending at the end.
    ///
    /// # Errors
    /// Never for the figures this crate computes, which are finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Whether there is nothing to see of how runs differ.
    #[must_use]
    pub fn is_one_a_side(&self) -> bool {
        self.base.len() == 1 && self.new.len() == 1
    }

    /// How many figures have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.figures.iter().filter(|figure| figure.judgement.verdict == verdict).count()
    }
}

impl RunEntry {
    fn of(run: &OneRun) -> Self {
        Self {
            run: run.path.display().to_string(),
            started_utc: run.started_utc.clone(),
            doubts: run.doubts.clone(),
        }
    }
}

/// A run twice on one side would count as two that happen to agree; on both sides, as proof that nothing changed.
fn refuse_repeats(base: &[OneRun], new: &[OneRun]) -> Result<(), Problem> {
    let all: Vec<&OneRun> = base.iter().chain(new).collect();
    for (index, second) in all.iter().enumerate() {
        if let Some(first) = all[..index].iter().find(|first| first.is_same_run(second)) {
            return Err(Problem::SameRun { first: first.path.clone(), second: second.path.clone() });
        }
    }
    Ok(())
}

fn differences_of(base: &[OneRun], new: &[OneRun], despite: bool) -> Result<Vec<Difference>, Problem> {
    let provenances = |runs: &'_ [OneRun]| -> Vec<serde_json::Value> {
        runs.iter().filter_map(|run| run.provenance.clone()).collect()
    };
    let bare = base.iter().chain(new).find(|run| run.provenance.is_none());
    if let Some(run) = bare.filter(|_| !despite) {
        return Err(Problem::NoProvenance { path: run.path.clone() });
    }
    let (base, new) = (provenances(base), provenances(new));
    let found = differences(&base.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
    let grave: Vec<_> =
        found.iter().filter(|difference| difference.matters).map(Difference::sentence).collect();
    if grave.is_empty() || despite { Ok(found) } else { Err(Problem::Differ { sentences: grave }) }
}

fn figures(base: &[OneRun], new: &[OneRun], standard: Standard) -> (Vec<Compared>, Vec<LeftOut>) {
    let mut ids: Vec<&FigureId> = Vec::new();
    for figure in base.iter().chain(new).flat_map(|run| &run.figures) {
        if !ids.iter().any(|id| id.name == figure.id.name) {
            ids.push(&figure.id);
        }
    }
    let (mut compared, mut left_out) = (Vec::new(), Vec::new());
    for id in ids {
        let with_it = base.iter().chain(new).filter(|run| run.figure(&id.name).is_some()).count();
        let runs = base.len() + new.len();
        if with_it == runs {
            compared.extend(Compared::of(id, base, new, standard));
        } else {
            let label = format!("{}, {}", id.group, id.what);
            left_out.push(LeftOut { name: id.name.clone(), label, runs_with_it: with_it, runs });
        }
    }
    (compared, left_out)
}

impl Compared {
    /// Of a figure that all runs have; `None` if a side is empty.
    fn of(id: &FigureId, base_runs: &[OneRun], new_runs: &[OneRun], standard: Standard) -> Option<Self> {
        let of = |runs: &[OneRun]| -> Vec<f64> {
            runs.iter().filter_map(|run| run.figure(&id.name)).map(|figure| figure.value).collect()
        };
        let (base, new) = (of(base_runs), of(new_runs));
        let ratio = ratio_of_runs(&base, &new, standard.level)?;
        let spread = spread_of_runs(&base, &new);
        let known = |run: &OneRun| run.figure(&id.name).and_then(|figure| Some((figure.value, figure.ends?)));
        let within = match (base_runs, new_runs) {
            ([base], [new]) => known(base).zip(known(new)).map(|(base, new)| within_runs(base, new)),
            _ => None,
        };
        Some(Self {
            id: id.clone(),
            base_median: median(base.clone())?,
            new_median: median(new.clone())?,
            ratio: ratio.estimate,
            interval: ratio.interval,
            within_runs: within,
            spread_of_runs: spread,
            mann_whitney: mann_whitney(&base, &new)?,
            cliffs_delta: cliffs_delta(&base, &new)?,
            judgement: judge(&ratio, id.unit, (base.len(), new.len()), spread, standard),
            base,
            new,
        })
    }

    /// The interval over runs; of one run a side, where the ratio of these two lies by their own messages.
    #[must_use]
    pub fn shown_interval(&self) -> Option<Interval> {
        if self.interval.level > 0.0 { Some(self.interval) } else { self.within_runs }
    }

    /// `RTT to PROCESSED, p50`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}, {}", self.id.group, self.id.what)
    }
}

fn names(runs: &[OneRun]) -> Vec<String> {
    let mut names = Vec::new();
    for figure in runs.iter().flat_map(|run| &run.figures) {
        if !names.contains(&figure.id.key) {
            names.push(figure.id.key.clone());
        }
    }
    names
}
