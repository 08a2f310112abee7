//! A Debian guest's start: booted, with cloud-init's own word that it is finished, or restored from a snapshot; in
//! both cases with an SSH handshake that shows the right host key, the device found, and guest-reader in place.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::serial::{Mark, SerialWatch};
use super::{Booted, Cause, Failed, Seeing, Seen, Stage, Watch, interrupted, step};
use crate::deploy::DeployError;
use crate::port::{self, SshPort};
use crate::qemu::monitor::Monitor;
use crate::qemu::process::{Channels, Qemu};
use crate::ready::{Heard, ReadyChannel};
use crate::seed::LOGIN_USER;
use crate::seed::report::{self, Report};
use crate::settle::{self, Found};
use crate::ssh::{Handshaken, Patience, SshError, Target};
use crate::state::{Phase, PhasesMs, SnapshotRecord};
use crate::wait::readable;

/// How long a restored guest may take to show that it lives. It takes a second; one that stands still is booted
/// afresh after this.
const RESTORED_WITHIN: Duration = Duration::from_secs(30);
/// How long cloud-init may take to report its network after a login prompt is there: it comes before the prompt.
const REPORT_WITHIN: Duration = Duration::from_secs(20);

/// What this start is to do.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The host's port for SSH.
    pub ssh_port: SshPort,
    /// The snapshot to restore, which fits as far as could be told before QEMU ran.
    pub restore: Option<&'a SnapshotRecord>,
    /// The host key that the guest must show, as `ssh-ed25519 AAAA...`.
    pub host_key: &'a str,
    /// The private key that logs in.
    pub identity_file: &'a Path,
    /// guest-reader, which has to be in the guest.
    pub guest_reader: &'a [u8],
}

/// A Debian guest that is ready.
pub struct DebianBooted {
    /// What every guest has.
    pub booted: Booted,
    /// The host's port for SSH.
    pub port: u16,
    /// Whether it was restored.
    pub restored: bool,
    /// The guest's kernel release.
    pub kernel: String,
    /// The conversation with QEMU.
    pub monitor: Monitor,
}

/// Sees a Debian guest through its start. `note` is told what the user should know.
///
/// # Errors
/// [`Failed`], after which the caller drops `qemu` and with it the process.
pub fn see_through(
    qemu: &mut Qemu,
    channels: Channels,
    watch: &Watch<'_>,
    wish: Wish<'_>,
    seen: &mut Seen<'_>,
    note: &mut dyn FnMut(&str),
) -> Result<DebianBooted, Failed> {
    let serial =
        SerialWatch::new(watch.serial_log).map_err(|e| step(Stage::Starting, "watch the serial log", e))?;
    let mut monitor = Monitor::new(channels.monitor).map_err(|e| step(Stage::Starting, "monitor", e))?;
    let mut seeing = Seeing { qemu, watch, phases: PhasesMs::default(), seen };
    let version = seeing.greet(&mut monitor)?;
    let port = seeing.forward(&mut monitor, wish.ssh_port)?;
    let restore = wish.restore.filter(|snapshot| {
        let same = snapshot.made_of.qemu_version == version;
        if !same {
            let was = &snapshot.made_of.qemu_version;
            note(&format!("the snapshot was made by QEMU {was}, this is {version}: booting"));
        }
        same
    });
    if let Some(snapshot) = restore {
        let loaded = monitor.load(&snapshot.made_of.tag());
        loaded.map_err(|e| seeing.ended_or(Stage::Starting, Cause::Snapshot(e.to_string())))?;
        seeing.reached(Phase::SnapshotLoaded);
    }
    let threads = seeing.go(&mut monitor)?;
    let deadline = match restore {
        Some(_) => Instant::now() + RESTORED_WITHIN.min(watch.ready_within),
        None => {
            seeing.cloud_init(ReadyChannel::new(channels.ready), serial)?;
            seeing.qemu.started + watch.ready_within
        }
    };
    let target = Target {
        port,
        user: LOGIN_USER.to_owned(),
        identity_file: wish.identity_file.to_owned(),
        host_key: wish.host_key.to_owned(),
    };
    let Found { device, kernel, .. } = seeing.settle(&wish, &target, restore.is_some(), deadline)?;
    let device = device.unwrap_or_default();
    seeing.place_others(&threads)?;
    seeing.reached(Phase::Ready);
    let ready = format!("READY device={device} kernel={kernel}");
    let booted = Booted { version, threads, phases: seeing.phases, ready };
    Ok(DebianBooted { booted, port, restored: restore.is_some(), kernel, monitor })
}

impl Seeing<'_, '_> {
    /// Leads a port of the host to the guest's SSH. QEMU binds it itself, so nobody can take it in between.
    fn forward(&mut self, monitor: &mut Monitor, wish: SshPort) -> Result<u16, Failed> {
        let stage = Stage::Starting;
        let (first, then) = match wish {
            SshPort::Fixed(port) => (port, None),
            SshPort::Auto => (port::DEFAULT, Some(0)),
        };
        let mut forwarded = monitor.forward_ssh(first);
        if let (Err(e), Some(any)) = (&forwarded, then)
            && e.kind() == ErrorKind::AddrInUse
        {
            forwarded = monitor.forward_ssh(any);
        }
        forwarded.map_err(|e| match e.kind() {
            ErrorKind::AddrInUse => Failed { stage, cause: Cause::PortTaken(first, e.to_string()) },
            _ => self.monitor_failed(stage, e),
        })
    }

    /// Waits for cloud-init's end as the guest reports it.
    fn cloud_init(&mut self, mut channel: ReadyChannel, mut serial: SerialWatch) -> Result<(), Failed> {
        let watch = self.watch;
        let last = self.qemu.started + watch.ready_within;
        let mut stage = Stage::Silent;
        let mut heard_of_cloud_init = false;
        // What must come next, and by when.
        let mut next = Instant::now() + watch.first_byte_within;
        let mut no_report_by = None;
        loop {
            let deadline = last.min(next);
            let fds = [watch.interrupts.as_fd(), channel.as_fd(), serial.as_fd(), self.qemu.as_fd()];
            let ready = readable(fds, Some(deadline)).map_err(|e| step(stage, "poll", e))?;
            let [stop, heard, logged, ended] = ready;
            if stop {
                interrupted(stage, watch.interrupts)?;
            }
            if logged {
                for mark in serial.look() {
                    match mark {
                        Mark::FirstByte => {
                            (stage, next) = (Stage::Booting, last);
                            self.reached(Phase::FirstSerialByte);
                        }
                        Mark::Kernel => self.reached(Phase::Kernel),
                        Mark::Userland => self.reached(Phase::Userland),
                        // The guest can be logged into, so cloud-init's network stage is over, if there is one.
                        Mark::Login if !heard_of_cloud_init => {
                            no_report_by = Some(Instant::now() + REPORT_WITHIN);
                        }
                        Mark::Login => {}
                    }
                }
            }
            if let Some(by) = no_report_by {
                next = by;
            }
            if heard {
                match channel.look().map_err(|e| step(stage, "READY channel", e))? {
                    Heard::Nothing => {}
                    Heard::Line(line) => {
                        (heard_of_cloud_init, no_report_by, next) = (true, None, last);
                        if self.report(stage, &line)? {
                            return Ok(());
                        }
                    }
                    Heard::Closed => {
                        let closed = Cause::Step("READY channel", ErrorKind::UnexpectedEof.into());
                        return Err(self.ended_or(stage, closed));
                    }
                }
            } else if ended {
                return Err(self.end(stage));
            }
            // Not only when nothing is ready: a guest that never stops talking must not be listened to for ever.
            if Instant::now() >= deadline {
                let cause = match (no_report_by, deadline == last) {
                    (Some(_), _) => Cause::NoCloudInit,
                    (None, true) => Cause::Late(watch.ready_within),
                    (None, false) => Cause::Late(watch.first_byte_within),
                };
                return Err(Failed { stage, cause });
            }
        }
    }

    /// Takes one line of the guest's; true when it says that all is done.
    fn report(&mut self, stage: Stage, line: &str) -> Result<bool, Failed> {
        let report = report::parse(line).map_err(|e| Failed { stage, cause: Cause::Guest(e.to_string()) })?;
        match report {
            Report::Phase(phase) => {
                let (phase, seen) = match phase {
                    report::Phase::Network => (Phase::Network, self.phases.network),
                    report::Phase::Sshd => (Phase::Sshd, self.phases.sshd),
                };
                // A guest may repeat itself.
                if seen.is_none() {
                    self.reached(phase);
                }
                Ok(false)
            }
            Report::Finished { errors, .. } if !errors.is_empty() => {
                Err(Failed { stage, cause: Cause::CloudInit(errors) })
            }
            Report::Finished { device: None, .. } => Err(Failed { stage, cause: Cause::NoDevice }),
            Report::Finished { .. } => {
                self.reached(Phase::CloudInit);
                Ok(true)
            }
        }
    }

    /// SSH, and what is looked after through it. The session is over in the end: none may be in a snapshot.
    fn settle(
        &mut self,
        wish: &Wish<'_>,
        target: &Target,
        restored: bool,
        deadline: Instant,
    ) -> Result<Found, Failed> {
        let stage = Stage::Booting;
        let process = self.qemu.as_fd().try_clone_to_owned();
        let process = process.map_err(|e| step(stage, "watch QEMU", e))?;
        let patience = Patience {
            interrupts: self.watch.interrupts,
            process: Some(process.as_fd()),
            deadline: Some(deadline),
        };
        let settled = self.try_settle(wish, target, restored, &patience);
        let found = settled.map_err(|cause| match cause {
            Cause::Ssh(SshError::Interrupted(interrupted))
            | Cause::Deploy(DeployError::Ssh { source: SshError::Interrupted(interrupted), .. }) => {
                Failed { stage, cause: Cause::Interrupted(interrupted) }
            }
            Cause::Ssh(SshError::VmEnded { .. })
            | Cause::Deploy(DeployError::Ssh { source: SshError::VmEnded { .. }, .. }) => self.end(stage),
            cause => Failed { stage, cause },
        })?;
        if found.device.is_none() {
            return Err(Failed { stage, cause: Cause::NoDevice });
        }
        Ok(found)
    }

    fn try_settle(
        &mut self,
        wish: &Wish<'_>,
        target: &Target,
        restored: bool,
        patience: &Patience<'_>,
    ) -> Result<Found, Cause> {
        let shaken = Handshaken::connect(target, patience).map_err(Cause::Ssh)?;
        self.reached(Phase::SshHandshake);
        let session = shaken.authenticate(target, patience).map_err(Cause::Ssh)?;
        self.reached(Phase::SshLogin);
        let found = settle::look(&session, restored, patience)?;
        settle::deploy_guest_reader(&session, &found, wish.guest_reader, patience)?;
        session.close(patience).map_err(Cause::Ssh)?;
        self.reached(Phase::Deployed);
        Ok(found)
    }
}
