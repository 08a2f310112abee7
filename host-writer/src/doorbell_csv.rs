//! `doorbell_results.csv`: one row a message of a latency test with doorbells, beside `latency_results.csv`.
//!
//! How the sides waited, what it cost and how often bells rang are the whole run's and stand in each row, so that the rows of
//! many runs can be put into one table.

use std::io::{self, Write};

use ivshmem_proto::clock::{Clock, Ticks};

use crate::config::Pace;
use crate::latency::Sample;
use crate::one_way::OneWay;
use crate::usage::DoorbellFacts;

/// The columns.
pub const HEADER: &str = "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,received_ns,guest_wake_ns,host_wake_ns,\
                          oneway_bound_ns,host_cpu_ns_per_message,vcpu_cpu_ns_per_message,guest_cpu_ns_per_message,\
                          rings_to_guest,rings_to_host,interrupts,coalesced,missed,status";

/// Room a row may take, for allocating the file beforehand.
pub const ROW_BYTES_MAX: u64 = 256;

/// What all rows have in common.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// How the sides waited and what it cost.
    pub facts: &'a DoorbellFacts,
    /// How often messages were sent.
    pub pace: Pace,
    /// What ran beside the test.
    pub load: Option<&'a str>,
    /// One-way latencies.
    pub one_way: Option<&'a OneWay>,
}

/// A number, or nothing.
fn or_empty(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Writes all samples, numbered from 1. Latencies count from publication, also in an open loop.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut dyn Write, samples: &[Sample], common: &Common<'_>, clock: &Clock) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    let Common { facts, pace, load, one_way } = common;
    let ns = |ticks: Option<u64>| or_empty(ticks.map(|ticks| clock.ns(Ticks(0), Ticks(ticks))));
    let rate = match pace {
        Pace::Closed(pause) if pause.is_zero() => "max".to_owned(),
        Pace::Closed(pause) => format!("{:.0}", 1.0 / pause.as_secs_f64()),
        Pace::Open { rate_per_s, .. } => rate_per_s.to_string(),
    };
    // A label has commas where there are several loads.
    let load = load.map_or_else(|| "idle".to_owned(), |label| format!("\"{}\"", label.replace('"', "\"\"")));
    let bound = or_empty(one_way.and_then(|way| way.bound_ns));
    let before = format!("{},{},{rate},{load}", facts.guest_wait, facts.host_wait);
    let after = format!(
        "{bound},{},{},{},{},{},{},{},{}",
        or_empty(facts.host_cpu_ns_per_message),
        or_empty(facts.vcpu_cpu_ns_per_message),
        or_empty(facts.guest_cpu_ns_per_message),
        facts.rings_to_guest,
        facts.rings_to_host,
        facts.interrupts,
        facts.coalesced,
        facts.missed
    );
    let ways = one_way.map_or(&[][..], |way| &way.samples);
    for (index, sample) in samples.iter().enumerate() {
        let (rtt, received) = (ns(sample.processed_ticks), ns(sample.received_ticks));
        write!(out, "{},{before},{rtt},{received},", index + 1)?;
        match ways.get(index).copied().flatten() {
            Some((to_guest, to_host)) => write!(out, "{to_guest:.0},{to_host:.0},")?,
            None => write!(out, ",,")?,
        }
        writeln!(out, "{after},{}", sample.status.name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RowStatus;
    use ivshmem_proto::wire::ClockSource;
    use std::time::Duration;

    fn facts() -> DoorbellFacts {
        DoorbellFacts {
            server: "/s".into(),
            host_peer: 1,
            host_vector: 0,
            guest_peer: Some(0),
            guest_vector: Some(1),
            guest_wait: "adaptive=uio".into(),
            host_wait: "doorbell",
            messages: 2,
            host_cpu_ns_per_message: Some(5000.5),
            vcpu_cpu_ns_per_message: None,
            guest_cpu_ns_per_message: Some(7000.0),
            guest_cpu_unknown_because: None,
            rings_to_guest: 2,
            rings_to_host: 3,
            interrupts: 1,
            host_interrupts: 3,
            coalesced: 1,
            missed: 0,
            guest_missed: 0,
        }
    }

    fn text(pace: Pace, load: Option<&str>) -> String {
        let sample = |processed_ticks, status| Sample {
            start: Ticks(0),
            delay_ticks: 7,
            received_ticks: None,
            processed_ticks,
            seen_ticks: 0,
            status,
        };
        let samples = [sample(Some(50_000), RowStatus::Ok), sample(None, RowStatus::TimeoutReceived)];
        let facts = facts();
        let common = Common { facts: &facts, pace, load, one_way: None };
        let mut out = Vec::new();
        write(&mut out, &samples, &common, &Clock::of(ClockSource::ClockMonotonic)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_has_a_field_for_each_column_and_an_empty_one_for_what_was_not_measured() {
        insta::assert_snapshot!(text(Pace::Closed(Duration::ZERO), None), @r"
        iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,received_ns,guest_wake_ns,host_wake_ns,oneway_bound_ns,host_cpu_ns_per_message,vcpu_cpu_ns_per_message,guest_cpu_ns_per_message,rings_to_guest,rings_to_host,interrupts,coalesced,missed,status
        1,adaptive=uio,doorbell,max,idle,50000,,,,,5000.5,,7000,2,3,1,1,0,ok
        2,adaptive=uio,doorbell,max,idle,,,,,,5000.5,,7000,2,3,1,1,0,timeout_received
        ");
    }

    #[test]
    fn rates_are_messages_a_second_and_labels_are_quoted() {
        let paused = text(Pace::Closed(Duration::from_millis(2)), Some("cpu=1,io=1"));
        assert!(paused.contains("\n1,adaptive=uio,doorbell,500,\"cpu=1,io=1\",50000,"), "{paused}");
        let mut reader = csv::Reader::from_reader(paused.as_bytes());
        assert_eq!(reader.records().map(Result::unwrap).map(|row| row.len()).collect::<Vec<_>>(), [19, 19]);
    }
}
