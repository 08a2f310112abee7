//! The cores: which this process may use, where host-writer and the vCPU go by default, and whether these two
//! disturb each other: as hyperthreads of one core, across NUMA nodes, or by a governor that saves power.

use std::collections::{BTreeMap, BTreeSet};

use super::container;
use super::finding::Finding;
use super::host::Host;
use crate::pin::{self, CpuPin, Plan};

const AREA: &str = "cores";

/// What is known of the cores.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// CPUs online; 0 when not told.
    pub online: usize,
    /// CPUs this process may use.
    pub allowed: BTreeSet<usize>,
    /// Per CPU, itself and the other hyperthreads of its core.
    pub siblings: BTreeMap<usize, Vec<usize>>,
    /// CPUs the scheduler leaves alone.
    pub isolated: Vec<usize>,
    /// NUMA nodes and their CPUs.
    pub nodes: BTreeMap<String, Vec<usize>>,
    /// How many CPUs' time this container may use, where there is a limit.
    pub quota_cpus: Option<f64>,
    /// The cpufreq governor of each CPU that has one.
    pub governors: BTreeMap<usize, String>,
}

/// Looks.
pub fn probe(host: &Host<'_>) -> Facts {
    const CPUS: &str = "sys/devices/system/cpu";
    let cpus = |path: &str| cpu_list(&host.read(path).unwrap_or_default());
    let allowed = pin::allowed_cpus().unwrap_or_default();
    let siblings =
        allowed.iter().map(|&cpu| (cpu, cpus(&format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"))));
    let governors = allowed
        .iter()
        .filter_map(|&cpu| Some((cpu, host.read(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor"))?)));
    let nodes = host.list("sys/devices/system/node").into_iter();
    let nodes = nodes.filter(|name| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok()));
    Facts {
        online: cpus(&format!("{CPUS}/online")).len(),
        siblings: siblings.collect(),
        isolated: cpus(&format!("{CPUS}/isolated")),
        nodes: nodes.map(|n| (n.clone(), cpus(&format!("sys/devices/system/node/{n}/cpulist")))).collect(),
        governors: governors.collect(),
        quota_cpus: container::quota_cpus(host),
        allowed,
    }
}

/// The kernel writes lists of CPUs as the user does.
fn cpu_list(text: &str) -> Vec<usize> {
    match text.parse() {
        Ok(CpuPin::List(cpus)) => cpus,
        _ => Vec::new(),
    }
}

/// Judges.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let one_vcpu = pin::plan(&CpuPin::Auto, 1, &facts.allowed);
    let Ok(plan) = one_vcpu else { return Vec::new() };
    let (Some(&host), Some(vcpu)) = (facts.allowed.first(), plan.cpu_of(0)) else {
        return vec![too_few(facts)];
    };
    let pair = Pair { host, vcpu, facts };
    let mut findings = vec![allowed(facts), placement(&pair, &plan), pair.siblings(&plan), isolated(facts)];
    findings.extend(throttled(facts));
    findings.extend(pair.nodes());
    findings.extend(pair.governor());
    findings
}

fn show(cpus: impl IntoIterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    shown.collect::<Vec<_>>().join(",")
}

fn too_few(facts: &Facts) -> Finding {
    let seen = match facts.allowed.first() {
        Some(cpu) => {
            format!("only CPU {cpu}: host and guest take turns on it, and round trips take milliseconds")
        }
        None => "not told which CPUs this process may use: nothing is pinned".to_owned(),
    };
    let remedy = if facts.online > 1 {
        format!(
            "this process is confined: start it with 'taskset -c 0-{}', or give the container more CPUs",
            facts.online - 1
        )
    } else {
        "give this machine a second CPU".to_owned()
    };
    Finding::degraded(AREA, "usable", seen, remedy)
}

fn allowed(facts: &Facts) -> Finding {
    let all = if facts.online > 0 { format!(" of {}", facts.online) } else { String::new() };
    let shown = show(facts.allowed.iter().copied());
    Finding::ok(AREA, "usable", format!("{}{all} CPUs: {shown}", facts.allowed.len()))
}

fn placement(pair: &Pair<'_>, plan: &Plan) -> Finding {
    let more = match plan.cpus.len() {
        1 => "more vCPUs share it".to_owned(),
        _ => format!("more vCPUs follow on {}", show(plan.cpus.iter().skip(1).copied())),
    };
    let seen = format!("host-writer on CPU {}, the vCPU on CPU {}; {more}", pair.host, pair.vcpu);
    Finding::ok(AREA, "placement", seen)
}

/// Host and vCPU spin, a CPU each, and QEMU's main thread wants some time, too.
fn throttled(facts: &Facts) -> Option<Finding> {
    let quota = facts.quota_cpus.filter(|&quota| quota < 2.5)?;
    let seen =
        format!("this container has the time of {quota:.1} CPUs: threads that spin are stopped in between");
    Some(Finding::degraded(AREA, "quota", seen, "give the container the time of 3 CPUs: '--cpus 3'"))
}

fn isolated(facts: &Facts) -> Finding {
    const NAME: &str = "isolation";
    if facts.isolated.is_empty() {
        return Finding::ok(AREA, NAME, "no CPU is isolated: other programs may run on these, too");
    }
    let shown = show(facts.isolated.iter().copied());
    let finding = Finding::ok(AREA, NAME, format!("CPUs {shown} are isolated from the scheduler"));
    // Isolated CPUs are in nobody's affinity unless asked for.
    if facts.isolated.iter().any(|cpu| facts.allowed.contains(cpu)) {
        return finding;
    }
    finding.advising(format!("use them: start everything with 'taskset -c {shown}'"))
}

/// The two CPUs that talk to each other.
struct Pair<'a> {
    host: usize,
    vcpu: usize,
    facts: &'a Facts,
}

impl Pair<'_> {
    fn shares_core(&self, cpu: usize) -> bool {
        self.facts.siblings.get(&self.host).is_some_and(|siblings| siblings.contains(&cpu))
    }

    /// The first other CPU for the vCPU that is good in the given sense, as a remedy.
    fn elsewhere(&self, good: impl Fn(usize) -> bool) -> Option<String> {
        let cpu = self.facts.allowed.iter().copied().find(|&cpu| cpu != self.host && good(cpu))?;
        Some(format!("place the vCPU on another: 'provision up --cpu-pin {cpu}'"))
    }

    fn siblings(&self, plan: &Plan) -> Finding {
        const NAME: &str = "hyperthreads";
        let told = self.facts.siblings.get(&self.host).is_some_and(|siblings| !siblings.is_empty());
        match plan.cpus.iter().position(|&cpu| self.shares_core(cpu)) {
            Some(0) => {
                let seen = format!(
                    "CPU {} (host-writer) and CPU {} (the vCPU) are one core: while both spin, each slows the other",
                    self.host, self.vcpu
                );
                let remedy = self.elsewhere(|cpu| !self.shares_core(cpu)).unwrap_or_else(|| {
                    "let this process use CPUs of other cores; this machine's threads are listed by 'lscpu -e'".to_owned()
                });
                Finding::degraded(AREA, NAME, seen, remedy)
            }
            Some(vcpu) => {
                let seen = format!(
                    "separate cores; with --vcpus {} or more, vCPU {vcpu} shares host-writer's core",
                    vcpu + 1
                );
                Finding::ok(AREA, NAME, seen)
            }
            None if told => Finding::ok(AREA, NAME, "host-writer and the vCPU have cores of their own"),
            None => Finding::ok(AREA, NAME, "not told which CPUs share a core"),
        }
    }

    fn node_of(&self, cpu: usize) -> Option<&str> {
        self.facts.nodes.iter().find(|(_, cpus)| cpus.contains(&cpu)).map(|(node, _)| node.as_str())
    }

    fn nodes(&self) -> Option<Finding> {
        const NAME: &str = "NUMA";
        if self.facts.nodes.len() < 2 {
            return None;
        }
        let (host, vcpu) = (self.node_of(self.host), self.node_of(self.vcpu));
        let count = self.facts.nodes.len();
        if host == vcpu {
            return Some(Finding::ok(
                AREA,
                NAME,
                format!("{count} nodes; host-writer and the vCPU are on one of them"),
            ));
        }
        let seen = format!(
            "CPU {} (host-writer) is on {}, CPU {} (the vCPU) on {}: each round trip crosses between them",
            self.host,
            host.unwrap_or("an unknown node"),
            self.vcpu,
            vcpu.unwrap_or("an unknown node")
        );
        let remedy = self
            .elsewhere(|cpu| self.node_of(cpu) == host && !self.shares_core(cpu))
            .unwrap_or_else(|| "let this process use CPUs of one node: 'numactl --cpunodebind 0'".to_owned());
        Some(Finding::degraded(AREA, NAME, seen, remedy))
    }

    fn governor(&self) -> Option<Finding> {
        const NAME: &str = "governor";
        let of = |cpu| self.facts.governors.get(&cpu).map(String::as_str);
        let (host, vcpu) = (of(self.host)?, of(self.vcpu)?);
        if host == "performance" && vcpu == "performance" {
            return Some(Finding::ok(AREA, NAME, "performance"));
        }
        let governor = if host == "performance" { vcpu } else { host };
        Some(Finding::degraded(
            AREA,
            NAME,
            format!("{governor}: the clock rate follows the load, and figures with it"),
            "'echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor'",
        ))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;

    /// Cores of the given hyperthreads, all usable.
    pub(crate) fn cores(cores: &[&[usize]]) -> Facts {
        let cpus = || cores.iter().flat_map(|core| core.iter().map(|&cpu| (cpu, core.to_vec())));
        Facts {
            online: cpus().count(),
            allowed: cpus().map(|(cpu, _)| cpu).collect(),
            siblings: cpus().collect(),
            ..Facts::default()
        }
    }

    fn named(facts: &Facts, name: &str) -> Finding {
        findings(facts).into_iter().find(|finding| finding.name == name).unwrap()
    }

    #[test]
    fn two_cores_are_fine_and_the_placement_is_told() {
        let facts = cores(&[&[0], &[1]]);
        assert!(findings(&facts).iter().all(|finding| finding.state == State::Ok));
        let placement = named(&facts, "placement").seen;
        assert_eq!(placement, "host-writer on CPU 0, the vCPU on CPU 1; more vCPUs share it");
    }

    #[test]
    fn hyperthreads_of_one_core_are_told_with_a_better_cpu() {
        let finding = named(&cores(&[&[0, 1], &[2, 3]]), "hyperthreads");
        assert_eq!(finding.state, State::Degraded);
        assert_eq!(finding.remedy.unwrap(), "place the vCPU on another: 'provision up --cpu-pin 2'");
        assert!(named(&cores(&[&[0, 1]]), "hyperthreads").remedy.unwrap().contains("lscpu -e"));
        let far = named(&cores(&[&[0, 2], &[1, 3]]), "hyperthreads");
        assert_eq!((far.state, far.seen.contains("--vcpus 2 or more, vCPU 1")), (State::Ok, true));
    }

    #[test]
    fn one_cpu_degrades_and_confinement_is_told_from_poverty() {
        let confined = Facts { online: 8, ..cores(&[&[5]]) };
        assert!(named(&confined, "usable").remedy.unwrap().contains("taskset -c 0-7"));
        assert_eq!(named(&cores(&[&[0]]), "usable").remedy.unwrap(), "give this machine a second CPU");
        assert_eq!(findings(&Facts::default())[0].state, State::Degraded);
    }

    #[test]
    fn a_quota_below_what_spinning_takes_degrades() {
        let with = |quota| Facts { quota_cpus: Some(quota), ..cores(&[&[0], &[1]]) };
        assert_eq!(named(&with(1.5), "quota").state, State::Degraded);
        assert!(!findings(&with(4.0)).iter().any(|finding| finding.name == "quota"));
    }

    #[test]
    fn nodes_governors_and_isolated_cpus_are_told_where_there_are_any() {
        let plain = cores(&[&[0], &[1], &[2]]);
        assert!(!findings(&plain).iter().any(|f| ["NUMA", "governor"].contains(&f.name)));
        let nodes = [("node0".to_owned(), vec![0, 2]), ("node1".to_owned(), vec![1])].into();
        let governors = [(0, "performance".to_owned()), (1, "powersave".to_owned())].into();
        let facts = Facts { nodes, governors, isolated: vec![4, 5, 7], ..plain };
        assert!(named(&facts, "NUMA").remedy.unwrap().ends_with("--cpu-pin 2'"));
        assert!(named(&facts, "governor").seen.starts_with("powersave"));
        let isolation = named(&facts, "isolation");
        assert_eq!(isolation.remedy.unwrap(), "use them: start everything with 'taskset -c 4-5,7'");
    }
}
