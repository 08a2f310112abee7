//! 95 % confidence intervals of percentiles and mean within one run.
//!
//! A circular block bootstrap ([`super::resamples`]) with blocks as long as the dependence asks for ([`super::block_length`]), one
//! length for all figures: the longest that the mean or one of the percentiles asks for. An interval runs from the 2.5th to the
//! 97.5th percentile of the figure in the resamples, a little wider where blocks are few (the expanded percentile interval of
//! Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3).
//!
//! It says how much the figure would vary if this very run had gone on for as long again, not how much another run would
//! differ: only several runs tell that.

use serde::Serialize;

use super::block_length::BlockLength;
use super::cell_values::CellValues;
use super::cells::Cells;
use super::normal::{student_95, upper_tail};
use super::order_table::OrderTable;
use super::resamples::{RESAMPLES, Resamples};
use super::{MIN_SAMPLES_BEYOND, Nanoseconds, Percentile, Sorted};

/// How likely an interval is to hold the true figure.
pub const LEVEL: f64 = 0.95;

/// More than these have no intervals: see [`super::resamples::dot`].
const MOST_SAMPLES: usize = 1 << 30;

/// Percentiles that have an interval: those that a writer's histogram has, too.
pub const WITH_INTERVAL: [Percentile; 4] = Percentile::IN_HISTOGRAM;

/// A figure and where the true one lies, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The figure of the run.
    pub estimate_ns: f64,
    /// Lower end.
    pub low_ns: f64,
    /// Upper end.
    pub high_ns: f64,
    /// How likely the true figure is within.
    pub level: f64,
}

/// The intervals of a run; `None` where the percentile has fewer than ten samples beyond it, and of the mean of fewer than 20.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Intervals {
    /// 50th percentile.
    pub p50: Option<Interval>,
    /// 90th percentile.
    pub p90: Option<Interval>,
    /// 99th percentile.
    pub p99: Option<Interval>,
    /// 99.9th percentile.
    pub p99_9: Option<Interval>,
    /// Arithmetic mean.
    pub mean: Option<Interval>,
}

impl Intervals {
    /// Those there are, with their names: the mean, then the percentiles.
    pub fn named(&self) -> impl Iterator<Item = (String, Interval)> {
        let percentiles = [self.p50, self.p90, self.p99, self.p99_9];
        let names = WITH_INTERVAL.map(Percentile::name);
        let all = std::iter::once(("mean".to_owned(), self.mean)).chain(names.into_iter().zip(percentiles));
        all.filter_map(|(name, interval)| Some((name, interval?)))
    }
}

/// The intervals, and the blocks they rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// The intervals.
    pub intervals: Intervals,
    /// Samples of a block.
    pub block_length: u64,
    /// Whether the dependence reaches further than blocks can: the intervals are then too narrow.
    pub is_at_limit: bool,
}

impl Bootstrap {
    /// Of `samples_ns` in the order they were taken, and the same in ascending order.
    #[must_use]
    pub fn of<N: Nanoseconds>(samples_ns: &[N], sorted: &Sorted<u64>, seed: u64) -> Self {
        let count = samples_ns.len();
        if !(2 * MIN_SAMPLES_BEYOND..=MOST_SAMPLES).contains(&count) {
            return Self { intervals: Intervals::default(), block_length: 1, is_at_limit: false };
        }
        let cells = Cells::of(count);
        let figures = WITH_INTERVAL.map(|percentile| sorted.percentile(percentile));
        let cell_values = CellValues::of(samples_ns, cells);
        let tallies = Tallies::count(&cell_values, figures.map(|figure| figure.unwrap_or(u64::MAX)));
        let block = tallies.block_length();
        let resamples = Resamples::draw(cells.count(), block.elements, seed);
        let blocks = cells.count().div_ceil(block.elements);
        let interval = |estimate_ns: f64, values: Vec<f64>| Interval::of(estimate_ns, values, blocks);
        let mut percentiles = WITH_INTERVAL.into_iter().zip(figures).zip(&tallies.no_larger).map(
            |((percentile, figure), no_larger)| {
                let figure = figure?;
                let reach = spread(no_larger, block.elements) * (blocks as f64).sqrt();
                let values = OrderTable::resampled(&cell_values, sorted, percentile, reach, &resamples);
                Some(interval(figure as f64, values))
            },
        );
        let [p50, p90, p99, p99_9] = [(); 4].map(|()| percentiles.next().flatten());
        let mean = Some(interval(tallies.mean(), tallies.resampled_means(&resamples)));
        Self {
            intervals: Intervals { p50, p90, p99, p99_9, mean },
            block_length: (block.elements as f64 * cells.mean_size()).round() as u64,
            is_at_limit: block.is_at_limit,
        }
    }
}

impl Interval {
    fn of(estimate_ns: f64, mut resampled: Vec<f64>, blocks: usize) -> Self {
        resampled.sort_unstable_by(f64::total_cmp);
        let blocks = blocks as f64;
        let share = upper_tail((blocks / (blocks - 1.0)).sqrt() * student_95(blocks - 1.0));
        let beyond = ((share * RESAMPLES as f64).round() as usize).max(1) - 1;
        Self {
            estimate_ns,
            low_ns: resampled[beyond].min(estimate_ns),
            high_ns: resampled[resampled.len() - 1 - beyond].max(estimate_ns),
            level: LEVEL,
        }
    }
}

/// What each cell holds.
struct Tallies {
    sizes: Vec<i16>,
    sums_ns: Vec<f64>,
    /// For each percentile, how many samples of each cell are no larger.
    no_larger: [Vec<f64>; 4],
}

impl Tallies {
    fn count(cell_values: &CellValues, figures_ns: [u64; 4]) -> Self {
        let sizes = cell_values.sizes();
        let mut tallies = Self { sizes, sums_ns: Vec::new(), no_larger: Default::default() };
        for cell in cell_values.iter() {
            tallies.sums_ns.push(cell.iter().map(|(ns, count)| *ns as f64 * f64::from(*count)).sum());
            for (counts, figure) in tallies.no_larger.iter_mut().zip(figures_ns) {
                let no_larger = cell.iter().take_while(|(ns, _)| *ns <= figure);
                counts.push(no_larger.map(|(_, count)| *count).sum::<u32>().into());
            }
        }
        tallies
    }

    /// Of the mean and the percentiles whichever asks for the longest blocks.
    fn block_length(&self) -> BlockLength {
        let means: Vec<f64> =
            self.sums_ns.iter().zip(&self.sizes).map(|(sum, size)| sum / f64::from(*size)).collect();
        self.no_larger
            .iter()
            .map(|counts| BlockLength::of(counts))
            .fold(BlockLength::of(&means), BlockLength::max)
    }

    fn mean(&self) -> f64 {
        self.sums_ns.iter().sum::<f64>() / self.sizes.iter().map(|size| f64::from(*size)).sum::<f64>()
    }

    fn resampled_means(&self, resamples: &Resamples) -> Vec<f64> {
        let mean = |drawn: &[i16]| {
            let sums = drawn.iter().zip(&self.sums_ns).map(|(count, sum)| f64::from(*count) * sum);
            let sizes =
                drawn.iter().zip(&self.sizes).map(|(count, size)| f64::from(*count) * f64::from(*size));
            sums.sum::<f64>() / sizes.sum::<f64>()
        };
        resamples.iter().map(mean).collect()
    }
}

/// Standard deviation of the sum of a block that begins at a random cell.
fn spread(counts: &[f64], cells_a_block: usize) -> f64 {
    let mut sum: f64 = counts[..cells_a_block].iter().sum();
    let expected = counts.iter().sum::<f64>() / counts.len() as f64 * cells_a_block as f64;
    let mut squares = 0.0;
    for (index, count) in counts.iter().enumerate() {
        squares += (sum - expected).powi(2);
        sum += counts[(index + cells_a_block) % counts.len()] - count;
    }
    (squares / counts.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bootstrap(samples: &[u64], seed: u64) -> Bootstrap {
        Bootstrap::of(samples, &Sorted::new(samples.to_vec()), seed)
    }

    #[test]
    fn a_percentile_with_few_samples_beyond_it_has_no_interval() {
        let intervals = |count| bootstrap(&(0..count).collect::<Vec<_>>(), 1).intervals;
        assert_eq!(intervals(19), Intervals::default());
        assert_eq!(intervals(0), Intervals::default());
        let of_999 = intervals(999);
        assert!(of_999.p50.is_some() && of_999.p90.is_some() && of_999.p99.is_none());
        assert!(intervals(1000).p99.is_some() && intervals(1000).p99_9.is_none());
    }

    #[test]
    fn equal_samples_have_intervals_of_no_width() {
        let intervals = bootstrap(&[130; 5000], 1).intervals;
        for (name, interval) in intervals.named() {
            assert_eq!((interval.low_ns, interval.high_ns), (130.0, 130.0), "{name}");
        }
        assert_eq!(intervals.named().count(), 4);
    }

    #[test]
    fn a_run_that_changes_all_the_way_has_blocks_at_their_limit() {
        let found = bootstrap(&(0..100_000).map(|i| 100 + i / 100).collect::<Vec<_>>(), 1);
        assert!(found.is_at_limit);
        assert_eq!(found.block_length, 4980);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn intervals_move_and_stretch_with_the_samples(
            samples in prop::collection::vec(100_u64..2_000, 20..3_000),
            seed: u64,
        ) {
            let plain = bootstrap(&samples, seed);
            prop_assert_eq!(plain, bootstrap(&samples, seed));
            let changed = |of: fn(u64) -> u64| bootstrap(&samples.iter().map(|ns| of(*ns)).collect::<Vec<_>>(), seed);
            let (moved, stretched) = (changed(|ns| ns + 4096), changed(|ns| ns * 4));
            for (((_, plain), (_, moved)), (_, stretched)) in
                plain.intervals.named().zip(moved.intervals.named()).zip(stretched.intervals.named())
            {
                prop_assert!(plain.low_ns <= plain.estimate_ns && plain.estimate_ns <= plain.high_ns);
                for (plain, moved, stretched) in [
                    (plain.low_ns, moved.low_ns, stretched.low_ns),
                    (plain.high_ns, moved.high_ns, stretched.high_ns),
                ] {
                    prop_assert!((plain + 4096.0 - moved).abs() < 1e-6);
                    prop_assert!((plain * 4.0 - stretched).abs() < 1e-6);
                }
            }
        }
    }
}
