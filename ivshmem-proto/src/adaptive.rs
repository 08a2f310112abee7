//! How long to look before sleeping, learnt from how long recent waits were.
//!
//! Looking costs the CPU as long as it lasts, sleeping costs a wake-up. Whoever looks as long as a wake-up costs and then
//! sleeps never pays more than twice the least possible (Karlin et al., "Competitive snoopy caching", 1988); whoever knows
//! that what he waits for mostly comes later does not look at all. The estimate is a quantile of recent waits that a longer
//! wait raises by a quarter and a shorter one lowers by a sixteenth: in the long run four waits of five are shorter.

/// What a wake-up costs, roughly, in nanoseconds: from tens of microseconds on a host to a hundred in a guest. Nobody looks
/// for longer.
pub const WAKE_NS: u64 = 100_000;
/// How long to look in any case: less than the system calls of a sleep take.
pub const LOOK_NS_MIN: u64 = 2_000;
/// How long to look at the least where waits are short: a timer's tick or an interrupt on the other side is no reason to sleep.
pub const LOOK_NS_BUSY: u64 = 20_000;
/// Of so many sleeps in a row the last is preceded by a long look. A sleeper sees waits with a wake-up's length added, and
/// would never find out that they have become short.
const PROBE_EVERY: u32 = 32;
/// The estimate's upper end: from here it is below [`WAKE_NS`] after a dozen shorter waits.
const ESTIMATE_NS_MAX: u64 = 2 * WAKE_NS;

/// Looks before the clock is read for the first time, and before it is looked, after a full fence, whether the other side is
/// just falling asleep. Messages that follow each other at once are found by these looks, for which nothing but the look is
/// paid; they take about a microsecond, so that whoever they keep waiting for a bell does not notice.
pub const FIRST_LOOKS: u32 = 512;
/// Looks between two readings of the clock after that: a reading costs as much as several looks, and under TCG many.
pub const LOOKS_PER_READING: u32 = 16;
/// So many short waits bring any estimate down to nothing: 15/16 to the power of this, times [`ESTIMATE_NS_MAX`].
const FORGETTING: u32 = 192;

/// Looks so many times; yields what was found.
#[inline(always)]
pub fn look<T>(times: u32, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    (0..times).find_map(|_| ready())
}

/// The state of one waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptive {
    estimate_ns: u64,
    sleeps: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        // To begin with, look: the first waits tell.
        Self { estimate_ns: WAKE_NS / 2, sleeps: 0 }
    }
}

impl Adaptive {
    /// How long to look before sleeping this time, in nanoseconds: twice the estimate, from [`LOOK_NS_BUSY`] to
    /// [`WAKE_NS`], and as little as possible where waits are longer than a wake-up.
    #[must_use]
    #[inline]
    pub fn look_ns(&self) -> u64 {
        if self.sleeps % PROBE_EVERY == PROBE_EVERY - 1 {
            return WAKE_NS;
        }
        if self.estimate_ns > WAKE_NS {
            LOOK_NS_MIN
        } else {
            (2 * self.estimate_ns).clamp(LOOK_NS_BUSY, WAKE_NS)
        }
    }

    /// So many waits ended within their [`FIRST_LOOKS`].
    #[inline]
    pub fn learn_first_looks(&mut self, waits: u32) {
        for _ in 0..waits.min(FORGETTING) {
            self.learn(0, false);
        }
    }

    /// A wait of `wait_ns` is over, and did or did not end with a sleep.
    #[inline]
    pub fn learn(&mut self, wait_ns: u64, slept: bool) {
        let is_probe = self.sleeps % PROBE_EVERY == PROBE_EVERY - 1;
        self.sleeps = if slept { self.sleeps.wrapping_add(1) } else { 0 };
        self.estimate_ns = if is_probe && !slept {
            // The long look has found what sleeps could not show.
            wait_ns
        } else if wait_ns > self.estimate_ns {
            self.estimate_ns + self.estimate_ns / 4 + 1
        } else {
            self.estimate_ns - self.estimate_ns / 16
        }
        .clamp(1, ESTIMATE_NS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Waits as they come to a waiter whose wake-ups take `wake_ns`; returns how many ended with a sleep, and the sum of
    /// what was looked in vain and of wake-ups.
    fn run(adaptive: &mut Adaptive, waits_ns: impl IntoIterator<Item = u64>, wake_ns: u64) -> (usize, u64) {
        let (mut slept, mut cost_ns) = (0, 0);
        for wait_ns in waits_ns {
            let look_ns = adaptive.look_ns();
            if wait_ns <= look_ns {
                adaptive.learn(wait_ns, false);
                cost_ns += wait_ns;
            } else {
                adaptive.learn(wait_ns.max(look_ns) + wake_ns, true);
                (slept, cost_ns) = (slept + 1, cost_ns + look_ns + wake_ns);
            }
        }
        (slept, cost_ns)
    }

    #[test]
    fn short_waits_are_looked_through_and_long_ones_slept() {
        let mut adaptive = Adaptive::default();
        assert_eq!(adaptive.look_ns(), WAKE_NS);
        assert_eq!(run(&mut adaptive, [400; 1000], 50_000).0, 0);
        assert_eq!(adaptive.look_ns(), LOOK_NS_BUSY);
        assert_eq!(run(&mut adaptive, [LOOK_NS_BUSY; 1000], 50_000).0, 0);
        assert!((35_000..WAKE_NS).contains(&adaptive.look_ns()), "{}", adaptive.look_ns());
        let (slept, _) = run(&mut adaptive, [1_000_000; 1000], 50_000);
        assert_eq!((slept, adaptive.look_ns()), (1000, LOOK_NS_MIN));
    }

    #[test]
    fn a_sleeper_finds_out_that_waits_became_short_even_if_wake_ups_are_slow() {
        let mut adaptive = Adaptive::default();
        run(&mut adaptive, [1_000_000; 1000], 500_000);
        assert_eq!(adaptive.look_ns(), LOOK_NS_MIN);
        let (slept, _) = run(&mut adaptive, [20_000; 1000], 500_000);
        assert!(slept <= PROBE_EVERY as usize, "{slept}");
        assert_eq!(run(&mut adaptive, [20_000; 1000], 500_000).0, 0);
    }

    #[test]
    fn the_estimate_is_a_quantile() {
        // 1 to 10 us, equally often: four of five are at most 8 us.
        let mut adaptive = Adaptive::default();
        let waits = (0..10_000u64).map(|i| 1_000 + i * 7_919 % 9_001);
        let mut sum = 0;
        for wait_ns in waits {
            adaptive.learn(wait_ns, false);
            sum += adaptive.estimate_ns;
        }
        let mean = sum / 10_000;
        assert!((6_500..9_500).contains(&mean), "{mean}");
    }

    #[test]
    fn waits_around_the_budget_cost_at_most_about_what_always_looking_or_always_sleeping_would() {
        for wait_ns in [1_000, 10_000, 45_000, 55_000, 90_000, 110_000, 150_000, 400_000] {
            let (_, cost_ns) = run(&mut Adaptive::default(), [wait_ns; 10_000], WAKE_NS);
            let least = wait_ns.min(WAKE_NS) * 10_000;
            assert!(cost_ns <= 2 * least + 5_000_000, "{wait_ns}: {cost_ns} against {least}");
        }
    }

    #[test]
    fn waits_that_end_at_once_are_learnt_together_as_one_by_one() {
        for count in [0, 1, 7, 192, 193, 100_000] {
            let mut adaptive = Adaptive::default();
            run(&mut adaptive, [1_000_000; 100], 50_000);
            let (mut together, mut one_by_one) = (adaptive, adaptive);
            together.learn_first_looks(count);
            (0..count).for_each(|_| one_by_one.learn(0, false));
            assert_eq!(together, one_by_one, "{count}");
        }
    }

    #[test]
    fn looks_end_with_what_was_looked_for() {
        let mut looks = 0;
        let mut third = || {
            looks += 1;
            (looks == 3).then_some('x')
        };
        assert_eq!((look(2, &mut third), look(9, &mut third), looks), (None, Some('x'), 3));
    }

    proptest! {
        #[test]
        fn a_budget_is_always_within_its_bounds(waits in proptest::collection::vec((any::<u64>(), any::<bool>()), 0..300)) {
            let mut adaptive = Adaptive::default();
            for (wait_ns, slept) in waits {
                adaptive.learn(wait_ns, slept);
                prop_assert!((LOOK_NS_MIN..=WAKE_NS).contains(&adaptive.look_ns()));
                prop_assert!((1..=ESTIMATE_NS_MAX).contains(&adaptive.estimate_ns));
            }
        }

        #[test]
        fn waits_beyond_a_wake_up_are_hardly_looked_for(wait_ns in 2 * WAKE_NS..10 * WAKE_NS, start in 1..ESTIMATE_NS_MAX) {
            let mut adaptive = Adaptive { estimate_ns: start, sleeps: 0 };
            run(&mut adaptive, [wait_ns; 100], 10_000);
            let (_, cost_ns) = run(&mut adaptive, [wait_ns; 320], 0);
            // Of 320 looks ten are long.
            prop_assert!(cost_ns <= 310 * LOOK_NS_MIN + 11 * WAKE_NS, "{}", cost_ns);
        }
    }
}
