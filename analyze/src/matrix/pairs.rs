//! Pairs of figures that differ in one thing: the idle run beside the loaded one, one mode beside another.

use serde::Serialize;

use super::row::Facet;
use super::{Cell, Row};
use crate::analysis::Analyzed;

/// One rate under a load and without.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatePair {
    /// The load's name.
    pub load: String,
    /// Its name in the file: `4k`, `64B`.
    pub size: String,
    /// Payload bytes.
    pub size_bytes: u64,
    /// The mode of both.
    pub mode: Option<String>,
    /// The direction of both, as in a row.
    pub direction: Option<String>,
    /// The mode, and what else of both is not the same in all rows.
    #[serde(skip)]
    pub way: String,
    /// The run under load.
    pub loaded_label: String,
    /// The run without.
    pub idle_label: String,
    /// Its rate.
    pub idle_gb_per_s: f64,
    /// The rate under load.
    pub loaded_gb_per_s: f64,
    /// Loaded over idle.
    pub loaded_over_idle: f64,
    /// Whether one of both was disturbed otherwise than by its load.
    pub dirty: bool,
}

/// One run's latency under a load and another's without, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyPair {
    /// The load's name.
    pub load: String,
    /// The run under load.
    pub loaded_label: String,
    /// The run without.
    pub idle_label: String,
    /// Whether both count from the due time instead of round trips.
    pub from_due: bool,
    /// Idle, 50th percentile.
    pub idle_p50_ns: Option<u64>,
    /// Loaded, 50th percentile.
    pub loaded_p50_ns: Option<u64>,
    /// Idle, 99th percentile.
    pub idle_p99_ns: Option<u64>,
    /// Loaded, 99th percentile.
    pub loaded_p99_ns: Option<u64>,
    /// Whether one of both was disturbed otherwise than by its load.
    pub dirty: bool,
}

/// The best row of each group that has `value` for `facet`, beside the row of the same group that has `other`: the one
/// with the same kernels, else the best.
pub(super) fn beside<'a>(
    rows: &'a [Row],
    facet: Facet,
    value: Option<&str>,
    other: Option<&str>,
) -> Vec<(&'a Row, &'a Row)> {
    let rate = |row: &Row| row.total_gb_per_s.unwrap_or(0.0);
    let with = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        rows.iter().filter(move |row| row.total_gb_per_s.is_some() && row.facet(facet) == value.as_deref())
    };
    let mut pairs: Vec<(&Row, &Row)> = Vec::new();
    for row in with(value) {
        let is_best = with(value).filter(|r| r.is_like_but(row, facet)).all(|r| rate(r) <= rate(row));
        if !is_best || pairs.iter().any(|(first, _)| first.is_like_but(row, facet)) {
            continue;
        }
        let mut partners: Vec<&Row> = with(other).filter(|r| r.is_like_but(row, facet)).collect();
        partners.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        let partner = partners.iter().find(|r| r.kernels() == row.kernels()).or(partners.first());
        pairs.extend(partner.map(|partner| (row, *partner)));
    }
    pairs.sort_by_key(|(row, _)| row.size_bytes);
    pairs
}

/// The loads there are, in order of appearance.
fn loads(rows: &[Row]) -> Vec<&str> {
    let mut loads: Vec<&str> = Vec::new();
    for load in rows.iter().filter_map(|row| row.load.as_deref()) {
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    loads
}

pub(super) fn loaded_rates(rows: &[Row]) -> Vec<RatePair> {
    let sized: Vec<&Row> = rows.iter().filter(|row| row.size.is_some()).collect();
    let pair = |loaded: &Row, idle: &Row| {
        let (loaded_gb_per_s, idle_gb_per_s) = (loaded.total_gb_per_s?, idle.total_gb_per_s?);
        Some(RatePair {
            load: loaded.load.clone()?,
            size: loaded.size.clone()?,
            size_bytes: loaded.size_bytes?,
            mode: loaded.mode.clone(),
            direction: loaded.direction.clone(),
            way: loaded.manner(&sized, &[Facet::Load]).join(", "),
            loaded_label: loaded.label.clone(),
            idle_label: idle.label.clone(),
            idle_gb_per_s,
            loaded_gb_per_s,
            loaded_over_idle: loaded_gb_per_s / idle_gb_per_s,
            dirty: loaded.is_suspect() || idle.is_suspect(),
        })
    };
    let of_load = |load| beside(rows, Facet::Load, Some(load), None);
    loads(rows).into_iter().flat_map(of_load).filter_map(|(loaded, idle)| pair(loaded, idle)).collect()
}

/// The run of the same machine, loop and rate as `of` that `admits` and that is likest in all else.
pub(super) fn counterpart<'a>(
    cells: &'a [Cell],
    rows: &[Row],
    of: &Cell,
    admits: impl Fn(&Analyzed) -> bool,
) -> Option<&'a Cell> {
    let row_of = |cell: &Cell| rows.iter().find(|row| row.label == cell.label);
    let likeness = |other: &Cell| {
        let (Some(first), Some(second)) = (row_of(of), row_of(other)) else { return 0 };
        let facets = Facet::ALL.iter().filter(|f| first.facet(**f) == second.facet(**f)).count();
        let kernels = usize::from(first.kernels() == second.kernels());
        2 * facets + 2 * usize::from(first.size == second.size) + kernels
    };
    let plan = |cell: &Cell| {
        let plan = cell.analyzed.run.latency_plan();
        plan.map(|p| (p.rate_per_s, p.arrivals.clone(), p.payload_bytes))
    };
    let kind = |cell: &Cell| cell.analyzed.summary.latency.as_ref().map(|l| l.loop_kind);
    let comparable = |other: &&Cell| {
        other.analyzed.machine() == of.analyzed.machine()
            && kind(other).is_some()
            && kind(other) == kind(of)
            && plan(other) == plan(of)
            && admits(&other.analyzed)
    };
    // Of equally like ones the first given.
    cells.iter().filter(comparable).rev().max_by_key(|other| likeness(other))
}

/// Each loaded run with latency beside its idle counterpart of the same mapping.
pub(super) fn loaded_latencies(cells: &[Cell], rows: &[Row]) -> Vec<LatencyPair> {
    let mapping = |analyzed: &Analyzed| analyzed.run.provenance.as_ref().and_then(|p| p.run.mapping());
    let mut pairs = Vec::new();
    for loaded in cells {
        let (Some(load), Some(latency)) = (&loaded.analyzed.summary.load, &loaded.analyzed.summary.latency)
        else {
            continue;
        };
        let admits =
            |idle: &Analyzed| idle.summary.load.is_none() && mapping(idle) == mapping(&loaded.analyzed);
        let idle = counterpart(cells, rows, loaded, admits);
        let Some((idle, idle_latency)) = idle.and_then(|i| Some((i, i.analyzed.summary.latency.as_ref()?)))
        else {
            continue;
        };
        pairs.push(LatencyPair {
            load: load.clone(),
            loaded_label: loaded.label.clone(),
            idle_label: idle.label.clone(),
            from_due: latency.is_open(),
            idle_p50_ns: idle_latency.p50_ns(),
            loaded_p50_ns: latency.p50_ns(),
            idle_p99_ns: idle_latency.p99_ns(),
            loaded_p99_ns: latency.p99_ns(),
            dirty: loaded.analyzed.run.is_suspect() || idle.analyzed.run.is_suspect(),
        });
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, mode: &str, kernel: &str, load: Option<&str>, rate: f64) -> Row {
        Row {
            label: label.into(),
            mode: Some(mode.into()),
            size: Some("4k".into()),
            size_bytes: Some(24_883_200),
            guest_copy_kernel: Some(kernel.into()),
            load: load.map(str::to_owned),
            total_gb_per_s: Some(rate),
            ..Row::default()
        }
    }

    #[test]
    fn a_loaded_rate_stands_beside_the_idle_one_of_the_same_kernels() {
        let rows = [
            row("a", "whole", "memcpy", None, 9.0),
            row("b", "whole", "avx2", None, 2.0),
            row("c", "chunked", "avx2", None, 3.0),
            row("d", "whole", "avx2", Some("cpu=2"), 1.0),
        ];
        let pairs = loaded_rates(&rows);
        assert_eq!(pairs.len(), 1);
        assert_eq!((pairs[0].idle_label.as_str(), pairs[0].loaded_over_idle), ("b", 0.5));
    }

    #[test]
    fn modes_are_compared_best_with_best_where_kernels_differ() {
        let rows = [
            row("a", "whole", "memcpy", None, 1.0),
            row("b", "whole", "avx2", None, 2.0),
            row("c", "chunked", "sse2", None, 3.0),
            row("d", "chunked", "sse2", None, 2.5),
        ];
        let pairs = beside(&rows, Facet::Mode, Some("chunked"), Some("whole"));
        let labels: Vec<_> = pairs.iter().map(|(a, b)| (a.label.as_str(), b.label.as_str())).collect();
        assert_eq!(labels, [("c", "b")]);
        assert!(beside(&rows, Facet::Mode, Some("stream"), Some("whole")).is_empty());
    }
}
