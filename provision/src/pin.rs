//! Which host CPU each vCPU's thread runs on.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::str::FromStr;

use ivshmem_proto::affinity;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// What the user wants pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuPin {
    /// One CPU stays free for the host's tool, the others take the vCPUs.
    Auto,
    /// The scheduler decides.
    None,
    /// These CPUs take the vCPUs in turn.
    List(Vec<usize>),
}

/// Text that is no [`CpuPin`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a CPU list: write auto, none, or CPUs such as 1,3-5")]
pub struct BadCpuPin(pub String);

impl FromStr for CpuPin {
    type Err = BadCpuPin;

    fn from_str(text: &str) -> Result<Self, BadCpuPin> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            list => parse_list(list).map(Self::List).ok_or_else(|| BadCpuPin(text.to_owned())),
        }
    }
}

impl fmt::Display for CpuPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::List(cpus) => {
                let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
                f.write_str(&cpus.join(","))
            }
        }
    }
}

fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let digits =
            |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<usize>().ok()).flatten();
        let (first, last) = (digits(first)?, digits(last)?);
        if last < first || last >= CpuSet::count() {
            return None;
        }
        cpus.extend((first..=last).filter(|cpu| !cpus.contains(cpu)).collect::<Vec<_>>());
    }
    Some(cpus)
}

/// Where the vCPUs go, and what the user should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The CPUs for vCPU 0, 1, 2, ...; empty when nothing is pinned. Shorter than the vCPUs: round again.
    pub cpus: Vec<usize>,
    /// The CPUs for QEMU's other threads once the guest is ready; empty when they may run anywhere.
    pub others: Vec<usize>,
    /// A remark for the user.
    pub note: Option<String>,
}

impl Plan {
    /// The CPU of a vCPU.
    pub fn cpu_of(&self, vcpu: usize) -> Option<usize> {
        self.cpus.get(vcpu % self.cpus.len().max(1)).copied()
    }
}

/// CPUs asked for that this process may not use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("CPU {cpu} is not among those this process may use ({}); choose from these or --cpu-pin auto", show(.allowed))]
pub struct NotAllowed {
    cpu: usize,
    allowed: BTreeSet<usize>,
}

fn show(cpus: &BTreeSet<usize>) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Plans the pinning of `vcpus` threads onto the `allowed` CPUs.
///
/// # Errors
/// [`NotAllowed`] when the user's list holds another CPU.
pub fn plan(pin: &CpuPin, vcpus: u32, allowed: &BTreeSet<usize>) -> Result<Plan, NotAllowed> {
    let mut others = Vec::new();
    let (cpus, note) = match pin {
        CpuPin::None => (Vec::new(), None),
        CpuPin::List(list) => {
            if let Some(&cpu) = list.iter().find(|cpu| !allowed.contains(cpu)) {
                return Err(NotAllowed { cpu, allowed: allowed.clone() });
            }
            (list.clone(), None)
        }
        CpuPin::Auto if allowed.len() < 2 => {
            let note = "one CPU only: vCPUs are not pinned, and host and guest take turns on it; expect round \
                        trips of milliseconds";
            (Vec::new(), Some(note.to_owned()))
        }
        // The first CPU stays free for the host's half of the measurement: of the vCPUs, and of QEMU's main thread,
        // which wakes for every tick of the guest's timer.
        CpuPin::Auto => {
            others = allowed.iter().skip(1).copied().collect();
            (others.clone(), None)
        }
    };
    let crowded = (!cpus.is_empty() && vcpus as usize > cpus.len())
        .then(|| format!("{vcpus} vCPUs share {} CPUs: they will wait for each other", cpus.len()));
    Ok(Plan { cpus, others, note: note.or(crowded) })
}

/// The CPUs this process may use.
///
/// # Errors
/// sched_getaffinity(2) failed.
pub fn allowed_cpus() -> io::Result<BTreeSet<usize>> {
    Ok(affinity::allowed_cpus()?.into_iter().map(|cpu| cpu as usize).collect())
}

/// Pins the thread `tid` to `cpu`.
///
/// # Errors
/// sched_setaffinity(2) failed: the thread is gone or the CPU is.
pub fn pin_thread(tid: i64, cpu: usize) -> io::Result<()> {
    let tid = i32::try_from(tid).map_err(io::Error::other)?;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(tid), &set)?)
}

/// Lets all threads of process `pid` but `vcpus` run on `cpus` only. Threads that end meanwhile are passed over.
///
/// # Errors
/// The process is gone, or there are no such CPUs.
pub fn place_others(pid: u32, vcpus: &[i64], cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let tid = task?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(tid) = tid.filter(|&tid| !vcpus.contains(&i64::from(tid))) else { continue };
        match sched_setaffinity(Pid::from_raw(tid), &set) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::sched_getaffinity;

    fn planned(pin: &str, vcpus: u32, allowed: &[usize]) -> Plan {
        plan(&pin.parse().unwrap(), vcpus, &allowed.iter().copied().collect()).unwrap()
    }

    fn placed(plan: &Plan, vcpus: usize) -> Vec<Option<usize>> {
        (0..vcpus).map(|vcpu| plan.cpu_of(vcpu)).collect()
    }

    #[test]
    fn auto_leaves_the_first_cpu_to_the_host_and_goes_round_over_the_rest() {
        let plan = planned("auto", 3, &[2, 5, 7]);
        assert_eq!(placed(&plan, 3), [Some(5), Some(7), Some(5)]);
        assert_eq!(plan.note.unwrap(), "3 vCPUs share 2 CPUs: they will wait for each other");
        assert_eq!(planned("auto", 1, &[0, 1]), Plan { others: vec![1], cpus: vec![1], note: None });
    }

    #[test]
    fn on_a_single_cpu_nothing_is_pinned_and_that_is_said() {
        let plan = planned("auto", 2, &[3]);
        assert_eq!(placed(&plan, 2), [None, None]);
        assert!(plan.note.unwrap().starts_with("one CPU only"));
    }

    #[test]
    fn lists_take_single_cpus_and_ranges_in_the_users_order() {
        assert_eq!("3,0-2,1".parse(), Ok(CpuPin::List(vec![3, 0, 1, 2])));
        assert_eq!(placed(&planned("1,0", 3, &[0, 1]), 3), [Some(1), Some(0), Some(1)]);
        assert_eq!(planned("none", 9, &[0, 1]), Plan { others: vec![], cpus: vec![], note: None });
    }

    #[test]
    fn a_cpu_out_of_reach_is_refused_with_those_in_reach() {
        let refused = plan(&"4".parse().unwrap(), 1, &[0, 1].into_iter().collect()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "CPU 4 is not among those this process may use (0,1); choose from these or --cpu-pin auto"
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "a", "1,", "3-1", "-1", "1-", "1-99999999", "+1"] {
            assert_eq!(text.parse::<CpuPin>(), Err(BadCpuPin(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn threads_that_are_no_vcpus_are_kept_off_the_first_cpu() {
        let allowed = allowed_cpus().unwrap();
        let last = *allowed.last().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        place_others(child.id(), &[i64::from(child.id())], &[last]).unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let set = || {
            let set = sched_getaffinity(pid).unwrap();
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect::<BTreeSet<_>>()
        };
        assert_eq!(set(), allowed, "a vCPU is left alone");
        place_others(child.id(), &[], &[last]).unwrap();
        assert_eq!(set(), BTreeSet::from([last]));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn this_thread_can_be_pinned_and_released() {
        let before = allowed_cpus().unwrap();
        let tid = i64::from(nix::unistd::gettid().as_raw());
        let first = *before.first().unwrap();
        std::thread::spawn(move || {
            let own = i64::from(nix::unistd::gettid().as_raw());
            assert_ne!(own, tid);
            pin_thread(own, first).unwrap();
            assert_eq!(allowed_cpus().unwrap().into_iter().collect::<Vec<_>>(), [first]);
        })
        .join()
        .unwrap();
    }
}
