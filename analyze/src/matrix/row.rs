//! A row of matrix.csv: one run, one size, one way.

use serde::Serialize;

use super::Cell;
use crate::input::{BandwidthPlan, RunJson};
use crate::latency_summary::LatencySummary;
use crate::report::text::payload;
use crate::summary::FrameSummary;

/// Median figures of one run, size and way; `None` where not measured. A run without bandwidth has one row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// The run's name.
    pub label: String,
    /// `VM (tcg)`, `native`.
    pub machine: String,
    /// How the reader mapped the region: `file`, `resource2`, `resource2_wc`.
    pub map_kind: Option<String>,
    /// Memory type of that mapping in effect: `write-combining`.
    pub memory_type: Option<String>,
    /// Both in words: `write-combining by resource2_wc`.
    #[serde(skip)]
    pub mapping: Option<String>,
    /// `whole`, `chunked` or `stream`.
    pub mode: Option<String>,
    /// `host-to-guest` or `guest-to-host`; `host-to-guest of both` where the other went at the same time.
    pub direction: Option<String>,
    /// Its name in the file: `4k`, `64B`.
    pub size: Option<String>,
    /// Payload bytes.
    pub size_bytes: Option<u64>,
    /// The host's copy kernel.
    pub copy_kernel: Option<String>,
    /// The guest's.
    pub guest_copy_kernel: Option<String>,
    /// `warm` or `cold`.
    pub cache: Option<String>,
    /// `copy`, `scan` or `none`.
    pub consume: Option<String>,
    /// Digests, with a blank between.
    pub verify: Option<String>,
    /// The load's name.
    pub load: Option<String>,
    /// Ok frames.
    pub frames_ok: Option<u64>,
    /// Frames sent, lost and dropped.
    pub frames_total: Option<u64>,
    /// Rate of the sender's median write.
    pub write_gb_per_s: Option<f64>,
    /// Rate of the receiver's median copy.
    pub read_gb_per_s: Option<f64>,
    /// Rate of the median duration.
    pub total_gb_per_s: Option<f64>,
    /// The total over its roof.
    pub share_of_roof: Option<f64>,
    /// Round trip to PROCESSED, closed loop.
    pub rtt_p50_ns: Option<u64>,
    /// Round trip to PROCESSED, closed loop.
    pub rtt_p99_ns: Option<u64>,
    /// Due time to PROCESSED, open loop.
    pub from_due_p50_ns: Option<u64>,
    /// Due time to PROCESSED, open loop.
    pub from_due_p99_ns: Option<u64>,
    /// Frames a second of a stream.
    pub sustained_fps: Option<f64>,
    /// Frames a second that were due; of a stream on a schedule only.
    pub due_fps: Option<f64>,
    /// Late frames of a stream.
    pub late: Option<u64>,
    /// Dropped frames of a stream.
    pub dropped: Option<u64>,
    /// Whether the run was disturbed too much, by its load or otherwise.
    pub dirty: bool,
}

/// What must be equal, besides the size, for two rows to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facet {
    Machine,
    Mapping,
    Mode,
    Direction,
    Cache,
    Consume,
    Load,
}

impl Facet {
    pub(super) const ALL: [Self; 7] =
        [Self::Machine, Self::Mapping, Self::Mode, Self::Direction, Self::Cache, Self::Consume, Self::Load];
}

impl Row {
    pub(super) fn of_cell(cell: &Cell) -> Vec<Self> {
        let analyzed = &cell.analyzed;
        let latency = analyzed.summary.latency.as_ref();
        let closed = latency.filter(|l| !l.is_open());
        let open = latency.filter(|l| l.is_open());
        let run = analyzed.run.provenance.as_ref().map(|p| &p.run);
        let guest = run.and_then(|r| r.guest.as_ref());
        let common = Self {
            label: cell.label.clone(),
            machine: analyzed.machine(),
            map_kind: guest.and_then(|g| g.map_kind.clone()),
            memory_type: guest.and_then(|g| g.memory_type.clone()),
            mapping: run.and_then(RunJson::mapping),
            // Files without these columns had one kernel a side, which run.json names.
            copy_kernel: run.and_then(|r| r.copy_kernel.clone()),
            guest_copy_kernel: guest.and_then(|g| g.copy_kernel.clone()),
            load: analyzed.summary.load.clone(),
            rtt_p50_ns: closed.and_then(LatencySummary::p50_ns),
            rtt_p99_ns: closed.and_then(LatencySummary::p99_ns),
            from_due_p50_ns: open.and_then(LatencySummary::p50_ns),
            from_due_p99_ns: open.and_then(LatencySummary::p99_ns),
            dirty: analyzed.run.is_dirty(),
            ..Self::default()
        };
        let at_once = analyzed.run.bandwidth_plan().is_some_and(BandwidthPlan::is_both_ways);
        match &analyzed.summary.bandwidth {
            Some(bandwidth) => bandwidth.frames.iter().map(|frame| common.with(frame, at_once)).collect(),
            None => vec![common],
        }
    }

    fn with(&self, frame: &FrameSummary, at_once: bool) -> Self {
        let setup = frame.setup.clone();
        let stream = frame.stream.as_ref();
        Self {
            mode: setup.mode,
            direction: setup.direction.map(|way| if at_once { format!("{way} of both") } else { way }),
            size: Some(frame.frame.clone()),
            size_bytes: Some(frame.size_bytes),
            copy_kernel: setup.copy_kernel.or_else(|| self.copy_kernel.clone()),
            // What a guest writes with is its own choice and not recorded: run.json's is the one it reads with.
            guest_copy_kernel: match setup.guest_copy_kernel {
                None if frame.setup.is_guest_to_host() => None,
                kernel => kernel.or_else(|| self.guest_copy_kernel.clone()),
            },
            cache: setup.cache,
            consume: setup.consume,
            verify: (!frame.digests.is_empty()).then(|| frame.digests.join(" ")),
            frames_ok: Some(frame.ok),
            frames_total: Some(frame.sent),
            write_gb_per_s: frame.write_median_gb_per_s,
            read_gb_per_s: frame.read_median_gb_per_s,
            total_gb_per_s: frame.rate.map(|rate| rate.median_gb_per_s),
            share_of_roof: frame.share_of_roof.and_then(|share| share.total),
            sustained_fps: stream.and_then(|s| s.sustained_fps),
            due_fps: frame.due_fps,
            late: stream.map(|s| s.late.len() as u64),
            dropped: stream.map(|s| s.dropped),
            ..self.clone()
        }
    }

    /// Whether it was disturbed too much and was not meant to be.
    pub(super) fn is_suspect(&self) -> bool {
        self.dirty && self.load.is_none()
    }

    pub(super) fn facet(&self, facet: Facet) -> Option<&str> {
        match facet {
            Facet::Machine => Some(self.machine.as_str()),
            Facet::Mapping => self.mapping.as_deref(),
            Facet::Mode => self.mode.as_deref(),
            Facet::Direction => self.direction.as_deref(),
            Facet::Cache => self.cache.as_deref(),
            Facet::Consume => self.consume.as_deref(),
            Facet::Load => self.load.as_deref(),
        }
    }

    /// Its payload's name as people read it; empty of a row without one.
    #[must_use]
    pub fn payload(&self) -> String {
        self.size.as_deref().map_or_else(String::new, payload)
    }

    /// Whether the two differ in `facet` and kernels at most. A stream on a schedule is like none that goes as it can.
    pub(super) fn is_like_but(&self, other: &Self, facet: Facet) -> bool {
        self.size == other.size
            && self.size_bytes == other.size_bytes
            && self.due_fps == other.due_fps
            && Facet::ALL.iter().all(|f| *f == facet || self.facet(*f) == other.facet(*f))
    }

    /// Both kernels: `avx2_nt>avx2`, sender first; `?` for one that is not recorded, `-` where nothing is kept.
    pub(super) fn kernels(&self) -> String {
        let name = |kernel: &Option<String>| kernel.clone().unwrap_or_else(|| "?".into());
        let (host, guest) = (name(&self.copy_kernel), name(&self.guest_copy_kernel));
        let to_host =
            self.direction.as_deref().is_some_and(|direction| direction.starts_with("guest-to-host"));
        let (sender, receiver) = if to_host { (guest, host) } else { (host, guest) };
        // Who keeps nothing copies nothing.
        let keeps = !matches!(self.consume.as_deref(), Some("scan" | "none"));
        format!("{sender}>{}", if keeps { &receiver } else { "-" })
    }

    /// Its mode, and what of the rest differs among `all`: words for a legend.
    #[must_use]
    pub fn distinction(&self, all: &[&Self]) -> String {
        self.manner(all, &[]).join(" ")
    }

    /// Its mode, and what of the rest but `except` differs among `all`.
    pub(super) fn manner(&self, all: &[&Self], except: &[Facet]) -> Vec<&str> {
        let others = self.differing(all, &[&[Facet::Mode], except].concat());
        self.mode.as_deref().into_iter().chain(others).collect()
    }

    /// Whether others of `all` are of the same machine and another mapping: each machine has one of its own anyway.
    pub(super) fn has_rival_mapping(&self, all: &[&Self]) -> bool {
        all.iter().any(|other| other.machine == self.machine && other.mapping != self.mapping)
    }

    /// What of it but `except` differs among `all`, in words.
    pub(super) fn differing(&self, all: &[&Self], except: &[Facet]) -> Vec<&str> {
        let differs = |facet: &Facet| match facet {
            Facet::Mapping => self.has_rival_mapping(all),
            _ => all.iter().any(|other| other.facet(*facet) != self.facet(*facet)),
        };
        let wanted = Facet::ALL.into_iter().filter(|facet| !except.contains(facet) && differs(facet));
        wanted
            .map(|facet| match (facet, self.facet(facet)) {
                (Facet::Load, None) => "idle",
                (_, value) => value.unwrap_or("unknown"),
            })
            .collect()
    }
}
