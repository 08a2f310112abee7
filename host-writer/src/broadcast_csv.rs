//! `broadcast_results.csv`: one row a message of a broadcast, with a pair of columns for each lane.

use std::io::{self, Write};

use ivshmem_proto::clock::{Clock, Ticks};

use crate::broadcast::{Answer, Rows};
use crate::status::RowStatus;

/// What all files have in common; `received_ns_K,processed_ns_K` of each lane K follow.
pub const HEADER: &str = "iteration,peers,slowest_ns,fastest_ns,spread_ns,status";

/// Room a row may take, for allocating the file beforehand.
#[must_use]
pub const fn row_bytes_max(lanes: u64) -> u64 {
    96 + lanes * 64
}

/// When the last and the first of the guests that answered well had done with a message, in ticks; `None` when none did.
#[must_use]
pub fn extremes(answers: &[Option<Answer>]) -> Option<(u64, u64)> {
    let ok = || {
        let well = answers.iter().flatten().filter(|answer| answer.status == RowStatus::Ok);
        well.filter_map(|answer| answer.processed_ticks)
    };
    ok().max().zip(ok().min())
}

/// `ok`, or each lane that was not, such as `lane1:timeout_received`; `gone` is who was lost before.
fn status(answers: &[Option<Answer>]) -> String {
    let wrong = |(lane, answer): (usize, &Option<Answer>)| match answer.map(|answer| answer.status) {
        Some(RowStatus::Ok) => None,
        Some(status) => Some(format!("lane{lane}:{}", status.name())),
        None => Some(format!("lane{lane}:gone")),
    };
    let words: Vec<_> = answers.iter().enumerate().filter_map(wrong).collect();
    if words.is_empty() { RowStatus::Ok.name().to_owned() } else { words.join(" ") }
}

/// Writes all rows, numbered from 1. Times count from the publication in the first lane.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut dyn Write, rows: &Rows, clock: &Clock) -> io::Result<()> {
    write!(out, "{HEADER}")?;
    for lane in 0..rows.lanes() {
        write!(out, ",received_ns_{lane},processed_ns_{lane}")?;
    }
    writeln!(out)?;
    let ns = |ticks: u64| clock.ns(Ticks(0), Ticks(ticks));
    for (index, answers) in rows.iter().enumerate() {
        write!(out, "{},{},", index + 1, answers.iter().flatten().count())?;
        match extremes(answers).map(|(slowest, fastest)| (ns(slowest), ns(fastest))) {
            Some((slowest, fastest)) => write!(out, "{slowest},{fastest},{},", slowest - fastest)?,
            None => write!(out, ",,,")?,
        }
        write!(out, "{}", status(answers))?;
        for answer in answers {
            for ticks in [answer.and_then(|a| a.received_ticks), answer.and_then(|a| a.processed_ticks)] {
                match ticks.map(ns) {
                    Some(ns) => write!(out, ",{ns}")?,
                    None => write!(out, ",")?,
                }
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::wire::ClockSource;

    #[test]
    fn each_lane_has_its_columns_and_whoever_failed_is_named() {
        let answer = |received_ticks, processed_ticks, status| {
            Some(Answer { received_ticks, processed_ticks, status })
        };
        let mut rows = Rows::reserve(2, 4).unwrap();
        rows.take(
            [answer(Some(90), Some(400), RowStatus::Ok), answer(None, Some(700), RowStatus::Ok)].into_iter(),
        );
        rows.take(
            [answer(None, Some(500), RowStatus::Ok), answer(Some(80), None, RowStatus::TimeoutProcessed)]
                .into_iter(),
        );
        rows.take([answer(None, Some(600), RowStatus::Mismatch), None].into_iter());
        let mut text = Vec::new();
        write(&mut text, &rows, &Clock::of(ClockSource::ClockMonotonic)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.len() as u64 <= row_bytes_max(2)));
        insta::assert_snapshot!(text);
    }
}
