//! The middle of a few durations: one definition for kernels, roofs and the figures held against them.

/// The lower median, one of the samples itself; `None` of none.
#[must_use]
pub fn lower_median(mut samples: Vec<u64>) -> Option<u64> {
    samples.sort_unstable();
    samples.get(samples.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_lower_middle() {
        assert_eq!(lower_median(vec![]), None);
        assert_eq!(lower_median(vec![5]), Some(5));
        assert_eq!(lower_median(vec![9, 1, 5, 7]), Some(5));
        assert_eq!(lower_median(vec![3, 2, 1]), Some(2));
    }
}
