//! `latency_results.csv`: one row a message, in order; what was not measured is an empty field.

use std::io::{self, Write};

use ivshmem_proto::clock::{Clock, Ticks};

use crate::latency::Sample;
use crate::one_way::OneWay;

/// The columns; the first three are the prototype's.
pub const HEADER: &str =
    "iteration,latency_ns,latency_us,received_ns,status,send_delay_ns,to_guest_ns,to_host_ns";

/// Room a row may take, for allocating the file beforehand.
pub const ROW_BYTES_MAX: u64 = 96;

/// Writes all samples, numbered from 1. Latencies count from the due time; `open_loop` says whether there was one.
///
/// # Errors
/// The writer's.
pub fn write(
    out: &mut dyn Write,
    samples: &[Sample],
    one_way: Option<&OneWay>,
    open_loop: bool,
    clock: &Clock,
) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    let ns = |ticks| clock.ns(Ticks(0), Ticks(ticks));
    let ways = one_way.map_or(&[][..], |way| &way.samples);
    for (index, sample) in samples.iter().enumerate() {
        write!(out, "{},", index + 1)?;
        match sample.processed_from_due().map(ns) {
            Some(ns) => write!(out, "{ns},{}.{:03},", ns / 1000, ns % 1000)?,
            None => write!(out, ",,")?,
        }
        match sample.received_from_due().map(ns) {
            Some(ns) => write!(out, "{ns},")?,
            None => write!(out, ",")?,
        }
        write!(out, "{},", sample.status.name())?;
        if open_loop {
            write!(out, "{}", ns(sample.delay_ticks))?;
        }
        match ways.get(index).copied().flatten() {
            Some((to_guest_ns, to_host_ns)) => writeln!(out, ",{to_guest_ns:.0},{to_host_ns:.0}")?,
            None => writeln!(out, ",,")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RowStatus;
    use ivshmem_proto::wire::ClockSource;

    fn sample(received_ticks: Option<u64>, processed_ticks: Option<u64>, status: RowStatus) -> Sample {
        Sample { start: Ticks(0), delay_ticks: 0, received_ticks, processed_ticks, seen_ticks: 0, status }
    }

    fn text(samples: &[Sample], one_way: Option<&OneWay>, open_loop: bool) -> String {
        let mut text = Vec::new();
        write(&mut text, samples, one_way, open_loop, &Clock::of(ClockSource::ClockMonotonic)).unwrap();
        String::from_utf8(text).unwrap().strip_prefix(HEADER).unwrap().to_owned()
    }

    #[test]
    fn failures_are_rows_with_empty_fields() {
        let samples = [
            sample(Some(90), Some(1130), RowStatus::Ok),
            sample(Some(95), None, RowStatus::TimeoutProcessed),
            sample(None, None, RowStatus::TimeoutReceived),
        ];
        assert_eq!(
            text(&samples, None, false),
            "\n1,1130,1.130,90,ok,,,\n2,,,95,timeout_processed,,,\n3,,,,timeout_received,,,\n"
        );
    }

    #[test]
    fn in_an_open_loop_latency_counts_from_the_due_time() {
        let late = Sample { delay_ticks: 1000, ..sample(Some(90), Some(130), RowStatus::Ok) };
        assert_eq!(text(&[late], None, true), "\n1,1130,1.130,1090,ok,1000,,\n");
    }
}
