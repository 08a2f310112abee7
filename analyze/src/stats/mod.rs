//! Exact statistics of samples; in the modules, what they say of a whole run, [`shape::Shape`], and of
//! several runs: [`rank`], [`ratio`], [`shift`], [`change_points`].
//!
//! A percentile is the nearest-rank one: of n samples in ascending order, the p-th percentile is the
//! ceil(p / 100 × n)-th. It is always a value that was measured. Hyndman and Fan (1996), "Sample quantiles in
//! statistical packages", call it type 1, numpy `inverted_cdf`; HdrHistogram uses the same rank.

pub mod autocorrelation;
pub mod block_length;
pub mod bootstrap;
pub mod cell_values;
pub mod cells;
pub mod change_points;
#[cfg(test)]
mod coverage;
pub mod drift;
pub mod jitter;
pub mod modes;
pub mod normal;
pub mod order_table;
pub mod outliers;
pub mod periodicity;
pub mod random;
pub mod rank;
pub mod ratio;
pub mod resamples;
pub mod shape;
pub mod shift;
pub mod warm_up;

use serde::Serialize;

/// Fewer samples than this beyond a percentile, and it is not a figure but an accident.
pub const MIN_SAMPLES_BEYOND: usize = 10;

/// A percentile, kept as hundredths of a percent so that its rank is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentile(u32);

impl Percentile {
    /// The median.
    pub const P50: Self = Self(5000);
    /// 90 of 100 samples are no larger.
    pub const P90: Self = Self(9000);
    /// 95 of 100 samples are no larger.
    pub const P95: Self = Self(9500);
    /// 99 of 100 samples are no larger.
    pub const P99: Self = Self(9900);
    /// 999 of 1,000 samples are no larger.
    pub const P99_9: Self = Self(9990);
    /// Those a report shows, in order.
    pub const REPORTED: [Self; 6] = [Self::P50, Self::P90, Self::P95, Self::P99, Self::P99_9, Self(9999)];

    /// Those that a writer's histogram has.
    pub const IN_HISTOGRAM: [Self; 4] = [Self::P50, Self::P90, Self::P99, Self::P99_9];

    /// From hundredths of a percent, 1 to 10,000; `None` outside.
    #[must_use]
    pub fn from_hundredths(hundredths: u32) -> Option<Self> {
        (1..=10_000).contains(&hundredths).then_some(Self(hundredths))
    }

    /// The share of samples no larger than this percentile, from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Its name: `p50`, `p99.9`.
    #[must_use]
    pub fn name(self) -> String {
        format!("p{}", f64::from(self.0) / 100.0)
    }

    /// How many samples there must be so that [`MIN_SAMPLES_BEYOND`] lie beyond it; of the 100th none are enough.
    #[must_use]
    pub fn samples_needed(self) -> u64 {
        let beyond = u64::from(10_000 - self.0);
        if beyond == 0 { u64::MAX } else { (MIN_SAMPLES_BEYOND as u64 * 10_000).div_ceil(beyond) }
    }

    /// Its rank among `count` samples, from 1; 0 if there are none.
    #[must_use]
    pub fn rank(self, count: usize) -> usize {
        // u128: a count times 10,000 may not fit in usize.
        ((count as u128 * u128::from(self.0)).div_ceil(10_000)) as usize
    }
}

/// A time as it is kept: in 64 bits or, where all of a run's fit, in 32, which are read in half the time.
pub trait Nanoseconds: Copy + Ord + Into<u64> + Send + Sync {
    /// That which is closest to `ns`.
    fn nearest(ns: u64) -> Self;

    /// For sums and means; exact below 2^53.
    fn real(self) -> f64 {
        let ns: u64 = self.into();
        ns as f64
    }
}

impl Nanoseconds for u64 {
    fn nearest(ns: u64) -> Self {
        ns
    }
}

impl Nanoseconds for u32 {
    fn nearest(ns: u64) -> Self {
        Self::try_from(ns).unwrap_or(Self::MAX)
    }
}

/// Samples in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted<T>(Vec<T>);

/// Durations below this, a quarter of a millisecond, are sorted by counting: its counts fit in a core's second-level cache.
const COUNTED_BELOW_NS: usize = 1 << 18;

impl Sorted<u64> {
    /// Sorts durations, most of which are expected to be short: those take two passes, however many they are.
    #[must_use]
    pub fn of_durations_ns(durations_ns: impl Iterator<Item = u64>) -> Self {
        Self::counted(durations_ns, 0, COUNTED_BELOW_NS)
    }

    /// Sorts a part of a run's durations, most of which are expected to lie close together: those take two passes.
    #[must_use]
    pub fn of_neighbours_ns(durations_ns: &[u64]) -> Self {
        let from = durations_ns.iter().min().copied().unwrap_or(0);
        // More values to count than durations would take longer than sorting them.
        Self::counted(durations_ns.iter().copied(), from, (durations_ns.len() / 2).min(COUNTED_BELOW_NS))
    }

    /// Counts those of `width` values from `from` on, which is no larger than any; sorts the others.
    fn counted(durations_ns: impl Iterator<Item = u64>, from: u64, width: usize) -> Self {
        let mut counts = vec![0_usize; width];
        let mut total = 0;
        let mut long = Vec::new();
        for ns in durations_ns {
            total += 1;
            match usize::try_from(ns - from).ok().and_then(|place| counts.get_mut(place)) {
                Some(count) => *count += 1,
                None => long.push(ns),
            }
        }
        long.sort_unstable();
        let mut sorted = Vec::with_capacity(total);
        for (place, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            sorted.resize(sorted.len() + count, from + place as u64);
        }
        sorted.extend(long);
        Self(sorted)
    }

    /// Mean and spread of the samples, from their distinct values; `None` if there are none. As [`Moments::of`].
    #[must_use]
    pub fn moments(&self) -> Option<Moments> {
        let first = *self.0.first()? as f64;
        let n = self.0.len() as f64;
        let mean = first
            + self.groups().map(|(value, count)| (value as f64 - first) * count as f64).sum::<f64>() / n;
        let (squares, rest) = self.groups().fold((0.0, 0.0), |(squares, rest), (value, count)| {
            let (distance, count) = (value as f64 - mean, count as f64);
            (squares + distance * distance * count, rest + distance * count)
        });
        let stddev = (n > 1.0).then(|| ((squares - rest * rest / n) / (n - 1.0)).max(0.0).sqrt());
        Some(Moments { mean, stddev })
    }
}

impl<T: Copy + PartialOrd> Sorted<T> {
    /// Sorts `samples`; they hold no NaN, as the input checks see to.
    #[must_use]
    pub fn new(mut samples: Vec<T>) -> Self {
        samples.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        Self(samples)
    }

    /// The samples.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Each distinct value, ascending, and how many samples have it. Equal neighbours are leapt over, so that ten million
    /// samples of some thousand values take microseconds.
    pub fn groups(&self) -> impl Iterator<Item = (T, usize)> + Clone + '_ {
        let mut rest = self.as_slice();
        std::iter::from_fn(move || {
            let value = *rest.first()?;
            // Leaps that double until one goes too far, then halving between the last two.
            let mut reach = 1;
            while rest.get(reach).is_some_and(|other| *other == value) {
                reach *= 2;
            }
            let near = reach / 2;
            let far = reach.min(rest.len());
            let count = near + rest[near..far].partition_point(|other| *other == value);
            rest = &rest[count..];
            Some((value, count))
        })
    }

    /// The nearest-rank percentile, however few samples lie beyond it; `None` without samples.
    #[must_use]
    pub fn nearest_rank(&self, percentile: Percentile) -> Option<T> {
        self.0.get(percentile.rank(self.0.len()).checked_sub(1)?).copied()
    }

    /// The nearest-rank percentile if at least [`MIN_SAMPLES_BEYOND`] samples lie beyond its rank.
    #[must_use]
    pub fn percentile(&self, percentile: Percentile) -> Option<T> {
        let beyond = self.0.len() - percentile.rank(self.0.len());
        (beyond >= MIN_SAMPLES_BEYOND).then(|| self.nearest_rank(percentile)).flatten()
    }

    /// The middle sample: nearest rank of 50, a measure of the centre and so shown for any count.
    #[must_use]
    pub fn median(&self) -> Option<T> {
        self.nearest_rank(Percentile::P50)
    }

    /// The upper of two middle samples (the middle one of an odd number). Of rates this is the rate of the median
    /// duration: the faster of two middle rates belongs to the shorter of two middle durations.
    #[must_use]
    pub fn upper_median(&self) -> Option<T> {
        self.0.get(self.0.len() - Percentile::P50.rank(self.0.len())).copied()
    }
}

/// Mean and spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Moments {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation, with n - 1; `None` for a single sample.
    pub stddev: Option<f64>,
}

impl Moments {
    /// Of `samples`; `None` if there are none.
    ///
    /// The corrected two-pass algorithm of Chan, Golub and LeVeque (1983), "Algorithms for computing the sample
    /// variance", equation 1.7: the second sum takes back what rounding of the mean put in.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let count = samples.len() as f64;
        let first = *samples.first()?;
        // Summed as differences from a sample, so that a large offset does not eat the digits.
        let mean = first + samples.iter().map(|x| x - first).sum::<f64>() / count;
        let (squares, rest) = samples
            .iter()
            .map(|x| x - mean)
            .fold((0.0, 0.0), |(squares, rest), d| (squares + d * d, rest + d));
        let stddev =
            (samples.len() > 1).then(|| ((squares - rest * rest / count) / (count - 1.0)).max(0.0).sqrt());
        Some(Self { mean, stddev })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    /// The definition in words: the smallest sample such that at least p percent of all are no larger.
    fn naive(samples: &[u64], hundredths: u32) -> u64 {
        let mut candidates = samples.to_vec();
        candidates.sort_unstable();
        let needed = samples.len() as u128 * u128::from(hundredths);
        *candidates
            .iter()
            .find(|c| samples.iter().filter(|s| s <= c).count() as u128 * 10_000 >= needed)
            .expect("the largest sample satisfies p100")
    }

    proptest! {
        #[test]
        fn a_percentile_is_what_the_definition_says(
            samples in prop::collection::vec(0_u64..500, 1..200),
            hundredths in 1_u32..=10_000,
        ) {
            let percentile = Percentile::from_hundredths(hundredths).unwrap();
            let sorted = Sorted::new(samples.clone());
            prop_assert_eq!(sorted.nearest_rank(percentile), Some(naive(&samples, hundredths)));
        }

        #[test]
        fn a_percentile_agrees_with_hdrhistogram_within_its_precision(
            samples in prop::collection::vec(1_u64..10_000_000_000, 1..2_000),
        ) {
            let mut histogram = Histogram::<u64>::new(3).unwrap();
            for sample in &samples {
                histogram.record(*sample).unwrap();
            }
            let sorted = Sorted::new(samples);
            for percentile in Percentile::REPORTED {
                let exact = sorted.nearest_rank(percentile).unwrap();
                let theirs = histogram.value_at_quantile(percentile.fraction());
                prop_assert!(histogram.equivalent(exact, theirs), "{}: {exact} and {theirs}", percentile.name());
                prop_assert!(exact.abs_diff(theirs) as f64 <= 1e-3 * exact as f64);
            }
        }

        #[test]
        fn counting_sorts_as_sorting_does(
            samples in prop::collection::vec(prop_oneof![0_u64..400_000, any::<u64>()], 0..300),
        ) {
            prop_assert_eq!(Sorted::of_durations_ns(samples.iter().copied()), Sorted::new(samples.clone()));
            prop_assert_eq!(Sorted::of_neighbours_ns(&samples), Sorted::new(samples));
        }

        #[test]
        fn groups_are_the_distinct_values_and_their_moments_those_of_all(
            samples in prop::collection::vec(prop_oneof![0_u64..9, 0_u64..100_000], 0..300),
        ) {
            let sorted = Sorted::new(samples);
            let naive: Vec<_> =
                sorted.as_slice().chunk_by(|a, b| a == b).map(|group| (group[0], group.len())).collect();
            prop_assert_eq!(sorted.groups().collect::<Vec<_>>(), naive);
            let all = Moments::of(&sorted.as_slice().iter().map(|x| *x as f64).collect::<Vec<_>>());
            prop_assert_eq!(sorted.moments().is_some(), all.is_some());
            if let (Some(grouped), Some(all)) = (sorted.moments(), all) {
                prop_assert!((grouped.mean - all.mean).abs() <= 1e-12 * all.mean);
                let [grouped, all] = [grouped, all].map(|moments| moments.stddev.unwrap_or(0.0));
                prop_assert!((grouped - all).abs() <= 1e-9 * all);
            }
        }

        #[test]
        fn a_shown_percentile_has_ten_samples_beyond_it(count in 1_usize..30_000) {
            let sorted = Sorted::new((0..count).collect());
            for percentile in Percentile::REPORTED {
                let beyond = count - percentile.rank(count);
                prop_assert_eq!(sorted.percentile(percentile).is_some(), beyond >= 10);
                prop_assert_eq!(count as u64 >= percentile.samples_needed(), beyond >= 10);
            }
        }
    }

    #[test]
    fn a_textbook_example() {
        // Worked example of the nearest-rank method, Wikipedia, "Percentile".
        let sorted = Sorted::new(vec![15, 20, 35, 40, 50]);
        for (hundredths, expected) in [(500, 15), (3000, 20), (4000, 20), (5000, 35), (10_000, 50)] {
            assert_eq!(sorted.nearest_rank(Percentile(hundredths)), Some(expected));
        }
    }

    #[test]
    fn hdrhistograms_published_example() {
        // HistogramDataAccessTest of HdrHistogram for Java: 10,000 samples of 1 ms, then one of 100 s with those that it held
        // up, 10 ms apart; there in microseconds and to 0.1 %.
        let stalled = (1..=10_000_u64).map(|i| i * 10_000);
        let sorted = Sorted::new(std::iter::repeat_n(1_000, 10_000).chain(stalled).collect());
        let expected =
            [(3000, 1_000), (5000, 1_000), (7500, 50_000_000), (9000, 80_000_000), (9900, 98_000_000)];
        for (hundredths, expected) in expected {
            assert_eq!(sorted.nearest_rank(Percentile(hundredths)), Some(expected));
        }
    }

    #[test]
    fn numpys_inverted_cdf() {
        // numpy.percentile(x, [50, 90, 95, 99, 99.9, 99.99], method="inverted_cdf")
        // for x = [i * i % 1009 for i in range(1000)], numpy 2.4.6: [506 922 973 1003 1008 1008]
        let sorted = Sorted::new((0..1000_u64).map(|i| i * i % 1009).collect());
        let values: Vec<_> = Percentile::REPORTED.iter().map(|p| sorted.nearest_rank(*p).unwrap()).collect();
        assert_eq!(values, [506, 922, 973, 1003, 1008, 1008]);
    }

    #[test]
    fn the_rule_of_ten_turns_on_exactly() {
        let shown =
            |count: usize, percentile| Sorted::new((0..count).collect()).percentile(percentile).is_some();
        assert!(shown(20, Percentile::P50) && !shown(19, Percentile::P50));
        assert!(shown(10_000, Percentile::P99_9) && !shown(9_999, Percentile::P99_9));
        assert!(shown(100_000, Percentile(9999)) && !shown(99_999, Percentile(9999)));
    }

    #[test]
    fn the_centre_of_nothing_and_of_one() {
        assert_eq!(Sorted::<u64>::new(vec![]).median(), None);
        assert_eq!(Moments::of(&[]), None);
        assert_eq!(Sorted::new(vec![7]).median(), Some(7));
        assert_eq!(Sorted::new(vec![1, 2, 3, 4]).median(), Some(2));
        assert_eq!(Sorted::new(vec![1, 2, 3, 4]).upper_median(), Some(3));
        assert_eq!(Sorted::new(vec![1, 2, 3]).upper_median(), Some(2));
        assert_eq!(Sorted::<u64>::new(vec![]).upper_median(), None);
        assert_eq!(Moments::of(&[7.0]), Some(Moments { mean: 7.0, stddev: None }));
    }

    /// Michelson's measurements of the speed of light, 1879, in km/s less 299,000.
    const MICHELSON: [u16; 100] = [
        850, 740, 900, 1070, 930, 850, 950, 980, 980, 880, 1000, 980, 930, 650, 760, 810, 1000, 1000, 960,
        960, 960, 940, 960, 940, 880, 800, 850, 880, 900, 840, 830, 790, 810, 880, 880, 830, 800, 790, 760,
        800, 880, 880, 880, 860, 720, 720, 620, 860, 970, 950, 880, 910, 850, 870, 840, 840, 850, 840, 840,
        840, 890, 810, 810, 820, 800, 770, 760, 740, 750, 760, 910, 920, 890, 860, 880, 720, 840, 850, 850,
        780, 890, 840, 780, 810, 760, 810, 790, 810, 820, 850, 870, 870, 810, 740, 810, 940, 950, 800, 810,
        870,
    ];

    /// Certified values of the Statistical Reference Datasets, National Institute of Standards and Technology,
    /// https://www.itl.nist.gov/div898/strd/univ/homepage.html
    #[test]
    fn moments_match_the_certified_values_of_nist() {
        let michelson: Vec<f64> = MICHELSON.iter().map(|v| 299.0 + f64::from(*v) / 1000.0).collect();
        let numacc = |first: f64, low: f64, high: f64| -> Vec<f64> {
            std::iter::once(first).chain([low, high].into_iter().cycle().take(1000)).collect()
        };
        for (name, samples, mean, stddev, digits) in [
            ("Michelso", michelson, 299.852_4, 0.079_010_547_819_051_8, 1e-12),
            ("NumAcc1", vec![10_000_001.0, 10_000_003.0, 10_000_002.0], 10_000_002.0, 1.0, 1e-15),
            ("NumAcc2", numacc(1.2, 1.1, 1.3), 1.2, 0.1, 1e-13),
            ("NumAcc3", numacc(1_000_000.2, 1_000_000.1, 1_000_000.3), 1_000_000.2, 0.1, 1e-8),
            ("NumAcc4", numacc(10_000_000.2, 10_000_000.1, 10_000_000.3), 10_000_000.2, 0.1, 1e-7),
        ] {
            let moments = Moments::of(&samples).unwrap();
            assert!((moments.mean / mean - 1.0_f64).abs() < 1e-14, "{name}: mean {}", moments.mean);
            let got = moments.stddev.unwrap();
            assert!((got / stddev - 1.0_f64).abs() < digits, "{name}: stddev {got}");
        }
    }
}
