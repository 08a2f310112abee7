//! The resamples of a circular block bootstrap, as how often each cell of the series is in them.
//!
//! Blocks of equal length begin at cells drawn at random, with replacement; one that begins near the end goes on at the
//! beginning, so that every cell is as likely (Politis and Romano 1992, "A circular block-resampling procedure for stationary data";
//! moving blocks without the circle: Künsch 1989, "The jackknife and the bootstrap for general stationary observations").

use super::random::Random;

/// Resamples drawn for an interval.
pub const RESAMPLES: usize = 1000;

/// What was drawn. The same seed draws the same.
#[derive(Debug)]
pub struct Resamples {
    cells: usize,
    counts: Vec<i16>,
}

impl Resamples {
    /// [`RESAMPLES`] of a series of so many cells, in blocks of so many of them.
    #[must_use]
    pub fn draw(cells: usize, cells_a_block: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut counts = vec![0_i16; cells * RESAMPLES];
        for resample in counts.chunks_exact_mut(cells) {
            if cells_a_block == 1 {
                for _ in 0..cells {
                    resample[random.below(cells)] += 1;
                }
            } else {
                draw_blocks(resample, cells_a_block, &mut random);
            }
        }
        Self { cells, counts }
    }

    /// How often each cell is in each resample; as many cells altogether as there are in the series.
    pub fn iter(&self) -> impl Iterator<Item = &[i16]> {
        self.counts.chunks_exact(self.cells)
    }
}

/// Notes where blocks begin and end, and adds that up. The last block is cut off where the resample is as long as the series.
fn draw_blocks(resample: &mut [i16], cells_a_block: usize, random: &mut Random) {
    let cells = resample.len();
    let mut open_at_start = 0;
    let mut drawn = 0;
    while drawn < cells {
        let length = cells_a_block.min(cells - drawn);
        let (start, end) = {
            let start = random.below(cells);
            (start, start + length)
        };
        resample[start] += 1;
        if end < cells {
            resample[end] -= 1;
        } else if end > cells {
            open_at_start += 1;
            resample[end - cells] -= 1;
        }
        drawn += length;
    }
    let mut open = open_at_start;
    for cell in resample {
        open += *cell;
        *cell = open;
    }
}

/// The sum of products of two rows. Below 2^31 where the one holds counts of a series of at most 2^30 samples by cells and the
/// other how often each cell was drawn.
#[must_use]
pub fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_resample_is_as_long_as_the_series(cells in 2_usize..300, block in 1_usize..40, seed: u64) {
            let block = block.min(cells);
            for resample in Resamples::draw(cells, block, seed).iter() {
                prop_assert_eq!(resample.iter().map(|count| *count as usize).sum::<usize>(), cells);
                prop_assert!(resample.iter().all(|count| *count >= 0));
            }
        }
    }

    #[test]
    fn one_block_goes_around_the_circle() {
        for seed in 0..20 {
            for resample in Resamples::draw(5, 5, seed).iter() {
                assert_eq!(resample, [1; 5]);
            }
        }
    }

    #[test]
    fn every_cell_is_as_likely() {
        let drawn = Resamples::draw(10, 3, 1);
        for cell in 0..10 {
            let count: i32 = drawn.iter().map(|resample| i32::from(resample[cell])).sum();
            // 1,000 expected; the variance is below that of 3,000 draws of a tenth, times 3.
            assert!((850..1150).contains(&count), "cell {cell}: {count}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let drawn = |seed| Resamples::draw(50, 4, seed).counts;
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
