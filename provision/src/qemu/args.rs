//! QEMU's arguments and the kernel's command line, as pure functions of what is wanted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::accel::Accelerator;
use crate::name::VmName;

/// Where the guest finds the port it reports to, after ` -- ` on the kernel's command line.
const READY_PORT_ARGUMENTS: &str = "--ready-port /dev/ttyS1";

/// What seccomp takes from QEMU: after its start it needs no other program, no other user and no obsolete call.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The micro guest's machine.
#[derive(Debug, Clone, Copy)]
pub struct MicroMachine<'a> {
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
    /// The kernel image.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initramfs: &'a Path,
    /// The kernel's command line; see [`kernel_command_line`].
    pub append: &'a str,
    /// Where the first serial port is logged.
    pub serial_log: &'a Path,
    /// The second monitor's socket.
    pub qmp_socket: &'a Path,
    /// Whether QEMU confines itself with seccomp.
    pub sandbox: bool,
}

/// QEMU's arguments. It expects the first monitor's socket as descriptor 0 and the READY channel's as
/// descriptor 1 (see [`super::process`]).
pub fn micro(machine: &MicroMachine<'_>) -> Vec<OsString> {
    let mut args = Args(Vec::new());
    args.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
    // The vCPUs wait until their threads are pinned.
    args.flag("-S");
    args.option("-display", "none");
    args.option("-name", machine.name.as_str());
    // pc (i440FX) and not q35: both boot the micro guest in the same time within the noise (medians of seven
    // 1.91 s and 2.00 s under TCG), and pc has fewer devices of its own that a measurement could meet. The micro
    // guest needs no PCI Express: ivshmem-plain has no interrupt.
    args.option("-machine", "pc,usb=off");
    match machine.accelerator {
        Accelerator::Kvm => args.option("-accel", "kvm").option("-cpu", "host"),
        // Without ERMS: TCG runs `rep movsb` and `rep stosb` byte by byte, and where the feature is advertised the
        // kernel clears pages and copies to user space with them.
        Accelerator::Tcg => args.option("-accel", "tcg").option("-cpu", "max,erms=off,fsrm=off"),
    };
    args.option("-smp", machine.vcpus.to_string());
    args.option("-m", format!("size={}B", machine.memory_bytes));
    args.with_path(
        "-object",
        &format!("memory-backend-file,id=region,share=on,size={}B,mem-path=", machine.shm_bytes),
        machine.shm_path,
    );
    // `master=on` is what lets a VM with this device be saved and restored.
    args.option("-device", "ivshmem-plain,memdev=region,master=on");
    args.with_path("-chardev", "file,id=console,path=", machine.serial_log);
    args.option("-serial", "chardev:console");
    args.option("-chardev", "socket,id=ready,fd=1");
    args.option("-serial", "chardev:ready");
    args.option("-chardev", "socket,id=starter,fd=0");
    args.option("-mon", "chardev=starter,mode=control");
    args.with_path("-chardev", "socket,id=monitor,server=on,wait=off,path=", machine.qmp_socket);
    args.option("-mon", "chardev=monitor,mode=control");
    args.option("-kernel", machine.kernel);
    args.option("-initrd", machine.initramfs);
    args.option("-append", machine.append);
    if machine.sandbox {
        args.option("-sandbox", SANDBOX);
    }
    args.0
}

/// The micro guest's kernel command line; `guest_args` go to the guest program.
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
/// - `nomodule`: nothing is there to load.
///
/// Left alone because it could change what is measured: mitigations (they cost system calls and faults, not
/// loops over mapped memory, and users run with them), the clock source, C-states, `idle=`. `nokaslr` would save
/// 0.1 s, but only the decompressor knows the word: the kernel proper hands it on to the guest program as an
/// argument. Without effect here: `tsc=reliable`, `no_timer_check`, `i8042.*`, `random.trust_cpu=on`.
pub fn kernel_command_line(guest_args: &str) -> String {
    let kernel =
        "console=ttyS0 earlyprintk=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests noreplace-smp nomodule";
    let guest = format!("{READY_PORT_ARGUMENTS} {}", guest_args.trim());
    format!("{kernel} -- {}", guest.trim_end())
}

struct Args(Vec<OsString>);

impl Args {
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

    fn lines(accelerator: Accelerator, shm_path: &str, sandbox: bool) -> String {
        let name = "micro".parse().unwrap();
        let machine = MicroMachine {
            name: &name,
            accelerator,
            vcpus: 2,
            memory_bytes: 512 << 20,
            shm_path: Path::new(shm_path),
            shm_bytes: 64 << 20,
            kernel: Path::new("/cache/vmlinuz"),
            initramfs: Path::new("/state/micro/initramfs.cpio"),
            append: "console=ttyS0 -- --ready-port /dev/ttyS1",
            serial_log: Path::new("/state/micro/serial.log"),
            qmp_socket: Path::new("/state/micro/qmp.sock"),
            sandbox,
        };
        let args: Vec<String> = micro(&machine).into_iter().map(|arg| arg.into_string().unwrap()).collect();
        args.join("\n")
            .replace("\n-", "\n\n-")
            .replace("\n\n-", "\u{0}-")
            .replace('\n', " ")
            .replace('\u{0}', "\n")
    }

    #[test]
    fn the_arguments_under_tcg() {
        insta::assert_snapshot!(lines(Accelerator::Tcg, "/dev/shm/ivshmem", true));
    }

    #[test]
    fn kvm_brings_the_hosts_cpu() {
        let kvm = lines(Accelerator::Kvm, "/dev/shm/ivshmem", true);
        assert!(kvm.contains("-accel kvm\n-cpu host\n"), "{kvm}");
    }

    #[test]
    fn without_the_sandbox_only_that_option_is_missing() {
        let with = lines(Accelerator::Tcg, "/dev/shm/ivshmem", true);
        let without = lines(Accelerator::Tcg, "/dev/shm/ivshmem", false);
        assert_eq!(with.replace(&format!("\n-sandbox {SANDBOX}"), ""), without);
    }

    #[test]
    fn a_comma_in_a_path_does_not_become_another_setting() {
        let args = lines(Accelerator::Tcg, "/dev/shm/a,size=1", true);
        assert!(args.contains("mem-path=/dev/shm/a,,size=1\n"), "{args}");
    }

    #[test]
    fn guest_arguments_follow_the_ready_port() {
        assert!(kernel_command_line("").ends_with(" -- --ready-port /dev/ttyS1"));
        assert!(kernel_command_line(" --spin pause ").ends_with(" -- --ready-port /dev/ttyS1 --spin pause"));
    }
}
