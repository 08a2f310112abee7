//! `vm.json`: what is known about a VM that became ready. host-writer embeds it in `run.json`, so that a result
//! says on what it was measured.

use std::path::PathBuf;

use ivshmem_proto::lane::Lane;
use serde::{Deserialize, Serialize};

use crate::accel::{Accelerator, Asked, Rung, Verdict};
use crate::doorbell::DoorbellRecord;
use crate::hugepages::HugePage;
use crate::name::VmName;
use crate::process::{ProcessId, host_boot_id};

use super::PhasesMs;

/// The schema written and read.
pub const SCHEMA: &str = "ivshmem-vm/1";

/// A VM that became ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmRecord {
    /// [`SCHEMA`].
    pub schema: String,
    /// The VM's name.
    pub name: VmName,
    /// The kind of guest: `debian` or `micro`.
    pub guest: String,
    /// QEMU's pid.
    pub pid: u32,
    /// QEMU's start, in clock ticks since boot: with the pid it names the process for all time.
    pub pid_start_time_ticks: u64,
    /// QEMU itself.
    pub qemu: QemuRecord,
    /// What runs the guest's instructions, and why.
    pub accelerator: AcceleratorRecord,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory, without the shared region.
    pub memory_bytes: u64,
    /// The file both sides map; `memfd` when the memory has none, and comes from the doorbell server alone.
    pub shm_path: PathBuf,
    /// Its size.
    pub shm_bytes: u64,
    /// The huge pages it lies in; none for ordinary ones.
    #[serde(default)]
    pub hugepages: Option<HugePage>,
    /// The server behind its ivshmem-doorbell device; none for ivshmem-plain.
    #[serde(default)]
    pub doorbell: Option<DoorbellRecord>,
    /// Whether the guest has an IOMMU.
    #[serde(default)]
    pub viommu: bool,
    /// Whether `up` created it, so that `down` removes it.
    pub shm_created: bool,
    /// Its inode: `down` removes only the very file `up` created.
    pub shm_inode: u64,
    /// The guest's kernel.
    pub kernel: KernelRecord,
    /// The vCPU threads and where they are pinned.
    pub vcpu_threads: Vec<VcpuThread>,
    /// When what happened, since QEMU was started.
    pub phases_ms: PhasesMs,
    /// From the start of `up` until QEMU was started: the tool's own preparation, the ladder included.
    pub prepare_ms: f64,
    /// The guest's READY line.
    pub ready: String,
    /// When `up` started.
    pub started_utc: String,
    /// Which boot of the host it was: pids and start times mean nothing after another.
    pub host_boot_id: String,
    /// Whether this start booted the guest, or restored a snapshot.
    pub start: Start,
    /// The disk and what it was made from; the micro guest has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<VmDisk>,
    /// How to reach its SSH; the micro guest has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshRecord>,
}

impl VmRecord {
    /// QEMU's process.
    pub fn process(&self) -> ProcessId {
        ProcessId { pid: self.pid, start_time_ticks: self.pid_start_time_ticks }
    }

    /// The server behind its doorbell device, its own or another VM's, if a pid of then still means something.
    pub fn doorbell_server(&self) -> Option<ProcessId> {
        self.doorbell.as_ref().filter(|_| self.host_boot_id == host_boot_id()).map(DoorbellRecord::server)
    }

    /// The same, if it was started for this VM and ends with it.
    pub fn own_doorbell_server(&self) -> Option<ProcessId> {
        self.doorbell_server().filter(|_| self.joined().is_none())
    }

    /// Whether the server it uses lives: `running` or `dead`; `None` without one.
    pub fn doorbell_server_state(&self) -> Option<&'static str> {
        self.doorbell_server().map(|server| if server.is_alive() { "running" } else { "dead" })
    }

    /// The part of the region that its guest answers in, by the guest's own word; `None` for all of it, and where that is
    /// decided later, for each measurement.
    pub fn lane(&self) -> Option<Lane> {
        self.said("lane")?.parse().ok()
    }

    /// Whether its guest asks another one instead of answering.
    pub fn asks(&self) -> bool {
        self.said("initiate").is_some()
    }

    /// How a host waits that measures what its guest was told; `None` where that is the default, to look.
    pub fn host_wait(&self) -> Option<&'static str> {
        match self.said("wait")?.split('=').next()? {
            "uio" | "vfio" => Some("doorbell"),
            "adaptive" => Some("adaptive"),
            _ => None,
        }
    }

    /// What the guest's READY line says of `key`.
    fn said(&self, key: &str) -> Option<&str> {
        self.ready.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The VM whose server it uses, when that is another one.
    pub fn joined(&self) -> Option<&VmName> {
        self.doorbell.as_ref().and_then(|doorbell| doorbell.joined.as_ref())
    }

    /// Whether its QEMU runs. After a reboot of the host, pid and start time may be another process's.
    pub fn is_alive(&self) -> bool {
        self.host_boot_id == host_boot_id() && self.process().is_alive()
    }
}

/// How a VM came to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Booted.
    Cold,
    /// From a snapshot.
    Restored,
}

/// The disk of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmDisk {
    /// The disk.
    pub path: PathBuf,
    /// Its size as the guest sees it.
    pub bytes: u64,
    /// The image it lies upon.
    pub image: String,
    /// SHA-256 of that image.
    pub image_sha256: String,
    /// cloud-init's instance id.
    pub instance_id: String,
    /// Whether the next `up` can restore what this one started.
    pub snapshot: bool,
}

/// How a guest is reached by SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshRecord {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The private key that logs in.
    pub identity_file: PathBuf,
    /// A known_hosts file with the guest's host key alone, under the name [`SshRecord::host_alias`].
    pub known_hosts_file: PathBuf,
    /// The host key the guest must show, as `ssh-ed25519 AAAA...`.
    pub host_key: String,
    /// The name under which the host key is known: the VM's.
    pub host_alias: String,
}

/// QEMU as started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QemuRecord {
    /// The executable.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: String,
    /// All its arguments.
    pub args: Vec<String>,
}

/// The accelerator asked for, the one in effect, and the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcceleratorRecord {
    /// What the user asked for.
    pub asked: Asked,
    /// What runs.
    pub effective: Accelerator,
    /// One sentence.
    pub why: String,
    /// The rungs climbed, the last one failed unless KVM is in effect.
    pub ladder: Vec<Rung>,
    /// Instructions a second of the tiny guest under KVM.
    pub instructions_per_second: Option<f64>,
    /// One exit from the tiny guest to user space and back.
    pub exit_cost_ns: Option<f64>,
    /// What climbing cost, QEMU's own rungs excluded.
    pub ladder_ms: f64,
}

impl From<&Verdict> for AcceleratorRecord {
    fn from(verdict: &Verdict) -> Self {
        Self {
            asked: verdict.asked,
            effective: verdict.effective,
            why: verdict.why.clone(),
            ladder: verdict.ladder.clone(),
            instructions_per_second: verdict.measured.map(|m| m.instructions_per_second),
            exit_cost_ns: verdict.measured.and_then(|m| m.exit_cost_ns),
            ladder_ms: verdict.cost.as_secs_f64() * 1e3,
        }
    }
}

/// The guest's kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// The image given to QEMU.
    pub path: PathBuf,
    /// Its release, as its header tells.
    pub release: Option<String>,
    /// SHA-256 of the image.
    pub sha256: Option<String>,
}

/// One vCPU's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuThread {
    /// The vCPU's index.
    pub vcpu: i64,
    /// The host's thread id.
    pub tid: i64,
    /// The host CPU it is pinned to.
    pub cpu: Option<usize>,
}
