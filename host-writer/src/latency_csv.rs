//! `latency_results.csv`: one row a message, in order; what was not measured is an empty field.

use std::io::{self, Write};

use ivshmem_proto::clock::{Clock, Ticks};

use crate::latency::Sample;

/// The columns; the first three are the prototype's.
pub const HEADER: &str = "iteration,latency_ns,latency_us,received_ns,status";

/// Room a row may take, for allocating the file beforehand.
pub const ROW_BYTES_MAX: u64 = 64;

/// Writes all samples, numbered from 1.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut dyn Write, samples: &[Sample], clock: &Clock) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    let ns = |ticks| clock.ns(Ticks(0), Ticks(ticks));
    for (index, sample) in samples.iter().enumerate() {
        write!(out, "{},", index + 1)?;
        match sample.processed_ticks.map(ns) {
            Some(ns) => write!(out, "{ns},{}.{:03},", ns / 1000, ns % 1000)?,
            None => write!(out, ",,")?,
        }
        match sample.received_ticks.map(ns) {
            Some(ns) => write!(out, "{ns},")?,
            None => write!(out, ",")?,
        }
        writeln!(out, "{}", sample.status.name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RowStatus;
    use ivshmem_proto::wire::ClockSource;

    #[test]
    fn failures_are_rows_with_empty_fields() {
        let samples = [
            Sample { received_ticks: Some(90), processed_ticks: Some(1130), status: RowStatus::Ok },
            Sample { received_ticks: Some(95), processed_ticks: None, status: RowStatus::TimeoutProcessed },
            Sample { received_ticks: None, processed_ticks: None, status: RowStatus::TimeoutReceived },
        ];
        let mut text = Vec::new();
        write(&mut text, &samples, &Clock::of(ClockSource::ClockMonotonic)).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "iteration,latency_ns,latency_us,received_ns,status\n\
             1,1130,1.130,90,ok\n\
             2,,,95,timeout_processed\n\
             3,,,,timeout_received\n"
        );
    }
}
