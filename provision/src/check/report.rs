//! What the findings come to: whether the main job can run, under which accelerator, and the sentence that says so.

use serde::Serialize;

use super::finding::{Finding, State};
use super::{Facts, findings};
use crate::accel::Accelerator;

/// The schema of the JSON form.
pub const SCHEMA: &str = "ivshmem-check/1";

/// All that `check` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What `up --accel auto` would take; none when there is no QEMU for it.
    pub accelerator: Option<Accelerator>,
    /// Whether the main job can run.
    pub can_run: bool,
    /// The same as a sentence, with the reason.
    pub summary: String,
    /// Everything seen.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Draws the conclusion.
    pub fn of(facts: &Facts) -> Self {
        let findings = findings(facts);
        let (accelerator, why) = accelerator(facts);
        let missing: Vec<String> = findings
            .iter()
            .filter(|finding| finding.state == State::Missing)
            .map(|finding| format!("{} {} ({})", finding.area, finding.name, finding.seen))
            .collect();
        let summary = match accelerator {
            Some(accelerator) if missing.is_empty() => {
                format!("The main job can run here, under {accelerator}: {why}.")
            }
            _ => format!("The main job cannot run here until this is mended: {}.", missing.join("; ")),
        };
        Self { schema: SCHEMA, accelerator, can_run: missing.is_empty(), summary, findings }
    }
}

/// What `up --accel auto` ends with, and why. It tries KVM when the ladder held, and goes on to TCG when QEMU
/// fails on it.
fn accelerator(facts: &Facts) -> (Option<Accelerator>, String) {
    let tcg = facts.qemu.accelerates_with("tcg").then_some(Accelerator::Tcg);
    match facts.kvm.broken() {
        Some(why) => (tcg, why),
        None if facts.qemu.accelerates_with("kvm") => {
            let top = facts.kvm.climb.rungs.last().map_or("", |rung| rung.detail.as_str());
            (Some(Accelerator::Kvm), top.to_owned())
        }
        None => (tcg, "KVM works on this machine, but is not in this QEMU".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kvm::tests::closed;
    use super::super::kvm_device::Node;
    use super::super::qemu;
    use super::super::tests::good;
    use super::*;

    #[test]
    fn kvm_is_taken_where_it_works_and_is_in_qemu() {
        let report = Report::of(&good());
        assert_eq!((report.accelerator, report.can_run), (Some(Accelerator::Kvm), true));
        assert_eq!(
            report.summary,
            "The main job can run here, under KVM: the tiny guest runs 3200 million instructions/s."
        );
        let mut facts = good();
        facts.qemu.program.as_mut().unwrap().accelerators = Ok(["tcg".to_owned()].into());
        let report = Report::of(&facts);
        assert_eq!((report.accelerator, report.can_run), (Some(Accelerator::Tcg), true));
    }

    #[test]
    fn tcg_is_taken_otherwise_and_the_reason_told() {
        let report = Report::of(&Facts { kvm: closed(Node::Absent), ..good() });
        assert_eq!(report.summary, "The main job can run here, under TCG: /dev/kvm is absent.");
        assert!(report.can_run);
    }

    #[test]
    fn what_is_missing_is_named_in_one_sentence() {
        let mut facts = good();
        facts.memory.shm = None;
        facts.qemu = qemu::Facts { program: None, ..facts.qemu };
        let report = Report::of(&facts);
        assert_eq!((report.accelerator, report.can_run), (None, false));
        assert_eq!(
            report.summary,
            "The main job cannot run here until this is mended: QEMU program (no qemu-system-x86_64 is in PATH); \
             memory /dev/shm (absent)."
        );
    }

    #[test]
    fn the_json_form_has_these_fields() {
        let json = serde_json::to_value(Report::of(&good())).unwrap();
        assert_eq!((&json["schema"], &json["accelerator"]), (&"ivshmem-check/1".into(), &"kvm".into()));
        assert_eq!(json["findings"][0]["state"], "ok");
        assert!(json["findings"][0]["remedy"].is_null());
    }
}
