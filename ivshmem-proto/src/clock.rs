//! The cheapest monotonic clock there is, with its resolution and overhead measured.
//!
//! The time-stamp counter is used when CPUID calls it invariant (constant rate, never stopping; Intel SDM vol. 3,
//! "Invariant TSC"), calibrated against CLOCK_MONOTONIC; otherwise CLOCK_MONOTONIC itself. Nothing is ever
//! subtracted for the clock's own cost: it is reported beside the results instead.
#![allow(unsafe_code, reason = "one of the three modules that need instructions without a safe wrapper")]

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::wire::ClockSource;

/// Readings per probe of resolution and overhead.
const PROBE_READINGS: usize = 2000;
/// Length of the calibration of the time-stamp counter.
const CALIBRATION: Duration = Duration::from_millis(20);

/// A reading of a [`Clock`]: only differences of readings of the same clock mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u64);

/// A calibrated clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    source: ClockSource,
    frequency_hz: f64,
    resolution_ns: f64,
    overhead_ns: f64,
}

impl Clock {
    /// Chooses and measures a clock; takes about 20 ms.
    #[must_use]
    pub fn calibrated() -> Self {
        let source = if invariant_tsc() { ClockSource::Tsc } else { ClockSource::ClockMonotonic };
        Self::of(source)
    }

    /// The clock of the given source, measured.
    #[must_use]
    pub fn of(source: ClockSource) -> Self {
        let frequency_hz = match source {
            ClockSource::Tsc => calibrate_tsc(CALIBRATION),
            ClockSource::ClockMonotonic => 1e9,
        };
        let mut clock = Self { source, frequency_hz, resolution_ns: 0.0, overhead_ns: 0.0 };
        let readings: Vec<Ticks> = (0..PROBE_READINGS).map(|_| clock.now()).collect();
        let steps = || readings.windows(2).map(|pair| clock.ns_f64(pair[0], pair[1]));
        // The smallest step that is a step at all, and the typical cost of one reading.
        let resolution = steps().filter(|&ns| ns > 0.0).fold(f64::INFINITY, f64::min);
        let tick = 1e9 / frequency_hz;
        clock.resolution_ns = if source == ClockSource::Tsc { tick } else { resolution.max(tick) };
        clock.overhead_ns =
            clock.ns_f64(readings[0], readings[PROBE_READINGS - 1]) / (PROBE_READINGS - 1) as f64;
        clock
    }

    /// Reads the clock, after every earlier load has completed.
    #[must_use]
    #[inline(always)]
    pub fn now(&self) -> Ticks {
        match self.source {
            ClockSource::Tsc => Ticks(read_tsc()),
            ClockSource::ClockMonotonic => Ticks(monotonic_ns()),
        }
    }

    /// Nanoseconds from `from` to `to`; zero when they are in the wrong order.
    #[must_use]
    pub fn ns(&self, from: Ticks, to: Ticks) -> u64 {
        self.ns_f64(from, to).round() as u64
    }

    fn ns_f64(&self, from: Ticks, to: Ticks) -> f64 {
        to.0.saturating_sub(from.0) as f64 * 1e9 / self.frequency_hz
    }

    /// The reading `wait` after `from`.
    #[must_use]
    pub fn after(&self, from: Ticks, wait: Duration) -> Ticks {
        Ticks(from.0.saturating_add((wait.as_secs_f64() * self.frequency_hz) as u64))
    }

    /// What ticks.
    #[must_use]
    pub fn source(&self) -> ClockSource {
        self.source
    }

    /// Ticks per second.
    #[must_use]
    pub fn frequency_hz(&self) -> f64 {
        self.frequency_hz
    }

    /// The smallest difference the clock can show, in nanoseconds.
    #[must_use]
    pub fn resolution_ns(&self) -> f64 {
        self.resolution_ns
    }

    /// The mean cost of one reading, in nanoseconds.
    #[must_use]
    pub fn overhead_ns(&self) -> f64 {
        self.overhead_ns
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
#[must_use]
#[inline]
pub fn monotonic_ns() -> u64 {
    // CLOCK_MONOTONIC cannot fail on Linux (clock_gettime(2)).
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// Counter ticks per second, from two brackets `length` apart. Each bracket keeps the tightest of several reads.
fn calibrate_tsc(length: Duration) -> f64 {
    let bracket = || {
        (0..16)
            .map(|_| {
                let before = read_tsc();
                let ns = monotonic_ns();
                let after = read_tsc();
                (after.wrapping_sub(before), before.wrapping_add(after.wrapping_sub(before) / 2), ns)
            })
            .min_by_key(|&(width, ..)| width)
            .map_or((0, 0), |(_, ticks, ns)| (ticks, ns))
    };
    let (ticks_0, ns_0) = bracket();
    while monotonic_ns() < ns_0 + length.as_nanos() as u64 {
        std::hint::spin_loop();
    }
    let (ticks_1, ns_1) = bracket();
    ticks_1.wrapping_sub(ticks_0) as f64 * 1e9 / (ns_1 - ns_0) as f64
}

#[cfg(target_arch = "x86_64")]
fn invariant_tsc() -> bool {
    use std::arch::x86_64::__cpuid;
    // CPUID is part of x86-64. Leaf 0x80000007, EDX bit 8 is "Invariant TSC".
    __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn invariant_tsc() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn read_tsc() -> u64 {
    // SAFETY: `lfence` and `rdtsc` are part of x86-64 and touch no memory. The fence makes earlier loads (the
    // look at the acknowledgement) complete before the counter is read.
    unsafe {
        std::arch::x86_64::_mm_lfence();
        std::arch::x86_64::_rdtsc()
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn read_tsc() -> u64 {
    monotonic_ns()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_agrees_with_the_system_clock_over_a_while() {
        for &source in ClockSource::ALL {
            if source == ClockSource::Tsc && !invariant_tsc() {
                continue;
            }
            let clock = Clock::of(source);
            // Bracketed on both sides, so that being descheduled anywhere cannot fail the test.
            let (before, start, after) = (monotonic_ns(), clock.now(), monotonic_ns());
            while monotonic_ns() < after + 30_000_000 {}
            let (sooner, end, later) = (monotonic_ns(), clock.now(), monotonic_ns());
            let ns = clock.ns(start, end) as f64;
            assert!(ns > (sooner - after) as f64 * 0.98, "{source}: {ns}");
            assert!(ns < (later - before) as f64 * 1.02, "{source}: {ns}");
            assert!(clock.overhead_ns() > 0.0 && clock.resolution_ns() > 0.0, "{clock:?}");
        }
    }

    #[test]
    fn readings_in_the_wrong_order_are_zero_apart_and_deadlines_do_not_wrap() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        assert_eq!(clock.ns(Ticks(10), Ticks(5)), 0);
        assert_eq!(clock.ns(Ticks(5), Ticks(10)), 5);
        assert_eq!(clock.after(Ticks(1), Duration::from_micros(1)), Ticks(1001));
        assert_eq!(clock.after(Ticks(u64::MAX), Duration::from_secs(1)), Ticks(u64::MAX));
    }
}
