//! Reasons to doubt a run, each with what it means for the figures. They are printed first and never drop a sample.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct;

use crate::input::Run;
use crate::report::text::{grouped, optional, plural};
use crate::summary::RunSummary;

/// A round trip longer than this outlasts any deadline of the toolkit's: it is a wrapped or garbled counter.
pub const BELIEVABLE_RTT_NS: u64 = 60_000_000_000;

/// One reason.
#[derive(Debug, Clone, PartialEq)]
pub enum Doubt {
    /// There is no run.json.
    NoProvenance,
    /// The guest broke the protocol; a sentence for each way.
    PeerViolations(Vec<String>),
    /// Figures above what plain copies reach; a sentence for each.
    RoofExceeded(Vec<String>),
    /// The writer could not keep the rate of an open loop.
    MissedRate {
        /// Messages due a second.
        wanted_per_s: Option<f64>,
        /// Messages sent a second.
        achieved_per_s: Option<f64>,
    },
    /// Acknowledgements that came twice or out of order.
    Disordered {
        /// How many came twice.
        duplicated: u64,
        /// How many came out of order.
        reordered: u64,
    },
    /// Frames of a stream that were due while no slot was free.
    Dropped {
        /// How many.
        count: u64,
        /// Of how many frames.
        of: u64,
    },
    /// The CPU was throttled.
    Throttled(u64),
    /// run.json says the run was disturbed too much.
    Dirty(Vec<String>),
    /// It says so of a run under a load, which was meant to disturb it.
    Loaded {
        /// The load's name.
        load: String,
        /// What run.json found too much.
        reasons: Vec<String>,
    },
    /// The run did not come to its end.
    Incomplete {
        /// Whether a signal ended it.
        interrupted: bool,
    },
    /// Messages without a row.
    LostMessages(u64),
    /// Frames without a row.
    LostFrames(u64),
    /// Rows with a status other than ok.
    Failed {
        /// `message` or `frame`.
        what: &'static str,
        /// How many.
        count: u64,
        /// Of how many rows and lost ones.
        of: u64,
    },
    /// Rates no copy on that machine reaches.
    AboveLimit {
        /// How many frames.
        count: u64,
        /// Of how many ok ones.
        of: u64,
        /// The limit.
        limit_gb_per_s: f64,
        /// Where it comes from.
        copy_kernel: Option<String>,
    },
    /// Round trips of 0 ns.
    ZeroRtt(u64),
    /// Round trips above [`BELIEVABLE_RTT_NS`].
    HugeRtt(u64),
    /// Rows whose RECEIVED came after their PROCESSED.
    OutOfOrder(u64),
    /// The file's own bandwidth column is not what its bytes and nanoseconds give.
    RatesDisagree {
        /// How many rows.
        count: u64,
        /// Line of the first.
        line: u64,
    },
    /// Ok frames that nobody verified.
    Unverified {
        /// How many.
        count: u64,
        /// Of how many ok ones.
        of: u64,
    },
}

impl Doubt {
    /// All reasons to doubt `run`, the gravest first.
    #[must_use]
    pub fn of(run: &Run, summary: &RunSummary) -> Vec<Self> {
        let mut doubts = of_provenance(run);
        doubts.extend(of_bandwidth(run, summary));
        doubts.extend(of_latency(run, summary));
        doubts
    }

    /// A stable name for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoProvenance => "no_provenance",
            Self::PeerViolations(_) => "peer_violations",
            Self::RoofExceeded(_) => "roof_exceeded",
            Self::MissedRate { .. } => "missed_rate",
            Self::Disordered { .. } => "disordered",
            Self::Dropped { .. } => "dropped",
            Self::Throttled(_) => "throttled",
            Self::Dirty(_) => "dirty",
            Self::Loaded { .. } => "loaded",
            Self::Incomplete { .. } => "incomplete",
            Self::LostMessages(_) => "lost_messages",
            Self::LostFrames(_) => "lost_frames",
            Self::Failed { .. } => "failed",
            Self::AboveLimit { .. } => "above_limit",
            Self::ZeroRtt(_) => "zero_rtt",
            Self::HugeRtt(_) => "huge_rtt",
            Self::OutOfOrder(_) => "out_of_order",
            Self::RatesDisagree { .. } => "rates_disagree",
            Self::Unverified { .. } => "unverified",
        }
    }
}

fn of_provenance(run: &Run) -> Vec<Doubt> {
    let Some(provenance) = &run.provenance else { return vec![Doubt::NoProvenance] };
    let json = &provenance.run;
    let mut doubts = Vec::new();
    let violations = json.peer_violations.clone().unwrap_or_default();
    if !violations.is_empty() {
        doubts.push(Doubt::PeerViolations(violations));
    }
    let exceeded = json.roof.as_ref().map(|roof| roof.exceeded.clone()).unwrap_or_default();
    if !exceeded.is_empty() {
        doubts.push(Doubt::RoofExceeded(exceeded));
    }
    if json.is_dirty() {
        let reasons = json.interference.as_ref().and_then(|i| i.reasons.clone());
        let reasons = reasons.unwrap_or_default();
        doubts.push(match json.load_label() {
            Some(load) => Doubt::Loaded { load: load.to_owned(), reasons },
            None => Doubt::Dirty(reasons),
        });
    }
    let interrupted = json.interrupted == Some(true);
    if interrupted || json.completed == Some(false) {
        doubts.push(Doubt::Incomplete { interrupted });
    }
    let throttled = json.interference.as_ref().and_then(|i| i.throttle_events).unwrap_or(0);
    if throttled > 0 {
        doubts.push(Doubt::Throttled(throttled));
    }
    doubts
}

fn of_bandwidth(run: &Run, summary: &RunSummary) -> Vec<Doubt> {
    let (Some(bandwidth), Some(summary)) = (&run.bandwidth, &summary.bandwidth) else { return Vec::new() };
    let total = |of: fn(&crate::summary::FrameSummary) -> u64| summary.frames.iter().map(of).sum::<u64>();
    let (sent, ok) = (total(|f| f.sent), total(|f| f.ok));
    let mut doubts = Vec::new();
    if total(|f| f.above_limit) > 0 {
        let limit = summary.believable_limit.as_ref();
        doubts.extend(limit.map(|limit| Doubt::AboveLimit {
            count: total(|f| f.above_limit),
            of: ok,
            limit_gb_per_s: limit.gb_per_s,
            copy_kernel: limit.copy_kernel.clone(),
        }));
    }
    let dropped = total(crate::summary::FrameSummary::dropped);
    if dropped > 0 {
        doubts.push(Doubt::Dropped { count: dropped, of: sent });
    }
    if total(|f| f.failed) > dropped {
        doubts.push(Doubt::Failed { what: "frame", count: total(|f| f.failed) - dropped, of: sent });
    }
    if total(|f| f.lost) > 0 {
        doubts.push(Doubt::LostFrames(total(|f| f.lost)));
    }
    let unchecked = ok - total(|f| f.verified + f.spared);
    if unchecked > 0 {
        doubts.push(Doubt::Unverified { count: unchecked, of: ok });
    }
    if let Some((count, line)) = bandwidth.disagreeing_rates {
        doubts.push(Doubt::RatesDisagree { count, line });
    }
    doubts
}

fn of_latency(run: &Run, summary: &RunSummary) -> Vec<Doubt> {
    let Some(summary) = &summary.latency else { return Vec::new() };
    let [mut zero, mut huge, mut out_of_order] = [0_u64; 3];
    for sample in run.latency.iter().flat_map(|latency| &latency.samples) {
        let (processed_ns, received_ns) = (sample.processed_ns, sample.received_ns);
        zero += u64::from(processed_ns == 0 || received_ns == Some(0));
        huge += u64::from(processed_ns > BELIEVABLE_RTT_NS || received_ns > Some(BELIEVABLE_RTT_NS));
        out_of_order += u64::from(received_ns > Some(processed_ns));
    }
    let mut doubts = Vec::new();
    if let Some(plan) = run.latency_plan() {
        if plan.missed_rate == Some(true) {
            let (wanted_per_s, achieved_per_s) = (plan.rate_per_s, plan.achieved_per_s);
            doubts.push(Doubt::MissedRate { wanted_per_s, achieved_per_s });
        }
        let (duplicated, reordered) = (plan.duplicated.unwrap_or(0), plan.reordered.unwrap_or(0));
        if duplicated > 0 || reordered > 0 {
            doubts.push(Doubt::Disordered { duplicated, reordered });
        }
    }
    if summary.failed > 0 {
        doubts.push(Doubt::Failed { what: "message", count: summary.failed, of: summary.sent });
    }
    if summary.lost > 0 {
        doubts.push(Doubt::LostMessages(summary.lost));
    }
    for (doubt, count) in [
        (Doubt::ZeroRtt as fn(u64) -> Doubt, zero),
        (Doubt::HugeRtt, huge),
        (Doubt::OutOfOrder, out_of_order),
    ] {
        if count > 0 {
            doubts.push(doubt(count));
        }
    }
    doubts
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProvenance => f.write_str(
                "NO PROVENANCE: there is no run.json beside the CSV, so nothing is known of the machine, the accelerator \
                 or the mapping behind these figures. Do not compare or publish them.",
            ),
            Self::PeerViolations(sentences) => {
                write!(f, "PROTOCOL BROKEN BY THE GUEST: {}", sentences.join("; "))
            }
            Self::RoofExceeded(sentences) => {
                write!(f, "ABOVE THE ROOF: {}", sentences.join("; "))
            }
            Self::MissedRate { wanted_per_s, achieved_per_s } => {
                write!(
                    f,
                    "MISSED RATE: {} messages a second were sent where {} were due, so latency from the due time is \
                     the writer's backlog too. Lower --rate.",
                    optional(*achieved_per_s),
                    optional(*wanted_per_s)
                )
            }
            Self::Disordered { duplicated, reordered } => write!(
                f,
                "DISORDER: {} came twice, {} out of order.",
                plural(*duplicated, "acknowledgement"),
                grouped(*reordered)
            ),
            Self::Dropped { count, of } => {
                let of = grouped(*of);
                write!(f, "DROPPED: {} of {of} due while no slot was free; they were never sent.", plural(*count, "frame"))
            }
            Self::Throttled(count) => {
                write!(f, "THROTTLED: the CPU was slowed down {} during the run.", plural(*count, "time"))
            }
            Self::Dirty(reasons) if reasons.is_empty() => {
                f.write_str("DIRTY RUN: disturbed while it was measured, no reason recorded. Repeat it.")
            }
            Self::Dirty(reasons) => {
                write!(f, "DIRTY RUN: disturbed while it was measured ({}). Repeat it.", reasons.join("; "))
            }
            Self::Loaded { load, reasons } => {
                let seen = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
                write!(f, "LOADED RUN: disturbed while it was measured, as its load {load} was meant to{seen}.")
            }
            Self::Incomplete { interrupted: true } => {
                f.write_str("INCOMPLETE: the run was interrupted; these are the rows it had by then.")
            }
            Self::Incomplete { interrupted: false } => {
                f.write_str("INCOMPLETE: the run did not come to its end; these are the rows it had by then.")
            }
            Self::LostMessages(count) => {
                write!(f, "LOST: {} left no row; the percentiles know nothing of them.", plural(*count, "message"))
            }
            Self::LostFrames(count) => write!(f, "LOST: {} left no row.", plural(*count, "frame")),
            Self::Failed { what, count, of } => {
                let of = grouped(*of);
                write!(f, "FAILED: {} of {of} not ok; times and rates are over ok rows only.", plural(*count, what))
            }
            Self::AboveLimit { count, of, limit_gb_per_s, copy_kernel } => {
                let of = grouped(*of);
                write!(f, "NOT BELIEVABLE: {} of {of} above {limit_gb_per_s:.1} GB/s, ", plural(*count, "frame"))?;
                match copy_kernel {
                    Some(kernel) => write!(f, "the fastest copy this machine made ({kernel})")?,
                    None => f.write_str("more than one core of any machine can copy")?,
                }
                f.write_str(": an error of the tool that measured. They are kept in every figure below.")
            }
            Self::ZeroRtt(count) => {
                write!(f, "NOT BELIEVABLE: {} of 0 ns, which no clock can show.", plural(*count, "round trip"))
            }
            Self::HugeRtt(count) => {
                let seconds = BELIEVABLE_RTT_NS / 1_000_000_000;
                write!(f, "NOT BELIEVABLE: {} above {seconds} s.", plural(*count, "round trip"))
            }
            Self::OutOfOrder(count) => {
                write!(f, "NOT BELIEVABLE: {} with RECEIVED after PROCESSED.", plural(*count, "row"))
            }
            Self::RatesDisagree { count, line } => write!(
                f,
                "DISAGREEMENT: bandwidth_gbps of {} (the first on line {line}) is not test_size_bytes / duration_ns in \
                 GiB/s; the figures below are computed.",
                plural(*count, "row")
            ),
            Self::Unverified { count, of } => {
                write!(f, "UNVERIFIED: the content of {} of {} was not checked.", plural(*count, "ok frame"), grouped(*of))
            }
        }
    }
}

impl Serialize for Doubt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Doubt", 2)?;
        object.serialize_field("code", self.code())?;
        object.serialize_field("message", &self.to_string())?;
        object.end()
    }
}
