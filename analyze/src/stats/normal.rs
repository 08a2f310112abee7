//! The normal distribution and, close to it, Student's.

/// Two-sided 95 % of a normal distribution lie within so many standard deviations.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// The probability that a standard normal number is at most `z`, to 1e-7: Abramowitz and Stegun, 26.2.17.
#[must_use]
pub fn probability(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let terms = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let polynomial = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let beyond = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial;
    if z > 0.0 { 1.0 - beyond } else { beyond }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_scipy() {
        // scipy.stats.norm.cdf and scipy.stats.t.ppf(0.975, ...), scipy 1.17.1.
        for (z, expected) in [
            (-3.0, 0.001_349_898_031_63),
            (-2.147, 0.015_896_640_807_69),
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_54),
            (2.5, 0.993_790_334_674_22),
        ] {
            assert!((probability(z) - expected).abs() < 1e-7, "{z}: {}", probability(z));
        }
        for (freedom, expected) in
            [(19.0, 2.093_024_054_408_31), (50.0, 2.008_559_112_100_76), (1000.0, 1.962_339_080_826_41)]
        {
            assert!((student_95(freedom) - expected).abs() < 1e-4, "{freedom}: {}", student_95(freedom));
        }
    }
}
