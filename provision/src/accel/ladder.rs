//! The climb: the device opens, it speaks KVM's API, and a tiny guest makes believable progress on it. QEMU adds
//! the last two rungs when it starts (it survives; the kernel's first serial byte comes).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use kvm_ioctls::{Kvm, VmFd};
use nix::errno::Errno;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;
use signal_hook::consts::SIGUSR1;

use super::Rung;
use super::tiny_guest::{Measured, TinyGuest};

/// The only version of KVM's API there has been since Linux 2.6.22 (Documentation/virt/kvm/api.rst).
const KVM_API_VERSION: i32 = 12;

/// Slowest instruction rate still believed to be hardware.
///
/// The guest loops over `dec; jnz`. A processor retires well over 1e9 of these a second, also in a nested VM, for
/// they need no exit; an emulating KVM manages about 2e6. 1e8 lies a factor of ten or more from both, so neither a
/// throttled processor nor a quick emulator is misjudged.
pub const BELIEVABLE_INSTRUCTIONS_PER_SECOND: f64 = 1e8;

/// How long the tiny guest may compute before it is kicked out: hardware needs 5 ms for the whole count.
const GUEST_BUDGET: Duration = Duration::from_millis(20);

/// A kick interrupts KVM_RUN only when it arrives inside it, so kicks repeat until the guest is out.
const KICK_INTERVAL: Duration = Duration::from_millis(2);

/// A KVM_RUN that ignores kicks for this long never returns.
const STUCK_AFTER: Duration = Duration::from_millis(250);

/// The rungs climbed, up to the first that broke.
#[derive(Debug)]
pub struct Climb {
    /// In order.
    pub rungs: Vec<Rung>,
    /// What the tiny guest measured.
    pub measured: Option<Measured>,
    /// Wall time of the climb.
    pub cost: Duration,
}

/// Climbs as far as `device` (normally `/dev/kvm`) allows. Takes well under half a second, whatever it is.
pub fn climb(device: &Path) -> Climb {
    let begin = Instant::now();
    let mut rungs = Vec::new();
    let mut measured = None;
    let mut attempt = || -> Result<(), Rung> {
        let kvm =
            open(device).inspect(|_| rungs.push(Rung::passed(OPEN, "opens for reading and writing")))?;
        let vm = speaks_kvm(&kvm, device)?;
        rungs.push(Rung::passed(IOCTLS, format!("API version {KVM_API_VERSION}, a VM was created")));
        let result = run_bounded(vm)?;
        measured = Some(result);
        rungs.push(judge(result, device)?);
        Ok(())
    };
    if let Err(broken) = attempt() {
        rungs.push(broken);
    }
    Climb { rungs, measured, cost: begin.elapsed() }
}

const OPEN: &str = "open the KVM device";
const IOCTLS: &str = "KVM ioctls";
const RATE: &str = "instruction rate";

fn open(device: &Path) -> Result<Kvm, Rung> {
    let shown = device.display();
    let path = CString::new(device.as_os_str().as_bytes())
        .map_err(|_| Rung::failed(OPEN, format!("{shown} is not a path")))?;
    Kvm::new_with_path(path).map_err(|errno| {
        let detail = match Errno::from_raw(errno.errno()) {
            Errno::ENOENT => format!(
                "{shown} is absent: virtualisation is off in the firmware, the kvm module is not loaded, or this \
                 is a VM without nesting"
            ),
            Errno::EACCES | Errno::EPERM => format!(
                "{shown} is forbidden to this user: join its group with 'sudo usermod -aG kvm $USER' and log in \
                 again"
            ),
            other => format!("{shown} does not open: {}", other.desc()),
        };
        Rung::failed(OPEN, detail)
    })
}

fn speaks_kvm(kvm: &Kvm, device: &Path) -> Result<VmFd, Rung> {
    let version = kvm.get_api_version();
    if version != KVM_API_VERSION {
        let detail = if version < 0 {
            format!("{} is not a KVM device: it does not know KVM_GET_API_VERSION", device.display())
        } else {
            format!("{} speaks KVM API version {version}, not {KVM_API_VERSION}", device.display())
        };
        return Err(Rung::failed(IOCTLS, detail));
    }
    kvm.create_vm().map_err(|e| Rung::failed(IOCTLS, format!("{} creates no VM: {e}", device.display())))
}

/// Runs the tiny guest in a thread of its own and kicks it out when its time is up. A thread that cannot be
/// kicked out is left behind: it holds only its own little VM, and ends with this process.
fn run_bounded(vm: VmFd) -> Result<Measured, Rung> {
    let failed = |what: &str, e: &dyn std::fmt::Display| Rung::failed(RATE, format!("{what}: {e}"));
    // SIGUSR1 must interrupt and nothing more; KVM_RUN answers it with EINTR whether or not it has SA_RESTART.
    let interrupted = std::sync::Arc::default();
    let handler =
        signal_hook::flag::register(SIGUSR1, interrupted).map_err(|e| failed("no signal handler", &e))?;
    let (to_us, from_guest) = channel();
    let (send_thread, thread_id) = channel();
    // The handle is kept until the last kick: a thread that ended may be signalled as long as it is not joined
    // or detached.
    let guest = thread::Builder::new()
        .name("tiny-guest".to_owned())
        .spawn(move || {
            let _ = send_thread.send(pthread_self());
            let _ = to_us.send(TinyGuest::new(&vm).and_then(|mut guest| guest.measure(GUEST_BUDGET)));
        })
        .map_err(|e| failed("no thread", &e))?;
    let target = thread_id.recv().map_err(|e| failed("the guest's thread died", &e))?;
    let begin = Instant::now();
    let mut patience = GUEST_BUDGET;
    let result = loop {
        match from_guest.recv_timeout(patience) {
            Ok(result) => break result.map_err(|e| failed("the tiny guest does not run", &e)),
            Err(RecvTimeoutError::Disconnected) => {
                break Err(failed("the tiny guest does not run", &"it panicked"));
            }
            Err(RecvTimeoutError::Timeout) if begin.elapsed() > STUCK_AFTER => {
                break Err(failed("KVM_RUN does not return", &format!("not even after {STUCK_AFTER:?}")));
            }
            Err(RecvTimeoutError::Timeout) => {
                let _ = pthread_kill(target, Signal::SIGUSR1);
                patience = KICK_INTERVAL;
            }
        }
    };
    if guest.is_finished() || result.is_ok() {
        let _ = guest.join();
    }
    signal_hook::low_level::unregister(handler);
    result
}

fn judge(measured: Measured, device: &Path) -> Result<Rung, Rung> {
    let rate = measured.instructions_per_second;
    if rate >= BELIEVABLE_INSTRUCTIONS_PER_SECOND {
        let exits =
            measured.exit_cost_ns.map_or_else(String::new, |ns| format!(", an exit costs {ns:.0} ns"));
        return Ok(Rung::passed(
            RATE,
            format!("the tiny guest runs {} instructions/s{exits}", millions(rate)),
        ));
    }
    Err(Rung::failed(
        RATE,
        format!(
            "{} opens and creates VMs, but runs only {} instructions/s where hardware runs more than 1000 million: \
             it emulates the processor",
            device.display(),
            millions(rate)
        ),
    ))
}

fn millions(rate: f64) -> String {
    if rate < 10e6 { format!("{:.1} million", rate / 1e6) } else { format!("{:.0} million", rate / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_rung(device: &Path) -> Rung {
        let climb = climb(device);
        assert!(climb.measured.is_none());
        climb.rungs.into_iter().find(|rung| !rung.passed).unwrap()
    }

    #[test]
    fn an_absent_device_breaks_the_first_rung() {
        let rung = broken_rung(Path::new("/nonexistent/kvm"));
        assert_eq!(rung.rung, OPEN);
        assert!(rung.detail.starts_with("/nonexistent/kvm is absent"), "{}", rung.detail);
    }

    #[test]
    fn a_file_that_is_no_device_breaks_the_second() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rung = broken_rung(file.path());
        assert_eq!(rung.rung, IOCTLS);
        assert!(rung.detail.contains("is not a KVM device"), "{}", rung.detail);
    }

    #[test]
    fn whatever_this_machine_has_the_climb_ends_and_only_its_last_rung_may_be_broken() {
        let climb = climb(Path::new("/dev/kvm"));
        let (last, before) = climb.rungs.split_last().unwrap();
        assert!(before.iter().all(|rung| rung.passed), "{:?}", climb.rungs);
        assert!(
            last.passed
                == (climb.rungs.len() == 3
                    && climb
                        .measured
                        .is_some_and(|m| m.instructions_per_second >= BELIEVABLE_INSTRUCTIONS_PER_SECOND))
        );
    }

    #[test]
    fn a_directory_does_not_open() {
        let rung = broken_rung(Path::new("/tmp"));
        assert!(rung.detail.contains("/tmp does not open"), "{}", rung.detail);
    }

    #[test]
    fn rates_are_judged_with_a_wide_margin_on_either_side() {
        let at = |rate| {
            let measured = Measured { instructions_per_second: rate, exit_cost_ns: Some(1200.0) };
            judge(measured, Path::new("/dev/kvm")).unwrap_or_else(|rung| rung)
        };
        assert_eq!(
            at(3.2e9).detail,
            "the tiny guest runs 3200 million instructions/s, an exit costs 1200 ns"
        );
        assert!(at(3.2e9).passed && at(1e9).passed);
        assert!(!at(2.1e6).passed && !at(1e7).passed);
        assert!(at(2.1e6).detail.contains("runs only 2.1 million instructions/s"), "{}", at(2.1e6).detail);
    }
}
