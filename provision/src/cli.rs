//! The command line. Values are parsed into their types here; what they mean together is checked in
//! [`crate::config`].

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ivshmem_proto::server_wire::VECTORS_MAX;
use serde::{Deserialize, Serialize};

use crate::accel::Asked;
use crate::doorbell_server::{MEMFD, Shm};
use crate::driver::{DriverError, check_release};
use crate::guest_load::GuestLoad;
use crate::hugepages::HugePage;
use crate::image::{self, ImageChoice};
use crate::kernel;
use crate::name::VmName;
use crate::pin::CpuPin;
use crate::port::SshPort;
use crate::qemu::binary;
use crate::size::Bytes;

const EXIT_CODES: &str = "\
Exit codes:
  0    done (status: the VM runs; down: it is down, also when it was before; check: the main job can run)
  1    failed, and one line on standard error says why and what to do
  2    the command line makes no sense
  3    status: the VM does not run; check: the main job cannot run
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP); nothing is left behind
  ssh -- COMMAND and run end with the command's own code.
  doorbell-server ends with 0 when a signal stops it.

State is kept in $IVSHMEM_STATE_DIR (default ~/.local/state/ivshmem), kernels and images in
$IVSHMEM_CACHE_DIR (default ~/.cache/ivshmem).";

const UP_EXAMPLES: &str = "\
Examples:
  provision up                                            Debian 12 with cloud-init and SSH
  provision up --image mirror --no-dev-tools              a lean image, built from the package mirror
  provision up --user-data my.yaml                        with your own cloud-config merged in
  provision up --name b --shm /dev/shm/b --ssh-port auto  a second VM beside it
  provision up --hugepages                                the region in huge pages of 2 MiB
  provision up --hugepages 1G --shm-size 1G               or of 1 GiB
  provision up --doorbell                                 interrupts, and the server they need
  provision up --doorbell --shm memfd --viommu            sealed memory, and an IOMMU for vfio-pci
  provision up --guest micro                              a kernel and guest-reader, ready in seconds
  provision up --guest micro --guest-args '--spin pause'  options for guest-reader
  provision up --accel tcg --json > vm.json               never KVM; the VM's record";

const SSH_EXAMPLES: &str = "\
Examples:
  provision ssh                          a shell in the guest
  provision ssh -- uname -a              one command, with its exit code
  provision ssh -- 'sudo tee /x' < file  its standard input is yours";

const DEPLOY_EXAMPLES: &str = "\
Examples:
  provision deploy                       guest-reader, to /usr/local/bin
  provision deploy driver.ko /tmp/a.ko   any file
  provision deploy tool                  to the home directory of user debian
  provision deploy --driver              ivshmem_uio, built for the guest's kernel and loaded";

const DRIVER_EXAMPLES: &str = "\
Examples:
  provision driver                                        for the micro guest's kernel
  provision driver --kernel-release 6.1.0-28-amd64 --out .  for another, to ./ivshmem_uio.ko";

const RUN_EXAMPLES: &str = "\
Examples:
  provision run --out results/mine
  provision run --out results/4k -- --frames 4k --messages 0
  provision run --guest-args '--spin pause' -- --messages 10000
  provision run --guest-load cpu=2,memory=1 --out results/loaded";

const DOORBELL_SERVER_EXAMPLES: &str = "\
Examples:
  provision doorbell-server --socket /tmp/bell.sock
  provision doorbell-server --socket /tmp/bell.sock --shm /dev/shm/ivshmem --vectors 4
For each QEMU, with as many vectors as the server:
  qemu-system-x86_64 ... -chardev socket,id=doorbell,path=/tmp/bell.sock \\
    -device ivshmem-doorbell,chardev=doorbell,vectors=2";

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
    Up(Box<UpArgs>),
    /// Stop the VM and remove what up created but its disk. Fine to repeat.
    Down(DownArgs),
    /// Tell whether the VM runs, on what, and since when.
    Status(StatusArgs),
    /// List all VMs.
    List(ListArgs),
    /// Open a shell in the guest, or run one command there.
    #[command(after_help = SSH_EXAMPLES)]
    Ssh(SshArgs),
    /// Copy guest-reader, or any file, into the guest: whole and checked, or not at all.
    #[command(after_help = DEPLOY_EXAMPLES)]
    Deploy(DeployArgs),
    /// Build the guest's kernel driver ivshmem_uio, which brings interrupts, and print where it is.
    #[command(after_help = DRIVER_EXAMPLES)]
    Driver(DriverArgs),
    /// Measure: start guest-reader in the guest and host-writer here, and fetch the guest's log.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Print what the guest wrote to its serial console.
    Console(ConsoleArgs),
    /// Tell what this machine can do for the main job, and how to mend what it cannot.
    Check(CheckArgs),
    /// Show what the cache holds, and remove what no VM needs.
    Clean(CleanArgs),
    /// Serve ivshmem-doorbell devices of any QEMU: shared memory, and interrupts from peer to peer.
    #[command(after_help = DOORBELL_SERVER_EXAMPLES)]
    DoorbellServer(DoorbellServerArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the man pages into a directory.
    Man(ManArgs),
}

/// Vectors of a peer unless the user says otherwise.
const DEFAULT_VECTORS: u16 = 2;

fn vectors() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=i64::from(VECTORS_MAX))
}

/// The kinds of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Guest {
    /// Debian 12 with cloud-init and SSH.
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

/// What becomes of ours when the user brings a cloud-config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserDataMode {
    /// The user's settings are added to ours, and win where both say something.
    Merge,
    /// Only the user's settings, and what READY needs: the host key, the login key, the report to the host.
    Replace,
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
    /// Guest memory, without the region; in sizes K, M and G stand for KiB, MiB and GiB [default: 2G, micro 512M].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// The file that both sides map; created if absent, and then removed by down [default: /dev/shm/ivshmem; with
    /// --hugepages ivshmem-NAME in /dev/hugepages, or wherever such pages are mounted]. With --doorbell also memfd:
    /// sealed memory that only those get who join the server.
    #[arg(long, value_name = "PATH|memfd")]
    pub shm: Option<Shm>,
    /// Its size, a power of two; K, M and G stand for KiB, MiB and GiB.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub shm_size: Bytes,
    /// Put the region into huge pages, of 2 MiB unless said otherwise; they have to be reserved.
    #[arg(long, value_enum, value_name = "2M|1G", num_args = 0..=1, default_missing_value = "2M")]
    pub hugepages: Option<HugePage>,
    /// Give the device interrupts (ivshmem-doorbell), and start the server they need; down ends it.
    #[arg(long)]
    pub doorbell: bool,
    /// Interrupts of each peer.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_VECTORS, requires = "doorbell", value_parser = vectors())]
    pub vectors: u16,
    /// Be one more peer of another VM's server: the same region, and interrupts from guest to guest. Its region and its number of
    /// vectors are this VM's, too, and it cannot go down before this one has.
    #[arg(long, value_name = "VM", requires = "doorbell", conflicts_with_all = ["shm", "shm_size", "hugepages", "vectors"])]
    pub join: Option<VmName>,
    /// Give the guest an IOMMU, so that vfio-pci can pass the device's interrupts to a program; the machine is q35 then.
    #[arg(long, requires = "doorbell")]
    pub viommu: bool,
    /// Host CPUs for the vCPUs: auto leaves the first to the host's tool; or none; or a list such as 1,3-5.
    #[arg(long, value_name = "auto|none|LIST", default_value = "auto")]
    pub cpu_pin: CpuPin,
    /// The static guest-reader [default: $IVSHMEM_GUEST_READER, else beside this program].
    #[arg(long, value_name = "FILE")]
    pub guest_reader: Option<PathBuf>,
    /// QEMU, by name or path.
    #[arg(long, value_name = "PATH", default_value = binary::DEFAULT)]
    pub qemu: PathBuf,
    /// Seconds until the guest must be ready, counted from QEMU's start [default: 600, micro 60].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub timeout: Option<u32>,
    /// Print nothing but errors (and the record, with --json).
    #[arg(short, long)]
    pub quiet: bool,
    /// Print the VM's record, vm.json, instead of the summary.
    #[arg(long)]
    pub json: bool,
    /// What only the Debian guest has.
    #[command(flatten)]
    pub debian: DebianArgs,
    /// What only the micro guest has.
    #[command(flatten)]
    pub micro: MicroArgs,
    /// The device climbed for KVM: lets tests offer an absent, forbidden or lying one.
    #[arg(long, value_name = "PATH", default_value = "/dev/kvm", hide = true)]
    pub kvm_device: PathBuf,
}

/// Flags of the Debian guest.
#[derive(Debug, Args)]
#[command(next_help_heading = "Debian guest")]
pub struct DebianArgs {
    /// The disk it starts from: auto takes what is cached, else Debian's own, else builds one.
    #[arg(long, value_name = "auto|mirror|official|FILE", default_value = "auto")]
    pub image: ImageChoice,
    /// Where Debian's cloud images are, or a copy of them.
    #[arg(long, value_name = "URL", default_value = image::OFFICIAL_URL)]
    pub image_url: String,
    /// Which of Debian's images: latest, or the date of one such as 20250530-2128.
    #[arg(long, value_name = "RELEASE", default_value = "latest")]
    pub image_release: String,
    /// The Debian package mirror an image is built from [default: this machine's own].
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Build the image without compilers and kernel headers.
    #[arg(long)]
    pub no_dev_tools: bool,
    /// Size of the VM's disk, which takes only what is written [default: 20G].
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<Bytes>,
    /// A cloud-config of yours (YAML).
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// What becomes of ours then.
    #[arg(long, value_enum, default_value = "merge", requires = "user_data")]
    pub user_data_mode: UserDataMode,
    /// Host port, on 127.0.0.1, that leads to the guest's SSH; auto takes another when it is taken.
    #[arg(long, value_name = "PORT|auto", default_value = "2222")]
    pub ssh_port: SshPort,
    /// Start over: a new disk and a cold boot. What the VM had written is lost.
    #[arg(long)]
    pub fresh: bool,
    /// Boot the disk as it was left, and keep no snapshot.
    #[arg(long, conflicts_with = "fresh")]
    pub no_snapshot: bool,
    /// More for the kernel's command line, for an image that is booted by its own kernel.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub kernel_args: String,
}

/// Flags of the micro guest.
#[derive(Debug, Args)]
#[command(next_help_heading = "Micro guest")]
pub struct MicroArgs {
    /// Kernel to boot.
    #[arg(long, value_name = "FILE", help = format!("Kernel to boot [default: Debian's {}, fetched once]", kernel::PACKAGE))]
    pub kernel: Option<PathBuf>,
    /// Options for guest-reader in the guest, separated by spaces; in a Debian guest they go to 'provision run'.
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub guest_args: String,
}

/// Which VM is meant.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The VM's name [default: the only one there is].
    #[arg(long)]
    pub name: Option<VmName>,
}

/// What `down` takes.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Which VM.
    #[command(flatten)]
    pub name: NameArgs,
    /// Remove the VM's disk, snapshot and keys, too.
    #[arg(long)]
    pub destroy: bool,
    /// Seconds the guest may take to power off before it is killed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub timeout: u32,
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

/// What `list` takes.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print the list as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `ssh` takes.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// Which VM.
    #[command(flatten)]
    pub name: NameArgs,
    /// The command, as the guest's shell reads it; none for a shell of your own.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What `deploy` takes.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Which VM.
    #[command(flatten)]
    pub name: NameArgs,
    /// The file [default: guest-reader].
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where it goes in the guest [default: the home directory; guest-reader: /usr/local/bin/guest-reader].
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
    /// The static guest-reader [default: $IVSHMEM_GUEST_READER, else beside this program].
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub guest_reader: Option<PathBuf>,
    /// Build the kernel driver ivshmem_uio for the guest's kernel, put it there, and load it.
    #[arg(long, conflicts_with_all = ["file", "guest_reader"])]
    pub driver: bool,
}

/// What `driver` takes.
#[derive(Debug, Args)]
pub struct DriverArgs {
    /// The kernel, as 'uname -r' prints it in the guest [default: the micro guest's].
    #[arg(long, value_name = "RELEASE", value_parser = kernel_release)]
    pub kernel_release: Option<String>,
    /// A directory to put a copy into; it is created.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

fn kernel_release(text: &str) -> Result<String, DriverError> {
    check_release(text).map(|()| text.to_owned())
}

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which VM.
    #[command(flatten)]
    pub name: NameArgs,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Options for guest-reader in the guest, separated by spaces.
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub guest_args: String,
    /// Load the Debian guest meanwhile: numbers of stress-ng's workers that compute, stream through memory, write.
    #[arg(long, value_name = "cpu=N,memory=N,io=N")]
    pub guest_load: Option<GuestLoad>,
    /// host-writer [default: beside this program].
    #[arg(long, value_name = "FILE")]
    pub host_writer: Option<PathBuf>,
    /// Options for host-writer.
    #[arg(last = true, value_name = "HOST-WRITER OPTIONS")]
    pub host_writer_args: Vec<String>,
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

/// What `check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// QEMU, by name or path.
    #[arg(long, value_name = "PATH", default_value = binary::DEFAULT)]
    pub qemu: PathBuf,
    /// The device climbed for KVM: lets tests offer an absent, forbidden or lying one.
    #[arg(long, value_name = "PATH", default_value = "/dev/kvm", hide = true)]
    pub kvm_device: PathBuf,
}

/// What `clean` takes.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Only show what is there and what would go.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print what was found and what went as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// What `doorbell-server` takes.
#[derive(Debug, Args)]
pub struct DoorbellServerArgs {
    /// Where it listens; removed at the end.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// What peers share: a region file, created if absent and then removed at the end, or sealed memory without a file.
    #[arg(long, value_name = "PATH|memfd", default_value = MEMFD)]
    pub shm: Shm,
    /// Its size, a power of two; K, M and G stand for KiB, MiB and GiB.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub size: Bytes,
    /// Interrupts of each peer: what the devices are given as vectors.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_VECTORS, value_parser = vectors())]
    pub vectors: u16,
    /// Most peers at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_peers: u32,
    /// Print what happens as JSON, one object a line, on standard output.
    #[arg(long)]
    pub json: bool,
}

/// What `man` takes.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory; it is created.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}
