//! From a QEMU just started to a guest that is ready: one loop over poll(2) that listens to the monitor, the
//! serial log, the READY channel, QEMU's end and the user's Ctrl-C, each wait with a deadline.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::interrupt::{Interrupted, Interrupts};
use crate::pin::{Plan, pin_thread, place_others};
use crate::qemu::complaint::{self, Complaint};
use crate::qemu::monitor::Monitor;
use crate::qemu::process::{Channels, Qemu};
use crate::ready::{Heard, ReadyChannel};
use crate::state::{PhasesMs, VcpuThread};
use crate::wait::readable;

/// Longest wait for QEMU's greeting: it comes after some 20 ms.
const GREETING_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the end of a QEMU that closed its sockets.
const END_WITHIN: Duration = Duration::from_secs(2);

/// How far a start came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// QEMU's monitor has not answered yet.
    Starting,
    /// The vCPUs run, but nothing came over the serial port yet.
    Silent,
    /// The kernel spoke.
    Booting,
}

/// Why a guest did not become ready.
#[derive(Debug)]
pub struct Failed {
    /// How far it came.
    pub stage: Stage,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong between QEMU's start and READY.
#[derive(Debug)]
pub enum Cause {
    /// The user stopped it.
    Interrupted(Interrupted),
    /// QEMU ended.
    Ended(Option<ExitStatus>, Complaint),
    /// A deadline passed.
    Late(Duration),
    /// The guest says why it cannot serve.
    Guest(String),
    /// The monitor failed, or another of the start's own steps.
    Step(&'static str, io::Error),
}

/// What the user may want to see as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// QEMU answered with its version, and the vCPUs run.
    Running(&'a str),
    /// The kernel's first byte came.
    FirstSerialByte,
    /// The READY line came.
    Ready,
}

/// Where and until when to look.
#[derive(Debug)]
pub struct Watch<'a> {
    /// The user's Ctrl-C.
    pub interrupts: &'a Interrupts,
    /// The first serial port's log; it exists and is empty.
    pub serial_log: &'a Path,
    /// Where the vCPUs go.
    pub pins: &'a Plan,
    /// How long the first serial byte may take from the moment the vCPUs run.
    pub first_byte_within: Duration,
    /// How long all of it may take.
    pub ready_within: Duration,
}

/// A guest that is ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Booted {
    /// QEMU's version.
    pub version: String,
    /// The vCPUs' threads.
    pub threads: Vec<VcpuThread>,
    /// When what happened.
    pub phases: PhasesMs,
    /// The guest's READY line.
    pub ready: String,
}

/// Sees a guest through its start. `seen` is told of each phase with its time since QEMU's start.
///
/// # Errors
/// [`Failed`], after which the caller drops `qemu` and with it the process.
pub fn see_through(
    qemu: &mut Qemu,
    channels: Channels,
    watch: &Watch<'_>,
    seen: &mut dyn FnMut(Event<'_>, Duration),
) -> Result<Booted, Failed> {
    let serial =
        SerialWatch::new(watch.serial_log).map_err(|e| step(Stage::Starting, "watch the serial log", e))?;
    let mut monitor = Monitor::new(channels.monitor).map_err(|e| step(Stage::Starting, "monitor", e))?;
    let (version, threads) = talk(qemu, &mut monitor, watch)?;
    let mut phases = PhasesMs { qmp: milliseconds(qemu), ..PhasesMs::default() };
    seen(Event::Running(&version), qemu.started.elapsed());
    let ready = listen(qemu, ReadyChannel::new(channels.ready), serial, watch, &mut phases, seen)?;
    if !watch.pins.others.is_empty() {
        let vcpus: Vec<i64> = threads.iter().map(|thread| thread.tid).collect();
        place_others(qemu.id().pid, &vcpus, &watch.pins.others).map_err(|e| {
            ended_or(qemu, watch.interrupts, Stage::Booting, Cause::Step("pin QEMU's threads", e))
        })?;
    }
    Ok(Booted { version, threads, phases, ready })
}

/// The monitor's part: greeting, vCPU threads, pinning, go.
fn talk(
    qemu: &mut Qemu,
    monitor: &mut Monitor,
    watch: &Watch<'_>,
) -> Result<(String, Vec<VcpuThread>), Failed> {
    let stage = Stage::Starting;
    let patience = GREETING_WITHIN.min(watch.ready_within);
    let deadline = qemu.started + patience;
    match readable([watch.interrupts.as_fd(), monitor.as_fd()], Some(deadline)) {
        Err(e) => return Err(step(stage, "poll", e)),
        Ok([true, _]) => interrupted(stage, watch.interrupts)?,
        Ok([false, true]) => {}
        Ok([false, false]) => return Err(Failed { stage, cause: Cause::Late(patience) }),
    }
    let mut conversation = || -> io::Result<(String, Vec<VcpuThread>)> {
        let version = monitor.greet()?.0;
        let mut threads = Vec::new();
        for vcpu in monitor.vcpus()? {
            let cpu = usize::try_from(vcpu.index).ok().and_then(|index| watch.pins.cpu_of(index));
            if let Some(cpu) = cpu {
                pin_thread(vcpu.tid, cpu)?;
            }
            threads.push(VcpuThread { vcpu: vcpu.index, tid: vcpu.tid, cpu });
        }
        monitor.run()?;
        Ok((version, threads))
    };
    conversation().map_err(|e| ended_or(qemu, watch.interrupts, stage, Cause::Step("QEMU's monitor", e)))
}

/// The guest's part: the first serial byte, then READY.
fn listen(
    qemu: &mut Qemu,
    mut channel: ReadyChannel,
    serial: SerialWatch,
    watch: &Watch<'_>,
    phases: &mut PhasesMs,
    seen: &mut dyn FnMut(Event<'_>, Duration),
) -> Result<String, Failed> {
    let mut serial = Some(serial);
    let last = qemu.started + watch.ready_within;
    let first_byte_by = Instant::now() + watch.first_byte_within;
    loop {
        let (stage, deadline) = match serial {
            Some(_) => (Stage::Silent, last.min(first_byte_by)),
            None => (Stage::Booting, last),
        };
        // Once the first byte came there is nothing more to learn from the log: listen to READY in its place.
        let log = serial.as_ref().map_or(channel.as_fd(), |serial| serial.inotify.as_fd());
        let ready = readable([watch.interrupts.as_fd(), channel.as_fd(), log, qemu.as_fd()], Some(deadline));
        let [stop, heard, logged, ended] = ready.map_err(|e| step(stage, "poll", e))?;
        if stop {
            interrupted(stage, watch.interrupts)?;
        }
        if logged && serial.as_ref().is_some_and(SerialWatch::has_bytes) {
            serial = None;
            phases.first_serial_byte = milliseconds(qemu);
            seen(Event::FirstSerialByte, qemu.started.elapsed());
        }
        if heard {
            match channel.look().map_err(|e| step(stage, "READY channel", e))? {
                Heard::Nothing => {}
                Heard::Ready(line) => {
                    phases.ready = milliseconds(qemu);
                    seen(Event::Ready, qemu.started.elapsed());
                    return Ok(line);
                }
                Heard::Failed(why) => return Err(Failed { stage, cause: Cause::Guest(why) }),
                Heard::Closed => {
                    let closed = Cause::Step("READY channel", io::ErrorKind::UnexpectedEof.into());
                    return Err(ended_or(qemu, watch.interrupts, stage, closed));
                }
            }
        } else if ended {
            return Err(end(qemu, stage));
        }
        if ![stop, heard, logged, ended].contains(&true) {
            let waited = if deadline == last { watch.ready_within } else { watch.first_byte_within };
            return Err(Failed { stage, cause: Cause::Late(waited) });
        }
    }
}

/// The serial log, watched for its first byte.
struct SerialWatch {
    inotify: Inotify,
    path: PathBuf,
}

impl SerialWatch {
    fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        Ok(Self { inotify, path: path.to_owned() })
    }

    /// Takes the events, and tells whether the log holds anything: QEMU's opening it may count as an event.
    fn has_bytes(&self) -> bool {
        let _ = self.inotify.read_events();
        std::fs::metadata(&self.path).is_ok_and(|log| log.len() > 0)
    }
}

/// `cause`, unless QEMU is about to end: then that is the reason.
fn ended_or(qemu: &mut Qemu, interrupts: &Interrupts, stage: Stage, cause: Cause) -> Failed {
    match readable([interrupts.as_fd(), qemu.as_fd()], Some(Instant::now() + END_WITHIN)) {
        Ok([_, true]) => end(qemu, stage),
        Ok([true, false]) => interrupted(stage, interrupts).err().unwrap_or(Failed { stage, cause }),
        _ => Failed { stage, cause },
    }
}

fn end(qemu: &mut Qemu, stage: Stage) -> Failed {
    let status = qemu.wait().ok().flatten();
    Failed { stage, cause: Cause::Ended(status, complaint::read(&qemu.stderr())) }
}

fn interrupted(stage: Stage, interrupts: &Interrupts) -> Result<(), Failed> {
    interrupts.check().map_err(|interrupted| Failed { stage, cause: Cause::Interrupted(interrupted) })
}

fn step(stage: Stage, what: &'static str, e: io::Error) -> Failed {
    Failed { stage, cause: Cause::Step(what, e) }
}

fn milliseconds(qemu: &Qemu) -> f64 {
    qemu.started.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_serial_log_is_silent_until_its_first_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serial.log");
        std::fs::write(&path, "").unwrap();
        let serial = SerialWatch::new(&path).unwrap();
        // QEMU truncates the log when it opens it.
        let mut log = std::fs::File::create(&path).unwrap();
        assert!(!serial.has_bytes());
        log.write_all(b"\r").unwrap();
        assert_eq!(readable([serial.inotify.as_fd()], None).unwrap(), [true]);
        assert!(serial.has_bytes());
    }
}
