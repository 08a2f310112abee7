//! What the cells say, in sentences that hold nothing but their figures.

use super::cell::Cell;
use crate::report::text::{duration, plural, times};

/// For each load and rate what every way to wait costs, then its ratio to looking; then what went wrong.
pub(super) fn of(cells: &[Cell]) -> Vec<String> {
    let mut sentences = Vec::new();
    for group in cells.chunk_by(Cell::is_beside) {
        let about = about(&group[0]);
        let costs: Vec<String> = group.iter().filter_map(cost).collect();
        if !costs.is_empty() {
            sentences.push(format!("{about}: {}.", costs.join("; ")));
        }
        let ratios: Vec<String> = group.iter().filter_map(|cell| against_polling(cell, group)).collect();
        if !ratios.is_empty() {
            sentences.push(format!("{about}, against poll/poll: {}.", ratios.join("; ")));
        }
    }
    sentences.extend(cells.iter().filter_map(missed));
    sentences.extend(cells.iter().filter(|cell| cell.p50_ns().is_none()).map(too_few));
    sentences
}

/// `1,000/s, idle`.
fn about(cell: &Cell) -> String {
    let rate = if cell.rate_per_s.is_none() { "Back to back".into() } else { cell.rate() };
    format!("{rate}, {}", cell.load)
}

/// `uio/doorbell costs 62.10 µs at p50 and 41.00 µs of CPU a message (host 20.00 µs, vCPU 21.00 µs)`.
fn cost(cell: &Cell) -> Option<String> {
    let p50 = duration(cell.p50_ns()? as f64);
    let cpu = match (cell.wide.host_cpu_ns_per_message, cell.wide.vcpu_cpu_ns_per_message) {
        (Some(host), Some(vcpu)) => format!(
            " and {} of CPU a message (host {}, vCPU {})",
            duration(host + vcpu),
            duration(host),
            duration(vcpu)
        ),
        (Some(host), None) => format!(" and {} of the host's CPU a message", duration(host)),
        (None, _) => String::new(),
    };
    Some(format!("{} costs {p50} at p50{cpu}", cell.name()))
}

/// Ratios to the cell that looks, where the same sides' CPU is known of both.
fn against_polling(cell: &Cell, group: &[Cell]) -> Option<String> {
    let looks = |c: &Cell| c.guest_wait == "poll" && c.host_wait == "poll";
    let knows_vcpu = |c: &Cell| c.wide.vcpu_cpu_ns_per_message.is_some();
    if looks(cell) {
        return None;
    }
    let polling = group.iter().find(|c| looks(c) && knows_vcpu(c) == knows_vcpu(cell))?;
    let p50 = cell.p50_ns()? as f64 / polling.p50_ns().filter(|ns| *ns > 0)? as f64;
    let cpu = cell.cpu_ns_per_message().zip(polling.cpu_ns_per_message().filter(|ns| *ns > 0.0));
    let cpu = cpu.map(|(ns, polling)| {
        let whose = if knows_vcpu(cell) { "CPU" } else { "host's CPU" };
        format!(" and {} its {whose}", times(Some(ns / polling)))
    });
    Some(format!("{} takes {} its p50{}", cell.name(), times(Some(p50)), cpu.unwrap_or_default()))
}

fn missed(cell: &Cell) -> Option<String> {
    let missed = cell.wide.missed.filter(|count| *count > 0)?;
    Some(format!(
        "{}: {} had {} by the bound of a sleep instead of an interrupt, in {}.",
        about(cell),
        cell.name(),
        plural(missed, "wake-up"),
        plural(cell.messages, "message")
    ))
}

fn too_few(cell: &Cell) -> String {
    format!(
        "{}: {} has {}, too few for a median; at least 20 are needed.",
        about(cell),
        cell.name(),
        plural(cell.ok, "ok message")
    )
}
