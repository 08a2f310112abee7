//! run.json: where, on what and how the numbers were taken.
//!
//! Only the schema name is demanded. A field the writer left out is shown as not recorded, never guessed.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::plan::{BandwidthPlan, LatencyPlan};
use super::roof::{KernelsAtSize, Roof};
use crate::error::Error;

/// The schema understood.
const SCHEMA: &str = "ivshmem-run/1";

/// What the report needs of a run.json, and the whole of it.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The typed part.
    pub run: RunJson,
    /// The file verbatim, for summary.json.
    pub verbatim: Value,
}

/// The file's top level; units are in the names.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RunJson {
    /// The tool that wrote it.
    pub tool: Option<Tool>,
    /// When the run began.
    pub started_utc: Option<String>,
    /// How long it took.
    pub wall_s: Option<f64>,
    /// Whether it came to its end.
    pub completed: Option<bool>,
    /// Whether a signal ended it.
    pub interrupted: Option<bool>,
    /// The writer's arguments.
    pub command_line: Option<Vec<String>>,
    /// The session number both sides used.
    pub session: Option<String>,
    /// The shared region.
    pub region: Option<Region>,
    /// The writer's machine.
    pub host: Option<Side>,
    /// The reader's machine.
    pub guest: Option<Side>,
    /// The virtual machine, if there was one.
    pub vm: Option<Vm>,
    /// The host's copy kernel.
    pub copy_kernel: Option<String>,
    /// The copy kernels the host tried.
    pub copy_candidates: Option<Vec<Candidate>>,
    /// What was asked of the latency test.
    pub latency: Option<LatencyPlan>,
    /// What was asked of the bandwidth test.
    pub bandwidth: Option<BandwidthPlan>,
    /// What disturbed the run.
    pub interference: Option<Interference>,
    /// What plain copies reach on the same machine.
    pub roof: Option<Roof>,
    /// The copy kernels tried, by size and side.
    pub copy_by_size: Option<Vec<KernelsAtSize>>,
    /// What was made to disturb the run.
    pub load: Option<Load>,
    /// How the guest broke the protocol.
    pub peer_violations: Option<Vec<String>>,
}

/// A program and its version.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The revision it was built from.
    pub git_revision: Option<String>,
}

/// The shared region.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Region {
    /// Its file on the host.
    pub path: Option<String>,
    /// Its size.
    pub bytes: Option<u64>,
    /// Version of its layout.
    pub layout_version: Option<u64>,
    /// Whether its pages were touched before timing.
    pub prefaulted: Option<bool>,
    /// Size of the pages that back it.
    pub page_bytes: Option<u64>,
    /// Whether they are huge pages.
    pub huge: Option<bool>,
    /// The NUMA node it was bound to.
    pub numa_node: Option<u64>,
    /// `tmpfs` or `hugetlbfs`.
    pub filesystem: Option<String>,
}

/// One side of the region; some fields belong to the host only, some to the guest only.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Side {
    /// Kernel release.
    pub kernel: Option<String>,
    /// CPU model.
    pub cpu_model: Option<String>,
    /// CPUs the kernel runs on.
    pub cpus_online: Option<u64>,
    /// The CPU the process was pinned to.
    pub cpu_pinned: Option<u64>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// Transparent huge pages of shared memory.
    pub transparent_hugepage_shmem: Option<String>,
    /// Load average when the run began.
    pub load_average_1m: Option<f64>,
    /// How the guest mapped the region: `file`, `resource2`, `resource2_wc`.
    pub map_kind: Option<String>,
    /// Effective memory type of the mapping.
    pub memory_type: Option<String>,
    /// The PCI device.
    pub device: Option<String>,
    /// What the guest does between polls.
    pub spin: Option<String>,
    /// The clock durations were taken with.
    pub clock: Option<Clock>,
    /// The guest's copy kernel.
    pub copy_kernel: Option<String>,
    /// The kernels the guest measured for the largest payload, the fastest first.
    pub copy_candidates: Option<Vec<Candidate>>,
    /// What the memory type means for reads, where it is bad.
    pub memory_note: Option<String>,
    /// Real-time priority of the measuring thread.
    pub fifo_priority: Option<u64>,
    /// Whether its memory was locked.
    pub mlock: Option<bool>,
    /// Last-level cache.
    pub llc_bytes: Option<u64>,
}

/// A clock.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Clock {
    /// `tsc` or `clock_monotonic`.
    pub source: Option<String>,
    /// Its frequency.
    pub frequency_hz: Option<f64>,
    /// Its smallest step.
    pub resolution_ns: Option<f64>,
    /// What reading it costs.
    pub overhead_ns: Option<f64>,
}

/// The virtual machine.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Vm {
    /// QEMU.
    pub qemu: Option<Qemu>,
    /// How guest instructions were executed.
    pub accelerator: Option<Accelerator>,
    /// Virtual CPUs.
    pub vcpus: Option<u64>,
    /// Guest memory.
    pub memory_bytes: Option<u64>,
}

/// QEMU.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Qemu {
    /// Its version line.
    pub version: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
}

/// The accelerator.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Accelerator {
    /// What was asked for.
    pub asked: Option<String>,
    /// What was in effect.
    pub effective: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// One copy kernel, measured.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub kernel: Option<String>,
    /// Its rate into the region (a guest's: out of it), 1e9 bytes a second.
    pub region_gb_per_s: Option<f64>,
    /// The same copy within private memory.
    pub anon_gb_per_s: Option<f64>,
}

/// What was made to disturb the run.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Load {
    /// The command the host ran.
    pub host_command: Option<String>,
    /// The command the guest ran.
    pub guest_command: Option<String>,
    /// In short: `cpu=2`.
    pub label: Option<String>,
}

/// What disturbed the run.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Interference {
    /// Involuntary context switches.
    pub involuntary_context_switches: Option<u64>,
    /// The same of the VM's vCPU threads.
    pub vcpu_involuntary_context_switches: Option<u64>,
    /// How long these were ready to run and had no CPU.
    pub vcpu_run_delay_ns: Option<u64>,
    /// Time the hypervisor above took away.
    pub steal_ms: Option<f64>,
    /// Gaps seen in the clock.
    pub clock_gaps: Option<u64>,
    /// The largest of them.
    pub largest_clock_gap_ns: Option<u64>,
    /// Whether it was too much.
    pub dirty: Option<bool>,
    /// Why it was.
    pub reasons: Option<Vec<String>>,
    /// Frequency of the CPU before the test.
    pub frequency_mhz_before: Option<f64>,
    /// And after it.
    pub frequency_mhz_after: Option<f64>,
    /// How often the CPU was throttled during it.
    pub throttle_events: Option<u64>,
}

impl Interference {
    /// Whether it was too much; `None` if that is not said. host-writer writes a reason for each disturbance that is, so a file
    /// with a reason says it, whatever else was cut out of it.
    #[must_use]
    pub fn is_dirty(&self) -> Option<bool> {
        if self.reasons.as_ref().is_some_and(|reasons| !reasons.is_empty()) { Some(true) } else { self.dirty }
    }
}

impl Provenance {
    /// Reads `path`; `None` if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, is not JSON of this shape, or has another schema.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path: path.into(), source }),
        };
        let malformed = |problem| Error::RunJson { path: path.into(), problem };
        let verbatim: Value = serde_json::from_slice(&bytes).map_err(malformed)?;
        let schema = verbatim.get("schema").unwrap_or(&Value::Null);
        if schema != SCHEMA {
            let found = if schema.is_null() { "absent".into() } else { schema.to_string() };
            let advice = if version(schema) > version(&SCHEMA.into()) {
                "; a newer version of the toolkit wrote it: use the analyze of that version"
            } else {
                "; no host-writer wrote it: move it away, or give another directory"
            };
            return Err(Error::RunJsonSchema { path: path.into(), found, expected: SCHEMA, advice });
        }
        // Parsed from the text again: its errors have a line and a column.
        let run = serde_json::from_slice(&bytes).map_err(malformed)?;
        Ok(Some(Self { run, verbatim }))
    }
}

/// The version that a schema of this toolkit names.
fn version(schema: &Value) -> Option<u64> {
    schema.as_str()?.strip_prefix("ivshmem-run/")?.parse().ok()
}

impl RunJson {
    /// Whether it says where the reader ran: what is neither a VM's nor maps the region in a known way may be anything.
    #[must_use]
    pub fn says_where(&self) -> bool {
        self.vm.is_some() || self.guest.as_ref().is_some_and(|guest| guest.map_kind.is_some())
    }

    /// Whether the reader mapped the region's file on the host itself.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.guest.as_ref().and_then(|g| g.map_kind.as_deref()) == Some("file")
    }

    /// How the reader mapped the region, as people say it: `write-combining by resource2_wc`; `None` if nothing is recorded.
    #[must_use]
    pub fn mapping(&self) -> Option<String> {
        let guest = self.guest.as_ref()?;
        match (guest.memory_type.as_deref(), guest.map_kind.as_deref()) {
            (Some(memory_type), Some(kind)) => Some(format!("{memory_type} by {kind}")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }

    /// The host's fastest copy into the region: name and GB/s.
    #[must_use]
    pub fn best_copy(&self) -> Option<(&str, f64)> {
        let candidates = self.copy_candidates.iter().flatten();
        candidates
            .filter_map(|c| Some((c.kernel.as_deref().unwrap_or("unnamed"), c.region_gb_per_s?)))
            .filter(|(_, rate)| rate.is_finite() && *rate > 0.0)
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The load's name, if the run was loaded.
    #[must_use]
    pub fn load_label(&self) -> Option<&str> {
        self.load.as_ref().map(|load| load.label.as_deref().unwrap_or("unnamed"))
    }

    /// Whether latency was kept as a histogram, of which only the figures in this file are left.
    #[must_use]
    pub fn is_histogram(&self) -> bool {
        self.latency.as_ref().is_some_and(|l| l.is_histogram() && l.rtt_ns.is_some())
    }

    /// Whether the run was disturbed too much.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.interference.as_ref().and_then(Interference::is_dirty) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<Provenance>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        fs::write(&path, json).unwrap();
        Provenance::read(&path).map_err(|e| {
            format!("{:#}", anyhow::Error::from(e)).split_once("/run.json: ").unwrap().1.to_owned()
        })
    }

    #[test]
    fn only_the_schema_is_demanded() {
        let provenance = read(r#"{"schema":"ivshmem-run/1","later":[1]}"#).unwrap().unwrap();
        assert!(provenance.run.host.is_none() && !provenance.run.is_native() && !provenance.run.is_dirty());
        assert_eq!(provenance.verbatim["later"][0], 1);
        let absent = Path::new("/nonexistent/run.json");
        assert!(Provenance::read(absent).unwrap().is_none());
    }

    #[test]
    fn a_run_is_dirty_by_the_word_or_by_a_reason() {
        let dirty = |interference: &str| {
            let json = format!(r#"{{"schema":"ivshmem-run/1","interference":{interference}}}"#);
            read(&json).unwrap().unwrap().run.is_dirty()
        };
        assert!(dirty(r#"{"dirty":true,"reasons":["x"]}"#) && dirty(r#"{"dirty":true}"#));
        assert!(dirty(r#"{"reasons":["x"]}"#) && dirty(r#"{"dirty":false,"reasons":["x"]}"#));
        assert!(!dirty(r#"{"dirty":false,"reasons":[]}"#) && !dirty("{}") && !dirty("null"));
    }

    #[test]
    fn the_fields_of_loads_roofs_and_loops_are_read() {
        let json = r#"{"schema":"ivshmem-run/1","load":{"host":{"cpu":2},"label":"cpu=2"},"peer_violations":["x"],
            "roof":{"sizes":[{"bytes":64,"host":{"write_region_gb_per_s":20.0,"write_region_kernel":"avx2_nt"},
            "guest":null}],"exceeded":[]},"latency":{"loop":"open","record":"histogram",
            "rtt_ns":{"p50":130,"p99.9":900,"count":1000},"one_way":{"accepted":false,"why":"drift"}},
            "copy_by_size":[{"bytes":64,"side":"guest","candidates":[{"kernel":"avx2","region_gb_per_s":3.0}]}]}"#;
        let run = read(json).unwrap().unwrap().run;
        assert_eq!(run.load_label(), Some("cpu=2"));
        let roof = run.roof.as_ref().unwrap();
        assert_eq!(roof.sizes[0].host.unwrap().write_region_gb_per_s, Some(20.0));
        assert!(roof.sizes[0].guest.is_none() && run.is_histogram());
        let latency = run.latency.as_ref().unwrap();
        assert!(latency.is_open() && !latency.one_way.as_ref().unwrap().accepted);
        assert_eq!(latency.rtt_ns.unwrap().p99_9, Some(900));
        assert_eq!(run.copy_by_size.unwrap()[0].candidates[0].region_gb_per_s, Some(3.0));
    }

    #[test]
    fn the_best_copy_is_the_fastest_measured() {
        let json = r#"{"schema":"ivshmem-run/1","copy_candidates":[{"kernel":"memcpy","region_gb_per_s":11.5},
            {"kernel":"avx2_nt","region_gb_per_s":19.9},{"kernel":"broken"}],"guest":{"map_kind":"file"}}"#;
        let run = read(json).unwrap().unwrap().run;
        assert_eq!(run.best_copy(), Some(("avx2_nt", 19.9)));
        assert!(run.is_native());
    }

    #[test]
    fn other_schemas_and_shapes_are_refused() {
        let error = |json| read(json).unwrap_err();
        assert_eq!(
            error(r#"{"schema":"ivshmem-run/2"}"#),
            r#"schema is "ivshmem-run/2", this analyze reads "ivshmem-run/1"; a newer version of the toolkit wrote it: use the analyze of that version"#
        );
        let foreign = "; no host-writer wrote it: move it away, or give another directory";
        assert_eq!(error("{}"), format!(r#"schema is absent, this analyze reads "ivshmem-run/1"{foreign}"#));
        assert!(error(r#"{"schema":"ivshmem-run/0"}"#).ends_with(foreign));
        assert!(error(r#"{"schema":7}"#).ends_with(foreign));
        assert!(error("{\"schema\":").starts_with("not a valid run.json: EOF while parsing"));
        assert!(error("{\"schema\":\"ivshmem-run/1\",\n\"wall_s\":\"x\"}").contains("line 2 column"));
    }
}
