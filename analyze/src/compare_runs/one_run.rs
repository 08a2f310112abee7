//! One run as a comparison sees it: a handful of figures. Its messages are forgotten once these are taken, so that any
//! number of runs fits in memory.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::Problem;
use super::sides::{RunPaths, expand};
use crate::doubt::{Doubt, OddRows};
use crate::error::Error;
use crate::input::{self, InOrder, Run};
use crate::interrupt::Interrupt;
use crate::latency_summary::LatencySummary;
use crate::report::text::{duration, four_digits, payload};
use crate::stats::ratio::{Ends, ends_of_mean, ends_of_percentile};
use crate::stats::shift::deciles;
use crate::stats::{Nanoseconds, Percentile, Sorted};
use crate::summary::{FrameSummary, RunSummary};

/// What a figure is measured in, and so which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds: less is faster.
    Ns,
    /// 1e9 bytes a second: more is faster.
    GbPerS,
}

impl Unit {
    /// As in a column of units.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::GbPerS => "GB/s",
        }
    }

    /// A figure in it, as people read it.
    pub(crate) fn written(self, figure: f64) -> String {
        match self {
            Self::Ns => duration(figure),
            Self::GbPerS => format!("{} GB/s", four_digits(figure)),
        }
    }
}

/// Which figure it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FigureId {
    /// As in summary.json, its unit at the end: `rtt_processed_p50_ns`.
    pub name: String,
    /// In short, as `gate` wants it: `p50`, `4k_rate`.
    pub key: String,
    /// What it is a figure of: `RTT to PROCESSED`.
    #[serde(skip)]
    pub group: String,
    /// Which of those: `p50`.
    #[serde(skip)]
    pub what: String,
    /// Its unit.
    pub unit: Unit,
}

/// A figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Which.
    pub id: FigureId,
    /// Above 0.
    pub value: f64,
    /// Where it lies as far as the run's own messages tell, where those are many.
    pub ends: Option<Ends>,
}

/// What is kept of a run.
#[derive(Debug, Clone)]
pub struct OneRun {
    /// Its directory or file, as found.
    pub path: PathBuf,
    /// The same without links; `None` if it is not there any more.
    pub canonical: Option<PathBuf>,
    /// When it began.
    pub started_utc: Option<String>,
    /// Its run.json.
    pub provenance: Option<Value>,
    /// Its figures, in the order of a report.
    pub figures: Vec<Figure>,
    /// The deciles of its times to PROCESSED.
    pub deciles: Option<[u64; 9]>,
    /// Reasons to doubt it; not what only deserves to be quoted.
    pub doubts: Vec<Doubt>,
}

/// Reads all runs that `paths` stand for.
///
/// # Errors
/// When a path stands for no run, a run is damaged or has no figures, and once interrupted.
pub(crate) fn load(paths: &[PathBuf], interrupt: &Interrupt) -> Result<Vec<OneRun>, Error> {
    let read = |paths: &RunPaths| {
        interrupt.check()?;
        let run = input::read_run(paths)?;
        let one = OneRun::of(&run, &paths[0]);
        if one.figures.is_empty() {
            return Err(Problem::NoFigures { path: one.path }.into());
        }
        Ok(one)
    };
    expand(paths)?.iter().map(read).collect()
}

impl OneRun {
    /// Of `run`, which `path` stands for.
    #[must_use]
    pub fn of(run: &Run, path: &Path) -> Self {
        let sorted = run.latency.as_ref().map(|latency| latency.samples.sorted_processed());
        let received = run.latency.as_ref().map(|latency| latency.samples.sorted_received());
        let summary = RunSummary::of(run, sorted.as_ref(), received.as_ref());
        let mut figures = Vec::new();
        let mut of_deciles = None;
        match run.latency.as_ref().zip(sorted.as_ref()) {
            Some((latency, sorted)) => {
                let open = summary.latency.as_ref().is_some_and(LatencySummary::is_open);
                let mean_ns = summary.latency.as_ref().and_then(|l| Some(l.processed()?.mean_ns));
                match latency.samples.processed_in_order() {
                    InOrder::Narrow(ns) => latency_figures(ns, sorted, mean_ns, open, &mut figures),
                    InOrder::Wide(ns) => latency_figures(&ns, sorted, mean_ns, open, &mut figures),
                }
                let received = summary.latency.as_ref().and_then(|l| l.received()?.p50_ns);
                add(&mut figures, latency_id("received", "p50", open), received.map(|ns| ns as f64), None);
                of_deciles = deciles(sorted);
            }
            None => histogram_figures(&summary, &mut figures),
        }
        for frame in summary.bandwidth.iter().flat_map(|bandwidth| &bandwidth.frames) {
            frame_figures(frame, &mut figures);
        }
        Self {
            path: path.into(),
            canonical: std::fs::canonicalize(path).ok(),
            started_utc: run.provenance.as_ref().and_then(|p| p.run.started_utc.clone()),
            provenance: run.provenance.as_ref().map(|p| p.verbatim.clone()),
            figures,
            deciles: of_deciles,
            doubts: Doubt::of(run, &summary, None, &OddRows::of(run)),
        }
    }

    /// A figure by its name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.id.name == name)
    }

    /// Whether both are the same run, or one is a copy of the other: sessions are random numbers.
    #[must_use]
    pub fn is_same_run(&self, other: &Self) -> bool {
        let session = |run: &Self| run.provenance.as_ref()?.get("session")?.as_str().map(str::to_owned);
        let is_copied = session(self).is_some_and(|mine| session(other) == Some(mine))
            && self.started_utc == other.started_utc;
        // Files of other names in one directory share its run.json, and are runs of their own.
        let is_file_beside = self.path.is_file() && self.path.parent() == other.path.parent();
        self.canonical.is_some() && self.canonical == other.canonical || is_copied && !is_file_beside
    }
}

fn add(figures: &mut Vec<Figure>, id: FigureId, value: Option<f64>, ends: Option<Ends>) {
    // A ratio to 0 is none; a clock that shows it is doubted elsewhere.
    if let Some(value) = value.filter(|value| value.is_finite() && *value > 0.0) {
        figures.push(Figure { id, value, ends });
    }
}

fn latency_id(phase: &str, what: &str, open: bool) -> FigureId {
    let (prefix, words) = if open { ("from_due", "Due time") } else { ("rtt", "RTT") };
    let in_key = if phase == "processed" { String::new() } else { format!("{phase}_") };
    FigureId {
        name: format!("{prefix}_{phase}_{}_ns", what.replace('.', "_")),
        key: format!("{in_key}{what}"),
        group: format!("{words} to {}", phase.to_uppercase()),
        what: what.into(),
        unit: Unit::Ns,
    }
}

fn latency_figures<N: Nanoseconds>(
    in_order: &[N],
    sorted: &Sorted<u64>,
    mean_ns: Option<f64>,
    open: bool,
    figures: &mut Vec<Figure>,
) {
    let [p50, p90, _, p99, p99_9, _] = Percentile::REPORTED;
    for percentile in [p50, p90, p99, p99_9] {
        let value = sorted.percentile(percentile).map(|ns| ns as f64);
        let ends = ends_of_percentile(in_order, sorted, percentile);
        add(figures, latency_id("processed", &percentile.name(), open), value, ends);
    }
    let ends = mean_ns.and_then(|mean_ns| ends_of_mean(in_order, mean_ns));
    add(figures, latency_id("processed", "mean", open), mean_ns, ends);
}

/// Of a run that kept a histogram: what is left of its messages are figures without errors.
fn histogram_figures(summary: &RunSummary, figures: &mut Vec<Figure>) {
    let Some(latency) = &summary.latency else { return };
    let Some(histogram) = &latency.histogram else { return };
    let percentiles = [
        ("p50", histogram.p50_ns),
        ("p90", histogram.p90_ns),
        ("p99", histogram.p99_ns),
        ("p99.9", histogram.p99_9_ns),
    ];
    for (what, ns) in percentiles {
        add(figures, latency_id("processed", what, latency.is_open()), ns.map(|ns| ns as f64), None);
    }
}

fn frame_figures(frame: &FrameSummary, figures: &mut Vec<Figure>) {
    let setup = &frame.setup;
    // What every file without these columns did goes without saying.
    let said = [
        (&setup.mode, "whole"),
        (&setup.direction, "host-to-guest"),
        (&setup.cache, "warm"),
        (&setup.consume, "copy"),
    ];
    let way: Vec<&str> =
        said.iter().filter_map(|(value, usual)| value.as_deref().filter(|value| value != usual)).collect();
    let key = [&[frame.frame.as_str()], way.as_slice()].concat().join("_");
    let group = format!("{} {}", payload(&frame.frame), way.join(" ")).trim_end().to_owned();
    let id = |name: String, suffix: &str, what: &str, unit| FigureId {
        name,
        key: format!("{key}_{suffix}"),
        group: group.clone(),
        what: what.into(),
        unit,
    };
    let rate = frame.rate.map(|rate| rate.mean_gb_per_s);
    add(figures, id(format!("rate_{key}_mean_gb_per_s"), "rate", "mean rate", Unit::GbPerS), rate, None);
    if !setup.is_stream() {
        let median = frame.duration_median_ns.map(|ns| ns as f64);
        let duration = id(format!("duration_{key}_median_ns"), "duration", "median time", Unit::Ns);
        add(figures, duration, median, None);
    }
}
