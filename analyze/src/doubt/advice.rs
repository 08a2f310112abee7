//! How grave a reason is, and what to do about it.

use serde::Serialize;

use super::Doubt;
use crate::report::text::grouped;

/// How grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No figure of the run can be trusted.
    Alarm,
    /// Some figures do not say what they seem to.
    Warning,
    /// The figures are what they are; who quotes them should say this with them.
    Note,
}

impl Doubt {
    /// How grave it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::PeerViolations(_) | Self::WrongBytes(_) | Self::RoofExceeded(_) => Severity::Alarm,
            Self::Loaded { .. } | Self::Tcg | Self::TooFewSamples { .. } => Severity::Note,
            Self::Unverified { on_purpose: true, .. } => Severity::Note,
            _ => Severity::Warning,
        }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::NoProvenance { .. } => "Do not compare or publish them.",
            Self::OtherRun { .. } => "Trust nothing here that rests on run.json; give each run a directory of its own.",
            Self::WrongBytes(_) => {
                "Trust no transfer of this run, those that nobody checked least; BANDWIDTH names the frames and from which byte on."
            }
            Self::PeerViolations(_) => "Trust nothing of this run; the guest's log may say why.",
            Self::RoofExceeded(_) => {
                "Repeat it on a quiet machine; if it stays, it is an error of the tool: report it."
            }
            Self::MissedRate { .. } => "Lower --rate.",
            Self::Disordered { .. } => "Trust no latency of this run: some are of another message's answer.",
            Self::Dropped { .. } => "Lower --fps or raise --slots.",
            Self::Throttled(_) => "Repeat it on a machine that is cool, or with its frequency fixed.",
            Self::Dirty(_) => "Repeat it.",
            Self::Loaded { .. } => "Compare it with an idle run of the same machine only.",
            Self::Incomplete { .. } => "Repeat it before you compare it with a whole run.",
            Self::LostMessages(_) => "Quote no tail of it: what was lost would be its slowest part.",
            Self::LostFrames(_) | Self::Failed { .. } => {
                "Find out why, by their status and the guest's log, before you quote it."
            }
            Self::AboveLimit { .. } => "Do not quote rates of these frames.",
            Self::ZeroRtt(_) | Self::HugeRtt(_) | Self::OutOfOrder(_) => {
                "Look at these rows: whatever wrote them has an error."
            }
            Self::TimesDisagree { .. } => {
                "Find out which column is right before you quote these times: whatever wrote the file, or changed it, has an error."
            }
            Self::RatesDisagree { .. } => "Do not use that column.",
            Self::SeenLate { .. } => "Give host-writer a CPU of its own, and repeat it.",
            Self::Unverified { .. } => {
                "Repeat it with --verify xxh3, perhaps of every tenth frame only (--verify-every 10)."
            }
            Self::Tcg => "Quote none of these as the hardware's.",
            Self::Unpinned(_) => "Pin both sides, host-writer --cpu 0 and guest-reader --cpu 1.",
            Self::Uncached(_) => {
                "Load the toolkit's driver, which maps it write-back: provision deploy --driver."
            }
            Self::CoarseClock { .. } => {
                "Compare it only with runs by the same clock, and no difference smaller than that."
            }
            Self::Drift { is_dependent, .. } => {
                let repeat =
                    "Repeat it when the machine has settled, or for longer; compare no two parts of it.";
                return format!("{repeat}{}", too_narrow(*is_dependent));
            }
            Self::Dependent { .. } => "Rely on several runs and not on the length of one.",
            Self::WarmUp { found, is_dependent } => {
                let wanted = found.messages.saturating_mul(2).next_multiple_of(1000);
                return format!("Raise --warmup by {}.{}", grouped(wanted), too_narrow(*is_dependent));
            }
            Self::TooFewSamples { percentiles, .. } => {
                let most = percentiles.iter().map(|(_, needed)| *needed).max().unwrap_or(0);
                return format!("For all of them: --messages {most}.");
            }
        }
        .to_owned()
    }
}

/// What comes of a beginning or a drift that reaches all through the run.
fn too_narrow(is_dependent: bool) -> &'static str {
    if is_dependent { " The intervals of this run are too narrow." } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::warm_up::WarmUp;
    use std::collections::BTreeSet;

    fn one_of_each() -> Vec<Doubt> {
        let reasons = || vec!["a reason".to_owned()];
        vec![
            Doubt::NoProvenance { has_run_json: true },
            Doubt::OtherRun { rows: 2, messages: 0 },
            Doubt::WrongBytes(3),
            Doubt::PeerViolations(reasons()),
            Doubt::RoofExceeded(reasons()),
            Doubt::MissedRate { wanted_per_s: Some(2e3), achieved_per_s: None },
            Doubt::Disordered { duplicated: 1, reordered: 2 },
            Doubt::Dropped { count: 1, of: 60 },
            Doubt::Throttled(3),
            Doubt::Dirty(reasons()),
            Doubt::Loaded { load: "cpu=2".into(), reasons: reasons() },
            Doubt::Incomplete { interrupted: true },
            Doubt::LostMessages(1),
            Doubt::LostFrames(2),
            Doubt::Failed { what: "frame", count: 1, of: 2 },
            Doubt::AboveLimit { count: 1, of: 2, limit_gb_per_s: 200.0, copy_kernel: None },
            Doubt::ZeroRtt(1),
            Doubt::HugeRtt(1),
            Doubt::OutOfOrder(1),
            Doubt::TimesDisagree { count: 1, first: 2 },
            Doubt::RatesDisagree { count: 1, line: 2 },
            Doubt::SeenLate { count: 1, of: 2 },
            Doubt::Unverified { count: 1, of: 2, on_purpose: true },
            Doubt::Tcg,
            Doubt::Unpinned(vec!["the writer"]),
            Doubt::Uncached("reads are slow".into()),
            Doubt::CoarseClock { resolution_ns: 40.0, overhead_ns: 11.0, p50_ns: 130 },
            Doubt::WarmUp { found: WarmUp { messages: 1200, excess: 0.25 }, is_dependent: true },
            Doubt::Drift { percent: -6.0, is_dependent: false },
            Doubt::Dependent { block_length: 5000 },
            Doubt::TooFewSamples { percentiles: vec![("p99".into(), 1000)], count: 1 },
        ]
    }

    #[test]
    fn each_says_what_and_what_to_do_in_sentences() {
        let all = one_of_each();
        for doubt in &all {
            let (message, advice) = (doubt.to_string(), doubt.advice());
            assert!(
                message.ends_with('.') && !message.ends_with("..") && advice.ends_with('.'),
                "{message} {advice}"
            );
            assert!(message.contains(": ") && advice.starts_with(char::is_uppercase), "{message} {advice}");
            assert!(!message.contains(&advice), "said twice: {advice}");
        }
        assert_eq!(all.iter().map(Doubt::code).collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn the_gravest_is_first_and_machines_can_tell() {
        assert!(Severity::Alarm < Severity::Warning && Severity::Warning < Severity::Note);
        let found = WarmUp { messages: 1200, excess: -0.25 };
        let json = serde_json::to_value(Doubt::WarmUp { found, is_dependent: false }).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"code": "warm_up", "severity": "warning",
                "message": "WARM-UP: the first 1,200 messages took 25 % less than the rest, and are in every figure.",
                "advice": "Raise --warmup by 3,000."})
        );
    }
}
