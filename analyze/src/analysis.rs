//! From runs to everything the report, the charts and summary.json show.

use serde::Serialize;
use serde_json::Value;

use crate::compare::{Ratio, ratios};
use crate::doubt::Doubt;
use crate::input::{Run, Runs};
use crate::summary::RunSummary;

/// Schema of summary.json.
pub const SUMMARY_SCHEMA: &str = "ivshmem-summary/1";

/// One run and what it comes to.
#[derive(Debug, Clone)]
pub struct Analyzed {
    /// Its samples.
    pub run: Run,
    /// Its figures.
    pub summary: RunSummary,
    /// Reasons to doubt them.
    pub doubts: Vec<Doubt>,
}

/// The run a report is about, its baseline, and the ratios of the two.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The VM's run, or the only one.
    pub main: Analyzed,
    /// The native one beside it.
    pub baseline: Option<Analyzed>,
    /// VM over native; empty without a baseline.
    pub ratios: Vec<Ratio>,
}

impl Analyzed {
    fn of(run: Run) -> Self {
        let summary = RunSummary::of(&run);
        let doubts = Doubt::of(&run, &summary);
        Self { run, summary, doubts }
    }

    /// Its name in headings and legends: `VM (tcg)`, `native`, `run without provenance`.
    #[must_use]
    pub fn title(&self) -> String {
        let Some(provenance) = &self.run.provenance else { return "run without provenance".into() };
        if self.run.is_native() {
            return "native".into();
        }
        let accelerator = provenance.run.vm.as_ref().and_then(|vm| vm.accelerator.as_ref());
        accelerator
            .and_then(|a| a.effective.as_ref())
            .map_or_else(|| "VM".into(), |name| format!("VM ({name})"))
    }
}

impl Analysis {
    /// Of `runs`.
    #[must_use]
    pub fn of(runs: Runs) -> Self {
        let main = Analyzed::of(runs.main);
        let baseline = runs.baseline.map(Analyzed::of);
        let ratios = baseline.as_ref().map_or_else(Vec::new, |b| ratios(&main.summary, &b.summary));
        Self { main, baseline, ratios }
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
        let wire = WireSummary {
            schema: SUMMARY_SCHEMA,
            tool: concat!("analyze ", env!("CARGO_PKG_VERSION")),
            percentile_definition: "nearest rank, ceil(p / 100 * n); null with fewer than 10 samples beyond",
            runs: self.runs().map(WireRun::of).collect(),
            ratios: &self.ratios,
        };
        Ok(serde_json::to_string_pretty(&wire)? + "\n")
    }
}

#[derive(Serialize)]
struct WireSummary<'a> {
    schema: &'static str,
    tool: &'static str,
    percentile_definition: &'static str,
    runs: Vec<WireRun<'a>>,
    ratios: &'a [Ratio],
}

#[derive(Serialize)]
struct WireRun<'a> {
    #[serde(flatten)]
    summary: &'a RunSummary,
    doubts: &'a [Doubt],
    provenance: Option<&'a Value>,
}

impl<'a> WireRun<'a> {
    fn of(analyzed: &'a Analyzed) -> Self {
        let provenance = analyzed.run.provenance.as_ref().map(|p| &p.verbatim);
        Self { summary: &analyzed.summary, doubts: &analyzed.doubts, provenance }
    }
}
