//! What run.json and the terminal say of a broadcast.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ivshmem_proto::clock::{Clock, Ticks};
use serde::Serialize;

use crate::bell::HostCounts;
use crate::broadcast::{Group, Rows};
use crate::broadcast_csv::extremes;
use crate::config::{BroadcastPlan, Server};
use crate::hgrm;
use crate::numbering::Numbering;
use crate::percentiles::Percentiles;
use crate::status::{Counts, RowStatus};

/// Messages to many guests at once.
#[derive(Debug, Serialize)]
pub struct BroadcastFacts {
    /// The server's socket.
    pub server: String,
    /// This host's number there.
    pub host_peer: u16,
    /// The vector that the guests ring.
    pub host_vector: u16,
    /// How the host waits.
    pub host_wait: &'static str,
    /// Lanes, and guests at the start.
    pub lanes: u64,
    /// Messages planned.
    pub messages: u64,
    /// Messages before them that are in no file.
    pub warmup: u64,
    /// Pause between messages.
    pub interval_ns: u64,
    /// Messages that every guest answered well.
    pub ok: u64,
    /// Messages that count and were sent.
    pub sent: u64,
    /// Publication in the first lane to PROCESSED of the last guest; of messages that every guest answered well.
    pub slowest_ns: Percentiles,
    /// The same of the first guest.
    pub fastest_ns: Percentiles,
    /// The difference, message by message.
    pub spread_ns: Percentiles,
    /// Times the host rang a guest.
    pub rings_to_guests: u64,
    /// Interrupts the host was given.
    pub host_interrupts: u64,
    /// Times it found an answer only because its sleep was bounded.
    pub missed: u64,
    /// Lane by lane.
    pub guests: Vec<BroadcastGuest>,
}

/// One of the guests.
#[derive(Debug, Serialize)]
pub struct BroadcastGuest {
    /// Its lane.
    pub lane: String,
    /// The VM it runs in, by name; null for a process of this host, and where it is not known.
    pub vm: Option<String>,
    /// How it waits.
    pub wait: String,
    /// Its number at the server; null when it is not rung.
    pub peer: Option<u16>,
    /// Its kernel.
    pub kernel: String,
    /// How it maps the region.
    pub map_kind: &'static str,
    /// Publication in the first lane to PROCESSED.
    pub processed_ns: Percentiles,
    /// How messages to it ended.
    pub status_counts: BTreeMap<&'static str, u64>,
    /// Why it was asked no more; null when it was asked to the end.
    pub lost: Option<&'static str>,
    /// The message that happened at, those of the warm-up counted.
    pub lost_at: Option<u64>,
}

impl BroadcastGuest {
    /// ` (VM a)`, where it is known to be one.
    fn of_vm(&self) -> String {
        self.vm.as_ref().map_or_else(String::new, |vm| format!(" (VM {vm})"))
    }
}

impl BroadcastFacts {
    /// Of a broadcast that is over; `vms` are the guests', lane by lane.
    ///
    /// # Errors
    /// Never; see [`hgrm::empty`].
    pub fn of(
        plan: &BroadcastPlan,
        server: &Server,
        group: &Group<'_>,
        rows: &Rows,
        vms: &[Option<String>],
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let ns = |ticks| clock.ns(Ticks(0), Ticks(ticks));
        let (mut slowest, mut fastest, mut spread) = (hgrm::empty()?, hgrm::empty()?, hgrm::empty()?);
        let (mut ok, mut sent) = (0, 0);
        for answers in rows.iter() {
            sent += 1;
            let is_ok = answers.iter().all(|answer| answer.is_some_and(|a| a.status == RowStatus::Ok));
            if let Some((last, first)) =
                extremes(answers).filter(|_| is_ok).map(|(last, first)| (ns(last), ns(first)))
            {
                ok += 1;
                slowest.saturating_record(last);
                fastest.saturating_record(first);
                spread.saturating_record(last - first);
            }
        }
        let guest = |(lane, member): (usize, &crate::broadcast::Member<'_>)| {
            let (mut processed, mut counts) = (hgrm::empty()?, Counts::default());
            for answer in rows.iter().filter_map(|answers| answers.get(lane).copied().flatten()) {
                counts.add(answer.status);
                if let Some(ticks) = answer.processed_ticks.filter(|_| answer.status == RowStatus::Ok) {
                    processed.saturating_record(ns(ticks));
                }
            }
            let report = member.guest.as_ref();
            Ok(BroadcastGuest {
                lane: format!("{lane}/{}", plan.lanes),
                vm: vms.get(lane).cloned().flatten(),
                wait: report.map_or_else(String::new, |guest| guest.wait.to_string()),
                peer: member.ring().map(|ring| ring.peer),
                kernel: report.map_or_else(String::new, |guest| guest.kernel_release.clone()),
                map_kind: report.map_or("", |guest| guest.map_kind.name()),
                processed_ns: Percentiles::from(&processed),
                status_counts: counts.by_name(),
                lost: member.lost.map(|lost| lost.why),
                lost_at: member.lost.map(|lost| lost.sequence),
            })
        };
        let own = group.own_ring();
        let counts = group.counts();
        Ok(Self {
            server: server.socket.display().to_string(),
            host_peer: own.peer,
            host_vector: own.vector,
            host_wait: server.wait.name(),
            lanes: plan.lanes,
            messages: plan.messages,
            warmup: plan.warmup,
            interval_ns: plan.interval.as_nanos() as u64,
            ok,
            sent,
            slowest_ns: Percentiles::from(&slowest),
            fastest_ns: Percentiles::from(&fastest),
            spread_ns: Percentiles::from(&spread),
            rings_to_guests: counts.rings_sent,
            host_interrupts: counts.interrupts,
            missed: counts.rescued,
            guests: group.members.iter().enumerate().map(guest).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Leaves out what was counted before the messages that count.
    pub fn subtract(&mut self, before: HostCounts) {
        self.rings_to_guests -= before.rings_sent;
        self.host_interrupts -= before.interrupts;
        self.missed -= before.rescued;
    }

    /// For the terminal.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut text = format!(
            "broadcast {} of {} messages ok in all of {} lanes, {} warm-up; host waits by {}\n",
            self.ok, self.sent, self.lanes, self.warmup, self.host_wait
        );
        let _ = writeln!(text, "         {:<22}{:>11}{:>11}{:>11}{:>11}", "ns", "p50", "p90", "p99", "max");
        let mut row = |name: &str, figures: &Percentiles| {
            let _ = write!(text, "         {name:<22}");
            for figure in figures.shown() {
                let _ = write!(text, "{:>11}", figure.map_or_else(|| "n/a".to_owned(), |ns| ns.to_string()));
            }
            text.push('\n');
        };
        row("last guest", &self.slowest_ns);
        row("first guest", &self.fastest_ns);
        row("between them", &self.spread_ns);
        for guest in &self.guests {
            row(&format!("{}, {}", guest.lane, guest.wait), &guest.processed_ns);
        }
        for guest in &self.guests {
            if let (Some(why), Some(at)) = (guest.lost, guest.lost_at) {
                let at = Numbering::rows_after_warmup(0, self.warmup).at(at);
                let _ = writeln!(
                    text,
                    "LOST     the guest of lane {}{} {why} at {at}",
                    guest.lane,
                    guest.of_vm()
                );
            }
        }
        text
    }
}
