//! Looks for reasons to doubt: in run.json, in the rows, in the shape of the samples.

use super::{BELIEVABLE_RTT_NS, Doubt, setup};
use crate::input::{Frame, Latency, Run};
use crate::latency_summary::LatencySummary;
use crate::stats::Percentile;
use crate::stats::shape::Shape;
use crate::summary::RunSummary;

/// A drift of fewer percent is shown with the other figures, and no reason to doubt them.
const NOTABLE_DRIFT_PERCENT: f64 = 5.0;

/// How many round trips cannot be what they say they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OddRows {
    zero: u64,
    huge: u64,
    out_of_order: u64,
}

impl OddRows {
    /// Of the rows of `run`, each of which is looked at.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let [mut zero, mut huge, mut out_of_order] = [0_u64; 3];
        for (processed_ns, received_ns) in
            run.latency.iter().flat_map(|l| l.samples.processed_and_received_ns())
        {
            zero += u64::from(processed_ns == 0 || received_ns == Some(0));
            huge += u64::from(processed_ns > BELIEVABLE_RTT_NS || received_ns > Some(BELIEVABLE_RTT_NS));
            out_of_order += u64::from(received_ns > Some(processed_ns));
        }
        Self { zero, huge, out_of_order }
    }
}

/// All, in the order in which they are told if they are as grave.
pub(super) fn all(run: &Run, summary: &RunSummary, shape: Option<&Shape>, odd: &OddRows) -> Vec<Doubt> {
    let mut doubts = of_provenance(run);
    doubts.extend(of_bandwidth(run, summary));
    doubts.extend(of_latency(run, summary, odd));
    if let Some(provenance) = &run.provenance {
        doubts.extend(setup::doubts(provenance, summary.latency.as_ref()));
    }
    doubts.extend(shape.into_iter().flat_map(of_shape));
    doubts.extend(summary.latency.as_ref().and_then(too_few_samples));
    doubts
}

fn of_provenance(run: &Run) -> Vec<Doubt> {
    let Some(provenance) = &run.provenance else { return vec![Doubt::NoProvenance { has_run_json: false }] };
    let json = &provenance.run;
    let mut doubts = Vec::new();
    if !json.says_where() {
        doubts.push(Doubt::NoProvenance { has_run_json: true });
    }
    let rows = run.latency.as_ref().map(Latency::rows);
    let promised = json.latency.as_ref().and_then(|plan| plan.messages);
    if let Some((rows, messages)) = rows.zip(promised).filter(|(rows, messages)| rows > messages) {
        doubts.push(Doubt::OtherRun { rows, messages });
    }
    let violations = json.peer_violations.clone().unwrap_or_default();
    if !violations.is_empty() {
        doubts.push(Doubt::PeerViolations(violations));
    }
    let exceeded = json.roof.as_ref().map(|roof| roof.exceeded.clone()).unwrap_or_default();
    if !exceeded.is_empty() {
        doubts.push(Doubt::RoofExceeded(exceeded));
    }
    if json.is_dirty() {
        let reasons = json.interference.as_ref().and_then(|i| i.reasons.clone());
        let reasons = reasons.unwrap_or_default();
        doubts.push(match json.load_label() {
            Some(load) => Doubt::Loaded { load: load.to_owned(), reasons },
            None => Doubt::Dirty(reasons),
        });
    }
    let interrupted = json.interrupted == Some(true);
    if interrupted || json.completed == Some(false) {
        doubts.push(Doubt::Incomplete { interrupted });
    }
    let throttled = json.interference.as_ref().and_then(|i| i.throttle_events).unwrap_or(0);
    if throttled > 0 {
        doubts.push(Doubt::Throttled(throttled));
    }
    doubts
}

fn of_bandwidth(run: &Run, summary: &RunSummary) -> Vec<Doubt> {
    let (Some(bandwidth), Some(summary)) = (&run.bandwidth, &summary.bandwidth) else { return Vec::new() };
    let total = |of: fn(&crate::summary::FrameSummary) -> u64| summary.frames.iter().map(of).sum::<u64>();
    let (sent, ok) = (total(|f| f.sent), total(|f| f.ok));
    let mut doubts = Vec::new();
    if total(|f| f.above_limit) > 0 {
        let limit = summary.believable_limit.as_ref();
        doubts.extend(limit.map(|limit| Doubt::AboveLimit {
            count: total(|f| f.above_limit),
            of: ok,
            limit_gb_per_s: limit.gb_per_s,
            copy_kernel: limit.copy_kernel.clone(),
        }));
    }
    let wrong = total(|f| f.mismatches.len() as u64);
    if wrong > 0 {
        doubts.push(Doubt::WrongBytes(wrong));
    }
    let dropped = total(crate::summary::FrameSummary::dropped);
    if dropped > 0 {
        doubts.push(Doubt::Dropped { count: dropped, of: sent });
    }
    if total(|f| f.failed) > dropped {
        doubts.push(Doubt::Failed { what: "frame", count: total(|f| f.failed) - dropped, of: sent });
    }
    if total(|f| f.lost) > 0 {
        doubts.push(Doubt::LostFrames(total(|f| f.lost)));
    }
    let unchecked = ok - total(|f| f.verified + f.spared);
    if unchecked > 0 {
        let on_purpose = run.bandwidth_plan().is_some_and(|plan| plan.verify.as_deref() == Some("none"));
        doubts.push(Doubt::Unverified { count: unchecked, of: ok, on_purpose });
    }
    let seen_late = bandwidth.frames.iter().map(Frame::seen_late).sum();
    if seen_late > 0 {
        doubts.push(Doubt::SeenLate { count: seen_late, of: ok });
    }
    if let Some((count, line)) = bandwidth.disagreeing_rates {
        doubts.push(Doubt::RatesDisagree { count, line });
    }
    doubts
}

fn of_latency(run: &Run, summary: &RunSummary, odd: &OddRows) -> Vec<Doubt> {
    let Some(summary) = &summary.latency else { return Vec::new() };
    let OddRows { zero, huge, out_of_order } = *odd;
    let mut doubts = Vec::new();
    if let Some(plan) = run.latency_plan() {
        if plan.missed_rate == Some(true) {
            let (wanted_per_s, achieved_per_s) = (plan.rate_per_s, plan.achieved_per_s);
            doubts.push(Doubt::MissedRate { wanted_per_s, achieved_per_s });
        }
        let (duplicated, reordered) = (plan.duplicated.unwrap_or(0), plan.reordered.unwrap_or(0));
        if duplicated > 0 || reordered > 0 {
            doubts.push(Doubt::Disordered { duplicated, reordered });
        }
    }
    if summary.failed > 0 {
        doubts.push(Doubt::Failed { what: "message", count: summary.failed, of: summary.sent });
    }
    if summary.lost > 0 {
        doubts.push(Doubt::LostMessages(summary.lost));
    }
    for (doubt, count) in [
        (Doubt::ZeroRtt as fn(u64) -> Doubt, zero),
        (Doubt::HugeRtt, huge),
        (Doubt::OutOfOrder, out_of_order),
    ] {
        if count > 0 {
            doubts.push(doubt(count));
        }
    }
    let disagreeing = run.latency.as_ref().map(|latency| latency.disagreeing).unwrap_or_default();
    if disagreeing.count > 0 {
        doubts.push(Doubt::TimesDisagree { count: disagreeing.count, first: disagreeing.first });
    }
    doubts
}

fn of_shape(shape: &Shape) -> Vec<Doubt> {
    let at_limit = shape.autocorrelation.filter(|dependence| dependence.block_length_is_at_limit);
    let is_dependent = at_limit.is_some();
    let mut doubts = Vec::new();
    if let Some(found) = shape.warm_up {
        doubts.push(Doubt::WarmUp { found, is_dependent });
    }
    let drift = shape.drift.filter(|drift| drift.significant && drift.percent.abs() >= NOTABLE_DRIFT_PERCENT);
    if let Some(drift) = drift {
        doubts.push(Doubt::Drift { percent: drift.percent, is_dependent });
    }
    // A run that warms up or drifts depends on itself all through: their advice says it.
    if let Some(dependence) = at_limit.filter(|_| doubts.is_empty()) {
        doubts.push(Doubt::Dependent { block_length: dependence.block_length });
    }
    doubts
}

/// Percentiles of the report that are n/a for want of samples.
fn too_few_samples(latency: &LatencySummary) -> Option<Doubt> {
    let (count, shown) = match (latency.processed(), &latency.histogram) {
        (Some(samples), _) => (samples.count, &Percentile::REPORTED[..]),
        (None, Some(histogram)) => (histogram.count, &Percentile::IN_HISTOGRAM[..]),
        (None, None) => return None,
    };
    let percentiles: Vec<_> = shown
        .iter()
        .filter(|percentile| percentile.samples_needed() > count)
        .map(|percentile| (percentile.name(), percentile.samples_needed()))
        .collect();
    (!percentiles.is_empty()).then_some(Doubt::TooFewSamples { percentiles, count })
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;
    use crate::analysis::Analyzed;
    use crate::input::Sample;

    fn doubts_of(samples_ns: &[u64]) -> Vec<Doubt> {
        let sample = |(i, ns): (usize, &u64)| Sample {
            iteration: i as u64 + 1,
            processed_ns: *ns,
            received_ns: None,
            send_delay_ns: None,
            to_guest_ns: None,
            to_host_ns: None,
        };
        let samples = samples_ns.iter().enumerate().map(sample).collect();
        let latency = Latency::of_ok_rows(samples);
        let run = Run { directory: "r".into(), provenance: None, latency: Some(latency), bandwidth: None };
        Analyzed::of(run).doubts
    }

    fn codes(samples_ns: &[u64]) -> Vec<&'static str> {
        doubts_of(samples_ns).iter().map(Doubt::code).collect()
    }

    #[test]
    fn a_quiet_run_of_enough_samples_lacks_its_provenance_only() {
        let quiet: Vec<u64> = (0..100_000).map(|i| 130 + i * 7_919 % 21).collect();
        assert_eq!(codes(&quiet), ["no_provenance"]);
    }

    #[test]
    fn how_many_samples_each_percentile_needs() {
        let doubts = doubts_of(&[130; 150]);
        let few = doubts.last().unwrap();
        assert_eq!(few.severity(), Severity::Note);
        assert_eq!(
            format!("{few} {}", few.advice()),
            "TOO FEW SAMPLES: there are 150; p95 needs 200, p99 needs 1,000, p99.9 needs 10,000, p99.99 needs 100,000. \
             For all of them: --messages 100000."
        );
    }

    #[test]
    fn a_run_that_changes_is_doubted() {
        let warming: Vec<u64> =
            (0..100_000).map(|i| if i < 3_000 { 260 } else { 130 } + i * 7_919 % 21).collect();
        assert_eq!(codes(&warming), ["no_provenance", "warm_up"]);
        let advice = "Raise --warmup by 6,000. The intervals of this run are too narrow.";
        assert_eq!(doubts_of(&warming)[1].advice(), advice);
        let shifting: Vec<u64> = (0..100_000).map(|i| 1_300 + i * 7_919 % 21 + i / 50_000 * 40).collect();
        assert_eq!(codes(&shifting), ["no_provenance", "dependent"]);
        let drifting: Vec<u64> = (0..100_000).map(|i| 1_300 + i * 7_919 % 21 + i / 500).collect();
        assert_eq!(codes(&drifting), ["no_provenance", "drift"]);
        assert!(doubts_of(&drifting)[1].advice().ends_with("The intervals of this run are too narrow."));
    }
}
