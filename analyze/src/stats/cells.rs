//! A series cut into equal pieces in its order, so that a million samples can be resampled like a thousand.
//!
//! A short series has a cell for each sample, and nothing is lost. In a long one a cell is the shortest block of the bootstrap:
//! longer blocks than needed make an interval no less honest, only a little less certain itself.

use std::ops::Range;

use super::Nanoseconds;

/// Cells of a series that is not too long.
const CELLS: usize = 1024;

/// Most samples of one cell: its counts are kept in 16 bits.
const MOST_IN_A_CELL: usize = i16::MAX as usize;

/// Where the pieces of a series begin and end. Their sizes differ by 1 at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    samples: usize,
    cells: usize,
}

impl Cells {
    /// Of a series of `samples`, for the bootstrap.
    #[must_use]
    pub fn of(samples: usize) -> Self {
        Self { samples, cells: samples.min(CELLS).max(samples.div_ceil(MOST_IN_A_CELL)) }
    }

    /// So many cells; no more than there are samples.
    #[must_use]
    pub fn new(samples: usize, cells: usize) -> Self {
        Self { samples, cells: cells.min(samples) }
    }

    /// How many.
    #[must_use]
    pub fn count(self) -> usize {
        self.cells
    }

    /// Samples of one, on average.
    #[must_use]
    pub fn mean_size(self) -> f64 {
        self.samples as f64 / self.cells as f64
    }

    /// The first sample of cell `index`; of one past the last, the number of samples.
    #[must_use]
    pub fn start(self, index: usize) -> usize {
        (index as u128 * self.samples as u128 / self.cells as u128) as usize
    }

    /// The places of each cell's samples, in order.
    pub fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.cells).map(move |index| self.start(index)..self.start(index + 1))
    }

    /// The medians of the cells of `series` (the lower of two middle samples), which a few outliers do not move.
    #[must_use]
    pub fn medians<N: Nanoseconds>(self, series: &[N]) -> Vec<f64> {
        let median = |range: Range<usize>| {
            let mut cell = series[range].to_vec();
            let middle = (cell.len() - 1) / 2;
            cell.select_nth_unstable(middle).1.real()
        };
        self.ranges().map(median).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cells_cover_everything_once_and_are_equal(samples in 1_usize..200_000) {
            let cells = Cells::of(samples);
            let mut next = 0;
            for range in cells.ranges() {
                prop_assert_eq!(range.start, next);
                let least = samples / cells.count();
                prop_assert!((least..=least + 1).contains(&range.len()));
                next = range.end;
            }
            prop_assert_eq!(next, samples);
        }
    }

    #[test]
    fn the_size_of_a_cell_has_a_limit() {
        assert_eq!(Cells::of(1000).count(), 1000);
        assert_eq!(Cells::of(1_000_000).count(), 1024);
        let cells = Cells::of(100_000_000);
        assert!(cells.ranges().all(|range| range.len() <= MOST_IN_A_CELL));
        assert_eq!(Cells::of(0).count(), 0);
    }

    #[test]
    fn medians_of_cells() {
        assert_eq!(Cells::new(7, 2).medians(&[3_u64, 1, 2, 9, 9, 4, 5]), [2.0, 5.0]);
        assert_eq!(Cells::new(2, 9).count(), 2);
    }
}
