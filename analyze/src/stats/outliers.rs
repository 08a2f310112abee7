//! Samples far beyond the rest: how many, whether they come in clusters, and whether the clusters come with a period.
//!
//! Far is more than ten robust standard deviations (1.4826 × the median absolute deviation: Hampel 1974) above the median, at
//! least twice the median, and beyond the 95th percentile, so that a second mode is not one big outlier. Nothing is removed.

use serde::Serialize;

use super::periodicity::{Beat, beat};
use super::{Nanoseconds, Percentile, Sorted};
use crate::timeline::{TimeBase, Timeline};

/// Robust standard deviations above the median.
const DEVIATIONS: f64 = 10.0;
/// A standard deviation of a normal distribution over its median absolute deviation.
const DEVIATION_OF_MAD: f64 = 1.4826;
/// Medians that an outlier has at least.
const LEAST_MEDIANS: f64 = 2.0;
/// Outliers no further apart than so many messages are one cluster: what disturbs one often disturbs the next.
const CLUSTER_MESSAGES: usize = 2;

/// The outliers of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outliers {
    /// An outlier is above this.
    pub threshold_ns: f64,
    /// How many there are.
    pub count: u64,
    /// How many clusters of them.
    pub clusters: u64,
    /// Time from one cluster to the next, if most come with one period; `None` also where no time is known.
    pub period_ns: Option<f64>,
    /// What has such a period.
    pub likely: Option<String>,
    /// What the times rest on that a period was looked for in.
    pub time_base: Option<TimeBase>,
}

impl Outliers {
    /// Of `samples_ns` in the order they were taken and the same in ascending order; with the times at which the messages were
    /// sent, where those are known. `None` without samples.
    #[must_use]
    pub fn of<N: Nanoseconds>(
        samples_ns: &[N],
        sorted: &Sorted<u64>,
        timeline: Option<&Timeline<'_>>,
    ) -> Option<Self> {
        let threshold_ns = threshold(sorted)?;
        let outliers: Vec<usize> = samples_ns
            .iter()
            .enumerate()
            .filter(|(_, ns)| ns.real() > threshold_ns)
            .map(|(i, _)| i)
            .collect();
        let clusters: Vec<usize> =
            outliers.chunk_by(|a, b| b - a <= CLUSTER_MESSAGES).map(|cluster| cluster[0]).collect();
        let found = timeline.and_then(|timeline| {
            let places = [0].into_iter().chain(clusters.iter().copied()).chain([samples_ns.len() - 1]);
            let sent = timeline.sent_ns_at(places);
            let [first, times @ .., last] = sent.as_slice() else { return None };
            let times: Vec<f64> = times.iter().map(|ns| *ns as f64).collect();
            beat(&times, last.saturating_sub(*first) as f64 / samples_ns.len() as f64)
        });
        Some(Self {
            threshold_ns,
            count: outliers.len() as u64,
            clusters: clusters.len() as u64,
            period_ns: found.map(|beat| beat.period_ns),
            likely: found.as_ref().and_then(Beat::likely),
            time_base: timeline.map(|timeline| timeline.base),
        })
    }
}

fn threshold(sorted: &Sorted<u64>) -> Option<f64> {
    let median = sorted.median()?;
    let robust = DEVIATION_OF_MAD * median_deviation(sorted.as_slice(), median) as f64;
    let median = median as f64;
    let most = sorted.nearest_rank(Percentile::P95)? as f64;
    Some((median + DEVIATIONS * robust).max(LEAST_MEDIANS * median).max(most))
}

/// The median of |x - `centre`|: the smallest distance that at least half of the samples are within. Found by halving, since
/// sorting the distances would take as long as sorting the samples did.
fn median_deviation(sorted: &[u64], centre: u64) -> u64 {
    let within = |distance: u64| {
        let from = sorted.partition_point(|ns| *ns < centre.saturating_sub(distance));
        sorted.partition_point(|ns| *ns <= centre.saturating_add(distance)) - from
    };
    let (mut low, mut high) = (0, sorted.last().map_or(0, |last| centre.max(*last)));
    while low < high {
        let middle = u64::midpoint(low, high);
        if within(middle) < Percentile::P50.rank(sorted.len()) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use crate::input::{Sample, Samples};
    use proptest::prelude::*;

    fn outliers(samples: &[u64], timeline: Option<&Timeline<'_>>) -> Outliers {
        Outliers::of(samples, &Sorted::new(samples.to_vec()), timeline).unwrap()
    }

    #[test]
    fn the_threshold_by_hand() {
        // Median 130, deviations 0 (of 130) and 10 (of 120 and 140): median absolute deviation 10.
        let samples = [[120_u64; 40], [130; 40], [140; 40]].concat();
        assert_eq!(outliers(&samples, None).threshold_ns, 130.0 + 148.26);
        assert_eq!(outliers(&[130; 50], None).threshold_ns, 260.0);
        assert_eq!(Outliers::of::<u64>(&[], &Sorted::new(vec![]), None), None);
    }

    #[test]
    fn neighbours_are_one_cluster() {
        let mut samples = vec![130; 1000];
        for index in [10, 11, 13, 500, 503] {
            samples[index] = 9_000;
        }
        let found = outliers(&samples, None);
        assert_eq!((found.count, found.clusters, found.period_ns), (5, 3, None));
    }

    #[test]
    fn a_second_mode_is_no_outlier() {
        let samples = [vec![130; 700], vec![5_000; 300]].concat();
        assert_eq!(outliers(&samples, None).count, 0);
    }

    #[test]
    fn the_tick_of_a_timer_is_named() {
        // Messages of 400 ns; every 4 ms one that takes 5 µs longer, and now and then something else.
        let mut random = Random::new(1);
        let (mut now, mut next_tick) = (0_u64, 1_000_000_u64);
        let mut samples = Vec::new();
        for _ in 0..400_000 {
            let mut ns = 380 + random.below(40) as u64;
            if now >= next_tick {
                ns += 5_000;
                next_tick += 4_000_000;
            }
            if random.below(20_000) == 0 {
                ns += 9_000;
            }
            samples.push(ns);
            now += ns;
        }
        let sample = |(iteration, ns): (u64, &u64)| Sample {
            iteration,
            processed_ns: *ns,
            received_ns: None,
            send_delay_ns: None,
            to_guest_ns: None,
            to_host_ns: None,
        };
        let kept: Samples = (1..).zip(&samples).map(sample).collect();
        let timeline = Timeline::one_after_the_other(&kept, None);
        let found = outliers(&samples, Some(&timeline));
        assert_eq!(found.likely.as_deref(), Some("250 Hz timer tick"), "{found:?}");
        assert!((found.period_ns.unwrap() / 4e6 - 1.0).abs() < 0.005, "{found:?}");
        // Without times there is no period.
        assert_eq!(outliers(&samples, None).period_ns, None);
    }

    proptest! {
        #[test]
        fn the_median_deviation_is_that_of_the_distances_sorted(
            samples in prop::collection::vec(0_u64..1_000, 1..300),
            centre in 0_u64..1_000,
        ) {
            let distances = Sorted::new(samples.iter().map(|ns| ns.abs_diff(centre)).collect());
            let sorted = Sorted::new(samples);
            prop_assert_eq!(Some(median_deviation(sorted.as_slice(), centre)), distances.median());
        }

        #[test]
        fn scale_moves_the_threshold_and_nothing_else(samples in prop::collection::vec(1_u64..1_000_000, 1..500)) {
            let plain = outliers(&samples, None);
            let scaled = outliers(&samples.iter().map(|ns| ns * 8).collect::<Vec<_>>(), None);
            prop_assert_eq!((plain.count, plain.clusters), (scaled.count, scaled.clusters));
            prop_assert!((scaled.threshold_ns - plain.threshold_ns * 8.0).abs() < 1e-6 * scaled.threshold_ns);
            prop_assert!(plain.clusters <= plain.count && plain.count * 20 <= samples.len() as u64);
        }
    }
}
