//! Measuring ways to copy against each other on the spot.
//!
//! Samples of all candidates are interleaved, so that a disturbance hits all alike; the first round warms caches
//! and page tables and is not counted; each candidate is summarised by its median and its best.

use crate::clock::Clock;
use crate::report::Rate;

/// A candidate and its rate.
pub type Measured<T> = (T, Rate);

/// The rate of each candidate in bytes per second, the highest median first. `copy_once` copies `bytes` bytes in the
/// given candidate's way.
pub fn measure_rates<T: Copy>(
    clock: &Clock,
    candidates: &[T],
    samples: usize,
    bytes: usize,
    mut copy_once: impl FnMut(T),
) -> Vec<Measured<T>> {
    let mut durations = vec![Vec::with_capacity(samples + 1); candidates.len()];
    for _ in 0..=samples {
        for (&candidate, durations) in candidates.iter().zip(&mut durations) {
            let start = clock.now();
            copy_once(candidate);
            durations.push(clock.ns(start, clock.now()).max(1));
        }
    }
    let rate = |durations: &mut [u64]| {
        durations.sort_unstable();
        let of = |ns: u64| (bytes as f64 * 1e9 / ns as f64) as u64;
        Rate { typical: of(durations[durations.len() / 2]), best: of(durations[0]) }
    };
    let mut rates: Vec<_> =
        candidates.iter().zip(&mut durations).map(|(&candidate, d)| (candidate, rate(&mut d[1..]))).collect();
    rates.sort_by_key(|&(_, rate)| std::cmp::Reverse(rate.typical));
    rates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ClockSource;

    #[test]
    fn every_candidate_is_sampled_and_the_slow_one_comes_last() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let mut calls = 0;
        let rates = measure_rates(&clock, &["slow", "fast", "faster"], 3, 1000, |candidate| {
            calls += 1;
            if candidate == "slow" {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        assert_eq!((calls, rates.len()), (12, 3));
        assert_eq!(rates[2].0, "slow");
        assert!(rates.iter().all(|(_, rate)| rate.best >= rate.typical));
        assert!(rates.is_sorted_by_key(|&(_, rate)| std::cmp::Reverse(rate.typical)));
    }
}
