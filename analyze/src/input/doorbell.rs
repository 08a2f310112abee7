//! One doorbell file: the messages of one run, or of many put one below the other.
//!
//! Rows of one run share how the sides waited and what it cost, and their numbers increase; where either changes, another
//! run begins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::run_json::Provenance;
use super::status::{self, is_name};
use super::table::Table;
use crate::error::Error;

/// How a run's sides waited, how often messages were sent, and beside what.
#[derive(Debug, Clone, PartialEq)]
pub struct DoorbellSetup {
    /// How the guest waited: `poll`, `uio`, `vfio`, `doorbell` (a process of the host), or `adaptive=` one of these.
    pub guest_wait: String,
    /// How the host waited.
    pub host_wait: String,
    /// Messages a second; `None` for each after the acknowledgement of the one before.
    pub rate_per_s: Option<f64>,
    /// What ran beside the test: `idle`, or the load's name.
    pub load: String,
}

/// What all rows of a run have in common; `None` where it was not measured. Also part of an element of `doorbells` in
/// summary.json.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RunWide {
    /// Each wake-up time is off by this much at most.
    pub oneway_bound_ns: Option<f64>,
    /// CPU time of the host's thread a message.
    pub host_cpu_ns_per_message: Option<f64>,
    /// CPU time of the guest's vCPUs a message; none where there is no guest.
    pub vcpu_cpu_ns_per_message: Option<f64>,
    /// Times the host rang the guest.
    pub rings_to_guest: Option<u64>,
    /// Times the guest rang the host.
    pub rings_to_host: Option<u64>,
    /// Interrupts the guest was given.
    pub interrupts: Option<u64>,
    /// Rings of the guest that brought no interrupt of their own.
    pub coalesced: Option<u64>,
    /// Times either side found a message only because its sleep was bounded.
    pub missed: Option<u64>,
}

/// One message that was acknowledged, in nanoseconds from its publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorbellSample {
    /// Until the host saw PROCESSED.
    pub rtt_ns: u64,
    /// Until the host saw RECEIVED.
    pub received_ns: Option<u64>,
    /// Until the guest saw the message, on its own clock; below 0 by no more than the bound.
    pub guest_wake_ns: Option<i64>,
    /// From there until the host saw PROCESSED, likewise.
    pub host_wake_ns: Option<i64>,
}

/// The messages of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct DoorbellRun {
    /// How the sides waited.
    pub setup: DoorbellSetup,
    /// What all its rows say.
    pub wide: RunWide,
    /// Ok rows, in the order of the file.
    pub samples: Vec<DoorbellSample>,
    /// Rows with another status, by it.
    pub failures: BTreeMap<String, u64>,
    /// Numbers that have no row.
    pub lost: u64,
}

/// What a doorbell file says.
#[derive(Debug, Clone)]
pub struct DoorbellFile {
    /// The file.
    pub path: PathBuf,
    /// The run.json beside it.
    pub provenance: Option<Provenance>,
    /// Its runs, in the order of the file.
    pub runs: Vec<DoorbellRun>,
}

impl DoorbellRun {
    /// Rows, and numbers without one.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.failures
            .values()
            .sum::<u64>()
            .saturating_add(self.samples.len() as u64)
            .saturating_add(self.lost)
    }
}

impl DoorbellFile {
    pub(crate) fn from_table(table: &Table, provenance: Option<Provenance>) -> Result<Self, Error> {
        let columns = Columns::of(table);
        let mut runs: Vec<DoorbellRun> = Vec::new();
        let mut latest = 0;
        for row in 0..table.rows() {
            let Some(iteration) = columns.iteration[row] else {
                return Err(table.problem(row, "iteration", "empty; every row has a number"));
            };
            let (setup, wide) = (columns.setup(table, row)?, columns.wide(row));
            let continues = runs.last().is_some_and(|run| run.setup == setup && run.wide == wide);
            if continues && iteration <= latest && iteration > 1 {
                let problem =
                    format!("{iteration} after {latest}; iterations must increase, or begin at 1 again");
                return Err(table.problem(row, "iteration", problem));
            }
            if !continues || iteration <= latest {
                latest = 0;
                runs.push(DoorbellRun { setup, wide, samples: vec![], failures: BTreeMap::new(), lost: 0 });
            }
            if let Some(run) = runs.last_mut() {
                run.lost = run.lost.saturating_add(iteration.saturating_sub(latest + 1));
                columns.message(table, row, run)?;
            }
            latest = iteration;
        }
        Ok(Self { path: table.path().into(), provenance, runs })
    }
}

/// The columns of a table, those that are absent as empty ones.
struct Columns<'a> {
    iteration: Vec<Option<u64>>,
    guest_wait: Vec<Option<&'a str>>,
    host_wait: Vec<Option<&'a str>>,
    rate: Vec<Option<&'a str>>,
    load: Vec<Option<&'a str>>,
    rtt: Vec<Option<u64>>,
    received: Vec<Option<u64>>,
    guest_wake: Vec<Option<i64>>,
    host_wake: Vec<Option<i64>>,
    /// Bound, CPU time of the host's thread, of the vCPUs.
    reals: [Vec<Option<f64>>; 3],
    /// Rings to the guest, to the host, interrupts, coalesced, missed.
    counts: [Vec<Option<u64>>; 5],
    /// `None` where a row without a status is ok.
    status: Option<Vec<Option<&'a str>>>,
}

impl<'a> Columns<'a> {
    fn of(table: &'a Table) -> Self {
        let reals = ["oneway_bound_ns", "host_cpu_ns_per_message", "vcpu_cpu_ns_per_message"];
        let counts = ["rings_to_guest", "rings_to_host", "interrupts", "coalesced", "missed"];
        Self {
            iteration: table.counts("iteration"),
            guest_wait: table.texts("guest_wait"),
            host_wait: table.texts("host_wait"),
            rate: table.texts("rate_per_s"),
            load: table.texts("load"),
            rtt: table.counts("rtt_ns"),
            received: table.counts("received_ns"),
            guest_wake: table.signed("guest_wake_ns"),
            host_wake: table.signed("host_wake_ns"),
            reals: reals.map(|column| table.reals(column)),
            counts: counts.map(|column| table.counts(column)),
            status: table.has("status").then(|| table.texts("status")),
        }
    }

    fn setup(&self, table: &Table, row: usize) -> Result<DoorbellSetup, Error> {
        let wait = |column: &str, values: &[Option<&str>]| match values[row] {
            Some(name)
                if is_name(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "=_-".contains(c)) =>
            {
                Ok(name.to_owned())
            }
            _ => Err(table.problem(
                row,
                column,
                "not a way to wait; expected poll, uio, vfio, doorbell or adaptive",
            )),
        };
        let rate_per_s = match self.rate[row] {
            Some("max") => None,
            rate => match rate.and_then(|rate| rate.parse::<f64>().ok()) {
                Some(rate) if rate.is_finite() && rate > 0.0 => Some(rate),
                _ => {
                    return Err(table.problem(
                        row,
                        "rate_per_s",
                        "not a rate; expected messages a second, or max",
                    ));
                }
            },
        };
        let load = match self.load[row] {
            Some(load) if (1..=80).contains(&load.len()) && !load.chars().any(char::is_control) => {
                load.to_owned()
            }
            _ => {
                return Err(table.problem(row, "load", "not a load; expected idle, or a name such as cpu=2"));
            }
        };
        Ok(DoorbellSetup {
            guest_wait: wait("guest_wait", &self.guest_wait)?,
            host_wait: wait("host_wait", &self.host_wait)?,
            rate_per_s,
            load,
        })
    }

    fn wide(&self, row: usize) -> RunWide {
        let [oneway_bound_ns, host_cpu_ns_per_message, vcpu_cpu_ns_per_message] =
            self.reals.each_ref().map(|values| values[row]);
        let [rings_to_guest, rings_to_host, interrupts, coalesced, missed] =
            self.counts.each_ref().map(|values| values[row]);
        RunWide {
            oneway_bound_ns,
            host_cpu_ns_per_message,
            vcpu_cpu_ns_per_message,
            rings_to_guest,
            rings_to_host,
            interrupts,
            coalesced,
            missed,
        }
    }

    /// Adds the row's message to its run.
    fn message(&self, table: &Table, row: usize, run: &mut DoorbellRun) -> Result<(), Error> {
        let named = self.status.as_ref().map(|statuses| statuses[row]);
        let ok = named.map_or(Ok(true), status::is_ok).map_err(|why| table.problem(row, "status", why))?;
        if !ok {
            *run.failures.entry(named.flatten().unwrap_or_default().to_owned()).or_default() += 1;
            return Ok(());
        }
        let Some(rtt_ns) = self.rtt[row] else {
            return Err(table.problem(row, "rtt_ns", "empty in a row that is ok"));
        };
        run.samples.push(DoorbellSample {
            rtt_ns,
            received_ns: self.received[row],
            guest_wake_ns: self.guest_wake[row],
            host_wake_ns: self.host_wake[row],
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::super::text::Text;
    use super::*;
    use std::path::Path;

    const HEADER: &str = "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,guest_wake_ns,vcpu_cpu_ns_per_message,\
                          interrupts,status,of_a_later_version\n";

    fn parse(rows: &str) -> Result<Vec<DoorbellRun>, String> {
        let text =
            Text::parse(Path::new("f"), format!("{HEADER}{rows}").as_bytes()).map_err(|e| e.to_string())?;
        let header = Header::find(Path::new("f"), text.clean.as_bytes()).map_err(|e| e.to_string())?;
        let table = Table::load(text, &header).map_err(|e| e.to_string())?;
        DoorbellFile::from_table(&table, None).map(|file| file.runs).map_err(|e| e.to_string())
    }

    #[test]
    fn runs_are_told_apart_by_their_figures_and_by_numbers_that_begin_again() {
        let runs = parse(
            "1,uio,doorbell,10,idle,50000,-3,7.5,3,ok,x\n2,uio,doorbell,10,idle,,,7.5,3,timeout_received,\n\
             4,uio,doorbell,10,idle,50002,-0,7.5,3,ok,\n1,uio,doorbell,10,idle,50003,1,7.5,3,ok,\n\
             2,uio,doorbell,10,idle,50004,1,7.6,3,ok,\n1,adaptive=uio,adaptive,max,\"cpu=1,io=1\",900,,,,ok,\n",
        )
        .unwrap();
        let shape: Vec<_> = runs.iter().map(|run| (run.samples.len(), run.lost, run.messages())).collect();
        // The one that begins with 2 has lost its first.
        assert_eq!(shape, [(2, 1, 4), (1, 0, 1), (1, 1, 2), (1, 0, 1)]);
        assert_eq!(runs[0].failures, BTreeMap::from([("timeout_received".to_owned(), 1)]));
        assert_eq!(runs[0].samples[0].guest_wake_ns, Some(-3));
        assert_eq!(runs[0].samples[1].guest_wake_ns, Some(0));
        assert_eq!((runs[0].setup.rate_per_s, runs[3].setup.rate_per_s), (Some(10.0), None));
        assert_eq!(runs[3].setup.load, "cpu=1,io=1");
        let wide = runs[3].wide;
        assert_eq!((wide.vcpu_cpu_ns_per_message, wide.interrupts, wide.missed), (None, None, None));
    }

    #[test]
    fn what_no_run_can_say_is_named_by_its_place() {
        let good = "1,uio,doorbell,10,idle,50000,,,,ok,\n";
        for (row, problem) in [
            ("x,uio,doorbell,10,idle,5,,,,ok,", "iteration: `x` is not a whole number"),
            (",uio,doorbell,10,idle,5,,,,ok,", "iteration: empty; every row has a number"),
            (
                "2,UIO!,doorbell,10,idle,5,,,,ok,",
                "guest_wait: not a way to wait; expected poll, uio, vfio, doorbell or adaptive",
            ),
            (
                "2,uio,,10,idle,5,,,,ok,",
                "host_wait: not a way to wait; expected poll, uio, vfio, doorbell or adaptive",
            ),
            ("2,uio,doorbell,0,idle,5,,,,ok,", "rate_per_s: not a rate; expected messages a second, or max"),
            (
                "2,uio,doorbell,inf,idle,5,,,,ok,",
                "rate_per_s: not a rate; expected messages a second, or max",
            ),
            ("2,uio,doorbell,10,,5,,,,ok,", "load: not a load; expected idle, or a name such as cpu=2"),
            ("2,uio,doorbell,10,idle,-5,,,,ok,", "rtt_ns: `-5` is negative"),
            ("2,uio,doorbell,10,idle,,,,,ok,", "rtt_ns: empty in a row that is ok"),
            ("2,uio,doorbell,10,idle,5,1.5,,,ok,", "guest_wake_ns: `1.5` is not a whole number of 64 bits"),
            ("2,uio,doorbell,10,idle,5,,-1,,ok,", "vcpu_cpu_ns_per_message: `-1` is negative"),
            ("2,uio,doorbell,10,idle,5,,,,,", "status: empty; every row has a status"),
        ] {
            let error = parse(&format!("{good}{row}\n{good}")).unwrap_err();
            assert_eq!(error, format!("f, line 3, column {problem}"), "{row}");
        }
        let back = parse(&format!("{good}3{}2{}", &good[1..], &good[1..])).unwrap_err();
        assert_eq!(
            back,
            "f, line 4, column iteration: 2 after 3; iterations must increase, or begin at 1 again"
        );
    }
}
