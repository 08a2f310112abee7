//! The pace of a stream, and each late frame with the interference seen beside it.

use super::text::{duration, entry, grouped, optional, plural, time, wrapped};
use crate::stream::{LateFrame, Stream};
use crate::summary::FrameSummary;

/// Late frames listed; the others are counted.
const LISTED: usize = 20;

/// The lines for one frame format; empty if it was not streamed.
pub(super) fn section(frame: &FrameSummary) -> String {
    let Some(stream) = &frame.stream else { return String::new() };
    let mut out = format!("\n  Stream, {}\n", frame.label);
    out += &entry("Pace", &pace(stream));
    for late in stream.late.iter().take(LISTED) {
        out += &wrapped("    late: ", &line(late));
    }
    if stream.late.len() > LISTED {
        out += &wrapped("    ", &format!("and {}", more(stream)));
    }
    out
}

/// The same as sentences.
pub(super) fn sentences(frame: &FrameSummary) -> Option<Vec<String>> {
    let stream = frame.stream.as_ref()?;
    let mut all = vec![format!("{}: {}", frame.label, pace(stream))];
    all.extend(stream.late.iter().take(LISTED).map(|late| format!("late: {}", line(late))));
    if stream.late.len() > LISTED {
        all.push(format!("and {}", more(stream)));
    }
    Some(all)
}

fn pace(stream: &Stream) -> String {
    let (rate, period) = (optional(stream.sustained_fps), time(stream.period_p50_ns));
    let (late, dropped) = (grouped(stream.late.len() as u64), grouped(stream.dropped));
    format!(
        "{rate} frames/s sustained, {late} late, {dropped} dropped, period p50 {period} (PROCESSED to PROCESSED)"
    )
}

fn more(stream: &Stream) -> String {
    plural((stream.late.len() - LISTED) as u64, "more late frame")
}

fn line(late: &LateFrame) -> String {
    let after = time(late.from_due_ns);
    let beside = match (late.gap_ns, late.switches) {
        (None, None) => "interference not recorded".into(),
        (gap, switches) if gap.unwrap_or(0) == 0 && switches.unwrap_or(0) == 0 => {
            "no interference seen".into()
        }
        (gap, switches) => {
            let gap = gap.filter(|ns| *ns > 0).map(|ns| format!("clock gap of {}", duration(ns as f64)));
            let switches = switches.filter(|n| *n > 0).map(|n| plural(n, "involuntary context switch"));
            gap.into_iter().chain(switches).collect::<Vec<_>>().join(", ")
        }
    };
    format!("frame {}, {after} after it was due: {beside}", grouped(late.iteration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(gap_ns: Option<u64>, switches: Option<u64>) -> String {
        line(&LateFrame { iteration: 7, from_due_ns: Some(17_000_000), gap_ns, switches })
    }

    #[test]
    fn what_was_seen_beside_a_late_frame_is_said() {
        let begin = "frame 7, 17.00 ms after it was due: ";
        assert_eq!(late(Some(0), Some(0)), format!("{begin}no interference seen"));
        assert_eq!(late(None, None), format!("{begin}interference not recorded"));
        assert_eq!(
            late(Some(2_000_000), Some(2)),
            format!("{begin}clock gap of 2.000 ms, 2 involuntary context switches")
        );
        assert_eq!(late(Some(0), Some(1)), format!("{begin}1 involuntary context switch"));
    }
}
