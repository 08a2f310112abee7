//! Jitter: how much one message's time differs from the next one's.
//!
//! The mean of |D|, where D is the difference of the latencies of two messages that follow each other: the quantity that RFC
//! 3550, section 6.4.1 (RTP), smooths with a gain of 1/16 and RFC 3393 calls the packet delay variation of consecutive packets.
//! Here nothing is smoothed: every pair counts alike. It differs from the standard deviation in that slow change adds nothing.

use super::Nanoseconds;

/// Mean absolute difference of neighbours; `None` with fewer than two samples.
#[must_use]
pub fn mean_absolute_difference<N: Nanoseconds>(samples: &[N]) -> Option<f64> {
    let pairs = samples.len().checked_sub(1).filter(|pairs| *pairs > 0)?;
    let neighbours = samples.iter().zip(&samples[1..]);
    let sum: f64 = neighbours.map(|(a, b)| (*a).into().abs_diff((*b).into()) as f64).sum();
    Some(sum / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_series() {
        // numpy.abs(numpy.diff([130, 128, 150, 131, 131, 400, 129])).mean(), numpy 2.x: 97.16666666666667
        let jitter = mean_absolute_difference(&[130_u64, 128, 150, 131, 131, 400, 129]).unwrap();
        assert!((jitter - 97.166_666_666_666_67).abs() < 1e-12);
        assert_eq!(mean_absolute_difference(&[7_u64]), None);
        assert_eq!(mean_absolute_difference::<u64>(&[]), None);
    }

    proptest! {
        #[test]
        fn it_grows_with_the_scale_and_not_with_a_shift(
            samples in prop::collection::vec(0_u64..1_000_000, 2..200),
            shift in 0_u64..1_000_000,
        ) {
            let of = |change: &dyn Fn(u64) -> u64| {
                mean_absolute_difference(&samples.iter().map(|ns| change(*ns)).collect::<Vec<_>>()).unwrap()
            };
            let plain = of(&|ns| ns);
            prop_assert_eq!(of(&|ns| ns + shift), plain);
            prop_assert_eq!(of(&|ns| ns * 4), plain * 4.0);
            let backwards: Vec<_> = samples.iter().rev().copied().collect();
            prop_assert!((mean_absolute_difference(&backwards).unwrap() - plain).abs() <= 1e-9 * plain);
        }
    }
}
