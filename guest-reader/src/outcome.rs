//! What came of an initiator's messages, as the line it prints.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use ivshmem_proto::clock::Clock;
use ivshmem_proto::doorbell::{GuestWait, Ring};
use ivshmem_proto::lane::Lane;
use ivshmem_proto::percentile::nearest_rank;
use ivshmem_proto::wire;
use serde_json::{Value, json};

/// Round trips are kept with three significant digits, up to an hour.
const RTT_NS_MAX: u64 = 3_600_000_000_000;

/// How a message ended; names are host-writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Acknowledged twice, its token echoed.
    Ok,
    /// No RECEIVED before the deadline.
    TimeoutReceived,
    /// RECEIVED, but no PROCESSED before the deadline.
    TimeoutProcessed,
    /// Another token came back.
    Mismatch,
    /// The peer says that it could not read the message.
    GuestError,
    /// The peer broke the protocol.
    ProtocolError,
}

impl Status {
    /// The word in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TimeoutReceived => "timeout_received",
            Self::TimeoutProcessed => "timeout_processed",
            Self::Mismatch => "mismatch",
            Self::GuestError => "guest_error",
            Self::ProtocolError => "protocol_error",
        }
    }

    /// What an answer amounts to.
    #[must_use]
    pub const fn of_answer(status: Option<wire::Status>, is_echo: bool) -> Self {
        match status {
            None => Self::ProtocolError,
            Some(wire::Status::Ok) if is_echo => Self::Ok,
            Some(wire::Status::Ok) => Self::Mismatch,
            Some(_) => Self::GuestError,
        }
    }
}

/// Why an initiator ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All messages were sent.
    Done,
    /// A signal.
    Interrupted,
    /// The peer did not answer, and its heartbeat stands still.
    PeerDead,
    /// The peer has left the server.
    PeerLeft,
    /// The session has no more numbers, or the interrupt is gone.
    Broken,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Interrupted => "interrupted",
            Self::PeerDead => "peer_dead",
            Self::PeerLeft => "peer_left",
            Self::Broken => "broken",
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that were to count.
    pub planned: u64,
    /// Messages before them, which do not.
    pub warmup: u64,
    /// How those that count ended.
    pub statuses: BTreeMap<Status, u64>,
    /// Round trips of those that ended well, in nanoseconds.
    pub rtt_ns: Histogram<u64>,
    /// Answers beyond one a message, by the peer's own count.
    pub duplicated: u64,
    /// Words of our page that the peer wrote to.
    pub tampered: u64,
    /// Why it ended.
    pub end: End,
    /// How this side waits, and how the peer does.
    pub wait: GuestWait,
    /// See above.
    pub peer_wait: GuestWait,
    /// Where this side is rung, and where the peer is.
    pub ring: Option<Ring>,
    /// See above.
    pub peer_ring: Option<Ring>,
    /// Interrupts that this side was given.
    pub interrupts: u64,
    /// Times it rang the peer.
    pub rings_sent: u64,
    /// Times it found an answer only because its sleep was bounded.
    pub rescued: u64,
    /// How long the counted part took.
    pub elapsed_ns: u64,
    /// What the user is to know.
    pub trouble: Option<String>,
}

impl Outcome {
    /// Nothing yet.
    #[must_use]
    pub fn new(planned: u64, warmup: u64, wait: GuestWait, peer_wait: GuestWait) -> Self {
        Self {
            planned,
            warmup,
            statuses: BTreeMap::new(),
            rtt_ns: histogram(),
            duplicated: 0,
            tampered: 0,
            end: End::Done,
            wait,
            peer_wait,
            ring: None,
            peer_ring: None,
            interrupts: 0,
            rings_sent: 0,
            rescued: 0,
            elapsed_ns: 0,
            trouble: None,
        }
    }

    /// Counts a message.
    pub fn take(&mut self, status: Status, rtt_ns: u64) {
        *self.statuses.entry(status).or_default() += 1;
        if status == Status::Ok {
            self.rtt_ns.saturating_record(rtt_ns);
        }
    }

    /// How many ended so.
    #[must_use]
    pub fn count(&self, status: Status) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Whether all that was planned ended well.
    #[must_use]
    pub fn is_all_ok(&self) -> bool {
        self.count(Status::Ok) == self.planned && self.duplicated + self.tampered == 0
    }

    /// The object in the line.
    #[must_use]
    pub fn json(&self, lane: Lane, clock: &Clock) -> Value {
        let lost = self.count(Status::TimeoutReceived) + self.count(Status::TimeoutProcessed);
        let statuses: BTreeMap<_, _> =
            self.statuses.iter().map(|(status, count)| (status.name(), count)).collect();
        let rtt = &self.rtt_ns;
        let at = |percent: u64| {
            nearest_rank(percent * 100, rtt.len()).map(|_| rtt.value_at_quantile(percent as f64 / 100.0))
        };
        json!({
            "messages": self.planned,
            "warmup": self.warmup,
            "ok": self.count(Status::Ok),
            "lost": lost,
            "statuses": statuses,
            "duplicated": self.duplicated,
            "tampered": self.tampered,
            "end": self.end.name(),
            "rtt_ns": {
                "min": (!rtt.is_empty()).then(|| rtt.min()),
                "p50": at(50),
                "p90": at(90),
                "p99": at(99),
                "max": (!rtt.is_empty()).then(|| rtt.max()),
            },
            "lane": lane.to_string(),
            "wait": self.wait.to_string(),
            "peer_wait": self.peer_wait.to_string(),
            "own_peer": self.ring.map(|ring| ring.peer),
            "other_peer": self.peer_ring.map(|ring| ring.peer),
            "interrupts": self.interrupts,
            "rings_sent": self.rings_sent,
            "missed": self.rescued,
            "elapsed_ns": self.elapsed_ns,
            "clock": clock.source().name(),
        })
    }
}

fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, RTT_NS_MAX, 3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("these bounds are valid: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::wire::{ClockSource, WaitSource};

    fn outcome(planned: u64) -> Outcome {
        let uio = GuestWait { source: WaitSource::Uio, adaptive: true, can_ring: true };
        Outcome::new(planned, 10, uio, GuestWait { adaptive: false, ..uio })
    }

    #[test]
    fn a_percentile_without_ten_samples_beyond_it_is_null() {
        let mut outcome = outcome(101);
        (1..=100).for_each(|ns| outcome.take(Status::Ok, ns));
        outcome.take(Status::TimeoutProcessed, 0);
        outcome.ring = Some(Ring { peer: 1, vector: 0 });
        outcome.peer_ring = Some(Ring { peer: 0, vector: 1 });
        outcome.interrupts = 90;
        let json = outcome.json("1/2".parse().unwrap(), &Clock::of(ClockSource::ClockMonotonic));
        insta::assert_snapshot!(json.to_string());
        assert!(!outcome.is_all_ok());
    }

    #[test]
    fn all_is_ok_only_when_every_message_was_and_the_peer_behaved() {
        let mut outcome = outcome(1);
        assert!(!outcome.is_all_ok());
        outcome.take(Status::Ok, 5);
        assert!(outcome.is_all_ok());
        outcome.duplicated = 1;
        assert!(!outcome.is_all_ok());
    }

    #[test]
    fn an_answer_is_ok_with_the_right_status_and_the_right_echo_only() {
        assert_eq!(Status::of_answer(Some(wire::Status::Ok), true), Status::Ok);
        assert_eq!(Status::of_answer(Some(wire::Status::Ok), false), Status::Mismatch);
        assert_eq!(Status::of_answer(Some(wire::Status::Stalled), true), Status::GuestError);
        assert_eq!(Status::of_answer(None, true), Status::ProtocolError);
    }
}
