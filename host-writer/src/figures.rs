//! The figures of a run: distributions of round trips, medians of payloads. `analyze` computes the full report.

use hdrhistogram::Histogram;
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::percentile::nearest_rank;
use serde::Serialize;

use crate::cli::Direction;
use crate::config::PayloadSize;
use crate::facts::Results;
use crate::latency::Sample;
use crate::median::lower_median;
use crate::run_json::BandwidthFacts;
use crate::status::RowStatus;
use crate::transfer::Transfer;

/// Percentiles shown.
const PERCENTILES: &[f64] = &[50.0, 90.0, 99.0, 99.9, 99.99];

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Round trips to PROCESSED; null without a message that ended well.
    pub rtt: Option<Distribution>,
    /// Round trips to RECEIVED.
    pub received: Option<Distribution>,
    /// Payloads by size and direction.
    pub frames: Vec<PayloadFigures>,
}

impl Figures {
    /// The figures of `results`. From the samples where they were kept, else from the histograms.
    #[must_use]
    pub fn of(
        sizes: &[PayloadSize],
        results: &Results,
        bandwidth: Option<&BandwidthFacts>,
        clock: &Clock,
    ) -> Self {
        let ok = || results.latency.samples.iter().filter(|s| s.status == RowStatus::Ok);
        let of = |pick: fn(&Sample) -> Option<u64>, histogram: &Histogram<u64>| {
            let ns: Vec<u64> = ok().filter_map(pick).map(|ticks| clock.ns(Ticks(0), Ticks(ticks))).collect();
            Distribution::of(ns).or_else(|| Distribution::of_histogram(histogram))
        };
        let directions = [Direction::HostToGuest, Direction::GuestToHost];
        let groups = sizes.iter().flat_map(|&size| directions.map(|direction| (size, direction)));
        Self {
            rtt: of(Sample::processed_from_due, &results.latency.rtt),
            received: of(Sample::received_from_due, &results.latency.received),
            frames: groups
                .filter_map(|(size, direction)| {
                    // Several are in flight at a time: what counts is from the end of one to the end of the next.
                    let period_ns = bandwidth.and_then(|b| b.period_ns_p50.get(&size.name()).copied());
                    let is_paced = bandwidth.is_some_and(|b| b.fps.is_some());
                    PayloadFigures::of(size, direction, results, period_ns, is_paced)
                })
                .collect(),
        }
    }
}

/// A distribution of nanoseconds.
#[derive(Debug, Serialize)]
pub struct Distribution {
    count: usize,
    pub(crate) min_ns: u64,
    pub(crate) mean_ns: f64,
    pub(crate) max_ns: u64,
    /// Percentile and value; null where fewer than ten samples lie beyond.
    pub(crate) percentiles_ns: Vec<(f64, Option<u64>)>,
}

impl Distribution {
    /// The distribution of the samples; `None` when there are none. Percentiles are nearest ranks.
    #[must_use]
    pub fn of(mut samples_ns: Vec<u64>) -> Option<Self> {
        samples_ns.sort_unstable();
        let count = samples_ns.len();
        let value = |&percentile: &f64| {
            (percentile, rank(percentile, count as u64).map(|r| samples_ns[r as usize - 1]))
        };
        Some(Self {
            count,
            min_ns: *samples_ns.first()?,
            mean_ns: (samples_ns.iter().map(|&ns| ns as f64).sum::<f64>() / count as f64 * 10.0).round()
                / 10.0,
            max_ns: *samples_ns.last()?,
            percentiles_ns: PERCENTILES.iter().map(value).collect(),
        })
    }

    /// The same of a histogram, whose values have three significant digits.
    fn of_histogram(histogram: &Histogram<u64>) -> Option<Self> {
        let count = histogram.len();
        let value = |&percentile: &f64| {
            (percentile, rank(percentile, count).map(|_| histogram.value_at_percentile(percentile)))
        };
        (count > 0).then(|| Self {
            count: count as usize,
            min_ns: histogram.min(),
            mean_ns: (histogram.mean() * 10.0).round() / 10.0,
            max_ns: histogram.max(),
            percentiles_ns: PERCENTILES.iter().map(value).collect(),
        })
    }
}

fn rank(percentile: f64, count: u64) -> Option<u64> {
    nearest_rank((percentile * 100.0).round() as u64, count)
}

/// The payloads of one size and direction: medians of those that ended well. The guest's rate is from its own duration,
/// without what it waited: seen from the host it would grow without bound whenever this thread noticed RECEIVED late.
#[derive(Debug, Serialize)]
pub struct PayloadFigures {
    frame_type: String,
    #[serde(skip)]
    pub(crate) label: String,
    pub(crate) direction: &'static str,
    pub(crate) frames: usize,
    pub(crate) ok: usize,
    verified: usize,
    pub(crate) write_gb_per_s: Option<f64>,
    /// Share of the writer's roof.
    pub(crate) write_of_roof: Option<f64>,
    pub(crate) read_gb_per_s: Option<f64>,
    /// Share of the reader's roof.
    pub(crate) read_of_roof: Option<f64>,
    pub(crate) total_gb_per_s: Option<f64>,
    /// Share of the roof over both together; null where the rate is the one asked for.
    pub(crate) total_of_roof: Option<f64>,
    /// Whether the frames came at the rate asked for, whatever the link can do.
    pub(crate) is_paced: bool,
    pub(crate) verify_ms: Option<f64>,
}

impl PayloadFigures {
    /// The figures of one group; `None` when it has no rows.
    fn of(
        size: PayloadSize,
        direction: Direction,
        results: &Results,
        stream_period_ns: Option<u64>,
        is_paced: bool,
    ) -> Option<Self> {
        let rows: Vec<&Transfer> = results
            .rows
            .iter()
            .filter(|row| row.size == size && row.transfer.direction == direction)
            .map(|row| &row.transfer)
            .collect();
        let ok: Vec<&Transfer> = rows.iter().copied().filter(|t| t.status == RowStatus::Ok).collect();
        let median = |pick: fn(&Transfer) -> Option<u64>| {
            lower_median(ok.iter().filter_map(|transfer| pick(transfer)).collect())
        };
        let rate = |ns: Option<u64>| ns.map(|ns| size.bytes() as f64 / ns.max(1) as f64);
        let to_guest = direction == Direction::HostToGuest;
        let (write, read) = if to_guest {
            (rate(median(|t| t.write_ns)), rate(median(Transfer::guest_ns)))
        } else {
            (rate(median(Transfer::guest_ns)), rate(median(|t| t.read_ns)))
        };
        let total = rate(stream_period_ns.or_else(|| median(|t| t.duration_ns)));
        let roofs = results.calibration.roofs_of(size, direction);
        let share = |figure: Option<f64>, roof: Option<f64>| figure.zip(roof).map(|(f, r)| round_3(f / r));
        (!rows.is_empty()).then(|| Self {
            frame_type: size.name(),
            label: size.label(),
            direction: direction.name(),
            frames: rows.len(),
            ok: ok.len(),
            verified: rows.iter().filter(|t| t.verified).count(),
            write_gb_per_s: write.map(round_3),
            write_of_roof: share(write, roofs.writing),
            read_gb_per_s: read.map(round_3),
            read_of_roof: share(read, roofs.reading),
            total_gb_per_s: total.map(round_3),
            total_of_roof: share(total.filter(|_| !is_paced), roofs.total),
            is_paced,
            verify_ms: median(|t| t.verify_ns).map(|ns| round_3(ns as f64 / 1e6)),
        })
    }
}

fn round_3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bandwidth::Row;
    use ivshmem_proto::frame::FrameFormat;
    use ivshmem_proto::wire::Digest;

    #[test]
    fn a_percentile_with_fewer_than_ten_samples_beyond_is_not_shown() {
        let d = Distribution::of((1..=10_000).collect()).unwrap();
        let shown: Vec<bool> = d.percentiles_ns.iter().map(|(_, v)| v.is_some()).collect();
        assert_eq!(shown, [true, true, true, true, false]);
        assert_eq!((d.percentiles_ns[3].1, d.min_ns, d.max_ns, d.mean_ns), (Some(9_990), 1, 10_000, 5000.5));
        let d = Distribution::of((1..=9_999).collect()).unwrap();
        assert_eq!(d.percentiles_ns[3].1, None);
        assert!(Distribution::of(vec![]).is_none());
    }

    #[test]
    fn rates_are_medians_of_the_rows_that_ended_well() {
        let size = PayloadSize::Frame(FrameFormat::Uhd4k);
        let row = |ns: u64, status| {
            let transfer = Transfer {
                duration_ns: Some(ns),
                write_ns: Some(ns / 2),
                guest_copy_ns: Some(ns),
                guest_stall_ns: Some(ns / 2),
                verified: status == RowStatus::Ok,
                status,
                ..Transfer::published(1, Direction::HostToGuest, Digest::Sha256, Ticks(0))
            };
            Row::sample(size, transfer)
        };
        let mut results = Results::new().unwrap();
        results.rows = vec![
            row(24_883_200, RowStatus::Ok),
            row(12_441_600, RowStatus::Ok),
            row(99_999_999, RowStatus::Ok),
            row(1, RowStatus::Mismatch),
        ];
        let f = PayloadFigures::of(size, Direction::HostToGuest, &results, None, false).unwrap();
        assert_eq!((f.frames, f.ok, f.verified), (4, 3, 3));
        assert_eq!((f.total_gb_per_s, f.write_gb_per_s, f.verify_ms), (Some(1.0), Some(2.0), None));
        assert_eq!((f.read_gb_per_s, f.read_of_roof), (Some(2.0), None), "without what it waited");
        assert!(PayloadFigures::of(size, Direction::GuestToHost, &results, None, false).is_none());
    }

    #[test]
    fn a_histogram_says_the_same_as_its_samples() {
        let mut histogram = crate::hgrm::empty().unwrap();
        (1..=10_000).for_each(|ns| histogram.saturating_record(ns));
        let (a, b) = (
            Distribution::of_histogram(&histogram).unwrap(),
            Distribution::of((1..=10_000).collect()).unwrap(),
        );
        assert_eq!((a.count, a.min_ns, a.percentiles_ns[4].1), (b.count, b.min_ns, b.percentiles_ns[4].1));
        let near = |x: Option<u64>, y: Option<u64>| x.unwrap().abs_diff(y.unwrap()) * 1000 <= y.unwrap();
        assert!((0..4).all(|i| near(a.percentiles_ns[i].1, b.percentiles_ns[i].1)), "{a:?}");
    }
}
