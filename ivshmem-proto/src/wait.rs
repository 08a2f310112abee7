//! Bounded waiting: spin on a condition, and look at the clock only now and then.

use crate::adaptive::{LOOKS_PER_READING, look};
use crate::clock::{Clock, Ticks};

/// Looks at the condition between two looks at the clock: at a few nanoseconds a look, a deadline is noticed
/// within microseconds and costs the tight loop nothing.
pub const SPINS_PER_CLOCK_LOOK: u32 = 256;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited<T> {
    /// The condition came true.
    Done(T),
    /// The deadline passed first.
    TimedOut,
    /// `meanwhile` said stop.
    Stopped,
}

/// Spins until `ready` yields a value, `deadline` passes, or `meanwhile` (called every
/// [`SPINS_PER_CLOCK_LOOK`] looks, with the current time) returns false.
#[inline(always)]
pub fn wait_until<T>(
    clock: &Clock,
    deadline: Ticks,
    mut ready: impl FnMut() -> Option<T>,
    mut meanwhile: impl FnMut(Ticks) -> bool,
) -> Waited<T> {
    loop {
        for _ in 0..SPINS_PER_CLOCK_LOOK {
            if let Some(value) = ready() {
                return Waited::Done(value);
            }
        }
        let now = clock.now();
        if now >= deadline {
            // One last look: the deadline may have passed while this thread was descheduled.
            return ready().map_or(Waited::TimedOut, Waited::Done);
        }
        if !meanwhile(now) {
            return Waited::Stopped;
        }
    }
}

/// Looks until `until`, at least once, before whoever waits goes to sleep; yields when it was found, too. Such a look is short:
/// the clock is read every [`LOOKS_PER_READING`] looks.
#[inline(always)]
pub fn look_until<T>(
    clock: &Clock,
    until: Ticks,
    mut ready: impl FnMut() -> Option<T>,
) -> Option<(T, Ticks)> {
    loop {
        let found = look(LOOKS_PER_READING, &mut ready);
        let now = clock.now();
        if let Some(found) = found {
            return Some((found, now));
        }
        if now >= until {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ClockSource;
    use std::time::Duration;

    #[test]
    fn a_look_before_sleeping_is_one_at_least_and_ends_in_time() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let begun = clock.now();
        let (found, seen) = look_until(&clock, Ticks(0), || Some(7)).unwrap();
        assert!(found == 7 && seen >= begun);
        let soon = clock.after(begun, Duration::from_millis(2));
        assert_eq!(look_until(&clock, soon, || None::<()>), None);
        assert!(clock.now() >= soon);
    }

    #[test]
    fn ends_by_condition_by_deadline_or_by_request() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let soon = clock.after(clock.now(), Duration::from_millis(2));
        let never = Ticks(u64::MAX);
        let mut looks = 0;
        let third = wait_until(
            &clock,
            never,
            || {
                looks += 1;
                (looks == 3).then_some(looks)
            },
            |_| true,
        );
        assert_eq!(third, Waited::Done(3));
        assert_eq!(wait_until(&clock, soon, || None::<()>, |_| true), Waited::TimedOut);
        assert!(clock.now() >= soon);
        assert_eq!(wait_until(&clock, never, || None::<()>, |_| false), Waited::Stopped);
    }
}
