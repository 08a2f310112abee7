//! What the latency pictures are drawn of: each run's samples in order, and columns of neighbouring messages. Worked out
//! once, when the first picture asks, so that a picture of ten million messages costs what one of ten thousand does.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use plotters::style::RGBColor;

use super::style::{BLUE, GREEN, ORANGE, PURPLE};
use crate::analysis::{Analysis, Analyzed};
use crate::input::Latency;
use crate::latency_summary::LatencySummary;
use crate::stats::{Percentile, Sorted};

/// Columns of neighbouring messages: each two pixels wide.
pub(super) const COLUMNS: usize = 540;
/// Rows of a column: each some eight pixels high.
const ROWS: i32 = 80;

/// The samples of the main run and of its baseline, if they can be shown on one axis.
pub(super) struct Latencies<'a> {
    pub(super) analysis: &'a Analysis,
    processed: OnceLock<Vec<Series>>,
    received: OnceLock<Vec<Series>>,
    columns: OnceLock<Vec<Vec<Column>>>,
}

/// Times of one run, in ascending order.
pub(super) struct Series {
    pub(super) name: String,
    /// Its name where there is little room.
    pub(super) short: &'static str,
    pub(super) is_main: bool,
    pub(super) color: RGBColor,
    pub(super) sorted: Arc<Sorted<u64>>,
}

/// Neighbouring messages.
pub(super) struct Column {
    pub(super) iterations: RangeInclusive<u64>,
    pub(super) count: u64,
    pub(super) min_ns: u64,
    pub(super) p10_ns: u64,
    pub(super) median_ns: u64,
    pub(super) p90_ns: u64,
    pub(super) max_ns: u64,
    /// How many lie between two [`Latencies::row_edges`].
    pub(super) cells: Vec<u32>,
}

/// The baseline, if its latency is counted from the same moment as the main run's.
fn comparable_baseline(analysis: &Analysis) -> Option<&Analyzed> {
    let is_open = |analyzed: &Analyzed| analyzed.summary.latency.as_ref().map(LatencySummary::is_open);
    analysis.baseline.as_ref().filter(|baseline| is_open(baseline) == is_open(&analysis.main))
}

impl<'a> Latencies<'a> {
    pub(super) fn of(analysis: &'a Analysis) -> Self {
        Self { analysis, processed: OnceLock::new(), received: OnceLock::new(), columns: OnceLock::new() }
    }

    /// The main run, then the baseline, with their samples.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&'a Analyzed, &'a Latency)> {
        let runs = std::iter::once(&self.analysis.main).chain(comparable_baseline(self.analysis));
        runs.filter_map(|analyzed| Some((analyzed, analyzed.run.latency.as_ref()?)))
    }

    /// What the main run's times are, as a title begins and as an axis says it.
    pub(super) fn quantity(&self) -> [&'static str; 2] {
        if self.analysis.main.summary.latency.as_ref().is_some_and(LatencySummary::is_open) {
            ["Latency from the due time", "time from the due time"]
        } else {
            ["Round-trip latency", "round-trip time"]
        }
    }

    /// Times to PROCESSED, of the runs that have any.
    pub(super) fn processed(&self) -> &[Series] {
        self.processed.get_or_init(|| self.series([BLUE, ORANGE], |analyzed| analyzed.processed.clone()))
    }

    /// Times to RECEIVED, likewise.
    pub(super) fn received(&self) -> &[Series] {
        self.received.get_or_init(|| self.series([GREEN, PURPLE], |analyzed| analyzed.received.clone()))
    }

    fn series(
        &self,
        colors: [RGBColor; 2],
        of: impl Fn(&Analyzed) -> Option<Arc<Sorted<u64>>>,
    ) -> Vec<Series> {
        let series = |(analyzed, _): (&Analyzed, &Latency)| {
            let is_main = std::ptr::eq(analyzed, &raw const self.analysis.main);
            let sorted = of(analyzed)?;
            (!sorted.as_slice().is_empty()).then(|| Series {
                name: analyzed.title(),
                short: analyzed.short,
                is_main,
                color: colors[usize::from(!is_main)],
                sorted,
            })
        };
        self.runs().filter_map(series).collect()
    }

    /// Columns of each of [`Self::runs`]; a message each where there are few.
    pub(super) fn columns(&self) -> &[Vec<Column>] {
        self.columns.get_or_init(|| {
            let edges = self.row_edges();
            self.runs().map(|(_, latency)| columns(latency, &edges)).collect()
        })
    }

    /// Edges of equal ratio from the shortest time to beyond the longest.
    pub(super) fn row_edges(&self) -> Vec<f64> {
        let (low, high) = self.range();
        let low = low.max(1);
        let high = high.max(low);
        log_edges(low, high, (high as f64 / low as f64).powf(1.0 / f64::from(ROWS)))
    }

    /// Shortest and longest time to PROCESSED of all runs.
    pub(super) fn range(&self) -> (u64, u64) {
        let series = self.processed();
        let low = series.iter().map(Series::min).min().unwrap_or(1);
        (low, series.iter().map(Series::max).max().unwrap_or(1).max(low))
    }

    /// First and last message of the main run, whether it arrived or not.
    pub(super) fn iterations(&self) -> RangeInclusive<u64> {
        let Some((_, latency)) = self.runs().next() else { return 0..=1 };
        let columns = self.columns().first().map_or(&[][..], Vec::as_slice);
        let ends = [columns.first(), columns.last()].into_iter().flatten();
        let samples = ends.flat_map(|column| [*column.iterations.start(), *column.iterations.end()]);
        let absent = latency.failures.places.iter().chain(latency.gaps.iter());
        let all: Vec<u64> = samples.chain(absent.flat_map(|range| [range.first, range.last])).collect();
        all.iter().min().copied().unwrap_or(0)..=all.iter().max().copied().unwrap_or(1)
    }
}

fn columns(latency: &Latency, edges: &[f64]) -> Vec<Column> {
    let size = latency.samples.len().div_ceil(COLUMNS).max(1);
    let mut columns = Vec::with_capacity(COLUMNS);
    let mut group: Vec<u64> = Vec::with_capacity(size);
    let (mut first, mut last) = (0, 0);
    for (iteration, ns) in latency.samples.iterations().zip(latency.samples.processed_ns()) {
        if group.is_empty() {
            first = iteration;
        }
        last = iteration;
        group.push(ns);
        if group.len() == size {
            columns.push(Column::of(first..=last, &group, edges));
            group.clear();
        }
    }
    if !group.is_empty() {
        columns.push(Column::of(first..=last, &group, edges));
    }
    columns
}

impl Column {
    fn of(iterations: RangeInclusive<u64>, group: &[u64], edges: &[f64]) -> Self {
        let sorted = Sorted::of_neighbours_ns(group);
        let rank = |hundredths| {
            let percentile = Percentile::from_hundredths(hundredths);
            percentile.and_then(|percentile| sorted.nearest_rank(percentile)).unwrap_or(0)
        };
        Self {
            iterations,
            count: sorted.as_slice().len() as u64,
            min_ns: rank(1),
            p10_ns: rank(1_000),
            median_ns: rank(5_000),
            p90_ns: rank(9_000),
            max_ns: rank(10_000),
            cells: counts(&sorted, edges).into_iter().map(|count| count as u32).collect(),
        }
    }
}

/// How many samples lie from one edge to before the next, in nanoseconds. A sample below the first edge, which is one of
/// 0 ns where an axis has no place for that, counts in the first.
pub(super) fn counts(sorted: &Sorted<u64>, edges: &[f64]) -> Vec<u64> {
    let samples = sorted.as_slice();
    let below = |edge: &f64| samples.partition_point(|sample| (*sample as f64) < *edge) as u64;
    let mut below: Vec<u64> = edges.iter().map(below).collect();
    if let Some(first) = below.first_mut() {
        *first = 0;
    }
    below.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Edges from `low` to beyond `high`, each this ratio above the one before, on whole nanoseconds so that no bin lies
/// between two values.
pub(super) fn log_edges(low: u64, high: u64, ratio: f64) -> Vec<f64> {
    let mut edges = vec![low as f64];
    let mut edge = low as f64;
    while edge <= high as f64 {
        // Beyond 2^53 the next number is more than 1 away.
        edge = (edge * ratio).round().max(edge + 1.0).max(edge * (1.0 + 1e-12));
        edges.push(edge);
    }
    edges
}

impl Series {
    pub(super) fn min(&self) -> u64 {
        self.sorted.as_slice().first().copied().unwrap_or(0)
    }

    pub(super) fn max(&self) -> u64 {
        self.sorted.as_slice().last().copied().unwrap_or(0)
    }

    pub(super) fn count(&self) -> usize {
        self.sorted.as_slice().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Disagreeing, Failures, Places, Sample};

    #[test]
    fn columns_lose_no_message_and_no_extreme() {
        let sample = |iteration| Sample {
            iteration,
            processed_ns: if iteration == 7_777 { 50_000 } else { 130 },
            received_ns: None,
            send_delay_ns: None,
            to_guest_ns: None,
            to_host_ns: None,
        };
        let samples = (1..=10_000).map(sample).collect();
        let latency = Latency {
            path: "f".into(),
            samples,
            failures: Failures::default(),
            gaps: Places::default(),
            disagreeing: Disagreeing::default(),
        };
        let columns = columns(&latency, &[130.0, 131.0, 60_000.0]);
        assert!(columns.len() <= COLUMNS);
        assert_eq!(columns.iter().map(|c| c.max_ns).max(), Some(50_000));
        assert_eq!(columns.iter().map(|c| c.count).sum::<u64>(), 10_000);
        assert_eq!(columns.iter().map(|c| c.iterations.clone().count()).sum::<usize>(), 10_000);
        assert!(columns.iter().all(|c| c.median_ns == 130 && c.min_ns == 130));
        assert_eq!(columns.iter().map(|c| c.cells[0]).sum::<u32>(), 9_999);
        assert_eq!(columns.iter().map(|c| c.cells[1]).sum::<u32>(), 1);
    }

    #[test]
    fn every_sample_is_counted_between_two_edges() {
        let sorted = Sorted::new(vec![0, 1, 2, 2, 3, 9]);
        assert_eq!(counts(&sorted, &[1.0, 2.0, 3.0, 10.0]), [2, 2, 2]);
    }

    #[test]
    fn log_bins_cover_all_values_and_lie_on_whole_nanoseconds() {
        for (low, high) in [(1, 1), (1, 20), (130, 50_000), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            for ratio in [1.0, 10_f64.powf(1.0 / 40.0), (high as f64 / low as f64).powf(1.0 / 80.0)] {
                if ratio < 1.001 && high > low {
                    continue;
                }
                let edges = log_edges(low, high, ratio);
                assert!(edges[0] <= low as f64 && edges[edges.len() - 1] > high as f64);
                assert!(edges.windows(2).all(|e| e[1] >= e[0] + 1.0 && e[0].fract() == 0.0));
            }
        }
    }
}
