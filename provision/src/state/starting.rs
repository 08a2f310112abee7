//! `starting.json`: what a start in progress has made so far. When `up` is killed where it cannot clean up
//! (SIGKILL, power), the next command finds here what to remove.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::process::ProcessId;

/// A start under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartingRecord {
    /// The `provision up` that works on it.
    pub starter: ProcessId,
    /// QEMU, once started.
    pub qemu: Option<ProcessId>,
    /// The region it uses.
    pub shm_path: PathBuf,
    /// The region's inode, when this start created it.
    pub shm_created_inode: Option<u64>,
}

impl StartingRecord {
    /// Whether anything of it still runs.
    pub fn is_alive(&self) -> bool {
        self.starter.is_alive() || self.qemu.is_some_and(|qemu| qemu.is_alive())
    }
}
