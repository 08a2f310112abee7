//! From what was measured to what run.json says of it.

use std::collections::BTreeMap;

use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::geometry::Geometry;

use crate::bandwidth::Row;
use crate::broadcast::Rows;
use crate::calibrate::Calibration;
use crate::config::{BandwidthPlan, Extent, LatencyPlan, Mode, Pace, PayloadSize};
use crate::latency::Measured;
use crate::load::LoadRecord;
use crate::median::lower_median;
use crate::one_way::OneWay;
use crate::percentiles::Percentiles;
use crate::run_json::{BandwidthFacts, FirstMismatch, LatencyFacts, LoadFacts};
use crate::status::{Counts, RowStatus};

/// What has been measured so far; grows while the run lasts, so that an early end loses nothing.
#[derive(Debug)]
pub struct Results {
    /// The latency test.
    pub latency: Measured,
    /// One-way latencies, when asked for.
    pub one_way: Option<OneWay>,
    /// Messages to many guests at once.
    pub broadcast: Option<Rows>,
    /// The bandwidth test.
    pub rows: Vec<Row>,
    /// Kernels and roofs.
    pub calibration: Calibration,
    /// Size of the last working set.
    pub working_set_bytes: Option<u64>,
}

impl Results {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never; see [`Measured::new`].
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Measured::new()?,
            one_way: None,
            broadcast: None,
            rows: Vec::new(),
            calibration: Calibration::default(),
            working_set_bytes: None,
        })
    }

    /// Puts the rows of each size in the order of their iterations: a frame that was dropped is over before those that were
    /// in flight then.
    pub fn put_in_order(&mut self) {
        for group in self.rows.chunk_by_mut(|a, b| a.size == b.size) {
            group.sort_by_key(|row| row.iteration);
        }
    }

    /// Whether every message ended well, those of the warm-up included.
    #[must_use]
    pub fn all_ok(&self) -> bool {
        let counts = &self.latency.counts;
        counts.of(RowStatus::Ok) == counts.total()
            && self.latency.lost + self.latency.duplicated + self.latency.reordered == 0
            && self.rows.iter().all(|row| row.transfer.status == RowStatus::Ok)
    }
}

/// Number or time, as two fields.
fn extent(extent: Extent) -> (Option<u64>, Option<f64>) {
    match extent {
        Extent::Count(count) => (Some(count), None),
        Extent::Time(length) => (None, Some(length.as_secs_f64())),
    }
}

/// The latency test.
#[must_use]
pub fn latency(plan: &LatencyPlan, results: &Results) -> LatencyFacts {
    let measured = &results.latency;
    let (messages, duration_s) = extent(plan.extent);
    let (loop_kind, interval_ns, rate_per_s, arrivals) = match plan.pace {
        Pace::Closed(interval) => ("closed", interval.as_nanos() as u64, None, None),
        Pace::Open { rate_per_s, arrivals } => ("open", 0, Some(rate_per_s), Some(arrivals.name())),
    };
    let count = measured.counts.total();
    let mean_rate = (measured.elapsed_ns > 0).then(|| count as f64 * 1e9 / measured.elapsed_ns as f64);
    let achieved_per_s = measured.kept.map_or(mean_rate, |kept| kept.achieved_per_s);
    LatencyFacts {
        messages,
        duration_s,
        warmup: plan.warmup,
        interval_ns,
        loop_kind,
        rate_per_s,
        arrivals,
        achieved_per_s: achieved_per_s.map(f64::round),
        missed_rate: measured.kept.is_some_and(|kept| kept.missed_rate),
        payload_bytes: plan.payload_bytes,
        record: plan.record.name(),
        sent: measured.published,
        lost: measured.lost,
        duplicated: measured.duplicated,
        reordered: measured.reordered,
        rtt_ns: Percentiles::from(&measured.rtt),
        received_ns: Percentiles::from(&measured.received),
        one_way: results.one_way.clone(),
        ok: measured.counts.of(RowStatus::Ok),
        status_counts: measured.counts.by_name(),
    }
}

/// What the rates of an open loop are.
const PACED: &str = "total rates are those asked for with --fps, not what the link can do";

/// The bandwidth test; `llc_bytes` is the last-level cache of the CPU it ran on.
#[must_use]
pub fn bandwidth(
    plan: &BandwidthPlan,
    sizes: &[PayloadSize],
    geometry: &Geometry,
    results: &Results,
    clock: &Clock,
    llc_bytes: Option<u64>,
) -> BandwidthFacts {
    let rows = &results.rows;
    let mut counts = Counts::default();
    rows.iter().for_each(|row| counts.add(row.transfer.status));
    let (iterations, duration_s) = extent(plan.extent);
    let fps = plan.mode.fps();
    let streams = if matches!(plan.mode, Mode::Stream { .. }) { sizes } else { &[] };
    let periods: Vec<(String, Vec<u64>)> =
        streams.iter().map(|size| (size.name(), periods_ns(rows, *size, clock))).collect();
    let arrived = rows.iter().filter(|row| row.transfer.duration_ns.is_some()).count() as u64;
    BandwidthFacts {
        frames: sizes.iter().map(|size| size.name()).collect(),
        iterations,
        duration_s,
        mode: plan.mode.name(),
        direction: plan.direction.name(),
        chunk_bytes: plan.mode.chunk_bytes(),
        slots: geometry.slot_count(),
        fps,
        note: fps.map(|_| PACED),
        cache: plan.cache.name(),
        working_set_bytes: results.working_set_bytes,
        llc_bytes,
        consume: plan.consume.name(),
        verify: plan.digest.name(),
        verify_every: plan.verify_every,
        verified: rows.iter().filter(|row| row.transfer.verified).count() as u64,
        checked: rows.iter().filter(|row| row.transfer.verified || row.is_mismatch()).count() as u64,
        verifiable: arrived,
        first_mismatch: rows.iter().find(|row| row.is_mismatch()).map(|row| FirstMismatch {
            frame_type: row.size.name(),
            iteration: row.iteration,
            message: row.transfer.sequence,
            offset_bytes: row.transfer.mismatch_offset,
        }),
        sustained_fps: periods
            .iter()
            .filter_map(|(name, periods)| {
                let sum: u64 = periods.iter().sum();
                (sum > 0).then(|| (name.clone(), (periods.len() as f64 * 1e12 / sum as f64).round() / 1e3))
            })
            .collect(),
        period_ns_p50: periods
            .iter()
            .filter_map(|(name, periods)| Some((name.clone(), lower_median(periods.clone())?)))
            .collect::<BTreeMap<_, _>>(),
        late: fps.map(|_| rows.iter().filter(|row| row.late == Some(true)).count() as u64),
        dropped: counts.of(RowStatus::Dropped),
        seed: plan.seed,
        ok: counts.of(RowStatus::Ok),
        status_counts: counts.by_name(),
    }
}

/// Times from the end of one payload of a size to the end of the next, in nanoseconds.
fn periods_ns(rows: &[Row], size: PayloadSize, clock: &Clock) -> Vec<u64> {
    let end = |row: &Row| {
        let ns = row.transfer.duration_ns?;
        Some(clock.ns(Ticks(0), row.transfer.start) + ns)
    };
    let ends: Vec<u64> = rows.iter().filter(|row| row.size == size).filter_map(end).collect();
    ends.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()
}

impl LoadFacts {
    /// What ran on the host and in the guest; `None` when nothing did.
    #[must_use]
    pub fn of(host: Option<&LoadRecord>, guest_command: Option<String>) -> Option<Self> {
        let label = match (host, &guest_command) {
            (None, None) => return None,
            (Some(host), None) => host.spec.to_string(),
            (None, Some(_)) => "in the guest".to_owned(),
            (Some(host), Some(_)) => format!("{} and in the guest", host.spec),
        };
        Some(Self {
            host: host.map(|record| record.spec),
            host_command: host.map(|record| record.command.clone()),
            host_seconds: host.map(|record| (record.seconds * 1e3).round() / 1e3),
            guest_command,
            label,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Direction;
    use crate::transfer::Transfer;
    use ivshmem_proto::wire::Digest;

    #[test]
    fn rows_stand_in_the_order_of_their_iterations_size_by_size() {
        let transfer = Transfer::published(1, Direction::HostToGuest, Digest::None, Ticks(0));
        let row = |bytes, iteration| Row { iteration, ..Row::sample(PayloadSize::Bytes(bytes), transfer) };
        let mut results = Results::new().unwrap();
        // The third was dropped while the first two were in flight.
        results.rows = [(64, 3), (64, 1), (64, 2), (128, 2), (128, 1)].map(|(b, i)| row(b, i)).into();
        results.put_in_order();
        let order: Vec<_> = results.rows.iter().map(|row| (row.size.bytes(), row.iteration)).collect();
        assert_eq!(order, [(64, 1), (64, 2), (64, 3), (128, 1), (128, 2)]);
    }
}
