//! QEMU's arguments and the kernel's command line, as pure functions of what is wanted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::accel::Accelerator;
use crate::name::VmName;

/// Where the guest finds the port it reports to, after ` -- ` on the kernel's command line.
const READY_PORT_ARGUMENTS: &str = "--ready-port /dev/ttyS1";

/// What makes a Debian kernel use the IOMMU it has.
pub const IOMMU_ARGUMENT: &str = "intel_iommu=on";

/// The block node of a Debian guest's disk, which also holds its snapshot.
pub const DISK_NODE: &str = "disk";
/// The network of a Debian guest.
pub const NET: &str = "net0";
/// The hardware address of its card: QEMU's prefix, and the same in every VM, for each has a network of its own.
pub const MAC: &str = "52:54:00:12:34:56";
/// The virtio-serial port it reports to.
pub const READY_PORT: &str = "org.ivshmem.ready";

/// What seccomp takes from QEMU: after its start it needs no other program, no other user and no obsolete call.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// What both guests have in common.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// The VM's name, shown in process lists.
    pub name: &'a VmName,
    /// What runs the guest.
    pub accelerator: Accelerator,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory_bytes: u64,
    /// The region's file.
    pub shm_path: &'a Path,
    /// The region's size.
    pub shm_bytes: u64,
    /// The device through which the guest sees it.
    pub device: Device<'a>,
    /// Whether the guest has an IOMMU.
    pub viommu: bool,
    /// Where the first serial port is logged.
    pub serial_log: &'a Path,
    /// The second monitor's socket.
    pub qmp_socket: &'a Path,
    /// Whether QEMU confines itself with seccomp.
    pub sandbox: bool,
    /// What is particular to the guest.
    pub guest: GuestMachine<'a>,
}

/// The ivshmem device.
#[derive(Debug, Clone, Copy)]
pub enum Device<'a> {
    /// Memory.
    Plain,
    /// Memory and interrupts, both from a server: QEMU connects while it starts, and waits for what the server says.
    Doorbell {
        /// Where the server listens.
        socket: &'a Path,
        /// Interrupts of each peer.
        vectors: u16,
        /// Whether it is the first to join: a master has to be.
        is_first: bool,
    },
}

/// What each guest has for itself.
#[derive(Debug, Clone, Copy)]
pub enum GuestMachine<'a> {
    /// A kernel and an initramfs; see [`kernel_command_line`].
    Micro(Boot<'a>),
    /// A disk, a seed, a network, a virtio-serial port.
    Debian {
        /// The VM's disk, a qcow2.
        disk: &'a Path,
        /// The seed volume.
        seed: &'a Path,
        /// Kernel and initrd of an image without a boot loader.
        boot: Option<Boot<'a>>,
    },
}

/// A kernel that QEMU loads itself.
#[derive(Debug, Clone, Copy)]
pub struct Boot<'a> {
    /// The kernel image.
    pub kernel: &'a Path,
    /// Its initramfs.
    pub initrd: &'a Path,
    /// Its command line.
    pub append: &'a str,
}

/// QEMU's arguments. It expects the first monitor's socket as descriptor 0 and the READY channel's as
/// descriptor 1 (see [`super::process`]).
pub fn qemu(machine: &Machine<'_>) -> Vec<OsString> {
    let mut args = Args(Vec::new());
    args.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
    // The vCPUs wait until their threads are pinned.
    args.flag("-S");
    args.option("-display", "none");
    args.option("-name", machine.name.as_str());
    // pc (i440FX) and not q35: both boot the micro guest in the same time within the noise (medians of seven
    // 1.91 s and 2.00 s under TCG), and pc has fewer devices of its own that a measurement could meet. Only an
    // IOMMU needs q35, and under KVM an interrupt controller of which QEMU has the half that remaps.
    let chipset = match (machine.viommu, machine.accelerator) {
        (false, _) => "pc,usb=off",
        (true, Accelerator::Tcg) => "q35,usb=off",
        (true, Accelerator::Kvm) => "q35,usb=off,kernel-irqchip=split",
    };
    args.option("-machine", chipset);
    match machine.accelerator {
        Accelerator::Kvm => args.option("-accel", "kvm").option("-cpu", "host"),
        // Without ERMS: TCG runs `rep movsb` and `rep stosb` byte by byte, and where the feature is advertised the
        // kernel clears pages and copies to user space with them. (svm=off would spare Debian three seconds of
        // loading KVM, but with it mounts and fsync fail in the guest; QEMU 7.2.)
        Accelerator::Tcg => args.option("-accel", "tcg").option("-cpu", "max,erms=off,fsrm=off"),
    };
    args.option("-smp", machine.vcpus.to_string());
    args.option("-m", format!("size={}B", machine.memory_bytes));
    if machine.viommu {
        // Before all other devices: what is there already is not behind it.
        args.option("-device", "intel-iommu,intremap=on");
    }
    // `master=on` is what lets a VM with this device be saved and restored.
    match machine.device {
        Device::Plain => {
            args.with_path(
                "-object",
                &format!("memory-backend-file,id=region,share=on,size={}B,mem-path=", machine.shm_bytes),
                machine.shm_path,
            );
            args.option("-device", "ivshmem-plain,memdev=region,master=on")
        }
        Device::Doorbell { socket, vectors, is_first } => {
            args.with_path("-chardev", "socket,id=doorbell,path=", socket);
            let master = if is_first { "on" } else { "off" };
            let device = format!("ivshmem-doorbell,chardev=doorbell,vectors={vectors},master={master}");
            args.option("-device", device)
        }
    };
    args.with_path("-chardev", "file,id=console,path=", machine.serial_log);
    args.option("-serial", "chardev:console");
    args.option("-chardev", "socket,id=ready,fd=1");
    args.option("-chardev", "socket,id=starter,fd=0");
    args.option("-mon", "chardev=starter,mode=control");
    args.with_path("-chardev", "socket,id=monitor,server=on,wait=off,path=", machine.qmp_socket);
    args.option("-mon", "chardev=monitor,mode=control");
    match machine.guest {
        GuestMachine::Micro(boot) => args.option("-serial", "chardev:ready").boot(boot),
        GuestMachine::Debian { disk, seed, boot } => args.debian(disk, seed, boot),
    };
    if machine.sandbox {
        args.option("-sandbox", SANDBOX);
    }
    args.0
}

/// The micro guest's kernel command line; `guest_args` go to the guest program. `has_modules`: it may load some.
///
/// What is set, and why. Times are medians under TCG, two cores.
///
/// - `earlyprintk`: the decompressor writes to the serial port, so that the first byte tells that the guest runs
///   before the kernel proper says anything; costs nothing measurable.
/// - `quiet`: 30 KB of messages through an emulated UART cost 0.1 s, and two exits a byte under KVM.
/// - `panic=-1`, `reboot=t`: a guest that fails ends at once (with `-no-reboot` QEMU exits), without asking ACPI.
/// - `cryptomgr.notests`: self-tests of ciphers nobody uses here, 0.25 s.
/// - `noreplace-smp`: with one vCPU the kernel rewrites thousands of its `lock` prefixes, each of which voids
///   translated code, 0.17 s. Kernel code only: what the guest program executes is the same with and without.
/// - `nomodule`: nothing is there to load. With it the kernel refuses modules for good, so not where some are.
/// - `intel_iommu=on`, where there is one: Debian's kernel leaves it off otherwise.
///
/// Left alone because it could change what is measured: mitigations (they cost system calls and faults, not
/// loops over mapped memory, and users run with them), the clock source, C-states, `idle=`. `nokaslr` would save
/// 0.1 s, but only the decompressor knows the word: the kernel proper hands it on to the guest program as an
/// argument. Without effect here: `tsc=reliable`, `no_timer_check`, `i8042.*`, `random.trust_cpu=on`.
pub fn kernel_command_line(guest_args: &str, has_modules: bool, viommu: bool) -> String {
    let mut kernel =
        "console=ttyS0 earlyprintk=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests noreplace-smp".to_owned();
    if !has_modules {
        kernel.push_str(" nomodule");
    }
    if viommu {
        kernel.push(' ');
        kernel.push_str(IOMMU_ARGUMENT);
    }
    let guest = format!("{READY_PORT_ARGUMENTS} {}", guest_args.trim());
    format!("{kernel} -- {}", guest.trim_end())
}

/// The command line of a Debian kernel that is booted without its boot loader. `more` is the user's.
///
/// `earlyprintk` and the console show what happens from the first instruction on; a guest that panics ends. Nothing
/// about cloud-init: it finds the seed by its label, and told of it here it would do the work of its network stage
/// before there is a network.
pub fn debian_command_line(root: &str, more: &str) -> String {
    let ours = format!("root={root} ro console=ttyS0 earlyprintk=ttyS0 panic=-1");
    format!("{ours} {}", more.trim()).trim_end().to_owned()
}

struct Args(Vec<OsString>);

impl Args {
    fn boot(&mut self, boot: Boot<'_>) -> &mut Self {
        self.option("-kernel", boot.kernel).option("-initrd", boot.initrd).option("-append", boot.append)
    }

    fn debian(&mut self, disk: &Path, seed: &Path, boot: Option<Boot<'_>>) -> &mut Self {
        let block = |format: &str, node: &str, how: &str| {
            format!("driver={format},node-name={node},{how},file.driver=file,file.filename=")
        };
        self.with_path("-blockdev", &block("qcow2", DISK_NODE, "discard=unmap"), disk);
        // QEMU gives a kernel of ours the first place by itself.
        let first = if boot.is_none() { ",bootindex=0" } else { "" };
        self.option("-device", format!("virtio-blk-pci,drive={DISK_NODE}{first}"));
        self.with_path("-blockdev", &block("raw", "seed", "read-only=on"), seed);
        self.option("-device", "virtio-blk-pci,drive=seed");
        // The host's port is forwarded through the monitor, where a port that is taken is an answer and not the
        // end of QEMU. The guest's addresses are user-mode networking's own; they are in the seed, too.
        self.option("-netdev", format!("user,id={NET},ipv6=off"));
        self.option("-device", format!("virtio-net-pci,netdev={NET},mac={MAC},romfile="));
        self.option("-device", "virtio-serial-pci");
        self.option("-device", format!("virtserialport,chardev=ready,name={READY_PORT}"));
        self.option("-device", "virtio-rng-pci");
        match boot {
            Some(boot) => self.boot(boot),
            None => self,
        }
    }

    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.into());
        self
    }

    fn option(&mut self, option: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(option.into());
        self.0.push(value.as_ref().to_owned());
        self
    }

    /// An option whose value ends with a path. QEMU splits values at commas, and takes two for one.
    fn with_path(&mut self, option: &str, before: &str, path: &Path) -> &mut Self {
        let mut value = before.as_bytes().to_vec();
        for &byte in path.as_os_str().as_bytes() {
            value.push(byte);
            if byte == b',' {
                value.push(b',');
            }
        }
        self.option(option, OsString::from_vec(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(accelerator: Accelerator, shm_path: &str, sandbox: bool, guest: GuestMachine<'_>) -> String {
        lines_with(accelerator, shm_path, sandbox, guest, (Device::Plain, false))
    }

    fn lines_with(
        accelerator: Accelerator,
        shm_path: &str,
        sandbox: bool,
        guest: GuestMachine<'_>,
        (device, viommu): (Device<'_>, bool),
    ) -> String {
        let name = "vm".parse().unwrap();
        let machine = Machine {
            name: &name,
            accelerator,
            vcpus: 2,
            memory_bytes: 512 << 20,
            shm_path: Path::new(shm_path),
            shm_bytes: 64 << 20,
            device,
            viommu,
            serial_log: Path::new("/state/vm/serial.log"),
            qmp_socket: Path::new("/state/vm/qmp.sock"),
            sandbox,
            guest,
        };
        let args: Vec<String> = qemu(&machine).into_iter().map(|arg| arg.into_string().unwrap()).collect();
        args.join("\n")
            .replace("\n-", "\n\n-")
            .replace("\n\n-", "\u{0}-")
            .replace('\n', " ")
            .replace('\u{0}', "\n")
    }

    fn micro_machine() -> GuestMachine<'static> {
        GuestMachine::Micro(Boot {
            kernel: Path::new("/cache/vmlinuz"),
            initrd: Path::new("/state/vm/initramfs.cpio"),
            append: "console=ttyS0 -- --ready-port /dev/ttyS1",
        })
    }

    fn micro(accelerator: Accelerator, shm_path: &str, sandbox: bool) -> String {
        lines(accelerator, shm_path, sandbox, micro_machine())
    }

    fn doorbell(accelerator: Accelerator, viommu: bool) -> String {
        let device =
            Device::Doorbell { socket: Path::new("/state/a,b/doorbell.sock"), vectors: 2, is_first: true };
        lines_with(accelerator, "memfd", true, micro_machine(), (device, viommu))
    }

    #[test]
    fn a_doorbell_changes_the_device_and_where_its_memory_comes_from() {
        let (plain, doorbell) = (micro(Accelerator::Tcg, "memfd", true), doorbell(Accelerator::Tcg, false));
        let differ = |a: &str, b: &str| {
            a.lines().filter(|line| !b.lines().any(|other| other == *line)).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            differ(&doorbell, &plain),
            "-chardev socket,id=doorbell,path=/state/a,,b/doorbell.sock\n\
             -device ivshmem-doorbell,chardev=doorbell,vectors=2,master=on"
        );
        assert_eq!(
            differ(&plain, &doorbell),
            "-object memory-backend-file,id=region,share=on,size=67108864B,mem-path=memfd\n\
             -device ivshmem-plain,memdev=region,master=on"
        );
    }

    #[test]
    fn an_iommu_comes_before_all_devices_and_wants_a_machine_of_its_own() {
        let tcg = doorbell(Accelerator::Tcg, true);
        let first = tcg.lines().find(|line| line.starts_with("-device")).unwrap();
        assert_eq!(first, "-device intel-iommu,intremap=on");
        assert!(tcg.contains("\n-machine q35,usb=off\n"), "{tcg}");
        let kvm = doorbell(Accelerator::Kvm, true);
        assert!(kvm.contains("\n-machine q35,usb=off,kernel-irqchip=split\n"), "{kvm}");
    }

    fn debian(boot: Option<Boot<'_>>) -> String {
        let guest = GuestMachine::Debian {
            disk: Path::new("/state/vm/machine/disk.qcow2"),
            seed: Path::new("/state/a,b/seed.img"),
            boot,
        };
        lines(Accelerator::Tcg, "/dev/shm/ivshmem", true, guest)
    }

    #[test]
    fn the_arguments_of_a_debian_guest() {
        let boot = Boot {
            kernel: Path::new("/cache/vmlinuz"),
            initrd: Path::new("/cache/initrd.img"),
            append: &debian_command_line("LABEL=root", ""),
        };
        insta::assert_snapshot!(debian(Some(boot)));
    }

    #[test]
    fn an_image_with_a_boot_loader_is_given_no_kernel() {
        let args = debian(None);
        assert!(!args.contains("-kernel") && !args.contains("-append"), "{args}");
        assert!(
            args.contains("bootindex=0") && args.contains("file.filename=/state/a,,b/seed.img"),
            "{args}"
        );
    }

    #[test]
    fn the_users_kernel_arguments_come_last() {
        let line = debian_command_line("LABEL=root", " intel_iommu=on ");
        assert!(line.starts_with("root=LABEL=root ro ") && line.ends_with(" intel_iommu=on"), "{line}");
        assert_eq!(debian_command_line("LABEL=root", ""), line.replace(" intel_iommu=on", ""));
    }

    #[test]
    fn the_arguments_under_tcg() {
        insta::assert_snapshot!(micro(Accelerator::Tcg, "/dev/shm/ivshmem", true));
    }

    #[test]
    fn kvm_brings_the_hosts_cpu() {
        let kvm = micro(Accelerator::Kvm, "/dev/shm/ivshmem", true);
        assert!(kvm.contains("-accel kvm\n-cpu host\n"), "{kvm}");
    }

    #[test]
    fn without_the_sandbox_only_that_option_is_missing() {
        let with = micro(Accelerator::Tcg, "/dev/shm/ivshmem", true);
        let without = micro(Accelerator::Tcg, "/dev/shm/ivshmem", false);
        assert_eq!(with.replace(&format!("\n-sandbox {SANDBOX}"), ""), without);
    }

    #[test]
    fn a_comma_in_a_path_does_not_become_another_setting() {
        let args = micro(Accelerator::Tcg, "/dev/shm/a,size=1", true);
        assert!(args.contains("mem-path=/dev/shm/a,,size=1\n"), "{args}");
    }

    #[test]
    fn guest_arguments_follow_the_ready_port() {
        assert!(kernel_command_line("", false, false).ends_with(" -- --ready-port /dev/ttyS1"));
        let spins = kernel_command_line(" --spin pause ", true, true);
        assert!(spins.ends_with(" intel_iommu=on -- --ready-port /dev/ttyS1 --spin pause"), "{spins}");
    }

    #[test]
    fn a_guest_with_modules_may_load_them() {
        let (without, with) = (kernel_command_line("", false, false), kernel_command_line("", true, false));
        assert_eq!(without.replace(" nomodule", ""), with);
        assert_ne!(without, with);
    }
}
