//! Which accelerator runs the guest, and the evidence for it.
//!
//! A device node proves nothing: some machines have a `/dev/kvm` that opens, creates VMs and vCPUs, and then
//! emulates every guest instruction, three orders of magnitude slower than hardware. So KVM has to earn its use,
//! rung by rung (see [`ladder`]), and the climb is recorded.

pub mod ladder;
mod tiny_guest;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use tiny_guest::Measured;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// KVM where it works, TCG otherwise.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// What runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor's virtualisation.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

/// One step of the climb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// What was tried.
    pub rung: String,
    /// Whether it held.
    pub passed: bool,
    /// What was seen, and where it failed what to do.
    pub detail: String,
}

impl Rung {
    /// A rung that held.
    pub fn passed(rung: &str, detail: impl Into<String>) -> Self {
        Self { rung: rung.to_owned(), passed: true, detail: detail.into() }
    }

    /// A rung that broke.
    pub fn failed(rung: &str, detail: impl Into<String>) -> Self {
        Self { rung: rung.to_owned(), passed: false, detail: detail.into() }
    }
}

/// The choice, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What the user asked for.
    pub asked: Asked,
    /// What will run the guest.
    pub effective: Accelerator,
    /// One sentence.
    pub why: String,
    /// The climb; empty when KVM was not asked for.
    pub ladder: Vec<Rung>,
    /// What the tiny guest measured, when it came to that.
    pub measured: Option<Measured>,
    /// What the climb cost.
    pub cost: Duration,
}

/// KVM was asked for and is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("KVM is not usable here: {why}; use --accel tcg, or --accel auto to let the tool choose")]
pub struct KvmUnusable {
    /// The broken rung's detail.
    pub why: String,
}

impl Verdict {
    /// The verdict of a user who wants no KVM.
    pub fn tcg_asked_for() -> Self {
        Self {
            asked: Asked::Tcg,
            effective: Accelerator::Tcg,
            why: "asked for".to_owned(),
            ladder: Vec::new(),
            measured: None,
            cost: Duration::ZERO,
        }
    }

    /// Draws the conclusion from a climb.
    ///
    /// # Errors
    /// [`KvmUnusable`] when a rung broke and the user insists on KVM.
    pub fn from_climb(asked: Asked, climb: ladder::Climb) -> Result<Self, KvmUnusable> {
        let ladder::Climb { rungs, measured, cost } = climb;
        let broken = rungs.iter().find(|rung| !rung.passed).map(|rung| rung.detail.clone());
        let (effective, why) = match (broken, asked) {
            (None, _) => {
                (Accelerator::Kvm, rungs.last().map_or_else(String::new, |rung| rung.detail.clone()))
            }
            (Some(why), Asked::Kvm) => return Err(KvmUnusable { why }),
            (Some(why), Asked::Auto | Asked::Tcg) => (Accelerator::Tcg, why),
        };
        Ok(Self { asked, effective, why, ladder: rungs, measured, cost })
    }

    /// The verdict after QEMU itself failed on a KVM that had passed so far.
    ///
    /// # Errors
    /// [`KvmUnusable`] when the user insists on KVM.
    pub fn after_qemu_failed(mut self, rung: Rung) -> Result<Self, KvmUnusable> {
        let why = rung.detail.clone();
        if self.asked == Asked::Kvm {
            return Err(KvmUnusable { why });
        }
        self.ladder.push(rung);
        self.effective = Accelerator::Tcg;
        self.why = why;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn climb(rungs: Vec<Rung>) -> ladder::Climb {
        ladder::Climb { rungs, measured: None, cost: Duration::ZERO }
    }

    #[test]
    fn auto_falls_back_and_kvm_fails_with_the_broken_rungs_words() {
        let broken = || climb(vec![Rung::passed("a", "fine"), Rung::failed("b", "it emulates")]);
        let verdict = Verdict::from_climb(Asked::Auto, broken()).unwrap();
        assert_eq!((verdict.effective, verdict.why.as_str()), (Accelerator::Tcg, "it emulates"));
        let error = Verdict::from_climb(Asked::Kvm, broken()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "KVM is not usable here: it emulates; use --accel tcg, or --accel auto to let the tool choose"
        );
    }

    #[test]
    fn a_whole_ladder_means_kvm_until_qemu_fails_on_it() {
        let whole = || climb(vec![Rung::passed("a", "fine"), Rung::passed("b", "3e9 instructions/s")]);
        for asked in [Asked::Auto, Asked::Kvm] {
            let verdict = Verdict::from_climb(asked, whole()).unwrap();
            assert_eq!((verdict.effective, verdict.why.as_str()), (Accelerator::Kvm, "3e9 instructions/s"));
            let after = verdict.after_qemu_failed(Rung::failed("QEMU start", "QEMU aborted"));
            match asked {
                Asked::Kvm => assert_eq!(after.unwrap_err().why, "QEMU aborted"),
                _ => assert_eq!(after.unwrap().effective, Accelerator::Tcg),
            }
        }
    }
}
