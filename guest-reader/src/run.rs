//! The order of things: pin, find, map, prefault, measure, announce, serve.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use ivshmem_proto::clock::{Clock, monotonic_ns};
use ivshmem_proto::doorbell::GuestWait;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::Guest;
use ivshmem_proto::mapping::ControlPage;
use ivshmem_proto::memory_note::memory_note;
use ivshmem_proto::report::{ClockReport, GuestReport, GuestThread};
use ivshmem_proto::wire::{ClockSource, MapKind, MemoryType};
use ivshmem_proto::{affinity, cpu};
use nix::sys::utsname::uname;

use crate::choice::KernelChoice;
use crate::cli::Args;
use crate::device::Device;
use crate::doorbell::Doorbell;
use crate::init::tell;
use crate::initiate::{Initiator, Way};
use crate::inject::Faults;
use crate::outcome::End;
use crate::serve::{STALL_LIMIT, Server};
use crate::source::Source;
use crate::{memory_type, rates, rival};

/// `--cpu` names a CPU that this process cannot run on.
#[derive(Debug, thiserror::Error)]
#[error("cannot run on CPU {cpu} ({errno}); leave --cpu out or name another")]
pub struct NoSuchCpu {
    cpu: u32,
    errno: nix::errno::Errno,
}

/// Flags that do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub(crate) String);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Stopped on request, or with every message ok.
    Well,
    /// An initiator's messages are not all ok.
    SomeNotOk,
}

/// Runs guest-reader until a signal ends it, or an initiator until it is done.
///
/// # Errors
/// No device, no rights, an unusable region, one that another guest serves, a CPU that is not there, or nobody who answers
/// an initiator.
pub fn run(args: &Args) -> anyhow::Result<Ended> {
    args.check().map_err(Usage)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("install signal handler")?;
    }
    if let Some(cpu) = args.cpu {
        affinity::pin_current_thread(cpu).map_err(|errno| NoSuchCpu { cpu, errno })?;
    }
    let mut source = Source::choose(args)?;
    if let Some(messages) = args.initiate {
        return initiate(args, source, messages, &stop);
    }
    let map = &source.map;
    map.own(ControlPage::Guest).context("another guest-reader is running here; stop it first")?;
    rival::check(map)?;
    map.prefault();
    let clock = Clock::calibrated();
    let stamp = stamp_clock(&clock);
    let report = describe(args, &source, &clock, &stamp)?;
    report.write(map);
    let doorbell =
        source.bell.take().map(|bell| Doorbell::new(bell, source.event.take(), source.wait.adaptive, stamp));
    let incarnation = monotonic_ns() ^ u64::from(std::process::id()) << 48;
    let guest = Guest::announce(map, map.bytes(), incarnation);
    announce(args, &ready(args, &source, source.wait, &report.kernel_release));
    if let Some(note) = note(&report) {
        eprintln!("guest-reader: note: {note}");
    }
    let mut kernels = KernelChoice::default();
    kernels.learn(&report.rates);
    let server = Server {
        map,
        report: &report,
        guest,
        clock,
        stamp,
        kernels,
        spin: report.spin,
        sleep: Duration::from_nanos(report.spin_sleep_ns),
        doorbell,
        stall_limit: STALL_LIMIT,
        faults: Faults::new(args.inject),
    };
    server.serve(&stop, |line| eprintln!("guest-reader: {line}"));
    eprintln!("guest-reader: stopped on request");
    Ok(Ended::Well)
}

/// Asks instead of answering.
fn initiate(args: &Args, mut source: Source, messages: u64, stop: &AtomicBool) -> anyhow::Result<Ended> {
    source
        .map
        .own(ControlPage::Host)
        .context("another initiator or a host-writer is running here; stop it first")?;
    source.map.prefault();
    let clock = Clock::calibrated();
    let uts = uname().context("ask for the kernel's name")?;
    let line = ready(args, &source, source.wait, &uts.release().to_string_lossy());
    announce(args, &format!("{line} initiate={messages}"));
    let (bell, event) = (source.bell.take(), source.event.take());
    let ring = bell.as_ref().and_then(|bell| bell.own_ring(args.vector));
    let way = Way { bell, event, ring, wait: source.wait, patience: args.timeout };
    let mut initiator = Initiator::open(&source.map, clock, stop, way)?;
    if !initiator.meet(args.peer_timeout)? {
        return Ok(Ended::Well);
    }
    let outcome = initiator.ask(messages);
    if let Some(trouble) = &outcome.trouble {
        eprintln!("guest-reader: {trouble}");
    }
    let result = format!("RESULT {}", outcome.json(args.lane, &clock));
    // Whoever does not read it has seen enough.
    let _ = writeln!(std::io::stdout(), "{result}");
    if let Some(port) = &args.ready_port {
        tell(port, &result);
    }
    Ok(if outcome.is_all_ok() || outcome.end == End::Interrupted { Ended::Well } else { Ended::SomeNotOk })
}

/// The line that says that all is set up.
fn ready(args: &Args, source: &Source, wait: GuestWait, kernel_release: &str) -> String {
    let device = source.device.as_ref().map_or("none", |device| &device.bdf);
    let lane = if args.lane.is_whole() { String::new() } else { format!(" lane={}", args.lane) };
    format!(
        "READY version={} device={device} map={} wait={wait} bytes={} kernel={kernel_release}{lane}",
        env!("CARGO_PKG_VERSION"),
        source.kind,
        source.map.bytes(),
    )
}

fn announce(args: &Args, ready: &str) {
    eprintln!("guest-reader: {ready}");
    if let Some(port) = &args.ready_port {
        tell(port, ready);
    }
}

/// What the type of the mapping costs, from the rates of the fastest kernel.
fn note(report: &GuestReport) -> Option<String> {
    let (region, anon) = report
        .rates
        .candidates
        .first()
        .map_or((0, 0), |fastest| (fastest.region.typical, fastest.anon.typical));
    memory_note(report.map_kind, report.memory_type, &report.cpu_model, region, anon)
}

/// The clock that stamps timed pings: the time-stamp counter even where CPUID does not call it invariant (as under TCG),
/// because it is many times cheaper to read than the system's clock there, and because the host refuses stamps that do
/// not fit one line.
fn stamp_clock(clock: &Clock) -> Clock {
    if cfg!(target_arch = "x86_64") && clock.source() != ClockSource::Tsc {
        Clock::of(ClockSource::Tsc)
    } else {
        *clock
    }
}

fn describe(args: &Args, source: &Source, clock: &Clock, stamp: &Clock) -> anyhow::Result<GuestReport> {
    let map = &source.map;
    let geometry = Geometry::for_payload(map.bytes(), 0)?;
    let sample = geometry.payload(0, geometry.slot_bytes().min(rates::HEAT_BYTES as u64));
    let rates = rates::at_start(map, clock, sample.context("the region has no slot")?);
    let physical = source.device.as_ref().and_then(Device::bar2_physical);
    let memory_type = match (source.kind, physical) {
        (MapKind::File, _) => MemoryType::WriteBack,
        (MapKind::Uio, _) if source.device.as_ref().is_some_and(Device::is_mapped_by_page) => {
            MemoryType::WriteBack
        }
        (_, Some((first, last))) => memory_type::of_physical_range(first, last),
        _ => MemoryType::Unknown,
    };
    let uts = uname().context("ask for the kernel's name")?;
    Ok(GuestReport {
        map_kind: source.kind,
        memory_type,
        clock: ClockReport::from(clock),
        stamp_source: Some(stamp.source()),
        stamp_frequency_hz: stamp.frequency_hz(),
        cpu_features: cpu::features(),
        spin: args.spin.spin,
        spin_sleep_ns: args.spin.sleep.as_nanos() as u64,
        wait: source.wait,
        ring: source.ring,
        // This is the thread that serves. Another machine's numbers would mean nothing to the host.
        thread: (source.kind == MapKind::File)
            .then(|| GuestThread { pid: std::process::id(), tid: nix::unistd::gettid().as_raw() as u32 }),
        cpu_pinned: args.cpu,
        rates,
        kernel_release: uts.release().to_string_lossy().into_owned(),
        cpu_model: cpu::model(),
        device: source.device.as_ref().map_or_else(|| "none".to_owned(), |d| d.bdf.clone()),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
