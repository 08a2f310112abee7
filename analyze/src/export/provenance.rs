//! What every row of a run says of it: columns that are the same in all of them, and so take next to no room.
//!
//! They begin with `run_`, so that no column of a CSV is called the same. What run.json does not say is null.

use std::path::Path;

use polars::prelude::{AnyValue, Column, DataType, PlSmallStr, Scalar};

use crate::input::{Interference, RunJson};

/// A column without its length.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    name: &'static str,
    value: Scalar,
}

impl Constant {
    /// The column for a frame of so many rows.
    pub(super) fn column(&self, rows: usize) -> Column {
        Column::new_scalar(PlSmallStr::from_static(self.name), self.value.clone(), rows)
    }

    fn text(name: &'static str, value: Option<&str>) -> Self {
        let value = value.map_or(AnyValue::Null, |text| AnyValue::StringOwned(text.into()));
        Self { name, value: Scalar::new(DataType::String, value) }
    }

    fn count(name: &'static str, value: Option<u64>) -> Self {
        let value = value.and_then(|count| i64::try_from(count).ok());
        Self { name, value: Scalar::new(DataType::Int64, value.map_or(AnyValue::Null, AnyValue::Int64)) }
    }

    fn flag(name: &'static str, value: Option<bool>) -> Self {
        Self { name, value: Scalar::new(DataType::Boolean, value.map_or(AnyValue::Null, AnyValue::Boolean)) }
    }
}

/// Of the run in `directory`.
pub(super) fn columns(directory: &Path, run: &RunJson) -> Vec<Constant> {
    let tool = run.tool.as_ref();
    let (host, guest) = (run.host.as_ref(), run.guest.as_ref());
    let vm = run.vm.as_ref();
    let accelerator = vm.and_then(|vm| vm.accelerator.as_ref());
    let region = run.region.as_ref();
    let latency = run.latency.as_ref();
    let name = directory.file_name().and_then(|name| name.to_str());
    let clock = host.and_then(|host| host.clock.as_ref()?.source.as_deref());
    vec![
        Constant::text("run_name", name),
        Constant::text("run_session", run.session.as_deref()),
        Constant::text("run_started_utc", run.started_utc.as_deref()),
        Constant::flag("run_completed", run.completed),
        Constant::flag("run_dirty", run.interference.as_ref().and_then(Interference::is_dirty)),
        Constant::text("run_load", run.load_label()),
        Constant::text("run_tool_version", tool.and_then(|tool| tool.version.as_deref())),
        Constant::text("run_git_revision", tool.and_then(|tool| tool.git_revision.as_deref())),
        Constant::text("run_accelerator_asked", accelerator.and_then(|a| a.asked.as_deref())),
        Constant::text("run_qemu_version", vm.and_then(|vm| vm.qemu.as_ref()?.version.as_deref())),
        Constant::count("run_vcpus", vm.and_then(|vm| vm.vcpus)),
        Constant::text("run_host_cpu", host.and_then(|host| host.cpu_model.as_deref())),
        Constant::text("run_guest_cpu", guest.and_then(|guest| guest.cpu_model.as_deref())),
        Constant::text("run_host_kernel", host.and_then(|host| host.kernel.as_deref())),
        Constant::text("run_guest_kernel", guest.and_then(|guest| guest.kernel.as_deref())),
        Constant::count("run_host_cpu_pinned", host.and_then(|host| host.cpu_pinned)),
        Constant::count("run_guest_cpu_pinned", guest.and_then(|guest| guest.cpu_pinned)),
        Constant::text("run_host_clock", clock),
        Constant::text("run_governor", host.and_then(|host| host.governor.as_deref())),
        Constant::text("run_map_kind", guest.and_then(|guest| guest.map_kind.as_deref())),
        Constant::text("run_memory_type", guest.and_then(|guest| guest.memory_type.as_deref())),
        Constant::text("run_guest_spin", guest.and_then(|guest| guest.spin.as_deref())),
        Constant::count("run_region_bytes", region.and_then(|region| region.bytes)),
        Constant::flag("run_region_huge", region.and_then(|region| region.huge)),
        Constant::text("run_loop", latency.and_then(|latency| latency.loop_kind.as_deref())),
        Constant::count("run_payload_bytes", latency.and_then(|latency| latency.payload_bytes)),
    ]
}
