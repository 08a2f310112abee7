//! Facts about this host that decide what a figure means.

use std::fs;

use ivshmem_proto::clock::Clock;
use ivshmem_proto::priority::rt_runtime_us;
use ivshmem_proto::report::ClockReport;
use ivshmem_proto::{affinity, cpu};
use nix::sys::utsname::uname;
use serde::Serialize;

use crate::caches;
use crate::cli::Circumstances;
use crate::config::Unmet;

/// This host, as run.json describes it.
#[derive(Debug, Clone, Serialize)]
pub struct HostFacts {
    /// Kernel release.
    pub kernel: String,
    /// CPU brand string.
    pub cpu_model: String,
    /// CPU features that matter here.
    pub cpu_features: Vec<&'static str>,
    /// CPUs this process may run on.
    pub cpus_allowed: usize,
    /// The CPU host-writer is pinned to.
    pub cpu_pinned: Option<u32>,
    /// Priority under SCHED_FIFO.
    pub fifo_priority: Option<i32>,
    /// Microseconds of each second that such a thread may run; null without a limit, or when it is not one.
    pub rt_runtime_us: Option<i64>,
    /// Whether all memory is locked.
    pub mlock: bool,
    /// Size of the last-level cache.
    pub llc_bytes: Option<u64>,
    /// Frequency governor, where there is one.
    pub governor: Option<String>,
    /// Huge-page policy of shared memory.
    pub transparent_hugepage_shmem: Option<String>,
    /// Load average of the last minute at the start.
    pub load_average_1m: Option<f64>,
    /// The clock everything here is timed with.
    pub clock: ClockFacts,
}

/// A clock, as run.json describes it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ClockFacts {
    /// `tsc` or `clock_monotonic`.
    pub source: &'static str,
    /// Ticks per second.
    pub frequency_hz: f64,
    /// Smallest difference in nanoseconds.
    pub resolution_ns: f64,
    /// Cost of a reading in nanoseconds.
    pub overhead_ns: f64,
}

impl From<ClockReport> for ClockFacts {
    fn from(clock: ClockReport) -> Self {
        let to_ps = |ns: f64| (ns * 1e3).round() / 1e3;
        Self {
            source: clock.source.name(),
            frequency_hz: clock.frequency_hz.round(),
            resolution_ns: to_ps(clock.resolution_ns),
            overhead_ns: to_ps(clock.overhead_ns),
        }
    }
}

impl HostFacts {
    /// Pins this thread as asked, and beside the CPUs that vCPUs are pinned to; calibrates its clock there, and collects the
    /// facts.
    ///
    /// # Errors
    /// The CPU asked for is not to be had, or the guest would never run beside this thread.
    pub fn settle(circumstances: &Circumstances, vcpu_cpus: &[u32]) -> anyhow::Result<(Clock, Self)> {
        let (cpu_pinned, cpus_allowed) = pin(circumstances.cpu, vcpu_cpus).map_err(Unmet)?;
        if let Some(level) = circumstances.fifo {
            check_fifo(level, cpu_pinned, vcpu_cpus)?;
        }
        let clock = Clock::calibrated();
        let facts = Self::collect(ClockReport::from(&clock), cpu_pinned, cpus_allowed, circumstances);
        Ok((clock, facts))
    }

    fn collect(
        clock: ClockReport,
        cpu_pinned: Option<u32>,
        cpus_allowed: usize,
        circumstances: &Circumstances,
    ) -> Self {
        let line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let cpu_number = cpu_pinned.unwrap_or(0);
        Self {
            kernel: uname().map_or_else(|_| "unknown".into(), |u| u.release().to_string_lossy().into_owned()),
            cpu_model: cpu::model(),
            cpu_features: cpu::feature_names(cpu::features()),
            cpus_allowed,
            cpu_pinned,
            fifo_priority: circumstances.fifo,
            rt_runtime_us: circumstances.fifo.and_then(|_| rt_runtime_us()).filter(|&us| us >= 0),
            mlock: circumstances.mlock,
            llc_bytes: caches::llc_bytes(cpu_number),
            governor: line(&format!("/sys/devices/system/cpu/cpu{cpu_number}/cpufreq/scaling_governor")),
            transparent_hugepage_shmem: line("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
                .and_then(|text| chosen_of(&text)),
            load_average_1m: line("/proc/loadavg").and_then(|t| t.split_whitespace().next()?.parse().ok()),
            clock: clock.into(),
        }
    }
}

/// The choice in brackets of a sysfs line such as `always [never] advise`.
fn chosen_of(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// Pins this thread to `asked`, or to the first allowed CPU not in `taken`; `None` when there is only one CPU.
/// Returns the CPU and how many were allowed.
///
/// # Errors
/// The CPU asked for is not to be had.
fn pin(asked: Option<u32>, taken: &[u32]) -> anyhow::Result<(Option<u32>, usize)> {
    let allowed = affinity::allowed_cpus()?;
    let choice = match asked {
        Some(cpu) => Some(cpu),
        None if allowed.len() > 1 => allowed.iter().copied().find(|cpu| !taken.contains(cpu)),
        None => None,
    };
    if let Some(cpu) = choice {
        affinity::pin_current_thread(cpu).map_err(|errno| {
            anyhow::anyhow!("cannot run on CPU {cpu} ({errno}); this process may use {allowed:?}")
        })?;
    }
    Ok((choice, allowed.len()))
}

/// Whether a thread on `cpu` may spin under SCHED_FIFO at `level`: the guest answers from CPUs of its own only, `vcpu_cpus`
/// being those that its vCPUs are pinned to.
///
/// # Errors
/// The guest would never run: a vCPU is pinned there.
fn check_fifo(level: i32, cpu: Option<u32>, vcpu_cpus: &[u32]) -> anyhow::Result<()> {
    match cpu.filter(|cpu| vcpu_cpus.contains(cpu)) {
        Some(cpu) => anyhow::bail!(
            "--fifo {level} on CPU {cpu} would keep the vCPU from running that is pinned there; choose another with --cpu"
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bracketed_choice_is_the_one_in_force() {
        assert_eq!(chosen_of("always within_size [never] deny"), Some("never".into()));
        assert_eq!(chosen_of("nothing"), None);
    }

    #[test]
    fn real_time_priority_is_not_for_a_cpu_that_the_guest_needs() {
        assert!(check_fifo(10, Some(1), &[0, 2]).is_ok() && check_fifo(10, None, &[0]).is_ok());
        let error = check_fifo(10, Some(2), &[0, 2]).unwrap_err().to_string();
        assert!(error.starts_with("--fifo 10 on CPU 2 would keep the vCPU"), "{error}");
    }

    #[test]
    fn pinning_avoids_the_vcpus_and_says_what_is_allowed() {
        std::thread::spawn(|| {
            let allowed = affinity::allowed_cpus().unwrap();
            let error = pin(Some(1023), &[]).unwrap_err().to_string();
            assert!(error.contains("cannot run on CPU 1023"), "{error}");
            if let [first, second, ..] = allowed[..] {
                assert_eq!(pin(None, &[first]).unwrap(), (Some(second), allowed.len()));
            }
        })
        .join()
        .unwrap();
    }
}
