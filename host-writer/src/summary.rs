//! The short summary on the terminal; `analyze` writes the full report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use ivshmem_proto::frame::FrameFormat;

use crate::cli::{Direction, Record};
use crate::config::PayloadSize;
use crate::figures::{Distribution, Figures, PayloadFigures};
use crate::run_json::{BandwidthFacts, LatencyFacts, RunJson};
use crate::sizes::format_size;
use crate::status::RowStatus;

/// The summary as text of at most 80 columns.
#[must_use]
pub fn text(figures: &Figures, run: &RunJson, out: &Path) -> String {
    let mut text = String::new();
    let accelerator = if run.guest.is_native() { String::new() } else { format!(", {}", accelerator(run)) };
    let _ = writeln!(text, "guest    {}{accelerator}", run.guest.place());
    if let Some(vm) = &run.vm_beside {
        let _ = writeln!(
            text,
            "         not the VM {vm}, which has this region too: a process on this host answered;\n         stop that \
             guest-reader to measure the VM"
        );
    }
    let _ = writeln!(text, "memory   {}", run.guest.mapping());
    if let Some(note) = run.guest.memory_note() {
        let _ = writeln!(text, "         {note}");
    }
    if let Some(load) = &run.load {
        let _ = writeln!(text, "load     {}", load.label);
    }
    if let Some(preset) = &run.preset {
        let _ = writeln!(text, "preset   {preset}");
    }
    if let Some(latency) = &run.latency {
        latency_text(&mut text, latency, figures);
    }
    if let Some(doorbell) = &run.doorbell {
        let _ = writeln!(text, "{}", doorbell.lines());
        if run.latency.as_ref().is_some_and(|latency| latency.record == Record::Histogram.name()) {
            let _ = writeln!(
                text,
                "         no doorbell_results.csv: a histogram has no rows; --messages keeps them"
            );
        }
    }
    if let Some(broadcast) = &run.broadcast {
        text += &broadcast.lines();
    }
    if let Some(bandwidth) = &run.bandwidth {
        bandwidth_text(&mut text, bandwidth, figures);
    }
    for sentence in run.roof.iter().flat_map(|roof| &roof.exceeded) {
        let _ = writeln!(text, "WRONG    {sentence}");
    }
    for kind in &run.peer_violation_kinds {
        let _ = write!(text, "PROTOCOL {}", kind.first);
        let _ = match kind.count {
            1 => writeln!(text),
            count => writeln!(text, " (and {} more of this kind)", count - 1),
        };
    }
    if run.interference.dirty {
        let _ = writeln!(text, "DIRTY    {}", run.interference.reasons.join("; "));
    }
    let _ = writeln!(text, "files    {}", out.display());
    text
}

fn latency_text(text: &mut String, latency: &LatencyFacts, figures: &Figures) {
    let total = latency.status_counts.values().sum::<u64>();
    let failed = failed(&latency.status_counts);
    let _ =
        write!(text, "latency  {} of {total} messages ok{failed}, {} warm-up", latency.ok, latency.warmup);
    if latency.payload_bytes > 0 {
        let _ = write!(text, ", {} bytes of payload", latency.payload_bytes);
    }
    if let (Some(rate), Some(arrivals)) = (latency.rate_per_s, latency.arrivals) {
        let _ = write!(text, ", {rate} a second, {arrivals}");
    }
    let _ = writeln!(text);
    if latency.missed_rate {
        let _ = writeln!(
            text,
            "         RATE MISSED: {} a second were sent; latencies from the due time say how long\n         the test was",
            latency.achieved_per_s.map_or_else(|| "fewer".to_owned(), |rate| rate.to_string())
        );
    }
    *text += &latency_table(figures, latency.rate_per_s.is_some());
    if let Some(one_way) = &latency.one_way {
        let _ = match (&one_way.to_guest_ns, &one_way.to_host_ns, one_way.bound_ns) {
            (Some(to_guest), Some(to_host), Some(bound)) => writeln!(
                text,
                "one way  p50 {} ns to the guest, {} ns to the host, each within {bound:.0} ns; drift {} ppm{}",
                to_guest.p50,
                to_host.p50,
                or_na(one_way.drift_ppm),
                bound_note(bound, to_guest.p50.min(to_host.p50))
            ),
            _ => writeln!(text, "one way  refused: {}", one_way.why.as_deref().unwrap_or("no reason given")),
        };
    }
    if latency.duplicated + latency.reordered > 0 {
        let _ = writeln!(text, "         {} duplicated, {} reordered", latency.duplicated, latency.reordered);
    }
}

/// What to make of a bound that is not small beside the figure it belongs to.
fn bound_note(bound_ns: f64, shorter_ns: f64) -> String {
    if bound_ns < shorter_ns / 2.0 {
        return String::new();
    }
    format!(
        "\n         the error bound is nearly as large as the value ({:.0} % of the shorter way):\n         ways that \
         differ by less than {:.0} ns cannot be told apart",
        bound_ns / shorter_ns * 100.0,
        2.0 * bound_ns
    )
}

fn bandwidth_text(text: &mut String, bandwidth: &BandwidthFacts, figures: &Figures) {
    let total: u64 = bandwidth.status_counts.values().sum();
    let failed = failed(&bandwidth.status_counts);
    let _ = write!(text, "frames   {} of {total} ok{failed}, {}", bandwidth.ok, bandwidth.mode);
    if let Some(chunk) = bandwidth.chunk_bytes {
        let _ = write!(text, " by {}", format_size(chunk));
    }
    if bandwidth.mode == "stream" {
        let plural = if bandwidth.slots == 1 { "" } else { "s" };
        let _ = write!(text, " of {} slot{plural}", bandwidth.slots);
    }
    let _ = write!(text, ", {} cache, ", bandwidth.cache);
    if bandwidth.verify == "none" {
        let _ = writeln!(text, "not verified");
    } else {
        let (checked, of, bad) =
            (bandwidth.checked, bandwidth.verifiable, bandwidth.checked - bandwidth.verified);
        let bad = if bad > 0 { format!(", {bad} mismatch") } else { String::new() };
        let _ = writeln!(text, "{} checked {checked} of {of}{bad}", bandwidth.verify);
    }
    if let Some(first) = &bandwidth.first_mismatch {
        let _ = write!(
            text,
            "         first mismatch: {} {}, message {} of the session",
            label(&first.frame_type),
            first.iteration,
            first.message
        );
        let _ = match first.offset_bytes {
            Some(offset) => writeln!(text, ", at byte {offset}"),
            None => writeln!(text, "; --verify pattern tells the byte"),
        };
    }
    if let (Some(working_set), Some(llc)) = (bandwidth.working_set_bytes, bandwidth.llc_bytes) {
        let (set, llc) = (working_set >> 20, llc >> 20);
        let _ = writeln!(text, "         working set {set} MiB, last-level cache {llc} MiB");
    }
    for (name, fps) in &bandwidth.sustained_fps {
        let _ = write!(text, "         {}: {fps} frames/s sustained", label(name));
        let _ = match bandwidth.late {
            Some(late) => writeln!(
                text,
                " of {} asked, {late} late, {} dropped",
                or_na(bandwidth.fps),
                bandwidth.dropped
            ),
            None => writeln!(text),
        };
    }
    *text += &frame_table(figures);
}

/// The name of a size as people read it.
fn label(name: &str) -> String {
    FrameFormat::from_name(name).map_or_else(|| name.to_owned(), |f| PayloadSize::Frame(f).label())
}

/// How messages ended that are not ok, such as ` (3 timeout_received, 1 mismatch)`; empty when all are.
fn failed(counts: &BTreeMap<&'static str, u64>) -> String {
    let others = counts.iter().filter(|&(&name, &count)| name != RowStatus::Ok.name() && count > 0);
    let others: Vec<String> = others.map(|(name, count)| format!("{count} {name}")).collect();
    if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) }
}

fn accelerator(run: &RunJson) -> String {
    let Some(vm) = &run.vm else { return "no VM state found".to_owned() };
    let word = |field: &str| vm["accelerator"][field].as_str().unwrap_or("unknown").to_owned();
    format!("{} (asked {})", word("effective"), word("asked"))
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt() + "\n"
}

fn or_na<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |v| v.to_string())
}

fn latency_table(figures: &Figures, from_due: bool) -> String {
    let header = [
        if from_due { "  ns from due" } else { "  RTT in ns" },
        "min",
        "mean",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
    ];
    let rows = [("to RECEIVED", &figures.received), ("to PROCESSED", &figures.rtt)];
    let row = |(name, distribution): (&str, &Option<Distribution>)| {
        let mut cells = vec![format!("  {name}")];
        if let Some(d) = distribution {
            cells.extend([d.min_ns.to_string(), format!("{:.0}", d.mean_ns)]);
            cells.extend(d.percentiles_ns.iter().map(|&(_, value)| or_na(value)));
            cells.push(d.max_ns.to_string());
        }
        cells
    };
    table(&header, rows.into_iter().map(row))
}

fn frame_table(figures: &Figures) -> String {
    let header =
        ["  median GB/s", "ok", "write", "of roof", "read", "of roof", "total", "of roof", "verify ms"];
    let percent = |share: Option<f64>| share.map_or_else(|| "n/a".into(), |s| format!("{:.0} %", s * 100.0));
    let row = |f: &PayloadFigures| {
        let back = if f.direction == Direction::GuestToHost.name() { " guest-to-host" } else { "" };
        vec![
            format!("  {}{back}", f.label),
            format!("{}/{}", f.ok, f.frames),
            or_na(f.write_gb_per_s),
            percent(f.write_of_roof),
            or_na(f.read_gb_per_s),
            percent(f.read_of_roof),
            or_na(f.total_gb_per_s),
            if f.is_paced { "asked rate".to_owned() } else { percent(f.total_of_roof) },
            or_na(f.verify_ms),
        ]
    };
    table(&header, figures.frames.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_end_well_is_named_and_counted() {
        let counts = BTreeMap::from([("ok", 5), ("timeout_processed", 3), ("mismatch", 1), ("dropped", 0)]);
        assert_eq!(failed(&counts), " (1 mismatch, 3 timeout_processed)");
        assert_eq!(failed(&BTreeMap::from([("ok", 5)])), "");
    }

    #[test]
    fn a_bound_as_large_as_its_figure_is_called_so() {
        assert_eq!(bound_note(74.0, 150.0), "");
        assert_eq!(
            bound_note(144.0, 150.0),
            "\n         the error bound is nearly as large as the value (96 % of the shorter way):\n         ways that differ \
             by less than 288 ns cannot be told apart"
        );
    }
}
