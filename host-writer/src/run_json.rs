//! `run.json`: where the figures come from. A result without it is refused.

use std::collections::BTreeMap;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::cpu::feature_names;
use ivshmem_proto::report::{CopyRate, GuestReport};
use ivshmem_proto::wire::MapKind;
use serde::Serialize;
use serde_json::Value;

use crate::environment::{ClockFacts, HostFacts};
use crate::interference::Interference;

/// The whole file.
#[derive(Debug, Serialize)]
pub struct RunJson {
    /// Kind and version of this file.
    pub schema: &'static str,
    /// The program that wrote it.
    pub tool: Tool,
    /// Start of the run.
    pub started_utc: String,
    /// Length of the run in seconds, waiting for the guest included.
    pub wall_s: f64,
    /// Whether every planned message was sent.
    pub completed: bool,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// How host-writer was called.
    pub command_line: Vec<String>,
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
    /// The kernel frames were written with; null without a bandwidth test.
    pub copy_kernel: Option<&'static str>,
    /// The kernels measured on the region before the test.
    pub copy_candidates: Vec<HostCandidate>,
    /// The latency test; null when skipped.
    pub latency: Option<LatencyFacts>,
    /// The bandwidth test; null when skipped.
    pub bandwidth: Option<BandwidthFacts>,
    /// What disturbed it.
    pub interference: Interference,
}

/// The value of [`RunJson::schema`].
pub const SCHEMA: &str = "ivshmem-run/1";

/// A program and where it was built from.
#[derive(Debug, Serialize)]
pub struct Tool {
    name: &'static str,
    version: &'static str,
    git_revision: Option<&'static str>,
}

impl Tool {
    /// This program.
    #[must_use]
    pub const fn this() -> Self {
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
    /// Its size.
    pub bytes: u64,
    /// Layout version of both sides.
    pub layout_version: u64,
    /// Number of slots.
    pub slot_count: u64,
    /// Size of a slot.
    pub slot_bytes: u64,
    /// Whether every page was touched before the first message.
    pub prefaulted: bool,
}

/// The guest by its own word.
#[derive(Debug, Serialize)]
pub struct GuestFacts {
    tool_version: String,
    kernel: String,
    cpu_model: String,
    cpu_features: Vec<&'static str>,
    map_kind: &'static str,
    memory_type: &'static str,
    device: String,
    spin: &'static str,
    cpu_pinned: Option<u32>,
    clock: ClockFacts,
    copy_kernel: &'static str,
    copy_candidates: Vec<GuestCandidate>,
}

#[derive(Debug, Serialize)]
struct GuestCandidate {
    kernel: &'static str,
    region_gb_per_s: f64,
    anon_gb_per_s: f64,
}

/// Bytes per second as GB/s (1e9), to three decimals.
fn gb_per_s(bytes_per_s: u64) -> f64 {
    (bytes_per_s as f64 / 1e6).round() / 1e3
}

impl From<&CopyRate> for GuestCandidate {
    fn from(rate: &CopyRate) -> Self {
        Self {
            kernel: rate.kernel.name(),
            region_gb_per_s: gb_per_s(rate.region_bytes_per_s),
            anon_gb_per_s: gb_per_s(rate.anon_bytes_per_s),
        }
    }
}

impl From<GuestReport> for GuestFacts {
    fn from(report: GuestReport) -> Self {
        let device = match report.map_kind {
            MapKind::File => "none (file mapped on the host)".to_owned(),
            MapKind::Resource2 | MapKind::Resource2Wc => format!("{} 1af4:1110 BAR2", report.device),
        };
        Self {
            tool_version: report.tool_version,
            kernel: report.kernel_release,
            cpu_model: report.cpu_model,
            cpu_features: feature_names(report.cpu_features),
            map_kind: report.map_kind.name(),
            memory_type: report.memory_type.name(),
            device,
            spin: report.spin.name(),
            cpu_pinned: report.cpu_pinned,
            clock: report.clock.into(),
            copy_kernel: report.copy_kernel.name(),
            copy_candidates: report.candidates.iter().map(GuestCandidate::from).collect(),
        }
    }
}

/// One kernel measured on the host.
#[derive(Debug, Serialize)]
pub struct HostCandidate {
    kernel: &'static str,
    region_gb_per_s: f64,
}

impl From<&(Kernel, u64)> for HostCandidate {
    fn from(&(kernel, rate): &(Kernel, u64)) -> Self {
        Self { kernel: kernel.name(), region_gb_per_s: gb_per_s(rate) }
    }
}

/// The latency test.
#[derive(Debug, Serialize)]
pub struct LatencyFacts {
    /// Messages planned.
    pub messages: u64,
    /// Messages before them that are in no file.
    pub warmup: u64,
    /// Pause between messages.
    pub interval_ns: u64,
    /// Messages that ended well.
    pub ok: u64,
    /// How the others ended.
    pub status_counts: BTreeMap<&'static str, u64>,
}

/// The bandwidth test.
#[derive(Debug, Serialize)]
pub struct BandwidthFacts {
    /// Frame sizes.
    pub frames: Vec<&'static str>,
    /// Frames of each.
    pub iterations: u64,
    /// How they were checked.
    pub verify: &'static str,
    /// Seed of their content.
    pub seed: u64,
    /// Frames that ended well.
    pub ok: u64,
    /// How the others ended.
    pub status_counts: BTreeMap<&'static str, u64>,
}

impl GuestFacts {
    /// `VM` or `native`, with the guest's kernel.
    #[must_use]
    pub fn place(&self) -> String {
        let place = if self.is_native() { "native" } else { "VM" };
        format!("{place} {}", self.kernel)
    }

    /// Whether the guest is a process on this host.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.map_kind == MapKind::File.name()
    }

    /// How the guest maps the region.
    #[must_use]
    pub fn mapping(&self) -> String {
        format!("{} ({})", self.map_kind, self.memory_type)
    }
}
