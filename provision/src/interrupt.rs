//! Ctrl-C and `kill` as events: SIGINT, SIGTERM and SIGHUP are blocked and read from a signalfd, so that every
//! wait can end and clean up instead of dying in the middle.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The user wants this to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted ({})", .signal.as_str())]
pub struct Interrupted {
    /// The signal that said so.
    pub signal: Signal,
}

impl Interrupted {
    /// The shell's convention: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        128 + u8::try_from(self.signal as i32).unwrap_or(0)
    }
}

/// Lets `command` start with no signal blocked. Since Rust 1.66 programs inherit the mask of who starts them, and
/// one that cannot be interrupted could not be asked to end.
#[allow(unsafe_code)]
pub fn unblocked(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only sigprocmask(2) is called, which is async-signal-safe (signal-safety(7));
    // nothing is allocated, and the error is a plain number.
    unsafe { command.pre_exec(|| Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)) }
}

/// The signals that end a command, as a descriptor.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Blocks the signals in this thread, and in threads it starts from now on. Call before starting any.
    /// Programs started from then on inherit the mask: see [`unblocked`].
    ///
    /// # Errors
    /// The kernel refuses the mask or the descriptor.
    pub fn catch() -> io::Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// `Err` when one of the signals came.
    ///
    /// # Errors
    /// [`Interrupted`], naming the signal.
    pub fn check(&self) -> Result<(), Interrupted> {
        match self.0.read_signal() {
            Ok(Some(info)) => {
                let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
                Err(Interrupted { signal: signal.unwrap_or(Signal::SIGTERM) })
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!(Interrupted { signal: Signal::SIGINT }.exit_code(), 130);
        assert_eq!(Interrupted { signal: Signal::SIGTERM }.exit_code(), 143);
        assert_eq!(Interrupted { signal: Signal::SIGINT }.to_string(), "interrupted (SIGINT)");
    }
}
