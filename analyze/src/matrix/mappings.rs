//! What the mapping costs: runs whose guests mapped the region otherwise, all else equal, beside the most cacheable one.

use super::Matrix;
use super::findings::{Comparison, caution, comparisons, times};
use super::pairs::counterpart;
use super::row::Facet;
use crate::analysis::Analyzed;
use crate::latency_summary::LatencySummary;

/// Memory types from the one that costs reads nothing to the one that costs most (Intel SDM vol. 3, 12.3).
const CACHEABLE_FIRST: [&str; 5] =
    ["write-back", "write-through", "write-combining", "uncached-minus", "uncached"];

pub(super) fn of(matrix: &Matrix) -> Vec<String> {
    let mut findings = Vec::new();
    for (value, other) in pairs(matrix) {
        let comparison = Comparison {
            facet: Facet::Mapping,
            lead: "what the mapping costs, ",
            value: &value,
            other: &other,
            of: format!("times as long as {other}"),
        };
        findings.extend(comparisons(&matrix.rows, &comparison));
        findings.extend(round_trips(matrix, &value, &other));
    }
    findings
}

/// Each mapping of a machine beside the most cacheable one of that machine, each pair once.
fn pairs(matrix: &Matrix) -> Vec<(String, String)> {
    let mut places: Vec<(&str, &str)> =
        matrix.rows.iter().filter_map(|row| Some((row.machine.as_str(), row.mapping.as_deref()?))).collect();
    let rank = |mapping: &str| {
        let memory_type = mapping.split(' ').next();
        CACHEABLE_FIRST.iter().position(|known| Some(*known) == memory_type).unwrap_or(CACHEABLE_FIRST.len())
    };
    places.sort_by_key(|(machine, mapping)| (*machine, rank(mapping), *mapping));
    places.dedup();
    let mut pairs = Vec::new();
    for of_machine in places.chunk_by(|a, b| a.0 == b.0) {
        let [(_, best), others @ ..] = of_machine else { continue };
        for (_, mapping) in others {
            let pair = ((*mapping).to_owned(), (*best).to_owned());
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// Round trips of the first closed loop mapped as `value` that has a counterpart mapped as `other`.
fn round_trips(matrix: &Matrix, value: &str, other: &str) -> Option<String> {
    let is_mapped = |analyzed: &Analyzed, mapping: &str| {
        analyzed.run.provenance.as_ref().and_then(|p| p.run.mapping()).as_deref() == Some(mapping)
    };
    let p50 = |analyzed: &Analyzed| {
        analyzed.summary.latency.as_ref().filter(|l| !l.is_open()).and_then(LatencySummary::p50_ns)
    };
    let of_value = matrix.cells.iter().filter(|cell| is_mapped(&cell.analyzed, value));
    let (cell, partner) = of_value.into_iter().find_map(|cell| {
        let like = |partner: &Analyzed| {
            is_mapped(partner, other) && partner.summary.load == cell.analyzed.summary.load
        };
        Some((cell, counterpart(&matrix.cells, &matrix.rows, cell, like)?))
    })?;
    let ns = p50(&cell.analyzed)?;
    let of = p50(&partner.analyzed).filter(|ns| *ns > 0)?;
    let dirty = cell.analyzed.run.is_suspect() || partner.analyzed.run.is_suspect();
    Some(format!(
        "what the mapping costs, RTT p50: {value} takes {} times as long as {other} ({} beside {}){}",
        times(ns as f64 / of as f64),
        cell.label,
        partner.label,
        caution(dirty)
    ))
}
