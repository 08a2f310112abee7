//! How long one waits for the other side, and for what one would rather stop.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::{SshError, Stage};
use crate::interrupt::Interrupts;
use crate::wait::{Interest, Readiness, ready};

/// What ends a wait before its time.
#[derive(Debug, Clone, Copy)]
pub struct Patience<'a> {
    /// The user's Ctrl-C.
    pub interrupts: &'a Interrupts,
    /// A process whose end makes all waiting vain: QEMU, by its pidfd.
    pub process: Option<BorrowedFd<'a>>,
    /// When it is too late; `None` for never.
    pub deadline: Option<Instant>,
}

impl<'a> Patience<'a> {
    /// With a VM whose QEMU is `process`, for `time` from now.
    pub fn within(interrupts: &'a Interrupts, process: BorrowedFd<'a>, time: Duration) -> Self {
        Self { interrupts, process: Some(process), deadline: Some(Instant::now() + time) }
    }
}

/// Whether to wait at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hurry {
    /// There is nothing to do until one of the descriptors is ready.
    Wait,
    /// There is more to do already: only look.
    Look,
}

impl Patience<'_> {
    /// Waits until one of `fds` is ready.
    ///
    /// # Errors
    /// Ctrl-C, the process's end, or the deadline came first.
    pub(super) fn wait(
        &self,
        fds: &[(BorrowedFd<'_>, Interest)],
        hurry: Hurry,
        (port, stage): (u16, Stage),
    ) -> Result<Vec<Readiness>, SshError> {
        let mut all = Vec::with_capacity(fds.len() + 2);
        all.extend_from_slice(fds);
        all.push((self.interrupts.as_fd(), Interest::Read));
        all.extend(self.process.map(|process| (process, Interest::Read)));
        let deadline = match hurry {
            Hurry::Wait => self.deadline,
            Hurry::Look => Some(Instant::now()),
        };
        let mut found = ready(&all, deadline).map_err(SshError::io("wait for the guest"))?;
        if found[fds.len()].any() {
            self.interrupts.check()?;
        }
        if found.get(fds.len() + 1).is_some_and(|process| process.any()) {
            return Err(SshError::VmEnded { stage });
        }
        found.truncate(fds.len());
        // Also when something is ready: a guest that trickles must not outlast the deadline.
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(SshError::Late { port, stage });
        }
        Ok(found)
    }
}
