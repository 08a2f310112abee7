//! What a stream of frames came to: the rate it kept, the frames that came late, and what was seen beside them.

use serde::Serialize;

use crate::input::{Frame, Transfer};
use crate::stats::Sorted;

/// A stream of one frame format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stream {
    /// Ok frames a second, from PROCESSED of the first to PROCESSED of the last.
    pub sustained_fps: Option<f64>,
    /// Median time from PROCESSED of one frame to PROCESSED of the next, over neighbours that both arrived.
    pub period_p50_ns: Option<u64>,
    /// Frames due while no slot was free; they are among the failed.
    pub dropped: u64,
    /// Frames that came late, in order.
    pub late: Vec<LateFrame>,
}

/// A frame that came after the next one was due, and the interference seen while it was on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LateFrame {
    /// Its iteration number.
    pub iteration: u64,
    /// Due time to PROCESSED.
    pub from_due_ns: Option<u64>,
    /// Largest clock gap of the host's thread.
    pub gap_ns: Option<u64>,
    /// Involuntary context switches of it.
    pub switches: Option<u64>,
}

impl Stream {
    /// Of `frame`, if it was streamed.
    #[must_use]
    pub fn of(frame: &Frame, dropped: u64) -> Option<Self> {
        if !frame.setup.is_stream() {
            return None;
        }
        let late = frame.transfers.iter().filter(|t| t.late);
        Some(Self {
            sustained_fps: sustained_fps(frame),
            period_p50_ns: Sorted::new(frame.periods_ns().collect()).median(),
            dropped,
            late: late
                .map(|t| LateFrame {
                    iteration: t.iteration,
                    from_due_ns: t.from_due_ns,
                    gap_ns: t.gap_ns,
                    switches: t.switches,
                })
                .collect(),
        })
    }
}

/// Over the frames that arrived, from the end of the first to the end of the last, as host-writer has it.
fn sustained_fps(frame: &Frame) -> Option<f64> {
    let ends = || frame.transfers.iter().filter_map(Transfer::end_ns);
    let span_ns = ends().max()?.checked_sub(ends().min()?).filter(|ns| *ns > 0)?;
    Some((ends().count() - 1) as f64 * 1e9 / span_ns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Setup;

    /// Frames of 4 ms, one due every 10 ms; the one at 30 ms is missing, the last is late.
    fn frame(mode: &str) -> Frame {
        let transfer = |iteration: u64| Transfer {
            iteration,
            duration_ns: 4_000_000,
            write_ns: None,
            notify_ns: None,
            read_ns: None,
            verify_ns: None,
            guest_read_ns: None,
            guest_stall_ns: None,
            start_ns: Some(iteration * 10_000_000),
            from_due_ns: Some(4_000_000),
            late: iteration == 5,
            gap_ns: Some(0),
            switches: Some(1),
            verified: true,
            spared: false,
        };
        Frame {
            name: "4k".into(),
            way: String::new(),
            setup: Setup { mode: Some(mode.into()), ..Setup::default() },
            chunk_bytes: None,
            slots: None,
            digests: Vec::new(),
            bytes: 24_883_200,
            transfers: [1, 2, 4, 5].map(transfer).into(),
            failures: std::collections::BTreeMap::new(),
            mismatches: Vec::new(),
            lost: 0,
        }
    }

    #[test]
    fn the_pace_is_over_the_frames_that_arrived() {
        let stream = Stream::of(&frame("stream"), 1).unwrap();
        // Three more frames from 14 ms to 54 ms.
        assert!((stream.sustained_fps.unwrap() - 3.0 / 0.040).abs() < 1e-9);
        // 2 to 4 are no neighbours.
        assert_eq!(stream.period_p50_ns, Some(10_000_000));
        assert_eq!(stream.dropped, 1);
        let late =
            LateFrame { iteration: 5, from_due_ns: Some(4_000_000), gap_ns: Some(0), switches: Some(1) };
        assert_eq!(stream.late, [late]);
        assert_eq!(Stream::of(&frame("chunked"), 0), None);
    }
}
