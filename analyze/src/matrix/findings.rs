//! What the matrix says, in sentences: each one is computed, names its size and way, and holds for what was run only.

use super::pairs::beside;
use super::row::Facet;
use super::{Matrix, Row, mappings, winners};
use crate::report::text::{duration, four_digits, grouped, payload};

/// Things a sentence may name one by one; of more sizes the range is said.
pub(super) const NAMED: usize = 3;

/// What is compared with what, and the words for it.
pub(super) struct Comparison<'a> {
    pub(super) facet: Facet,
    /// Before the payload.
    pub(super) lead: &'static str,
    pub(super) value: &'a str,
    pub(super) other: &'a str,
    /// Behind the ratio: what it is of.
    pub(super) of: String,
}

/// The comparisons of what was asked for.
const COMPARISONS: [(Facet, &str, &str); 7] = [
    (Facet::Mode, "chunked", "whole"),
    (Facet::Mode, "stream", "whole"),
    (Facet::Cache, "cold", "warm"),
    (Facet::Direction, "guest-to-host", "host-to-guest"),
    (Facet::Direction, "host-to-guest of both", "host-to-guest"),
    (Facet::Direction, "guest-to-host of both", "guest-to-host"),
    (Facet::Consume, "scan", "copy"),
];

pub(super) fn of(matrix: &Matrix) -> Vec<String> {
    let mut findings = warnings(matrix);
    for (facet, value, other) in COMPARISONS {
        let of = format!("of {other}'s time");
        findings.extend(comparisons(&matrix.rows, &Comparison { facet, lead: "", value, other, of }));
    }
    findings.extend(mappings::of(matrix));
    findings.extend(winners::of(&matrix.kernels));
    findings.extend(under_load(matrix));
    findings.extend(streams(&matrix.rows));
    findings.extend(extremes(&matrix.rows));
    findings
}

/// What is put behind a sentence that rests on a disturbed run.
pub(super) fn caution(dirty: bool) -> &'static str {
    if dirty { "; of a DIRTY run" } else { "" }
}

/// Two digits are what a comparison of single runs is good for.
pub(super) fn times(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

fn warnings(matrix: &Matrix) -> Vec<String> {
    let mut warnings = Vec::new();
    let labels = |with: &dyn Fn(&super::Cell) -> bool| -> Vec<&str> {
        matrix.cells.iter().filter(|cell| with(cell)).map(|cell| cell.label.as_str()).collect()
    };
    let doubted = |code: &'static str| {
        labels(&move |cell: &super::Cell| cell.analyzed.doubts.iter().any(|doubt| doubt.code() == code))
    };
    for (code, why) in [
        ("peer_violations", "the guest broke the protocol; trust nothing of these runs"),
        ("roof_exceeded", "figures above what this machine can copy, an error of the tool"),
        ("dirty", "disturbed while they were measured; repeat them before relying on their figures"),
        ("missed_rate", "the writer missed its rate; lower it"),
    ] {
        let runs = doubted(code);
        if !runs.is_empty() {
            let (count, of) = (runs.len(), matrix.cells.len());
            // A list of all says no more than their number.
            let names = if count == of { String::new() } else { format!(" ({})", runs.join(", ")) };
            warnings.push(format!("{count} of {of} runs{names}: {why}"));
        }
    }
    warnings
}

/// The rest of a pair's way, where it is more than the thing compared.
fn way(row: &Row, facet: Facet, rows: &[Row]) -> String {
    let sized: Vec<&Row> = rows.iter().filter(|row| row.size.is_some()).collect();
    let words = row.differing(&sized, &[facet]);
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

/// A row's run, and its direction where rows go several.
fn run_of(row: &Row, rows: &[Row]) -> String {
    let several = rows.iter().any(|other| other.size.is_some() && other.direction != row.direction);
    match row.direction.as_ref().filter(|_| several) {
        Some(direction) => format!("{} ({direction})", row.label),
        None => row.label.clone(),
    }
}

/// One size of a comparison.
struct Compared {
    payload: String,
    /// Over the other's time.
    time: f64,
    dirty: bool,
}

pub(super) fn comparisons(rows: &[Row], comparison: &Comparison<'_>) -> Vec<String> {
    let Comparison { facet, lead, value, other, of } = comparison;
    // Pairs of the same way but for the size belong into one sentence.
    let mut ways: Vec<(String, Vec<Compared>)> = Vec::new();
    for (row, partner) in beside(rows, *facet, Some(value), Some(other)) {
        let (Some(rate), Some(partners)) = (row.total_gb_per_s, partner.total_gb_per_s) else { continue };
        let pair = Compared {
            payload: row.payload(),
            time: partners / rate,
            dirty: row.is_suspect() || partner.is_suspect(),
        };
        let name = way(row, *facet, rows);
        match ways.iter_mut().find(|(known, _)| *known == name) {
            Some((_, pairs)) => pairs.push(pair),
            None => ways.push((name, vec![pair])),
        }
    }
    let sentence = |(way, pairs): (String, Vec<Compared>)| {
        if pairs.len() <= NAMED {
            let one = |pair: &Compared| {
                let (payload, time) = (&pair.payload, times(pair.time));
                format!("{lead}{payload}{way}: {value} takes {time} {of}{}", caution(pair.dirty))
            };
            return pairs.iter().map(one).collect::<Vec<_>>();
        }
        let least = pairs.iter().min_by(|a, b| a.time.total_cmp(&b.time));
        let most = pairs.iter().max_by(|a, b| a.time.total_cmp(&b.time));
        let (Some(least), Some(most)) = (least, most) else { return Vec::new() };
        vec![format!(
            "{lead}{} sizes{way}: {value} takes {} (at {}) to {} (at {}) {of}{}",
            pairs.len(),
            times(least.time),
            least.payload,
            times(most.time),
            most.payload,
            caution(pairs.iter().any(|pair| pair.dirty))
        )]
    };
    ways.into_iter().flat_map(sentence).collect()
}

fn under_load(matrix: &Matrix) -> Vec<String> {
    let mut findings = Vec::new();
    for pair in &matrix.loaded_latencies {
        let what = if pair.from_due { "latency from the due time" } else { "RTT" };
        for (name, idle, loaded) in
            [("p50", pair.idle_p50_ns, pair.loaded_p50_ns), ("p99", pair.idle_p99_ns, pair.loaded_p99_ns)]
        {
            let (Some(idle), Some(loaded)) = (idle.filter(|ns| *ns > 0), loaded) else { continue };
            let ratio = loaded as f64 / idle as f64;
            let verb = if ratio >= 1.05 { "grows" } else { "does not grow:" };
            findings.push(format!(
                "under {} {what} {name} {verb} {} times, from {} to {} ({} beside {}){}",
                pair.load,
                times(ratio),
                duration(idle as f64),
                duration(loaded as f64),
                pair.loaded_label,
                pair.idle_label,
                caution(pair.dirty)
            ));
        }
    }
    let key = |pair: &super::RatePair| (pair.load.clone(), pair.way.clone());
    let mut keys = Vec::new();
    for pair in &matrix.loaded_rates {
        if !keys.contains(&key(pair)) {
            keys.push(key(pair));
        }
    }
    for wanted in keys {
        let pairs: Vec<_> = matrix.loaded_rates.iter().filter(|pair| key(pair) == wanted).collect();
        let dirty = caution(pairs.iter().any(|pair| pair.dirty));
        let (load, way) = wanted;
        let way = if way.is_empty() { "payloads".to_owned() } else { way };
        let by_ratio =
            |a: &&&super::RatePair, b: &&&super::RatePair| a.loaded_over_idle.total_cmp(&b.loaded_over_idle);
        if pairs.len() <= NAMED {
            findings.extend(pairs.iter().map(|pair| {
                let (payload, kept) = (payload(&pair.size), times(pair.loaded_over_idle));
                format!("under {load} {payload} {way} keeps {kept} of its rate{}", caution(pair.dirty))
            }));
        } else if let (Some(least), Some(most)) =
            (pairs.iter().min_by(by_ratio), pairs.iter().max_by(by_ratio))
        {
            findings.push(format!(
                "under {load} {way} keeps {} (at {}) to {} (at {}) of its rate{dirty}",
                times(least.loaded_over_idle),
                payload(&least.size),
                times(most.loaded_over_idle),
                payload(&most.size)
            ));
        }
    }
    findings
}

fn streams(rows: &[Row]) -> Vec<String> {
    let troubled = rows.iter().filter(|row| row.late.unwrap_or(0) + row.dropped.unwrap_or(0) > 0);
    troubled
        .map(|row| {
            format!(
                "{}: of {} payloads of the {} stream {} were late and {} dropped; lower the rate or give it more slots{}",
                row.label,
                grouped(row.frames_total.unwrap_or(0)),
                row.payload(),
                grouped(row.late.unwrap_or(0)),
                grouped(row.dropped.unwrap_or(0)),
                caution(row.is_suspect())
            )
        })
        .collect()
}

/// The fastest and the slowest row of the largest size that has two, and of the round trips.
fn extremes(rows: &[Row]) -> Vec<String> {
    let mut findings = Vec::new();
    let count = |bytes: u64| {
        rows.iter().filter(|r| r.size_bytes == Some(bytes) && r.total_gb_per_s.is_some()).count()
    };
    let largest = rows.iter().filter_map(|row| row.size_bytes).filter(|bytes| count(*bytes) > 1).max();
    let rated = |row: &Row| Some((row.total_gb_per_s?, row.size_bytes? == largest?));
    let of_largest = || rows.iter().filter(|row| rated(row).is_some_and(|(_, largest)| largest));
    let by_rate =
        |a: &&Row, b: &&Row| a.total_gb_per_s.unwrap_or(0.0).total_cmp(&b.total_gb_per_s.unwrap_or(0.0));
    if let (Some(fastest), Some(slowest)) = (of_largest().max_by(by_rate), of_largest().min_by(by_rate)) {
        let say = |row: &Row| {
            let rate = row.total_gb_per_s.map_or_else(String::new, four_digits);
            let roof = match row.due_fps {
                Some(_) if row.share_of_roof.is_none() => Some(", the asked rate".to_owned()),
                _ => row.share_of_roof.map(|s| format!(", {:.0} % of its roof", s * 100.0)),
            };
            let dirty = if row.is_suspect() { ", DIRTY" } else { "" };
            format!("{} at {rate} GB/s{}{dirty}", run_of(row, rows), roof.unwrap_or_default())
        };
        let payload = fastest.payload();
        findings.push(format!("{payload}: fastest {}; slowest {}", say(fastest), say(slowest)));
    }
    let trips = || rows.iter().filter_map(|row| Some((row.rtt_p50_ns?, row)));
    if let (Some(least), Some(most)) = (trips().min_by_key(|t| t.0), trips().max_by_key(|t| t.0))
        && least.1.label != most.1.label
    {
        let say = |(ns, row): (u64, &Row)| {
            format!(
                "{} ({}{})",
                duration(ns as f64),
                row.label,
                if row.is_suspect() { ", DIRTY" } else { "" }
            )
        };
        findings.push(format!("RTT p50: lowest {}, highest {}", say(least), say(most)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, mode: &str, size: &str, bytes: u64, rate: f64) -> Row {
        Row {
            label: label.into(),
            mode: Some(mode.into()),
            size: Some(size.into()),
            size_bytes: Some(bytes),
            total_gb_per_s: Some(rate),
            ..Row::default()
        }
    }

    #[test]
    fn few_sizes_are_named_and_many_given_as_a_range() {
        let mut rows =
            vec![row("w", "whole", "4k", 24_883_200, 2.0), row("c", "chunked", "4k", 24_883_200, 2.5)];
        let (value, other) = ("chunked", "whole");
        let comparison =
            Comparison { facet: Facet::Mode, lead: "", value, other, of: "of whole's time".into() };
        let compared = |rows: &[Row]| comparisons(rows, &comparison);
        assert_eq!(compared(&rows), ["4K frame: chunked takes 0.80 of whole's time"]);
        rows[1].dirty = true;
        assert_eq!(compared(&rows), ["4K frame: chunked takes 0.80 of whole's time; of a DIRTY run"]);
        let rows: Vec<Row> = (0..5_u32)
            .flat_map(|n| {
                let (size, bytes) = (format!("{n}B"), 64 << n);
                [row("w", "whole", &size, bytes, 1.0), row("c", "chunked", &size, bytes, 1.0 + f64::from(n))]
            })
            .collect();
        assert_eq!(
            compared(&rows),
            ["5 sizes: chunked takes 0.20 (at 4 B) to 1.00 (at 0 B) of whole's time"]
        );
    }

    #[test]
    fn the_extremes_are_of_the_largest_size_that_has_two() {
        let rows = [
            row("a", "whole", "64B", 64, 9.0),
            row("b", "whole", "64B", 64, 1.0),
            row("c", "whole", "4k", 24_883_200, 2.0),
        ];
        assert_eq!(extremes(&rows), ["64 B: fastest a at 9.000 GB/s; slowest b at 1.000 GB/s"]);
    }
}
