//! Running undisturbed: real-time priority and memory that stays in place. Both are for the thread that measures, both
//! take a privilege, and neither is free of side effects, so a run that uses them says so.
#![allow(unsafe_code, reason = "nix has no safe wrapper of sched_setscheduler")]

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};

/// The priorities of SCHED_FIFO on Linux (sched(7)).
const FIFO_PRIORITIES: std::ops::RangeInclusive<i32> = 1..=99;

/// Why a thread does not run undisturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriorityError {
    /// No priority of SCHED_FIFO.
    #[error("{0} is not a real-time priority; give one from 1 (lowest) to 99")]
    OutOfRange(i32),
    /// `EPERM` of sched_setscheduler(2).
    #[error(
        "not allowed to run at SCHED_FIFO priority {0}; raise the limit (ulimit -r {0}) or grant CAP_SYS_NICE (run as root)"
    )]
    FifoNotAllowed(i32),
    /// `EPERM`, `ENOMEM` or `EAGAIN` of mlockall(2).
    #[error(
        "cannot lock memory ({0}); raise the limit (ulimit -l unlimited) or grant CAP_IPC_LOCK (run as root)"
    )]
    LockNotAllowed(Errno),
    /// Anything else the kernel says.
    #[error("{call}: {errno}")]
    Other {
        /// What was asked.
        call: &'static str,
        /// What was answered.
        errno: Errno,
    },
}

/// Runs the calling thread under SCHED_FIFO at `priority`, from 1 to 99. Threads and processes that it starts later run as
/// ordinary ones. While the thread spins, nothing of lower priority runs on its CPU: pin it to one that others can spare.
///
/// # Errors
/// Out of range, or not allowed.
pub fn set_fifo(priority: i32) -> Result<(), PriorityError> {
    if !FIFO_PRIORITIES.contains(&priority) {
        return Err(PriorityError::OutOfRange(priority));
    }
    let parameters = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the pointer is to a value that outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(Errno::EPERM) => Err(PriorityError::FifoNotAllowed(priority)),
        Err(errno) => Err(PriorityError::Other { call: "sched_setscheduler", errno }),
    }
}

/// Keeps all memory of this process, now and later, from being paged out. Under a limit later allocations fail instead:
/// call it when the large ones are made.
///
/// # Errors
/// Not allowed, or more than the limit.
pub fn lock_memory() -> Result<(), PriorityError> {
    match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::EPERM | Errno::ENOMEM | Errno::EAGAIN)) => {
            Err(PriorityError::LockNotAllowed(errno))
        }
        Err(errno) => Err(PriorityError::Other { call: "mlockall", errno }),
    }
}

/// Microseconds of each period (a second, unless changed) that real-time threads may run, `-1` for no limit: usually
/// 950000, and then a thread that spins under SCHED_FIFO stands still for 5 % of the time. Since Linux 6.12 it does so only
/// when ordinary threads wait for its CPU. `None` where the kernel does not say.
#[must_use]
pub fn rt_runtime_us() -> Option<i64> {
    std::fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What `run` returns on a thread without privileges or, when that takes root and there is none, of ours.
    fn without_privileges<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(|| {
            // SAFETY: takes nothing.
            if unsafe { libc::geteuid() } == 0 {
                // SAFETY: passes integers. The bare system call changes this thread alone, glibc's function all threads.
                let result = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
                assert_eq!(result, 0);
            }
            run()
        })
        .join()
        .unwrap()
    }

    /// The soft limit in /proc/self/limits that begins with `name`; `None` for unlimited.
    fn soft_limit(name: &str) -> Option<u64> {
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().ok()
    }

    #[test]
    fn a_priority_that_is_none_is_refused_before_the_kernel_is_asked() {
        for priority in [i32::MIN, -1, 0, 100, i32::MAX] {
            assert_eq!(set_fifo(priority), Err(PriorityError::OutOfRange(priority)));
        }
        let shown = PriorityError::OutOfRange(100).to_string();
        assert_eq!(shown, "100 is not a real-time priority; give one from 1 (lowest) to 99");
    }

    #[test]
    fn without_the_privilege_one_line_says_how_to_get_it() {
        let result = without_privileges(|| set_fifo(99));
        if soft_limit("Max realtime priority").is_none_or(|limit| limit >= 99) {
            return assert_eq!(result, Ok(()), "the limit allows it");
        }
        assert_eq!(
            result.unwrap_err().to_string(),
            "not allowed to run at SCHED_FIFO priority 99; raise the limit (ulimit -r 99) or grant CAP_SYS_NICE (run as root)"
        );
        assert_eq!(
            PriorityError::LockNotAllowed(Errno::ENOMEM).to_string(),
            "cannot lock memory (ENOMEM: Out of memory); raise the limit (ulimit -l unlimited) or grant CAP_IPC_LOCK \
             (run as root)"
        );
    }

    #[test]
    fn a_fifo_thread_is_one_and_the_threads_it_starts_are_not() {
        std::thread::spawn(|| {
            // SAFETY: takes an integer.
            let policy = || unsafe { libc::sched_getscheduler(0) };
            match set_fifo(1) {
                Ok(()) => {
                    assert_eq!(policy(), libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK);
                    let child = std::thread::scope(|scope| scope.spawn(policy).join().unwrap());
                    assert_eq!(child, libc::SCHED_OTHER);
                }
                Err(error) => {
                    assert_eq!(error, PriorityError::FifoNotAllowed(1));
                    assert_eq!(policy(), libc::SCHED_OTHER);
                }
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn locked_memory_is_counted_by_the_kernel() {
        // Alone in a process of its own: the lock would hold for the other tests too, and for their allocations.
        const ALONE: &str = "IVSHMEM_TEST_LOCK_MEMORY";
        if std::env::var_os(ALONE).is_none() {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            again
                .args(["--exact", "priority::tests::locked_memory_is_counted_by_the_kernel"])
                .env(ALONE, "1");
            let output = again.output().unwrap();
            return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        let locked_kib = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        assert_eq!(locked_kib(), 0);
        match lock_memory() {
            Ok(()) => assert!(locked_kib() > 0),
            Err(error) => {
                assert!(matches!(error, PriorityError::LockNotAllowed(_)), "{error}");
                assert!(soft_limit("Max locked memory").is_some(), "{error}, though there is no limit");
            }
        }
    }

    #[test]
    fn the_kernel_tells_how_long_real_time_threads_may_run() {
        let Some(runtime_us) = rt_runtime_us() else {
            return assert!(!std::path::Path::new("/proc/sys/kernel/sched_rt_runtime_us").exists());
        };
        assert!(runtime_us >= -1, "{runtime_us}");
    }
}
