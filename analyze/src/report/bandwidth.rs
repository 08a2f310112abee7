//! The bandwidth section: three tables with a line for each frame format.

use super::text::{NOT_AVAILABLE, duration, four_digits, grouped, heading, wrapped};
use crate::summary::{BandwidthSummary, FrameSummary};

/// The section for one run.
pub(super) fn section(title: &str, summary: &BandwidthSummary) -> String {
    let mut out = heading(&format!("BANDWIDTH · {title}"));
    out += &table(["frame", "bytes", "sent", "ok", "failed", "lost", "success"], &summary.frames, |f| {
        [
            f.frame.clone(),
            grouped(f.size_bytes),
            grouped(f.sent),
            grouped(f.ok),
            grouped(f.failed),
            grouped(f.lost),
            format!("{:.1} %", f.success_rate * 100.0),
        ]
    });
    for frame in &summary.frames {
        for (status, count) in &frame.failed_by_status {
            out += &wrapped(&format!("  {:<8}", frame.frame), &format!("{status}: {}", grouped(*count)));
        }
    }
    out += "\n  Rate, GB/s (1e9 bytes/s)\n";
    out += &table(["frame", "mean", "stddev", "median", "min", "max", "> limit"], &summary.frames, |f| {
        let figure = |of: fn(&crate::summary::Rate) -> Option<f64>| optional(f.rate.as_ref().and_then(of));
        [
            f.frame.clone(),
            figure(|r| Some(r.mean_gb_per_s)),
            figure(|r| r.stddev_gb_per_s),
            figure(|r| Some(r.median_gb_per_s)),
            figure(|r| Some(r.min_gb_per_s)),
            figure(|r| Some(r.max_gb_per_s)),
            grouped(f.above_limit),
        ]
    });
    let limit = &summary.believable_limit;
    out += &wrapped(
        "  ",
        &match &limit.copy_kernel {
            Some(kernel) => {
                format!(
                    "limit: {} GB/s, the fastest copy measured in this run ({kernel})",
                    four_digits(limit.gb_per_s)
                )
            }
            None => {
                format!("limit: {} GB/s, as no copy was measured in this run", four_digits(limit.gb_per_s))
            }
        },
    );
    out += "\n  Median times (a frame's parts add up, the medians of them need not)\n";
    out += &table(["frame", "duration", "write", "notify", "read", "", "verify"], &summary.frames, |f| {
        let time = |ns: Option<u64>| ns.map_or_else(|| NOT_AVAILABLE.into(), |ns| duration(ns as f64));
        [
            f.frame.clone(),
            time(f.duration_median_ns),
            time(f.write_median_ns),
            time(f.notify_median_ns),
            time(f.read_median_ns),
            String::new(),
            time(f.verify_median_ns),
        ]
    });
    out += "\n  Median copy rate, GB/s (read: on the guest's own clock); verified frames\n";
    out += &table(["frame", "write", "read", "", "", "", "verified"], &summary.frames, |f| {
        let rate =
            |ns: Option<u64>| optional(ns.filter(|ns| *ns > 0).map(|ns| f.size_bytes as f64 / ns as f64));
        [
            f.frame.clone(),
            rate(f.write_median_ns),
            rate(f.guest_read_median_ns.or(f.read_median_ns)),
            String::new(),
            String::new(),
            String::new(),
            format!("{}/{}", f.verified, f.ok),
        ]
    });
    out
}

fn optional(figure: Option<f64>) -> String {
    figure.map_or_else(|| NOT_AVAILABLE.into(), four_digits)
}

/// The first column flush left, six more flush right.
fn table(header: [&str; 7], frames: &[FrameSummary], cells: impl Fn(&FrameSummary) -> [String; 7]) -> String {
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(frames.iter().map(cells));
    let lines = rows.iter().map(|row| {
        let mut line = format!("  {:<12}", row[0]);
        for cell in &row[1..] {
            line += &format!(" {cell:>10}");
        }
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}
