//! The order of things: outputs, region, pin, session, guest, latency, bandwidth, files, summary.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use hdrhistogram::Histogram;
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::layout::{LAYOUT_VERSION, REGION_BYTES_DEFAULT};
use ivshmem_proto::mapping::{ControlPage, MapError, Mapping};
use ivshmem_proto::region_file::{Ensured, ensure};
use ivshmem_proto::report::{ClockReport, GuestReport};

use crate::cli::Verify;
use crate::config::{BandwidthPlan, Config, LatencyPlan, Print};
use crate::environment::{HostFacts, pin};
use crate::interference::{Counters, Interference};
use crate::latency::Sample;
use crate::link::{Link, Stopped};
use crate::output::Pending;
use crate::progress::Progress;
use crate::run_json::{
    BandwidthFacts, GuestFacts, HostCandidate, LatencyFacts, RegionFacts, RunJson, SCHEMA, Tool,
};
use crate::status::{RowStatus, count};
use crate::summary::{Distribution, Figures, FrameFigures};
use crate::{bandwidth, bandwidth_csv, hgrm, kernels, latency, latency_csv, summary, vm_info};

const LATENCY_CSV: &str = "latency_results.csv";
const HISTOGRAM: &str = "latency.hgrm";
const BANDWIDTH_CSV: &str = "bandwidth_results.csv";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every message ok.
    AllOk,
    /// Everything measured, some messages not ok.
    SomeNotOk,
    /// A signal ended it.
    Interrupted,
}

impl Outcome {
    /// The exit status that `--help` promises.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::AllOk => ExitCode::SUCCESS,
            Self::SomeNotOk => ExitCode::from(3),
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

/// What has been measured so far; grows while the run lasts, so that an early end loses nothing.
#[derive(Debug, Default)]
struct Measured {
    samples: Vec<Sample>,
    rows: Vec<bandwidth::Row>,
    kernels: Vec<(Kernel, u64)>,
}

/// The result files, prepared before the first message.
struct Files {
    latency: Option<(Pending, Pending)>,
    bandwidth: Option<Pending>,
    run: Pending,
}

impl Files {
    fn prepare(config: &Config) -> anyhow::Result<Self> {
        let create = |name: &str, bytes| Pending::create(&config.out, name, bytes);
        let latency = config.latency.map(|plan| {
            let rows = create(LATENCY_CSV, plan.messages * latency_csv::ROW_BYTES_MAX)?;
            anyhow::Ok((rows, create(HISTOGRAM, 64 << 10)?))
        });
        let bandwidth = config.bandwidth.as_ref().map(|plan| {
            let frames = plan.iterations * plan.frames.len() as u64;
            create(BANDWIDTH_CSV, (frames + 1) * bandwidth_csv::ROW_BYTES_MAX)
        });
        Ok(Self {
            latency: latency.transpose()?,
            bandwidth: bandwidth.transpose()?,
            run: create("run.json", 64 << 10)?,
        })
    }
}

/// Measures what `config` asks for and writes the files.
///
/// # Errors
/// No usable region, no guest, no room for results, or a guest that died on the way (rows so far are written).
pub fn run(config: &Config) -> anyhow::Result<Outcome> {
    let (started, started_utc) = (Instant::now(), SystemTime::now());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("install signal handler")?;
    }
    let files = Files::prepare(config)?;
    let region = Region::open(config)?;
    let map = &region.map;
    let largest = config.bandwidth.as_ref().map_or(0, BandwidthPlan::largest_bytes);
    let geometry = Geometry::for_payload(map.bytes(), largest).with_context(|| {
        format!("{}: use a larger region (provision up --shm-size) or smaller frames", config.shm.display())
    })?;

    let vm = vm_info::state_root().and_then(|root| vm_info::find(&root, &config.shm));
    let (cpu_pinned, cpus_allowed) =
        pin(config.cpu, &vm.as_ref().map(vm_info::vcpu_cpus).unwrap_or_default())?;
    let clock = Clock::calibrated();
    let host_facts = HostFacts::collect(ClockReport::from(&clock), cpu_pinned, cpus_allowed);

    let mut link = Link::open(map, &geometry, &clock, &stop, config.timeout);
    if !link.wait_for_guest(config.guest_timeout)? {
        return Ok(Outcome::Interrupted);
    }
    region.keep();
    let guest = GuestReport::read(map).context("the guest joined, but")?;

    let mut measured = Measured::default();
    let before = Counters::now();
    let measuring = Instant::now();
    let ended = measure(&mut link, config, &geometry, &mut measured);
    let measured_s = measuring.elapsed().as_secs_f64();
    let interference = Interference::between(before, Counters::now(), link.gaps, &clock, measured_s);
    let session = link.host.session();
    link.host.close();

    let interrupted = matches!(ended.as_ref().map_err(|e| e.downcast_ref()), Err(Some(Stopped::Interrupted)));
    if measured.samples.is_empty() && measured.rows.is_empty() {
        // Nothing to keep: what an earlier run left under these names stays.
        return match ended {
            Err(error) if !interrupted => Err(error),
            _ => {
                eprintln!("host-writer: interrupted before the first message that counts; nothing written");
                Ok(Outcome::Interrupted)
            }
        };
    }
    let run = RunJson {
        schema: SCHEMA,
        tool: Tool::this(),
        started_utc: humantime::format_rfc3339_seconds(started_utc).to_string(),
        wall_s: started.elapsed().as_secs_f64(),
        completed: ended.is_ok(),
        interrupted,
        command_line: std::env::args().collect(),
        session: session.to_string(),
        region: RegionFacts {
            path: config.shm.display().to_string(),
            bytes: map.bytes(),
            layout_version: LAYOUT_VERSION,
            slot_count: geometry.slot_count(),
            slot_bytes: geometry.slot_bytes(),
            prefaulted: true,
        },
        host: host_facts,
        guest: GuestFacts::from(guest),
        vm,
        copy_kernel: measured.kernels.first().map(|(kernel, _)| kernel.name()),
        copy_candidates: measured.kernels.iter().map(HostCandidate::from).collect(),
        latency: config.latency.map(|plan| latency_facts(&plan, &measured.samples)),
        bandwidth: config.bandwidth.as_ref().map(|plan| bandwidth_facts(plan, &measured.rows)),
        interference,
    };
    let ns = |ticks| clock.ns(Ticks(0), Ticks(ticks));
    let ok = || measured.samples.iter().filter(|s| s.status == RowStatus::Ok);
    let rtt_ns: Vec<u64> = ok().filter_map(|s| s.processed_ticks.map(ns)).collect();
    let received_ns = ok().filter_map(|s| s.received_ticks.map(ns)).collect();
    let rtt = hgrm::histogram(rtt_ns.iter().copied())?;
    write_files(config, files, &measured, &clock, &rtt, &run)?;
    print(config, &run, &figures(config, &measured, rtt_ns, received_ns))?;
    if interrupted {
        eprintln!(
            "host-writer: interrupted; {} messages and {} frames are kept",
            measured.samples.len(),
            measured.rows.len()
        );
    }
    match ended {
        Err(_) if interrupted => Ok(Outcome::Interrupted),
        Err(error) => Err(error),
        Ok(()) if all_ok(&measured) => Ok(Outcome::AllOk),
        Ok(()) => Ok(Outcome::SomeNotOk),
    }
}

/// The mapped region; a file that this run created and no guest ever used is removed again.
struct Region<'a> {
    map: Mapping,
    created: std::cell::Cell<Option<&'a std::path::Path>>,
}

impl<'a> Region<'a> {
    fn open(config: &'a Config) -> anyhow::Result<Self> {
        let created = !config.shm.exists() && ensure(&config.shm, REGION_BYTES_DEFAULT)? == Ensured::Created;
        let map = Mapping::open(&config.shm)?;
        map.own(ControlPage::Host).map_err(|error| match error {
            MapError::Owned { path, .. } => anyhow!(
                "{} is in use by another host-writer; wait for it or use another --shm",
                path.display()
            ),
            error => error.into(),
        })?;
        map.prefault();
        Ok(Self { map, created: std::cell::Cell::new(created.then_some(&*config.shm)) })
    }

    fn keep(&self) {
        self.created.set(None);
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.created.get() {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn measure(
    link: &mut Link<'_>,
    config: &Config,
    geometry: &Geometry,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    if let Some(plan) = &config.bandwidth {
        measured.kernels =
            kernels::measure(link, geometry, plan.largest_bytes(), plan.verify == Verify::Sha256)?;
        // The messages that count get a session of their own.
        link.open_next(geometry);
        if !link.wait_for_guest(config.guest_timeout)? {
            return Err(Stopped::Interrupted.into());
        }
    }
    if let Some(plan) = &config.latency {
        measured.samples.reserve_exact(usize::try_from(plan.messages)?);
        let progress = Progress::new("latency", plan.warmup + plan.messages, config.print);
        latency::run(link, plan, &mut measured.samples, &progress)?;
    }
    if let Some(plan) = &config.bandwidth {
        let (kernel, _) = *measured.kernels.first().context("no copy kernel is available")?;
        let progress = Progress::new("bandwidth", plan.iterations * plan.frames.len() as u64, config.print);
        bandwidth::run(link, plan, geometry, kernel, &mut measured.rows, &progress)?;
    }
    Ok(())
}

fn latency_facts(plan: &LatencyPlan, samples: &[Sample]) -> LatencyFacts {
    let status_counts = count(samples.iter().map(|s| s.status));
    LatencyFacts {
        messages: plan.messages,
        warmup: plan.warmup,
        interval_ns: plan.interval.as_nanos() as u64,
        ok: status_counts[RowStatus::Ok.name()],
        status_counts,
    }
}

fn bandwidth_facts(plan: &BandwidthPlan, rows: &[bandwidth::Row]) -> BandwidthFacts {
    let status_counts = count(rows.iter().map(|r| r.transfer.status));
    BandwidthFacts {
        frames: plan.frames.iter().map(|f| f.name()).collect(),
        iterations: plan.iterations,
        verify: plan.verify.name(),
        seed: plan.seed,
        ok: status_counts[RowStatus::Ok.name()],
        status_counts,
    }
}

fn all_ok(measured: &Measured) -> bool {
    measured.samples.iter().all(|s| s.status == RowStatus::Ok)
        && measured.rows.iter().all(|r| r.transfer.status == RowStatus::Ok)
}

fn figures(config: &Config, measured: &Measured, rtt_ns: Vec<u64>, received_ns: Vec<u64>) -> Figures {
    let formats = config.bandwidth.iter().flat_map(|plan| &plan.frames);
    let rows_of =
        |format| measured.rows.iter().copied().filter(|row| row.format == format).collect::<Vec<_>>();
    Figures {
        rtt: Distribution::of(rtt_ns),
        received: Distribution::of(received_ns),
        frames: formats.map(|&format| FrameFigures::of(format, &rows_of(format))).collect(),
    }
}

fn write_files(
    config: &Config,
    files: Files,
    measured: &Measured,
    clock: &Clock,
    rtt: &Histogram<u64>,
    run: &RunJson,
) -> anyhow::Result<()> {
    // Each file is tried, whatever became of those before it: one full disk or bad name loses nothing else.
    let mut results = Vec::new();
    // A test that was skipped leaves no rows of another run beside this run's run.json.
    let stale: &[&str] = match (&files.latency, &files.bandwidth) {
        (None, _) => &[LATENCY_CSV, HISTOGRAM],
        (_, None) => &[BANDWIDTH_CSV],
        _ => &[],
    };
    for name in stale {
        let _ = std::fs::remove_file(config.out.join(name));
    }
    if let Some((rows, histogram)) = files.latency {
        results.push(rows.finish(|out| latency_csv::write(out, &measured.samples, clock)));
        results.push(histogram.finish(|out| hgrm::write(out, rtt)));
    }
    if let Some(rows) = files.bandwidth {
        results.push(rows.finish(|out| bandwidth_csv::write(out, &measured.rows)));
    }
    results.push(files.run.finish(|out| {
        serde_json::to_writer_pretty(&mut *out, run)?;
        writeln!(out)
    }));
    results.into_iter().collect()
}

fn print(config: &Config, run: &RunJson, figures: &Figures) -> anyhow::Result<()> {
    use std::io::Write as _;
    let text = match config.print {
        Print::Nothing => return Ok(()),
        Print::Json => {
            serde_json::to_string_pretty(&serde_json::json!({ "run": run, "figures": figures }))? + "\n"
        }
        Print::Tables => summary::text(figures, run, &config.out),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}
