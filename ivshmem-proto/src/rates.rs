//! Measuring ways to copy against each other on the spot.
//!
//! Samples of all candidates are interleaved, so that a disturbance hits all alike; the first round warms caches
//! and page tables and is not counted; each candidate is summarised by its median.

use crate::clock::Clock;

/// Median rate of each candidate in bytes per second, fastest first. `copy_once` copies `bytes` bytes in the given
/// candidate's way.
pub fn median_rates<T: Copy>(
    clock: &Clock,
    candidates: &[T],
    samples: usize,
    bytes: usize,
    mut copy_once: impl FnMut(T),
) -> Vec<(T, u64)> {
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
        (bytes as f64 * 1e9 / durations[durations.len() / 2] as f64) as u64
    };
    let mut rates: Vec<_> =
        candidates.iter().zip(&mut durations).map(|(&candidate, d)| (candidate, rate(&mut d[1..]))).collect();
    rates.sort_by_key(|&(_, rate)| std::cmp::Reverse(rate));
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
        let rates = median_rates(&clock, &["slow", "fast", "faster"], 3, 1000, |candidate| {
            calls += 1;
            if candidate == "slow" {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        assert_eq!((calls, rates.len()), (12, 3));
        assert_eq!(rates[2].0, "slow");
        assert!(rates.is_sorted_by_key(|&(_, rate)| std::cmp::Reverse(rate)));
    }
}
