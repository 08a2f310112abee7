//! What `up` is to do, checked once: from here on, types carry what was checked.

use std::path::PathBuf;
use std::time::Duration;

use ivshmem_proto::region_file;

use crate::Error;
use crate::accel::Asked;
use crate::cli::{Guest, UpArgs};
use crate::name::VmName;
use crate::pin::CpuPin;
use crate::qemu::args::kernel_command_line;
use crate::size::Bytes;

/// Least memory the cloud kernel boots in with room for the guest's private copy of a 4K frame.
const MEMORY_BYTES_MIN: u64 = 128 << 20;
/// `COMMAND_LINE_SIZE` of x86 with its terminating zero (Linux, arch/x86/include/asm/setup.h). The kernel cuts
/// off what is longer, silently.
const COMMAND_LINE_BYTES_MAX: usize = 2047;

/// A micro guest to start.
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
    /// The region's file, absolute.
    pub shm_path: PathBuf,
    /// Its size: a power of two within the layout's limits.
    pub shm_bytes: u64,
    /// The kernel the user named.
    pub kernel: Option<PathBuf>,
    /// Where the vCPUs go.
    pub cpu_pin: CpuPin,
    /// The kernel's command line, of a length the kernel takes.
    pub command_line: String,
    /// The guest program the user named.
    pub guest_reader: Option<PathBuf>,
    /// QEMU, by name or path.
    pub qemu: PathBuf,
    /// How long until ready.
    pub timeout: Duration,
    /// The device climbed for KVM.
    pub kvm_device: PathBuf,
}

impl TryFrom<UpArgs> for UpConfig {
    type Error = Error;

    fn try_from(args: UpArgs) -> Result<Self, Error> {
        if args.guest == Guest::Debian {
            return Err(Error::NoDebianYet);
        }
        if args.memory.0 < MEMORY_BYTES_MIN {
            let why = format!("the micro guest needs at least {}", Bytes(MEMORY_BYTES_MIN));
            return Err(bad("--memory", &args.memory, &why));
        }
        region_file::check_size(args.shm_size.0)?;
        let shm_path = std::path::absolute(&args.shm)
            .map_err(|e| bad("--shm", &args.shm.display(), &format!("{e}; name a file under /dev/shm")))?;
        Ok(Self {
            name: args
                .name
                .map_or_else(|| args.guest.as_str().parse(), Ok)
                .map_err(|e| bad("--name", &"", &e))?,
            asked: args.accel,
            vcpus: args.vcpus,
            memory_bytes: args.memory.0,
            shm_path,
            shm_bytes: args.shm_size.0,
            kernel: args.kernel,
            cpu_pin: args.cpu_pin,
            command_line: command_line(&args.guest_args)?,
            guest_reader: args.guest_reader,
            qemu: args.qemu,
            timeout: Duration::from_secs(args.timeout.into()),
            kvm_device: args.kvm_device,
        })
    }
}

fn command_line(guest_args: &str) -> Result<String, Error> {
    let refuse = |why: String| Err(bad("--guest-args", &format!("{guest_args:?}"), &why));
    if let Some(odd) = guest_args.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ')) {
        return refuse(format!("{odd:?} cannot pass through a kernel command line: use printable ASCII"));
    }
    if guest_args.contains('"') {
        return refuse("the kernel takes quotes for its own: separate options by spaces".to_owned());
    }
    let line = kernel_command_line(guest_args);
    if line.len() > COMMAND_LINE_BYTES_MAX {
        let over = line.len() - COMMAND_LINE_BYTES_MAX;
        return refuse(format!("{over} characters more than a kernel command line holds"));
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
            Command::Up(args) => args.try_into(),
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
    fn paths_become_absolute() {
        let config = config(&["--guest", "micro", "--shm", "here"]).unwrap();
        assert_eq!(config.shm_path, std::env::current_dir().unwrap().join("here"));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let micro = ["--guest", "micro"];
        let long = "x".repeat(2000);
        let cases: [&[&str]; 6] = [
            &[],
            &["--memory", "64M"],
            &["--shm-size", "60M"],
            &["--guest-args", "--spin\tpause"],
            &["--guest-args", "--log \"a b\""],
            &["--guest-args", &long],
        ];
        let lines = cases.map(|extra| {
            let guest: &[&str] = if extra.is_empty() { &[] } else { &micro };
            config(&[guest, extra].concat()).unwrap_err().to_string().replace(&long, "xxx...")
        });
        insta::assert_snapshot!(lines.join("\n"));
    }
}
