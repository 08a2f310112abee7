//! Every way a command can fail, each as one line that says what to do, and the exit code it gives.

use std::io;
use std::path::PathBuf;

use ivshmem_proto::made_directory::MakeError;
use ivshmem_proto::region_file::RegionFileError;
use ivshmem_proto::server_client::ServerError;

use crate::accel::KvmUnusable;
use crate::deploy::DeployError;
use crate::doorbell_server::DoorbellError;
use crate::driver::DriverError;
use crate::guest_binary::GuestBinaryError;
use crate::hugepages::HugePageError;
use crate::image::ImageError;
use crate::interrupt::Interrupted;
use crate::kernel::{FetchError, KernelError};
use crate::keys::KeyError;
use crate::name::VmName;
use crate::paths::NoRoot;
use crate::pin::NotAllowed;
use crate::qemu::binary::NoQemu;
use crate::seed::SeedError;
use crate::size::Bytes;
use crate::ssh::SshError;
use crate::ssh::client::ClientError;
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
    /// A flag without effect.
    #[error(
        "{flag} means nothing to the {guest} guest: leave it out, or choose the other guest with --guest; 'provision up --help' lists them by guest"
    )]
    OtherGuestsFlag {
        /// The flag.
        flag: &'static str,
        /// The guest chosen.
        guest: &'static str,
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
    /// Other VMs live by this one's server.
    #[error(
        "VM {name} has the server and the region of {}: 'provision down --name {}' first",
        list(.users), .users.first().unwrap_or(.name)
    )]
    ServerInUse {
        /// The VM.
        name: VmName,
        /// Who uses them.
        users: Vec<VmName>,
    },
    /// There is no server to join.
    #[error(
        "VM {name} has no doorbell server to join: start it with 'provision up --doorbell --name {name}'"
    )]
    NoServer {
        /// The VM.
        name: VmName,
    },
    /// The server of a running VM is no more.
    #[error(
        "the doorbell server of VM {name} has died, and QEMU cannot rejoin another: 'provision down --name {name}', then \
         'provision up --doorbell --name {name}'"
    )]
    DeadServer {
        /// The VM whose server it was.
        name: VmName,
    },
    /// The server of another VM cannot be joined.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The region's file is unusable.
    #[error(transparent)]
    Region(#[from] RegionFileError),
    /// No directory for results.
    #[error(transparent)]
    Out(#[from] MakeError),
    /// The region cannot lie in huge pages.
    #[error(transparent)]
    HugePages(#[from] HugePageError),
    /// The server for doorbells cannot serve.
    #[error(transparent)]
    Doorbell(#[from] DoorbellError),
    /// The server that `up` starts does not start.
    #[error("the doorbell server does not start: {said}")]
    DoorbellServer {
        /// Its last words.
        said: String,
    },
    /// The state is unusable.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no kernel.
    #[error(transparent)]
    Kernel(KernelError),
    /// There is no driver for the guest's kernel.
    #[error(transparent)]
    Driver(DriverError),
    /// The guest does not take the driver.
    #[error("the driver is in VM {name} but does not load; the guest says: {said}")]
    DriverRefused {
        /// The VM's name.
        name: VmName,
        /// The guest's words.
        said: String,
    },
    /// There is no program for the guest.
    #[error(transparent)]
    GuestBinary(#[from] GuestBinaryError),
    /// A pinning that is not possible.
    #[error(transparent)]
    Pin(#[from] NotAllowed),
    /// There is no QEMU.
    #[error(transparent)]
    NoQemu(#[from] NoQemu),
    /// QEMU has no ivshmem, or no IOMMU.
    #[error(
        "{qemu} has no {device} device: install Debian's QEMU with 'apt-get install qemu-system-x86', or name \
         another with --qemu PATH"
    )]
    NoIvshmem {
        /// The executable.
        qemu: PathBuf,
        /// What it has not.
        device: &'static str,
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
    /// The port for SSH is taken.
    #[error(
        "port {port} of 127.0.0.1 is taken ({said}): 'ss -ltnp sport = :{port}' shows by whom; free it, or take another \
         with --ssh-port auto"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// QEMU's words.
        said: String,
    },
    /// The snapshot cannot be loaded.
    #[error("QEMU cannot load it: {said}")]
    Snapshot {
        /// QEMU's words.
        said: String,
    },
    /// cloud-init is not in the image.
    #[error(
        "the guest booted, but cloud-init did not speak: is it in this image? Debian's 'nocloud' images have none, its \
         'generic' ones have; the guest's last words: {said}"
    )]
    NoCloudInit {
        /// The end of the serial log.
        said: String,
    },
    /// cloud-init ended with errors.
    #[error("cloud-init failed: {words}; from the guest's console: {said}")]
    CloudInit {
        /// Its own list of errors.
        words: String,
        /// What the console says.
        said: String,
    },
    /// The guest has no ivshmem device.
    #[error(
        "the guest does not see the ivshmem device (1af4:1110): 'lspci -nn' in the guest shows what it has"
    )]
    NoDevice,
    /// There is no image.
    #[error(transparent)]
    Image(ImageError),
    /// Keys cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The seed cannot be made.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The disk lies upon another image than the one asked for.
    #[error(
        "VM {name}'s disk was made from another image ({image}): take another --name, or start over with --fresh, \
         whereupon what it had written is lost"
    )]
    OtherImage {
        /// The VM.
        name: VmName,
        /// What it was made from.
        image: String,
    },
    /// The disk has another size than the one asked for.
    #[error(
        "VM {name}'s disk has {is}, not {wanted}: take another --name, or start over with --fresh, whereupon what it \
         had written is lost"
    )]
    OtherDiskSize {
        /// The VM.
        name: VmName,
        /// Its size.
        is: Bytes,
        /// The size asked for.
        wanted: Bytes,
    },
    /// Kernel arguments for an image that brings its own boot loader.
    #[error(
        "{flag}: this image is booted by its own boot loader ({image}): change its kernel's arguments in the guest, or \
         take an image that was built here, with --image mirror"
    )]
    KernelArgsUnused {
        /// The flag that asks for some.
        flag: &'static str,
        /// The image.
        image: String,
    },
    /// A process does not die.
    #[error("{what} (pid {pid}) does not end, not even by SIGKILL: see 'ps -o stat,wchan {pid}'")]
    Immortal {
        /// What it is.
        what: &'static str,
        /// Its pid.
        pid: u32,
    },
    /// No such VM.
    #[error("there is no VM {name}: start it with 'provision up --name {name}'")]
    NoVm {
        /// The name.
        name: VmName,
    },
    /// No VM runs at all.
    #[error("no VM runs: start one with 'provision up'")]
    NoVmRuns,
    /// It does not run, but could have been meant.
    #[error("VM {name} does not run{}", .starting.then_some(" yet: another provision works on it").unwrap_or(": start it with 'provision up'"))]
    NotRunning {
        /// Its name.
        name: VmName,
        /// Whether it is being started.
        starting: bool,
    },
    /// Which of several is meant?
    #[error("several VMs {} ({}): say which with --name", if *.running { "run" } else { "are there" }, list(.names))]
    SeveralVms {
        /// Their names.
        names: Vec<VmName>,
        /// Whether they run.
        running: bool,
    },
    /// The micro guest.
    #[error("VM {name} has no SSH: it is the micro guest; the Debian guest has: 'provision up'")]
    NoSsh {
        /// Its name.
        name: VmName,
    },
    /// SSH failed.
    #[error("VM {name}: {source}")]
    Ssh {
        /// The VM's name.
        name: VmName,
        /// Why.
        source: SshError,
    },
    /// There is no shell.
    #[error(transparent)]
    SshClient(#[from] ClientError),
    /// A file did not get into the guest.
    #[error(transparent)]
    Deploy(DeployError),
    /// guest-reader did not get ready in the guest.
    #[error("guest-reader does not start in VM {name}: {said}")]
    GuestReader {
        /// The VM's name.
        name: VmName,
        /// The guest's words.
        said: String,
    },
    /// The load did not start, or did not stop, in the guest.
    #[error("the load in VM {name} fails: {said}")]
    GuestLoad {
        /// The VM's name.
        name: VmName,
        /// The guest's words.
        said: String,
    },
    /// The load was gone when it was to be stopped.
    #[error(
        "the load in VM {name} ended before the measurement did, whose results are not those of a loaded guest: {said}"
    )]
    GuestLoadEnded {
        /// The VM's name.
        name: VmName,
        /// The load's last words.
        said: String,
    },
    /// There is no host-writer.
    #[error("no host-writer at {}: build it with 'cargo build --release -p host-writer', or name it with --host-writer FILE", .path.display())]
    NoHostWriter {
        /// Where it was looked for.
        path: PathBuf,
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

// Ctrl-C is Ctrl-C, wherever it was noticed.
impl From<ImageError> for Error {
    fn from(e: ImageError) -> Self {
        match e {
            ImageError::Interrupted(interrupted) => interrupted.into(),
            other => Self::Image(other),
        }
    }
}

impl From<KernelError> for Error {
    fn from(e: KernelError) -> Self {
        match e {
            KernelError::Fetch(FetchError::Interrupted(interrupted))
            | KernelError::Modules(FetchError::Interrupted(interrupted)) => interrupted.into(),
            other => Self::Kernel(other),
        }
    }
}

impl From<DriverError> for Error {
    fn from(e: DriverError) -> Self {
        match e {
            DriverError::Interrupted(interrupted) => interrupted.into(),
            other => Self::Driver(other),
        }
    }
}

fn list(names: &[VmName]) -> String {
    names.iter().map(VmName::as_str).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// What SSH to a VM ended with; Ctrl-C stays what it is.
    pub fn ssh(name: &VmName) -> impl Fn(SshError) -> Self {
        move |source| match source {
            SshError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            source => Self::Ssh { name: name.clone(), source },
        }
    }

    /// What a deployment ended with; Ctrl-C stays what it is.
    pub fn deploy(error: DeployError) -> Self {
        match error {
            DeployError::Ssh { source: SshError::Interrupted(interrupted), .. } => {
                Self::Interrupted(interrupted)
            }
            error => Self::Deploy(error),
        }
    }

    /// Something the operating system refused.
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// What the command ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted(interrupted) => interrupted.exit_code(),
            // What clap exits with, too.
            Self::BadFlag { .. } | Self::OtherGuestsFlag { .. } | Self::Pin(_) => 2,
            Self::Out(MakeError::IsFile { .. }) => 2,
            Self::Region(RegionFileError::BadSize { .. }) | Self::HugePages(HugePageError::Size { .. }) => 2,
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
            Error::AlreadyUp { name: name.clone(), pid: 12, since: "2026-11-20T20:00:00Z".into() },
            Error::Busy { name: name.clone(), holder: Some(7) },
            Error::RegionTaken { shm_path: "/dev/shm/ivshmem".into(), vm: name.clone() },
            Error::ServerInUse {
                name: name.clone(),
                users: vec!["b".parse().unwrap(), "c".parse().unwrap()],
            },
            Error::NoServer { name: name.clone() },
            Error::NoIvshmem { qemu: "/usr/bin/qemu-system-x86_64".into(), device: "ivshmem-plain" },
            Error::DoorbellServer { said: "no room for 67108864 bytes".into() },
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
            Error::NoVm { name: name.clone() },
            Error::NoVmRuns,
            Error::NotRunning { name: name.clone(), starting: false },
            Error::NotRunning { name: name.clone(), starting: true },
            Error::SeveralVms { names: vec![name.clone(), "b".parse().unwrap()], running: true },
            Error::SeveralVms { names: vec![name.clone(), "b".parse().unwrap()], running: false },
            Error::PortTaken { port: 2222, said: "Could not set up host forwarding rule".into() },
            Error::NoCloudInit { said: "localhost login:".into() },
            Error::CloudInit { words: "('scripts_user', ...)".into(), said: "cloud-init[400]: no".into() },
            Error::NoDevice,
            Error::OtherImage { name: name.clone(), image: "Debian 12 (lean)".into() },
            Error::OtherDiskSize { name: name.clone(), is: Bytes(20 << 30), wanted: Bytes(30 << 30) },
            Error::KernelArgsUnused { flag: "--kernel-args", image: "Debian 12 generic".into() },
            Error::NoSsh { name: name.clone() },
            Error::Ssh { name: name.clone(), source: SshError::Refused { port: 2222 } },
            Error::GuestReader { name: name.clone(), said: "no device 1af4:1110".into() },
            Error::GuestLoad { name: name.clone(), said: "stress-ng is not in the guest".into() },
            Error::GuestLoadEnded { name, said: "out of memory".into() },
            Error::DeadServer { name: "micro".parse().unwrap() },
            Error::DriverRefused { name: "debian".parse().unwrap(), said: "Module is in use".into() },
            Error::NoHostWriter { path: "/usr/bin/host-writer".into() },
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"));
    }
}
