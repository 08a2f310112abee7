//! Doorbells: what it costs to be told of a message (interrupts) against looking for it (polling).
//!
//! A cell is all that was measured with the same ways to wait, rate and load, repetitions together. Percentiles are over its
//! ok rows; what a run says of itself as a whole counts by its messages.

mod cell;
mod findings;

use std::cmp::Ordering;

pub use cell::{Cell, Percentiles};

use crate::input::{DoorbellFile, DoorbellRun, LatencyPlan};

/// Every cell of all files, and what they say together.
#[derive(Debug, Clone)]
pub struct Doorbells {
    /// The files, and why they are not to be relied on.
    pub sources: Vec<Source>,
    /// Idle ones first, then by load, rate and how the sides waited: VMs, then host processes, the native
    /// floor as the last.
    pub cells: Vec<Cell>,
    /// Sentences, each of figures only.
    pub findings: Vec<String>,
}

/// A doorbell file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path as given.
    pub path: String,
    /// How many runs its rows are of.
    pub runs: usize,
    /// Whether there is a run.json beside it.
    pub has_provenance: bool,
    /// What that says of the machine.
    pub machine: Machine,
    /// When its run began.
    pub started_utc: Option<String>,
    /// Why its run.json calls it dirty, if it does.
    pub dirty: Option<String>,
    /// Whether most of its messages were sent late: after the next was due, or at less than the rate asked for. They
    /// followed each other at once then, whatever their cell's rate is.
    pub is_backlogged: bool,
}

/// What ways to wait must share to be set side by side; `None` where run.json does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// What executed the guest; `None` of two processes of the host, too, such as those of the floor.
    pub accelerator: Option<String>,
    /// The host's CPU.
    pub cpu: Option<String>,
}

impl Doorbells {
    /// The different values of `of` in all files that have one, in their order.
    pub fn distinct<'a>(&'a self, of: fn(&'a Machine) -> Option<&'a String>) -> Vec<&'a str> {
        let mut values: Vec<&str> = Vec::new();
        for value in self.sources.iter().filter_map(|source| of(&source.machine)) {
            if !values.contains(&value.as_str()) {
                values.push(value);
            }
        }
        values
    }

    /// Of `files`; `None` if there are none.
    #[must_use]
    pub fn of(files: &[DoorbellFile]) -> Option<Self> {
        if files.is_empty() {
            return None;
        }
        let mut groups: Vec<Vec<&DoorbellRun>> = Vec::new();
        for run in files.iter().flat_map(|file| &file.runs) {
            match groups.iter_mut().find(|group| is_same_cell(group[0], run)) {
                // Given twice, in its own file and in one that it was put into: it was measured once.
                Some(group) if group.contains(&run) => {}
                Some(group) => group.push(run),
                None => groups.push(vec![run]),
            }
        }
        let mut cells: Vec<Cell> = groups.iter().map(|group| Cell::of(group)).collect();
        cells.sort_by(order);
        let floors: Vec<Cell> = cells.iter().filter(|cell| cell.is_floor()).cloned().collect();
        for cell in &mut cells {
            let floor = floors.iter().find(|floor| floor.is_beside(cell)).and_then(Cell::p50_ns);
            cell.rtt_p50_over_native_floor =
                cell.p50_ns().zip(floor.filter(|ns| *ns > 0)).map(|(ns, floor)| ns as f64 / floor as f64);
        }
        let findings = findings::of(&cells);
        Some(Self { sources: files.iter().map(Source::of).collect(), cells, findings })
    }

    /// The cells in groups of one load and rate, in order.
    pub fn groups(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunk_by(Cell::is_beside)
    }
}

/// Whether rows of both may be put together. Two host processes and a VM may both poll: a vCPU's time tells them apart.
fn is_same_cell(one: &DoorbellRun, other: &DoorbellRun) -> bool {
    let knows_vcpu = |run: &DoorbellRun| run.wide.vcpu_cpu_ns_per_message.is_some();
    one.setup == other.setup && knows_vcpu(one) == knows_vcpu(other)
}

fn order(one: &Cell, other: &Cell) -> Ordering {
    let key = |cell: &Cell| (!cell.is_idle(), cell.load.clone());
    let rate = |cell: &Cell| cell.rate_per_s.unwrap_or(f64::INFINITY);
    let mode = |cell: &Cell| (cell.native != Some(false), cell.is_floor(), cell.place(), cell.name());
    key(one)
        .cmp(&key(other))
        .then_with(|| rate(one).total_cmp(&rate(other)))
        .then_with(|| mode(one).cmp(&mode(other)))
}

impl Source {
    fn of(file: &DoorbellFile) -> Self {
        let run = file.provenance.as_ref().map(|provenance| &provenance.run);
        let reasons = |run: &crate::input::RunJson| {
            run.interference.as_ref().and_then(|i| i.reasons.clone()).unwrap_or_default().join("; ")
        };
        Self {
            path: file.path.display().to_string(),
            runs: file.runs.len(),
            has_provenance: run.is_some(),
            machine: Machine {
                accelerator: run.and_then(|run| run.vm.as_ref()?.accelerator.as_ref()?.effective.clone()),
                cpu: run.and_then(|run| run.host.as_ref()?.cpu_model.clone()),
            },
            started_utc: run.and_then(|run| run.started_utc.clone()),
            dirty: run.filter(|run| run.is_dirty()).map(reasons),
            is_backlogged: run.and_then(|run| run.latency.as_ref()).is_some_and(is_backlogged),
        }
    }
}

/// Of an open loop, whose times count from when a message was due.
fn is_backlogged(plan: &LatencyPlan) -> bool {
    let interval_ns = plan.rate_per_s.filter(|rate| plan.is_open() && *rate > 0.0).map(|rate| 1e9 / rate);
    let median_ns = plan.rtt_ns.and_then(|times| times.p50).map(|ns| ns as f64);
    plan.missed_rate == Some(true)
        || median_ns.zip(interval_ns).is_some_and(|(median, interval)| median > interval)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::input::{DoorbellSample, DoorbellSetup, RunWide};
    use std::collections::BTreeMap;

    /// A run of `count` messages with round trips from `first_ns` upwards.
    pub(crate) fn run(
        ways: [&str; 2],
        rate_per_s: Option<f64>,
        load: &str,
        first_ns: u64,
        count: u64,
    ) -> DoorbellRun {
        let [guest_wait, host_wait] = ways.map(str::to_owned);
        let sample = |ns| DoorbellSample {
            rtt_ns: ns,
            received_ns: Some(ns / 2),
            guest_wake_ns: Some(-1),
            host_wake_ns: None,
        };
        DoorbellRun {
            setup: DoorbellSetup { guest_wait, host_wait, rate_per_s, load: load.into() },
            wide: RunWide {
                oneway_bound_ns: Some(200.0),
                host_cpu_ns_per_message: Some(first_ns as f64),
                vcpu_cpu_ns_per_message: None,
                guest_cpu_ns_per_message: None,
                rings_to_guest: Some(count),
                rings_to_host: None,
                interrupts: Some(count - 1),
                coalesced: Some(1),
                missed: Some(0),
            },
            samples: (first_ns..first_ns + count).map(sample).collect(),
            failures: BTreeMap::new(),
            lost: 0,
        }
    }

    pub(crate) fn doorbells(runs: Vec<DoorbellRun>) -> Doorbells {
        Doorbells::of(&[DoorbellFile { path: "f".into(), provenance: None, runs }]).unwrap()
    }

    #[test]
    fn a_repetition_adds_rows_and_weighs_by_them() {
        let mut second = run(["uio", "doorbell"], Some(10.0), "idle", 9_000, 300);
        second.wide.oneway_bound_ns = Some(900.0);
        let both = doorbells(vec![run(["uio", "doorbell"], Some(10.0), "idle", 1_000, 100), second]);
        let [cell] = both.cells.as_slice() else { panic!("one cell") };
        assert_eq!((cell.runs, cell.messages, cell.ok), (2, 400, 400));
        assert_eq!(cell.wide.host_cpu_ns_per_message, Some((100.0 * 1_000.0 + 300.0 * 9_000.0) / 400.0));
        assert_eq!(
            (cell.wide.rings_to_guest, cell.wide.interrupts, cell.wide.coalesced),
            (Some(400), Some(398), Some(2))
        );
        assert_eq!((cell.wide.rings_to_host, cell.wide.vcpu_cpu_ns_per_message), (None, None));
        // 200th of 400: the 100th of the slower run.
        assert_eq!(cell.p50_ns(), Some(9_099));
        assert_eq!((cell.guest_wake_p50_ns, cell.host_wake_p50_ns), (Some(-1), None));
        assert_eq!(cell.wide.oneway_bound_ns, Some(900.0));
    }

    #[test]
    fn a_run_given_twice_counts_once() {
        let one = run(["uio", "doorbell"], Some(10.0), "idle", 1_000, 100);
        let again = doorbells(vec![one.clone(), one]);
        assert_eq!((again.cells[0].runs, again.cells[0].messages), (1, 100));
    }

    #[test]
    fn cells_stand_idle_first_then_by_load_rate_and_way_with_the_floor_last() {
        let ways =
            [["doorbell", "doorbell"], ["adaptive=uio", "adaptive"], ["poll", "poll"], ["uio", "doorbell"]];
        let mut runs: Vec<_> =
            ways.into_iter().map(|ways| run(ways, Some(1000.0), "cpu=1", 5_000, 40)).collect();
        runs.push(run(["poll", "poll"], None, "idle", 500, 40));
        runs.push(run(["poll", "poll"], Some(10.0), "idle", 500, 40));
        let sorted = doorbells(runs);
        let shown: Vec<_> =
            sorted.cells.iter().map(|c| (c.load.as_str(), c.rate(), c.guest_wait.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("idle", "10/s".to_owned(), "poll"),
                ("idle", "back to back".to_owned(), "poll"),
                ("cpu=1", "1,000/s".to_owned(), "uio"),
                ("cpu=1", "1,000/s".to_owned(), "adaptive=uio"),
                // Without a vCPU, so perhaps two processes as those of the floor.
                ("cpu=1", "1,000/s".to_owned(), "poll"),
                ("cpu=1", "1,000/s".to_owned(), "doorbell"),
            ]
        );
        assert_eq!(sorted.groups().map(<[Cell]>::len).collect::<Vec<_>>(), [1, 1, 4]);
    }

    #[test]
    fn the_floor_is_that_of_the_same_rate_and_load() {
        let shared = |load, first_ns| run(["doorbell", "doorbell"], Some(10.0), load, first_ns, 40);
        let all = doorbells(vec![
            shared("idle", 1_000),
            shared("cpu=1", 4_000),
            run(["uio", "doorbell"], Some(10.0), "idle", 2_019 + 19, 40),
            run(["uio", "doorbell"], Some(1000.0), "idle", 2_000, 40),
        ]);
        let ratio = |load: &str, rate: f64, way: &str| {
            let wanted = |c: &&Cell| c.load == load && c.rate_per_s == Some(rate) && c.guest_wait == way;
            all.cells.iter().find(wanted).unwrap().rtt_p50_over_native_floor
        };
        // Medians of 40 from 2,038 and from 1,000: the 20th of each.
        assert_eq!(ratio("idle", 10.0, "uio"), Some(2_057.0 / 1_019.0));
        assert_eq!(ratio("idle", 1000.0, "uio"), None);
        assert_eq!(ratio("cpu=1", 10.0, "doorbell"), Some(1.0));
    }

    #[test]
    fn a_vm_that_polls_is_not_mixed_with_two_processes_that_do() {
        let mut vm = run(["poll", "poll"], Some(10.0), "idle", 500, 40);
        vm.wide.vcpu_cpu_ns_per_message = Some(1e8);
        let mut processes = run(["poll", "poll"], Some(10.0), "idle", 400, 40);
        processes.wide.guest_cpu_ns_per_message = Some(7e6);
        let both = doorbells(vec![processes, vm]);
        let names: Vec<_> = both.cells.iter().map(Cell::name).collect();
        assert_eq!(names, ["poll/poll", "poll/poll (no vCPU)"]);
        let cpu: Vec<_> = both.cells.iter().map(|cell| cell.cpu_ns_per_message().unwrap()).collect();
        assert_eq!(cpu, [1e8 + 500.0, 7e6 + 400.0], "the host's and the other side's");
    }
}
