//! What a run's messages come to; also, serialised, `latency` of a run in summary.json.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::{Latency, LatencyPlan, OneWayFigures, Provenance, Run, Samples};
use crate::stats::{MIN_SAMPLES_BEYOND, Percentile, Sorted};

/// A latency file, or the figures of one that was not written.
#[derive(Debug, Clone, Serialize)]
pub struct LatencySummary {
    /// `closed`: a message after the acknowledgement of the one before; `open`: messages due on a schedule.
    #[serde(rename = "loop")]
    pub loop_kind: &'static str,
    /// Messages: rows, and those without one.
    pub sent: u64,
    /// Rows with status ok.
    pub ok: u64,
    /// Rows with another status.
    pub failed: u64,
    /// Messages without a row.
    pub lost: u64,
    /// Failed rows by status.
    pub failed_by_status: BTreeMap<String, u64>,
    /// Round trip to PROCESSED; of a closed loop.
    pub rtt_processed: Option<Distribution>,
    /// Round trip to RECEIVED; of a closed loop.
    pub rtt_received: Option<Distribution>,
    /// Due time to PROCESSED; of an open loop.
    pub from_due_processed: Option<Distribution>,
    /// Due time to RECEIVED; of an open loop.
    pub from_due_received: Option<Distribution>,
    /// Due time to publication; of an open loop.
    pub send_delay: Option<Distribution>,
    /// The writer's histogram, of a run that kept no samples.
    pub histogram: Option<HistogramSummary>,
    /// Half the round trip to PROCESSED: an estimate.
    pub half_rtt_estimate: Option<HalfRtt>,
    /// One-way latencies, where both clocks could be compared.
    pub one_way: Option<OneWay>,
}

/// Figures of the writer's histogram, in nanoseconds. A percentile is `None` with fewer than 10 messages beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HistogramSummary {
    /// Messages.
    pub count: u64,
    /// 50th percentile.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile.
    pub p99_9_ns: Option<u64>,
    /// Largest.
    pub max_ns: Option<u64>,
}

/// One-way latencies of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OneWay {
    /// Each figure is off by this much at most.
    pub bound_ns: Option<f64>,
    /// Host to guest.
    pub to_guest: OneWaySummary,
    /// Guest to host.
    pub to_host: OneWaySummary,
}

/// One direction, in nanoseconds; a figure within the error bound of 0 may be below it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OneWaySummary {
    /// Median.
    pub p50_ns: Option<f64>,
    /// 99th percentile.
    pub p99_ns: Option<f64>,
}

/// Statistics of durations, in nanoseconds. A percentile is `None` with fewer than 10 samples beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min_ns: u64,
    /// Largest.
    pub max_ns: u64,
    /// Arithmetic mean.
    pub mean_ns: f64,
    /// Sample standard deviation; `None` for a single sample.
    pub stddev_ns: Option<f64>,
    /// 50th percentile.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 95th percentile.
    pub p95_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile.
    pub p99_9_ns: Option<u64>,
    /// 99.99th percentile.
    pub p99_99_ns: Option<u64>,
}

/// One way, if both ways took the same time, which nothing here shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HalfRtt {
    /// What the figures rest on.
    pub assumes: &'static str,
    /// Half the mean, in nanoseconds.
    pub mean_ns: f64,
    /// Half the 50th percentile, in nanoseconds.
    pub p50_ns: Option<f64>,
}

impl LatencySummary {
    /// Of `run`, whose times to PROCESSED and to RECEIVED are given sorted; `None` if it has no latency test.
    #[must_use]
    pub fn of(run: &Run, processed: Option<&Sorted<u64>>, received: Option<&Sorted<u64>>) -> Option<Self> {
        match &run.latency {
            Some(latency) => Some(Self::of_samples(latency, [processed, received], run.provenance.as_ref())),
            None => run.histogram_plan().and_then(Self::of_histogram),
        }
    }

    fn of_histogram(plan: &LatencyPlan) -> Option<Self> {
        let histogram = HistogramSummary::of(plan)?;
        // `sent` counts the warm-up, too; how those that count ended is in the counts.
        let mut failed_by_status = plan.status_counts.clone().unwrap_or_default();
        failed_by_status.retain(|status, count| status != "ok" && *count > 0);
        let failed = failed_by_status.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        Some(Self {
            loop_kind: loop_kind(plan.is_open()),
            sent: histogram.count.saturating_add(failed),
            ok: histogram.count,
            failed,
            lost: 0,
            failed_by_status,
            rtt_processed: None,
            rtt_received: None,
            from_due_processed: None,
            from_due_received: None,
            send_delay: None,
            histogram: Some(histogram),
            half_rtt_estimate: None,
            one_way: OneWay::of(&Samples::default(), Some(plan)),
        })
    }

    fn of_samples(
        latency: &Latency,
        sorted: [Option<&Sorted<u64>>; 2],
        provenance: Option<&Provenance>,
    ) -> Self {
        let rows = latency.rows();
        let numbered = rows.saturating_add(latency.lost());
        let sent = numbered.max(promised_messages(provenance).unwrap_or(0));
        let plan = provenance.and_then(|p| p.run.latency.as_ref());
        let open = plan.is_some_and(LatencyPlan::is_open);
        let samples = &latency.samples;
        let [processed, received] = sorted.map(|sorted| sorted.and_then(Distribution::of_sorted));
        let rtt_processed = processed.filter(|_| !open);
        Self {
            loop_kind: loop_kind(open),
            sent,
            ok: samples.len() as u64,
            failed: latency.failures.count(),
            lost: sent - rows,
            failed_by_status: latency.failures.by_status.clone(),
            rtt_processed,
            rtt_received: received.filter(|_| !open),
            from_due_processed: processed.filter(|_| open),
            from_due_received: received.filter(|_| open),
            send_delay: Distribution::of(samples.send_delay_ns()),
            histogram: None,
            one_way: OneWay::of(samples, plan),
            half_rtt_estimate: rtt_processed.map(|rtt| HalfRtt {
                assumes: "symmetry",
                mean_ns: rtt.mean_ns / 2.0,
                p50_ns: rtt.p50_ns.map(|p| p as f64 / 2.0),
            }),
        }
    }

    /// Whether latency counts from the due time.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.loop_kind == loop_kind(true)
    }

    /// Time to PROCESSED, counted as the loop demands.
    #[must_use]
    pub fn processed(&self) -> Option<&Distribution> {
        self.rtt_processed.as_ref().or(self.from_due_processed.as_ref())
    }

    /// Time to RECEIVED, likewise.
    #[must_use]
    pub fn received(&self) -> Option<&Distribution> {
        self.rtt_received.as_ref().or(self.from_due_received.as_ref())
    }

    /// 50th percentile of the time to PROCESSED, from samples or histogram.
    #[must_use]
    pub fn p50_ns(&self) -> Option<u64> {
        self.processed().map_or_else(|| self.histogram?.p50_ns, |d| d.p50_ns)
    }

    /// 99th percentile of it.
    #[must_use]
    pub fn p99_ns(&self) -> Option<u64> {
        self.processed().map_or_else(|| self.histogram?.p99_ns, |d| d.p99_ns)
    }
}

fn loop_kind(open: bool) -> &'static str {
    if open { "open" } else { "closed" }
}

/// How many messages a run that came to its end says it sent. One that was stopped sent fewer, and lost none by it.
fn promised_messages(provenance: Option<&Provenance>) -> Option<u64> {
    let run = &provenance?.run;
    if run.completed == Some(true) { run.latency.as_ref()?.messages } else { None }
}

impl Distribution {
    /// Of `samples_ns`; `None` if there are none.
    #[must_use]
    pub fn of(samples_ns: impl Iterator<Item = u64>) -> Option<Self> {
        Self::of_sorted(&Sorted::of_durations_ns(samples_ns))
    }

    /// The same of samples that are sorted already.
    #[must_use]
    pub fn of_sorted(sorted: &Sorted<u64>) -> Option<Self> {
        let moments = sorted.moments()?;
        let [p50_ns, p90_ns, p95_ns, p99_ns, p99_9_ns, p99_99_ns] =
            Percentile::REPORTED.map(|percentile| sorted.percentile(percentile));
        let all = sorted.as_slice();
        Some(Self {
            count: all.len() as u64,
            min_ns: *all.first()?,
            max_ns: *all.last()?,
            mean_ns: moments.mean,
            stddev_ns: moments.stddev,
            p50_ns,
            p90_ns,
            p95_ns,
            p99_ns,
            p99_9_ns,
            p99_99_ns,
        })
    }

    /// The percentiles with their names, in the order of [`Percentile::REPORTED`].
    #[must_use]
    pub fn percentiles(&self) -> [(String, Option<u64>); 6] {
        let values = [self.p50_ns, self.p90_ns, self.p95_ns, self.p99_ns, self.p99_9_ns, self.p99_99_ns];
        std::array::from_fn(|i| (Percentile::REPORTED[i].name(), values[i]))
    }
}

impl HistogramSummary {
    fn of(plan: &LatencyPlan) -> Option<Self> {
        let figures = plan.rtt_ns?;
        let count = figures.count?;
        let known = |percentile: Percentile, ns: Option<u64>| {
            let beyond = count as usize - percentile.rank(count as usize);
            ns.filter(|_| beyond >= MIN_SAMPLES_BEYOND)
        };
        let [p50, p90, _, p99, p99_9, _] = Percentile::REPORTED;
        Some(Self {
            count,
            p50_ns: known(p50, figures.p50),
            p90_ns: known(p90, figures.p90),
            p99_ns: known(p99, figures.p99),
            p99_9_ns: known(p99_9, figures.p99_9),
            max_ns: figures.max,
        })
    }
}

impl OneWay {
    /// From the samples, or where they have none from the writer's figures; `None` unless the writer accepted its clocks.
    fn of(samples: &Samples, plan: Option<&LatencyPlan>) -> Option<Self> {
        let plan = plan?.one_way.as_ref().filter(|one_way| one_way.accepted)?;
        let direction = |samples: Vec<i64>, figures: Option<OneWayFigures>| {
            let sorted = Sorted::new(samples);
            if sorted.as_slice().is_empty() {
                let figures = figures.unwrap_or_default();
                return OneWaySummary { p50_ns: figures.p50, p99_ns: figures.p99 };
            }
            let written = figures.unwrap_or_default();
            let figure = |percentile, written| Some(with_tenths(sorted.percentile(percentile)?, written));
            OneWaySummary {
                p50_ns: figure(Percentile::P50, written.p50),
                p99_ns: figure(Percentile::P99, written.p99),
            }
        };
        Some(Self {
            bound_ns: plan.bound_ns,
            to_guest: direction(samples.to_guest_ns().collect(), plan.to_guest_ns),
            to_host: direction(samples.to_host_ns().collect(), plan.to_host_ns),
        })
    }
}

/// Rows hold whole nanoseconds and the writer's figures of the same samples tenths: those, where both agree.
fn with_tenths(of_rows_ns: i64, written_ns: Option<f64>) -> f64 {
    let of_rows_ns = of_rows_ns as f64;
    written_ns.filter(|ns| (ns - of_rows_ns).abs() <= 1.0).unwrap_or(of_rows_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Sample;
    use serde_json::json;

    fn plan(json: serde_json::Value) -> LatencyPlan {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_histograms_percentile_needs_ten_messages_beyond_it() {
        let figures = json!({"p50": 130, "p90": 140, "p99": 150, "p99.9": 160, "max": 170, "count": 1000});
        let summary = HistogramSummary::of(&plan(json!({"rtt_ns": figures}))).unwrap();
        assert_eq!((summary.p50_ns, summary.p99_ns, summary.p99_9_ns), (Some(130), Some(150), None));
        assert_eq!(summary.max_ns, Some(170));
    }

    #[test]
    fn one_way_figures_come_from_the_samples_and_only_if_accepted() {
        let sample = |ns| Sample {
            iteration: 1,
            processed_ns: 130,
            received_ns: None,
            send_delay_ns: None,
            to_guest_ns: Some(ns),
            to_host_ns: None,
        };
        let samples: Samples = (-10..11).map(sample).collect();
        let one_way = json!({"accepted": true, "bound_ns": 40.0, "to_host_ns": {"p50": 66.0, "p99": 90.0}});
        let accepted = OneWay::of(&samples, Some(&plan(json!({"one_way": one_way})))).unwrap();
        assert_eq!(accepted.to_guest, OneWaySummary { p50_ns: Some(0.0), p99_ns: None });
        assert_eq!(accepted.to_host, OneWaySummary { p50_ns: Some(66.0), p99_ns: Some(90.0) });
        // The rows' 0 was rounded; a figure further off is of other samples.
        for (written, expected) in [(0.4, 0.4), (-0.5, -0.5), (7.0, 0.0)] {
            let one_way = json!({"accepted": true, "to_guest_ns": {"p50": written}});
            let accepted = OneWay::of(&samples, Some(&plan(json!({"one_way": one_way})))).unwrap();
            assert_eq!(accepted.to_guest.p50_ns, Some(expected));
        }
        let refused = plan(json!({"one_way": {"accepted": false, "why": "drift"}}));
        assert_eq!(OneWay::of(&samples, Some(&refused)), None);
    }
}
