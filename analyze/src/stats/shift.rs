//! Where in the distribution a change lies: the ratio of each decile of the new runs to that of the base runs.
//!
//! Doksum (1974), "Empirical probability plots and statistical inference for nonlinear models in the two-sample case";
//! Rousselet, Pernet and Wilcox (2017), "Beyond differences in means: robust graphical methods to compare two groups in
//! neuroscience". A run is one observation of each decile, and a decile's interval is that of any figure of runs.

use serde::Serialize;

use super::ratio::{Interval, Ratio, ratio_of_runs};
use super::{Percentile, Sorted};

/// One decile of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shift {
    /// Which: 10, 20, to 90.
    pub percentile: u32,
    /// The median of the base runs' deciles, in nanoseconds.
    pub base_ns: f64,
    /// The same of the new runs.
    pub new_ns: f64,
    /// New over base.
    pub ratio: f64,
    /// Its interval.
    pub interval: Interval,
}

/// The nine deciles of a run, by nearest rank; `None` with fewer than ten samples on either side of one.
#[must_use]
pub fn deciles(sorted: &Sorted<u64>) -> Option<[u64; 9]> {
    let mut deciles = [0; 9];
    for (place, decile) in (1_u32..).zip(&mut deciles) {
        *decile = sorted.percentile(Percentile::from_hundredths(place * 1_000)?)?;
    }
    Some(deciles)
}

/// The shift function of runs with these deciles; empty if a side has none.
#[must_use]
pub fn shift_function(base: &[[u64; 9]], new: &[[u64; 9]], level: f64) -> Vec<Shift> {
    (0..9)
        .filter_map(|decile| {
            let of = |runs: &[[u64; 9]]| -> Vec<f64> {
                // A clock's whole nanosecond may be 0; half of one is what it stands for at most.
                runs.iter().map(|run| (run[decile] as f64).max(0.5)).collect()
            };
            let (base, new) = (of(base), of(new));
            let Ratio { estimate, interval } = ratio_of_runs(&base, &new, level)?;
            Some(Shift {
                percentile: 10 * (decile as u32 + 1),
                base_ns: median(base)?,
                new_ns: median(new)?,
                ratio: estimate,
                interval,
            })
        })
        .collect()
}

/// The middle figure, or the mean of the two in the middle.
#[must_use]
pub fn median(figures: Vec<f64>) -> Option<f64> {
    let sorted = Sorted::new(figures);
    Some(f64::midpoint(sorted.median()?, sorted.upper_median()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deciles_are_numpys() {
        // numpy.percentile(x, [10, 20, ..., 90], method="inverted_cdf") for x = [i * i % 1009 for i in range(1000)],
        // numpy 2.4.6
        let sorted = Sorted::new((0..1000_u64).map(|i| i * i % 1009).collect());
        assert_eq!(deciles(&sorted), Some([98, 200, 300, 405, 506, 607, 715, 813, 922]));
        assert_eq!(deciles(&Sorted::new((0..99).collect())), None);
        assert!(deciles(&Sorted::new((0..100).collect())).is_some());
    }

    #[test]
    fn a_tail_that_grew_is_seen_where_it_is() {
        let run = |offset: u64, tail: u64| {
            let mut run = [100, 110, 120, 130, 140, 150, 160, 170, 180].map(|ns| ns + offset);
            run[8] += tail;
            run
        };
        let base: Vec<_> = (0..5).map(|offset| run(offset, 0)).collect();
        let new: Vec<_> = (0..5).map(|offset| run(offset, 90)).collect();
        let shifts = shift_function(&base, &new, 0.95);
        assert_eq!(shifts.len(), 9);
        assert_eq!((shifts[0].percentile, shifts[0].base_ns, shifts[0].new_ns), (10, 102.0, 102.0));
        assert!(shifts[..8].iter().all(|s| s.interval.low <= 1.0 && 1.0 <= s.interval.high));
        assert!(shifts[8].interval.low > 1.4 && (shifts[8].ratio - 272.0 / 182.0).abs() < 0.01, "{shifts:?}");
        assert_eq!(shift_function(&[], &new, 0.95), []);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
