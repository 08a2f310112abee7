//! What waiting costs: CPU time on either side, and interrupts.

use std::time::Duration;

use ivshmem_proto::doorbell::GuestCounts;
use ivshmem_proto::report::GuestReport;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::bell::{Bell, HostCounts};
use crate::config::Server;
use crate::link::Link;

/// How long a guest may take to go to sleep after the last message: before it does so it shows what it has counted.
const SETTLING: Duration = Duration::from_millis(20);

/// The kernel adds to the CPU time of a thread that runs at the scheduler's ticks, which come every 4 ms at CONFIG_HZ=250, as
/// Debian has it; read from outside it is wrong by up to a tick at either end. From twenty ticks on that is a tenth at most.
const CPU_TIME_KNOWN_FROM_NS: u64 = 20 * 4_000_000;
/// What stands in place of a CPU time then.
const TOO_SHORT: &str = "the run is too short for the kernel's ticks";

/// Counters, at one moment or between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time of this thread.
    pub host_cpu_ns: u64,
    /// CPU time of the guest's vCPUs; `None` where they are not known.
    pub vcpu_cpu_ns: Option<u64>,
    /// CPU time of the thread that answers, of a guest that is a process of this host; `None` of any other.
    pub guest_cpu_ns: Option<u64>,
    /// What the host counted.
    pub host: HostCounts,
    /// What the guest counted.
    pub guest: GuestCounts,
}

impl Usage {
    /// Now.
    #[must_use]
    pub fn now(link: &Link<'_>) -> Self {
        // CLOCK_THREAD_CPUTIME_ID cannot fail on Linux (clock_gettime(2)).
        let host_cpu_ns = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64);
        Self {
            host_cpu_ns,
            vcpu_cpu_ns: link.bell.as_ref().and_then(Bell::vcpu_cpu_ns),
            guest_cpu_ns: link.bell.as_ref().and_then(Bell::native_cpu_ns),
            host: link.bell.as_ref().map(Bell::counts).unwrap_or_default(),
            guest: link.host.guest_counts(),
        }
    }

    /// Now, with what the guest counts of the latest message.
    #[must_use]
    pub fn settled(link: &Link<'_>) -> Self {
        let now = Self::now(link);
        let deadline = link.clock.after(link.clock.now(), SETTLING);
        while !link.host.guest_is_armed() && link.clock.now() < deadline {
            std::thread::yield_now();
        }
        Self { guest: link.host.guest_counts(), ..now }
    }

    /// The same without what cannot be known of a counted part of `elapsed_ns`, and why, where there was something. The
    /// measuring thread reads its own CPU time, for which the kernel waits for no tick.
    fn without_unknown(self, elapsed_ns: u64) -> (Self, Option<&'static str>) {
        if elapsed_ns >= CPU_TIME_KNOWN_FROM_NS {
            return (self, None);
        }
        let why = self.vcpu_cpu_ns.or(self.guest_cpu_ns).map(|_| TOO_SHORT);
        (Self { vcpu_cpu_ns: None, guest_cpu_ns: None, ..self }, why)
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let came = |now: Option<u64>, was| now.zip(was).map(|(now, was): (u64, u64)| now.saturating_sub(was));
        Self {
            host_cpu_ns: self.host_cpu_ns.saturating_sub(before.host_cpu_ns),
            vcpu_cpu_ns: came(self.vcpu_cpu_ns, before.vcpu_cpu_ns),
            guest_cpu_ns: came(self.guest_cpu_ns, before.guest_cpu_ns),
            host: HostCounts {
                rings_sent: self.host.rings_sent - before.host.rings_sent,
                interrupts: self.host.interrupts - before.host.interrupts,
                rescued: self.host.rescued - before.host.rescued,
            },
            guest: self.guest.since(&before.guest),
        }
    }
}

/// Doorbells, as run.json describes them. Counts and CPU times are those of the latency test's counted part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoorbellFacts {
    /// The server's socket.
    pub server: String,
    /// This host's number there, and the vector it listens to.
    pub host_peer: u16,
    /// See above.
    pub host_vector: u16,
    /// The guest's number there; null when it is not rung.
    pub guest_peer: Option<u16>,
    /// The vector it listens to.
    pub guest_vector: Option<u16>,
    /// How the guest waits: `poll`, `uio`, `vfio`, `doorbell`, or `adaptive=` one of these.
    pub guest_wait: String,
    /// How the host waits: `poll`, `doorbell`, `adaptive`, the latter two with `=both` when it is told of RECEIVED, too.
    pub host_wait: &'static str,
    /// Messages that count.
    pub messages: u64,
    /// CPU time of the measuring thread a message, pauses between messages included.
    pub host_cpu_ns_per_message: Option<f64>,
    /// CPU time of the guest's vCPUs a message; null where they are not known.
    pub vcpu_cpu_ns_per_message: Option<f64>,
    /// CPU time a message of the thread that answers, of a guest that is a process of this host; null of any other.
    pub guest_cpu_ns_per_message: Option<f64>,
    /// Why neither is known although the kernel gave a figure.
    pub guest_cpu_unknown_because: Option<&'static str>,
    /// Times the host rang the guest.
    pub rings_to_guest: u64,
    /// Times the guest rang the host.
    pub rings_to_host: u64,
    /// Interrupts the guest was given.
    pub interrupts: u64,
    /// Interrupts the host was given.
    pub host_interrupts: u64,
    /// Rings of the guest that came as one interrupt with another, or not at all.
    pub coalesced: u64,
    /// Times either side found a message only because its sleep was bounded.
    pub missed: u64,
    /// How many of these were the guest's.
    pub guest_missed: u64,
}

impl DoorbellFacts {
    /// Of a run whose counted part lasted `elapsed_ns`; `None` without a server.
    #[must_use]
    pub fn of(
        server: Option<&Server>,
        link: &Link<'_>,
        guest: &GuestReport,
        usage: Option<Usage>,
        messages: u64,
        elapsed_ns: u64,
    ) -> Option<Self> {
        let (server, bell) = (server?, link.bell.as_ref()?);
        let (own, ring) = (bell.own_ring(), bell.guest_ring());
        let (usage, unknown_because) = usage.unwrap_or_default().without_unknown(elapsed_ns);
        let each = |ns: u64| (messages > 0).then(|| (ns as f64 * 10.0 / messages as f64).round() / 10.0);
        Some(Self {
            server: server.socket.display().to_string(),
            host_peer: own.peer,
            host_vector: own.vector,
            guest_peer: ring.map(|ring| ring.peer),
            guest_vector: ring.map(|ring| ring.vector),
            guest_wait: guest.wait.to_string(),
            host_wait: server.wait_name(),
            messages,
            host_cpu_ns_per_message: each(usage.host_cpu_ns),
            vcpu_cpu_ns_per_message: usage.vcpu_cpu_ns.and_then(each),
            guest_cpu_ns_per_message: usage.guest_cpu_ns.and_then(each),
            guest_cpu_unknown_because: unknown_because,
            rings_to_guest: usage.host.rings_sent,
            rings_to_host: usage.guest.rings_sent,
            interrupts: usage.guest.interrupts,
            host_interrupts: usage.host.interrupts,
            coalesced: usage.host.rings_sent.saturating_sub(usage.guest.interrupts),
            missed: usage.host.rescued.saturating_add(usage.guest.rescued),
            guest_missed: usage.guest.rescued,
        })
    }

    /// For the terminal: how the sides waited, and what it took.
    #[must_use]
    pub fn lines(&self) -> String {
        let us = |ns: Option<f64>| ns.map_or_else(|| "n/a".to_owned(), |ns| format!("{:.1} us", ns / 1e3));
        let other = match (self.guest_cpu_unknown_because, self.guest_cpu_ns_per_message) {
            (Some(why), _) => format!("guest n/a: {why}"),
            (None, Some(ns)) => format!("guest {}", us(Some(ns))),
            (None, None) => format!("vCPU {}", us(self.vcpu_cpu_ns_per_message)),
        };
        let mut text = format!("doorbell guest waits by {}, host by {}", self.guest_wait, self.host_wait);
        if self.messages > 0 {
            text += &format!(
                "\n         {} rings to the guest ({} interrupts), {} to the host ({}); {} missed\n         CPU a message: host {}, {other}",
                self.rings_to_guest,
                self.interrupts,
                self.rings_to_host,
                self.host_interrupts,
                self.missed,
                us(self.host_cpu_ns_per_message)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_between_is_a_difference_and_unknown_where_either_end_is() {
        let at = |n: u64, vcpu_cpu_ns| Usage {
            host_cpu_ns: n,
            vcpu_cpu_ns,
            guest_cpu_ns: vcpu_cpu_ns,
            host: HostCounts { rings_sent: n, interrupts: 2 * n, rescued: 0 },
            guest: GuestCounts { interrupts: n, rings_sent: 3 * n, rescued: n },
        };
        assert_eq!(at(7, Some(9)).since(&at(5, Some(4))), at(2, Some(5)));
        let since = at(7, None).since(&at(5, Some(4)));
        assert_eq!((since.vcpu_cpu_ns, since.guest_cpu_ns), (None, None));
        // A guest that counts backwards.
        assert_eq!(at(7, None).guest.since(&at(8, None).guest), GuestCounts::default());
    }

    #[test]
    fn cpu_time_that_ticks_cannot_tell_is_unknown_and_the_reason_is_given() {
        let used = Usage { host_cpu_ns: 7, vcpu_cpu_ns: Some(9), ..Usage::default() };
        assert_eq!(used.without_unknown(80_000_000), (used, None));
        let (known, why) = used.without_unknown(79_999_999);
        assert_eq!((known.host_cpu_ns, known.vcpu_cpu_ns, why), (7, None, Some(TOO_SHORT)));
        let native = Usage { guest_cpu_ns: Some(0), ..Usage::default() };
        assert_eq!(native.without_unknown(1), (Usage::default(), Some(TOO_SHORT)));
        // What was not known anyhow does not lack for this reason.
        assert_eq!(Usage::default().without_unknown(1), (Usage::default(), None));
    }

    #[test]
    fn the_terminal_is_told_what_waiting_took() {
        let facts = DoorbellFacts {
            server: "/s".into(),
            host_peer: 1,
            host_vector: 0,
            guest_peer: Some(0),
            guest_vector: Some(0),
            guest_wait: "uio".into(),
            host_wait: "doorbell",
            messages: 10,
            host_cpu_ns_per_message: Some(12_345.0),
            vcpu_cpu_ns_per_message: None,
            guest_cpu_ns_per_message: None,
            guest_cpu_unknown_because: None,
            rings_to_guest: 10,
            rings_to_host: 11,
            interrupts: 9,
            host_interrupts: 8,
            coalesced: 1,
            missed: 0,
            guest_missed: 0,
        };
        insta::assert_snapshot!(facts.lines(), @r"
        doorbell guest waits by uio, host by doorbell
                 10 rings to the guest (9 interrupts), 11 to the host (8); 0 missed
                 CPU a message: host 12.3 us, vCPU n/a
        ");
        let native = DoorbellFacts { guest_cpu_ns_per_message: Some(7_000.0), ..facts.clone() };
        assert!(native.lines().ends_with("CPU a message: host 12.3 us, guest 7.0 us"), "{}", native.lines());
        let short = DoorbellFacts { guest_cpu_unknown_because: Some(TOO_SHORT), ..facts.clone() };
        let expected = "CPU a message: host 12.3 us, guest n/a: the run is too short for the kernel's ticks";
        assert!(short.lines().ends_with(expected), "{}", short.lines());
        let frames_only = DoorbellFacts { messages: 0, ..facts };
        assert_eq!(frames_only.lines(), "doorbell guest waits by uio, host by doorbell");
    }
}
