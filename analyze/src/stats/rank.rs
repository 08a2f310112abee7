//! Two groups of runs by rank: Mann and Whitney's test, and Cliff's delta.
//!
//! Nothing is assumed about how the figures of runs are distributed, which a handful of runs could not show anyway.

use serde::Serialize;

use super::normal::upper_tail;

/// With no more runs than this a side, and no ties, the test is exact.
const EXACT_UP_TO: usize = 50;

/// How a p-value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From all orders the runs could have had.
    Exact,
    /// From the normal distribution, with correction for ties and continuity.
    Normal,
}

/// Whether the one group tends to be larger than the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MannWhitney {
    /// Pairs in which the new run's figure is the larger one; a tie is half a pair.
    pub u: f64,
    /// How often orders at least as one-sided come up, in either direction, if nothing changed.
    pub p_value: f64,
    /// How it was found.
    pub method: Method,
}

/// How often a new run is above a base run less how often it is below: -1 to 1, 0 if neither.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CliffsDelta {
    /// The difference.
    pub delta: f64,
    /// What it is called.
    pub size: &'static str,
}

/// Mann and Whitney (1947), "On a test of whether one of two random variables is stochastically larger than the other";
/// two-sided. The normal approximation is the one of Hollander and Wolfe (1999), "Nonparametric statistical methods", 4.1,
/// and of scipy. `None` if a group is empty.
#[must_use]
pub fn mann_whitney(base: &[f64], new: &[f64]) -> Option<MannWhitney> {
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let (u, ties) = pairs_above(base, new);
    let pairs = (base.len() * new.len()) as f64;
    let largest = u.max(pairs - u);
    if ties.is_empty() && base.len().max(new.len()) <= EXACT_UP_TO {
        let at_most = (pairs - largest) as usize;
        let p_value = (2.0 * Orders::of(base.len(), new.len()).share_up_to(at_most)).min(1.0);
        return Some(MannWhitney { u, p_value, method: Method::Exact });
    }
    let all = (base.len() + new.len()) as f64;
    let tied: f64 = ties.iter().map(|t| t * t * t - t).sum();
    let variance = pairs / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)));
    let p_value = if variance > 0.0 {
        (2.0 * upper_tail((largest - pairs / 2.0 - 0.5) / variance.sqrt())).min(1.0)
    } else {
        1.0
    };
    Some(MannWhitney { u, p_value, method: Method::Normal })
}

/// Cliff (1993), "Dominance statistics: ordinal analyses to answer ordinal questions"; the words and their limits are of
/// Romano, Kromrey, Coraggio and Skowronek (2006). `None` if a group is empty.
#[must_use]
pub fn cliffs_delta(base: &[f64], new: &[f64]) -> Option<CliffsDelta> {
    let pairs = (base.len() * new.len()) as f64;
    if pairs == 0.0 {
        return None;
    }
    let delta = 2.0 * pairs_above(base, new).0 / pairs - 1.0;
    let size = match delta.abs() {
        d if d < 0.147 => "negligible",
        d if d < 0.33 => "small",
        d if d < 0.474 => "medium",
        _ => "large",
    };
    Some(CliffsDelta { delta, size })
}

/// Pairs with the new figure above the base's, ties as halves; and the sizes of groups of equal figures.
fn pairs_above(base: &[f64], new: &[f64]) -> (f64, Vec<f64>) {
    let above = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
    let u = new.iter().flat_map(|n| base.iter().map(move |b| above(*n, *b))).sum();
    let mut all: Vec<f64> = base.iter().chain(new).copied().collect();
    all.sort_by(f64::total_cmp);
    let groups = all.chunk_by(|a, b| a == b).map(|group| group.len() as f64);
    (u, groups.filter(|size| *size > 1.0).collect())
}

/// In how many of all orders of n and m runs the statistic U has each value, if nothing tells the groups apart.
#[derive(Debug, Clone)]
pub struct Orders {
    counts: Vec<i128>,
    total: f64,
}

impl Orders {
    /// The coefficients of Gauss's binomial, which generates U: the product over i to n of (1 - q^(m+i)) / (1 - q^i).
    ///
    /// Computed modulo 2^128, where subtracting and adding again loses nothing; the counts themselves fit for groups of
    /// up to `EXACT_UP_TO`.
    #[must_use]
    pub fn of(n: usize, m: usize) -> Self {
        let mut counts = vec![0_i128; n * m + 1];
        counts[0] = 1;
        for i in 1..=n {
            for u in (m + i..counts.len()).rev() {
                counts[u] = counts[u].wrapping_sub(counts[u - m - i]);
            }
            for u in i..counts.len() {
                counts[u] = counts[u].wrapping_add(counts[u - i]);
            }
        }
        let total = counts.iter().map(|count| *count as f64).sum();
        Self { counts, total }
    }

    /// The share of orders with a U of at most `u`.
    #[must_use]
    pub fn share_up_to(&self, u: usize) -> f64 {
        let last = u.min(self.counts.len() - 1);
        self.counts[..=last].iter().map(|count| *count as f64).sum::<f64>() / self.total
    }

    /// The largest u that at most a share of `tail` of all orders reach or fall below, and that share; `None` if even 0 is
    /// reached by more.
    #[must_use]
    pub fn critical(&self, tail: f64) -> Option<(usize, f64)> {
        let mut found = None;
        let mut sum = 0.0;
        for (u, count) in self.counts.iter().enumerate() {
            sum += *count as f64;
            // Shares such as 1/20 are not exact in binary.
            if sum / self.total > tail * (1.0 + 1e-9) {
                break;
            }
            found = Some((u, sum / self.total));
        }
        found
    }
}

/// Whether groups of these sizes have an exact distribution here.
#[must_use]
pub fn is_exact(n: usize, m: usize) -> bool {
    n.max(m) <= EXACT_UP_TO
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12 + 1e-9 * b.abs()
    }

    #[test]
    fn scipys_exact_p_values() {
        // scipy 1.17.1: mannwhitneyu(new, base, method="exact"). The first is example 4.1 of Hollander and Wolfe.
        let aterm = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let early = [1.15, 0.88, 0.90, 0.74, 1.21];
        let test = mann_whitney(&early, &aterm).unwrap();
        assert_eq!((test.u, test.method), (35.0, Method::Exact));
        assert!(close(test.p_value, 0.254_412_254_412_254_4), "{}", test.p_value);
        // x = [i * 37 % 101 + 0.5 * i for i in range(20)], y = [i * 53 % 97 + 0.7 * i + 3 for i in range(18)]
        let x: Vec<f64> = (0..20).map(|i| f64::from(i * 37 % 101) + 0.5 * f64::from(i)).collect();
        let y: Vec<f64> = (0..18).map(|i| f64::from(i * 53 % 97) + 0.7 * f64::from(i) + 3.0).collect();
        let test = mann_whitney(&x, &y).unwrap();
        assert_eq!(test.u, 170.0);
        assert!(close(test.p_value, 0.783_717_382_391_220_4), "{}", test.p_value);
        assert_eq!(mann_whitney(&[1.0, 2.0, 3.0], &[5.0, 6.0, 7.0]).unwrap().p_value, 0.1);
        assert_eq!(mann_whitney(&[1.0], &[2.0]).unwrap().p_value, 1.0);
    }

    #[test]
    fn scipys_p_value_with_ties() {
        // scipy 1.17.1: mannwhitneyu(y, x, method="asymptotic", use_continuity=True)
        let x = [402.0, 402.0, 403.0, 401.0, 404.0, 402.0, 405.0, 403.0];
        let y = [404.0, 405.0, 403.0, 406.0, 404.0, 407.0];
        let test = mann_whitney(&x, &y).unwrap();
        assert_eq!((test.u, test.method), (41.5, Method::Normal));
        assert!(close(test.p_value, 0.025_965_221_455_135_225), "{}", test.p_value);
        assert_eq!(mann_whitney(&[5.0; 9], &[5.0; 7]).unwrap().p_value, 1.0);
        assert_eq!(mann_whitney(&[], &[1.0]), None);
    }

    #[test]
    fn the_orders_of_large_groups_are_counted_exactly() {
        // Binomial coefficients 100 over 50 and 20 over 10, and the table of Hollander and Wolfe: of 10 and 10 runs, U is at
        // most 23 in 2.16 % of all orders.
        assert!(close(Orders::of(50, 50).total, 1.008_913_445_455_642e29));
        assert_eq!(Orders::of(10, 10).total, 184_756.0);
        let (u, share) = Orders::of(10, 10).critical(0.025).unwrap();
        assert_eq!(u, 23);
        assert!((share - 0.0216).abs() < 5e-5, "{share}");
        assert_eq!(Orders::of(3, 3).critical(0.025), None);
        assert_eq!(Orders::of(3, 3).critical(0.05), Some((0, 0.05)));
    }

    #[test]
    fn deltas_and_their_words() {
        let delta = |base: &[f64], new: &[f64]| cliffs_delta(base, new).map(|d| (d.delta, d.size));
        assert_eq!(delta(&[1.0, 2.0], &[3.0, 4.0]), Some((1.0, "large")));
        assert_eq!(delta(&[1.0, 2.0], &[1.0, 2.0]), Some((0.0, "negligible")));
        // Cliff's own definition by counting: of 9 pairs 3 are below, 5 above, 1 equal.
        assert_eq!(delta(&[1.0, 4.0, 5.0], &[2.0, 5.0, 6.0]).unwrap().0, (6.0 - 2.0) / 9.0);
        assert_eq!(delta(&[], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn order_scale_and_sides_keep_their_laws(
            base in prop::collection::vec(1_u32..200, 1..12),
            new in prop::collection::vec(1_u32..200, 1..12),
        ) {
            let floats = |values: &[u32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let (base, new) = (floats(&base), floats(&new));
            let test = mann_whitney(&base, &new).unwrap();
            prop_assert!((0.0..=1.0).contains(&test.p_value));
            // The sides changed: the same p, the other pairs.
            let back = mann_whitney(&new, &base).unwrap();
            prop_assert!(close(test.p_value, back.p_value));
            prop_assert_eq!(test.u + back.u, (base.len() * new.len()) as f64);
            // Any growing function of the figures leaves ranks alone.
            let grown = |values: &[f64]| values.iter().map(|v| v.ln() * 7.0 + 1.0).collect::<Vec<_>>();
            prop_assert_eq!(mann_whitney(&grown(&base), &grown(&new)).unwrap(), test);
            let reversed: Vec<_> = base.iter().rev().copied().collect();
            prop_assert_eq!(mann_whitney(&reversed, &new).unwrap(), test);
            let delta = cliffs_delta(&base, &new).unwrap().delta;
            prop_assert!(close(delta, -cliffs_delta(&new, &base).unwrap().delta));
        }
    }
}
