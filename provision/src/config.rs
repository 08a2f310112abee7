//! What `up` is to do, checked once: from here on, types carry what was checked.

use std::path::PathBuf;
use std::time::Duration;

use ivshmem_proto::region_file;

use crate::Error;
use crate::accel::Asked;
use crate::cli::{Guest, UpArgs, UserDataMode};
use crate::doorbell::DoorbellRecord;
use crate::doorbell_server::{MEMFD, Shm};
use crate::hugepages::{self, HugePage, HugePageError, Place};
use crate::image::{self, ImageChoice};
use crate::name::VmName;
use crate::paths::state_root;
use crate::pin::CpuPin;
use crate::port::{self, SshPort};
use crate::qemu::args::kernel_command_line;
use crate::size::Bytes;
use crate::state::{VmDirectory, VmRecord};

/// Least memory the cloud kernel boots in with room for the guest's private copy of a 4K frame.
const MEMORY_BYTES_MIN: u64 = 128 << 20;
/// `COMMAND_LINE_SIZE` of x86 with its terminating zero (Linux, arch/x86/include/asm/setup.h). The kernel cuts
/// off what is longer, silently.
const COMMAND_LINE_BYTES_MAX: usize = 2047;

/// Memory of a guest unless the user says otherwise.
const MICRO_MEMORY_BYTES: u64 = 512 << 20;
const DEBIAN_MEMORY_BYTES: u64 = 2 << 30;
/// The disk of a Debian guest unless the user says otherwise.
const DISK_BYTES: u64 = 20 << 30;
/// How long until ready unless the user says otherwise. A Debian guest with an image of its own needs a minute under
/// TCG on a slow machine; a user's cloud-config may install packages.
const MICRO_TIMEOUT: Duration = Duration::from_secs(60);
const DEBIAN_TIMEOUT: Duration = Duration::from_secs(600);

/// A guest to start.
#[derive(Debug, Clone)]
pub struct UpConfig {
    /// The VM's name.
    pub name: VmName,
    /// The accelerator asked for.
    pub asked: Asked,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory_bytes: u64,
    /// The region's file, absolute, and its pages.
    pub region: Place,
    /// Its size: a power of two within the layout's limits, and at least one page.
    pub shm_bytes: u64,
    /// Interrupts of each peer, where the device has some; the region's path may be [`MEMFD`] then.
    pub doorbell_vectors: Option<u16>,
    /// The server to be a peer of, when it is another VM's.
    pub join: Option<DoorbellRecord>,
    /// Whether the guest has an IOMMU.
    pub viommu: bool,
    /// Where the vCPUs go.
    pub cpu_pin: CpuPin,
    /// The guest program the user named.
    pub guest_reader: Option<PathBuf>,
    /// QEMU, by name or path.
    pub qemu: PathBuf,
    /// How long until ready.
    pub timeout: Duration,
    /// The device climbed for KVM.
    pub kvm_device: PathBuf,
    /// What is particular to the guest.
    pub guest: GuestConfig,
}

/// What each kind of guest has for itself.
#[derive(Debug, Clone)]
pub enum GuestConfig {
    /// The micro guest.
    Micro {
        /// The kernel the user named.
        kernel: Option<PathBuf>,
        /// The kernel's command line, of a length the kernel takes.
        command_line: String,
    },
    /// The Debian guest.
    Debian(Box<DebianConfig>),
}

impl GuestConfig {
    /// The kind's name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Micro { .. } => Guest::Micro.as_str(),
            Self::Debian(_) => Guest::Debian.as_str(),
        }
    }
}

/// A Debian guest to start.
#[derive(Debug, Clone)]
pub struct DebianConfig {
    /// The image wanted.
    pub image: image::Wish,
    /// The disk's size, when the user says one.
    pub disk_bytes: Option<u64>,
    /// The user's cloud-config and what becomes of ours.
    pub user_data: Option<(PathBuf, UserDataMode)>,
    /// The host's port for SSH.
    pub ssh_port: SshPort,
    /// Whether to start over.
    pub fresh: bool,
    /// Whether to use and keep a snapshot.
    pub snapshot: bool,
    /// More for the kernel's command line.
    pub kernel_args: String,
}

impl DebianConfig {
    /// The size of a new disk.
    pub fn new_disk_bytes(&self) -> u64 {
        self.disk_bytes.unwrap_or(DISK_BYTES)
    }
}

impl TryFrom<UpArgs> for UpConfig {
    type Error = Error;

    fn try_from(args: UpArgs) -> Result<Self, Error> {
        let (memory_bytes, timeout) = match args.guest {
            Guest::Micro => (MICRO_MEMORY_BYTES, MICRO_TIMEOUT),
            Guest::Debian => (DEBIAN_MEMORY_BYTES, DEBIAN_TIMEOUT),
        };
        if let Some(flag) = flag_of_the_other_guest(&args) {
            return Err(Error::OtherGuestsFlag { flag, guest: args.guest.as_str() });
        }
        let memory = args.memory.unwrap_or(Bytes(memory_bytes));
        if memory.0 < MEMORY_BYTES_MIN {
            let why = format!("the guest needs at least {}", Bytes(MEMORY_BYTES_MIN));
            return Err(bad("--memory", &memory, &why));
        }
        let owner = args.join.as_ref().map(server_of).transpose()?;
        let (shm_bytes, vectors) = match &owner {
            Some((vm, doorbell)) => (vm.shm_bytes, doorbell.vectors),
            None => (args.shm_size.0, args.vectors),
        };
        region_file::check_size(shm_bytes)?;
        let absolute = |flag, path: &PathBuf, advice: &str| {
            std::path::absolute(path).map_err(|e| bad(flag, &path.display(), &format!("{e}; {advice}")))
        };
        let name =
            args.name.map_or_else(|| args.guest.as_str().parse(), Ok).map_err(|e| bad("--name", &"", &e))?;
        let region = match (&owner, args.shm) {
            (Some((vm, _)), _) => Place { path: vm.shm_path.clone(), page: vm.hugepages, mount_at: None },
            (None, Some(Shm::Memfd)) => memfd(args.doorbell, args.hugepages)?,
            (None, Some(Shm::File(path))) => {
                let path = absolute("--shm", &path, "name a file under /dev/shm")?;
                region(args.hugepages, Some(path), args.shm_size, &name)?
            }
            (None, None) => region(args.hugepages, None, args.shm_size, &name)?,
        };
        let guest = match args.guest {
            Guest::Micro => GuestConfig::Micro {
                command_line: command_line(
                    &args.micro.guest_args,
                    args.doorbell && args.micro.kernel.is_none(),
                    args.viommu,
                )?,
                kernel: args.micro.kernel,
            },
            Guest::Debian => {
                let debian = args.debian;
                let user_data = debian
                    .user_data
                    .map(|path| {
                        Ok::<_, Error>((
                            absolute("--user-data", &path, "name a file")?,
                            debian.user_data_mode,
                        ))
                    })
                    .transpose()?;
                let image = image::Wish {
                    choice: debian.image,
                    image_url: debian.image_url,
                    image_release: debian.image_release,
                    mirror: debian.mirror,
                    dev_tools: !debian.no_dev_tools,
                };
                check_kernel_args("--kernel-args", &debian.kernel_args)?;
                GuestConfig::Debian(Box::new(DebianConfig {
                    image,
                    disk_bytes: debian.disk.map(|bytes| bytes.0),
                    user_data,
                    ssh_port: debian.ssh_port,
                    fresh: debian.fresh,
                    // Of a VM whose device is not its server's first, QEMU saves none.
                    snapshot: !debian.no_snapshot && owner.is_none(),
                    kernel_args: debian.kernel_args,
                }))
            }
        };
        Ok(Self {
            name,
            asked: args.accel,
            vcpus: args.vcpus,
            memory_bytes: memory.0,
            region,
            shm_bytes,
            doorbell_vectors: args.doorbell.then_some(vectors),
            join: owner.map(|(_, doorbell)| doorbell),
            viommu: args.viommu,
            cpu_pin: args.cpu_pin,
            guest_reader: args.guest_reader,
            qemu: args.qemu,
            timeout: args.timeout.map_or(timeout, |seconds| Duration::from_secs(seconds.into())),
            kvm_device: args.kvm_device,
            guest,
        })
    }
}

/// A running VM and its server, as a VM that joins it will record it.
fn server_of(name: &VmName) -> Result<(VmRecord, DoorbellRecord), Error> {
    let vm = VmDirectory::new(&state_root()?, name).read_vm()?.filter(VmRecord::is_alive);
    let vm = vm.ok_or_else(|| Error::NoVm { name: name.clone() })?;
    let doorbell = vm.doorbell.clone().ok_or_else(|| Error::NoServer { name: name.clone() })?;
    // Whoever joins one that has itself joined is a guest of the same host.
    let joined = doorbell.joined.clone().or(Some(name.clone()));
    Ok((vm, DoorbellRecord { joined, ..doorbell }))
}

/// Memory without a file: only a server can hand it to both sides.
fn memfd(doorbell: bool, hugepages: Option<HugePage>) -> Result<Place, Error> {
    match (doorbell, hugepages) {
        (false, _) => {
            let why = "only a doorbell server can share memory without a file: add --doorbell, or name a file (./memfd)";
            Err(bad("--shm", &MEMFD, &why))
        }
        (true, Some(page)) => {
            let why =
                "memory without a file has ordinary pages: leave --shm out, or name a file on a hugetlbfs";
            Err(bad("--hugepages", &page, &why))
        }
        (true, None) => Ok(Place { path: MEMFD.into(), page: None, mount_at: None }),
    }
}

/// Where the region lies. A hugetlbfs of our own is mounted in the VM's directory, by root alone.
fn region(
    wanted: Option<HugePage>,
    shm: Option<PathBuf>,
    bytes: Bytes,
    name: &VmName,
) -> Result<Place, Error> {
    let is_root = rustix::process::geteuid().is_root();
    let mount_point = match wanted {
        Some(_) if is_root => Some(VmDirectory::new(&state_root()?, name).hugepages()),
        _ => None,
    };
    let mounts = if wanted.is_some() { hugepages::mounts() } else { Vec::new() };
    let place = hugepages::place(wanted, shm, name, &mounts, mount_point)?;
    match place.page {
        Some(page) if bytes.0 < page.bytes() => Err(HugePageError::Size { region: bytes, page }.into()),
        _ => Ok(place),
    }
}

/// A flag that would be without effect, because it is the other guest's.
fn flag_of_the_other_guest(args: &UpArgs) -> Option<&'static str> {
    let (debian, micro) = (&args.debian, &args.micro);
    let given: &[(bool, &'static str)] = match args.guest {
        Guest::Debian => {
            &[(micro.kernel.is_some(), "--kernel"), (!micro.guest_args.is_empty(), "--guest-args")]
        }
        Guest::Micro => &[
            (debian.image != ImageChoice::Auto, "--image"),
            (debian.mirror.is_some(), "--mirror"),
            (debian.no_dev_tools, "--no-dev-tools"),
            (debian.disk.is_some(), "--disk"),
            (debian.user_data.is_some(), "--user-data"),
            (debian.ssh_port != SshPort::Fixed(port::DEFAULT), "--ssh-port"),
            (debian.fresh, "--fresh"),
            (debian.no_snapshot, "--no-snapshot"),
            (!debian.kernel_args.is_empty(), "--kernel-args"),
        ],
    };
    given.iter().find_map(|&(is_given, flag)| is_given.then_some(flag))
}

fn check_kernel_args(flag: &'static str, text: &str) -> Result<(), Error> {
    let refuse = |why: String| Err(bad(flag, &format!("{text:?}"), &why));
    if let Some(odd) = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ')) {
        return refuse(format!("{odd:?} cannot pass through a kernel command line: use printable ASCII"));
    }
    if text.contains('"') {
        return refuse("the kernel takes quotes for its own: separate options by spaces".to_owned());
    }
    if text.len() > COMMAND_LINE_BYTES_MAX {
        let over = text.len() - COMMAND_LINE_BYTES_MAX;
        return refuse(format!("{over} characters more than a kernel command line holds"));
    }
    Ok(())
}

fn command_line(guest_args: &str, has_modules: bool, viommu: bool) -> Result<String, Error> {
    check_kernel_args("--guest-args", guest_args)?;
    let line = kernel_command_line(guest_args, has_modules, viommu);
    if line.len() > COMMAND_LINE_BYTES_MAX {
        let over = line.len() - COMMAND_LINE_BYTES_MAX;
        let why = format!("{over} characters more than a kernel command line holds");
        return Err(bad("--guest-args", &format!("{guest_args:?}"), &why));
    }
    Ok(line)
}

fn bad(flag: &'static str, value: &dyn ToString, why: &dyn ToString) -> Error {
    Error::BadFlag { flag, value: value.to_string(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn config(args: &[&str]) -> Result<UpConfig, Error> {
        let cli = Cli::try_parse_from(["provision", "up"].iter().chain(args)).unwrap();
        match cli.command {
            Command::Up(args) => (*args).try_into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_micro_guest_names_its_vm() {
        let config = config(&["--guest", "micro"]).unwrap();
        assert_eq!(config.name.as_str(), "micro");
        assert_eq!((config.vcpus, config.memory_bytes, config.shm_bytes), (1, 512 << 20, 64 << 20));
    }

    #[test]
    fn a_debian_guest_has_more_of_everything() {
        let config = config(&["--kernel-args", "intel_iommu=on", "--disk", "30G"]).unwrap();
        assert_eq!(config.name.as_str(), "debian");
        assert_eq!((config.memory_bytes, config.timeout), (2 << 30, Duration::from_secs(600)));
        let GuestConfig::Debian(debian) = config.guest else { panic!("{config:?}") };
        assert_eq!((debian.new_disk_bytes(), debian.kernel_args.as_str()), (30 << 30, "intel_iommu=on"));
        assert!(debian.snapshot && !debian.fresh && debian.image.dev_tools);
    }

    #[test]
    fn a_doorbell_has_vectors_and_perhaps_memory_without_a_file() {
        let plain = config(&["--guest", "micro"]).unwrap();
        assert_eq!((plain.doorbell_vectors, plain.viommu), (None, false));
        let memfd = config(&["--doorbell", "--viommu", "--shm", "memfd"]).unwrap();
        assert_eq!((memfd.doorbell_vectors, memfd.viommu), (Some(2), true));
        assert_eq!(memfd.region.path.as_os_str(), MEMFD);
    }

    #[test]
    fn paths_become_absolute() {
        let config = config(&["--guest", "micro", "--shm", "here"]).unwrap();
        assert_eq!(config.region.path, std::env::current_dir().unwrap().join("here"));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let micro = ["--guest", "micro"];
        let long = "x".repeat(2000);
        let cases: [&[&str]; 10] = [
            &["--fresh"],
            &["--memory", "64M"],
            &["--shm-size", "60M"],
            &["--hugepages", "--shm", "/dev/shm/ivshmem"],
            &["--hugepages", "1G", "--shm", "/dev/shm/ivshmem"],
            &["--shm", "memfd"],
            &["--shm", "memfd", "--doorbell", "--hugepages"],
            &["--guest-args", "--spin\tpause"],
            &["--guest-args", "--log \"a b\""],
            &["--guest-args", &long],
        ];
        let lines = cases
            .map(|extra| config(&[&micro, extra].concat()).unwrap_err().to_string().replace(&long, "xxx..."));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
