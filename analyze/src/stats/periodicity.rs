//! The period of events in time, such as the ticks of a timer among all that disturbs a run.
//!
//! The differences between each event and the few after it are counted (the autocorrelogram of a point process: Cox and Lewis 1966,
//! "The statistical analysis of series of events", chapter 5). Events with a period pile up at it; random ones have no favourite
//! difference. A slow error of the time base does not matter, as only differences count. The shortest difference is the period
//! that at least half of the events are followed by, and far fewer by differences a little shorter or longer: events that come
//! in heaps are followed by all of them alike.

/// Fewer events have no period worth the name.
const FEWEST_EVENTS: usize = 10;
/// More are not looked at.
const MOST_EVENTS: usize = 20_000;
/// Each is compared with so many after it, so that others in between do not hide the period.
const NEIGHBOURS: usize = 6;
/// Differences this close, as a share, are the same.
const TOLERANCE: f64 = 0.04;
/// The share of events that another one follows by a period.
const LEAST_FOLLOWED: f64 = 0.5;
/// By how many standard deviations that is more than the share followed by any of these multiples of it.
const DEVIATIONS: f64 = 6.0;
const ELSEWHERE: [f64; 4] = [0.7, 0.85, 1.15, 1.3];
/// A period is at most so many times the mean distance of events, and at least so many of messages.
const MOST_DISTANCES: f64 = 4.0;
const LEAST_MESSAGES: f64 = 20.0;

/// Timers with a name, and how far a period may be off theirs: the time base is not exact.
const TICKS_HZ: [u32; 4] = [100, 250, 300, 1000];
const OFF_BY: f64 = 0.06;

/// Events that come with a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// Time from one to the next.
    pub period_ns: f64,
    /// The share of events that another one follows by a period.
    pub followed: f64,
}

impl Beat {
    /// What has this period: the tick of a kernel, by the frequencies that Linux can be built with.
    #[must_use]
    pub fn likely(&self) -> Option<String> {
        let off = |hz: &u32| (self.period_ns * f64::from(*hz) / 1e9 - 1.0).abs();
        let nearest = TICKS_HZ.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
        (off(nearest) <= OFF_BY).then(|| match nearest {
            1000 => "1 kHz timer tick".into(),
            hz => format!("{hz} Hz timer tick"),
        })
    }
}

/// The period of events at `times_ns`, in ascending order, if most have one. Messages are sent `message_ns` apart.
#[must_use]
pub fn beat(times_ns: &[f64], message_ns: f64) -> Option<Beat> {
    let times = &times_ns[..times_ns.len().min(MOST_EVENTS)];
    if times.len() < FEWEST_EVENTS {
        return None;
    }
    let distance = (times[times.len() - 1] - times[0]) / (times.len() - 1) as f64;
    let is_possible = |d: &f64| (LEAST_MESSAGES * message_ns..=MOST_DISTANCES * distance).contains(d);
    let mut differences: Vec<f64> = (1..=NEIGHBOURS)
        .flat_map(|next| times.iter().zip(times.iter().skip(next)).map(|(a, b)| b - a))
        .filter(|difference| *difference > 0.0 && is_possible(difference))
        .collect();
    differences.sort_unstable_by(f64::total_cmp);
    piles(&differences).into_iter().find_map(|period_ns| {
        let followed = followed_by(times, period_ns);
        let elsewhere = ELSEWHERE
            .map(|multiple| followed_by(times, period_ns * multiple))
            .into_iter()
            .fold(0.0, f64::max);
        let deviation = (followed * (1.0 - followed) + elsewhere * (1.0 - elsewhere)) / times.len() as f64;
        let is_beat = followed >= LEAST_FOLLOWED && followed > elsewhere + DEVIATIONS * deviation.sqrt();
        is_beat.then_some(Beat { period_ns, followed })
    })
}

/// Where differences, in ascending order, pile up: the medians of those stretches of a tolerance's width that hold more than
/// any other that overlaps with them, the shortest first.
fn piles(differences: &[f64]) -> Vec<f64> {
    let mut piles: Vec<(usize, usize)> = Vec::new();
    let mut to = 0;
    for (from, difference) in differences.iter().enumerate() {
        while to < differences.len() && differences[to] <= difference * (1.0 + TOLERANCE) {
            to += 1;
        }
        match piles.last_mut() {
            Some(last) if from < last.1 => {
                if to - from > last.1 - last.0 {
                    *last = (from, to);
                }
            }
            _ => piles.push((from, to)),
        }
    }
    piles.into_iter().map(|(from, to)| differences[usize::midpoint(from, to - 1)]).collect()
}

/// The share of those events that a whole period is left after, which another event follows by it.
fn followed_by(times: &[f64], period_ns: f64) -> f64 {
    let last = times[times.len() - 1];
    let (mut followed, mut all, mut next) = (0_usize, 0_usize, 0);
    for time in times.iter().take_while(|time| **time + period_ns * (1.0 + TOLERANCE) <= last) {
        all += 1;
        let (from, to) = (time + period_ns * (1.0 - TOLERANCE), time + period_ns * (1.0 + TOLERANCE));
        while times[next] < from {
            next += 1;
        }
        followed += usize::from(times[next] <= to);
    }
    if all == 0 { 0.0 } else { followed as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use proptest::prelude::*;

    /// Ticks with a jitter, some of them missed, and random events beside them, over a second.
    fn events(seed: u64, hz: f64, missed: f64, others: usize) -> Vec<f64> {
        let mut random = Random::new(seed);
        let period = 1e9 / hz;
        let mut times: Vec<f64> = (0..hz as usize)
            .filter_map(|tick| {
                let jitter = (random.unit() - 0.5) * 0.01 * period;
                (random.unit() >= missed).then_some(tick as f64 * period + jitter + period)
            })
            .collect();
        times.extend((0..others).map(|_| random.unit() * 1e9));
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    #[test]
    fn ticks_are_found_among_others() {
        for (hz, name) in [
            (100.0, "100 Hz timer tick"),
            (250.0, "250 Hz timer tick"),
            (300.0, "300 Hz timer tick"),
            (1000.0, "1 kHz timer tick"),
        ] {
            for (missed, others) in [(0.0, 0.0), (0.1, 0.3), (0.2, 0.1)] {
                let times = events(1, hz, missed, (others * hz) as usize);
                let found = beat(&times, 400.0).unwrap_or_else(|| panic!("{name}, {missed} missed"));
                assert!((found.period_ns * hz / 1e9 - 1.0).abs() < 0.01, "{name}: {found:?}");
                assert_eq!(found.likely().as_deref(), Some(name));
            }
        }
    }

    #[test]
    fn random_events_have_no_period() {
        for seed in 0..200 {
            for others in [12, 60, 500] {
                let times = events(seed, 1.0, 1.0, others);
                assert_eq!(beat(&times, 400.0), None, "seed {seed}, {others} events");
            }
        }
    }

    #[test]
    fn events_in_heaps_have_no_period() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            // Half of all events in the first hundredth of the time.
            let mut times: Vec<f64> = (0..400).map(|_| random.unit() * 1e7).collect();
            times.extend((0..400).map(|_| random.unit() * 1e9));
            times.sort_unstable_by(f64::total_cmp);
            assert_eq!(beat(&times, 400.0), None, "seed {seed}");
        }
    }

    #[test]
    fn a_period_without_a_name() {
        let found = beat(&events(1, 70.0, 0.0, 0), 400.0).unwrap();
        assert_eq!(found.likely(), None);
        assert!(found.followed > 0.9);
    }

    #[test]
    fn few_events_and_slow_messages_show_none() {
        assert_eq!(beat(&events(1, 9.0, 0.0, 0), 400.0), None);
        // A message every 2 ms cannot see a tick every 4 ms.
        assert_eq!(beat(&events(1, 250.0, 0.0, 0), 2e6), None);
        assert_eq!(beat(&[5.0; 30], 400.0), None);
    }

    proptest! {
        #[test]
        fn scale_stretches_the_period(seed: u64, others in 0_usize..60) {
            let times = events(seed, 100.0, 0.1, others);
            let scaled: Vec<f64> = times.iter().map(|t| t * 4.0).collect();
            let (plain, scaled) = (beat(&times, 400.0), beat(&scaled, 1600.0));
            prop_assert_eq!(plain.map(|b| b.period_ns * 4.0), scaled.map(|b| b.period_ns));
        }
    }
}
