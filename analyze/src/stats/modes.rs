//! Where the samples gather: one place, or several, as where a cache line sometimes is far away.
//!
//! The density of the logarithms is estimated with a normal kernel, Silverman's bandwidth (1986, "Density estimation for statistics
//! and data analysis", equation 3.31, with the interquartile range) and never finer than the clock's steps. A maximum is a mode
//! if the density falls to half of it before it rises to another one (topographic prominence) by more than chance would, and if
//! at least a hundredth of the samples are its own. On a logarithmic axis, since twice as long is as unlike at 100 ns as at 1 ms.

use serde::Serialize;

use super::{Percentile, Sorted};

/// Fewer samples than this, and the density is guesswork.
const FEWEST_SAMPLES: usize = 100;
/// The share of all samples that a mode has at least.
const LEAST_SHARE: f64 = 0.01;
/// The valley between two modes is at most so high, as a share of the lower one.
const DEEPEST_VALLEY: f64 = 0.5;
/// The difference of the lower one and the valley is at least so many standard deviations of a count.
const DEVIATIONS: f64 = 4.0;
/// Points of the density in a bandwidth, and points at most; the coarsest bandwidth, where the clock's steps demand one.
const POINTS_A_BANDWIDTH: f64 = 4.0;
const MOST_POINTS: f64 = 16_384.0;
const COARSEST: f64 = 0.5;

/// A place where samples gather.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mode {
    /// Where they are densest.
    pub at_ns: f64,
    /// The share of all samples between the valleys to both sides.
    pub share: f64,
}

/// The modes of `sorted`, in ascending order; none of fewer than 100 samples.
#[must_use]
pub fn modes(sorted: &Sorted<u64>) -> Vec<Mode> {
    let all = sorted.as_slice();
    if all.len() < FEWEST_SAMPLES {
        return Vec::new();
    }
    let density = Density::of(sorted);
    let count = all.len() as f64;
    let mut hills = density.hills(all);
    let share = |hill: &Hill| hill.samples as f64 / count;
    // Weakest first: the deepest valley that is none, then the smallest hill that is none.
    while hills.len() > 1 {
        let (shallowest, depth) = (1..hills.len())
            .map(|right| (right, density.shallowness(&hills[right - 1], &hills[right])))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .expect("there are two");
        let smallest = (0..hills.len()).min_by_key(|place| hills[*place].samples).expect("there are two");
        if depth > DEEPEST_VALLEY {
            merge(&mut hills, shallowest, &density);
        } else if share(&hills[smallest]) < LEAST_SHARE {
            // Into the neighbour across the higher valley.
            let to_left = smallest > 0
                && (smallest + 1 == hills.len()
                    || density.at(hills[smallest].from) >= density.at(hills[smallest].to));
            merge(&mut hills, if to_left { smallest } else { smallest + 1 }, &density);
        } else {
            break;
        }
    }
    let mode = |hill: &Hill| Mode { at_ns: density.ns(hill.top), share: share(hill) };
    hills.iter().map(mode).collect()
}

/// A stretch of the density from valley to valley, as places in it.
#[derive(Debug, Clone, Copy)]
struct Hill {
    from: usize,
    top: usize,
    to: usize,
    /// How many samples lie in it: looked up once, for it is asked again with each hill that goes.
    samples: usize,
}

/// Makes one of the hill at `right` and the one before it.
fn merge(hills: &mut Vec<Hill>, right: usize, density: &Density) {
    let other = hills.remove(right);
    let hill = &mut hills[right - 1];
    hill.to = other.to;
    hill.samples += other.samples;
    if density.at(other.top) > density.at(hill.top) {
        hill.top = other.top;
    }
}

/// The density of ln(ns), as the number of samples a point would have.
#[derive(Debug)]
struct Density {
    start: f64,
    step: f64,
    points: Vec<f64>,
    /// The sum of squares of the kernel's weights: the variance of a point is this times its height.
    noise: f64,
}

impl Density {
    fn of(sorted: &Sorted<u64>) -> Self {
        let all = sorted.as_slice();
        let at = |hundredths: u32| {
            let percentile = Percentile::from_hundredths(hundredths).expect("between 1 and 10,000");
            sorted.nearest_rank(percentile).unwrap_or(1).max(1) as f64
        };
        let (low, high) = (at(10), at(9990));
        let quartiles = (at(7500) / at(2500)).ln();
        let silverman = 0.9 * quartiles / 1.34 * (all.len() as f64).powf(-0.2);
        // A step of the clock is widest on the axis where the samples are smallest.
        let steps = (step_ns(sorted) / at(500)).min(COARSEST);
        let bandwidth = silverman.max(steps).max(1e-3);
        let margin = 4.0 * bandwidth;
        let length = high.ln() - low.ln() + 2.0 * margin;
        let step = (bandwidth / POINTS_A_BANDWIDTH).max(length / MOST_POINTS);
        // By half a step, so that the smallest value is not at an edge, where rounding would choose its side.
        let start = low.ln() - margin - step / 2.0;
        let counts = counts(all, start, step, (length / step).ceil() as usize);
        let kernel = kernel(bandwidth / step);
        let reach = kernel.len() / 2;
        let smoothed = |place: usize| -> f64 {
            let weight_of = |(offset, weight): (usize, &f64)| {
                Some(weight * counts.get((place + offset).checked_sub(reach)?)?)
            };
            kernel.iter().enumerate().filter_map(weight_of).sum()
        };
        let points = (0..counts.len()).map(smoothed).collect();
        Self { start, step, points, noise: kernel.iter().map(|w| w * w).sum() }
    }

    fn at(&self, place: usize) -> f64 {
        self.points[place.min(self.points.len() - 1)]
    }

    /// The middle of a point.
    fn ns(&self, place: usize) -> f64 {
        (self.start + self.step * (place as f64 + 0.5)).exp()
    }

    /// Samples from one place up to another; the first and the last place have all that is further out.
    fn samples_between(&self, all: &[u64], from: usize, to: usize) -> usize {
        let edge = |place: usize| match place {
            0 => 0,
            place if place >= self.points.len() => all.len(),
            place => {
                let edge = (self.start + self.step * place as f64).exp();
                all.partition_point(|ns| (*ns as f64) < edge)
            }
        };
        edge(to) - edge(from)
    }

    /// All maxima with the valleys between them.
    fn hills(&self, all: &[u64]) -> Vec<Hill> {
        let mut hills: Vec<Hill> = Vec::new();
        let hill = |from, top, to| Hill { from, top, to, samples: self.samples_between(all, from, to) };
        let mut is_rising = true;
        let (mut top, mut valley) = (0, 0);
        for place in 1..self.points.len() {
            if is_rising && self.points[place] < self.points[place - 1] {
                is_rising = false;
                top = place - 1;
                valley = place;
            } else if !is_rising && self.points[place] > self.points[place - 1] {
                is_rising = true;
                let from = hills.last().map_or(0, |hill| hill.to);
                hills.push(hill(from, top, usize::midpoint(valley, place - 1)));
            } else if !is_rising && self.points[place] < self.points[place - 1] {
                valley = place;
            }
        }
        let from = hills.last().map_or(0, |hill| hill.to);
        let top = if is_rising { self.points.len() - 1 } else { top };
        hills.push(hill(from, top, self.points.len()));
        hills
    }

    /// How high the valley between two hills is, as a share of the lower hill; 1 where the difference may be chance.
    fn shallowness(&self, left: &Hill, right: &Hill) -> f64 {
        let (valley, lower) = (self.at(right.from), self.at(left.top).min(self.at(right.top)));
        let chance = DEVIATIONS * (self.noise * lower).sqrt();
        if lower - valley < chance { 1.0 } else { valley / lower }
    }
}

/// Samples of each point, found by the edges: all have the same width on the logarithmic axis.
fn counts(all: &[u64], start: f64, step: f64, points: usize) -> Vec<f64> {
    let mut before = all.partition_point(|ns| (*ns as f64) < start.exp());
    let mut count = |place: usize| {
        let edge = (start + step * (place + 1) as f64).exp();
        let upto = before + all[before..].partition_point(|ns| (*ns as f64) < edge);
        let count = upto - before;
        before = upto;
        count as f64
    };
    (0..points).map(&mut count).collect()
}

/// Weights of a normal kernel to four bandwidths, their sum 1.
fn kernel(bandwidth_points: f64) -> Vec<f64> {
    let reach = (4.0 * bandwidth_points).ceil() as i64;
    let weight = |offset: i64| (-0.5 * (offset as f64 / bandwidth_points).powi(2)).exp();
    let sum: f64 = (-reach..=reach).map(weight).sum();
    (-reach..=reach).map(|offset| weight(offset) / sum).collect()
}

/// The smallest step between different values in the middle nine tenths: the clock's, or a nanosecond.
fn step_ns(sorted: &Sorted<u64>) -> f64 {
    let all = sorted.as_slice();
    let beyond = all.len() / 20;
    let (low, high) = (all[beyond], all[all.len() - 1 - beyond]);
    let values = sorted.groups().map(|(ns, _)| ns).skip_while(move |ns| *ns < low);
    let body = values.take_while(move |ns| *ns <= high);
    let steps = || body.clone().zip(body.clone().skip(1)).map(|(a, b)| b - a);
    // Two values show no step of a clock, only that there are two of them.
    if steps().nth(1).is_none() { 1.0 } else { steps().min().unwrap_or(1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, series::normal};
    use super::*;
    use proptest::prelude::*;

    /// Normal hills: where, how wide, and how many samples.
    fn hills(seed: u64, hills: &[(f64, f64, usize)]) -> Sorted<u64> {
        let mut random = Random::new(seed);
        let mut samples = Vec::new();
        for (at, width, count) in hills {
            samples.extend((0..*count).map(|_| (at + width * normal(&mut random)).max(1.0).round() as u64));
        }
        Sorted::new(samples)
    }

    #[test]
    fn one_hill_is_one_mode() {
        for seed in 0..50 {
            for count in [200, 2_000, 50_000] {
                let found = modes(&hills(seed, &[(400.0, 20.0, count)]));
                assert_eq!(found.len(), 1, "seed {seed}, {count}: {found:?}");
                assert_eq!(found[0].share, 1.0);
                assert!((found[0].at_ns - 400.0).abs() < 20.0, "{found:?}");
            }
        }
    }

    #[test]
    fn two_hills_are_two_with_their_shares() {
        let found = modes(&hills(1, &[(400.0, 20.0, 7_000), (800.0, 40.0, 3_000)]));
        let [fast, slow] = found.as_slice() else { panic!("two: {found:?}") };
        assert!((fast.at_ns - 400.0).abs() < 8.0 && (slow.at_ns - 800.0).abs() < 16.0, "{found:?}");
        assert!((fast.share - 0.7).abs() < 0.005 && (slow.share - 0.3).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn a_small_mode_far_out_counts_from_a_hundredth_on() {
        let far = |count| modes(&hills(1, &[(400.0, 20.0, 10_000), (9_000.0, 500.0, count)])).len();
        assert_eq!((far(300), far(50)), (2, 1));
    }

    #[test]
    fn a_shoulder_and_a_tail_are_no_modes() {
        assert_eq!(modes(&hills(1, &[(400.0, 20.0, 7_000), (440.0, 20.0, 7_000)])).len(), 1);
        let mut random = Random::new(3);
        let heavy = (0..20_000).map(|_| (400.0 * random.unit().powf(-0.4)) as u64).collect();
        assert_eq!(modes(&Sorted::new(heavy)).len(), 1);
    }

    #[test]
    fn the_steps_of_a_clock_are_no_modes() {
        // A clock of 40 ns, and one of a nanosecond seen from close by.
        let mut random = Random::new(3);
        let coarse =
            (0..20_000).map(|_| ((1_000.0 + 60.0 * normal(&mut random)) / 40.0) as u64 * 40).collect();
        assert_eq!(modes(&Sorted::new(coarse)).len(), 1);
        let fine = (0..20_000).map(|_| (30.0 + 1.5 * normal(&mut random)) as u64).collect();
        assert_eq!(modes(&Sorted::new(fine)).len(), 1);
    }

    #[test]
    fn few_equal_and_absent_samples() {
        assert_eq!(modes(&Sorted::new(vec![])), []);
        assert_eq!(modes(&Sorted::new(vec![7; 99])), []);
        let equal = modes(&Sorted::new(vec![130; 5000]));
        assert!(equal.len() == 1 && (equal[0].at_ns - 130.0).abs() < 0.2, "{equal:?}");
        assert_eq!(modes(&Sorted::new(vec![0; 5000])).len(), 1);
        let two = modes(&Sorted::new([[300; 50], [3000; 50]].concat()));
        assert!(two.len() == 2 && two[0].share == 0.5, "{two:?}");
    }

    proptest! {
        #[test]
        fn shares_add_up_and_scale_moves_modes_along(
            samples in prop::collection::vec(10_000_u64..100_000, 100..600),
        ) {
            let plain = modes(&Sorted::new(samples.clone()));
            let scaled = modes(&Sorted::new(samples.iter().map(|ns| ns * 16).collect()));
            prop_assert!((plain.iter().map(|mode| mode.share).sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert_eq!(plain.len(), scaled.len());
            for (plain, scaled) in plain.iter().zip(&scaled) {
                prop_assert!((scaled.at_ns / plain.at_ns / 16.0 - 1.0).abs() < 1e-6);
            }
        }
    }
}
