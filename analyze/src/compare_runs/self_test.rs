//! The comparison put to the test it puts others to: runs that differ by chance only, and runs that do differ.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::Comparison;
use super::one_run::{Figure, FigureId, OneRun, Unit};
use super::verdict::{Standard, Verdict};
use crate::stats::ratio::runs_needed;

/// What runs differ by: 5 % and, one run in ten, a disturbance that slows it down by up to half.
const SPREAD: f64 = 0.05;

struct Simulation {
    random: Xoshiro256PlusPlus,
    spread: f64,
    disturbed: bool,
}

impl Simulation {
    fn new(spread: f64, disturbed: bool) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(11), spread, disturbed }
    }

    /// Box and Muller (1958), "A note on the generation of random normal deviates".
    fn normal(&mut self) -> f64 {
        let (u, v): (f64, f64) = (self.random.random(), self.random.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn runs(&mut self, side: &str, count: usize, level_ns: f64) -> Vec<OneRun> {
        let id = FigureId {
            name: "rtt_processed_p50_ns".into(),
            key: "p50".into(),
            group: "RTT to PROCESSED".into(),
            what: "p50".into(),
            unit: Unit::Ns,
        };
        (0..count)
            .map(|run| {
                let slowed = self.disturbed && self.random.random::<f64>() < 0.1;
                let factor = if slowed { 1.0 + 0.5 * self.random.random::<f64>() } else { 1.0 };
                let value = level_ns * factor * (self.spread * self.normal()).exp();
                OneRun {
                    path: format!("{side}/{run}").into(),
                    canonical: None,
                    started_utc: None,
                    provenance: Some(serde_json::json!({"session": format!("{side}{run}")})),
                    figures: vec![Figure { id: id.clone(), value, log_error: None }],
                    deciles: None,
                    doubts: Vec::new(),
                }
            })
            .collect()
    }

    /// How many of `trials` comparisons have one of these verdicts.
    fn count(&mut self, trials: u32, runs: usize, shift: f64, same_within: f64, wanted: &[Verdict]) -> f64 {
        let standard = Standard { level: 0.95, same_within };
        let hits = (0..trials).filter(|_| {
            let (base, new) = (self.runs("base", runs, 400.0), self.runs("new", runs, 400.0 * shift));
            let comparison = Comparison::of(&base, &new, standard, false).unwrap();
            wanted.contains(&comparison.figures[0].judgement.verdict)
        });
        hits.count() as f64
    }
}

/// Asserts that `hits` of `trials` are as many as a chance of `p` makes, within three binomial deviations.
#[track_caller]
fn assert_rate(hits: f64, trials: u32, p: f64) {
    let expected = f64::from(trials) * p;
    let deviation = (expected * (1.0 - p)).sqrt();
    assert!(
        (hits - expected).abs() <= 3.0 * deviation,
        "{hits} of {trials}, expected {expected} +- {deviation:.1}"
    );
}

#[test]
fn runs_of_the_same_thing_are_called_different_as_rarely_as_said() {
    // The level is at least 95 %; of so few runs the ranks reach 4/35, 8/252 and 4.33 % (twice the tail of the
    // tables of Mann and Whitney), whatever the figures are like.
    for (runs, rate) in [(4, 2.0 / 70.0), (5, 8.0 / 252.0), (10, 0.0433)] {
        for disturbed in [false, true] {
            let mut simulation = Simulation::new(SPREAD, disturbed);
            let alarms = simulation.count(3_000, runs, 1.0, 0.0, &[Verdict::Faster, Verdict::Slower]);
            assert_rate(alarms, 3_000, rate);
        }
    }
}

#[test]
fn a_difference_of_just_the_size_is_called_the_same_as_rarely_as_said() {
    // Only one end of the interval can fail, so half of what its level leaves.
    let mut simulation = Simulation::new(0.005, false);
    let wrong = simulation.count(3_000, 10, 1.02, 0.02, &[Verdict::Same]);
    assert_rate(wrong, 3_000, 0.0433 / 2.0);
}

#[test]
fn a_tenth_slower_is_found_with_ten_runs_a_side() {
    let found = Simulation::new(SPREAD, false).count(500, 10, 1.1, 0.02, &[Verdict::Slower]);
    assert!(found >= 0.95 * 500.0, "{found} of 500");
    let found = Simulation::new(SPREAD, true).count(500, 10, 1.1, 0.02, &[Verdict::Slower]);
    assert!(found >= 0.75 * 500.0, "{found} of 500 disturbed ones");
    // And never is a slower one called faster.
    let wrong = Simulation::new(SPREAD, true).count(500, 10, 1.1, 0.02, &[Verdict::Faster, Verdict::Same]);
    assert_eq!(wrong, 0.0);
}

#[test]
fn the_runs_that_are_said_to_be_needed_tell_in_four_of_five_attempts() {
    let runs = runs_needed(SPREAD, 1.05_f64.ln(), 0.95) as usize;
    assert!((15..=25).contains(&runs), "{runs}");
    let found = Simulation::new(SPREAD, false).count(500, runs, 1.05, 0.0, &[Verdict::Slower]);
    assert_rate(found, 500, 0.8);
}
