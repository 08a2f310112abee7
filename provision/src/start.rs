//! From files on disk to a QEMU whose guest is ready: the arguments, the attempts, and the one line for the user
//! when there is nothing left to try.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::accel::{Accelerator, Rung, Verdict};
use crate::boot::{self, Booted, Cause, Failed, Stage, Watch};
use crate::claim::Claim;
use crate::config::UpConfig;
use crate::interrupt::Interrupts;
use crate::kernel::KernelImage;
use crate::pin::Plan;
use crate::qemu::args::{MicroMachine, micro};
use crate::qemu::complaint::{Complaint, last_words};
use crate::qemu::process::Qemu;
use crate::report::{Progress, accelerator_note};
use crate::state::AcceleratorRecord;

/// How long the kernel's first byte may take under KVM, where it takes 50 ms. A KVM that passed the ladder and
/// then stands still is given up after this.
const FIRST_BYTE_WITHIN_KVM: Duration = Duration::from_secs(5);

/// What a start needs that was prepared before.
#[derive(Debug)]
pub struct Start<'a> {
    /// What the user wants.
    pub config: &'a UpConfig,
    /// QEMU's executable.
    pub qemu: &'a Path,
    /// The kernel.
    pub kernel: &'a KernelImage,
    /// Where the vCPUs go.
    pub pins: &'a Plan,
    /// The user's Ctrl-C.
    pub interrupts: &'a Interrupts,
    /// How much is said.
    pub progress: Progress,
}

/// A VM that is ready.
#[derive(Debug)]
pub struct Up {
    /// Its process; dropping it ends the VM.
    pub qemu: Qemu,
    /// The arguments it was started with.
    pub args: Vec<String>,
    /// What was seen of its boot.
    pub booted: Booted,
    /// The accelerator in effect in the end.
    pub verdict: Verdict,
}

impl Start<'_> {
    /// Starts QEMU; once more without seccomp where there is none, and once more under TCG where KVM was chosen
    /// by us and QEMU fails on it. The files named in `claim`'s directory and the region are there.
    ///
    /// # Errors
    /// [`Error`], after which no QEMU is left.
    pub fn until_ready(&self, claim: &mut Claim, mut verdict: Verdict) -> Result<Up, Error> {
        let mut sandbox = true;
        loop {
            self.progress.note(&accelerator_note(&AcceleratorRecord::from(&verdict)));
            let machine = MicroMachine {
                name: &self.config.name,
                accelerator: verdict.effective,
                vcpus: self.config.vcpus,
                memory_bytes: self.config.memory_bytes,
                shm_path: &self.config.shm_path,
                shm_bytes: self.config.shm_bytes,
                kernel: &self.kernel.path,
                initramfs: &claim.directory().initramfs(),
                append: &self.config.command_line,
                serial_log: &claim.directory().serial_log(),
                qmp_socket: &claim.directory().qmp_socket(),
                sandbox,
            };
            let args = micro(&machine);
            let on_kvm = verdict.effective == Accelerator::Kvm;
            match self.attempt(claim, &args, on_kvm) {
                Ok((qemu, booted)) => {
                    if on_kvm {
                        verdict.ladder.push(Rung::passed(QEMU_START, "QEMU survived its start"));
                        let detail = format!("after {:.0} ms", booted.phases.first_serial_byte);
                        verdict.ladder.push(Rung::passed(FIRST_BYTE, detail));
                    }
                    let args = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
                    return Ok(Up { qemu, args, booted, verdict });
                }
                Err(Attempt::Failed(Failed { cause: Cause::Ended(_, Complaint::NoSandbox), .. }))
                    if sandbox =>
                {
                    self.progress.note("this QEMU has no seccomp sandbox: starting without");
                    sandbox = false;
                }
                Err(Attempt::Failed(failed)) if on_kvm && failed.blames_kvm() => {
                    let rung = broken_rung(failed);
                    self.progress.note(&rung.detail);
                    verdict = verdict.after_qemu_failed(rung)?;
                }
                Err(Attempt::Failed(failed)) => return Err(self.explain(claim, failed)),
                Err(Attempt::Error(e)) => return Err(e),
            }
        }
    }

    fn attempt(&self, claim: &mut Claim, args: &[OsString], on_kvm: bool) -> Result<(Qemu, Booted), Attempt> {
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
        let progress = self.progress;
        let booted =
            boot::see_through(&mut qemu, channels, &watch, &mut |event, since| progress.phase(&event, since));
        Ok((qemu, booted.map_err(Attempt::Failed)?))
    }

    /// The one line for a start that failed for good.
    fn explain(&self, claim: &Claim, failed: Failed) -> Error {
        let Failed { stage, cause } = failed;
        let said = || serial_words(&claim.directory().serial_log());
        match cause {
            Cause::Interrupted(interrupted) => interrupted.into(),
            Cause::Ended(_, Complaint::NoIvshmem) => Error::NoIvshmem { qemu: self.qemu.to_owned() },
            Cause::Ended(status, complaint) => {
                let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
                match (stage, complaint) {
                    (Stage::Starting, Complaint::Other(said)) => Error::QemuDied { status, said },
                    (Stage::Starting, _) => Error::QemuDied { status, said: "no seccomp".to_owned() },
                    _ => Error::GuestDied { status, said: said() },
                }
            }
            Cause::Guest(said) => Error::GuestFailed { said },
            Cause::Late(waited) => {
                let (what, advice) = match stage {
                    Stage::Starting => ("QEMU's monitor did not answer", "is --qemu a QEMU?"),
                    Stage::Silent => {
                        ("the kernel wrote nothing to the serial port", "is --kernel one for this machine?")
                    }
                    Stage::Booting => ("the guest did not become ready", "give it longer with --timeout"),
                };
                Error::Late { what, seconds: waited.as_secs_f64(), advice, said: said() }
            }
            Cause::Step(what, source) => Error::io(what, source),
        }
    }
}

const QEMU_START: &str = "QEMU start";
const FIRST_BYTE: &str = "first serial byte";

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
            Cause::Interrupted(_) | Cause::Guest(_) => false,
        };
        about_kvm && self.stage < Stage::Booting
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

/// The end of the serial log; up to the kernel's panic, when there is one, for a call trace follows that.
fn serial_words(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let end = text.find("Kernel panic").and_then(|panic| Some(panic + text[panic..].find('\n')?));
    last_words(&text[..end.unwrap_or(text.len())])
}
