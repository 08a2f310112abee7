//! Whether a run grew slower or faster from beginning to end.
//!
//! The slope is Theil and Sen's (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau"): the median of the
//! slopes between all pairs of block medians, which outliers do not move. Whether it can be told from chance says Mann and Kendall's
//! test, its variance corrected for the autocorrelation of the blocks by Hamed and Rao (1998), "A modified Mann–Kendall trend test
//! for autocorrelated data": without that, slow ups and downs would pass for drift.

use serde::Serialize;

use super::Nanoseconds;
use super::autocorrelation::at_lag;
use super::cells::Cells;
use super::normal::Z_95;

/// Most blocks; they are equal parts of the run.
const BLOCKS: usize = 100;

/// Fewest blocks, and fewest samples of one.
const FEWEST_BLOCKS: usize = 10;
const FEWEST_SAMPLES: usize = 20;

/// Change over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// By how much the last block's median lies above the first one's along the slope, in percent of the median of all.
    pub percent: f64,
    /// Whether chance would do the same less than once in 20 runs.
    pub significant: bool,
}

impl Drift {
    /// Of `samples_ns` in the order they were taken; `None` of fewer than 200, or where the median is 0.
    #[must_use]
    pub fn of<N: Nanoseconds>(samples_ns: &[N]) -> Option<Self> {
        let blocks = BLOCKS.min(samples_ns.len() / FEWEST_SAMPLES);
        if blocks < FEWEST_BLOCKS {
            return None;
        }
        let medians = Cells::new(samples_ns.len(), blocks).medians(samples_ns);
        let centre = median(medians.clone());
        let trend = Trend::of(&medians);
        (centre > 0.0).then(|| Self {
            percent: trend.slope * (blocks - 1) as f64 / centre * 100.0,
            significant: trend.z.abs() > Z_95,
        })
    }
}

/// Slope and test of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trend {
    /// Theil and Sen's slope, per element.
    slope: f64,
    /// Mann and Kendall's statistic, corrected: standard normal where there is no trend.
    z: f64,
}

impl Trend {
    fn of(series: &[f64]) -> Self {
        let count = series.len();
        let pairs = || (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
        let slope = median(pairs().map(|(i, j)| (series[j] - series[i]) / (j - i) as f64).collect());
        let score: f64 = pairs().map(|(i, j)| sign(series[j] - series[i])).sum();
        let detrended: Vec<f64> = series.iter().enumerate().map(|(i, x)| x - slope * i as f64).collect();
        let variance = variance_of_score(series) * correction(&ranks(&detrended));
        // Kendall's correction of a whole number for continuity.
        let z = if variance > 0.0 { (score - sign(score)) / variance.sqrt() } else { 0.0 };
        Self { slope, z }
    }
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// The mean of the two middle values of an even number, as for slopes is usual.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    f64::midpoint(values[(count - 1) / 2], values[count / 2])
}

/// Of an independent series, with ties.
fn variance_of_score(series: &[f64]) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = series.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tied| term(tied.len() as f64)).sum();
    (term(series.len() as f64) - ties) / 18.0
}

/// How many times larger the autocorrelation of the `ranks` makes that variance: from those of the first quarter of lags that
/// are not noise. At least 1, so that a correction never makes a drift out of nothing.
fn correction(ranks: &[f64]) -> f64 {
    let count = ranks.len() as f64;
    let weighted = |lag: usize| {
        let rho = at_lag(ranks, lag).filter(|rho| rho.abs() > Z_95 / count.sqrt()).unwrap_or(0.0);
        let left = count - lag as f64;
        left * (left - 1.0) * (left - 2.0) * rho
    };
    let sum: f64 = (1..=ranks.len() / 4).map(weighted).sum();
    (1.0 + 2.0 / (count * (count - 1.0) * (count - 2.0)) * sum).max(1.0)
}

/// Values closer than this are equal but for rounding: block medians are whole nanoseconds, and the slope that was taken off is
/// one of theirs, so that of two blocks at least the rests are equal.
const ROUNDING: f64 = 1e-6;

/// Place of each value among all, from 1; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| values[*b] - values[*a] < ROUNDING) {
        for index in tied {
            ranks[*index] = before as f64 + f64::midpoint(1.0, tied.len() as f64);
        }
        before += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::super::autocorrelation::known;
    use super::super::random::{Random, series::ar1};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_trend_of_a_known_series() {
        // pymannkendall.hamed_rao_modification_test(x + 1.5 * numpy.arange(64), lag=16), pymannkendall 1.4.3; the slope is
        // also scipy.stats.theilslopes's, scipy 1.17.1.
        let series: Vec<f64> = known::series().iter().enumerate().map(|(i, x)| x + 1.5 * i as f64).collect();
        let trend = Trend::of(&series);
        assert!((trend.slope - 0.646_428_571_428_571).abs() < 1e-12, "{trend:?}");
        assert!((trend.z - 0.524_491_160_135_504).abs() < 1e-9, "{trend:?}");
        // pymannkendall.original_test: 1.2456705823497052 without the correction.
        assert!((216.0 - 1.0 - 1.245_670_582_349_705 * variance_of_score(&series).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn ties_share_their_ranks() {
        // scipy.stats.rankdata([3, 1, 3, 2]), scipy 1.17.1.
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    fn run(seed: u64, phi: f64, percent: f64) -> Drift {
        let series = ar1(&mut Random::new(seed), phi, 5_000);
        let with = |(i, x): (usize, &f64)| 10_000.0 + 500.0 * x + 100.0 * percent * i as f64 / 5_000.0;
        Drift::of(&series.iter().enumerate().map(|pair| with(pair) as u64).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn chance_is_called_drift_one_time_in_twenty() {
        for phi in [0.0, 0.9] {
            let alarms = (0..400).filter(|seed| run(*seed, phi, 0.0).significant).count();
            // Twenty of 400, four standard deviations of a binomial: 4.4 each. The corrected test never errs to many.
            assert!((3..=38).contains(&alarms), "phi {phi}: {alarms} of 400");
        }
    }

    #[test]
    fn a_drift_is_found_and_sized() {
        for percent in [-5.0, 5.0] {
            let drift = run(1, 0.5, percent);
            assert!(drift.significant && (drift.percent - percent).abs() < 1.0, "{drift:?}");
        }
    }

    #[test]
    fn there_is_none_without_change_or_without_samples() {
        assert_eq!(Drift::of(&[130_u64; 5000]), Some(Drift { percent: 0.0, significant: false }));
        assert_eq!(Drift::of(&[130_u64; 199]), None);
        assert_eq!(Drift::of(&[0_u64; 5000]), None);
    }

    proptest! {
        #[test]
        fn backwards_is_the_other_way(samples in prop::collection::vec(1_u64..1_000_000, 200..2000)) {
            // Whole blocks, so that backwards they hold the same samples; the lower of two middle ones would differ.
            let samples = &samples[..samples.len() / 100 * 100];
            let blocks = BLOCKS.min(samples.len() / FEWEST_SAMPLES);
            let medians = Cells::new(samples.len(), blocks).medians(samples);
            let backwards: Vec<f64> = medians.iter().rev().copied().collect();
            let (trend, other) = (Trend::of(&medians), Trend::of(&backwards));
            prop_assert!((trend.slope + other.slope).abs() < 1e-6);
            prop_assert!((trend.z + other.z).abs() < 1e-6);
        }

        #[test]
        fn scale_does_not_matter(samples in prop::collection::vec(1_u64..1_000_000, 200..1000)) {
            let plain = Drift::of(&samples).unwrap();
            let scaled = Drift::of(&samples.iter().map(|ns| ns * 8).collect::<Vec<_>>()).unwrap();
            prop_assert!((plain.percent - scaled.percent).abs() < 1e-9);
            prop_assert_eq!(plain.significant, scaled.significant);
        }
    }
}
