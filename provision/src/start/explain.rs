//! The one line for a start that failed for good.

use std::path::Path;

use super::Start;
use crate::Error;
use crate::boot::{Cause, Failed, Stage};
use crate::claim::Claim;
use crate::qemu::complaint::{Complaint, last_words, printable};

impl Start<'_> {
    pub(super) fn explain(&self, claim: &Claim, failed: Failed) -> Error {
        let Failed { stage, cause } = failed;
        let said = || serial_words(&claim.directory().serial_log());
        match cause {
            Cause::Interrupted(interrupted) => interrupted.into(),
            Cause::Ended(_, Complaint::NoIvshmem(device)) => {
                Error::NoIvshmem { qemu: self.qemu.to_owned(), device }
            }
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
                        ("the kernel wrote nothing to the serial port", "is its kernel one for this machine?")
                    }
                    Stage::Booting => ("the guest did not become ready", "give it longer with --timeout"),
                };
                Error::Late { what, seconds: waited.as_secs_f64(), advice, said: said() }
            }
            Cause::PortTaken(port, said) => Error::PortTaken { port, said },
            Cause::Snapshot(said) => Error::Snapshot { said },
            Cause::NoCloudInit => Error::NoCloudInit { said: said() },
            Cause::CloudInit(errors) => {
                let words = errors.iter().map(|error| printable(error)).collect::<Vec<_>>().join("; ");
                Error::CloudInit { words, said: cloud_init_words(&claim.directory().serial_log()) }
            }
            Cause::NoDevice => Error::NoDevice,
            Cause::Ssh(e) => Error::ssh(&self.config.name)(e),
            Cause::Deploy(e) => Error::deploy(e),
            Cause::Step(what, source) => Error::io(what, source),
        }
    }
}

/// The end of the serial log; up to the kernel's panic, when there is one, for a call trace follows that.
fn serial_words(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let end = text.find("Kernel panic").and_then(|panic| Some(panic + text[panic..].find('\n')?));
    last_words(&text[..end.unwrap_or(text.len())])
}

/// What cloud-init's modules and the user's commands wrote to the serial console, as far as it tells of trouble.
fn cloud_init_words(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("cloud-init[")).collect();
    let troubled = |line: &&&str| {
        ["WARNING", "ERROR", "Error", "error", "rror:", "not found"].iter().any(|w| line.contains(w))
    };
    let told: Vec<&str> = lines.iter().filter(troubled).copied().collect();
    last_words(&if told.is_empty() { lines } else { told }.join("\n"))
}
