//! The command line. Values are parsed into their types here; what they mean together is checked in
//! [`crate::config`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::accel::Asked;
use crate::kernel;
use crate::name::VmName;
use crate::pin::CpuPin;
use crate::qemu::binary;
use crate::size::Bytes;

const EXIT_CODES: &str = "\
Exit codes:
  0    done (status: the VM runs; down: it is down, also when it was before)
  1    failed, and one line on standard error says why and what to do
  2    the command line makes no sense
  3    status: the VM does not run
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP); nothing is left behind

State is kept in $IVSHMEM_STATE_DIR (default ~/.local/state/ivshmem), kernels in
$IVSHMEM_CACHE_DIR (default ~/.cache/ivshmem).";

const UP_EXAMPLES: &str = "\
Examples:
  provision up --guest micro                              a VM on /dev/shm/ivshmem
  provision up --guest micro --accel tcg                  never KVM
  provision up --guest micro --name b --shm /dev/shm/b    a second VM beside it
  provision up --guest micro --guest-args '--spin pause'  options for guest-reader
  provision up --guest micro --json > vm.json             the VM's record";

/// Start, inspect and stop the VM whose shared memory is measured.
#[derive(Debug, Parser)]
#[command(name = "provision", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a VM with an ivshmem device and wait until its guest is ready.
    #[command(after_help = UP_EXAMPLES)]
    Up(UpArgs),
    /// Tell whether the VM runs, on what, and since when.
    Status(StatusArgs),
    /// Stop the VM and remove what up created. Fine to repeat.
    Down(NameArgs),
    /// Print what the guest wrote to its serial console.
    Console(ConsoleArgs),
}

/// The kinds of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Guest {
    /// Debian 12 with cloud-init (not available yet).
    Debian,
    /// A Debian cloud kernel and one static program: ready in seconds, no network, no disk.
    Micro,
}

impl Guest {
    /// Its name, which is also the default name of a VM.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Micro => "micro",
        }
    }
}

/// What `up` takes.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The kind of guest.
    #[arg(long, value_enum, default_value = "debian")]
    pub guest: Guest,
    /// The VM's name [default: the kind of guest].
    #[arg(long)]
    pub name: Option<VmName>,
    /// What runs the guest: auto takes KVM where it proves real, and TCG otherwise.
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Asked,
    /// Virtual CPUs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub vcpus: u32,
    /// Guest memory, without the region.
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub memory: Bytes,
    /// The file that both sides map; created if absent, and then removed by down.
    #[arg(long, value_name = "PATH", default_value = "/dev/shm/ivshmem")]
    pub shm: PathBuf,
    /// Its size, a power of two.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub shm_size: Bytes,
    /// Kernel to boot.
    #[arg(long, value_name = "FILE", help = format!("Kernel to boot [default: Debian's {}, fetched once]", kernel::PACKAGE))]
    pub kernel: Option<PathBuf>,
    /// Host CPUs for the vCPUs: auto leaves the first to the host's tool; or none; or a list such as 1,3-5.
    #[arg(long, value_name = "auto|none|LIST", default_value = "auto")]
    pub cpu_pin: CpuPin,
    /// Options for guest-reader in the guest, separated by spaces.
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub guest_args: String,
    /// The static guest-reader [default: $IVSHMEM_GUEST_READER, else beside this program].
    #[arg(long, value_name = "FILE")]
    pub guest_reader: Option<PathBuf>,
    /// QEMU, by name or path.
    #[arg(long, value_name = "PATH", default_value = binary::DEFAULT)]
    pub qemu: PathBuf,
    /// Seconds until the guest must be ready, counted from QEMU's start.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub timeout: u32,
    /// Print nothing but errors (and the record, with --json).
    #[arg(long)]
    pub quiet: bool,
    /// Print the VM's record, vm.json, instead of the summary.
    #[arg(long)]
    pub json: bool,
    /// The device climbed for KVM: lets tests offer an absent, forbidden or lying one.
    #[arg(long, value_name = "PATH", default_value = "/dev/kvm", hide = true)]
    pub kvm_device: PathBuf,
}

/// Which VM is meant.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The VM's name.
    #[arg(long, default_value = "micro")]
    pub name: VmName,
}

/// What `status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which VM.
    #[command(flatten)]
    pub name: NameArgs,
    /// Print name, state and the VM's record as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `console` takes.
#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// Which VM.
    #[command(flatten)]
    pub name: NameArgs,
    /// Go on printing until the VM ends or Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,
}
