//! What the samples of one run say together: how sure its figures are, and what is odd about them. `shape` in summary.json.

use serde::Serialize;

use super::autocorrelation::{RunDependence, lag_1_of_sides};
use super::bootstrap::{Bootstrap, Intervals};
use super::drift::Drift;
use super::jitter::mean_absolute_difference;
use super::modes::{Mode, modes};
use super::outliers::Outliers;
use super::warm_up::WarmUp;
use super::{Nanoseconds, Sorted};
use crate::beside::beside;
use crate::timeline::Timeline;

/// Everything the order and the distribution of a run's samples show. No sample is trimmed for any of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shape {
    /// 95 % confidence intervals.
    pub intervals: Intervals,
    /// Mean absolute difference of neighbours.
    pub jitter_ns: Option<f64>,
    /// How far samples depend on those before them; `None` where all are equal.
    pub autocorrelation: Option<Autocorrelation>,
    /// Where they gather.
    pub modes: Vec<Mode>,
    /// Those far beyond the rest; `None` without samples.
    pub outliers: Option<Outliers>,
    /// A beginning unlike the rest.
    pub warm_up: Option<WarmUp>,
    /// Change over the run, from the end of the warm-up on.
    pub drift: Option<Drift>,
}

/// How far samples depend on those before them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Autocorrelation {
    /// Of each sample and the next.
    pub lag_1: f64,
    /// The same of which side of the median they are on, which no outlier can hide.
    pub lag_1_of_sides: Option<f64>,
    /// Samples.
    pub samples: u64,
    /// Independent samples that would give the mean as precisely.
    pub effective_samples: f64,
    /// Samples of a block of the bootstrap.
    pub block_length: u64,
    /// Whether the dependence reaches further than a block can: the intervals are too narrow then.
    pub block_length_is_at_limit: bool,
}

impl Shape {
    /// Of `samples_in_file_order`, the same in ascending order, and the times at which the messages were sent where those
    /// are known. The same seed gives the same intervals.
    #[must_use]
    pub fn of<N: Nanoseconds>(
        samples_in_file_order: &[N],
        sorted: &Sorted<u64>,
        timeline: Option<&Timeline<'_>>,
        seed: u64,
    ) -> Self {
        let samples = samples_in_file_order;
        let of_order = || {
            let warm_up = WarmUp::of(samples);
            let warm = warm_up.map_or(samples, |warm_up| &samples[warm_up.messages as usize..]);
            (warm_up, Drift::of(warm), Outliers::of(samples, sorted, timeline))
        };
        let of_distribution = || {
            let bootstrap = Bootstrap::of(samples, sorted, seed);
            let autocorrelation = Autocorrelation::of(samples, sorted, &bootstrap);
            (bootstrap.intervals, autocorrelation, modes(sorted), mean_absolute_difference(samples))
        };
        let ((warm_up, drift, outliers), (intervals, autocorrelation, modes, jitter_ns)) =
            beside(of_order, of_distribution);
        Self { intervals, jitter_ns, autocorrelation, modes, outliers, warm_up, drift }
    }

    /// Whether samples gather in more than one place.
    #[must_use]
    pub fn is_multimodal(&self) -> bool {
        self.modes.len() > 1
    }
}

impl Autocorrelation {
    fn of<N: Nanoseconds>(samples: &[N], sorted: &Sorted<u64>, bootstrap: &Bootstrap) -> Option<Self> {
        let of_run = RunDependence::of(samples)?;
        Some(Self {
            lag_1: of_run.lag_1,
            lag_1_of_sides: lag_1_of_sides(samples, sorted.median()?),
            samples: samples.len() as u64,
            effective_samples: of_run.effective_samples,
            block_length: bootstrap.block_length,
            block_length_is_at_limit: bootstrap.is_at_limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(samples: &[u64]) -> Shape {
        Shape::of(samples, &Sorted::new(samples.to_vec()), None, 1)
    }

    #[test]
    fn none_one_and_equal_samples_have_a_shape() {
        let none = shape(&[]);
        assert_eq!((none.jitter_ns, none.autocorrelation, none.outliers), (None, None, None));
        assert!(none.modes.is_empty() && none.warm_up.is_none() && none.drift.is_none());
        let one = shape(&[130]);
        assert_eq!(one.outliers.unwrap().count, 0);
        let equal = shape(&[130; 1000]);
        assert_eq!((equal.jitter_ns, equal.autocorrelation), (Some(0.0), None));
        assert_eq!(equal.intervals.p50.unwrap().high_ns, 130.0);
    }

    #[test]
    fn drift_is_counted_from_the_end_of_the_warm_up_on() {
        let samples: Vec<u64> = (0..10_000).map(|i| if i < 500 { 400 } else { 100 + i % 7 }).collect();
        let shape = shape(&samples);
        assert_eq!(shape.warm_up.unwrap().messages, 500);
        assert!(!shape.drift.unwrap().significant);
    }

    #[test]
    fn the_largest_times_do_not_overflow() {
        let samples: Vec<u64> = (0..1000).map(|i| if i % 3 == 0 { u64::MAX } else { i }).collect();
        let shape = shape(&samples);
        assert!(shape.jitter_ns.unwrap().is_finite());
        assert!(serde_json::to_string(&shape).unwrap().contains("\"p50\":{"));
    }
}
