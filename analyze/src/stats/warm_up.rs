//! Whether the first messages were slower (or faster) than the rest, and how many they were.
//!
//! White's MSER rule (White 1997, "An effective truncation heuristic for bias reduction in simulation output"): cut off so many
//! blocks that the mean of the rest is known best, which is where the sum of squares over the square of the number left is
//! least. Here of block medians, so that an outlier is no warm-up. It is looked for at several scales: in the whole run, in its
//! first hundredth, in the first hundredth of that, because a hundred slow messages of a million make its 99.99th percentile.
//!
//! Nothing is removed by it. It is a reason to raise `--warmup`.

use serde::Serialize;

use super::Nanoseconds;
use super::cells::Cells;

/// Blocks that a stretch of the run is cut into.
const BLOCKS: usize = 200;
/// Fewest samples of a block: MSER-5.
const FEWEST_SAMPLES: usize = 5;
/// Fewest blocks.
const FEWEST_BLOCKS: usize = 20;
/// The next stretch to look at is so many times shorter.
const NEXT_STRETCH: usize = 100;
/// A cut beyond this share of a stretch is no warm-up: the run changed in its midst.
const LONGEST: f64 = 1.0 / 3.0;
/// The least difference worth a word, as a share of the rest.
const LEAST_EXCESS: f64 = 0.05;
/// A standard deviation of a normal distribution over its median absolute deviation.
const DEVIATION_OF_MAD: f64 = 1.4826;

/// A beginning unlike the rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WarmUp {
    /// Messages of it, to the precision of a block.
    pub messages: u64,
    /// By what share of the rest it was slower; below 0 if it was faster.
    pub excess: f64,
}

impl WarmUp {
    /// Of `samples_ns` in the order they were taken; `None` if it has none, or there are fewer than 100.
    #[must_use]
    pub fn of<N: Nanoseconds>(samples_ns: &[N]) -> Option<Self> {
        let mut stretch = samples_ns;
        while stretch.len() >= FEWEST_BLOCKS * FEWEST_SAMPLES {
            let blocks = Cells::new(stretch.len(), BLOCKS.min(stretch.len() / FEWEST_SAMPLES));
            let medians = blocks.medians(stretch);
            if let Some((cut, excess)) = cut(&medians) {
                return Some(Self { messages: blocks.start(cut) as u64, excess });
            }
            stretch = &stretch[..stretch.len() / NEXT_STRETCH];
        }
        None
    }
}

/// Blocks to cut off, and by what share they exceed the rest.
fn cut(medians: &[f64]) -> Option<(usize, f64)> {
    let longest = (medians.len() as f64 * LONGEST) as usize;
    let cut = mser(medians, medians.len() / 2);
    if cut == 0 || cut > longest {
        return None;
    }
    let (head, rest) = medians.split_at(cut);
    let centre = median(rest.to_vec());
    let deviation = DEVIATION_OF_MAD * median(rest.iter().map(|x| (x - centre).abs()).collect());
    let difference = head.iter().sum::<f64>() / cut as f64 - centre;
    // The more blocks, the less it may be chance; but they are not independent, so no less than two deviations.
    let by_chance = deviation * (2.0 + 2.0 / cut as f64);
    let excess = difference / centre;
    (difference.abs() > by_chance && excess.abs() >= LEAST_EXCESS && excess.is_finite())
        .then_some((cut, excess))
}

/// The number of values, up to `most`, without which the mean of the rest is known best.
fn mser(values: &[f64], most: usize) -> usize {
    let (mut sum, mut squares) = (0.0, 0.0);
    let offset = values[values.len() - 1];
    let mut best = (f64::INFINITY, 0);
    for (cut, value) in values.iter().enumerate().rev() {
        let x = value - offset;
        sum += x;
        squares += x * x;
        let left = (values.len() - cut) as f64;
        let rule = (squares - sum * sum / left).max(0.0) / (left * left);
        // Of equal ones the shortest cut.
        if cut <= most && rule <= best.0 {
            best = (rule, cut);
        }
    }
    best.1
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, series::ar1};
    use super::*;
    use proptest::prelude::*;

    /// 1,000 ± 30 ns, the first `slow` messages twice that and settling; every 97th an outlier.
    fn run(seed: u64, phi: f64, count: usize, slow: usize) -> Vec<u64> {
        let series = ar1(&mut Random::new(seed), phi, count);
        let of = |(i, x): (usize, f64)| {
            let settling = if i < slow { 2.0 - i as f64 / slow as f64 } else { 1.0 };
            let outlier = if i % 97 == 5 { 50.0 } else { 1.0 };
            ((1000.0 + 30.0 * x) * settling * outlier) as u64
        };
        series.into_iter().enumerate().map(of).collect()
    }

    #[test]
    fn the_rule_by_hand() {
        // Of [9, 5, 1, 1, 1, 1]: sums of squares 59.33.., 12.8, 0, 0 over 36, 25, 16, 9: least from 2 on.
        assert_eq!(mser(&[9.0, 5.0, 1.0, 1.0, 1.0, 1.0], 3), 2);
        assert_eq!(mser(&[1.0; 6], 3), 0);
    }

    #[test]
    fn a_slow_beginning_is_found_at_every_scale() {
        for (count, slow) in
            [(1_000, 100), (100_000, 10_000), (100_000, 200), (1_000_000, 1_000), (1_000_000, 50)]
        {
            let found = WarmUp::of(&run(1, 0.3, count, slow)).expect("a warm-up");
            let share = found.messages as f64 / slow as f64;
            assert!((0.6..1.5).contains(&share), "{slow} of {count}: {found:?}");
            assert!((0.3..0.9).contains(&found.excess), "{slow} of {count}: {found:?}");
        }
    }

    #[test]
    fn a_fast_beginning_is_one_too() {
        let mut samples = run(2, 0.0, 10_000, 0);
        samples[..1_000].iter_mut().for_each(|ns| *ns /= 2);
        let found = WarmUp::of(&samples).unwrap();
        assert_eq!(found.messages, 1_000);
        assert!((found.excess + 0.5).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn chance_and_outliers_are_none() {
        for phi in [0.0, 0.9] {
            for count in [200, 5_000, 100_000] {
                let found = (0..50).filter(|seed| WarmUp::of(&run(*seed, phi, count, 0)).is_some()).count();
                // In a short run that goes up and down slowly, beginnings are unlike the rest.
                let most = if count == 200 { 3 } else { 1 };
                assert!(found <= most, "phi {phi}, {count} samples: {found} of 50");
            }
        }
        assert_eq!(WarmUp::of(&[130_u64; 5_000]), None);
        assert_eq!(WarmUp::of(&[0_u64; 5_000]), None);
        assert_eq!(WarmUp::of(&run(1, 0.0, 99, 30)), None);
    }

    #[test]
    fn a_change_in_the_midst_is_none() {
        let mut samples = run(3, 0.0, 10_000, 0);
        samples[5_000..].iter_mut().for_each(|ns| *ns /= 2);
        assert_eq!(WarmUp::of(&samples), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn scale_does_not_matter(seed: u64, slow in 0_usize..500) {
            let samples = run(seed, 0.5, 2_000, slow);
            let scaled: Vec<u64> = samples.iter().map(|ns| ns * 8).collect();
            prop_assert_eq!(WarmUp::of(&samples), WarmUp::of(&scaled));
        }
    }
}
