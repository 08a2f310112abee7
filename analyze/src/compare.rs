//! The VM beside the native baseline: each figure of the one divided by the same figure of the other.

use serde::Serialize;

use crate::summary::{Distribution, RunSummary};

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// What is compared, its unit at the end.
    pub name: String,
    /// The VM's figure; `None` if it has none.
    pub vm: Option<f64>,
    /// The baseline's figure; `None` if it has none.
    pub native: Option<f64>,
    /// VM / native, where both are and the latter is not 0.
    pub vm_over_native: Option<f64>,
}

impl Ratio {
    fn new(name: String, vm: Option<f64>, native: Option<f64>) -> Self {
        let vm_over_native =
            vm.zip(native).filter(|(_, native)| *native > 0.0).map(|(vm, native)| vm / native);
        Self { name, vm, native, vm_over_native }
    }
}

/// All ratios: round-trip percentiles, then the mean rate of each frame format both runs have.
#[must_use]
pub fn ratios(vm: &RunSummary, native: &RunSummary) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    if let (Some(vm), Some(native)) = (&vm.latency, &native.latency) {
        let figure = |of: Option<Distribution>, pick: fn(&Distribution) -> Option<u64>| {
            of.as_ref().and_then(pick).map(|ns| ns as f64)
        };
        let mut add = |name: &str, vm, native, pick| {
            ratios.push(Ratio::new(name.into(), figure(vm, pick), figure(native, pick)));
        };
        add("rtt_processed_p50_ns", vm.rtt_processed, native.rtt_processed, |d| d.p50_ns);
        add("rtt_processed_p99_ns", vm.rtt_processed, native.rtt_processed, |d| d.p99_ns);
        if vm.rtt_received.is_some() || native.rtt_received.is_some() {
            add("rtt_received_p50_ns", vm.rtt_received, native.rtt_received, |d| d.p50_ns);
        }
    }
    for frame in vm.bandwidth.iter().flat_map(|b| &b.frames) {
        if let Some(other) = native.frame(&frame.frame, frame.size_bytes) {
            let mean = |f: &crate::summary::FrameSummary| f.rate.map(|r| r.mean_gb_per_s);
            ratios.push(Ratio::new(format!("rate_{}_mean_gb_per_s", frame.frame), mean(frame), mean(other)));
        }
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(Ratio::new("x".into(), Some(130.0), Some(120.0)).vm_over_native, Some(130.0 / 120.0));
        assert_eq!(Ratio::new("x".into(), Some(1.0), Some(0.0)).vm_over_native, None);
        assert_eq!(Ratio::new("x".into(), None, Some(1.0)).vm_over_native, None);
    }
}
