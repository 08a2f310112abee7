//! Processes named so that a recycled pid is never mistaken for them: pid and start time together, and a pidfd
//! for whoever wants to wait for the end or to kill.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::wait::readable;

/// A process for all time: the pid and when it started, in clock ticks since boot (field 22 of
/// `/proc/<pid>/stat`, proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_time_ticks: u64,
}

/// Which boot of this host it is: pids and start times mean something only within one.
pub fn host_boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl ProcessId {
    /// Identifies the process that has `pid` now.
    ///
    /// # Errors
    /// No such process, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, start_time_ticks) = parse_stat(&stat).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not readable"))
        })?;
        Ok(Self { pid, start_time_ticks })
    }

    /// This very process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether that process still runs: same pid, same start, and not merely waiting to be reaped.
    pub fn is_alive(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| parse_stat(&stat))
            .is_some_and(|(state, start)| start == self.start_time_ticks && !matches!(state, 'Z' | 'X'))
    }

    /// A handle to wait for or kill it; `None` when it is gone.
    ///
    /// # Errors
    /// The kernel refuses a pidfd for another reason than absence.
    pub fn open(&self) -> io::Result<Option<Process>> {
        match self.pidfd() {
            // The pidfd pins whatever has the pid now; only afterwards can the start time prove who that is.
            Ok(fd) => Ok(self.is_alive().then_some(Process { id: *self, fd })),
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// A handle to a child of ours that was not reaped yet, so that its pid is its own even when it ended.
    ///
    /// # Errors
    /// The kernel refuses a pidfd.
    pub fn open_child(child: &Child) -> io::Result<Process> {
        let id = Self::of(child.id())?;
        Ok(Process { id, fd: id.pidfd()? })
    }

    fn pidfd(&self) -> rustix::io::Result<OwnedFd> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::INVAL)?;
        pidfd_open(pid, PidfdFlags::empty())
    }
}

/// A process held by a pidfd, which becomes readable when it ends.
#[derive(Debug)]
pub struct Process {
    id: ProcessId,
    fd: OwnedFd,
}

impl Process {
    /// Who it is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Sends SIGKILL. A process that is gone already counts as killed.
    ///
    /// # Errors
    /// No permission.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for the end until `deadline`; true when it ended.
    ///
    /// # Errors
    /// poll(2) failed.
    pub fn wait_until(&self, deadline: Instant) -> io::Result<bool> {
        Ok(readable([self.fd.as_fd()], Some(deadline))?[0])
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// State letter and start time out of `/proc/<pid>/stat`. The command name (field 2) is in parentheses and may
/// hold anything, also spaces and parentheses, so fields count from the last `)`.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // `state` was field 3; 18 fields (4 to 21) lie before field 22.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    const STAT: &str =
        "1234 (a) b (c)) S 1 1234 1234 0 -1 4194304 100 0 0 0 1 2 3 4 20 0 1 0 987654 1000 10 184";

    #[test]
    fn start_time_is_found_behind_a_command_name_with_parentheses() {
        assert_eq!(parse_stat(STAT), Some(('S', 987_654)));
    }

    #[test]
    fn a_short_or_foreign_stat_line_is_none() {
        for text in
            ["", "1 (x", "1 (x)", "1 (x) S 1 2 3", "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 y"]
        {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_is_alive_and_its_pid_with_another_start_is_not() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        let other = ProcessId { start_time_ticks: me.start_time_ticks + 1, ..me };
        assert!(!other.is_alive());
        assert!(other.open().unwrap().is_none());
    }

    #[test]
    fn a_killed_child_is_seen_through_its_pidfd_and_a_zombie_is_not_alive() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        let process = id.open().unwrap().unwrap();
        assert!(!process.wait_until(Instant::now()).unwrap());
        process.kill().unwrap();
        assert!(process.wait_until(Instant::now() + Duration::from_secs(30)).unwrap());
        assert!(!id.is_alive(), "dead but not reaped");
        child.wait().unwrap();
        assert!(!id.is_alive());
        process.kill().unwrap();
    }
}
