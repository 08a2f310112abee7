//! The run a report is about beside its baseline: each figure of the one divided by the same figure of the other.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::input::Relation;
use crate::latency_summary::{Distribution, LatencySummary};
use crate::summary::{FrameSummary, RunSummary};

/// One figure of both runs. In summary.json its keys are `vm`, `native` and `vm_over_native`, or `loaded`, `idle` and
/// `loaded_over_idle`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// What is compared, its unit at the end.
    pub name: String,
    /// The same as people say it; not in summary.json.
    pub label: String,
    /// What the baseline is.
    pub relation: Relation,
    /// The figure of the run the report is about; `None` if it has none.
    pub main: Option<f64>,
    /// The baseline's figure; `None` if it has none.
    pub baseline: Option<f64>,
    /// The one over the other, where both are and the latter is not 0.
    pub ratio: Option<f64>,
}

impl Ratio {
    fn new([name, label]: [String; 2], relation: Relation, main: Option<f64>, baseline: Option<f64>) -> Self {
        let ratio = main.zip(baseline).filter(|(_, baseline)| *baseline > 0.0).map(|(m, b)| m / b);
        Self { name, label, relation, main, baseline, ratio }
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [main, baseline] = self.relation.names();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry(main, &self.main)?;
        map.serialize_entry(baseline, &self.baseline)?;
        map.serialize_entry(&format!("{main}_over_{baseline}"), &self.ratio)?;
        map.end()
    }
}

/// All ratios: percentiles to PROCESSED and RECEIVED if both runs had the same kind of loop, then the mean rate of each
/// frame format both runs carried the same way.
#[must_use]
pub fn ratios(relation: Relation, main: &RunSummary, baseline: &RunSummary) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    if let (Some(main), Some(baseline)) = (&main.latency, &baseline.latency)
        && main.loop_kind == baseline.loop_kind
    {
        latency(relation, main, baseline, &mut ratios);
    }
    for frame in main.bandwidth.iter().flat_map(|b| &b.frames) {
        if let Some(other) = baseline.like(frame) {
            let mean = |f: &FrameSummary| f.rate.map(|r| r.mean_gb_per_s);
            let way = if frame.way.is_empty() { String::new() } else { format!("_{}", frame.way) };
            let name = format!("rate_{}{}_mean_gb_per_s", frame.frame, way.replace(' ', "_"));
            let label = format!("{} mean rate, GB/s", frame.label);
            ratios.push(Ratio::new([name, label], relation, mean(frame), mean(other)));
        }
    }
    ratios
}

fn latency(relation: Relation, main: &LatencySummary, baseline: &LatencySummary, ratios: &mut Vec<Ratio>) {
    let (prefix, what) = if main.is_open() { ("from_due", "due") } else { ("rtt", "RTT") };
    let mut add = |phase: &str, percentile: &str, of: &dyn Fn(&LatencySummary) -> Option<u64>| {
        let figure = |summary| of(summary).map(|ns| ns as f64);
        let name = format!("{prefix}_{phase}_{percentile}_ns");
        let label = format!("{what} to {}, {percentile}, ns", phase.to_uppercase());
        ratios.push(Ratio::new([name, label], relation, figure(main), figure(baseline)));
    };
    add("processed", "p50", &LatencySummary::p50_ns);
    add("processed", "p99", &LatencySummary::p99_ns);
    if main.received().is_some() || baseline.received().is_some() {
        let p50 = |d: &Distribution| d.p50_ns;
        add("received", "p50", &|summary| summary.received().and_then(p50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_divided_by_nothing() {
        let ratio = |main, baseline| {
            Ratio::new(["x", "x"].map(str::to_owned), Relation::VmOverNative, main, baseline).ratio
        };
        assert_eq!(ratio(Some(130.0), Some(120.0)), Some(130.0 / 120.0));
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(1.0)), None);
    }

    #[test]
    fn the_keys_say_what_is_compared() {
        let ratio = Ratio::new(["x", "x"].map(str::to_owned), Relation::LoadedOverIdle, Some(3.0), Some(2.0));
        let json = serde_json::to_string(&ratio).unwrap();
        assert_eq!(json, r#"{"name":"x","loaded":3.0,"idle":2.0,"loaded_over_idle":1.5}"#);
    }
}
