//! The offset between our clock and the peer's, with a strict bound, from exchanges of timestamps.
//!
//! In an exchange the peer reads its clock once, somewhere between our two readings `sent` and `seen`. Whatever the
//! delays were, and however unequal, `peer - seen <= offset <= peer - sent` held when the peer read its clock, where
//! offset is the peer's clock minus ours. Two clocks at slightly different constant rates (each side calibrates its
//! counter for some milliseconds only) make the offset a line over time, and each exchange a vertical interval that
//! this line must pass. The lines that pass all intervals are a convex set; the one in its middle is the estimate,
//! and how far the others are from it is the bound. No assumption is made about delays, so an exchange that
//! was preempted for milliseconds constrains little and spoils nothing. The geometry is that of Moon, Skelly and
//! Towsley, "Estimation and removal of clock skew from network delay measurements" (INFOCOM 1999), with both
//! directions and all of the feasible set instead of one line of it.
//!
//! The intervals stand exactly over the peer's reading, so the lines are computed over the peer's time. A line is
//! given by its values at the first and the last reading, (y1, y2); in this plane every exchange is two half-planes,
//! and the feasible set a convex polygon, cut out of a rectangle one half-plane after the other.

use crate::clock_offset::polygon::Polygon;

mod polygon;

/// The largest difference of rates believed, in parts per million: a clock further off was not calibrated.
pub const DRIFT_MAX_PPM: f64 = 1000.0;
const SLOPE_MAX: f64 = DRIFT_MAX_PPM * 1e-6;
/// The largest reading that can be a time, in nanoseconds: thirty years. A `f64` says little beyond.
const READING_MAX_NS: f64 = 1e18;

/// One exchange of timestamps.
///
/// The readings count as exact: a caller whose clocks tick coarsely lowers `sent_ns` and raises `seen_ns` by the
/// resolutions. Any zero will do, though a `f64` of 1e15 ns is itself only good to an eighth of a nanosecond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange {
    /// Our clock, before the peer read its own, in nanoseconds.
    pub sent_ns: f64,
    /// The peer's clock, in its nanoseconds.
    pub peer_ns: f64,
    /// Our clock, after the peer had read its own, in nanoseconds.
    pub seen_ns: f64,
}

impl Exchange {
    /// What passed on our clock, in nanoseconds.
    #[must_use]
    pub fn rtt_ns(&self) -> f64 {
        self.seen_ns - self.sent_ns
    }
}

/// Where the peer's clock stands against ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffsetEstimate {
    /// The peer's clock minus ours at [`OffsetEstimate::reference_ns`], in nanoseconds.
    pub offset_ns: f64,
    /// How much the offset grows, in nanoseconds per millisecond of our clock, times 1000: parts per million.
    pub drift_ppm: f64,
    /// The true offset is no further than this from [`OffsetEstimate::offset_at`], in nanoseconds, at any time from
    /// the first exchange to the last, if both clocks ran at constant rates between them. Outside it holds no more.
    /// From a single exchange, which shows no drift, it holds at the moment of the peer's reading.
    pub bound_ns: f64,
    /// The middle of the exchanges on our clock, in nanoseconds.
    pub reference_ns: f64,
    /// How many exchanges this rests on.
    pub exchanges: usize,
    /// The peer's clock at the reference: with it, small differences of large readings stay exact.
    peer_reference_ns: f64,
}

impl OffsetEstimate {
    /// The peer's clock minus ours when our clock shows `ours_ns`, in nanoseconds.
    #[must_use]
    pub fn offset_at(&self, ours_ns: f64) -> f64 {
        self.offset_ns + (ours_ns - self.reference_ns) * self.drift_ppm * 1e-6
    }

    /// What our clock shows when the peer's shows `peer_ns`, in nanoseconds, right within the bound.
    #[must_use]
    pub fn ours_from_peer(&self, peer_ns: f64) -> f64 {
        self.reference_ns + self.since_reference_ns(peer_ns)
    }

    /// Nanoseconds of our clock from the reference to the peer's reading.
    fn since_reference_ns(&self, peer_ns: f64) -> f64 {
        (peer_ns - self.peer_reference_ns) / (1.0 + self.drift_ppm * 1e-6)
    }
}

/// Why no offset could be estimated.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OffsetError {
    /// No exchange at all.
    #[error("the clock offset cannot be estimated without a single exchange of timestamps")]
    Empty,
    /// Not a time of this century, or seen before it was sent.
    #[error(
        "exchange {index} of timestamps is malformed: sent {sent_ns} ns, peer {peer_ns} ns, seen {seen_ns} ns"
    )]
    Malformed {
        /// Which, from 0.
        index: usize,
        /// Our first reading.
        sent_ns: f64,
        /// The peer's.
        peer_ns: f64,
        /// Our second.
        seen_ns: f64,
    },
    /// No line passes all intervals.
    #[error(
        "no constant drift explains the timestamps, which are at least {off_by_ns:.1} ns off; a clock stepped or \
         changed its rate: measure again, one-way latencies of this run mean nothing"
    )]
    Inconsistent {
        /// The least by which some exchange must be wrong, whatever the offset and drift (up to [`DRIFT_MAX_PPM`]).
        off_by_ns: f64,
    },
}

/// One exchange against the bases: what it says about the offset over the peer's time.
#[derive(Debug, Clone, Copy)]
struct Interval {
    at_ns: f64,
    low_ns: f64,
    high_ns: f64,
}

impl Interval {
    fn middle_ns(&self) -> f64 {
        f64::midpoint(self.low_ns, self.high_ns)
    }
}

/// The estimate from exchanges in any order; bursts before, during and after what is measured are best.
///
/// The bound is half of what the feasible lines differ by at the worse end of the span. A single exchange gives half
/// its RTT and no drift. Takes time in proportion to the number of exchanges, whatever the peer wrote.
///
/// # Errors
/// [`OffsetError`]: nothing to go by, nonsense, or no constant drift that fits.
pub fn estimate(exchanges: &[Exchange]) -> Result<OffsetEstimate, OffsetError> {
    let base = *exchanges.first().ok_or(OffsetError::Empty)?;
    let is_time = |ns: f64| ns.abs() <= READING_MAX_NS;
    let is_sound =
        |e: &Exchange| [e.sent_ns, e.peer_ns, e.seen_ns].into_iter().all(is_time) && e.rtt_ns() >= 0.0;
    if let Some(index) = exchanges.iter().position(|e| !is_sound(e)) {
        let Exchange { sent_ns, peer_ns, seen_ns } = exchanges[index];
        return Err(OffsetError::Malformed { index, sent_ns, peer_ns, seen_ns });
    }
    // Bases first: the differences of near readings are exact, those of a counter and another's are not.
    let intervals: Vec<Interval> = exchanges
        .iter()
        .map(|e| {
            let at_ns = e.peer_ns - base.peer_ns;
            Interval {
                at_ns,
                low_ns: at_ns - (e.seen_ns - base.sent_ns),
                high_ns: at_ns - (e.sent_ns - base.sent_ns),
            }
        })
        .collect();
    let line = middle_line(&intervals, rounding_ns(exchanges))?;
    // Over the peer's time the offset has `slope`; over ours, which runs slower by just that, a little more. The
    // same goes for the bound, where the steepest line decides.
    let reference_since_base = line.middle_at_ns - line.middle_ns;
    let reference_ns = base.sent_ns + reference_since_base;
    let peer_reference_ns = base.peer_ns + line.middle_at_ns;
    Ok(OffsetEstimate {
        offset_ns: peer_reference_ns - reference_ns,
        drift_ppm: line.slope / (1.0 - line.slope) * 1e6,
        bound_ns: line.bound_ns / (1.0 - line.steepest),
        reference_ns,
        exchanges: exchanges.len(),
        peer_reference_ns,
    })
}

/// Our and the peer's readings turned into one-way latencies, `(to_peer_ns, from_peer_ns)`: each is right within
/// the estimate's bound, and may be negative by as much. Their sum is the RTT, to the last bit.
#[must_use]
pub fn one_way(exchange: &Exchange, estimate: &OffsetEstimate) -> (f64, f64) {
    let rtt_ns = exchange.rtt_ns();
    let to_peer_ns =
        (estimate.reference_ns - exchange.sent_ns) + estimate.since_reference_ns(exchange.peer_ns);
    // The second subtraction takes back what the first rounded off, so that the two add up.
    let from_peer_ns = rtt_ns - to_peer_ns;
    (rtt_ns - from_peer_ns, from_peer_ns)
}

/// What the readings may have lost to rounding, all together: they, the reference and the offset are rounded once
/// each.
fn rounding_ns(exchanges: &[Exchange]) -> f64 {
    let largest = exchanges
        .iter()
        .flat_map(|e| [e.sent_ns.abs(), e.peer_ns.abs(), e.seen_ns.abs()])
        .fold(0.0, f64::max);
    // A billionth of a nanosecond for the arithmetic on what is left once the bases are gone.
    2.0 * f64::EPSILON * largest + 1e-9
}

/// The middle of the feasible lines, over the peer's time.
struct MiddleLine {
    /// Middle of the span and the line's value there.
    middle_at_ns: f64,
    middle_ns: f64,
    slope: f64,
    /// The steepest slope of any feasible line, at least 0.
    steepest: f64,
    bound_ns: f64,
}

fn middle_line(intervals: &[Interval], rounding_ns: f64) -> Result<MiddleLine, OffsetError> {
    let by_time = |a: &&Interval, b: &&Interval| a.at_ns.total_cmp(&b.at_ns);
    let (Some(first), Some(last)) = (intervals.iter().min_by(by_time), intervals.iter().max_by(by_time))
    else {
        return Err(OffsetError::Empty);
    };
    let span_ns = last.at_ns - first.at_ns;
    if span_ns <= 0.0 {
        return one_instant(intervals);
    }
    // Values are taken against the chord through the middles of both ends, so that they are as small as can be.
    let chord = Chord { first: *first, last: *last, span_ns };
    let Some(polygon) = chord.feasible(intervals, rounding_ns) else {
        return Err(OffsetError::Inconsistent { off_by_ns: chord.off_by_ns(intervals, rounding_ns) });
    };
    let [(low_1, high_1), (low_2, high_2)] = polygon.bounding_box();
    // The worst error of a line is at an end. The middle of the bounding box has the least possible at both, and
    // lies in the polygon, as the middle of any plane convex set's box does.
    let (y_1, y_2) = (f64::midpoint(low_1, high_1), f64::midpoint(low_2, high_2));
    let steepest = polygon.corners().iter().map(|&[y_1, y_2]| chord.slope(y_1, y_2)).fold(0.0, f64::max);
    // Slack may have let a line over a very short span be too steep by as much.
    let slope = chord.slope(y_1, y_2);
    let clamped = slope.clamp(-SLOPE_MAX, SLOPE_MAX);
    let clamped_ns = (slope - clamped).abs() * span_ns / 2.0;
    Ok(MiddleLine {
        middle_at_ns: f64::midpoint(first.at_ns, last.at_ns),
        middle_ns: f64::midpoint(first.middle_ns() + y_1, last.middle_ns() + y_2),
        slope: clamped,
        steepest: steepest.min(SLOPE_MAX),
        bound_ns: (high_1 - low_1).max(high_2 - low_2) / 2.0 + clamped_ns,
    })
}

/// All exchanges at one instant of the peer's clock: no drift to be seen, and the intervals' intersection.
fn one_instant(intervals: &[Interval]) -> Result<MiddleLine, OffsetError> {
    let low_ns = intervals.iter().map(|i| i.low_ns).fold(f64::MIN, f64::max);
    let high_ns = intervals.iter().map(|i| i.high_ns).fold(f64::MAX, f64::min);
    if low_ns > high_ns {
        return Err(OffsetError::Inconsistent { off_by_ns: (low_ns - high_ns) / 2.0 });
    }
    Ok(MiddleLine {
        middle_at_ns: intervals[0].at_ns,
        middle_ns: f64::midpoint(low_ns, high_ns),
        slope: 0.0,
        steepest: 0.0,
        bound_ns: (high_ns - low_ns) / 2.0,
    })
}

/// The line through the middles of the first and the last interval.
struct Chord {
    first: Interval,
    last: Interval,
    span_ns: f64,
}

impl Chord {
    fn slope(&self, y_1: f64, y_2: f64) -> f64 {
        ((self.last.middle_ns() + y_2) - (self.first.middle_ns() + y_1)) / self.span_ns
    }

    /// The interval's place in the span, from 0 to 1, and its ends against the chord.
    fn relative(&self, interval: &Interval) -> (f64, f64, f64) {
        let place = (interval.at_ns - self.first.at_ns) / self.span_ns;
        let chord_ns = self.first.middle_ns() * (1.0 - place) + self.last.middle_ns() * place;
        (place, interval.low_ns - chord_ns, interval.high_ns - chord_ns)
    }

    /// The lines that pass all intervals, each wider by `slack_ns` at both ends; `None` if there are none.
    fn feasible(&self, intervals: &[Interval], slack_ns: f64) -> Option<Polygon> {
        let half = |interval: &Interval| (interval.high_ns - interval.low_ns) / 2.0 + slack_ns;
        let mut polygon = Polygon::rectangle(half(&self.first), half(&self.last));
        // slope <= max and slope >= -max.
        let rise_max = SLOPE_MAX * self.span_ns;
        let chord_rise = self.last.middle_ns() - self.first.middle_ns();
        polygon.cut([-1.0, 1.0], rise_max - chord_rise + slack_ns);
        polygon.cut([1.0, -1.0], rise_max + chord_rise + slack_ns);
        for interval in intervals {
            let (place, low_ns, high_ns) = self.relative(interval);
            polygon.cut([1.0 - place, place], high_ns + slack_ns);
            polygon.cut([place - 1.0, -place], slack_ns - low_ns);
            if polygon.corners().is_empty() {
                return None;
            }
        }
        Some(polygon)
    }

    /// The least slack at which some line is feasible, found by halving.
    fn off_by_ns(&self, intervals: &[Interval], infeasible_ns: f64) -> f64 {
        // With this much the level line through the middle of the first interval is feasible.
        let level_ns = self.first.middle_ns();
        let enough_ns =
            intervals.iter().map(|i| (i.low_ns - level_ns).max(level_ns - i.high_ns)).fold(0.0, f64::max);
        let (mut too_little, mut enough) = (infeasible_ns, enough_ns.max(infeasible_ns));
        for _ in 0..60 {
            let slack_ns = f64::midpoint(too_little, enough);
            if self.feasible(intervals, slack_ns).is_some() {
                enough = slack_ns;
            } else {
                too_little = slack_ns;
            }
            if enough - too_little <= 1e-6 * enough {
                break;
            }
        }
        enough
    }
}

#[cfg(test)]
mod tests;
