//! What the scheduler did to the threads that run the guest's CPUs: a vCPU that does not run answers nobody.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The vCPU threads of a VM, by their directories below /proc.
#[derive(Debug, Clone, Default)]
pub struct VcpuThreads(Vec<PathBuf>);

/// What they have been through so far, all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Time they were ready to run and had no CPU.
    pub(crate) run_delay_ns: u64,
    /// Times they were preempted.
    pub(crate) involuntary_switches: u64,
}

impl VcpuThreads {
    /// Those that the VM's state names; none without a VM.
    #[must_use]
    pub fn of(vm: Option<&Value>) -> Self {
        let Some((vm, pid)) = vm.and_then(|vm| Some((vm, vm["pid"].as_u64()?))) else {
            return Self::default();
        };
        let threads = vm["vcpu_threads"].as_array().into_iter().flatten();
        let tids = threads.filter_map(|thread| thread["tid"].as_u64());
        // Below the process, so that a number that has gone to another process names nothing.
        Self(tids.map(|tid| PathBuf::from(format!("/proc/{pid}/task/{tid}"))).collect())
    }

    /// Those of several VMs.
    #[must_use]
    pub fn of_all<'a>(vms: impl Iterator<Item = &'a Value>) -> Self {
        Self(vms.flat_map(|vm| Self::of(Some(vm)).0).collect())
    }

    /// What they have been through; `None` without a VM, and where the kernel or a dead VM does not say.
    pub(crate) fn delays(&self) -> Option<Delays> {
        let each = self.0.iter().map(|thread| delays_of(thread));
        each.reduce(|sum, next| {
            let (sum, next) = (sum?, next?);
            Some(Delays {
                run_delay_ns: sum.run_delay_ns + next.run_delay_ns,
                involuntary_switches: sum.involuntary_switches + next.involuntary_switches,
            })
        })?
    }
}

impl VcpuThreads {
    /// Time they have run so far, all of them together, in nanoseconds; `None` as above. That of a thread that runs is as of
    /// its last scheduler tick.
    #[must_use]
    pub fn cpu_ns(&self) -> Option<u64> {
        let each = self.0.iter().map(|thread| cpu_in(&fs::read_to_string(thread.join("schedstat")).ok()?));
        each.reduce(|sum, next| Some(sum? + next?))?
    }
}

/// The first field: nanoseconds spent on a CPU.
pub(crate) fn cpu_in(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn delays_of(thread: &Path) -> Option<Delays> {
    Some(Delays {
        run_delay_ns: run_delay_of(thread)?,
        involuntary_switches: switches_in(&fs::read_to_string(thread.join("status")).ok()?)?,
    })
}

/// Time that the thread with this directory was ready to run and had no CPU so far, in nanoseconds.
pub(crate) fn run_delay_of(thread: &Path) -> Option<u64> {
    run_delay_in(&fs::read_to_string(thread.join("schedstat")).ok()?)
}

/// The second field: nanoseconds spent waiting on a runqueue (Documentation/scheduler/sched-stats.rst).
fn run_delay_in(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

/// The line `nonvoluntary_ctxt_switches` (proc(5)).
fn switches_in(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use ivshmem_proto::affinity;
    use serde_json::json;

    #[test]
    fn the_fields_are_found_in_what_the_kernel_writes() {
        assert_eq!(run_delay_in("413750 50197 1\n"), Some(50197));
        assert_eq!(run_delay_in("413750"), None);
        assert_eq!((cpu_in("413750 50197 1\n"), cpu_in("")), (Some(413_750), None));
        assert_eq!(
            switches_in("Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n"),
            Some(9)
        );
        assert_eq!(switches_in(""), None);
    }

    #[test]
    fn threads_that_cannot_be_read_are_none_and_not_zero() {
        assert_eq!(VcpuThreads::of(None).delays(), None);
        let me = std::process::id();
        let vm = |tids: &[u32]| {
            let threads: Vec<_> =
                tids.iter().map(|tid| json!({"vcpu": 0, "tid": tid, "cpu": null})).collect();
            VcpuThreads::of(Some(&json!({"pid": me, "vcpu_threads": threads})))
        };
        assert!(vm(&[me]).delays().is_some() && vm(&[me]).cpu_ns().is_some());
        assert_eq!((vm(&[]).cpu_ns(), vm(&[me, 1]).cpu_ns()), (None, None));
        assert_eq!(vm(&[]).delays(), None);
        // Thread 1 is of another process.
        assert_eq!(vm(&[me, 1]).delays(), None);
    }

    #[test]
    fn a_thread_that_shares_its_cpu_is_seen_to_wait_for_it() {
        let cpu = affinity::allowed_cpus().unwrap()[0];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let spin = || {
                affinity::pin_current_thread(cpu).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            let (tell, told) = std::sync::mpsc::channel();
            scope.spawn(move || {
                tell.send(nix::unistd::gettid()).unwrap();
                spin();
            });
            scope.spawn(spin);
            let vm =
                json!({"pid": std::process::id(), "vcpu_threads": [{"tid": told.recv().unwrap().as_raw()}]});
            let threads = VcpuThreads::of(Some(&vm));
            let (before, deadline) = (threads.delays().unwrap(), Instant::now() + Duration::from_secs(60));
            let seen = loop {
                let now = threads.delays().unwrap();
                let both = now.run_delay_ns > before.run_delay_ns
                    && now.involuntary_switches > before.involuntary_switches;
                if both || Instant::now() > deadline {
                    break both;
                }
            };
            stop.store(true, Ordering::Relaxed);
            assert!(seen, "two threads on one CPU, and neither ever waited");
        });
    }
}
