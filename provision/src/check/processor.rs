//! The processor: virtualisation, the time-stamp counter that the clocks rely on, and whether this machine is
//! itself a virtual one.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::host::Host;

const AREA: &str = "processor";

/// What is known of the processor.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its name.
    pub model: Option<String>,
    /// Its features, in the kernel's words; none when `/proc/cpuinfo` cannot be read.
    pub flags: BTreeSet<String>,
    /// Who made this machine, and what it is called.
    pub product: Option<String>,
    /// What `/sys/hypervisor` says of the machine beneath.
    pub hypervisor: Option<String>,
}

impl Facts {
    /// Whether this machine is itself a virtual one.
    pub fn is_virtual(&self) -> bool {
        self.flag("hypervisor") || self.hypervisor.is_some()
    }

    /// The kernel module that drives this processor's virtualisation, if it has any.
    pub fn kvm_module(&self) -> Option<&'static str> {
        match (self.flag("vmx"), self.flag("svm")) {
            (true, _) => Some("kvm_intel"),
            (_, true) => Some("kvm_amd"),
            _ => None,
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.flags.contains(name)
    }
}

/// Looks.
pub fn probe(host: &Host<'_>) -> Facts {
    let cpuinfo = host.read("proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    let dmi = ["sys_vendor", "product_name"].map(|name| host.read(&format!("sys/class/dmi/id/{name}")));
    let product: Vec<String> = dmi.into_iter().flatten().collect();
    Facts {
        model: field("model name"),
        flags: field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        product: (!product.is_empty()).then(|| product.join(" ")),
        hypervisor: host.read("sys/hypervisor/type"),
    }
}

/// Judges. `kvm_works` is what the ladder found: it counts for more than a flag.
pub fn findings(facts: &Facts, kvm_works: bool) -> Vec<Finding> {
    if facts.flags.is_empty() {
        let remedy = "mount /proc: 'sudo mount -t proc proc /proc'";
        return vec![Finding::degraded(AREA, "model", "not told: /proc/cpuinfo has no flags", remedy)];
    }
    let model = facts.model.as_deref().unwrap_or("unnamed");
    vec![Finding::ok(AREA, "model", model), machine(facts), virtualisation(facts, kvm_works), clock(facts)]
}

fn machine(facts: &Facts) -> Finding {
    let product = facts.product.as_deref().or(facts.hypervisor.as_deref());
    let product = product.map_or_else(String::new, |product| format!(" ({product})"));
    if !facts.is_virtual() {
        return Finding::ok(AREA, "machine", format!("bare metal{product}"));
    }
    let seen = format!(
        "itself a virtual machine{product}: its CPUs may be taken away at any time, which shows as outliers"
    );
    Finding::degraded(AREA, "machine", seen, "take figures that shall stand from a bare machine")
}

fn virtualisation(facts: &Facts, kvm_works: bool) -> Finding {
    const NAME: &str = "virtualisation";
    let remedy = if facts.is_virtual() {
        "enable nested virtualisation for this VM on the machine beneath: there, nested=1 for kvm_intel or kvm_amd, \
         and '-cpu host'"
    } else {
        "switch on VT-x or SVM in the firmware's setup"
    };
    match (facts.kvm_module(), kvm_works) {
        (Some("kvm_intel"), _) => Finding::ok(AREA, NAME, "vmx (Intel VT-x)"),
        (Some(_), _) => Finding::ok(AREA, NAME, "svm (AMD-V)"),
        (None, true) => Finding::ok(AREA, NAME, "neither vmx nor svm among the flags, and yet KVM works"),
        (None, false) => Finding::degraded(AREA, NAME, "neither vmx nor svm among the flags", remedy),
    }
}

fn clock(facts: &Facts) -> Finding {
    const NAME: &str = "clock";
    let absent: Vec<&str> =
        ["constant_tsc", "nonstop_tsc"].into_iter().filter(|flag| !facts.flag(flag)).collect();
    if absent.is_empty() {
        return Finding::ok(AREA, NAME, "invariant time-stamp counter (constant_tsc, nonstop_tsc)");
    }
    let seen = format!(
        "no {}: times are read from CLOCK_MONOTONIC, which costs more and resolves less",
        absent.join(", no ")
    );
    let remedy = if facts.is_virtual() {
        "give this VM the counter on the machine beneath: '-cpu host,migratable=no,+invtsc'"
    } else {
        "measure on a processor with an invariant time-stamp counter"
    };
    Finding::degraded(AREA, NAME, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::super::host::tests::made_of;
    use super::*;
    use crate::interrupt::Interrupts;

    fn with(flags: &str) -> Facts {
        Facts { flags: flags.split_whitespace().map(str::to_owned).collect(), ..Facts::default() }
    }

    fn states(facts: &Facts, kvm_works: bool) -> Vec<State> {
        findings(facts, kvm_works).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn a_bare_machine_with_all_flags_is_fine() {
        for virtualisation in ["vmx", "svm"] {
            let facts = with(&format!("{virtualisation} constant_tsc nonstop_tsc"));
            assert_eq!(states(&facts, true), [State::Ok; 4]);
        }
    }

    #[test]
    fn the_remedy_for_absent_virtualisation_depends_on_the_machine() {
        let remedy = |flags| findings(&with(flags), false)[2].remedy.clone().unwrap();
        assert!(remedy("fpu").contains("firmware"));
        assert!(remedy("fpu hypervisor").contains("nested virtualisation"));
        assert_eq!(findings(&with("fpu"), true)[2].state, State::Ok, "the ladder counts for more");
    }

    #[test]
    fn a_counter_that_stops_is_named() {
        let clock = findings(&with("constant_tsc"), false).pop().unwrap();
        assert_eq!(clock.state, State::Degraded);
        assert!(
            clock.seen.starts_with("no nonstop_tsc: times are read from CLOCK_MONOTONIC"),
            "{}",
            clock.seen
        );
    }

    #[test]
    fn without_proc_one_finding_says_so() {
        assert_eq!(states(&Facts::default(), false), [State::Degraded]);
    }

    #[test]
    fn the_probe_reads_the_first_processor_and_the_machines_name() {
        let interrupts = Interrupts::catch().unwrap();
        let cpuinfo =
            "processor\t: 0\nmodel name\t: A: B\nflags\t\t: vmx hypervisor\n\nprocessor\t: 1\nflags\t: x\n";
        let root = made_of(&[("proc/cpuinfo", cpuinfo), ("sys/class/dmi/id/sys_vendor", "QEMU\n")]);
        let facts = probe(&Host { root: root.path().to_owned(), interrupts: &interrupts });
        assert_eq!((facts.model.as_deref(), facts.product.as_deref()), (Some("A: B"), Some("QEMU")));
        assert!(facts.is_virtual() && facts.kvm_module() == Some("kvm_intel") && !facts.flag("x"));
    }
}
