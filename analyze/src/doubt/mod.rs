//! Reasons to doubt a run: how grave each is, what it means for the figures, and what to do. They are printed first and
//! never drop a sample.

mod advice;
mod found;
mod setup;
mod words;

use serde::Serialize;
use serde::ser::SerializeStruct;

pub use advice::Severity;
pub use found::OddRows;

use crate::input::Run;
use crate::stats::shape::Shape;
use crate::stats::warm_up::WarmUp;
use crate::summary::RunSummary;

/// A round trip longer than this outlasts any deadline of the toolkit's: it is a wrapped or garbled counter.
pub const BELIEVABLE_RTT_NS: u64 = 60_000_000_000;

/// One reason.
#[derive(Debug, Clone, PartialEq)]
pub enum Doubt {
    /// Nothing says where the run was taken.
    NoProvenance {
        /// Whether there is a run.json, which does not say it.
        has_run_json: bool,
    },
    /// run.json promises fewer messages than there are rows: it is of another run.
    OtherRun {
        /// Rows of the latency file.
        rows: u64,
        /// Messages by run.json.
        messages: u64,
    },
    /// Frames whose content was not what was sent.
    WrongBytes(u64),
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
    /// The file's times in microseconds are not those in nanoseconds.
    TimesDisagree {
        /// How many rows.
        count: u64,
        /// Iteration of the first.
        first: u64,
    },
    /// The file's own bandwidth column is not what its bytes and nanoseconds give.
    RatesDisagree {
        /// How many rows.
        count: u64,
        /// Line of the first.
        line: u64,
    },
    /// Frames that the guest read for more than twice as long as the writer saw it read.
    SeenLate {
        /// How many.
        count: u64,
        /// Of how many ok ones.
        of: u64,
    },
    /// Ok frames that nobody verified.
    Unverified {
        /// How many.
        count: u64,
        /// Of how many ok ones.
        of: u64,
        /// Whether that was asked for.
        on_purpose: bool,
    },
    /// A guest whose instructions QEMU translates.
    Tcg,
    /// Sides that were free to move from CPU to CPU.
    Unpinned(Vec<&'static str>),
    /// A mapping whose reads are not cached; what run.json says of it, or its memory type.
    Uncached(String),
    /// A clock whose steps or cost are near what was measured.
    CoarseClock {
        /// Its smallest step.
        resolution_ns: f64,
        /// What reading it costs.
        overhead_ns: f64,
        /// The median round trip.
        p50_ns: u64,
    },
    /// A beginning slower than the rest.
    WarmUp {
        /// How long and how much.
        found: WarmUp,
        /// Whether the messages depend on each other beyond what an interval can be made of.
        is_dependent: bool,
    },
    /// Figures that grew or fell all through the run.
    Drift {
        /// By how many percent of the median.
        percent: f64,
        /// Whether the messages depend on each other beyond what an interval can be made of.
        is_dependent: bool,
    },
    /// Messages that depend on those so far before them that no interval can be trusted.
    Dependent {
        /// Messages of the longest block that an interval can be made of.
        block_length: u64,
    },
    /// Percentiles that need more samples: their names and how many each.
    TooFewSamples {
        /// The percentiles.
        percentiles: Vec<(String, u64)>,
        /// Samples there are.
        count: u64,
    },
}

impl Doubt {
    /// All reasons to doubt `run`, the gravest first.
    #[must_use]
    pub fn of(run: &Run, summary: &RunSummary, shape: Option<&Shape>, odd: &OddRows) -> Vec<Self> {
        let mut doubts = found::all(run, summary, shape, odd);
        doubts.sort_by_key(Self::severity);
        doubts
    }

    /// A stable name for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoProvenance { .. } => "no_provenance",
            Self::OtherRun { .. } => "other_run",
            Self::WrongBytes(_) => "wrong_bytes",
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
            Self::TimesDisagree { .. } => "times_disagree",
            Self::RatesDisagree { .. } => "rates_disagree",
            Self::SeenLate { .. } => "seen_late",
            Self::Unverified { .. } => "unverified",
            Self::Tcg => "tcg",
            Self::Unpinned(_) => "unpinned",
            Self::Uncached(_) => "uncached",
            Self::CoarseClock { .. } => "coarse_clock",
            Self::WarmUp { .. } => "warm_up",
            Self::Drift { .. } => "drift",
            Self::Dependent { .. } => "dependent",
            Self::TooFewSamples { .. } => "too_few_samples",
        }
    }
}

impl Serialize for Doubt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Doubt", 4)?;
        object.serialize_field("code", self.code())?;
        object.serialize_field("severity", &self.severity())?;
        object.serialize_field("message", &self.to_string())?;
        object.serialize_field("advice", &self.advice())?;
        object.end()
    }
}
