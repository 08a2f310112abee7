//! The doorbell section: round trips, waking up and cost of each way to wait, by load and rate, then what they say together.

use super::text::{duration, entry, four_digits, grouped, heading, named, plural, shown, time, wrapped};
use crate::doorbell::{Cell, Doorbells, Source};
use crate::latency_summary::Distribution;

/// Width of the column of names; the longest usual one is `adaptive=doorbell/adaptive`.
const NAME: usize = 28;

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
    out += &doorbells.sources.iter().map(source).collect::<String>();
    out += &table(doorbells, &ROUND_TRIPS);
    out += &table(doorbells, &WAKING);
    out += &table(doorbells, &COST);
    if !doorbells.findings.is_empty() {
        out += "\n  Findings\n";
        out += &doorbells.findings.iter().map(|finding| wrapped("  - ", finding)).collect::<String>();
    }
    out
}

fn source(source: &Source) -> String {
    let state = match (&source.dirty, source.has_provenance) {
        (Some(reasons), _) if reasons.is_empty() => "; its run.json says DIRTY RUN".into(),
        (Some(reasons), _) => format!("; its run.json says DIRTY RUN: {reasons}"),
        (None, true) => String::new(),
        (None, false) => "; no run.json beside it".into(),
    };
    entry("File", &format!("{}, {}{state}", source.path, plural(source.runs as u64, "run")))
}

/// A table, with a row for each cell.
struct Table {
    title: &'static str,
    columns: &'static [Column],
}

/// Heading, width, and what a cell puts there.
type Column = (&'static str, usize, fn(&Cell) -> String);

const ROUND_TRIPS: Table = Table {
    title: "Round trip to PROCESSED",
    columns: &[
        ("messages", 9, |cell| grouped(cell.messages)),
        ("not ok", 7, |cell| grouped(cell.not_ok())),
        ("p50", 9, |cell| percentile(cell, |rtt| rtt.p50_ns)),
        ("p90", 9, |cell| percentile(cell, |rtt| rtt.p90_ns)),
        ("p99", 9, |cell| percentile(cell, |rtt| rtt.p99_ns)),
        ("p99.9", 9, |cell| percentile(cell, |rtt| rtt.p99_9_ns)),
        ("max", 9, |cell| percentile(cell, |rtt| Some(rtt.max_ns))),
        ("/floor", 9, |cell| shown(cell.rtt_p50_over_native_floor, four_digits)),
    ],
};

const WAKING: Table = Table {
    title: "Waking up, p50",
    columns: &[
        ("RECEIVED seen", 15, |cell| time(cell.received_p50_ns)),
        ("guest awake", 14, |cell| shown(cell.guest_wake_p50_ns, signed)),
        ("then host", 14, |cell| shown(cell.host_wake_p50_ns, signed)),
        ("each of both ±", 17, |cell| shown(cell.wide.oneway_bound_ns, duration)),
    ],
};

const COST: Table = Table {
    title: "Cost: CPU time a message, and bells in all",
    columns: &[
        ("host CPU", 10, |cell| shown(cell.wide.host_cpu_ns_per_message, duration)),
        ("guest CPU", 10, |cell| shown(cell.other_cpu_ns_per_message(), duration)),
        ("to guest", 10, |cell| shown(cell.wide.rings_to_guest, grouped)),
        ("interrupts", 12, |cell| shown(cell.wide.interrupts, grouped)),
        ("coalesced", 11, |cell| shown(cell.wide.coalesced, grouped)),
        ("to host", 9, |cell| shown(cell.wide.rings_to_host, grouped)),
        ("missed", 8, |cell| shown(cell.wide.missed, grouped)),
    ],
};

fn table(doorbells: &Doorbells, table: &Table) -> String {
    let cells = |each: &dyn Fn(&Column) -> String| -> String {
        table.columns.iter().map(|column| format!("{:>1$}", each(column), column.1)).collect()
    };
    let mut out = format!("\n{}", named(table.title, NAME, &cells(&|column| column.0.to_owned())));
    for group in doorbells.groups() {
        out += &format!("  {}, {}\n", group[0].load, group[0].rate());
        for cell in group {
            out += &named(&format!("  {}", cell.name()), NAME, &cells(&|column| column.2(cell)));
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

    #[test]
    fn a_wake_up_below_zero_keeps_its_sign_and_unit() {
        assert_eq!([-1_500, -3, 0, 45_000].map(signed), ["-1.500 µs", "-3 ns", "0 ns", "45.00 µs"]);
    }

    #[test]
    fn a_file_says_how_far_it_is_to_be_trusted() {
        let of = |has_provenance, dirty: Option<&str>| {
            source(&Source { path: "f".into(), runs: 2, has_provenance, dirty: dirty.map(str::to_owned) })
        };
        assert_eq!(of(true, None), "  File          f, 2 runs\n");
        assert_eq!(of(false, None), "  File          f, 2 runs; no run.json beside it\n");
        assert_eq!(
            of(true, Some("steal 4 %")),
            "  File          f, 2 runs; its run.json says DIRTY RUN: steal 4 %\n"
        );
        assert_eq!(of(true, Some("")), "  File          f, 2 runs; its run.json says DIRTY RUN\n");
    }
}
