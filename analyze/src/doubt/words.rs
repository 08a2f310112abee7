//! Each reason in a sentence or two.

use std::fmt;

use super::{BELIEVABLE_RTT_NS, Doubt};
use crate::report::text::{duration, grouped, optional, plural};
use crate::stats::warm_up::WarmUp;

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProvenance { has_run_json: true } => f.write_str(
                "NO PROVENANCE: run.json does not say where the reader ran (neither vm nor guest.map_kind), so nothing is known \
                 of the machine behind these figures.",
            ),
            Self::OtherRun { rows, messages } => write!(
                f,
                "ANOTHER RUN'S FILES: {} of latency where run.json promises {}, so one of the two files is not of this run.",
                plural(*rows, "row"),
                plural(*messages, "message")
            ),
            Self::WrongBytes(count) => {
                write!(f, "WRONG BYTES: {} arrived with other content than was sent.", plural(*count, "frame"))
            }
            Self::NoProvenance { has_run_json: false } => f.write_str(
                "NO PROVENANCE: there is no run.json beside the CSV, so nothing is known of the machine, the accelerator \
                 or the mapping behind these figures.",
            ),
            Self::PeerViolations(sentences) => {
                write!(f, "PROTOCOL BROKEN BY THE GUEST: {}.", sentences.join("; "))
            }
            Self::RoofExceeded(sentences) => {
                write!(f, "ABOVE THE ROOF: {}.", sentences.join("; "))
            }
            Self::MissedRate { wanted_per_s, achieved_per_s } => {
                write!(
                    f,
                    "MISSED RATE: {} messages a second were sent where {} were due, so latency from the due time is \
                     the writer's backlog too.",
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
                f.write_str("DIRTY RUN: disturbed while it was measured, no reason recorded.")
            }
            Self::Dirty(reasons) => {
                write!(f, "DIRTY RUN: disturbed while it was measured ({}).", reasons.join("; "))
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
            Self::TimesDisagree { count, first } => write!(
                f,
                "DISAGREEMENT: latency_us of {} (the first of iteration {first}) is not latency_ns / 1000; the figures below are of \
                 latency_ns.",
                plural(*count, "row")
            ),
            Self::RatesDisagree { count, line } => write!(
                f,
                "DISAGREEMENT: bandwidth_gbps of {} (the first on line {line}) is not test_size_bytes / duration_ns in \
                 GiB/s; the figures below are computed.",
                plural(*count, "row")
            ),
            Self::SeenLate { count, of } => write!(
                f,
                "SEEN LATE: in {} of {} the guest read for more than twice as long as the writer saw it read: it had no CPU \
                 when RECEIVED came. Their parts are not what they say; their durations are.",
                plural(*count, "transfer"),
                grouped(*of)
            ),
            Self::Unverified { count, of, on_purpose } => {
                let asked = if *on_purpose { ", as asked" } else { "" };
                let of = grouped(*of);
                write!(f, "UNVERIFIED: the content of {} of {of} was not checked{asked}.", plural(*count, "ok frame"))
            }
            Self::Tcg => f.write_str(
                "TCG: QEMU translates the guest's instructions. Round trips through memory are real, copy rates in the guest \
                 are the translator's.",
            ),
            Self::Unpinned(sides) => {
                write!(f, "UNPINNED: {} may move from CPU to CPU, and pay for it in the tail.", sides.join(" and "))
            }
            Self::Uncached(what) => write!(f, "UNCACHED MAPPING: {what}."),
            Self::CoarseClock { resolution_ns, overhead_ns, p50_ns } => write!(
                f,
                "COARSE CLOCK: it steps by {} and a reading costs {}, near the p50 of {}: part of the figures is the clock.",
                duration(*resolution_ns),
                duration(*overhead_ns),
                duration(*p50_ns as f64)
            ),
            Self::WarmUp { found: WarmUp { messages, excess }, .. } => {
                let how = if *excess > 0.0 { "longer" } else { "less" };
                let messages = plural(*messages, "message");
                write!(f, "WARM-UP: the first {messages} took {:.0} % {how} than the rest, and are in every figure.", excess.abs() * 100.0)
            }
            Self::Drift { percent, .. } => {
                write!(f, "DRIFT: the median changed by {percent:+.1} % from beginning to end, more than chance would.")
            }
            Self::Dependent { block_length } => write!(
                f,
                "DEPENDENT: slow or fast stretches last longer than {}, a twentieth of the run: the intervals are too narrow.",
                plural(*block_length, "message")
            ),
            Self::TooFewSamples { percentiles, count } => {
                let needed: Vec<_> = percentiles.iter().map(|(name, needed)| format!("{name} needs {}", grouped(*needed))).collect();
                let are = if *count == 1 { "is" } else { "are" };
                write!(f, "TOO FEW SAMPLES: there {are} {}; {}.", grouped(*count), needed.join(", "))
            }
        }
    }
}
