//! Pinning threads to CPUs.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Pins the calling thread to CPU `cpu`.
///
/// # Errors
/// `EINVAL` when there is no such CPU or this process may not run on it.
pub fn pin_current_thread(cpu: u32) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(cpu as usize)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// The CPUs the calling thread may run on, in ascending order.
///
/// # Errors
/// What `sched_getaffinity` says.
pub fn allowed_cpus() -> Result<Vec<u32>, Errno> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).map(|cpu| cpu as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_is_allowed_on_that_cpu_only() {
        let cpus = allowed_cpus().unwrap();
        let last = *cpus.last().unwrap();
        std::thread::spawn(move || {
            pin_current_thread(last).unwrap();
            assert_eq!(allowed_cpus().unwrap(), [last]);
        })
        .join()
        .unwrap();
        assert_eq!(allowed_cpus().unwrap(), cpus);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        assert_eq!(pin_current_thread(1023), Err(Errno::EINVAL));
        assert!(pin_current_thread(u32::MAX).is_err());
    }
}
