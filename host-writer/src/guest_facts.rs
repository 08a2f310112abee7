//! The guest, as run.json and the terminal describe it.

use std::time::Duration;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::cpu::feature_names;
use ivshmem_proto::memory_note::memory_note;
use ivshmem_proto::report::{CopyRate, GuestReport, RateReport};
use ivshmem_proto::wire::{MapKind, MemoryType, Spin};
use serde::Serialize;

use crate::environment::ClockFacts;
use crate::roofline::gb_per_s;

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
    spin: String,
    /// How it waits in sessions with a host that has a doorbell.
    wait: String,
    cpu_pinned: Option<u32>,
    clock: ClockFacts,
    /// The kernel that the largest payloads were copied with; without a bandwidth test its own choice.
    copy_kernel: Option<&'static str>,
    /// The one that the guest found fastest by itself, on lines that lay in its own caches.
    copy_kernel_by_itself: Option<&'static str>,
    /// What it measured then.
    copy_candidates: Vec<GuestCandidate>,
    /// What the mapping's type costs, when it costs anything.
    memory_note: Option<String>,
}

#[derive(Debug, Serialize)]
struct GuestCandidate {
    kernel: &'static str,
    region_gb_per_s: Option<f64>,
    anon_gb_per_s: Option<f64>,
    write_gb_per_s: Option<f64>,
}

impl From<&CopyRate> for GuestCandidate {
    fn from(rate: &CopyRate) -> Self {
        Self {
            kernel: rate.kernel.name(),
            region_gb_per_s: gb_per_s(rate.region.typical),
            anon_gb_per_s: gb_per_s(rate.anon.typical),
            write_gb_per_s: gb_per_s(rate.write.typical),
        }
    }
}

impl GuestFacts {
    /// By the guest's report; `rates` are those of the largest payload, if any were measured, and `used` is the kernel that
    /// it was copied with.
    #[must_use]
    pub fn new(report: GuestReport, rates: Option<&RateReport>, used: Option<Kernel>) -> Self {
        let rates = rates.unwrap_or(&report.rates);
        let (region, anon) =
            rates.candidates.first().map_or((0, 0), |row| (row.region.typical, row.anon.typical));
        let memory_note = memory_note(report.map_kind, report.memory_type, &report.cpu_model, region, anon);
        let spin = match report.spin {
            Spin::Sleep => {
                format!("sleep={}", humantime::format_duration(Duration::from_nanos(report.spin_sleep_ns)))
            }
            spin => spin.name().to_owned(),
        };
        let device = match report.map_kind {
            MapKind::File => "none (file mapped on the host)".to_owned(),
            MapKind::Resource2 | MapKind::Resource2Wc | MapKind::Uio | MapKind::Vfio => {
                format!("{} 1af4:1110 BAR2", report.device)
            }
        };
        Self {
            tool_version: report.tool_version,
            kernel: report.kernel_release,
            cpu_model: report.cpu_model,
            cpu_features: feature_names(report.cpu_features),
            map_kind: report.map_kind.name(),
            memory_type: report.memory_type.name(),
            device,
            spin,
            wait: report.wait.to_string(),
            cpu_pinned: report.cpu_pinned,
            clock: report.clock.into(),
            copy_kernel: used.or(rates.chosen).map(Kernel::name),
            copy_kernel_by_itself: rates.chosen.map(Kernel::name),
            copy_candidates: rates.candidates.iter().map(GuestCandidate::from).collect(),
            memory_note,
        }
    }

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

    /// What the mapping's type costs, when it costs anything.
    #[must_use]
    pub fn memory_note(&self) -> Option<&str> {
        self.memory_note.as_deref()
    }

    /// How the guest maps the region.
    #[must_use]
    pub fn mapping(&self) -> String {
        if self.is_native() {
            return format!("the region's file, mapped {}", self.memory_type);
        }
        let memory_type = match self.memory_type {
            unknown if unknown == MemoryType::Unknown.name() => "as a type that debugfs does not tell",
            known => known,
        };
        format!("BAR2, mapped {memory_type} by {}", self.map_kind)
    }
}
