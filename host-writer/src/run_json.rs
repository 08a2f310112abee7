//! `run.json`: where the figures come from. A result without it is refused.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::lane::Lane;
use ivshmem_proto::layout::LAYOUT_VERSION;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::report::{CopyRate, RateReport};
use serde::Serialize;
use serde_json::Value;

use crate::backing::Backing;
use crate::broadcast_facts::BroadcastFacts;
use crate::environment::HostFacts;
use crate::guest_facts::GuestFacts;
use crate::interference::Interference;
use crate::load::LoadSpec;
use crate::one_way::OneWay;
use crate::percentiles::Percentiles;
use crate::roofline::{Roof, gb_per_s};
use crate::usage::DoorbellFacts;
use crate::violations::Breach;

/// The whole file.
#[derive(Debug, Serialize)]
pub struct RunJson {
    /// What wrote it, when, and how it ended.
    #[serde(flatten)]
    pub head: Head,
    /// The preset asked for, and the options that changed it.
    pub preset: Option<String>,
    /// The session.
    pub session: String,
    /// The region.
    pub region: RegionFacts,
    /// This side.
    pub host: HostFacts,
    /// The other side, by its own word.
    pub guest: GuestFacts,
    /// What provision knows of the virtual machine; null without one.
    pub vm: Option<Value>,
    /// The live VM that has this region, when a process on this host answered instead of its guest: then `vm` is null, and no
    /// figure is that VM's.
    pub vm_beside: Option<String>,
    /// The kernel the largest payloads were copied with on the host; null without a bandwidth test.
    pub copy_kernel: Option<&'static str>,
    /// The kernels measured for it before the test.
    pub copy_candidates: Vec<HostCandidate>,
    /// The same for every size and both sides.
    pub copy_by_size: Vec<SizeKernels>,
    /// What either side can do without the protocol; null without a bandwidth test.
    pub roof: Option<Roof>,
    /// The latency test; null when skipped.
    pub latency: Option<LatencyFacts>,
    /// Doorbells; null without `--server`.
    pub doorbell: Option<DoorbellFacts>,
    /// Messages to many guests at once; null without `--broadcast`.
    pub broadcast: Option<BroadcastFacts>,
    /// The bandwidth test; null when skipped.
    pub bandwidth: Option<BandwidthFacts>,
    /// What ran beside the test; null when nothing was asked to.
    pub load: Option<LoadFacts>,
    /// What disturbed it.
    pub interference: Interference,
    /// What the guest did against the protocol: the first few, in sentences.
    pub peer_violations: Vec<String>,
    /// Every kind of it, counted.
    pub peer_violation_kinds: Vec<Breach>,
}

/// The first fields of the file, those of any run.
#[derive(Debug, Serialize)]
pub struct Head {
    /// Kind and version of this file.
    schema: &'static str,
    /// The program that wrote it.
    tool: Tool,
    /// Start of the run.
    started_utc: String,
    /// Length of the run in seconds, waiting for the guest included.
    wall_s: f64,
    /// Whether every planned message was sent.
    completed: bool,
    /// Whether a signal ended it.
    interrupted: bool,
    /// How host-writer was called.
    command_line: Vec<String>,
}

impl Head {
    /// Of a run that ends now.
    #[must_use]
    pub fn of(started: Instant, started_utc: SystemTime, completed: bool, interrupted: bool) -> Self {
        Self {
            schema: SCHEMA,
            tool: Tool::this(),
            started_utc: humantime::format_rfc3339_seconds(started_utc).to_string(),
            wall_s: (started.elapsed().as_secs_f64() * 1e3).round() / 1e3,
            completed,
            interrupted,
            command_line: std::env::args().collect(),
        }
    }
}

/// The kind and version of this file.
const SCHEMA: &str = "ivshmem-run/1";

/// A program and where it was built from.
#[derive(Debug, Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
    git_revision: Option<&'static str>,
}

impl Tool {
    /// This program.
    const fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            git_revision: option_env!("IVSHMEM_GIT_REVISION"),
        }
    }
}

/// The region.
#[derive(Debug, Serialize)]
pub struct RegionFacts {
    /// Its file on the host.
    pub path: String,
    /// Its size, or its lane's.
    pub bytes: u64,
    /// The lane that was used; null for all of it.
    pub lane: Option<String>,
    /// Layout version of both sides.
    pub layout_version: u64,
    /// Number of slots.
    pub slot_count: u64,
    /// Size of a slot.
    pub slot_bytes: u64,
    /// Whether every page was touched before the first message.
    pub prefaulted: bool,
    /// Size of the pages that really back it; null where the kernel does not say.
    pub page_bytes: Option<u64>,
    /// Whether those are huge pages.
    pub huge: Option<bool>,
    /// The NUMA node that most of it lies on.
    pub numa_node: Option<u32>,
    /// Which file system holds it.
    pub filesystem: Option<String>,
}

impl RegionFacts {
    /// Of a mapped region, or a lane of it.
    #[must_use]
    pub fn of(map: &Mapping, geometry: &Geometry, lane: Lane) -> Self {
        let backing = Backing::of_mapped(map.path()).ok();
        Self {
            path: map.path().display().to_string(),
            bytes: map.bytes(),
            lane: (!lane.is_whole()).then(|| lane.to_string()),
            layout_version: LAYOUT_VERSION,
            slot_count: geometry.slot_count(),
            slot_bytes: geometry.slot_bytes(),
            prefaulted: true,
            page_bytes: backing.as_ref().map(|b| b.page_bytes),
            huge: backing.as_ref().map(|b| b.huge),
            numa_node: backing.as_ref().and_then(|b| b.numa_node),
            filesystem: backing.map(|b| b.filesystem),
        }
    }
}

/// One kernel measured on the host.
#[derive(Debug, Serialize)]
pub struct HostCandidate {
    kernel: &'static str,
    region_gb_per_s: Option<f64>,
}

impl From<&(Kernel, u64)> for HostCandidate {
    fn from(&(kernel, rate): &(Kernel, u64)) -> Self {
        Self { kernel: kernel.name(), region_gb_per_s: gb_per_s(rate) }
    }
}

/// The kernels of one size on one side.
#[derive(Debug, Serialize)]
pub struct SizeKernels {
    bytes: u64,
    side: &'static str,
    chosen: Option<&'static str>,
    forced: bool,
    candidates: Vec<SizeCandidate>,
}

#[derive(Debug, Serialize)]
struct SizeCandidate {
    kernel: &'static str,
    /// Whether the figure is of payloads that went through the whole protocol; else it is the guest's own, of lines that lay
    /// in its caches, and the two cannot be compared.
    tried: bool,
    region_gb_per_s: Option<f64>,
    anon_gb_per_s: Option<f64>,
}

impl SizeKernels {
    /// Of the host: what was measured through the whole protocol.
    #[must_use]
    pub fn host(bytes: u64, chosen: Kernel, forced: bool, rates: &[(Kernel, u64)]) -> Self {
        let row = |&(kernel, rate): &(Kernel, u64)| SizeCandidate {
            kernel: kernel.name(),
            tried: true,
            region_gb_per_s: gb_per_s(rate),
            anon_gb_per_s: None,
        };
        let candidates = rates.iter().map(row).collect();
        Self { bytes, side: "host", chosen: Some(chosen.name()), forced, candidates }
    }

    /// Of the guest: what its kernels made of payloads just written, where that was tried; the others by its own word.
    #[must_use]
    pub fn guest(
        bytes: u64,
        forced: Option<Kernel>,
        chosen: Option<Kernel>,
        rates: &RateReport,
        tried: &[(Kernel, u64)],
    ) -> Self {
        let trial = |kernel| tried.iter().find(|(tried, _)| *tried == kernel).map(|&(_, rate)| rate);
        let row = |rate: &CopyRate| SizeCandidate {
            kernel: rate.kernel.name(),
            tried: trial(rate.kernel).is_some(),
            region_gb_per_s: gb_per_s(trial(rate.kernel).unwrap_or(rate.region.typical)),
            anon_gb_per_s: gb_per_s(rate.anon.typical),
        };
        let candidates = rates.candidates.iter().map(row).collect();
        Self { bytes, side: "guest", chosen: chosen.map(Kernel::name), forced: forced.is_some(), candidates }
    }
}

/// The latency test.
#[derive(Debug, Serialize)]
pub struct LatencyFacts {
    /// Messages planned; null when the test went by time.
    pub messages: Option<u64>,
    /// How long it was to last; null when it went by number.
    pub duration_s: Option<f64>,
    /// Messages before them that are in no file.
    pub warmup: u64,
    /// Pause between messages of a closed loop.
    pub interval_ns: u64,
    /// `closed` or `open`: in an open loop latency counts from the due time.
    #[serde(rename = "loop")]
    pub loop_kind: &'static str,
    /// Messages a second asked for.
    pub rate_per_s: Option<f64>,
    /// How they were spread.
    pub arrivals: Option<&'static str>,
    /// Messages a second sent.
    pub achieved_per_s: Option<f64>,
    /// Whether the rate was too high for this link: latencies then say how long the test was.
    pub missed_rate: bool,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// `samples` or `histogram`.
    pub record: &'static str,
    /// Messages published, warm-up included.
    pub sent: u64,
    /// Of these without PROCESSED.
    pub lost: u64,
    /// Answers beyond one a message.
    pub duplicated: u64,
    /// Answers that belong to another message.
    pub reordered: u64,
    /// Round trips to PROCESSED by the histogram, from the due time in an open loop.
    pub rtt_ns: Percentiles,
    /// The same to RECEIVED.
    pub received_ns: Percentiles,
    /// One-way latencies; null when not asked for.
    pub one_way: Option<OneWay>,
    /// Messages that ended well.
    pub ok: u64,
    /// How the others ended.
    pub status_counts: BTreeMap<&'static str, u64>,
}

impl LatencyFacts {
    /// Whether less than half the rate asked for was sent: then more than half of what was due in the time of the test was
    /// not.
    #[must_use]
    pub fn is_far_from_its_rate(&self) -> bool {
        self.missed_rate
            && self.rate_per_s.zip(self.achieved_per_s).is_some_and(|(asked, sent)| sent < asked / 2.0)
    }
}

/// The bandwidth test.
#[derive(Debug, Serialize)]
pub struct BandwidthFacts {
    /// Payload sizes by name.
    pub frames: Vec<String>,
    /// Payloads of each; null when the test went by time.
    pub iterations: Option<u64>,
    /// How long each size was to last; null when it went by number.
    pub duration_s: Option<f64>,
    /// `whole`, `chunked` or `stream`.
    pub mode: &'static str,
    /// `host-to-guest`, `guest-to-host` or `both`.
    pub direction: &'static str,
    /// How often the watermark advanced.
    pub chunk_bytes: Option<u64>,
    /// Slots of the session.
    pub slots: u64,
    /// Frames a second asked for.
    pub fps: Option<f64>,
    /// What to know of the rates.
    pub note: Option<&'static str>,
    /// `warm` or `cold`.
    pub cache: &'static str,
    /// Size of the working set that cold payloads come from; of the largest size.
    pub working_set_bytes: Option<u64>,
    /// Size of the last-level cache.
    pub llc_bytes: Option<u64>,
    /// `copy`, `scan` or `none`.
    pub consume: &'static str,
    /// How they were checked.
    pub verify: &'static str,
    /// Every how many.
    pub verify_every: u64,
    /// Payloads found intact.
    pub verified: u64,
    /// Payloads that were checked.
    pub checked: u64,
    /// Payloads that arrived.
    pub verifiable: u64,
    /// The first that was found changed.
    pub first_mismatch: Option<FirstMismatch>,
    /// Frames a second from the first to the last, by size name; a stream's only.
    pub sustained_fps: BTreeMap<String, f64>,
    /// The median time from one frame's end to the next, by size name; a stream's only.
    pub period_ns_p50: BTreeMap<String, u64>,
    /// Frames that ended after the next was due; null in a closed loop.
    pub late: Option<u64>,
    /// Frames that found no slot in time.
    pub dropped: u64,
    /// Seed of their content.
    pub seed: u64,
    /// Payloads that ended well.
    pub ok: u64,
    /// How the others ended.
    pub status_counts: BTreeMap<&'static str, u64>,
}

/// A payload that arrived changed.
#[derive(Debug, Serialize)]
pub struct FirstMismatch {
    /// Its size by name.
    pub frame_type: String,
    /// Which of its size and direction, from 1.
    pub iteration: u64,
    /// Its message's number in the session.
    pub message: u64,
    /// The first wrong byte; null where the check does not tell.
    pub offset_bytes: Option<u64>,
}

/// What ran beside the test.
#[derive(Debug, Serialize)]
pub struct LoadFacts {
    /// What was asked for on this host.
    pub host: Option<LoadSpec>,
    /// What that was.
    pub host_command: Option<String>,
    /// How long it ran.
    pub host_seconds: Option<f64>,
    /// What ran in the guest.
    pub guest_command: Option<String>,
    /// In a few words.
    pub label: String,
}
