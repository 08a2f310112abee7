//! KVM: the modules behind it, and what the ladder made of it; for its device see [`super::kvm_device`]. A device that
//! opens proves nothing (see [`crate::accel`]).

use std::path::Path;

use super::finding::Finding;
use super::host::Host;
use super::kvm_device::{self, Device, Node};
use super::processor;
use crate::accel::ladder::{self, Climb};

pub(super) const AREA: &str = "KVM";

/// What is known of KVM.
#[derive(Debug)]
pub struct Facts {
    /// The device.
    pub device: Device,
    /// The modules loaded, or built in.
    pub modules: Vec<String>,
    /// Module and value of its `nested` parameter.
    pub nested: Vec<(String, String)>,
    /// What the ladder saw.
    pub climb: Climb,
}

impl Facts {
    /// Why KVM cannot be used, if so.
    pub fn broken(&self) -> Option<String> {
        let broken = self.climb.rungs.iter().find(|rung| !rung.passed)?;
        // What is known of the node says more than that it does not open.
        Some(self.device.closed().unwrap_or_else(|| broken.detail.clone()))
    }
}

/// Looks, and climbs.
pub fn probe(host: &Host<'_>, device: &Path) -> Facts {
    let mut modules = host.list("sys/module");
    modules.retain(|name| name == "kvm" || name.starts_with("kvm_"));
    let nested = modules.iter().filter_map(|module| {
        Some((module.clone(), host.read(&format!("sys/module/{module}/parameters/nested"))?))
    });
    Facts {
        device: kvm_device::probe(host, device),
        nested: nested.collect(),
        climb: ladder::climb(device),
        modules,
    }
}

/// Judges.
pub fn findings(facts: &Facts, processor: &processor::Facts) -> Vec<Finding> {
    vec![
        kvm_device::finding(&facts.device, &facts.modules, processor),
        modules(facts, processor),
        accelerator(facts),
        nested(facts),
    ]
}

fn modules(facts: &Facts, processor: &processor::Facts) -> Finding {
    const NAME: &str = "modules";
    let drives = facts.modules.iter().any(|name| name != "kvm");
    match processor.kvm_module() {
        _ if drives || facts.device.node == Node::Opens => {
            let seen =
                if facts.modules.is_empty() { "none shown".to_owned() } else { facts.modules.join(", ") };
            Finding::ok(AREA, NAME, seen)
        }
        Some(module) => Finding::degraded(
            AREA,
            NAME,
            format!("{module} is not loaded"),
            format!("'sudo modprobe {module}'"),
        ),
        None => Finding::ok(AREA, NAME, "none that drives a processor, and nothing for one to drive"),
    }
}

fn accelerator(facts: &Facts) -> Finding {
    const NAME: &str = "ladder";
    let exit_cost = facts.climb.measured.and_then(|measured| measured.exit_cost_ns);
    let exit_cost = exit_cost.map_or_else(String::new, |ns| format!("; an exit costs {ns:.0} ns"));
    let cost = format!("[{:.0} ms]", facts.climb.cost.as_secs_f64() * 1e3);
    let Some(broken) = facts.broken() else {
        let top = facts.climb.rungs.last().map_or("", |rung| rung.detail.as_str());
        return Finding::ok(AREA, NAME, format!("KVM proves real: {top} {cost}"));
    };
    if facts.device.node != Node::Opens {
        let seen = "not climbed, for the device does not open: guests run under TCG";
        return Finding::degraded(AREA, NAME, seen, "mend the device, see above");
    }
    Finding::degraded(
        AREA,
        NAME,
        format!("{broken}{exit_cost}; guests run under TCG {cost}"),
        "take a machine whose KVM runs on hardware: a bare one, or a VM with nested virtualisation",
    )
}

fn nested(facts: &Facts) -> Finding {
    const NAME: &str = "nesting";
    if facts.nested.is_empty() {
        return Finding::ok(AREA, NAME, "no nested parameter: neither kvm_intel nor kvm_amd is loaded");
    }
    let shown = facts.nested.iter().map(|(module, value)| {
        let allowed = matches!(value.as_str(), "Y" | "y" | "1");
        format!(
            "{module} nested={value}: guests {} have KVM of their own",
            if allowed { "can" } else { "cannot" }
        )
    });
    Finding::ok(AREA, NAME, shown.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::finding::State;
    use super::*;
    use crate::accel::{Measured, Rung};

    /// A machine whose KVM proves real.
    pub(crate) fn real() -> Facts {
        let measured = Measured { instructions_per_second: 3.2e9, exit_cost_ns: Some(1200.0) };
        let rungs = vec![Rung::passed("instruction rate", "the tiny guest runs 3200 million instructions/s")];
        Facts {
            device: kvm_device::tests::with(Node::Opens),
            modules: vec!["kvm".to_owned(), "kvm_intel".to_owned()],
            nested: vec![("kvm_intel".to_owned(), "Y".to_owned())],
            climb: Climb { rungs, measured: Some(measured), cost: Duration::from_millis(6) },
        }
    }

    /// One whose device does not open.
    pub(crate) fn closed(node: Node) -> Facts {
        let rungs = vec![Rung::failed("open the KVM device", "/dev/kvm is forbidden")];
        let climb = Climb { rungs, measured: None, cost: Duration::ZERO };
        Facts { device: kvm_device::tests::with(node), climb, modules: Vec::new(), nested: Vec::new() }
    }

    fn intel() -> processor::Facts {
        processor::Facts { flags: ["vmx".to_owned()].into(), ..Default::default() }
    }

    #[test]
    fn a_real_kvm_is_fine_all_over() {
        assert!(findings(&real(), &intel()).iter().all(|finding| finding.state == State::Ok));
    }

    #[test]
    fn an_emulating_kvm_is_told_with_its_exit_cost() {
        let measured = Measured { instructions_per_second: 2e6, exit_cost_ns: Some(25_000.0) };
        let rungs = vec![Rung::failed("instruction rate", "it emulates the processor")];
        let climb = Climb { rungs, measured: Some(measured), cost: Duration::from_millis(42) };
        let ladder = findings(&Facts { climb, ..real() }, &intel()).swap_remove(2);
        assert_eq!(
            ladder.seen,
            "it emulates the processor; an exit costs 25000 ns; guests run under TCG [42 ms]"
        );
    }
}
