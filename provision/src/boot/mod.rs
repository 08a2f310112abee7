//! From a QEMU just started to a guest that is ready: loops over poll(2) that listen to the monitor, the serial log,
//! the READY channel, QEMU's end and the user's Ctrl-C, each wait with a deadline.

pub mod debian;
pub mod micro;
mod serial;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::deploy::DeployError;
use crate::interrupt::{Interrupted, Interrupts};
use crate::pin::{Plan, pin_thread, place_others};
use crate::qemu::complaint::{self, Complaint};
use crate::qemu::monitor::Monitor;
use crate::qemu::process::Qemu;
use crate::ssh::SshError;
use crate::state::{Phase, PhasesMs, VcpuThread};
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
    /// The kernel spoke, or the VM was restored.
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
    /// The host's port for SSH is taken; QEMU's words.
    PortTaken(u16, String),
    /// The snapshot cannot be loaded; QEMU's words.
    Snapshot(String),
    /// The guest booted, and cloud-init is not in it.
    NoCloudInit,
    /// cloud-init ended with errors.
    CloudInit(Vec<String>),
    /// The device is not in the guest.
    NoDevice,
    /// SSH does not work.
    Ssh(SshError),
    /// guest-reader does not get into the guest.
    Deploy(DeployError),
    /// The monitor failed, or another of the start's own steps.
    Step(&'static str, io::Error),
}

/// Told of each phase as it is reached, with its time since QEMU's start.
pub type Seen<'a> = dyn FnMut(Phase, Duration) + 'a;

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

/// A QEMU that is being seen through its start.
struct Seeing<'a, 'b> {
    qemu: &'a mut Qemu,
    watch: &'a Watch<'a>,
    phases: PhasesMs,
    seen: &'a mut Seen<'b>,
}

impl Seeing<'_, '_> {
    fn reached(&mut self, phase: Phase) {
        let since = self.qemu.started.elapsed();
        self.phases.reached(phase, since);
        (self.seen)(phase, since);
    }

    /// Takes QEMU's greeting.
    fn greet(&mut self, monitor: &mut Monitor) -> Result<String, Failed> {
        let stage = Stage::Starting;
        let patience = GREETING_WITHIN.min(self.watch.ready_within);
        let deadline = self.qemu.started + patience;
        match readable([self.watch.interrupts.as_fd(), monitor.as_fd()], Some(deadline)) {
            Err(e) => return Err(step(stage, "poll", e)),
            Ok([true, _]) => interrupted(stage, self.watch.interrupts)?,
            Ok([false, true]) => {}
            Ok([false, false]) => return Err(Failed { stage, cause: Cause::Late(patience) }),
        }
        let greeting = monitor.greet();
        Ok(greeting.map_err(|e| self.monitor_failed(stage, e))?.0)
    }

    /// Pins the vCPUs and lets them run.
    fn go(&mut self, monitor: &mut Monitor) -> Result<Vec<VcpuThread>, Failed> {
        let mut conversation = || -> io::Result<Vec<VcpuThread>> {
            let mut threads = Vec::new();
            for vcpu in monitor.vcpus()? {
                let cpu = usize::try_from(vcpu.index).ok().and_then(|index| self.watch.pins.cpu_of(index));
                if let Some(cpu) = cpu {
                    pin_thread(vcpu.tid, cpu)?;
                }
                threads.push(VcpuThread { vcpu: vcpu.index, tid: vcpu.tid, cpu });
            }
            monitor.run()?;
            Ok(threads)
        };
        let threads = conversation();
        let threads = threads.map_err(|e| self.monitor_failed(Stage::Starting, e))?;
        self.reached(Phase::Qmp);
        Ok(threads)
    }

    /// The guest is ready: QEMU's other threads leave the CPU of the host's tool.
    fn place_others(&mut self, threads: &[VcpuThread]) -> Result<(), Failed> {
        let others = &self.watch.pins.others;
        if others.is_empty() {
            return Ok(());
        }
        let vcpus: Vec<i64> = threads.iter().map(|thread| thread.tid).collect();
        place_others(self.qemu.id().pid, &vcpus, others)
            .map_err(|e| self.ended_or(Stage::Booting, Cause::Step("pin QEMU's threads", e)))
    }

    fn monitor_failed(&mut self, stage: Stage, e: io::Error) -> Failed {
        self.ended_or(stage, Cause::Step("QEMU's monitor", e))
    }

    /// `cause`, unless QEMU is about to end: then that is the reason.
    fn ended_or(&mut self, stage: Stage, cause: Cause) -> Failed {
        let interrupts = self.watch.interrupts;
        match readable([interrupts.as_fd(), self.qemu.as_fd()], Some(Instant::now() + END_WITHIN)) {
            Ok([_, true]) => self.end(stage),
            Ok([true, false]) => interrupted(stage, interrupts).err().unwrap_or(Failed { stage, cause }),
            _ => Failed { stage, cause },
        }
    }

    fn end(&mut self, stage: Stage) -> Failed {
        let status = self.qemu.wait().ok().flatten();
        Failed { stage, cause: Cause::Ended(status, complaint::read(&self.qemu.stderr())) }
    }
}

fn interrupted(stage: Stage, interrupts: &Interrupts) -> Result<(), Failed> {
    interrupts.check().map_err(|interrupted| Failed { stage, cause: Cause::Interrupted(interrupted) })
}

fn step(stage: Stage, what: &'static str, e: io::Error) -> Failed {
    Failed { stage, cause: Cause::Step(what, e) }
}
