//! How long the blocks of a bootstrap must be to keep the dependence of a series.
//!
//! Politis and White (2004), "Automatic block-length selection for the dependent bootstrap", with the correction of Patton,
//! Politis and White (2009), for circular blocks. The dependence is taken to reach as far as the autocorrelations do that
//! can be told from noise; from those, weighted by a flat-top window, comes the length that errs least.

use super::autocorrelation::at_lag;

/// Blocks of which at least so many must fit into a series: an interval from fewer would be a guess.
pub const FEWEST_BLOCKS: usize = 20;

/// A block's length in elements of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLength {
    /// The length.
    pub elements: usize,
    /// Whether the dependence asks for longer ones than fit.
    pub is_at_limit: bool,
}

impl BlockLength {
    /// For `series`.
    #[must_use]
    pub fn of(series: &[f64]) -> Self {
        let limit = (series.len() / FEWEST_BLOCKS).max(1);
        let Some(dependence) = Dependence::of(series) else {
            return Self { elements: 1, is_at_limit: false };
        };
        let wanted = dependence.block_length.round();
        // Where ups are followed by downs, blocks that are too short make an interval too wide, which harms nobody.
        let is_at_limit = wanted > limit as f64 && dependence.long_run > 1.0;
        Self { elements: (wanted.max(1.0) as usize).min(limit), is_at_limit }
    }

    /// The longer of two, which keeps the dependence of both series.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            elements: self.elements.max(other.elements),
            is_at_limit: self.is_at_limit || other.is_at_limit,
        }
    }
}

/// What the autocorrelations of a series come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dependence {
    /// The variance of the mean over that of the mean of independent values: 1 + 2 Σ ρ(k), the sum weighted by the flat-top
    /// window of Politis and Romano (1995), "Bias-corrected nonparametric spectral estimation". May be below 0 where it is small.
    pub long_run: f64,
    /// The best length of a block in theory, up to min(3 √n, n / 3).
    pub block_length: f64,
}

impl Dependence {
    /// Of `series`; `None` where all values are equal or there are fewer than ten.
    #[must_use]
    pub fn of(series: &[f64]) -> Option<Self> {
        let count = series.len() as f64;
        if series.len() < 10 {
            return None;
        }
        // So many in a row within the noise, and there is no dependence further on.
        let in_a_row = (count.log10() as usize).max(5);
        let last = (count.sqrt().ceil() as usize + in_a_row).min(series.len() - 1);
        let correlations = (0..=last).map(|lag| at_lag(series, lag)).collect::<Option<Vec<f64>>>()?;
        let noise = 2.0 * (count.log10() / count).sqrt();
        let quiet = correlations.windows(in_a_row).position(|w| w.iter().all(|rho| rho.abs() < noise));
        let window = quiet.map_or(last, |first| 2 * first.max(1)).min(last);
        let (mut long_run, mut slope) = (1.0, 0.0);
        for (lag, rho) in correlations.iter().enumerate().take(window + 1).skip(1) {
            let place = lag as f64 / window as f64;
            let weight = if place <= 0.5 { 1.0 } else { 2.0 * (1.0 - place) };
            long_run += 2.0 * weight * rho;
            slope += 2.0 * weight * lag as f64 * rho;
        }
        let longest = (3.0 * count.sqrt()).min(count / 3.0).ceil();
        // 2 G² / (4/3 g²): divided by the variance, both are of correlations and not of covariances.
        let length = (1.5 * (slope / long_run).powi(2)).cbrt() * count.cbrt();
        let block_length = if length.is_finite() { length.min(longest) } else { longest };
        Some(Self { long_run, block_length })
    }
}

#[cfg(test)]
mod tests {
    use super::super::autocorrelation::known;
    use super::super::random::{Random, series::ar1};
    use super::*;

    #[test]
    fn the_lengths_of_the_arch_package() {
        // arch.bootstrap.optimal_block_length(x)["circular"], arch 8.0.0.
        let optimal = |series: &[f64]| Dependence::of(series).unwrap().block_length;
        assert!((optimal(&known::series()) - 8.991_262).abs() < 1e-6);
        let residues: Vec<f64> = (0..400_u32).map(|i| f64::from(i * i % 1009)).collect();
        assert!((optimal(&residues) - 2.193_166).abs() < 1e-6);
    }

    #[test]
    fn more_dependence_asks_for_longer_blocks() {
        let length = |phi| BlockLength::of(&ar1(&mut Random::new(3), phi, 1000)).elements;
        assert!(length(0.0) <= 3, "{}", length(0.0));
        assert!(length(0.5) > length(0.0) && length(0.9) > length(0.5));
    }

    #[test]
    fn a_ramp_asks_for_more_than_there_is() {
        let ramp: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(BlockLength::of(&ramp), BlockLength { elements: 50, is_at_limit: true });
        // A wave asks for long ones, too, but its mean is surer than that of noise.
        let wave: Vec<f64> = (0..1000).map(|i| f64::from(i % 21)).collect();
        assert!(!BlockLength::of(&wave).is_at_limit);
        assert_eq!(BlockLength::of(&[1.0; 1000]), BlockLength { elements: 1, is_at_limit: false });
        assert_eq!(BlockLength::of(&[]), BlockLength { elements: 1, is_at_limit: false });
    }
}
