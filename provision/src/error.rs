//! Every way a command can fail, each as one line that says what to do, and the exit code it gives.

use std::io;
use std::path::PathBuf;

use crate::accel::KvmUnusable;
use crate::guest_binary::GuestBinaryError;
use crate::interrupt::Interrupted;
use crate::kernel::KernelError;
use crate::name::VmName;
use crate::paths::NoRoot;
use crate::pin::NotAllowed;
use crate::qemu::binary::NoQemu;
use crate::state::{LockError, StateError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// No directory for state or cache.
    #[error(transparent)]
    NoRoot(#[from] NoRoot),
    /// The Debian guest was asked for.
    #[error("the Debian guest is not available yet: use the micro guest with 'provision up --guest micro'")]
    NoDebianYet,
    /// A flag's value cannot work.
    #[error("{flag} {value}: {why}")]
    BadFlag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it, and what to write.
        why: String,
    },
    /// A VM of that name runs.
    #[error(
        "VM {name} is already up (pid {pid}, since {since}): 'provision down --name {name}' first, or take another --name"
    )]
    AlreadyUp {
        /// Its name.
        name: VmName,
        /// QEMU's pid.
        pid: u32,
        /// When it was started.
        since: String,
    },
    /// Another command works on that VM.
    #[error("VM {name} is being worked on by {}: wait for it, or stop it with Ctrl-C", whom(.holder))]
    Busy {
        /// Its name.
        name: VmName,
        /// The other command's pid.
        holder: Option<u32>,
    },
    /// A lock cannot be had at all.
    #[error(transparent)]
    Lock(LockError),
    /// Another VM has the region.
    #[error(
        "region {shm_path} belongs to VM {vm}: 'provision down --name {vm}' first, or take another --shm"
    )]
    RegionTaken {
        /// The region's file.
        shm_path: PathBuf,
        /// Whose it is.
        vm: VmName,
    },
    /// The region's file is unusable.
    #[error(transparent)]
    Region(#[from] ivshmem_proto::region_file::RegionFileError),
    /// The state is unusable.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// There is no program for the guest.
    #[error(transparent)]
    GuestBinary(#[from] GuestBinaryError),
    /// A pinning that is not possible.
    #[error(transparent)]
    Pin(#[from] NotAllowed),
    /// There is no QEMU.
    #[error(transparent)]
    NoQemu(#[from] NoQemu),
    /// QEMU has no ivshmem.
    #[error(
        "{qemu} has no ivshmem-plain device: install Debian's QEMU with 'apt-get install qemu-system-x86', or name \
         another with --qemu PATH"
    )]
    NoIvshmem {
        /// The executable.
        qemu: PathBuf,
    },
    /// KVM was insisted on.
    #[error(transparent)]
    Kvm(#[from] KvmUnusable),
    /// QEMU ended while starting.
    #[error("QEMU ended before the guest ran ({status}): {said}")]
    QemuDied {
        /// How it ended.
        status: String,
        /// Its last words.
        said: String,
    },
    /// QEMU ended later.
    #[error("the guest ended before it was ready (QEMU: {status}); its last words: {said}")]
    GuestDied {
        /// How QEMU ended.
        status: String,
        /// The end of the serial log.
        said: String,
    },
    /// The guest says why it cannot serve.
    #[error("the guest is not ready: {said}")]
    GuestFailed {
        /// The guest's words.
        said: String,
    },
    /// A deadline passed.
    #[error("{what} within {seconds:.0} s; {advice}; the guest's last words: {said}")]
    Late {
        /// What did not happen.
        what: &'static str,
        /// How long was waited.
        seconds: f64,
        /// What to do.
        advice: &'static str,
        /// The end of the serial log.
        said: String,
    },
    /// A process does not die.
    #[error("QEMU (pid {pid}) does not end, not even by SIGKILL: see 'ps -o stat,wchan {pid}'")]
    Immortal {
        /// Its pid.
        pid: u32,
    },
    /// No such VM.
    #[error("there is no VM {name}: start it with 'provision up --guest micro --name {name}'")]
    NoVm {
        /// The name.
        name: VmName,
    },
    /// Anything else the operating system refuses.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

fn whom(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another provision".to_owned(), |pid| format!("another provision (pid {pid})"))
}

impl Error {
    /// Something the operating system refused.
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// What the command ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted(interrupted) => interrupted.exit_code(),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_to_do() {
        let name: VmName = "micro".parse().unwrap();
        let lines = [
            Error::NoDebianYet,
            Error::AlreadyUp { name: name.clone(), pid: 12, since: "2026-11-20T20:00:00Z".into() },
            Error::Busy { name: name.clone(), holder: Some(7) },
            Error::RegionTaken { shm_path: "/dev/shm/ivshmem".into(), vm: name.clone() },
            Error::NoIvshmem { qemu: "/usr/bin/qemu-system-x86_64".into() },
            Error::QemuDied {
                status: "exit status: 1".into(),
                said: "qemu: cannot set up guest memory".into(),
            },
            Error::GuestDied { status: "exit status: 0".into(), said: "Kernel panic - not syncing".into() },
            Error::GuestFailed { said: "no device 1af4:1110".into() },
            Error::Late {
                what: "the guest did not become ready",
                seconds: 60.0,
                advice: "give it longer with --timeout",
                said: "it said nothing".into(),
            },
            Error::NoVm { name },
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"));
    }
}
