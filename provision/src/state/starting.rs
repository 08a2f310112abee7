//! `starting.json`: what a start in progress has made so far. When `up` is killed where it cannot clean up
//! (SIGKILL, power), the next command finds here what to remove.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::name::VmName;
use crate::process::{ProcessId, host_boot_id};

/// A start under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartingRecord {
    /// The `provision up` that works on it.
    pub starter: ProcessId,
    /// QEMU, once started.
    pub qemu: Option<ProcessId>,
    /// The doorbell server, once started.
    #[serde(default)]
    pub doorbell_server: Option<ProcessId>,
    /// The VM whose server it uses, when that is another one.
    #[serde(default)]
    pub joined: Option<VmName>,
    /// The region it uses.
    pub shm_path: PathBuf,
    /// The region's inode, when this start created it.
    pub shm_created_inode: Option<u64>,
    /// Whether this start made the VM's disk, which is of no use before the guest was ready once.
    #[serde(default)]
    pub machine_created: bool,
    /// Which boot of the host it was.
    #[serde(default)]
    pub host_boot_id: String,
}

impl StartingRecord {
    /// Whether anything of it still runs.
    pub fn is_alive(&self) -> bool {
        self.is_of_this_boot() && (self.starter.is_alive() || self.qemu.is_some_and(|qemu| qemu.is_alive()))
    }

    /// Whether its process ids still mean something.
    pub fn is_of_this_boot(&self) -> bool {
        self.host_boot_id == host_boot_id()
    }
}
