//! One cell: the figures of all its messages; also, serialised, an element of `doorbells` in summary.json.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::{DoorbellRun, DoorbellSample, RunWide};
use crate::latency_summary::Distribution;
use crate::report::text::four_digits;
use crate::stats::{Percentile, Sorted};

/// Messages sent with the same ways to wait, rate and load. A figure that was not measured is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// What ran beside: `idle` or the load's name.
    pub load: String,
    /// Messages a second; `None` for each after the acknowledgement of the one before.
    pub rate_per_s: Option<f64>,
    /// How the guest waited.
    pub guest_wait: String,
    /// How the host waited.
    pub host_wait: String,
    /// Whether the guest was a process of the host; `None` where nothing tells.
    pub native: Option<bool>,
    /// How many runs it is made of.
    pub runs: usize,
    /// Rows, and numbers without one.
    pub messages: u64,
    /// Ok rows.
    pub ok: u64,
    /// Rows with another status, by it.
    pub failed_by_status: BTreeMap<String, u64>,
    /// Numbers without a row.
    pub lost: u64,
    /// Publication until the host saw PROCESSED.
    pub rtt: Option<Distribution>,
    /// Its median over that of two host processes that ring each other, at the same rate and load.
    pub rtt_p50_over_native_floor: Option<f64>,
    /// Publication until the host saw RECEIVED; a host that sleeps does not look for it.
    pub received_p50_ns: Option<u64>,
    /// Publication until the guest saw the message.
    pub guest_wake_p50_ns: Option<i64>,
    /// From there until the host saw PROCESSED.
    pub host_wake_p50_ns: Option<i64>,
    /// What its runs say as wholes: counts together, means by messages, the largest bound.
    #[serde(flatten)]
    pub wide: RunWide,
    /// Round trips in ascending order.
    #[serde(skip)]
    pub sorted_ns: Sorted<u64>,
}

/// A cell's percentiles, by which it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the round trips were no longer.
    pub p50_ns: u64,
    /// 99 of 100 were no longer; `None` with fewer than 10 messages beyond it.
    pub p99_ns: Option<u64>,
}

impl Cell {
    /// Of runs with the same setup.
    pub(super) fn of(runs: &[&DoorbellRun]) -> Self {
        let setup = &runs[0].setup;
        let samples = || runs.iter().flat_map(|run| &run.samples);
        let rtts: Vec<u64> = samples().map(|sample| sample.rtt_ns).collect();
        let received = Sorted::new(samples().filter_map(|sample| sample.received_ns).collect());
        let wake = |of: fn(&DoorbellSample) -> Option<i64>| {
            Sorted::new(samples().filter_map(of).collect()).percentile(Percentile::P50)
        };
        let knows_ways =
            |run: &&&DoorbellRun| run.samples.iter().any(|sample| sample.guest_wake_ns.is_some());
        let mut failed_by_status = BTreeMap::new();
        for (status, count) in runs.iter().flat_map(|run| &run.failures) {
            *failed_by_status.entry(status.clone()).or_default() += count;
        }
        let total = |of: fn(&RunWide) -> Option<u64>| {
            runs.iter().filter_map(|run| of(&run.wide)).reduce(u64::saturating_add)
        };
        let vcpu_cpu_ns_per_message = mean_by_messages(runs, |wide| wide.vcpu_cpu_ns_per_message);
        Self {
            load: setup.load.clone(),
            rate_per_s: setup.rate_per_s,
            guest_wait: setup.guest_wait.clone(),
            host_wait: setup.host_wait.clone(),
            native: whether_native(&setup.guest_wait, vcpu_cpu_ns_per_message.is_some()),
            runs: runs.len(),
            messages: runs.iter().fold(0, |sum, run| sum.saturating_add(run.messages())),
            ok: rtts.len() as u64,
            failed_by_status,
            lost: runs.iter().fold(0, |sum, run| sum.saturating_add(run.lost)),
            rtt: Distribution::of(rtts.iter().copied()),
            rtt_p50_over_native_floor: None,
            received_p50_ns: received.percentile(Percentile::P50),
            guest_wake_p50_ns: wake(|sample| sample.guest_wake_ns),
            host_wake_p50_ns: wake(|sample| sample.host_wake_ns),
            wide: RunWide {
                // The writer gives the bound of figures that it refused, too.
                oneway_bound_ns: runs
                    .iter()
                    .filter(knows_ways)
                    .filter_map(|run| run.wide.oneway_bound_ns)
                    .reduce(f64::max),
                host_cpu_ns_per_message: mean_by_messages(runs, |wide| wide.host_cpu_ns_per_message),
                vcpu_cpu_ns_per_message,
                rings_to_guest: total(|wide| wide.rings_to_guest),
                rings_to_host: total(|wide| wide.rings_to_host),
                interrupts: total(|wide| wide.interrupts),
                coalesced: total(|wide| wide.coalesced),
                missed: total(|wide| wide.missed),
            },
            sorted_ns: Sorted::new(rtts),
        }
    }

    /// `uio/doorbell`: how the guest waited and how the host did.
    #[must_use]
    pub fn name(&self) -> String {
        let ways = format!("{}/{}", self.guest_wait, self.host_wait);
        match self.native {
            _ if self.is_floor() => ways + " (floor)",
            None => ways + " (no vCPU)",
            _ => ways,
        }
    }

    /// `10/s`, or `back to back`.
    #[must_use]
    pub fn rate(&self) -> String {
        match self.rate_per_s {
            None => "back to back".into(),
            Some(rate) if rate.fract() == 0.0 && rate < 1e3 => format!("{rate}/s"),
            Some(rate) => format!("{}/s", four_digits(rate)),
        }
    }

    /// Whether nothing ran beside the test.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.load == "idle"
    }

    /// Two host processes that ring each other: what doorbells cost without a virtual machine.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        self.guest_wait == "doorbell" && self.host_wait == "doorbell"
    }

    /// Whether both were measured at the same rate and load.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.load == other.load && self.rate_per_s == other.rate_per_s
    }

    /// Its place among other ways to wait: looking first, then being told, then both in turn.
    pub(crate) fn place(&self) -> usize {
        let waits = ["poll", "uio", "vfio", "doorbell", "adaptive"];
        let of = |wait: &str| waits.iter().position(|known| wait.starts_with(known)).unwrap_or(waits.len());
        of(&self.guest_wait) * waits.len() + of(&self.host_wait)
    }

    /// The median round trip.
    #[must_use]
    pub fn p50_ns(&self) -> Option<u64> {
        self.rtt.as_ref().and_then(|rtt| rtt.p50_ns)
    }

    /// What it is drawn by; `None` with too few messages for a median.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let rtt = self.rtt.as_ref()?;
        Some(Percentiles { p50_ns: rtt.p50_ns?, p99_ns: rtt.p99_ns })
    }

    /// CPU time of both sides a message, as far as it is known.
    #[must_use]
    pub fn cpu_ns_per_message(&self) -> Option<f64> {
        Some(self.wide.host_cpu_ns_per_message? + self.wide.vcpu_cpu_ns_per_message.unwrap_or(0.0))
    }

    /// Messages that were not acknowledged as they should have been.
    #[must_use]
    pub fn not_ok(&self) -> u64 {
        self.messages.saturating_sub(self.ok)
    }
}

/// Only a process of the host waits for an eventfd, and only a VM has interrupts or vCPUs; either may poll.
fn whether_native(guest_wait: &str, has_vcpu: bool) -> Option<bool> {
    match guest_wait.strip_prefix("adaptive=").unwrap_or(guest_wait) {
        _ if has_vcpu => Some(false),
        "doorbell" => Some(true),
        "uio" | "vfio" => Some(false),
        _ => None,
    }
}

/// The mean over all messages of runs that know the figure.
fn mean_by_messages(runs: &[&DoorbellRun], of: fn(&RunWide) -> Option<f64>) -> Option<f64> {
    let known = || runs.iter().filter_map(|run| Some((of(&run.wide)?, run.messages() as f64)));
    let messages: f64 = known().map(|(_, messages)| messages).sum();
    (messages > 0.0).then(|| known().map(|(ns, count)| ns * count).sum::<f64>() / messages)
}
