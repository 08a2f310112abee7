//! Being PID 1: in the micro guest this program is the whole userland.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// Whether this process is the init of its machine.
#[must_use]
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Mounts what the rest of the program reads: /proc, /sys with debugfs, and /dev.
///
/// # Errors
/// A mount that is indispensable fails; debugfs is not.
pub fn mount_all() -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        fs::create_dir_all(target).with_context(|| format!("create {target}"))?;
        // The kernel may have mounted /dev already; mounting again is harmless.
        mount(Some(kind), target, Some(kind), flags, None::<&str>)
            .with_context(|| format!("mount {kind} on {target}"))?;
    }
    // Only for reporting the memory type, which is "unknown" without it.
    let _ = mount(Some("debugfs"), "/sys/kernel/debug", Some("debugfs"), flags, None::<&str>);
    Ok(())
}

/// Switches the machine off: an init must not return.
pub fn power_off() -> ! {
    // The console is a serial port: what is still on its way would be lost.
    let _ = nix::sys::termios::tcdrain(std::io::stdout());
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    unreachable!("reboot(2) does not return to an init that may call it")
}

/// Writes one line to `port`; a port that cannot be written is reported on standard error, for there is nobody
/// else to tell.
pub fn tell(port: &Path, line: &str) {
    let one_line = line.replace(['\n', '\r'], " ");
    let written = OpenOptions::new().write(true).open(port).and_then(|mut p| writeln!(p, "{one_line}"));
    if let Err(error) = written {
        eprintln!("guest-reader: cannot write to {}: {error}", port.display());
    }
}
