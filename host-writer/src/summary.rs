//! The short summary on the terminal; `analyze` writes the full report.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use ivshmem_proto::frame::FrameFormat;
use serde::Serialize;

use crate::bandwidth::Row;
use crate::run_json::RunJson;
use crate::status::RowStatus;
use crate::transfer::Transfer;

/// Percentiles shown.
const PERCENTILES: &[f64] = &[50.0, 90.0, 99.0, 99.9, 99.99];
/// A percentile with fewer samples beyond it says nothing and is not shown.
const SAMPLES_BEYOND_MIN: usize = 10;

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Round trips to PROCESSED; null without a message that ended well.
    pub rtt: Option<Distribution>,
    /// Round trips to RECEIVED.
    pub received: Option<Distribution>,
    /// Frames by size.
    pub frames: Vec<FrameFigures>,
}

/// A distribution of nanoseconds.
#[derive(Debug, Serialize)]
pub struct Distribution {
    count: usize,
    min_ns: u64,
    mean_ns: f64,
    max_ns: u64,
    /// Percentile and value; null where fewer than ten samples lie beyond.
    percentiles_ns: Vec<(f64, Option<u64>)>,
}

impl Distribution {
    /// The distribution of the samples; `None` when there are none. Percentiles are nearest ranks: of n sorted samples,
    /// p is the ⌈p/100 · n⌉-th.
    #[must_use]
    pub fn of(mut samples_ns: Vec<u64>) -> Option<Self> {
        samples_ns.sort_unstable();
        let count = samples_ns.len();
        let value = |&percentile: &f64| {
            // In hundredths of a percent, so that the rank is exact.
            let rank = ((percentile * 100.0).round() as usize * count).div_ceil(10_000);
            (percentile, (count - rank >= SAMPLES_BEYOND_MIN).then(|| samples_ns[rank - 1]))
        };
        Some(Self {
            count,
            min_ns: *samples_ns.first()?,
            mean_ns: (samples_ns.iter().map(|&ns| ns as f64).sum::<f64>() / count as f64 * 10.0).round()
                / 10.0,
            max_ns: *samples_ns.last()?,
            percentiles_ns: PERCENTILES.iter().map(value).collect(),
        })
    }
}

/// The frames of one size: medians of those that ended well. The read rate is from the guest's own duration: seen from
/// the host it would grow without bound whenever this thread noticed RECEIVED late.
#[derive(Debug, Serialize)]
pub struct FrameFigures {
    frame_type: &'static str,
    frames: usize,
    ok: usize,
    verified: usize,
    write_gb_per_s: Option<f64>,
    read_gb_per_s: Option<f64>,
    total_gb_per_s: Option<f64>,
    verify_ms: Option<f64>,
}

impl FrameFigures {
    /// The figures of the rows of one format.
    #[must_use]
    pub fn of(format: FrameFormat, rows: &[Row]) -> Self {
        let ok: Vec<&Transfer> =
            rows.iter().map(|row| &row.transfer).filter(|t| t.status == RowStatus::Ok).collect();
        let median = |pick: fn(&Transfer) -> Option<u64>| {
            let mut values: Vec<u64> = ok.iter().filter_map(|transfer| pick(transfer)).collect();
            values.sort_unstable();
            values.get(values.len().saturating_sub(1) / 2).copied()
        };
        let rate = |ns: Option<u64>| ns.map(|ns| round_3(format.bytes() as f64 / ns.max(1) as f64));
        Self {
            frame_type: format.name(),
            frames: rows.len(),
            ok: ok.len(),
            verified: rows.iter().filter(|r| r.transfer.verified).count(),
            write_gb_per_s: rate(median(|t| Some(t.write_ns))),
            read_gb_per_s: rate(median(|t| t.guest_read_ns)),
            total_gb_per_s: rate(median(|t| t.duration_ns)),
            verify_ms: median(|t| t.verify_ns).map(|ns| round_3(ns as f64 / 1e6)),
        }
    }
}

fn round_3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The summary as text of at most 80 columns.
#[must_use]
pub fn text(figures: &Figures, run: &RunJson, out: &Path) -> String {
    let mut text = String::new();
    let accelerator = if run.guest.is_native() { String::new() } else { format!(", {}", accelerator(run)) };
    let _ = writeln!(text, "guest    {} {}{accelerator}", run.guest.place(), run.guest.mapping());
    if let Some(latency) = &run.latency {
        let _ = writeln!(
            text,
            "latency  {} of {} messages ok, {} warm-up",
            latency.ok,
            latency.status_counts.values().sum::<u64>(),
            latency.warmup
        );
        text += &latency_table(figures);
    }
    if let Some(bandwidth) = &run.bandwidth {
        let total: u64 = bandwidth.status_counts.values().sum();
        let _ = writeln!(text, "frames   {} of {total} ok, verified by {}", bandwidth.ok, bandwidth.verify);
        text += &frame_table(figures);
    }
    if run.interference.dirty {
        let _ = writeln!(text, "DIRTY    {}", run.interference.reasons.join("; "));
    }
    let _ = writeln!(text, "files    {}", out.display());
    text
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

fn latency_table(figures: &Figures) -> String {
    let header = ["  RTT in ns", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
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
    let header = ["  median GB/s", "ok", "write", "read", "total", "verify ms"];
    let row = |f: &FrameFigures| {
        vec![
            format!("  {}", f.frame_type),
            format!("{}/{}", f.ok, f.frames),
            or_na(f.write_gb_per_s),
            or_na(f.read_gb_per_s),
            or_na(f.total_gb_per_s),
            or_na(f.verify_ms),
        ]
    };
    table(&header, figures.frames.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_with_fewer_than_ten_samples_beyond_is_not_shown() {
        let d = Distribution::of((1..=10_000).collect()).unwrap();
        let shown: Vec<bool> = d.percentiles_ns.iter().map(|(_, v)| v.is_some()).collect();
        assert_eq!(shown, [true, true, true, true, false]);
        assert_eq!((d.percentiles_ns[3].1, d.min_ns, d.max_ns, d.mean_ns), (Some(9_990), 1, 10_000, 5000.5));
        let d = Distribution::of((1..=9_999).collect()).unwrap();
        assert_eq!(d.percentiles_ns[3].1, None);
        assert!(Distribution::of(vec![]).is_none());
    }

    #[test]
    fn frame_rates_are_medians_of_the_rows_that_ended_well() {
        let row = |ns: u64, status| Row {
            iteration: 1,
            format: FrameFormat::Uhd4k,
            transfer: Transfer {
                sequence: 1,
                duration_ns: Some(ns),
                write_ns: ns / 2,
                notify_ns: Some(0),
                read_ns: Some(ns / 2),
                verify_ns: None,
                guest_read_ns: None,
                guest_verify_ns: None,
                verified: status == RowStatus::Ok,
                status,
            },
        };
        let rows = [
            row(24_883_200, RowStatus::Ok),
            row(12_441_600, RowStatus::Ok),
            row(99_999_999, RowStatus::Ok),
            row(1, RowStatus::Mismatch),
        ];
        let f = FrameFigures::of(FrameFormat::Uhd4k, &rows);
        assert_eq!((f.frames, f.ok, f.verified), (4, 3, 3));
        assert_eq!((f.total_gb_per_s, f.write_gb_per_s, f.verify_ms), (Some(1.0), Some(2.0), None));
    }
}
