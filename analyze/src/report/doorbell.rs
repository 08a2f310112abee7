//! The doorbell section: round trips, waking up and cost of each way to wait, by load and rate, then what they say together.

use super::text::{duration, entry, four_digits, grouped, heading, named, plural, shown, time, wrapped};
use crate::doorbell::{Cell, Doorbells, Source};
use crate::latency_summary::Distribution;

/// Width of the column of names; the longest usual ones are `adaptive=doorbell/adaptive` and that with the floor.
const NAME: usize = 26;

/// How to read the section.
pub(super) const NOTES: [&str; 2] = [
    "Doorbells: guest/host say how each side waited: poll looks without end, uio, vfio and doorbell sleep until rung, \
     adaptive looks for a while and then sleeps. The floor is two processes of this host that ring each other; processes \
     have no vCPU. Times count from the publication, in an open loop too. A host that sleeps is told of PROCESSED only, so \
     its RECEIVED is n/a, but for one that =both marks.",
    "CPU a message is that of the host's thread and of the guest, its vCPUs or its own thread, while messages were counted, pauses included: a guest \
     that polls looks through every pause, the host's thread sleeps until shortly before a message is due. Coalesced: \
     rings of the guest less its interrupts. Missed: wake-ups by the bound of a sleep instead of an interrupt.",
];

/// The section.
pub(super) fn section(doorbells: &Doorbells) -> String {
    let mut out = heading("DOORBELLS · being told (interrupts) against looking (polling)");
    out += &sources(doorbells).iter().map(|(key, value)| entry(key, value)).collect::<String>();
    for each in &TABLES {
        out += &table(doorbells, each);
    }
    if !doorbells.findings.is_empty() {
        out += "\n  Findings\n";
        out += &doorbells.findings.iter().map(|finding| wrapped("  - ", finding)).collect::<String>();
    }
    out
}

/// The files, each with how far it is to be trusted.
pub(super) fn sources(doorbells: &Doorbells) -> Vec<(String, String)> {
    doorbells.sources.iter().map(|each| ("File".to_owned(), source(each))).collect()
}

fn source(source: &Source) -> String {
    let state = match (&source.dirty, source.has_provenance) {
        (Some(reasons), _) if reasons.is_empty() => "; its run.json says DIRTY RUN".into(),
        (Some(reasons), _) => format!("; its run.json says DIRTY RUN: {reasons}"),
        (None, true) => String::new(),
        (None, false) => "; no run.json beside it".into(),
    };
    let late = if source.is_backlogged { "; behind its rate" } else { "" };
    let machine = [&source.machine.accelerator, &source.machine.cpu, &source.started_utc];
    let of: String = machine.into_iter().flatten().map(|said| format!(", {said}")).collect();
    format!("{}, {}{of}{late}{state}", source.path, plural(source.runs as u64, "run"))
}

/// A table, with a row for each cell.
struct Table {
    title: &'static str,
    columns: &'static [Column],
}

/// Heading, width, and what a cell puts there.
type Column = (&'static str, usize, fn(&Cell) -> String);

const TABLES: [Table; 4] = [
    Table {
        title: "Round trip to PROCESSED",
        columns: &[
            ("p50", 9, |cell| percentile(cell, |rtt| rtt.p50_ns)),
            ("p90", 9, |cell| percentile(cell, |rtt| rtt.p90_ns)),
            ("p99", 9, |cell| percentile(cell, |rtt| rtt.p99_ns)),
            ("p99.9", 9, |cell| percentile(cell, |rtt| rtt.p99_9_ns)),
            ("max", 9, |cell| percentile(cell, |rtt| Some(rtt.max_ns))),
            ("/floor", 7, |cell| shown(cell.rtt_p50_over_native_floor, three_digits)),
        ],
    },
    Table {
        title: "Waking up, p50",
        columns: &[
            ("RECEIVED", 12, |cell| time(cell.received_p50_ns)),
            ("guest awake", 12, |cell| shown(cell.guest_wake_p50_ns, signed)),
            ("then host", 12, |cell| shown(cell.host_wake_p50_ns, signed)),
            ("each of both ±", 16, |cell| shown(cell.wide.oneway_bound_ns, duration)),
        ],
    },
    Table {
        title: "Messages, CPU time of each",
        columns: &[
            ("messages", 12, |cell| grouped(cell.messages)),
            ("not ok", 12, |cell| grouped(cell.not_ok())),
            ("host CPU", 12, |cell| shown(cell.wide.host_cpu_ns_per_message, duration)),
            ("guest CPU", 16, |cell| shown(cell.other_cpu_ns_per_message(), duration)),
        ],
    },
    Table {
        title: "Bells in all",
        columns: &[
            ("to guest", 11, |cell| shown(cell.wide.rings_to_guest, grouped)),
            ("interrupts", 12, |cell| shown(cell.wide.interrupts, grouped)),
            ("coalesced", 11, |cell| shown(cell.wide.coalesced, grouped)),
            ("to host", 10, |cell| shown(cell.wide.rings_to_host, grouped)),
            ("missed", 8, |cell| shown(cell.wide.missed, grouped)),
        ],
    },
];

/// A ratio where there is little room: `0.016`, `2.00`, `125`.
fn three_digits(ratio: f64) -> String {
    match ratio {
        r if r >= 99.95 => four_digits(r.round()).trim_end_matches(".0").to_owned(),
        r if r >= 9.995 => format!("{r:.1}"),
        r if r >= 0.9995 => format!("{r:.2}"),
        r => format!("{r:.3}"),
    }
}

fn table(doorbells: &Doorbells, table: &Table) -> String {
    let cells = |each: &dyn Fn(&Column) -> String| -> String {
        table.columns.iter().map(|column| format!("{:>1$}", each(column), column.1)).collect()
    };
    let mut out = format!("\n{}", named(table.title, NAME, &cells(&|column| column.0.to_owned())));
    for group in doorbells.groups() {
        out += &format!("  {}, {}\n", group[0].load, group[0].rate());
        for cell in group {
            out += &named(&format!(" {}", cell.name()), NAME, &cells(&|column| column.2(cell)));
        }
    }
    out
}

fn percentile(cell: &Cell, of: fn(&Distribution) -> Option<u64>) -> String {
    time(cell.rtt.as_ref().and_then(of))
}

/// A duration that may be below 0.
fn signed(ns: i64) -> String {
    format!("{}{}", if ns < 0 { "-" } else { "" }, duration(ns.unsigned_abs() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doorbell::Machine;

    #[test]
    fn a_wake_up_below_zero_keeps_its_sign_and_unit() {
        assert_eq!([-1_500, -3, 0, 45_000].map(signed), ["-1.500 µs", "-3 ns", "0 ns", "45.00 µs"]);
    }

    fn bare() -> Source {
        Source {
            path: "f".into(),
            runs: 2,
            has_provenance: true,
            machine: Machine::default(),
            started_utc: None,
            dirty: None,
            is_backlogged: false,
        }
    }

    #[test]
    fn a_file_says_which_run_it_is_of() {
        let machine = Machine { accelerator: Some("tcg".into()), cpu: Some("Host CPU".into()) };
        let started_utc = Some("2026-11-20T20:00:00Z".to_owned());
        let said = source(&Source { machine, started_utc, is_backlogged: true, ..bare() });
        assert_eq!(said, "f, 2 runs, tcg, Host CPU, 2026-11-20T20:00:00Z; behind its rate");
    }

    #[test]
    fn a_file_says_how_far_it_is_to_be_trusted() {
        let of = |has_provenance, dirty: Option<&str>| {
            let dirty = dirty.map(str::to_owned);
            source(&Source { has_provenance, dirty, ..bare() })
        };
        assert_eq!(of(true, None), "f, 2 runs");
        assert_eq!(of(false, None), "f, 2 runs; no run.json beside it");
        assert_eq!(of(true, Some("steal 4 %")), "f, 2 runs; its run.json says DIRTY RUN: steal 4 %");
        assert_eq!(of(true, Some("")), "f, 2 runs; its run.json says DIRTY RUN");
    }

    #[test]
    fn no_table_is_wider_than_the_page() {
        for table in &TABLES {
            let width: usize = table.columns.iter().map(|column| column.1).sum();
            assert!(2 + NAME + width <= super::super::text::WIDTH, "{}", table.title);
        }
        let shown = [0.016, 0.999_6, 2.0, 12.34, 99.96, 125.0, 12_345.6].map(three_digits);
        assert_eq!(shown, ["0.016", "1.00", "2.00", "12.3", "100", "125", "12,346"]);
    }
}
