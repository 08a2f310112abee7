//! Finds a percentile in each of a thousand resamples without making one: how many samples of each cell are no larger than each
//! of some candidate values is counted once, and a resample's percentile is the smallest candidate with enough of them.
//!
//! Candidates are the distinct samples around the percentile's rank, all of them where they are few and evenly spaced ranks
//! otherwise, a hundredth of the interval's width apart or less. Where a resample's percentile lies outside, the table is
//! made again from ranks further out, so no resample is cut off.

use super::cell_values::CellValues;
use super::resamples::{Resamples, dot};
use super::{Percentile, Sorted};

/// Candidates at most.
const CANDIDATES: usize = 512;

/// Standard deviations of the rank that the first table reaches to either side.
const FIRST_REACH: f64 = 5.0;

/// How many samples of each cell are no larger than each candidate: a row for each candidate, in ascending order.
#[derive(Debug)]
pub struct OrderTable {
    candidates_ns: Vec<u64>,
    counts: Vec<i16>,
    cells: usize,
}

impl OrderTable {
    /// The nearest-rank `percentile` of each resample of a series, whose rank in it has the standard deviation
    /// `rank_deviation`; nothing where it has no samples.
    #[must_use]
    pub fn resampled(
        cell_values: &CellValues,
        sorted: &Sorted<u64>,
        percentile: Percentile,
        rank_deviation: f64,
        resamples: &Resamples,
    ) -> Vec<f64> {
        let all = sorted.as_slice();
        let Some(middle) = percentile.rank(all.len()).checked_sub(1) else { return Vec::new() };
        let sizes = cell_values.sizes();
        let mut reach = (rank_deviation * FIRST_REACH).ceil() as usize + 8;
        loop {
            let (candidates_ns, is_all_below) = candidates(all, middle, reach);
            let table = Self::count(cell_values, sizes.len(), candidates_ns);
            let found = resamples.iter().map(|drawn| {
                let wanted = percentile.rank(dot(&sizes, drawn) as usize);
                let place = table.place(drawn, wanted as i32);
                let value = table.candidates_ns.get(place).map(|ns| *ns as f64);
                value.filter(|_| place > 0 || is_all_below)
            });
            if let Some(values) = found.collect() {
                return values;
            }
            reach *= 4;
        }
    }

    fn count(cell_values: &CellValues, columns: usize, candidates_ns: Vec<u64>) -> Self {
        let mut counts = vec![0_i16; candidates_ns.len() * columns];
        let last = candidates_ns[candidates_ns.len() - 1];
        for (column, cell) in cell_values.iter().enumerate() {
            // Both ascend.
            let mut row = 0;
            for (ns, count) in cell.iter().take_while(|(ns, _)| *ns <= last) {
                while candidates_ns[row] < *ns {
                    row += 1;
                }
                counts[row * columns + column] += *count as i16;
            }
        }
        for row in 1..candidates_ns.len() {
            let (above, this) = counts.split_at_mut(row * columns);
            let previous = &above[(row - 1) * columns..];
            this[..columns].iter_mut().zip(previous).for_each(|(count, before)| *count += before);
        }
        Self { candidates_ns, counts, cells: columns }
    }

    /// The first candidate with at least `wanted` samples of a resample no larger; one past the last if none has.
    fn place(&self, drawn: &[i16], wanted: i32) -> usize {
        let (mut low, mut high) = (0, self.candidates_ns.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let row = &self.counts[middle * self.cells..][..self.cells];
            if dot(row, drawn) < wanted { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Distinct values of at most [`CANDIDATES`] ranks within `reach` of `middle`, before them the next smaller value; and
/// whether there is no smaller value than the first.
fn candidates(sorted: &[u64], middle: usize, reach: usize) -> (Vec<u64>, bool) {
    let first = middle.saturating_sub(reach);
    let last = middle.saturating_add(reach).min(sorted.len() - 1);
    let smaller = sorted[..first].partition_point(|ns| *ns < sorted[first]);
    let steps = (last - first).clamp(1, CANDIDATES - 2);
    let ranks = (0..=steps).map(|step| first + (last - first) * step / steps);
    let mut values: Vec<u64> =
        smaller.checked_sub(1).into_iter().chain(ranks).map(|rank| sorted[rank]).collect();
    values.dedup();
    (values, smaller == 0)
}

#[cfg(test)]
mod tests {
    use super::super::cells::Cells;
    use super::super::random::Random;
    use super::*;
    use proptest::prelude::*;

    /// The resample written out and sorted.
    fn naive(samples: &[u64], cells: Cells, percentile: Percentile, drawn: &[i16]) -> f64 {
        let mut resample = Vec::new();
        for (range, count) in cells.ranges().zip(drawn) {
            for _ in 0..*count {
                resample.extend_from_slice(&samples[range.clone()]);
            }
        }
        Sorted::new(resample).nearest_rank(percentile).unwrap() as f64
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_percentiles_are_those_of_the_resamples_written_out(
            samples in prop::collection::vec(0_u64..400, 20..1500),
            hundredths in 1_u32..=10_000,
            reach in 0.0..20.0_f64,
        ) {
            let percentile = Percentile::from_hundredths(hundredths).unwrap();
            let cells = Cells::of(samples.len());
            let resamples = Resamples::draw(cells.count(), 3, 9);
            let sorted = Sorted::new(samples.clone());
            let found = OrderTable::resampled(&CellValues::of(&samples, cells), &sorted, percentile, reach, &resamples);
            // At most 400 distinct values, so every one of them may be a candidate.
            for (found, drawn) in found.iter().zip(resamples.iter()).step_by(50) {
                prop_assert!((found - naive(&samples, cells, percentile, drawn)).abs() < 8.0);
            }
        }
    }

    #[test]
    fn few_values_are_found_exactly() {
        let mut random = Random::new(4);
        let samples: Vec<u64> = (0..1500).map(|_| 100 + random.below(300) as u64).collect();
        let cells = Cells::of(samples.len());
        let resamples = Resamples::draw(cells.count(), 3, 9);
        let sorted = Sorted::new(samples.clone());
        for percentile in [Percentile::P50, Percentile::P90, Percentile::P99] {
            let found = OrderTable::resampled(
                &CellValues::of(&samples, cells),
                &sorted,
                percentile,
                20.0,
                &resamples,
            );
            let expected: Vec<f64> =
                resamples.iter().map(|d| naive(&samples, cells, percentile, d)).collect();
            assert_eq!(found, expected, "{}", percentile.name());
        }
    }

    #[test]
    fn a_table_that_does_not_reach_far_enough_is_made_again() {
        let samples: Vec<u64> = (0..1000).collect();
        let cells = Cells::of(samples.len());
        let resamples = Resamples::draw(cells.count(), 1, 9);
        let of = |reach| {
            OrderTable::resampled(
                &CellValues::of(&samples, cells),
                &Sorted::new(samples.clone()),
                Percentile::P50,
                reach,
                &resamples,
            )
        };
        assert_eq!(of(0.0), of(16.0));
    }
}
