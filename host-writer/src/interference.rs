//! What disturbed the run: stolen time, preemptions, moments when this thread or one that answers it was not running, and a
//! CPU that was made to run slower.

use std::fs;

use ivshmem_proto::clock::{Clock, Ticks};
use nix::sched::sched_getcpu;
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

use crate::frequency::{frequency_mhz, throttle_events};
use crate::run_delay::{Answering, RunDelays};

/// A pause between two looks at the clock that no look itself can explain.
const GAP_NS: f64 = 20_000.0;
/// Share of the wall time stolen by the hypervisor above which a run is dirty.
const STEAL_SHARE_MAX: f64 = 0.01;
/// Share of the wall time lost in clock gaps above which a run is dirty.
const GAP_SHARE_MAX: f64 = 0.02;
/// Share of the wall time that a thread was ready and had no CPU above which a run is dirty. A vCPU's preemptions are no
/// measure: QEMU's main thread shares its CPU and wakes up some times for each tick of the guest's timer, for microseconds.
const RUN_DELAY_SHARE_MAX: f64 = 0.02;
/// Preemptions a second above which a run is dirty.
const PREEMPTIONS_PER_S_MAX: f64 = 50.0;
/// Share of its frequency that the CPU may lose during a run before it is dirty.
const FREQUENCY_DROP_MAX: f64 = 0.10;

/// Counts gaps in the time of a spinning thread. Costs nothing in the tight loop: it is told of clock readings
/// that are made anyway.
#[derive(Debug, Clone, Copy, Default)]
pub struct GapWatch {
    threshold_ticks: u64,
    count: u64,
    sum_ticks: u64,
    largest_ticks: u64,
    largest_since_ticks: u64,
}

impl GapWatch {
    /// A watch over readings of `clock`.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self { threshold_ticks: (GAP_NS * clock.frequency_hz() / 1e9) as u64, ..Self::default() }
    }

    /// Two readings between which this thread did nothing but spin.
    #[inline(always)]
    pub fn look(&mut self, last: Ticks, now: Ticks) {
        let gap = now.0.saturating_sub(last.0);
        if gap > self.threshold_ticks {
            self.count += 1;
            self.sum_ticks += gap;
            self.largest_ticks = self.largest_ticks.max(gap);
            self.largest_since_ticks = self.largest_since_ticks.max(gap);
        }
    }

    /// The largest gap since the last call, in ticks; zero when none was longer than 20 µs.
    #[inline]
    pub fn take_largest_since(&mut self) -> u64 {
        std::mem::take(&mut self.largest_since_ticks)
    }
}

/// How often the calling thread was preempted so far. A system call: not for inside a timed section.
#[must_use]
pub fn switches_now() -> u64 {
    getrusage(UsageWho::RUSAGE_THREAD)
        .map_or(0, |usage| usage.involuntary_context_switches().try_into().unwrap_or(0))
}

/// Counters of the operating system at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    steal_ticks: u64,
    involuntary_switches: u64,
    cpu: Option<usize>,
    frequency_mhz: Option<f64>,
    throttle_events: Option<u64>,
    delays: RunDelays,
}

impl Counters {
    /// Reads them before a run, for the calling thread, the CPU it runs on (pin it first), the threads that are `answering`,
    /// and the whole machine. The threads come last, so that what delays this reading is not taken for a part of the run.
    #[must_use]
    pub fn before(answering: &Answering) -> Self {
        let machine = Self::of_the_machine();
        Self { delays: RunDelays::now(answering), ..machine }
    }

    /// The same after it, the threads first.
    #[must_use]
    pub fn after(answering: &Answering) -> Self {
        let delays = RunDelays::now(answering);
        Self { delays, ..Self::of_the_machine() }
    }

    fn of_the_machine() -> Self {
        // The frequency first: at the end of a run it is then still that of the run.
        let cpu = sched_getcpu().ok();
        let frequency_mhz = cpu.and_then(frequency_mhz);
        let steal_ticks = fs::read_to_string("/proc/stat").ok().and_then(|text| steal_in(&text)).unwrap_or(0);
        let involuntary_switches = switches_now();
        let throttle_events = throttle_events();
        let delays = RunDelays::default();
        Self { steal_ticks, involuntary_switches, cpu, frequency_mhz, throttle_events, delays }
    }
}

/// The `steal` column of the line `cpu` in /proc/stat, in USER_HZ ticks (proc(5)).
fn steal_in(stat: &str) -> Option<u64> {
    stat.lines().find(|line| line.starts_with("cpu "))?.split_whitespace().nth(8)?.parse().ok()
}

/// What was seen, and whether it is too much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interference {
    /// Times this thread was preempted.
    pub involuntary_context_switches: u64,
    /// How long it was ready to run and had no CPU, in nanoseconds; `None` where the kernel does not say.
    pub run_delay_ns: Option<u64>,
    /// The same of the thread that answers, of a guest that is a process of this host (the sum, if there are several).
    pub guest_run_delay_ns: Option<u64>,
    /// Times the VM's vCPU threads were preempted; `None` without a VM that `provision` keeps.
    pub vcpu_involuntary_context_switches: Option<u64>,
    /// How long they were ready to run and had no CPU, in nanoseconds.
    pub vcpu_run_delay_ns: Option<u64>,
    /// Time the hypervisor took from this machine's CPUs, in milliseconds.
    pub steal_ms: f64,
    /// Moments of more than 20 µs between two looks at the clock.
    pub clock_gaps: u64,
    /// Their sum in nanoseconds.
    pub clock_gaps_sum_ns: u64,
    /// The longest in nanoseconds.
    pub largest_clock_gap_ns: u64,
    /// Frequency of this thread's CPU before the run in MHz; `None` where it cannot be read.
    pub frequency_mhz_before: Option<f64>,
    /// The same after the run.
    pub frequency_mhz_after: Option<f64>,
    /// Times that CPUs were slowed down for their temperature or power; `None` where no CPU counts.
    pub throttle_events: Option<u64>,
    /// Whether any of it exceeds its threshold.
    pub dirty: bool,
    /// Which, in words.
    pub reasons: Vec<String>,
}

impl Interference {
    /// What happened between two readings, `wall_s` apart.
    #[must_use]
    pub fn between(before: Counters, after: Counters, gaps: GapWatch, clock: &Clock, wall_s: f64) -> Self {
        let ns = |ticks| clock.ns(Ticks(0), Ticks(ticks));
        // USER_HZ is 100 on every Linux ABI that Rust supports (see time(7)).
        let steal_ms = after.steal_ticks.saturating_sub(before.steal_ticks) as f64 * 10.0;
        let switches = after.involuntary_switches.saturating_sub(before.involuntary_switches);
        let mut reasons = Vec::new();
        let mut check = |share: f64, limit: f64, what: &str| {
            if share > limit {
                reasons.push(format!(
                    "{what}: {:.1} % of the run, limit {:.0} %",
                    share * 100.0,
                    limit * 100.0
                ));
            }
        };
        check(steal_ms / 1e3 / wall_s, STEAL_SHARE_MAX, "time stolen by the hypervisor");
        check(ns(gaps.sum_ticks) as f64 / 1e9 / wall_s, GAP_SHARE_MAX, "clock gaps");
        let delays = after.delays.since(&before.delays);
        for (whose, ns) in delays.known() {
            check(ns as f64 / 1e9 / wall_s, RUN_DELAY_SHARE_MAX, &format!("{whose} ready and without a CPU"));
        }
        let rate = switches as f64 / wall_s;
        if rate > PREEMPTIONS_PER_S_MAX {
            reasons.push(format!("preempted {rate:.0} times a second, limit {PREEMPTIONS_PER_S_MAX}"));
        }
        // Two CPUs may differ for other reasons.
        let (was, is) = (before.frequency_mhz, after.frequency_mhz);
        if let (Some(was), Some(is)) = (was, is)
            && before.cpu == after.cpu
            && is < was * (1.0 - FREQUENCY_DROP_MAX)
        {
            reasons.push(format!(
                "the CPU fell from {was:.0} to {is:.0} MHz, limit {:.0} %",
                FREQUENCY_DROP_MAX * 100.0
            ));
        }
        let throttled = before.throttle_events.zip(after.throttle_events);
        let throttle_events = throttled.map(|(was, is)| is.saturating_sub(was));
        if let Some(events @ 1..) = throttle_events {
            reasons.push(format!("CPUs slowed down {events} times for their temperature or power, limit 0"));
        }
        Self {
            involuntary_context_switches: switches,
            run_delay_ns: delays.own_ns,
            guest_run_delay_ns: delays.guest_ns,
            vcpu_involuntary_context_switches: delays.vcpu.map(|vcpu| vcpu.involuntary_switches),
            vcpu_run_delay_ns: delays.vcpu.map(|vcpu| vcpu.run_delay_ns),
            steal_ms,
            clock_gaps: gaps.count,
            clock_gaps_sum_ns: ns(gaps.sum_ticks),
            largest_clock_gap_ns: ns(gaps.largest_ticks),
            frequency_mhz_before: was,
            frequency_mhz_after: is,
            throttle_events,
            dirty: !reasons.is_empty(),
            reasons,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcpu::Delays;
    use ivshmem_proto::wire::ClockSource;

    #[test]
    fn finds_the_steal_column() {
        let text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(steal_in(text), Some(80));
        assert_eq!(steal_in("cpu 1 2"), None);
    }

    #[test]
    fn only_gaps_above_the_threshold_count() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let mut gaps = GapWatch::new(&clock);
        gaps.look(Ticks(0), Ticks(20_000));
        gaps.look(Ticks(0), Ticks(30_000));
        gaps.look(Ticks(0), Ticks(50_000));
        let none = Counters::default();
        let seen = Interference::between(none, none, gaps, &clock, 1.0);
        assert_eq!((seen.clock_gaps, seen.clock_gaps_sum_ns, seen.largest_clock_gap_ns), (2, 80_000, 50_000));
        assert!(!seen.dirty, "{seen:?}");
    }

    #[test]
    fn too_much_of_anything_makes_a_run_dirty_and_says_what() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let before = Counters::default();
        let after = Counters { steal_ticks: 5, involuntary_switches: 100, ..before };
        let seen = Interference::between(before, after, GapWatch::new(&clock), &clock, 1.0);
        assert!(seen.dirty);
        assert_eq!(
            seen.reasons,
            [
                "time stolen by the hypervisor: 5.0 % of the run, limit 1 %",
                "preempted 100 times a second, limit 50"
            ]
        );
    }

    #[test]
    fn a_thread_that_does_not_get_its_cpu_makes_a_run_dirty() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let with = |delays| Counters { delays, ..Counters::default() };
        let at = |run_delay_ns, involuntary_switches| {
            let vcpu = Some(Delays { run_delay_ns, involuntary_switches });
            with(RunDelays { vcpu, ..RunDelays::default() })
        };
        let between =
            |before, after| Interference::between(before, after, GapWatch::new(&clock), &clock, 1.0);
        let seen = between(at(7, 3), at(30_000_007, 103));
        let figures = (seen.vcpu_run_delay_ns, seen.vcpu_involuntary_context_switches);
        assert_eq!((seen.dirty, figures), (true, (Some(30_000_000), Some(100))));
        assert_eq!(seen.reasons, ["the vCPU ready and without a CPU: 3.0 % of the run, limit 2 %"]);
        assert!(!between(at(7, 3), at(19_000_007, 1003)).dirty, "QEMU's own threads");
        // It died on the way.
        let seen = between(at(7, 3), Counters::default());
        assert_eq!((seen.vcpu_run_delay_ns, seen.dirty), (None, false));

        let at =
            |own, guest| with(RunDelays { own_ns: Some(own), guest_ns: Some(guest), ..RunDelays::default() });
        let seen = between(at(7, 9), at(37_000_007, 182_000_009));
        let figures = (seen.run_delay_ns, seen.guest_run_delay_ns, seen.vcpu_run_delay_ns);
        assert_eq!((seen.dirty, figures), (true, (Some(37_000_000), Some(182_000_000), None)));
        assert_eq!(
            seen.reasons,
            [
                "this thread ready and without a CPU: 3.7 % of the run, limit 2 %",
                "the guest's thread ready and without a CPU: 18.2 % of the run, limit 2 %"
            ]
        );
        assert!(!between(at(7, 9), at(20_000_007, 20_000_009)).dirty, "not above the limit");
    }

    #[test]
    fn each_message_has_its_own_largest_gap() {
        let mut gaps = GapWatch::new(&Clock::of(ClockSource::ClockMonotonic));
        gaps.look(Ticks(0), Ticks(50_000));
        gaps.look(Ticks(0), Ticks(30_000));
        assert_eq!(gaps.take_largest_since(), 50_000);
        gaps.look(Ticks(0), Ticks(20_000));
        assert_eq!(gaps.take_largest_since(), 0);
        gaps.look(Ticks(0), Ticks(21_000));
        assert_eq!((gaps.take_largest_since(), gaps.largest_ticks), (21_000, 50_000));
    }

    #[test]
    fn a_cpu_that_slowed_down_makes_a_run_dirty() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let at = |cpu, mhz, events| Counters {
            cpu: Some(cpu),
            frequency_mhz: Some(mhz),
            throttle_events: Some(events),
            ..Counters::default()
        };
        let reasons = |before, after| {
            let seen = Interference::between(before, after, GapWatch::new(&clock), &clock, 1.0);
            assert_eq!(seen.dirty, !seen.reasons.is_empty());
            seen.reasons
        };
        let start = at(1, 3000.0, 7);
        assert_eq!(
            reasons(start, at(1, 2600.0, 10)),
            [
                "the CPU fell from 3000 to 2600 MHz, limit 10 %",
                "CPUs slowed down 3 times for their temperature or power, limit 0"
            ]
        );
        assert_eq!(reasons(start, at(1, 2800.0, 7)), [""; 0]);
        assert_eq!(reasons(start, at(1, 4000.0, 7)), [""; 0]);
        assert_eq!(reasons(start, at(2, 2000.0, 7)), [""; 0], "another CPU");
        assert_eq!(reasons(start, Counters::default()), [""; 0], "unreadable");
    }

    #[test]
    fn what_cannot_be_read_is_null() {
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let none = Counters::default();
        let seen = Interference::between(none, none, GapWatch::new(&clock), &clock, 1.0);
        let json = serde_json::to_value(&seen).unwrap();
        for field in [
            "frequency_mhz_before",
            "frequency_mhz_after",
            "throttle_events",
            "run_delay_ns",
            "guest_run_delay_ns",
            "vcpu_run_delay_ns",
            "vcpu_involuntary_context_switches",
        ] {
            assert_eq!(json.get(field), Some(&serde_json::Value::Null), "{field}");
        }
    }

    #[test]
    fn switches_are_those_the_kernel_shows_for_this_thread() {
        let shown = || -> u64 {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
            line.unwrap().trim().parse().unwrap()
        };
        let (before, ours, after) = (shown(), switches_now(), shown());
        assert!((before..=after).contains(&ours), "{before} {ours} {after}");
    }
}
