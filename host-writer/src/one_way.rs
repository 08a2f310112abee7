//! One-way latencies: the guest's clock against ours, estimated from the messages themselves.
//!
//! Every message carries the guest's clock at the moment it was seen. Messages before, during and after the test bound
//! the offset of the two clocks; see `ivshmem_proto::clock_offset`. A figure smaller than the bound would be a guess, and
//! is refused.

use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::clock_offset::{Exchange, estimate, one_way};

use ivshmem_proto::wire::ClockSource;
use serde::Serialize;

use crate::latency::{Measured, Sample};
use crate::status::RowStatus;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OneWay {
    /// Whether the figures may be believed within the bound.
    pub accepted: bool,
    /// Why not.
    pub why: Option<String>,
    /// The guest's clock minus ours in the middle of the test, in nanoseconds. Their zeros have nothing to do with each
    /// other: only that it is known matters.
    pub offset_ns: Option<f64>,
    /// How far the offset, and so each one-way latency, can be from the truth, in nanoseconds.
    pub bound_ns: Option<f64>,
    /// How much faster the guest's clock runs than the guest says, in parts per million of ours: mostly the error of the
    /// guest's short calibration.
    pub drift_ppm: Option<f64>,
    /// What stamped on this side: `tsc` or `clock_monotonic`.
    pub host_clock: &'static str,
    /// What stamped on the guest's, which may be another clock than its durations are of; null when it does not say.
    pub guest_clock: Option<&'static str>,
    /// Exchanges it rests on.
    pub exchanges: usize,
    /// Host to guest; null when refused.
    pub to_guest_ns: Option<Middle>,
    /// Guest to host.
    pub to_host_ns: Option<Middle>,
    /// For each sample, both ways in nanoseconds; empty when refused.
    #[serde(skip)]
    pub samples: Vec<Option<(f64, f64)>>,
}

/// The middle of a distribution, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Middle {
    /// The median.
    pub p50: f64,
    /// 99 % are not longer.
    pub p99: Option<f64>,
}

/// Samples without which the 99th percentile says nothing.
const P99_SAMPLES_MIN: usize = 1000;

impl Middle {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        // Nearest ranks, as everywhere.
        let rank =
            |percent: usize| values.get((percent * values.len()).div_ceil(100).checked_sub(1)?).copied();
        Some(Self {
            p50: tenths(rank(50)?),
            p99: rank(99).filter(|_| values.len() >= P99_SAMPLES_MIN).map(tenths),
        })
    }
}

fn tenths(ns: f64) -> f64 {
    (ns * 10.0).round() / 10.0
}

/// Timestamps in nanoseconds since the first exchange, on either clock.
struct Zero<'a> {
    clock: &'a Clock,
    ours: Ticks,
    peer_ticks: u64,
    peer_hz: f64,
}

impl Zero<'_> {
    fn exchange(&self, sample: &Sample) -> Option<Exchange> {
        let ns = |ticks: u64| ticks.wrapping_sub(self.ours.0) as i64 as f64 * 1e9 / self.clock.frequency_hz();
        let peer = sample.seen_ticks.wrapping_sub(self.peer_ticks) as i64 as f64 * 1e9 / self.peer_hz;
        let seen = sample.start.0 + sample.processed_ticks?;
        (sample.status == RowStatus::Ok).then(|| Exchange {
            sent_ns: ns(sample.start.0),
            peer_ns: peer,
            seen_ns: ns(seen),
        })
    }
}

/// The rate of the guest's clock in ticks of ours, from the quickest exchange of the first burst and of the last. The
/// guest's own calibration takes 20 ms only, and a vCPU that is not running for some of them is off by far more than any
/// clock drifts.
fn peer_rate(measured: &Measured, clock: &Clock) -> Option<f64> {
    let quickest = |samples: &[Sample]| {
        let ok = samples.iter().filter(|sample| sample.status == RowStatus::Ok);
        ok.min_by_key(|sample| sample.processed_ticks).copied()
    };
    let half = measured.bursts.len() / 2;
    let (first, last) = (quickest(&measured.bursts[..half])?, quickest(&measured.bursts[half..])?);
    let middle = |sample: &Sample| Some(sample.start.0 + sample.processed_ticks? / 2);
    let ours = middle(&last)?.checked_sub(middle(&first)?)?;
    let peer = last.seen_ticks.checked_sub(first.seen_ticks)?;
    (ours > 0 && peer > 0).then(|| peer as f64 * clock.frequency_hz() / ours as f64)
}

/// The clock that the guest stamps with, by its own word.
#[derive(Debug, Clone, Copy)]
pub struct PeerClock {
    /// What ticks, if it says so.
    pub source: Option<ClockSource>,
    /// Ticks a second.
    pub frequency_hz: f64,
}

/// Estimates both ways of every sample; `peer` is the clock the guest stamps with.
#[must_use]
pub fn of(measured: &Measured, clock: &Clock, peer: PeerClock) -> OneWay {
    let all = || measured.bursts.iter().chain(&measured.samples);
    let first = all().find(|sample| sample.status == RowStatus::Ok);
    let refused = |why: String, exchanges| OneWay {
        accepted: false,
        why: Some(why),
        offset_ns: None,
        bound_ns: None,
        drift_ppm: None,
        host_clock: clock.source().name(),
        guest_clock: peer.source.map(ClockSource::name),
        exchanges,
        to_guest_ns: None,
        to_host_ns: None,
        samples: Vec::new(),
    };
    let claimed_hz = peer.frequency_hz;
    let Some(first) = first.filter(|_| claimed_hz > 0.0) else {
        return refused("no message brought a timestamp of the guest".to_owned(), 0);
    };
    let peer_hz = peer_rate(measured, clock).unwrap_or(claimed_hz);
    let zero = Zero { clock, ours: first.start, peer_ticks: first.seen_ticks, peer_hz };
    let exchanges: Vec<Exchange> = all().filter_map(|sample| zero.exchange(sample)).collect();
    let estimate = match estimate(&exchanges) {
        Ok(estimate) => estimate,
        Err(error) => return refused(error.to_string(), exchanges.len()),
    };
    let each = |sample: &Sample| zero.exchange(sample).map(|exchange| one_way(&exchange, &estimate));
    let samples: Vec<Option<(f64, f64)>> = measured.samples.iter().map(each).collect();
    let ways = |pick: fn(&(f64, f64)) -> f64| Middle::of(samples.iter().flatten().map(pick).collect());
    let (to_guest_ns, to_host_ns) = (ways(|way| way.0), ways(|way| way.1));
    let shortest = to_guest_ns.iter().chain(&to_host_ns).map(|m| m.p50).fold(f64::INFINITY, f64::min);
    let known = OneWay {
        accepted: true,
        why: None,
        // The offset between the clocks as they stand, not between the zeros above.
        offset_ns: Some(tenths(
            estimate.offset_ns + first.seen_ticks as f64 * 1e9 / claimed_hz
                - first.start.0 as f64 * 1e9 / clock.frequency_hz(),
        )),
        bound_ns: Some(tenths(estimate.bound_ns)),
        drift_ppm: Some(
            (((1.0 + estimate.drift_ppm * 1e-6) * peer_hz / claimed_hz - 1.0) * 1e9).round() / 1e3,
        ),
        host_clock: clock.source().name(),
        guest_clock: peer.source.map(ClockSource::name),
        exchanges: estimate.exchanges,
        to_guest_ns,
        to_host_ns,
        samples,
    };
    if estimate.bound_ns >= shortest {
        let why = format!(
            "the clocks' offset is known to {:.0} ns only, which is more than the {shortest:.0} ns of the shorter way",
            estimate.bound_ns
        );
        return OneWay {
            accepted: false,
            why: Some(why),
            to_guest_ns: None,
            to_host_ns: None,
            samples: Vec::new(),
            ..known
        };
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tsc(frequency_hz: f64) -> PeerClock {
        PeerClock { source: Some(ClockSource::Tsc), frequency_hz }
    }

    fn sample(start: u64, to: u64, back: u64, peer: impl Fn(u64) -> u64) -> Sample {
        Sample {
            start: Ticks(start),
            delay_ticks: 0,
            received_ticks: Some(to + back),
            processed_ticks: Some(to + back),
            seen_ticks: peer(start + to),
            status: RowStatus::Ok,
        }
    }

    /// A nanosecond clock on this side; the peer's ticks at 2 GHz, 50 ppm fast, from another zero.
    fn peer(ours_ns: u64) -> u64 {
        (1e12 + ours_ns as f64 * 2.0 * 1.000_05) as u64
    }

    #[test]
    fn both_ways_are_found_within_the_bound_and_sum_to_the_round_trip() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let mut measured = Measured::new().unwrap();
        measured.samples = (0..2000)
            .map(|i| sample(1_000_000 + i * 1000, 100 + i * 37 % 90, 200 + i * 61 % 110, peer))
            .collect();
        let way = of(&measured, &clock, tsc(2e9));
        assert!(way.accepted, "{:?}", way.why);
        assert_eq!((way.host_clock, way.guest_clock), ("clock_monotonic", Some("tsc")));
        let bound = way.bound_ns.unwrap();
        assert!((way.drift_ppm.unwrap() - 50.0).abs() < 1.0, "{:?}", way.drift_ppm);
        // Half the quickest round trip, and a little for the drift.
        assert!((150.0..155.0).contains(&bound), "{bound}");
        for (sample, ways) in measured.samples.iter().zip(&way.samples) {
            let (to, back) = ways.unwrap();
            assert!((to + back - sample.processed_ticks.unwrap() as f64).abs() < 0.01);
        }
        let truth = |i: u64| (100 + i * 37 % 90) as f64;
        for (i, ways) in way.samples.iter().enumerate() {
            assert!((ways.unwrap().0 - truth(i as u64)).abs() <= bound + 1.0, "sample {i}");
        }
    }

    #[test]
    fn a_guest_that_calibrated_its_clock_badly_is_understood_all_the_same() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let mut measured = Measured::new().unwrap();
        let at = |i: u64| sample(1_000_000 + i * 1000, 100 + i * 37 % 90, 200 + i * 61 % 110, peer);
        measured.samples = (100..2000).map(at).collect();
        measured.bursts = (0..100).chain(2000..2100).map(at).collect();
        let way = of(&measured, &clock, tsc(1.99e9));
        assert!(way.accepted && (150.0..155.0).contains(&way.bound_ns.unwrap()), "{:?}", way.bound_ns);
        assert!((way.drift_ppm.unwrap() - 5075.0).abs() < 5.0, "{:?}", way.drift_ppm);
    }

    #[test]
    fn a_clock_that_steps_is_refused_with_the_reason() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let mut measured = Measured::new().unwrap();
        measured.samples = (0..100)
            .map(|i| sample(i * 1000, 100, 100, |ns| peer(ns) + if i > 50 { 1_000_000 } else { 0 }))
            .collect();
        let way = of(&measured, &clock, tsc(2e9));
        assert!(!way.accepted && way.why.unwrap().contains("clock stepped") && way.samples.is_empty());
        let none = of(&Measured::new().unwrap(), &clock, tsc(2e9));
        assert!(!none.accepted && none.exchanges == 0);
    }
}
