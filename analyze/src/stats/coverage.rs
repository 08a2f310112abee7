//! Whether intervals hold the truth as often as they say, and agree with those of another program.

use super::Sorted;
use super::bootstrap::Bootstrap;
use super::random::{Random, series::ar1};

fn bootstrap(samples: &[u64], seed: u64) -> Bootstrap {
    Bootstrap::of(samples, &Sorted::new(samples.to_vec()), seed)
}

/// How many of `runs` intervals hold the true p50, p90, p99 and mean of 100,000 + 10,000 × a normal number.
fn held(phi: f64, count: usize, runs: u64) -> [u32; 4] {
    let truth = [100_000.0, 112_815.5, 123_263.5, 100_000.0];
    let mut held = [0; 4];
    for run in 0..runs {
        let series = ar1(&mut Random::new(1_000 + run), phi, count);
        let samples: Vec<u64> = series.iter().map(|x| (100_000.0 + 10_000.0 * x).round() as u64).collect();
        let found = bootstrap(&samples, run).intervals;
        let intervals = [found.p50, found.p90, found.p99, found.mean].map(Option::unwrap);
        for ((held, interval), truth) in held.iter_mut().zip(intervals).zip(truth) {
            *held += u32::from(interval.low_ns <= truth && truth <= interval.high_ns);
        }
    }
    held
}

/// 95 % of 400 are 380; a binomial of that has a standard deviation of 4.4. Three of them, and, downwards, the two more
/// by which percentile intervals of samples of this size are known to fall short.
fn assert_covers(held: [u32; 4]) {
    assert!(held.iter().all(|held| (358..=393).contains(held)), "{held:?} of 400");
}

#[test]
fn intervals_of_independent_samples_hold_the_truth_as_often_as_they_say() {
    assert_covers(held(0.0, 3_000, 400));
}

#[test]
fn and_so_do_those_of_dependent_ones() {
    assert_covers(held(0.5, 6_000, 400));
}

#[test]
fn dependence_widens_an_interval() {
    // The integrated time of phi 0.8 is 9: three times as wide as if the samples were independent.
    let width = |phi| {
        let series = ar1(&mut Random::new(2), phi, 100_000);
        let samples: Vec<u64> = series.iter().map(|x| (10_000.0 + 1_000.0 * x) as u64).collect();
        let mean = bootstrap(&samples, 1).intervals.mean.unwrap();
        mean.high_ns - mean.low_ns
    };
    let (independent, dependent) = (width(0.0), width(0.8));
    // 2 × 1.96 × 1,000 / √100,000 = 12.4.
    assert!((independent - 12.4).abs() < 1.5, "{independent}");
    assert!((dependent / independent - 3.0).abs() < 0.5, "{dependent} / {independent}");
}

#[test]
fn the_intervals_of_the_arch_package() {
    // arch.bootstrap.CircularBlockBootstrap(5, y, seed=1).conf_int(f, reps=100000, method="percentile"), arch 8.0.0, where f is
    // numpy.mean and numpy.percentile(..., method="inverted_cdf") of numpy 2.4.6.
    let samples: Vec<u64> = (0..400_u64).map(|i| i * i % 1009).collect();
    let found = bootstrap(&samples, 1);
    assert_eq!(found.block_length, 5);
    let intervals = found.intervals;
    // A thousand resamples know an end to about a twelfth of the standard error; four of that, and the next sample.
    for (interval, low, high, tolerance) in [
        (intervals.mean, 464.172_5, 522.557_6, 5.0),
        (intervals.p50, 441.0, 525.0, 10.0),
        (intervals.p90, 886.0, 949.0, 8.0),
    ] {
        let interval = interval.unwrap();
        assert!((interval.low_ns - low).abs() < tolerance, "{interval:?} and {low}");
        assert!((interval.high_ns - high).abs() < tolerance, "{interval:?} and {high}");
    }
}
