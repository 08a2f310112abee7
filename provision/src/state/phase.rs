//! The phases of a start, and when each was reached.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point that a start passes. Not every start passes all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// QMP answered and the vCPUs were told to go.
    Qmp,
    /// QEMU took the VM's state from a snapshot.
    SnapshotLoaded,
    /// The first byte on the serial port.
    FirstSerialByte,
    /// The kernel's own first line.
    Kernel,
    /// systemd's first line.
    Userland,
    /// The guest reports that its network is up.
    Network,
    /// The guest reports that its SSH server runs.
    Sshd,
    /// The guest reports that cloud-init ended without error.
    CloudInit,
    /// The guest showed the right host key.
    SshHandshake,
    /// The guest let us in.
    SshLogin,
    /// guest-reader is in the guest.
    Deployed,
    /// All of it.
    Ready,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qmp => "QEMU runs",
            Self::SnapshotLoaded => "snapshot loaded",
            Self::FirstSerialByte => "the kernel's first byte on the serial port",
            Self::Kernel => "kernel",
            Self::Userland => "userland",
            Self::Network => "network",
            Self::Sshd => "SSH server",
            Self::CloudInit => "cloud-init finished",
            Self::SshHandshake => "SSH handshake, host key verified",
            Self::SshLogin => "logged in",
            Self::Deployed => "guest-reader in place",
            Self::Ready => "ready",
        })
    }
}

/// Milliseconds from the start of QEMU, on the host's monotonic clock, to each phase that was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PhasesMs {
    /// [`Phase::Qmp`].
    pub qmp: f64,
    /// [`Phase::SnapshotLoaded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_loaded: Option<f64>,
    /// [`Phase::FirstSerialByte`]; 0 for a guest that was restored.
    pub first_serial_byte: f64,
    /// [`Phase::Kernel`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<f64>,
    /// [`Phase::Userland`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userland: Option<f64>,
    /// [`Phase::Network`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<f64>,
    /// [`Phase::Sshd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sshd: Option<f64>,
    /// [`Phase::CloudInit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<f64>,
    /// [`Phase::SshHandshake`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_handshake: Option<f64>,
    /// [`Phase::SshLogin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_login: Option<f64>,
    /// [`Phase::Deployed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<f64>,
    /// [`Phase::Ready`].
    pub ready: f64,
}

impl PhasesMs {
    /// Enters a phase reached `since` QEMU's start.
    pub fn reached(&mut self, phase: Phase, since: Duration) {
        let ms = since.as_secs_f64() * 1e3;
        match phase {
            Phase::Qmp => self.qmp = ms,
            Phase::SnapshotLoaded => self.snapshot_loaded = Some(ms),
            Phase::FirstSerialByte => self.first_serial_byte = ms,
            Phase::Kernel => self.kernel = Some(ms),
            Phase::Userland => self.userland = Some(ms),
            Phase::Network => self.network = Some(ms),
            Phase::Sshd => self.sshd = Some(ms),
            Phase::CloudInit => self.cloud_init = Some(ms),
            Phase::SshHandshake => self.ssh_handshake = Some(ms),
            Phase::SshLogin => self.ssh_login = Some(ms),
            Phase::Deployed => self.deployed = Some(ms),
            Phase::Ready => self.ready = ms,
        }
    }

    /// The phases seen, in the order they were reached.
    pub fn seen(&self) -> Vec<(Phase, f64)> {
        let first_byte = (self.first_serial_byte > 0.0).then_some(self.first_serial_byte);
        let mut seen: Vec<(Phase, f64)> = [
            (Phase::Qmp, Some(self.qmp)),
            (Phase::SnapshotLoaded, self.snapshot_loaded),
            (Phase::FirstSerialByte, first_byte),
            (Phase::Kernel, self.kernel),
            (Phase::Userland, self.userland),
            (Phase::Network, self.network),
            (Phase::Sshd, self.sshd),
            (Phase::CloudInit, self.cloud_init),
            (Phase::SshHandshake, self.ssh_handshake),
            (Phase::SshLogin, self.ssh_login),
            (Phase::Deployed, self.deployed),
            (Phase::Ready, Some(self.ready)),
        ]
        .into_iter()
        .filter_map(|(phase, ms)| Some((phase, ms?)))
        .collect();
        seen.sort_by(|a, b| a.1.total_cmp(&b.1));
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_not_listed_and_not_written() {
        let mut phases = PhasesMs::default();
        phases.reached(Phase::Qmp, Duration::from_millis(30));
        phases.reached(Phase::Ready, Duration::from_millis(1900));
        phases.reached(Phase::SnapshotLoaded, Duration::from_millis(600));
        let seen: Vec<Phase> = phases.seen().into_iter().map(|(phase, _)| phase).collect();
        assert_eq!(seen, [Phase::Qmp, Phase::SnapshotLoaded, Phase::Ready]);
        let json = serde_json::to_value(phases).unwrap();
        assert_eq!(json["snapshot_loaded"], 600.0);
        assert!(json.get("network").is_none());
        assert_eq!(serde_json::from_value::<PhasesMs>(json).unwrap(), phases);
    }
}
