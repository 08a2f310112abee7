//! Everything there is to doubt in a report: each run's reasons, and doorbell files of runs that were disturbed.

use super::text::plural;
use crate::analysis::Analysis;
use crate::doorbell::{Doorbells, Source};
use crate::doubt::Severity;

/// One reason, as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// How grave.
    pub severity: Severity,
    /// What it is, with the run's name before it where there are two.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

/// All of them, the gravest of each run first.
#[must_use]
pub fn all(analysis: &Analysis) -> Vec<Concern> {
    let name = |title: String| if analysis.baseline.is_some() { format!("{title}: ") } else { String::new() };
    let of_runs = analysis.runs().flat_map(|analyzed| {
        let name = name(analyzed.title());
        analyzed.doubts.iter().map(move |doubt| Concern {
            severity: doubt.severity(),
            text: format!("{name}{doubt}"),
            advice: doubt.advice(),
        })
    });
    let doorbells = analysis.doorbells.as_ref();
    of_runs.chain(doorbells.and_then(mixed)).chain(doorbells.and_then(disturbed)).collect()
}

/// A word in the name of a severity.
#[must_use]
pub fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Alarm => "alarm",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// Doorbell files may be of many runs that have no reasons of their own here.
fn disturbed(doorbells: &Doorbells) -> Option<Concern> {
    let count = |of: fn(&Source) -> bool| doorbells.sources.iter().filter(|source| of(source)).count() as u64;
    let (dirty, unknown) = (count(|source| source.dirty.is_some()), count(|source| !source.has_provenance));
    let of = plural(doorbells.sources.len() as u64, "doorbell file");
    let dirty = (dirty > 0).then(|| format!("{dirty} of {of} disturbed while measured"));
    let unknown = (unknown > 0).then(|| format!("{unknown} of {of} without a run.json"));
    let late = count(|source| source.is_backlogged);
    let late = (late > 0).then(|| {
        format!("{late} of {of} behind the rate, so that messages followed each other at once and nobody slept between them")
    });
    let all: Vec<String> = dirty.into_iter().chain(unknown).chain(late).collect();
    (!all.is_empty()).then(|| Concern {
        severity: Severity::Warning,
        text: format!("DOORBELLS: {}.", all.join(", ")),
        advice: "The list of files says which; repeat those, or leave them out.".into(),
    })
}

/// Ways to wait of different machines say nothing of each other.
fn mixed(doorbells: &Doorbells) -> Option<Concern> {
    let accelerators = doorbells.distinct(|machine| machine.accelerator.as_ref());
    let cpus = doorbells.distinct(|machine| machine.cpu.as_ref());
    let differ = [("accelerator", accelerators), ("CPU", cpus)];
    let differ: Vec<String> = differ
        .into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(what, values)| format!("{what} ({})", values.join(", ")))
        .collect();
    (!differ.is_empty()).then(|| Concern {
        severity: Severity::Warning,
        text: format!("DOORBELLS OF DIFFERENT MACHINES: the files differ in {}.", differ.join(" and ")),
        advice: "Do not compare their ways to wait; give each machine a report of its own.".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doorbell::Machine;

    fn doorbells(sources: &[(bool, Option<&str>)]) -> Doorbells {
        let source = |(has_provenance, dirty): &(bool, Option<&str>)| Source {
            path: "f".into(),
            runs: 1,
            has_provenance: *has_provenance,
            machine: Machine::default(),
            started_utc: None,
            dirty: dirty.map(str::to_owned),
            is_backlogged: false,
        };
        Doorbells { sources: sources.iter().map(source).collect(), cells: Vec::new(), findings: Vec::new() }
    }

    #[test]
    fn machines_that_differ_are_doubted_and_host_processes_have_no_accelerator() {
        let text = |machines: &[(Option<&str>, &str)]| {
            let mut all = doorbells(&vec![(true, None); machines.len()]);
            for (source, (accelerator, cpu)) in all.sources.iter_mut().zip(machines) {
                let accelerator = accelerator.map(str::to_owned);
                source.machine = Machine { accelerator, cpu: Some((*cpu).to_owned()) };
            }
            mixed(&all).map(|concern| concern.text)
        };
        assert_eq!(text(&[(Some("tcg"), "A"), (None, "A"), (Some("tcg"), "A")]), None);
        let begin = "DOORBELLS OF DIFFERENT MACHINES: the files differ in ";
        let differ = text(&[(Some("tcg"), "A"), (Some("kvm"), "B")]).unwrap();
        assert_eq!(differ, format!("{begin}accelerator (tcg, kvm) and CPU (A, B)."));
        assert_eq!(text(&[(None, "A"), (Some("kvm"), "B")]).unwrap(), format!("{begin}CPU (A, B)."));
    }

    #[test]
    fn disturbed_doorbell_files_are_doubted() {
        let text =
            |sources: &[(bool, Option<&str>)]| disturbed(&doorbells(sources)).map(|concern| concern.text);
        assert_eq!(text(&[(true, None)]), None);
        let found = text(&[(true, None), (true, Some("steal")), (false, None)]).unwrap();
        assert_eq!(
            found,
            "DOORBELLS: 1 of 3 doorbell files disturbed while measured, 1 of 3 doorbell files without a run.json."
        );
    }
}
