//! What run.json says of the two tests: what was asked, and the figures only the writer could count.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The latency test.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct LatencyPlan {
    /// Messages, without warm-up.
    pub messages: Option<u64>,
    /// Warm-up messages, which are in no row.
    pub warmup: Option<u64>,
    /// Pause between messages.
    pub interval_ns: Option<u64>,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub loop_kind: Option<String>,
    /// Messages due a second, of an open loop.
    pub rate_per_s: Option<f64>,
    /// `uniform` or `poisson`.
    pub arrivals: Option<String>,
    /// Bytes of each message.
    pub payload_bytes: Option<u64>,
    /// `samples` or `histogram`.
    pub record: Option<String>,
    /// How long it was to last.
    pub duration_s: Option<f64>,
    /// Messages sent.
    pub sent: Option<u64>,
    /// How the messages that count ended.
    pub status_counts: Option<BTreeMap<String, u64>>,
    /// Messages never acknowledged.
    pub lost: Option<u64>,
    /// Acknowledgements that came twice.
    pub duplicated: Option<u64>,
    /// Acknowledgements out of order.
    pub reordered: Option<u64>,
    /// Whether the writer could not keep the rate.
    pub missed_rate: Option<bool>,
    /// The rate it kept.
    pub achieved_per_s: Option<f64>,
    /// Figures of the writer's histogram.
    pub rtt_ns: Option<RttFigures>,
    /// One-way latencies.
    pub one_way: Option<OneWayPlan>,
}

/// Figures of a histogram, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct RttFigures {
    /// 50th percentile.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    #[serde(rename = "p99.9")]
    pub p99_9: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
    /// Messages counted.
    pub count: Option<u64>,
}

/// Whether the clocks of both machines could be compared, and what came of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OneWayPlan {
    /// Whether the error bound was small enough.
    #[serde(default)]
    pub accepted: bool,
    /// Why not.
    pub why: Option<String>,
    /// The error bound of the clocks' offset.
    pub bound_ns: Option<f64>,
    /// How fast the clocks part.
    pub drift_ppm: Option<f64>,
    /// Exchanges the offset was taken from.
    pub exchanges: Option<u64>,
    /// Host to guest, of the writer's histogram.
    pub to_guest_ns: Option<OneWayFigures>,
    /// Guest to host.
    pub to_host_ns: Option<OneWayFigures>,
}

/// Figures of one direction, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct OneWayFigures {
    /// 50th percentile.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// The bandwidth test.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BandwidthPlan {
    /// Frame formats.
    pub frames: Option<Vec<String>>,
    /// Iterations of each.
    pub iterations: Option<u64>,
    /// `host-to-guest`, `guest-to-host`, or `both` at once.
    pub direction: Option<String>,
    /// Digest.
    pub verify: Option<String>,
    /// Seed of the content.
    pub seed: Option<u64>,
    /// Frames due a second, of an open-loop stream.
    pub fps: Option<f64>,
    /// How long it was to last.
    pub duration_s: Option<f64>,
    /// Bytes walked through between frames so that no cache holds them.
    pub working_set_bytes: Option<u64>,
    /// Last-level cache.
    pub llc_bytes: Option<u64>,
    /// One frame of so many is verified.
    pub verify_every: Option<u64>,
}

impl BandwidthPlan {
    /// Whether both sides wrote at once, so that each direction was slowed down by the other.
    #[must_use]
    pub fn is_both_ways(&self) -> bool {
        self.direction.as_deref() == Some("both")
    }
}

impl LatencyPlan {
    /// Whether messages were due on a schedule, and latency counts from the due time.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.loop_kind.as_deref() == Some("open")
    }

    /// Whether the writer kept a histogram instead of samples.
    #[must_use]
    pub fn is_histogram(&self) -> bool {
        self.record.as_deref() == Some("histogram")
    }
}
