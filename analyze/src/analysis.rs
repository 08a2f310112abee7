//! From runs to everything the report, the charts and summary.json show.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::compare::{Ratio, ratios};
use crate::doorbell::{Cell, Doorbells};
use crate::doubt::Doubt;
use crate::input::{Relation, Run, Runs};
use crate::stats::Sorted;
use crate::stats::random::DEFAULT_SEED;
use crate::stats::shape::Shape;
use crate::summary::RunSummary;
use crate::timeline::Timeline;

/// Schema of summary.json.
pub const SUMMARY_SCHEMA: &str = "ivshmem-summary/1";

/// One run and what it comes to.
#[derive(Debug, Clone)]
pub struct Analyzed {
    /// Its samples.
    pub run: Run,
    /// Times to PROCESSED of its samples, sorted once for figures and pictures; `None` without a latency file.
    pub processed: Option<Arc<Sorted<u64>>>,
    /// Its figures.
    pub summary: RunSummary,
    /// What its round trips say together; `None` without samples.
    pub shape: Option<Shape>,
    /// Reasons to doubt them.
    pub doubts: Vec<Doubt>,
    /// Its name where there is little room: `VM`, `native`, `loaded`, `idle`.
    pub short: &'static str,
}

/// The run a report is about, its baseline, and the ratios of the two.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The VM's run, or the only one.
    pub main: Analyzed,
    /// The native one beside it.
    pub baseline: Option<Analyzed>,
    /// What the baseline is to the main run.
    pub relation: Relation,
    /// Main run over baseline; empty without one.
    pub ratios: Vec<Ratio>,
    /// What waiting cost, if there are doorbell files.
    pub doorbells: Option<Doorbells>,
}

impl Analyzed {
    /// What `run` comes to.
    #[must_use]
    pub fn of(run: Run) -> Self {
        let processed = run.latency.as_ref().map(|latency| Arc::new(latency.samples.sorted_processed()));
        let summary = RunSummary::of(&run, processed.as_deref());
        let shape = shape(&run, processed.as_deref());
        let doubts = Doubt::of(&run, &summary, shape.as_ref());
        let short = if run.is_native() { "native" } else { "VM" };
        Self { run, processed, summary, shape, doubts, short }
    }

    /// The kind of machine: `VM (tcg)`, `native`, `run without provenance`.
    #[must_use]
    pub fn machine(&self) -> String {
        let provenance = self.run.provenance.as_ref().filter(|provenance| provenance.run.says_where());
        let Some(provenance) = provenance else { return "run without provenance".into() };
        let accelerator = provenance.run.vm.as_ref().and_then(|vm| vm.accelerator.as_ref());
        match accelerator.and_then(|a| a.effective.as_ref()) {
            _ if self.run.is_native() => "native".into(),
            Some(name) => format!("VM ({name})"),
            None => "VM".into(),
        }
    }

    /// Its name in headings and legends: the machine, and the load if there is one, as in `VM (tcg), load cpu=2`; the
    /// idle run beside a loaded one is called `VM (tcg), idle`.
    #[must_use]
    pub fn title(&self) -> String {
        let machine = self.machine();
        match self.run.load() {
            Some(load) => format!("{machine}, load {load}"),
            None if self.short == "idle" => format!("{machine}, idle"),
            None => machine,
        }
    }
}

/// The shape of the times to PROCESSED.
fn shape(run: &Run, sorted: Option<&Sorted<u64>>) -> Option<Shape> {
    let latency = run.latency.as_ref().filter(|latency| !latency.samples.is_empty())?;
    Some(Shape::of(&latency.processed_ns(), sorted?, Timeline::of(run).as_ref(), DEFAULT_SEED))
}

impl Analysis {
    /// Of `runs`.
    #[must_use]
    pub fn of(runs: Runs) -> Self {
        let relation = runs.relation;
        let doorbells = Doorbells::of(&runs.doorbells);
        let mut main = Analyzed::of(runs.main);
        let mut baseline = runs.baseline.map(Analyzed::of);
        if let (Relation::LoadedOverIdle, Some(baseline)) = (relation, &mut baseline) {
            [main.short, baseline.short] = relation.names();
        }
        let compare = |b: &Analyzed| ratios(relation, &main.summary, &b.summary);
        let ratios = baseline.as_ref().map_or_else(Vec::new, compare);
        Self { main, baseline, relation, ratios, doorbells }
    }

    /// The main run, then the baseline.
    pub fn runs(&self) -> impl Iterator<Item = &Analyzed> {
        std::iter::once(&self.main).chain(&self.baseline)
    }

    /// summary.json: indented, with a line ending at the end.
    ///
    /// # Errors
    /// Never for the figures this crate computes, which are finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(&self.wire())? + "\n")
    }

    /// The same as a tree, each figure to the last bit.
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self.wire())
    }

    fn wire(&self) -> WireSummary<'_> {
        WireSummary {
            schema: SUMMARY_SCHEMA,
            tool: concat!("analyze ", env!("CARGO_PKG_VERSION")),
            percentile_definition: "nearest rank, ceil(p / 100 * n); null with fewer than 10 samples beyond",
            runs: self.runs().map(WireRun::of).collect(),
            ratios: &self.ratios,
            doorbells: self.doorbells.as_ref().map_or(&[], |doorbells| &doorbells.cells),
        }
    }
}

#[derive(Serialize)]
struct WireSummary<'a> {
    schema: &'static str,
    tool: &'static str,
    percentile_definition: &'static str,
    runs: Vec<WireRun<'a>>,
    ratios: &'a [Ratio],
    doorbells: &'a [Cell],
}

#[derive(Serialize)]
struct WireRun<'a> {
    #[serde(flatten)]
    summary: &'a RunSummary,
    shape: Option<&'a Shape>,
    doubts: &'a [Doubt],
    provenance: Option<&'a Value>,
}

impl<'a> WireRun<'a> {
    fn of(analyzed: &'a Analyzed) -> Self {
        let provenance = analyzed.run.provenance.as_ref().map(|p| &p.verbatim);
        let shape = analyzed.shape.as_ref();
        Self { summary: &analyzed.summary, shape, doubts: &analyzed.doubts, provenance }
    }
}
