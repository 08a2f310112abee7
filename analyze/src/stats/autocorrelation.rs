//! How much each sample says about the next ones, and so how many independent samples a run is worth.
//!
//! The autocorrelation at lag k is the usual one: the sum of products of deviations from the mean k apart over the sum of their
//! squares (Box and Jenkins, "Time Series Analysis", section 2.1; statsmodels `acf(adjusted=False)`). One huge sample can hide
//! it: then almost all of the sum of squares is that sample's.

use super::block_length::Dependence;
use super::cells::Cells;

/// Autocorrelation at `lag`; `None` where all samples are equal or there are too few.
#[must_use]
pub fn at_lag(series: &[f64], lag: usize) -> Option<f64> {
    of_values(series, |x| x, lag)
}

/// The same of nanoseconds, without a copy of them.
#[must_use]
pub fn of_samples(samples_ns: &[u64], lag: usize) -> Option<f64> {
    of_values(samples_ns, |ns| ns as f64, lag)
}

/// The same of what `value` makes of each element, without a copy either.
pub(super) fn of_values<T: Copy>(series: &[T], value: impl Fn(T) -> f64, lag: usize) -> Option<f64> {
    let mean = mean(series.iter().map(|x| value(*x)))?;
    let squares: f64 = series.iter().map(|x| (value(*x) - mean).powi(2)).sum();
    let pairs = series.iter().zip(series.get(lag..)?);
    let products: f64 = pairs.map(|(a, b)| (value(*a) - mean) * (value(*b) - mean)).sum();
    (lag < series.len() && squares > 0.0).then(|| products / squares)
}

/// Mean, summed as differences from the first value so that a large offset does not eat the digits.
fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let mut count = 0_u64;
    let first = values.clone().next()?;
    let sum: f64 = values.inspect(|_| count += 1).map(|x| x - first).sum();
    Some(first + sum / count as f64)
}

/// How many independent samples would give the mean as precisely as `samples_ns` do: their variance over the variance of
/// their mean. No more than there are, because a run whose samples alternate is no longer for that.
///
/// The variance of the mean is that of the means of cells (batch means: Conway 1963, "Some tactical problems in digital
/// simulation"), times how dependent those means are ([`Dependence::long_run`]). A short series has a cell for each sample.
#[must_use]
pub fn effective_samples(samples_ns: &[u64]) -> Option<f64> {
    let cells = Cells::of(samples_ns.len());
    let whole = mean(samples_ns.iter().map(|ns| *ns as f64))?;
    let variance =
        samples_ns.iter().map(|ns| (*ns as f64 - whole).powi(2)).sum::<f64>() / samples_ns.len() as f64;
    let mean_of = |cell: &[u64]| cell.iter().map(|ns| *ns as f64).sum::<f64>() / cell.len() as f64;
    let means: Vec<f64> = cells.ranges().map(|range| mean_of(&samples_ns[range])).collect();
    let variance_of_means = means.iter().map(|mean| (mean - whole).powi(2)).sum::<f64>() / means.len() as f64;
    if variance <= 0.0 || variance_of_means <= 0.0 {
        return None;
    }
    let long_run = Dependence::of(&means).map_or(1.0, |dependence| dependence.long_run);
    let of_mean = variance_of_means / means.len() as f64 * long_run;
    // A long-run variance near 0 may be estimated below it.
    if of_mean <= 0.0 {
        return Some(samples_ns.len() as f64);
    }
    Some((variance / of_mean).clamp(1.0, samples_ns.len() as f64))
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
        for (lag, expected) in expected.into_iter().enumerate() {
            let found = of_samples(&known::SERIES, lag).unwrap();
            assert!((found - expected).abs() < 1e-11, "lag {lag}: {found}");
        }
    }

    #[test]
    fn the_worth_of_a_known_series() {
        // 64 / (1 + 2 * sum(w[k] * acf(x, nlags=20)[k])) with the flat-top weights of a window of 10 lags: numpy 2.4.6.
        assert!((effective_samples(&known::SERIES).unwrap() - 8.694_334_115_976).abs() < 1e-9);
    }

    #[test]
    fn an_autoregressive_series_is_worth_what_theory_says() {
        // The integrated time of an AR(1) series is (1 + phi) / (1 - phi): 3 for 0.5, 19 for 0.9.
        for (phi, expected) in [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0)] {
            let series = ar1(&mut Random::new(7), phi, 200_000);
            let samples: Vec<u64> = series.iter().map(|x| (10_000.0 + 1_000.0 * x) as u64).collect();
            let found = 200_000.0 / effective_samples(&samples).unwrap();
            assert!((found / expected - 1.0).abs() < 0.15, "phi {phi}: {found}");
            assert!((of_samples(&samples, 1).unwrap() - phi).abs() < 0.01);
        }
    }

    #[test]
    fn there_is_none_where_nothing_varies() {
        assert_eq!(of_samples(&[130; 9], 1), None);
        assert_eq!(of_samples(&[], 1), None);
        assert_eq!(of_samples(&[130], 1), None);
        assert_eq!(effective_samples(&[130; 9]), None);
    }

    proptest! {
        #[test]
        fn neither_scale_nor_shift_nor_direction_matters(
            samples in prop::collection::vec(0_u64..1_000_000, 3..200),
            shift in 0_u64..1_000_000,
            lag in 1_usize..3,
        ) {
            if let Some(plain) = of_samples(&samples, lag) {
                let of = |changed: Vec<u64>| of_samples(&changed, lag).unwrap();
                prop_assert!(plain.abs() <= 1.0 + 1e-9);
                prop_assert!((of(samples.iter().map(|ns| ns * 3 + shift).collect()) - plain).abs() < 1e-6);
                prop_assert!((of(samples.iter().rev().copied().collect()) - plain).abs() < 1e-9);
                let worth = effective_samples(&samples).unwrap();
                prop_assert!((1.0..=samples.len() as f64).contains(&worth));
            }
        }
    }
}
