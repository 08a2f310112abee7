//! Which sample a percentile is, and when there are too few to tell: both sides report by the same rule.

/// A percentile with fewer samples beyond it says nothing.
const SAMPLES_BEYOND_MIN: u64 = 10;

/// The rank of a percentile, given in hundredths of a percent so that it is exact, among `count` sorted samples: of n samples
/// p is the ⌈p · n⌉-th, counted from 1 (the nearest rank). `None` where fewer than ten samples lie beyond.
///
/// # Panics
/// Of more than 10^15 samples, or beyond 100 %: a bug of the caller's.
#[must_use]
pub const fn nearest_rank(hundredths: u64, count: u64) -> Option<u64> {
    let rank = (hundredths * count).div_ceil(10_000);
    if count - rank >= SAMPLES_BEYOND_MIN { Some(rank) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_samples_have_to_lie_beyond() {
        assert_eq!((nearest_rank(5_000, 20), nearest_rank(5_000, 19)), (Some(10), None));
        assert_eq!((nearest_rank(9_990, 10_000), nearest_rank(9_990, 9_999)), (Some(9_990), None));
        assert_eq!((nearest_rank(9_999, 100_000), nearest_rank(5_000, 0)), (Some(99_990), None));
        // What is no whole number is the next one.
        assert_eq!(nearest_rank(9_000, 101), Some(91));
    }
}
