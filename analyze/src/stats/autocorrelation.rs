//! How much each sample says about the next ones, and so how many independent samples a run is worth.
//!
//! The autocorrelation at lag k is the usual one: the sum of products of deviations from the mean k apart over the sum of their
//! squares (Box and Jenkins, "Time Series Analysis", section 2.1; statsmodels `acf(adjusted=False)`). One huge sample can hide
//! it: then almost all of the sum of squares is that sample's.

use super::Nanoseconds;
use super::block_length::Dependence;
use super::cells::Cells;

/// Autocorrelation at `lag`; `None` where all values are equal or there are too few.
#[must_use]
pub fn at_lag(series: &[f64], lag: usize) -> Option<f64> {
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let squares: f64 = series.iter().map(|x| (x - mean).powi(2)).sum();
    let pairs = series.iter().zip(series.get(lag..)?);
    let products: f64 = pairs.map(|(a, b)| (a - mean) * (b - mean)).sum();
    (lag < series.len() && squares > 0.0).then(|| products / squares)
}

/// What the samples of a run say about each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunDependence {
    /// Autocorrelation of each sample and the next.
    pub lag_1: f64,
    /// How many independent samples would give the mean as precisely: the variance of the samples over the variance of their
    /// mean. No more than there are, because a run whose samples alternate is no longer for that.
    pub effective_samples: f64,
}

impl RunDependence {
    /// Of `samples_ns` in the order they were taken; `None` where all are equal.
    ///
    /// The variance of the mean is that of the means of cells (batch means: Conway 1963, "Some tactical problems in digital
    /// simulation"), times how dependent those means are ([`Dependence::long_run`]). A short series has a cell for each sample.
    #[must_use]
    pub fn of<N: Nanoseconds>(samples_ns: &[N]) -> Option<Self> {
        let cells = Cells::of(samples_ns.len());
        let sum = |cell: &[N]| cell.iter().map(|ns| ns.real()).sum::<f64>();
        let sums: Vec<(f64, usize)> =
            cells.ranges().map(|r| (sum(&samples_ns[r.clone()]), r.len())).collect();
        let count = samples_ns.len() as f64;
        let mean = sums.iter().map(|(sum, _)| sum).sum::<f64>() / count;
        let (mut squares, mut products) = (0.0, 0.0);
        let mut previous = 0.0;
        for ns in samples_ns {
            let deviation = ns.real() - mean;
            squares += deviation * deviation;
            products += previous * deviation;
            previous = deviation;
        }
        let means: Vec<f64> = sums.iter().map(|(sum, size)| sum / *size as f64).collect();
        let variance_of_means =
            means.iter().map(|cell| (cell - mean).powi(2)).sum::<f64>() / means.len() as f64;
        if squares <= 0.0 || variance_of_means <= 0.0 {
            return None;
        }
        let long_run = Dependence::of(&means).map_or(1.0, |dependence| dependence.long_run);
        let of_mean = variance_of_means / means.len() as f64 * long_run;
        // A long-run variance near 0 may be estimated below it.
        let effective_samples =
            if of_mean > 0.0 { (squares / count / of_mean).clamp(1.0, count) } else { count };
        Some(Self { lag_1: products / squares, effective_samples })
    }
}

/// Autocorrelation of each sample and the next in whether they are above `median`: 1 for one that is, 0 for one that is not. `None`
/// where none or all are.
#[must_use]
pub fn lag_1_of_sides<N: Nanoseconds>(samples_ns: &[N], median: u64) -> Option<f64> {
    let median = N::nearest(median);
    let [first, .., last] = samples_ns else { return None };
    let count = samples_ns.len() as f64;
    let above = samples_ns.iter().filter(|ns| **ns > median).count() as f64;
    let pairs = samples_ns.iter().zip(&samples_ns[1..]);
    let both = pairs.filter(|(a, b)| (**a > median) & (**b > median)).count() as f64;
    let share = above / count;
    let ends = f64::from(u8::from(*first > median)) + f64::from(u8::from(*last > median));
    // The sum over all pairs of (a - share) (b - share), multiplied out.
    let products = both - share * (2.0 * above - ends) + (count - 1.0) * share * share;
    let squares = above * (1.0 - share);
    (squares > 0.0).then(|| products / squares)
}

/// A series of 64 values and what other programs say of it.
#[cfg(test)]
pub(super) mod known {
    /// An autoregressive series (order 1, 0.7), made by numpy.random.default_rng(5), rounded.
    pub(crate) const SERIES: [u64; 64] = [
        990, 934, 991, 938, 940, 916, 1014, 1038, 1148, 1136, 1137, 1138, 1066, 1043, 1098, 1048, 1043, 1029,
        1051, 1017, 1005, 1015, 1016, 968, 1022, 951, 905, 870, 957, 952, 918, 886, 941, 906, 871, 940, 898,
        913, 939, 935, 952, 1033, 997, 935, 863, 894, 908, 949, 941, 935, 918, 917, 950, 946, 967, 1072,
        1074, 973, 1068, 1065, 998, 1044, 1032, 992,
    ];

    pub(crate) fn series() -> Vec<f64> {
        SERIES.iter().map(|ns| *ns as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, series::ar1};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_figures_of_statsmodels() {
        // statsmodels.tsa.stattools.acf(x, nlags=5), statsmodels 0.15.0, numpy 2.4.6.
        let expected = [
            1.0,
            0.775_714_990_008,
            0.636_580_546_654,
            0.553_368_507_771,
            0.440_403_443_696,
            0.308_104_711_723,
        ];
        for (lag, expected) in expected.iter().enumerate() {
            let found = at_lag(&known::series(), lag).unwrap();
            assert!((found - expected).abs() < 1e-11, "lag {lag}: {found}");
        }
        let of_run = RunDependence::of(&known::SERIES).unwrap();
        assert!((of_run.lag_1 - expected[1]).abs() < 1e-11, "{of_run:?}");
        // acf((x > 967).astype(float), nlags=1), the same versions; 967 is the median by nearest rank.
        assert!((lag_1_of_sides(&known::SERIES, 967).unwrap() - 0.734_375).abs() < 1e-11);
    }

    #[test]
    fn the_worth_of_a_known_series() {
        // 64 / (1 + 2 * sum(w[k] * acf(x, nlags=20)[k])) with the flat-top weights of a window of 10 lags: numpy 2.4.6.
        assert!(
            (RunDependence::of(&known::SERIES).unwrap().effective_samples - 8.694_334_115_976).abs() < 1e-9
        );
    }

    #[test]
    fn an_autoregressive_series_is_worth_what_theory_says() {
        // The integrated time of an AR(1) series is (1 + phi) / (1 - phi): 3 for 0.5, 19 for 0.9.
        for (phi, expected) in [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0)] {
            let series = ar1(&mut Random::new(7), phi, 200_000);
            let samples: Vec<u64> = series.iter().map(|x| (10_000.0 + 1_000.0 * x) as u64).collect();
            let of_run = RunDependence::of(&samples).unwrap();
            let found = 200_000.0 / of_run.effective_samples;
            assert!((found / expected - 1.0).abs() < 0.15, "phi {phi}: {found}");
            assert!((of_run.lag_1 - phi).abs() < 0.01);
        }
    }

    #[test]
    fn there_is_none_where_nothing_varies() {
        for equal in [&[130_u64; 9][..], &[130], &[]] {
            assert_eq!(RunDependence::of(equal), None);
            assert_eq!(lag_1_of_sides(equal, 130), None);
            assert_eq!(at_lag(&equal.iter().map(|ns| *ns as f64).collect::<Vec<_>>(), 1), None);
        }
    }

    proptest! {
        #[test]
        fn neither_scale_nor_shift_nor_direction_matters(
            samples in prop::collection::vec(0_u64..1_000_000, 3..200),
            shift in 0_u64..1_000_000,
        ) {
            if let Some(plain) = RunDependence::of(&samples) {
                let lag_1 = |changed: Vec<u64>| RunDependence::of(&changed).unwrap().lag_1;
                prop_assert!(plain.lag_1.abs() <= 1.0 + 1e-9);
                prop_assert!((lag_1(samples.iter().map(|ns| ns * 3 + shift).collect()) - plain.lag_1).abs() < 1e-6);
                prop_assert!((lag_1(samples.iter().rev().copied().collect()) - plain.lag_1).abs() < 1e-9);
                prop_assert!((1.0..=samples.len() as f64).contains(&plain.effective_samples));
            }
        }

        #[test]
        fn sides_correlate_as_zeros_and_ones_do(
            samples in prop::collection::vec(0_u64..9, 2..200),
            median in 0_u64..9,
        ) {
            let sides: Vec<f64> = samples.iter().map(|ns| f64::from(u8::from(*ns > median))).collect();
            match (lag_1_of_sides(&samples, median), at_lag(&sides, 1)) {
                (Some(ours), Some(naive)) => prop_assert!((ours - naive).abs() < 1e-9),
                (ours, naive) => prop_assert_eq!(ours, naive),
            }
        }
    }
}
