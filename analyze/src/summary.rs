//! What the samples of a run come to; also, serialised, the runs of summary.json.
//!
//! Percentiles, mean and spread are over ok rows. Every other row is counted by its status.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::{Frame, Latency, Provenance, Run, Transfer};
use crate::limit::Limit;
use crate::stats::{Moments, Percentile, Sorted};

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// `vm`, `native`, or `unknown` without a run.json.
    pub role: &'static str,
    /// Its directory as given.
    pub directory: String,
    /// Its latency file.
    pub latency: Option<LatencySummary>,
    /// Its bandwidth file.
    pub bandwidth: Option<BandwidthSummary>,
}

/// A latency file.
#[derive(Debug, Clone, Serialize)]
pub struct LatencySummary {
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
    /// Round trip to PROCESSED.
    pub rtt_processed: Option<Distribution>,
    /// Round trip to RECEIVED.
    pub rtt_received: Option<Distribution>,
    /// Half the round trip to PROCESSED: an estimate.
    pub half_rtt_estimate: Option<HalfRtt>,
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

/// A bandwidth file.
#[derive(Debug, Clone, Serialize)]
pub struct BandwidthSummary {
    /// What a rate is believed up to.
    pub believable_limit: Limit,
    /// By frame format, smallest first.
    pub frames: Vec<FrameSummary>,
}

/// One frame format. Medians are of ok rows, in nanoseconds, `None` where not measured.
#[derive(Debug, Clone, Serialize)]
pub struct FrameSummary {
    /// Its name.
    pub frame: String,
    /// Payload bytes.
    pub size_bytes: u64,
    /// Frames: rows, and those without one.
    pub sent: u64,
    /// Rows with status ok.
    pub ok: u64,
    /// Ok rows whose digest matched.
    pub verified: u64,
    /// Rows with another status.
    pub failed: u64,
    /// Frames without a row.
    pub lost: u64,
    /// ok / sent, 0 to 1.
    pub success_rate: f64,
    /// Failed rows by status.
    pub failed_by_status: BTreeMap<String, u64>,
    /// Payload rate, 1e9 bytes a second.
    pub rate: Option<Rate>,
    /// Ok rows with a rate above the believable limit; they are in all figures.
    pub above_limit: u64,
    /// First byte written to PROCESSED.
    pub duration_median_ns: Option<u64>,
    /// Shortest.
    pub duration_min_ns: Option<u64>,
    /// Longest.
    pub duration_max_ns: Option<u64>,
    /// Writing.
    pub write_median_ns: Option<u64>,
    /// Publication to RECEIVED.
    pub notify_median_ns: Option<u64>,
    /// RECEIVED to PROCESSED.
    pub read_median_ns: Option<u64>,
    /// The guest's copy on its own clock, of which the read rate is made: RECEIVED to PROCESSED shrinks to nothing
    /// when the host's thread notices RECEIVED late.
    pub guest_read_median_ns: Option<u64>,
    /// PROCESSED to the verdict, outside the duration.
    pub verify_median_ns: Option<u64>,
}

/// Payload rates, 1e9 bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Arithmetic mean.
    pub mean_gb_per_s: f64,
    /// Sample standard deviation; `None` for a single sample.
    pub stddev_gb_per_s: Option<f64>,
    /// Rate of the median duration.
    pub median_gb_per_s: f64,
    /// Lowest.
    pub min_gb_per_s: f64,
    /// Highest.
    pub max_gb_per_s: f64,
}

impl RunSummary {
    /// Of `run`.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let role = match &run.provenance {
            Some(_) if run.is_native() => "native",
            Some(_) => "vm",
            None => "unknown",
        };
        let limit = Limit::of(run.provenance.as_ref());
        Self {
            role,
            directory: run.directory.display().to_string(),
            latency: run.latency.as_ref().map(|l| LatencySummary::of(l, run.provenance.as_ref())),
            bandwidth: run.bandwidth.as_ref().map(|b| BandwidthSummary {
                frames: b.frames.iter().map(|f| FrameSummary::of(f, &limit)).collect(),
                believable_limit: limit,
            }),
        }
    }

    /// The frame format of that name and size.
    #[must_use]
    pub fn frame(&self, name: &str, size_bytes: u64) -> Option<&FrameSummary> {
        self.bandwidth.iter().flat_map(|b| &b.frames).find(|f| f.frame == name && f.size_bytes == size_bytes)
    }
}

impl LatencySummary {
    fn of(latency: &Latency, provenance: Option<&Provenance>) -> Self {
        let rows = latency.rows();
        let numbered = rows.saturating_add(latency.lost());
        let sent = numbered.max(promised_messages(provenance).unwrap_or(0));
        let mut failed_by_status = BTreeMap::new();
        for failure in &latency.failures {
            *failed_by_status.entry(failure.status.clone()).or_default() += 1;
        }
        let rtt_processed = Distribution::of(latency.processed_ns());
        Self {
            sent,
            ok: latency.samples.len() as u64,
            failed: latency.failures.len() as u64,
            lost: sent - rows,
            failed_by_status,
            rtt_processed,
            rtt_received: Distribution::of(latency.received_ns()),
            half_rtt_estimate: rtt_processed.map(|rtt| HalfRtt {
                assumes: "symmetry",
                mean_ns: rtt.mean_ns / 2.0,
                p50_ns: rtt.p50_ns.map(|p| p as f64 / 2.0),
            }),
        }
    }
}

/// How many messages a run that came to its end says it sent. One that was stopped sent fewer, and lost none by it.
fn promised_messages(provenance: Option<&Provenance>) -> Option<u64> {
    let run = &provenance?.run;
    if run.completed == Some(true) { run.latency.as_ref()?.messages } else { None }
}

impl Distribution {
    /// Of `samples_ns`; `None` if there are none.
    #[must_use]
    pub fn of(samples_ns: Vec<u64>) -> Option<Self> {
        let moments = Moments::of(&samples_ns.iter().map(|ns| *ns as f64).collect::<Vec<_>>())?;
        let sorted = Sorted::new(samples_ns);
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

impl FrameSummary {
    fn of(frame: &Frame, limit: &Limit) -> Self {
        let rates = frame.rates_gb_per_s();
        let ok = frame.transfers.len() as u64;
        let sent = frame.rows().saturating_add(frame.lost);
        let phase = |of: fn(&Transfer) -> Option<u64>| -> Option<u64> {
            Sorted::new(frame.transfers.iter().filter_map(of).collect()).median()
        };
        let durations = Sorted::new(frame.transfers.iter().map(|t| t.duration_ns).collect());
        Self {
            frame: frame.name.clone(),
            size_bytes: frame.bytes,
            sent,
            ok,
            verified: frame.transfers.iter().filter(|t| t.verified).count() as u64,
            failed: frame.failures.values().sum(),
            lost: frame.lost,
            success_rate: ok as f64 / sent as f64,
            failed_by_status: frame.failures.clone(),
            above_limit: rates.iter().filter(|rate| limit.is_exceeded_by(**rate)).count() as u64,
            rate: Rate::of(rates),
            duration_median_ns: durations.median(),
            duration_min_ns: durations.as_slice().first().copied(),
            duration_max_ns: durations.as_slice().last().copied(),
            write_median_ns: phase(|t| t.write_ns),
            notify_median_ns: phase(|t| t.notify_ns),
            read_median_ns: phase(|t| t.read_ns),
            guest_read_median_ns: phase(|t| t.guest_read_ns),
            verify_median_ns: phase(|t| t.verify_ns),
        }
    }
}

impl Rate {
    fn of(rates: Vec<f64>) -> Option<Self> {
        let moments = Moments::of(&rates)?;
        let sorted = Sorted::new(rates);
        Some(Self {
            mean_gb_per_s: moments.mean,
            stddev_gb_per_s: moments.stddev,
            median_gb_per_s: sorted.upper_median()?,
            min_gb_per_s: *sorted.as_slice().first()?,
            max_gb_per_s: *sorted.as_slice().last()?,
        })
    }
}
