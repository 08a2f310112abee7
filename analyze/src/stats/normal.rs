//! The standard normal distribution: upper tail and quantile; and, close to it, Student's.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Two-sided 95 % of a normal distribution lie within so many standard deviations.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// The chance that a standard normal variable exceeds `z`.
#[must_use]
pub fn upper_tail(z: f64) -> f64 {
    if z < 0.0 { 1.0 - 0.5 * erfc(-z * FRAC_1_SQRT_2) } else { 0.5 * erfc(z * FRAC_1_SQRT_2) }
}

/// The value that a standard normal variable stays below with probability `p`, 0 < `p` < 1.
#[must_use]
pub fn quantile(p: f64) -> f64 {
    // Halving the interval: 100 steps leave nothing of it, and nobody calls this in a loop.
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if 1.0 - upper_tail(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Two-sided 95 % of Student's distribution with `freedom` degrees of freedom lie within so many: Abramowitz and Stegun,
/// 26.7.5, to 1e-3 from 10 degrees on.
#[must_use]
pub fn student_95(freedom: f64) -> f64 {
    let z = Z_95;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

/// The complementary error function of `x` >= 0. Abramowitz and Stegun (1964), "Handbook of mathematical functions": the
/// series 7.1.6, whose terms are all positive, and beyond it the continued fraction 7.1.14.
fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp() / PI.sqrt();
    if x < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term > sum * f64::EPSILON {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return 1.0 - 2.0 * scale * sum;
    }
    // From the inside out; 60 levels are more than enough from 2.5 on.
    let fraction = (1..=60).rev().fold(x, |inner, n| x + f64::from(n) / 2.0 / inner);
    scale / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_and_quantiles_are_scipys() {
        // scipy 1.17.1: norm.sf(z), norm.ppf(p)
        for (z, tail) in [
            (0.0, 0.5),
            (0.5, 0.308_537_538_725_986_9),
            (1.96, 0.024_997_895_148_220_435),
            (3.0, 0.001_349_898_031_630_093_3),
            (5.0, 2.866_515_718_791_933e-7),
            (8.0, 6.220_960_574_271_74e-16),
        ] {
            assert!((upper_tail(z) / tail - 1.0_f64).abs() < 1e-10, "{z}: {}", upper_tail(z));
            assert!((upper_tail(-z) - (1.0 - tail)).abs() < 1e-12, "-{z}: {}", upper_tail(-z));
        }
        for (p, z) in
            [(0.975, 1.959_963_984_540_054), (0.8, 0.841_621_233_572_914_3), (0.995, 2.575_829_303_548_900_4)]
        {
            assert!((quantile(p) - z).abs() < 1e-9, "{p}: {}", quantile(p));
        }
    }

    #[test]
    fn students_quantiles_are_scipys() {
        // scipy 1.17.1: t.ppf(0.975, freedom)
        for (freedom, expected) in
            [(19.0, 2.093_024_054_408_31), (50.0, 2.008_559_112_100_76), (1000.0, 1.962_339_080_826_41)]
        {
            assert!((student_95(freedom) - expected).abs() < 1e-4, "{freedom}: {}", student_95(freedom));
        }
    }
}
