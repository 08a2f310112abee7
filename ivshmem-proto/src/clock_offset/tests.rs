use super::*;
use proptest::prelude::*;

/// SplitMix64: seeded delays without another dependency.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Two clocks of which all is known: the peer shows `zero + ours + offset + drift * ours`.
#[derive(Debug, Clone)]
struct Truth {
    our_zero_ns: f64,
    peer_zero_ns: f64,
    offset_ns: f64,
    drift: f64,
    to_peer_ns: f64,
    from_peer_ns: f64,
    jitter_ns: f64,
    outliers: f64,
}

impl Truth {
    /// Our time when the peer reads its clock, since our zero.
    fn peer_at(&self, since_ns: f64) -> f64 {
        self.peer_zero_ns + (since_ns + self.offset_ns + self.drift * since_ns)
    }

    fn offset_at(&self, since_ns: f64) -> f64 {
        (self.peer_zero_ns - self.our_zero_ns) + self.offset_ns + self.drift * since_ns
    }

    /// Exchanges in three bursts, before, during and after a test of `length_ns`.
    fn exchanges(&self, count: usize, length_ns: f64, seed: u64) -> Vec<Exchange> {
        let mut random = Random(seed);
        let mut since = 0.0;
        (0..count)
            .map(|i| {
                if i > 0 && (i == count / 3 || i == 2 * count / 3) {
                    since += length_ns / 2.0;
                }
                // One in two takes the shortest way; the others exponentially longer, and some were preempted.
                let mut delay = |shortest: f64| {
                    let slow = random.unit() < 0.5;
                    let outlier = random.unit() < self.outliers;
                    let extra = if slow { -(1.0 - random.unit()).ln() * self.jitter_ns } else { 0.0 };
                    shortest + extra + if outlier { random.unit() * 5e6 } else { 0.0 }
                };
                let read = since + delay(self.to_peer_ns);
                let seen = read + delay(self.from_peer_ns);
                let exchange = Exchange {
                    sent_ns: self.our_zero_ns + since,
                    peer_ns: self.peer_at(read),
                    seen_ns: self.our_zero_ns + seen,
                };
                since = seen + 100.0;
                exchange
            })
            .collect()
    }

    fn check(&self, exchanges: &[Exchange], estimate: &OffsetEstimate) -> Result<(), TestCaseError> {
        prop_assert_eq!(estimate.exchanges, exchanges.len());
        let (first, last) = (exchanges[0].sent_ns, exchanges[exchanges.len() - 1].seen_ns);
        // From reading to reading of the peer: the bound is promised no further.
        let (first, last) = (first.max(estimate.ours_from_peer(exchanges[0].peer_ns)), last);
        let last = last.min(estimate.ours_from_peer(exchanges[exchanges.len() - 1].peer_ns));
        // The oracle itself rounds: twice at each of the large readings.
        let mut rounding = 4.0 * f64::EPSILON * self.our_zero_ns.max(self.peer_zero_ns) + 1e-6;
        if exchanges.len() == 1 {
            // The bound is for the moment of the reading, which is itself known no better than to the bound.
            rounding += estimate.bound_ns * self.drift.abs();
        }
        for part in 0..=20 {
            let at = first + (last - first) * f64::from(part) / 20.0;
            let error = (estimate.offset_at(at) - self.offset_at(at - self.our_zero_ns)).abs();
            prop_assert!(error <= estimate.bound_ns + rounding, "{} ns off at {}, {:?}", error, at, estimate);
        }
        for exchange in exchanges {
            let (to_peer, from_peer) = one_way(exchange, estimate);
            prop_assert_eq!(to_peer + from_peer, exchange.rtt_ns());
            let least = -estimate.bound_ns - rounding;
            prop_assert!(to_peer >= least && from_peer >= least, "{} {}", to_peer, from_peer);
        }
        Ok(())
    }
}

fn truths() -> impl Strategy<Value = Truth> {
    let zero = || prop_oneof![Just(0.0), 0.0..1e9, 0.0..1e15];
    (zero(), zero(), -1e9..1e9, -200e-6..200e-6, 0.0..5e3, 0.0..5e3, 1.0..1e4, 0.0..0.2).prop_map(
        |(our_zero_ns, peer_zero_ns, offset_ns, drift, to_peer_ns, from_peer_ns, jitter_ns, outliers)| {
            Truth {
                our_zero_ns,
                peer_zero_ns,
                offset_ns,
                drift,
                to_peer_ns,
                from_peer_ns,
                jitter_ns,
                outliers,
            }
        },
    )
}

fn reading() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), -10.0..10.0, -1e4..1e4, -1e18..1e18, any::<f64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_truth_lies_within_the_bound(
        truth in truths(),
        count in prop_oneof![4 => 1_usize..100, 3 => 100_usize..1000, 1 => 1000_usize..10_000],
        length_ns in prop_oneof![Just(0.0), 0.0..1e6, 1e6..6e10],
        seed: u64,
    ) {
        let exchanges = truth.exchanges(count, length_ns, seed);
        let estimate = estimate(&exchanges).unwrap();
        truth.check(&exchanges, &estimate)?;
        prop_assert!(estimate.drift_ppm.abs() <= DRIFT_MAX_PPM * 1.002, "{}", estimate.drift_ppm);
        if length_ns > 1e9 && count > 2 {
            // Two ends that are each known within the bound, a second apart at least.
            let error = (estimate.drift_ppm - truth.drift * 1e6).abs();
            prop_assert!(error <= 2.01 * estimate.bound_ns / length_ns * 1e6 + 1e-3, "{} ppm", error);
        }
    }

    #[test]
    fn without_drift_many_exchanges_know_the_offset_to_half_the_shortest_rtt(
        mut truth in truths(), length_ns in 1e6..6e10, seed: u64,
    ) {
        truth.drift = 0.0;
        let exchanges = truth.exchanges(3000, length_ns, seed);
        let estimate = estimate(&exchanges).unwrap();
        truth.check(&exchanges, &estimate)?;
        let shortest = exchanges.iter().map(Exchange::rtt_ns).fold(f64::MAX, f64::min);
        // An end of the span is known by the exchanges near it, of which the quickest is some tens away: what the
        // drift they leave open adds in between, and the rounding of large readings.
        let quickest = |some: &[Exchange]| some.iter().map(Exchange::rtt_ns).fold(f64::MAX, f64::min);
        let ends = quickest(&exchanges[..40]).max(quickest(&exchanges[2960..]));
        let epsilon = (ends - shortest) / 2.0 + 0.05 * shortest + 2.0;
        prop_assert!(estimate.bound_ns <= shortest / 2.0 + epsilon, "{:?}, shortest {}", estimate, shortest);
    }

    #[test]
    fn one_exchange_gives_half_its_rtt(
        sent in prop_oneof![Just(0.0), 0.0..1e15], rtt in 0.0..1e7_f64, peer in 0.0..1e15,
    ) {
        let exchange = Exchange { sent_ns: sent, peer_ns: peer, seen_ns: sent + rtt };
        let estimate = estimate(&[exchange]).unwrap();
        prop_assert_eq!(estimate.bound_ns, exchange.rtt_ns() / 2.0);
        prop_assert_eq!((estimate.drift_ppm, estimate.exchanges), (0.0, 1));
        let (to_peer, from_peer) = one_way(&exchange, &estimate);
        prop_assert_eq!(to_peer + from_peer, exchange.rtt_ns());
        prop_assert!((to_peer - from_peer).abs() <= 4.0 * f64::EPSILON * sent.max(1.0));
    }

    #[test]
    fn whatever_the_readings_there_is_an_answer_or_an_error(
        mut readings in prop::collection::vec((reading(), reading(), reading()), 0..50),
    ) {
        // In half the cases the right way round, so that more than a few get past the first look.
        if readings.len() % 2 == 0 {
            readings.iter_mut().for_each(|r| (r.0, r.2) = (r.0.min(r.2), r.0.max(r.2)));
        }
        let exchanges: Vec<_> =
            readings.iter().map(|&(sent_ns, peer_ns, seen_ns)| Exchange { sent_ns, peer_ns, seen_ns }).collect();
        if let Ok(estimate) = estimate(&exchanges) {
            prop_assert!(estimate.bound_ns >= 0.0 && estimate.offset_ns.is_finite(), "{:?}", estimate);
            prop_assert!(estimate.drift_ppm.abs() <= DRIFT_MAX_PPM * 1.002, "{:?}", estimate);
        }
    }
}

fn steady() -> Truth {
    Truth {
        our_zero_ns: 5e12,
        peer_zero_ns: 7e14,
        offset_ns: 123.0,
        drift: 50e-6,
        to_peer_ns: 200.0,
        from_peer_ns: 300.0,
        jitter_ns: 100.0,
        outliers: 0.01,
    }
}

#[test]
fn known_lines_give_the_known_polygon() {
    // Two exchanges of 100 ns, 1 ms apart on the peer's clock, offset 0 at both middles: any line within 50 ns of
    // zero at both ends, so offset 0, no drift, bound 50 ns (and the drift of 100 ppm that is left open adds 1e-4).
    let exchange = |at: f64| Exchange { sent_ns: at - 50.0, peer_ns: at, seen_ns: at + 50.0 };
    let estimate = estimate(&[exchange(0.0), exchange(1e6)]).unwrap();
    assert!(estimate.offset_ns.abs() < 1e-6 && estimate.drift_ppm.abs() < 1e-6, "{estimate:?}");
    assert!((estimate.bound_ns - 50.0 / (1.0 - 1e-4)).abs() < 1e-6, "{estimate:?}");
    assert!((estimate.reference_ns - 5e5).abs() < 1e-6);
}

#[test]
fn unequal_delays_sharpen_one_another() {
    // One exchange whose way there took no time and one whose way back took none pin the offset down together.
    let quick_there = Exchange { sent_ns: 0.0, peer_ns: 1000.0, seen_ns: 400.0 };
    let quick_back = Exchange { sent_ns: -400.0, peer_ns: 1000.0, seen_ns: 0.0 };
    let estimate = estimate(&[quick_there, quick_back]).unwrap();
    assert_eq!((estimate.offset_ns, estimate.bound_ns), (1000.0, 0.0));
    assert_eq!(one_way(&quick_there, &estimate), (0.0, 400.0));
    assert_eq!(one_way(&quick_back, &estimate), (400.0, 0.0));
}

#[test]
fn the_order_of_the_exchanges_does_not_matter() {
    let mut exchanges = steady().exchanges(300, 1e9, 1);
    let forwards = estimate(&exchanges).unwrap();
    exchanges.reverse();
    let backwards = estimate(&exchanges).unwrap();
    assert!((forwards.offset_at(6e12) - backwards.offset_at(6e12)).abs() < 1.0);
    assert!((forwards.bound_ns - backwards.bound_ns).abs() < 0.5, "{forwards:?} {backwards:?}");
}

#[test]
fn a_stepped_clock_is_refused_with_the_size_of_the_contradiction() {
    let mut exchanges = steady().exchanges(300, 1e9, 1);
    for exchange in &mut exchanges[100..200] {
        exchange.peer_ns += 10_000.0;
    }
    // The middle burst is 10 us above the line of the two others, whose band is 500 ns high: the best line is half
    // of what remains away from both.
    let Err(OffsetError::Inconsistent { off_by_ns }) = estimate(&exchanges) else {
        panic!("a step was not noticed");
    };
    assert!((off_by_ns - (10_000.0 - 500.0) / 2.0).abs() < 100.0, "{off_by_ns}");
}

#[test]
fn a_changing_rate_is_refused() {
    let exchanges: Vec<_> = steady()
        .exchanges(300, 1e9, 1)
        .into_iter()
        .map(|e| {
            let seconds = (e.sent_ns - 5e12) * 1e-9;
            Exchange { peer_ns: e.peer_ns + 20_000.0 * seconds * seconds, ..e }
        })
        .collect();
    assert!(matches!(estimate(&exchanges), Err(OffsetError::Inconsistent { .. })));
}

#[test]
fn a_rate_beyond_belief_is_refused() {
    let exchanges = Truth { drift: 0.01, ..steady() }.exchanges(300, 1e9, 1);
    let error = estimate(&exchanges).unwrap_err();
    assert!(matches!(error, OffsetError::Inconsistent { off_by_ns } if off_by_ns > 1e6), "{error}");
}

#[test]
fn nonsense_is_refused_by_number() {
    assert_eq!(estimate(&[]), Err(OffsetError::Empty));
    let right = Exchange { sent_ns: 0.0, peer_ns: 5.0, seen_ns: 10.0 };
    for wrong in [
        Exchange { seen_ns: -1.0, ..right },
        Exchange { peer_ns: f64::NAN, ..right },
        Exchange { peer_ns: f64::INFINITY, ..right },
        Exchange { seen_ns: f64::INFINITY, ..right },
        Exchange { peer_ns: 1e19, ..right },
    ] {
        let error = estimate(&[right, wrong]).unwrap_err();
        assert!(matches!(error, OffsetError::Malformed { index: 1, .. }), "{error}");
    }
}

/// A peer that bends its clock within the RTT makes every exchange a corner of the feasible set. It costs no more
/// than any other.
#[test]
fn a_peer_that_wants_many_corners_gets_an_answer_too() {
    let exchanges: Vec<_> = (0..100_000)
        .map(|i| {
            let (at, bend) = (f64::from(i) * 1000.0, f64::from(i - 50_000) / 50_000.0);
            Exchange { sent_ns: at, peer_ns: at + 400.0 * bend * bend, seen_ns: at + 500.0 }
        })
        .collect();
    let estimate = estimate(&exchanges).unwrap();
    assert!(estimate.bound_ns <= 250.0 * 1.01, "{estimate:?}");
}
