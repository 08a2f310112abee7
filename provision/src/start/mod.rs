//! From files on disk to a QEMU whose guest is ready: the arguments, the attempts, and the one line for the user
//! when there is nothing left to try.

mod explain;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::accel::{Accelerator, Rung, Verdict};
use crate::boot::debian::{self, Wish};
use crate::boot::{Booted, Cause, Failed, Stage, Watch, micro};
use crate::claim::Claim;
use crate::config::UpConfig;
use crate::interrupt::Interrupts;
use crate::pin::Plan;
use crate::qemu::args::{self, Boot, Device, GuestMachine, Machine};
use crate::qemu::complaint::Complaint;
use crate::qemu::monitor::Monitor;
use crate::qemu::process::Qemu;
use crate::report::{Progress, accelerator_note};
use crate::state::{AcceleratorRecord, SnapshotRecord, Wanted, args_sha256};

/// How long the kernel's first byte may take under KVM, where it takes 50 ms. A KVM that passed the ladder and
/// then stands still is given up after this.
const FIRST_BYTE_WITHIN_KVM: Duration = Duration::from_secs(5);

const QEMU_START: &str = "QEMU start";
const FIRST_BYTE: &str = "first serial byte";

/// What a start needs that was prepared before.
#[derive(Debug)]
pub struct Start<'a> {
    /// What the user wants.
    pub config: &'a UpConfig,
    /// QEMU's executable.
    pub qemu: &'a Path,
    /// Where the vCPUs go.
    pub pins: &'a Plan,
    /// The user's Ctrl-C.
    pub interrupts: &'a Interrupts,
    /// How much is said.
    pub progress: Progress,
    /// What is particular to the guest.
    pub guest: Guest<'a>,
}

/// What a start needs for each kind of guest.
#[derive(Debug, Clone, Copy)]
pub enum Guest<'a> {
    /// A kernel and an initramfs.
    Micro(Boot<'a>),
    /// A disk, a seed, and perhaps a snapshot.
    Debian {
        /// The kernel of an image without a boot loader.
        boot: Option<Boot<'a>>,
        /// SHA-256 of the image.
        image_sha256: &'a str,
        /// SHA-256 of the seed.
        seed_sha256: &'a str,
        /// What to do, with the snapshot to restore if it fits.
        wish: Wish<'a>,
    },
}

/// A VM that is ready.
#[derive(Debug)]
pub struct Up {
    /// Its process; dropping it ends the VM.
    pub qemu: Qemu,
    /// The arguments it was started with.
    pub args: Vec<OsString>,
    /// What was seen of its boot.
    pub booted: Booted,
    /// The accelerator in effect in the end.
    pub verdict: Verdict,
    /// What only a Debian guest has.
    pub debian: Option<DebianUp>,
}

/// What is known of a Debian guest that is ready.
pub struct DebianUp {
    /// The host's port for SSH.
    pub port: u16,
    /// Whether it was restored.
    pub restored: bool,
    /// The guest's kernel release.
    pub kernel: String,
    /// The conversation with QEMU.
    pub monitor: Monitor,
}

impl std::fmt::Debug for DebianUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebianUp").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Start<'_> {
    /// Starts QEMU; once more without seccomp where there is none, once more with a cold boot where a snapshot does
    /// not fit or does not answer, and once more under TCG where KVM was chosen by us and QEMU fails on it. The files
    /// named in `claim`'s directory and the region are there.
    ///
    /// # Errors
    /// [`Error`], after which no QEMU is left.
    pub fn until_ready(&self, claim: &mut Claim, mut verdict: Verdict) -> Result<Up, Error> {
        let mut sandbox = true;
        let mut restore = true;
        self.progress.note(&accelerator_note(&AcceleratorRecord::from(&verdict)));
        loop {
            let args = self.args(claim, verdict.effective, sandbox);
            let snapshot = if restore { self.snapshot(verdict.effective, &args) } else { None };
            let on_kvm = verdict.effective == Accelerator::Kvm;
            match self.attempt(claim, &args, on_kvm, snapshot) {
                Ok((qemu, booted, debian)) => {
                    if on_kvm {
                        verdict.ladder.push(Rung::passed(QEMU_START, "QEMU survived its start"));
                        let detail = format!("after {:.0} ms", booted.phases.first_serial_byte);
                        verdict.ladder.push(Rung::passed(FIRST_BYTE, detail));
                    }
                    return Ok(Up { qemu, args, booted, verdict, debian });
                }
                Err(Attempt::Failed(Failed { cause: Cause::Ended(_, Complaint::NoSandbox), .. }))
                    if sandbox =>
                {
                    self.progress.note("this QEMU has no seccomp sandbox: starting without");
                    sandbox = false;
                }
                Err(Attempt::Failed(failed)) if snapshot.is_some() && !failed.is_about_the_host() => {
                    let why = self.explain(claim, failed);
                    self.progress.note(&format!("the snapshot cannot be used ({why}): booting"));
                    restore = false;
                }
                Err(Attempt::Failed(failed)) if on_kvm && failed.blames_kvm() => {
                    let rung = broken_rung(failed);
                    self.progress.note(&rung.detail);
                    verdict = verdict.after_qemu_failed(rung)?;
                    self.progress.note(&accelerator_note(&AcceleratorRecord::from(&verdict)));
                }
                Err(Attempt::Failed(failed)) => return Err(self.explain(claim, failed)),
                Err(Attempt::Error(e)) => return Err(e),
            }
        }
    }

    fn args(&self, claim: &Claim, accelerator: Accelerator, sandbox: bool) -> Vec<OsString> {
        let directory = claim.directory();
        let (disk, seed) = (directory.disk(), directory.seed());
        let guest = match self.guest {
            Guest::Micro(boot) => GuestMachine::Micro(boot),
            Guest::Debian { boot, .. } => GuestMachine::Debian { disk: &disk, seed: &seed, boot },
        };
        let joined = self.config.join.as_ref();
        let socket = joined.map_or_else(|| directory.doorbell_socket(), |doorbell| doorbell.socket.clone());
        let device = match self.config.doorbell_vectors {
            Some(vectors) => Device::Doorbell { socket: &socket, vectors, is_first: joined.is_none() },
            None => Device::Plain,
        };
        args::qemu(&Machine {
            name: &self.config.name,
            accelerator,
            vcpus: self.config.vcpus,
            memory_bytes: self.config.memory_bytes,
            shm_path: &self.config.region.path,
            shm_bytes: self.config.shm_bytes,
            device,
            viommu: self.config.viommu,
            serial_log: &directory.serial_log(),
            qmp_socket: &directory.qmp_socket(),
            sandbox,
            guest,
        })
    }

    /// The snapshot to restore, if there is one that fits.
    fn snapshot(&self, accelerator: Accelerator, args: &[OsString]) -> Option<&SnapshotRecord> {
        let Guest::Debian { image_sha256, seed_sha256, wish, .. } = self.guest else { return None };
        let snapshot = wish.restore?;
        let args_sha256 = args_sha256(self.qemu, args);
        let wanted =
            Wanted { image_sha256, seed_sha256, qemu_version: None, accelerator, args_sha256: &args_sha256 };
        let differs = snapshot.made_of.differs_from(&wanted);
        if let Some(why) = &differs {
            self.progress.note(&format!("the snapshot does not fit ({why}): booting"));
        }
        differs.is_none().then_some(snapshot)
    }

    fn attempt(
        &self,
        claim: &mut Claim,
        args: &[OsString],
        on_kvm: bool,
        snapshot: Option<&SnapshotRecord>,
    ) -> Result<(Qemu, Booted, Option<DebianUp>), Attempt> {
        let serial_log = claim.directory().serial_log();
        let mut log = OpenOptions::new();
        log.create(true).write(true).truncate(true).mode(0o600);
        log.open(&serial_log).map_err(|e| Error::io(format!("create {}", serial_log.display()), e))?;
        let (mut qemu, channels) = Qemu::start(self.qemu, args, &claim.directory().qemu_log())
            .map_err(|e| Error::io(format!("start {}", self.qemu.display()), e))?;
        claim.qemu_started(qemu.id())?;
        let ready_within = self.config.timeout;
        let watch = Watch {
            interrupts: self.interrupts,
            serial_log: &serial_log,
            pins: self.pins,
            first_byte_within: if on_kvm { FIRST_BYTE_WITHIN_KVM } else { ready_within },
            ready_within,
        };
        let what = if snapshot.is_some() { "restoring" } else { "booting" };
        let task = self.progress.task(&format!("{what} {}", self.config.name));
        let mut seen = |phase, since| task.phase(phase, since);
        let (booted, debian) = match self.guest {
            Guest::Micro(_) => {
                let booted = micro::see_through(&mut qemu, channels, &watch, &mut seen);
                (booted.map_err(Attempt::Failed)?, None)
            }
            Guest::Debian { wish, .. } => {
                let wish = Wish { restore: snapshot, ..wish };
                let mut note = |text: &str| self.progress.note(text);
                let up = debian::see_through(&mut qemu, channels, &watch, wish, &mut seen, &mut note);
                let up = up.map_err(Attempt::Failed)?;
                let (port, restored, kernel, monitor) = (up.port, up.restored, up.kernel, up.monitor);
                (up.booted, Some(DebianUp { port, restored, kernel, monitor }))
            }
        };
        Ok((qemu, booted, debian))
    }
}

/// Why an attempt did not end with a ready guest.
enum Attempt {
    /// QEMU or the guest failed.
    Failed(Failed),
    /// We did.
    Error(Error),
}

impl From<Error> for Attempt {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

impl Failed {
    /// Whether an accelerator that does not work explains it: before the kernel's first byte, and nobody's will.
    fn blames_kvm(&self) -> bool {
        let about_kvm = match &self.cause {
            Cause::Ended(_, complaint) => matches!(complaint, Complaint::Other(_)),
            Cause::Late(_) | Cause::Step(..) => true,
            _ => false,
        };
        about_kvm && self.stage < Stage::Booting
    }

    /// Whether it would be no better with a cold boot.
    fn is_about_the_host(&self) -> bool {
        matches!(self.cause, Cause::Interrupted(_) | Cause::PortTaken(..))
    }
}

/// The rung of the ladder that QEMU broke.
fn broken_rung(failed: Failed) -> Rung {
    let Failed { stage, cause } = failed;
    let rung = if stage == Stage::Starting { QEMU_START } else { FIRST_BYTE };
    let detail = match cause {
        Cause::Ended(_, Complaint::Other(said)) => format!("QEMU does not survive its start on KVM: {said}"),
        Cause::Late(waited) => format!("on KVM nothing happens for {:.0} s", waited.as_secs_f64()),
        other => format!("QEMU fails on KVM: {other:?}"),
    };
    Rung::failed(rung, detail)
}
