//! The short summary on the terminal; `analyze` writes the full report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::frame::FrameFormat;
use serde::Serialize;

use crate::cli::Direction;
use crate::config::PayloadSize;
use crate::facts::Results;
use crate::latency::Sample;
use crate::median::lower_median;
use crate::run_json::{BandwidthFacts, LatencyFacts, RunJson};
use crate::sizes::format_size;
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
    /// Payloads by size and direction.
    pub frames: Vec<PayloadFigures>,
}

impl Figures {
    /// The figures of `results`. From the samples where they were kept, else from the histograms.
    #[must_use]
    pub fn of(
        sizes: &[PayloadSize],
        results: &Results,
        bandwidth: Option<&BandwidthFacts>,
        clock: &Clock,
    ) -> Self {
        let ok = || results.latency.samples.iter().filter(|s| s.status == RowStatus::Ok);
        let of = |pick: fn(&Sample) -> Option<u64>, histogram: &Histogram<u64>| {
            let ns: Vec<u64> = ok().filter_map(pick).map(|ticks| clock.ns(Ticks(0), Ticks(ticks))).collect();
            Distribution::of(ns).or_else(|| Distribution::of_histogram(histogram))
        };
        let directions = [Direction::HostToGuest, Direction::GuestToHost];
        let groups = sizes.iter().flat_map(|&size| directions.map(|direction| (size, direction)));
        Self {
            rtt: of(Sample::processed_from_due, &results.latency.rtt),
            received: of(Sample::received_from_due, &results.latency.received),
            frames: groups
                .filter_map(|(size, direction)| {
                    // Several are in flight at a time: what counts is from the end of one to the end of the next.
                    let period_ns = bandwidth.and_then(|b| b.period_ns_p50.get(&size.name()).copied());
                    let is_paced = bandwidth.is_some_and(|b| b.fps.is_some());
                    PayloadFigures::of(size, direction, results, period_ns, is_paced)
                })
                .collect(),
        }
    }
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

    /// The same of a histogram, whose values have three significant digits.
    fn of_histogram(histogram: &Histogram<u64>) -> Option<Self> {
        let count = histogram.len();
        let value = |&percentile: &f64| {
            let rank = ((percentile * 100.0).round() as u64 * count).div_ceil(10_000);
            let beyond = (count - rank) as usize;
            (percentile, (beyond >= SAMPLES_BEYOND_MIN).then(|| histogram.value_at_percentile(percentile)))
        };
        (count > 0).then(|| Self {
            count: count as usize,
            min_ns: histogram.min(),
            mean_ns: (histogram.mean() * 10.0).round() / 10.0,
            max_ns: histogram.max(),
            percentiles_ns: PERCENTILES.iter().map(value).collect(),
        })
    }
}

/// The payloads of one size and direction: medians of those that ended well. The guest's rate is from its own duration,
/// without what it waited: seen from the host it would grow without bound whenever this thread noticed RECEIVED late.
#[derive(Debug, Serialize)]
pub struct PayloadFigures {
    frame_type: String,
    #[serde(skip)]
    label: String,
    direction: &'static str,
    frames: usize,
    ok: usize,
    verified: usize,
    write_gb_per_s: Option<f64>,
    /// Share of the writer's roof.
    write_of_roof: Option<f64>,
    read_gb_per_s: Option<f64>,
    /// Share of the reader's roof.
    read_of_roof: Option<f64>,
    total_gb_per_s: Option<f64>,
    /// Share of the roof over both together; null where the rate is the one asked for.
    total_of_roof: Option<f64>,
    /// Whether the frames came at the rate asked for, whatever the link can do.
    is_paced: bool,
    verify_ms: Option<f64>,
}

impl PayloadFigures {
    /// The figures of one group; `None` when it has no rows.
    fn of(
        size: PayloadSize,
        direction: Direction,
        results: &Results,
        stream_period_ns: Option<u64>,
        is_paced: bool,
    ) -> Option<Self> {
        let rows: Vec<&Transfer> = results
            .rows
            .iter()
            .filter(|row| row.size == size && row.transfer.direction == direction)
            .map(|row| &row.transfer)
            .collect();
        let ok: Vec<&Transfer> = rows.iter().copied().filter(|t| t.status == RowStatus::Ok).collect();
        let median = |pick: fn(&Transfer) -> Option<u64>| {
            lower_median(ok.iter().filter_map(|transfer| pick(transfer)).collect())
        };
        let rate = |ns: Option<u64>| ns.map(|ns| size.bytes() as f64 / ns.max(1) as f64);
        let to_guest = direction == Direction::HostToGuest;
        let (write, read) = if to_guest {
            (rate(median(|t| t.write_ns)), rate(median(Transfer::guest_ns)))
        } else {
            (rate(median(Transfer::guest_ns)), rate(median(|t| t.read_ns)))
        };
        let total = rate(stream_period_ns.or_else(|| median(|t| t.duration_ns)));
        let roofs = results.calibration.roofs_of(size, direction);
        let share = |figure: Option<f64>, roof: Option<f64>| figure.zip(roof).map(|(f, r)| round_3(f / r));
        (!rows.is_empty()).then(|| Self {
            frame_type: size.name(),
            label: size.label(),
            direction: direction.name(),
            frames: rows.len(),
            ok: ok.len(),
            verified: rows.iter().filter(|t| t.verified).count(),
            write_gb_per_s: write.map(round_3),
            write_of_roof: share(write, roofs.writing),
            read_gb_per_s: read.map(round_3),
            read_of_roof: share(read, roofs.reading),
            total_gb_per_s: total.map(round_3),
            total_of_roof: share(total.filter(|_| !is_paced), roofs.total),
            is_paced,
            verify_ms: median(|t| t.verify_ns).map(|ns| round_3(ns as f64 / 1e6)),
        })
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
            "         first mismatch: {} {}, message {}",
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
    use crate::bandwidth::Row;
    use ivshmem_proto::wire::Digest;

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
    fn rates_are_medians_of_the_rows_that_ended_well() {
        let size = PayloadSize::Frame(FrameFormat::Uhd4k);
        let row = |ns: u64, status| {
            let transfer = Transfer {
                duration_ns: Some(ns),
                write_ns: Some(ns / 2),
                guest_copy_ns: Some(ns),
                guest_stall_ns: Some(ns / 2),
                verified: status == RowStatus::Ok,
                status,
                ..Transfer::published(1, Direction::HostToGuest, Digest::Sha256, Ticks(0))
            };
            Row::sample(size, transfer)
        };
        let mut results = Results::new().unwrap();
        results.rows = vec![
            row(24_883_200, RowStatus::Ok),
            row(12_441_600, RowStatus::Ok),
            row(99_999_999, RowStatus::Ok),
            row(1, RowStatus::Mismatch),
        ];
        let f = PayloadFigures::of(size, Direction::HostToGuest, &results, None, false).unwrap();
        assert_eq!((f.frames, f.ok, f.verified), (4, 3, 3));
        assert_eq!((f.total_gb_per_s, f.write_gb_per_s, f.verify_ms), (Some(1.0), Some(2.0), None));
        assert_eq!((f.read_gb_per_s, f.read_of_roof), (Some(2.0), None), "without what it waited");
        assert!(PayloadFigures::of(size, Direction::GuestToHost, &results, None, false).is_none());
    }

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

    #[test]
    fn a_histogram_says_the_same_as_its_samples() {
        let mut histogram = crate::hgrm::empty().unwrap();
        (1..=10_000).for_each(|ns| histogram.saturating_record(ns));
        let (a, b) = (
            Distribution::of_histogram(&histogram).unwrap(),
            Distribution::of((1..=10_000).collect()).unwrap(),
        );
        assert_eq!((a.count, a.min_ns, a.percentiles_ns[4].1), (b.count, b.min_ns, b.percentiles_ns[4].1));
        let near = |x: Option<u64>, y: Option<u64>| x.unwrap().abs_diff(y.unwrap()) * 1000 <= y.unwrap();
        assert!((0..4).all(|i| near(a.percentiles_ns[i].1, b.percentiles_ns[i].1)), "{a:?}");
    }
}
