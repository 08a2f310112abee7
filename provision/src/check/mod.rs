//! What this machine can do for the main job, measuring in a micro guest as `scripts/run.sh` does, and how to mend
//! what it cannot.
//!
//! One module for each theme: a thin probe that gathers facts, and a pure function from facts to [`Finding`]s.
//! Whatever a probe cannot tell becomes a finding; nothing but Ctrl-C ends it.

mod account;
mod container;
pub mod cores;
pub mod disk;
mod finding;
mod host;
pub mod kvm;
pub mod kvm_device;
pub mod memory;
pub mod processor;
pub mod programs;
pub mod qemu;
mod report;
mod text;
pub mod tools;

#[cfg(test)]
pub(crate) use host::tests::made_of;

use std::path::Path;

pub use finding::{Finding, State};
pub use host::Host;
pub use report::{Report, SCHEMA};
pub use text::{Paint, text};

use crate::interrupt::Interrupted;

/// All that was probed.
#[derive(Debug)]
pub struct Facts {
    /// The processor.
    pub processor: processor::Facts,
    /// KVM.
    pub kvm: kvm::Facts,
    /// QEMU.
    pub qemu: qemu::Facts,
    /// The cores.
    pub cores: cores::Facts,
    /// Memory.
    pub memory: memory::Facts,
    /// Directories.
    pub disk: disk::Facts,
    /// Programs of others.
    pub tools: tools::Facts,
    /// Our own, and the cache.
    pub programs: programs::Facts,
}

/// Looks at the machine, with the QEMU and the KVM device that are asked for. Takes well under a second.
///
/// # Errors
/// [`Interrupted`].
pub fn probe(host: &Host<'_>, qemu: &Path, kvm_device: &Path) -> Result<Facts, Interrupted> {
    let kvm = kvm::probe(host, kvm_device);
    host.interrupts.check()?;
    Ok(Facts {
        qemu: qemu::probe(host, qemu)?,
        processor: processor::probe(host),
        cores: cores::probe(host),
        memory: memory::probe(host),
        disk: disk::probe(),
        tools: tools::probe(host),
        programs: programs::probe(),
        kvm,
    })
}

/// Judges all of it.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let kvm_works = facts.kvm.broken().is_none();
    [
        processor::findings(&facts.processor, kvm_works),
        kvm::findings(&facts.kvm, &facts.processor),
        qemu::findings(&facts.qemu, kvm_works),
        cores::findings(&facts.cores),
        memory::findings(&facts.memory),
        disk::findings(&facts.disk, facts.programs.kernel.is_some()),
        programs::findings(&facts.programs, &facts.tools),
        tools::findings(&facts.tools),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupts;

    /// A good machine, made up.
    pub(super) fn good() -> Facts {
        let flags = ["vmx", "constant_tsc", "nonstop_tsc"].map(str::to_owned);
        let model = Some("Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz".to_owned());
        let product = Some("Dell Inc. PowerEdge R640".to_owned());
        Facts {
            processor: processor::Facts { model, flags: flags.into(), product, hypervisor: None },
            kvm: kvm::tests::real(),
            qemu: qemu::tests::whole(),
            cores: cores::tests::cores(&[&[0], &[1], &[2], &[3]]),
            memory: memory::tests::roomy(),
            disk: disk::tests::roomy(),
            tools: tools::tests::whole(),
            programs: programs::tests::built(),
        }
    }

    #[test]
    fn a_machine_where_all_is_absent_gives_findings_each_with_a_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::catch().unwrap();
        let host = Host { root: empty.path().to_owned(), interrupts: &interrupts };
        let facts = probe(&host, Path::new("/nonexistent/qemu"), Path::new("/nonexistent/kvm")).unwrap();
        let findings = findings(&facts);
        for finding in &findings {
            assert!(finding.state == State::Ok || finding.remedy.is_some(), "{finding:?}");
            assert!(!finding.seen.is_empty(), "{finding:?}");
        }
        let missing: Vec<_> = findings.iter().filter(|f| f.state == State::Missing).map(|f| f.name).collect();
        assert!(missing.starts_with(&["program", "/dev/shm"]), "{missing:?}");
    }

    #[test]
    fn ctrl_c_ends_the_probe() {
        let interrupts = Interrupts::catch().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
        let host = Host { root: "/".into(), interrupts: &interrupts };
        assert!(probe(&host, Path::new("sh"), Path::new("/nonexistent/kvm")).is_err());
    }

    #[test]
    fn names_are_unique_within_an_area() {
        let findings = findings(&good());
        let names: std::collections::BTreeSet<_> = findings.iter().map(|f| (f.area, f.name)).collect();
        assert_eq!(names.len(), findings.len());
    }
}
