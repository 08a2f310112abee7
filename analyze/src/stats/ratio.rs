//! By what factor the figures of one group of runs differ from those of another.
//!
//! The estimate is the median of the ratios of all pairs of runs, and its interval the test of [`super::rank`] turned
//! round: all factors that the test would not reject. Hodges and Lehmann (1963), "Estimates of location based on rank
//! tests"; Bauer (1972), "Constructing confidence sets using rank statistics"; here of logarithms, so that a shift is a
//! factor. Its level holds exactly for any number of runs and any distribution, where resampling a handful of runs gives
//! intervals that are too narrow.

use serde::Serialize;

use super::normal::quantile;
use super::rank::{Orders, is_exact};
use super::{Nanoseconds, Percentile, Sorted};

/// Where a ratio lies, as far as the figures tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How often such an interval holds the truth: 0 to 1. Of few runs it is less than what was asked for.
    pub level: f64,
}

/// A ratio new over base, and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The median of the ratios of all pairs of runs.
    pub estimate: f64,
    /// The interval.
    pub interval: Interval,
}

/// Of figures above 0, one a run; `None` if a group is empty. Where no interval of `level` exists, the widest: smallest to
/// largest ratio of a pair, with the level that has.
#[must_use]
pub fn ratio_of_runs(base: &[f64], new: &[f64], level: f64) -> Option<Ratio> {
    let pairs = new.iter().flat_map(|n| base.iter().map(move |b| (n / b).ln())).collect();
    let sorted = Sorted::new(pairs);
    let logs = sorted.as_slice();
    let count = logs.len();
    let estimate = f64::midpoint(*logs.get(count.checked_sub(1)? / 2)?, logs[count / 2]).exp();
    let (beyond, level) = pairs_beyond(base.len(), new.len(), level);
    let (low, high) = (logs[beyond].exp(), logs[count - 1 - beyond].exp());
    Some(Ratio { estimate, interval: Interval { low, high, level } })
}

/// How many of the sorted ratios lie beyond each end of an interval of `level`, and the level it really has.
fn pairs_beyond(base: usize, new: usize, level: f64) -> (usize, f64) {
    if is_exact(base, new) {
        let orders = Orders::of(base, new);
        let (beyond, tail) = orders.critical((1.0 - level) / 2.0).unwrap_or((0, orders.share_up_to(0)));
        // Of one run a side both orders are equally likely: the interval is a point, and says nothing.
        return (beyond, (1.0 - 2.0 * tail).max(0.0));
    }
    // The same approximation as the test's, rounded to the wider side.
    let (n, m) = (base as f64, new as f64);
    let spread = (n * m * (n + m + 1.0) / 12.0).sqrt();
    let beyond = n * m / 2.0 - quantile(1.0 - (1.0 - level) / 2.0) * spread - 0.5;
    (beyond.max(0.0) as usize, level)
}

/// The least number of runs a side with which an interval of `level` exists.
#[must_use]
pub fn least_runs(level: f64) -> usize {
    (1..=50).find(|n| Orders::of(*n, *n).critical((1.0 - level) / 2.0).is_some()).unwrap_or(50)
}

/// How the runs of one side scatter: the standard deviation of the logarithms of their figures within sides, both sides
/// together. `None` unless a side has two runs.
#[must_use]
pub fn spread_of_runs(base: &[f64], new: &[f64]) -> Option<f64> {
    let squares = |figures: &[f64]| {
        let logs: Vec<f64> = figures.iter().map(|figure| figure.ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
        logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>()
    };
    let freedom = (base.len() + new.len()).checked_sub(2).filter(|freedom| *freedom > 0)?;
    Some(((squares(base) + squares(new)) / freedom as f64).sqrt())
}

/// How many runs a side make an interval of `level` so narrow that in four of five attempts it tells a difference of
/// `log_difference` from none, at this spread between runs.
///
/// The sample size of a test of two means, n = 2 (z(1 - a/2) + z(0.8))^2 (spread / difference)^2, over the efficiency of
/// ranks beside means for normal figures, 3 / pi (Lehmann 1975, "Nonparametrics", 2.4).
#[must_use]
pub fn runs_needed(spread: f64, log_difference: f64, level: f64) -> f64 {
    let z = quantile(1.0 - (1.0 - level) / 2.0) + quantile(0.8);
    let efficiency = 3.0 / std::f64::consts::PI;
    (2.0 * (z * spread / log_difference).powi(2) / efficiency).ceil().max(least_runs(level) as f64)
}

/// Messages a run must have for the error of its own figures to be estimated.
const MIN_MESSAGES: usize = 200;

/// Stretches a run is cut into.
const BATCHES: usize = 32;

/// What one run's own messages leave open of a figure of its: the ends of an interval of 95 %.
pub type Ends = (f64, f64);

/// The ends of one run's percentile; `None` with few messages, or few beyond it.
///
/// Woodruff (1952), "Confidence intervals for medians and other position measures": the samples at the ends of the interval
/// of its share. The share's error is that of the means of 32 successive stretches, as messages near each other are alike
/// (Law and Kelton, "Simulation modeling and analysis", batch means).
#[must_use]
pub fn ends_of_percentile<N: Nanoseconds>(
    in_order: &[N],
    sorted: &Sorted<u64>,
    percentile: Percentile,
) -> Option<Ends> {
    let value = sorted.percentile(percentile)?;
    let error = batch_error(in_order, |sample| f64::from(u8::from(sample <= value)))?;
    let count = in_order.len() as f64;
    let at = |share: f64| {
        let rank = (share * count).ceil().clamp(1.0, count) as usize;
        // A clock's whole nanosecond may be 0; half of one is what it stands for at most.
        (sorted.as_slice()[rank - 1] as f64).max(0.5)
    };
    let reach = quantile(0.975) * error;
    let share = percentile.fraction();
    Some((at(share - reach), at(share + reach)))
}

/// The ends of one run's `mean`, likewise; on a scale of factors, so that none is below 0.
#[must_use]
pub fn ends_of_mean<N: Nanoseconds>(in_order: &[N], mean: f64) -> Option<Ends> {
    let error = batch_error(in_order, |sample| sample as f64).filter(|_| mean > 0.0)?;
    // A small relative error of a figure is the error of its logarithm.
    let reach = (quantile(0.975) * error / mean).exp();
    Some((mean / reach, mean * reach))
}

fn batch_error<N: Nanoseconds>(in_order: &[N], of: impl Fn(u64) -> f64) -> Option<f64> {
    if in_order.len() < MIN_MESSAGES {
        return None;
    }
    // The last stretch may be a little longer.
    let length = in_order.len() / BATCHES;
    let means: Vec<f64> = (0..BATCHES)
        .map(|batch| {
            let end = if batch + 1 == BATCHES { in_order.len() } else { (batch + 1) * length };
            let stretch = &in_order[batch * length..end];
            stretch.iter().map(|sample| of((*sample).into())).sum::<f64>() / stretch.len() as f64
        })
        .collect();
    let stddev = super::Moments::of(&means)?.stddev?;
    Some(stddev / (BATCHES as f64).sqrt())
}

/// Where the ratio of two runs' figures lies as far as their own messages tell, by the ends of both: Zou and Donner (2008),
/// "Construction of confidence limits about effect measures", of logarithms. What one run differs from the next by is not
/// in it.
#[must_use]
pub fn within_runs((base, base_ends): (f64, Ends), (new, new_ends): (f64, Ends)) -> Interval {
    let distances = |value: f64, (low, high): Ends| ((value / low).ln(), (high / value).ln());
    let (base_down, base_up) = distances(base, base_ends);
    let (new_down, new_up) = distances(new, new_ends);
    let ratio = new / base;
    let (down, up) = (new_down.hypot(base_up), new_up.hypot(base_down));
    Interval { low: ratio * (-down).exp(), high: ratio * up.exp(), level: 0.95 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    #[test]
    fn the_interval_of_hollander_and_wolfe() {
        // Example 4.1 of Hollander and Wolfe, as R prints it:
        // wilcox.test(c(.80,.83,1.89,1.04,1.45,1.38,1.91,1.64,.73,1.46), c(1.15,.88,.90,.74,1.21), conf.int = TRUE)
        //   95 percent confidence interval: -0.15 0.76; difference in location 0.305
        let later = [0.80_f64, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46].map(f64::exp);
        let early = [1.15_f64, 0.88, 0.90, 0.74, 1.21].map(f64::exp);
        let ratio = ratio_of_runs(&early, &later, 0.95).unwrap();
        let logs = [ratio.estimate, ratio.interval.low, ratio.interval.high].map(f64::ln);
        for (got, expected) in logs.into_iter().zip([0.305, -0.15, 0.76]) {
            assert!((got - expected).abs() < 1e-9, "{logs:?}");
        }
        assert!(ratio.interval.level >= 0.95);
    }

    #[test]
    fn few_runs_have_an_interval_of_a_lower_level() {
        let level = |n: usize, m: usize| {
            let runs = |count: usize, first: f64| (0..count).map(|i| first + i as f64).collect::<Vec<_>>();
            ratio_of_runs(&runs(n, 100.0), &runs(m, 200.0), 0.95).unwrap().interval.level
        };
        assert_eq!(level(1, 1), 0.0);
        assert!((level(3, 3) - 0.9).abs() < 1e-12 && (level(2, 2) - 2.0 / 3.0).abs() < 1e-12);
        assert!(level(4, 4) > 0.95 && level(10, 10) > 0.95 && level(60, 60) >= 0.95);
        assert_eq!([0.9, 0.95, 0.99].map(least_runs), [3, 4, 5]);
        assert_eq!(ratio_of_runs(&[], &[1.0], 0.95), None);
    }

    #[test]
    fn the_approximation_for_many_runs_agrees_with_the_exact_one() {
        let (exact, _) = pairs_beyond(50, 50, 0.95);
        let (n, m) = (50.0_f64, 50.0);
        let near = n * m / 2.0 - 1.96 * (n * m * (n + m + 1.0) / 12.0).sqrt() - 0.5;
        assert!((exact as f64 - near).abs() <= 1.0, "{exact} and {near}");
        assert!(pairs_beyond(51, 51, 0.95).0 > exact);
    }

    #[test]
    fn the_runs_needed_follow_the_spread() {
        // G*Power's and every textbook's n for d = 1, two-sided 5 %, power 80 %: 15.7 a group before the efficiency.
        assert_eq!(runs_needed(0.02, 0.02, 0.95), 17.0);
        assert_eq!(runs_needed(0.001, 0.02, 0.95), 4.0);
        assert_eq!(spread_of_runs(&[1.0], &[2.0]), None);
        let spread = spread_of_runs(&[1.0, std::f64::consts::E], &[7.0]).unwrap();
        assert!((spread - 0.5_f64.sqrt()).abs() < 1e-12, "{spread}");
    }

    /// Messages that depend on the one before them: without stretches, the error would be estimated 4 times too small.
    #[test]
    fn the_error_within_a_run_covers_correlated_messages() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut inside = 0;
        let runs = 400;
        for _ in 0..runs {
            let mut level = 0.0_f64;
            let samples: Vec<u64> = (0..6_400)
                .map(|_| {
                    level = 0.9 * level + random.random::<f64>() - 0.5;
                    (1e6 * (0.05 * level).exp()) as u64
                })
                .collect();
            let sorted = Sorted::new(samples.clone());
            let ends = ends_of_percentile(&samples, &sorted, Percentile::P50).unwrap();
            let interval = within_runs((1e6, (1e6, 1e6)), (sorted.median().unwrap() as f64, ends));
            inside += u32::from(interval.low <= 1.0 && 1.0 <= interval.high);
        }
        // 95 % of 400 is 380, its binomial deviation 4.4; 32 stretches cost a little of the level.
        assert!((363..=394).contains(&inside), "{inside} of {runs}");
        assert_eq!(ends_of_mean(&[5_u32; 100], 5.0), None);
        assert_eq!(ends_of_mean(&[5_u64; 1000], 5.0), Some((5.0, 5.0)));
    }

    #[test]
    fn the_ends_of_a_ratio_are_those_that_pull_it_there() {
        let interval = within_runs((100.0, (90.0, 100.0)), (200.0, (200.0, 240.0)));
        // Downwards neither figure can go: the base not up, the new one not down.
        assert_eq!(interval.low, 2.0);
        let up = (1.2_f64.ln()).hypot((10.0_f64 / 9.0).ln()).exp();
        assert!((interval.high - 2.0 * up).abs() < 1e-12, "{interval:?}");
    }

    proptest! {
        #[test]
        fn a_factor_on_one_side_is_a_factor_of_the_ratio(
            base in prop::collection::vec(1.0_f64..1e6, 1..12),
            new in prop::collection::vec(1.0_f64..1e6, 1..12),
            factor in 0.1_f64..10.0,
        ) {
            let ratio = ratio_of_runs(&base, &new, 0.95).unwrap();
            prop_assert!(ratio.interval.low <= ratio.estimate && ratio.estimate <= ratio.interval.high);
            let scaled: Vec<f64> = new.iter().map(|figure| figure * factor).collect();
            let other = ratio_of_runs(&base, &scaled, 0.95).unwrap();
            prop_assert!((other.estimate / ratio.estimate / factor - 1.0).abs() < 1e-9);
            prop_assert!((other.interval.low / ratio.interval.low / factor - 1.0).abs() < 1e-9);
            // The sides changed: one over it.
            let back = ratio_of_runs(&new, &base, 0.95).unwrap();
            prop_assert!((back.estimate * ratio.estimate - 1.0).abs() < 1e-9);
            prop_assert!((back.interval.low * ratio.interval.high - 1.0).abs() < 1e-9);
        }
    }
}
