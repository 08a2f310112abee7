//! What the samples of a run come to; also, serialised, the runs of summary.json.
//!
//! Percentiles, mean and spread are over ok rows. Every other row is counted by its status.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::{DROPPED, Frame, Mismatch, Provenance, Run, Setup, Transfer};
use crate::latency_summary::LatencySummary;
use crate::limit::Limit;
use crate::report::text::payload;
use crate::roof::{Ceiling, share};
use crate::stats::{Moments, Sorted};
use crate::stream::Stream;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// `vm`, `native`, or `unknown` without a run.json that says where the reader ran.
    pub role: &'static str,
    /// Its directory as given.
    pub directory: String,
    /// The load it was under.
    pub load: Option<String>,
    /// Its latency file.
    pub latency: Option<LatencySummary>,
    /// Its bandwidth file.
    pub bandwidth: Option<BandwidthSummary>,
}

/// A bandwidth file.
#[derive(Debug, Clone, Serialize)]
pub struct BandwidthSummary {
    /// What a rate is believed up to; `None` where a roof was measured, which says it better.
    pub believable_limit: Option<Limit>,
    /// By frame format and the way the frames took, smallest first.
    pub frames: Vec<FrameSummary>,
}

/// One frame format. Medians are of ok rows, in nanoseconds, `None` where not measured.
#[derive(Debug, Clone, Serialize)]
pub struct FrameSummary {
    /// Its name in the file.
    pub frame: String,
    /// The name as people read it, and what tells it from others of the run: `4K frame chunked`.
    pub label: String,
    /// What tells it from others of its name; empty if nothing does.
    #[serde(skip)]
    pub way: String,
    /// How it was carried.
    #[serde(flatten)]
    pub setup: Setup,
    /// Bytes published at a time.
    pub chunk_bytes: Option<u64>,
    /// Slots in turn.
    pub slots: Option<u64>,
    /// Digests its rows name.
    pub digests: Vec<String>,
    /// Payload bytes.
    pub size_bytes: u64,
    /// Frames: rows, and those without one.
    pub sent: u64,
    /// Rows with status ok.
    pub ok: u64,
    /// Ok rows whose digest matched.
    pub verified: u64,
    /// Rows whose content was checked: ok ones whose digest matched, and those with a mismatch.
    pub checked: u64,
    /// Rows whose content was not what was sent, in the order of the file.
    pub mismatches: Vec<Mismatch>,
    /// Ok rows left unchecked on purpose beside others that were checked.
    pub spared: u64,
    /// Rows with another status.
    pub failed: u64,
    /// Frames without a row.
    pub lost: u64,
    /// ok / sent, 0 to 1.
    pub success_rate: f64,
    /// Failed rows by status.
    pub failed_by_status: BTreeMap<String, u64>,
    /// Frames a second that were due; of a stream on a schedule only.
    pub due_fps: Option<f64>,
    /// Payload rate, 1e9 bytes a second.
    pub rate: Option<Rate>,
    /// Ok rows with a rate above the believable limit; they are in all figures.
    pub above_limit: u64,
    /// Rate of the sender's median write.
    pub write_median_gb_per_s: Option<f64>,
    /// Rate of the receiver's median copy, without its waiting for the sender.
    pub read_median_gb_per_s: Option<f64>,
    /// What plain copies reach.
    pub roof: Option<Ceiling>,
    /// The median rates as shares of it.
    pub share_of_roof: Option<RoofShare>,
    /// Of a stream: its pace.
    pub stream: Option<Stream>,
    /// What became of the time of all its ok frames; `None` where parts overlap or were not measured.
    pub parts: Option<Parts>,
    /// First byte written to PROCESSED.
    pub duration_median_ns: Option<u64>,
    /// Shortest.
    pub duration_min_ns: Option<u64>,
    /// Longest.
    pub duration_max_ns: Option<u64>,
    /// Writing.
    pub write_median_ns: Option<u64>,
    /// Publication to RECEIVED.
    pub notify_median_ns: Option<u64>,
    /// RECEIVED to PROCESSED.
    pub read_median_ns: Option<u64>,
    /// The guest's copy on its own clock, of which its rate is made: RECEIVED to PROCESSED shrinks to nothing when the
    /// host's thread notices RECEIVED late.
    pub guest_read_median_ns: Option<u64>,
    /// How much of it the guest waited for the other side.
    pub guest_stall_median_ns: Option<u64>,
    /// PROCESSED to the verdict, outside the duration.
    pub verify_median_ns: Option<u64>,
}

/// Shares of the sum of all durations. What is left to 1 is none of them, such as waiting for the other direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parts {
    /// Writing.
    pub write: f64,
    /// Publication to RECEIVED.
    pub notify: f64,
    /// Reading.
    pub read: f64,
}

impl Parts {
    fn of(frame: &Frame) -> Option<Self> {
        if frame.setup.overlaps() {
            return None;
        }
        let sum = |of: fn(&Transfer) -> Option<u64>| {
            frame.transfers.iter().map(of).sum::<Option<u64>>().map(|ns| ns as f64)
        };
        let whole = sum(|t| Some(t.duration_ns)).filter(|ns| *ns > 0.0)?;
        // A direction of two at once has no notification of its own.
        let (write, read) = (sum(|t| t.write_ns)?, sum(|t| t.read_ns)?);
        let notify = sum(|t| Some(t.notify_ns.unwrap_or(0)))?;
        // Overlapping ones would add up to more than there is.
        (write + notify + read <= whole * 1.001).then_some(Self {
            write: write / whole,
            notify: notify / whole,
            read: read / whole,
        })
    }
}

/// Median rates over their roofs: 1 is the roof.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RoofShare {
    /// Of the write.
    pub write: Option<f64>,
    /// Of the read.
    pub read: Option<f64>,
    /// Of both together; `None` of a stream at the rate asked for, which says nothing of the link.
    pub total: Option<f64>,
}

/// Payload rates, 1e9 bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Arithmetic mean.
    pub mean_gb_per_s: f64,
    /// Sample standard deviation; `None` for a single sample.
    pub stddev_gb_per_s: Option<f64>,
    /// Rate of the median duration.
    pub median_gb_per_s: f64,
    /// Lowest.
    pub min_gb_per_s: f64,
    /// Highest.
    pub max_gb_per_s: f64,
}

impl RunSummary {
    /// Of `run`.
    #[must_use]
    pub fn of(run: &Run, processed: Option<&Sorted<u64>>) -> Self {
        let role = match &run.provenance {
            Some(_) if run.is_native() => "native",
            Some(provenance) if provenance.run.says_where() => "vm",
            _ => "unknown",
        };
        let provenance = run.provenance.as_ref();
        let limit = Limit::of(provenance);
        Self {
            role,
            directory: run.directory.display().to_string(),
            load: run.load().map(str::to_owned),
            latency: LatencySummary::of(run, processed),
            bandwidth: run.bandwidth.as_ref().map(|b| BandwidthSummary {
                frames: b.frames.iter().map(|f| FrameSummary::of(f, limit.as_ref(), provenance)).collect(),
                believable_limit: limit,
            }),
        }
    }

    /// The figures of the same frame format carried the same way; by other kernels, if no better match is there.
    #[must_use]
    pub fn like(&self, wanted: &FrameSummary) -> Option<&FrameSummary> {
        let frames = self.bandwidth.as_ref().map_or(&[][..], |b| &b.frames);
        self.place_of(wanted).map(|place| &frames[place])
    }

    /// Its place among the frames.
    #[must_use]
    pub fn place_of(&self, wanted: &FrameSummary) -> Option<usize> {
        let frames = self.bandwidth.as_ref().map_or(&[][..], |b| &b.frames);
        let same = |f: &FrameSummary| f.frame == wanted.frame && f.size_bytes == wanted.size_bytes;
        let exact = frames.iter().position(|f| same(f) && f.setup == wanted.setup);
        exact.or_else(|| frames.iter().position(|f| same(f) && f.setup.is_like(&wanted.setup)))
    }
}

impl FrameSummary {
    fn of(frame: &Frame, limit: Option<&Limit>, provenance: Option<&Provenance>) -> Self {
        let rates = frame.rates_gb_per_s();
        let ok = frame.transfers.len() as u64;
        let sent = frame.rows().saturating_add(frame.lost);
        let phase = |of: fn(&Transfer) -> Option<u64>| -> Option<u64> {
            Sorted::new(frame.transfers.iter().filter_map(of).collect()).median()
        };
        let durations = Sorted::new(frame.transfers.iter().map(|t| t.duration_ns).collect());
        let verified = frame.transfers.iter().filter(|t| t.verified).count() as u64;
        let spared = frame.transfers.iter().filter(|t| t.spared && !t.verified).count() as u64;
        let rate = Rate::of(&rates);
        let gb_per_s = |ns: Option<u64>| ns.filter(|ns| *ns > 0).map(|ns| frame.bytes as f64 / ns as f64);
        let guest = gb_per_s(phase(Transfer::guest_copy_ns));
        let (write, read) = (gb_per_s(phase(|t| t.write_ns)), gb_per_s(phase(|t| t.read_ns)));
        let (write, read) =
            if frame.setup.is_guest_to_host() { (guest.or(write), read) } else { (write, guest.or(read)) };
        let roof = Ceiling::of(provenance, frame.bytes, &frame.setup);
        let dropped = frame.failures.get(DROPPED).copied().unwrap_or(0);
        let stream = Stream::of(frame, dropped);
        let due_fps = provenance.and_then(|p| p.run.bandwidth.as_ref()?.fps).filter(|_| stream.is_some());
        let is_paced = keeps_schedule(stream.as_ref(), due_fps);
        Self {
            frame: frame.name.clone(),
            label: format!("{} {}", payload(&frame.name), frame.way).trim_end().to_owned(),
            way: frame.way.clone(),
            setup: frame.setup.clone(),
            chunk_bytes: frame.chunk_bytes,
            slots: frame.slots,
            digests: frame.digests.clone(),
            size_bytes: frame.bytes,
            sent,
            ok,
            verified,
            checked: verified + frame.mismatches.len() as u64,
            mismatches: frame.mismatches.clone(),
            spared: if verified > 0 { spared } else { 0 },
            failed: frame.failures.values().sum(),
            lost: frame.lost,
            success_rate: ok as f64 / sent as f64,
            failed_by_status: frame.failures.clone(),
            above_limit: rates.iter().filter(|r| limit.is_some_and(|l| l.is_exceeded_by(**r))).count() as u64,
            due_fps,
            rate,
            write_median_gb_per_s: write,
            read_median_gb_per_s: read,
            roof,
            share_of_roof: roof.map(|roof| RoofShare {
                write: share(write, roof.write_gb_per_s),
                read: share(read, roof.read_gb_per_s),
                total: share(rate.map(|r| r.median_gb_per_s), roof.total_gb_per_s).filter(|_| !is_paced),
            }),
            stream,
            parts: Parts::of(frame),
            duration_median_ns: durations.median(),
            duration_min_ns: durations.as_slice().first().copied(),
            duration_max_ns: durations.as_slice().last().copied(),
            write_median_ns: phase(|t| t.write_ns),
            notify_median_ns: phase(|t| t.notify_ns),
            read_median_ns: phase(|t| t.read_ns),
            guest_read_median_ns: phase(|t| t.guest_read_ns),
            guest_stall_median_ns: phase(|t| t.guest_stall_ns),
            verify_median_ns: phase(|t| t.verify_ns),
        }
    }
}

/// A stream slower than its schedule by more than this share is as fast as the link lets it.
const BEHIND_SCHEDULE: f64 = 0.01;

fn keeps_schedule(stream: Option<&Stream>, due_fps: Option<f64>) -> bool {
    let kept = stream.and_then(|stream| stream.sustained_fps).zip(due_fps);
    kept.is_some_and(|(sustained, due)| sustained >= due * (1.0 - BEHIND_SCHEDULE))
}

impl FrameSummary {
    /// Whether its rate is the one asked for, and so says nothing of what the link can do.
    #[must_use]
    pub fn is_at_asked_rate(&self) -> bool {
        keeps_schedule(self.stream.as_ref(), self.due_fps)
    }

    /// Frames due while no slot was free.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.failed_by_status.get(DROPPED).copied().unwrap_or(0)
    }
}

impl Rate {
    fn of(rates: &[f64]) -> Option<Self> {
        let moments = Moments::of(rates)?;
        let sorted = Sorted::new(rates.to_vec());
        Some(Self {
            mean_gb_per_s: moments.mean,
            stddev_gb_per_s: moments.stddev,
            median_gb_per_s: sorted.upper_median()?,
            min_gb_per_s: *sorted.as_slice().first()?,
            max_gb_per_s: *sorted.as_slice().last()?,
        })
    }
}
