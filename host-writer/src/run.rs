//! The order of things: region, outputs, load, pin, session, guest, calibration, latency, bandwidth, files, summary.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use ivshmem_proto::affinity;
use ivshmem_proto::cpu::feature_names;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::peers::Peers;
use ivshmem_proto::report::GuestReport;

use crate::bell::Bell;
use crate::config::{Config, Print, Unmet};
use crate::environment::HostFacts;
use crate::facts::{self, Results};
use crate::figures::Figures;
use crate::files::Files;
use crate::guest_facts::GuestFacts;
use crate::interference::{Counters, GapWatch, Interference};
use crate::latency::Measured;
use crate::link::{Link, Stopped};
use crate::load::Load;
use crate::measure::Test;
use crate::native_guest::NativeGuest;
use crate::one_way::PeerClock;
use crate::region::Region;
use crate::run_delay::Answering;
use crate::run_json::{Head, HostCandidate, LoadFacts, RegionFacts, RunJson};
use crate::usage::DoorbellFacts;
use crate::vcpu::VcpuThreads;
use crate::{broadcast_run, one_way, summary, vm_info};

/// How long a server may take to say what it has.
pub(crate) const SERVER_PATIENCE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every message ok.
    AllOk,
    /// Everything measured, some messages not ok, or sent at less than half the rate asked for.
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

/// Measures what `config` asks for and writes the files.
///
/// # Errors
/// No usable region, no guest, no room for results, a load that cannot run, a guest that died on the way (rows so far are
/// written), or a figure above what the machine can do.
pub fn run(config: &Config) -> anyhow::Result<Outcome> {
    let (started, started_utc) = (Instant::now(), SystemTime::now());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("install signal handler")?;
    }
    if let Some(plan) = &config.broadcast {
        return broadcast_run::run(config, plan, started, started_utc, &stop);
    }
    let peers = match &config.server {
        Some(server) => Some(Peers::join(&server.socket, server.vector, SERVER_PATIENCE)?),
        None => None,
    };
    let region = match &peers {
        Some(peers) => Region::of_server(peers, config.lane)?,
        None => Region::open(config)?,
    };
    let map = &region.map;
    let sizes =
        config.bandwidth.as_ref().map(|plan| plan.resolve(map.bytes())).transpose()?.unwrap_or_default();
    let largest = sizes.iter().map(|size| size.bytes()).max().unwrap_or(0);
    let geometry = match &config.bandwidth {
        Some(plan) => plan.geometry(map.bytes(), largest),
        None => Ok(Geometry::for_payload(map.bytes(), 0)?),
    };
    let geometry = geometry.with_context(|| map.path().display().to_string()).map_err(Unmet)?;
    let files = Files::prepare(config, &sizes)?;

    let allowed = affinity::allowed_cpus()?;
    let socket = config.server.as_ref().map(|server| &*server.socket);
    let vm = vm_info::state_root().and_then(|root| vm_info::find(&root, map.path(), socket, config.lane));
    let asked = &config.circumstances;
    let vcpu_cpus = vm.as_ref().map(vm_info::vcpu_cpus).unwrap_or_default();
    let (clock, host_facts) = HostFacts::settle(asked, &vcpu_cpus)?;

    let bell = match (peers, &config.server) {
        (Some(peers), Some(server)) => Some(Bell::new(peers, server.wait, server.phases)?),
        _ => None,
    };
    let mut link = Link::open(map, &geometry, &clock, &stop, config.timeout, bell);
    if !link.wait_for_guest(config.guest_timeout)? {
        return Ok(Outcome::Interrupted);
    }
    region.keep();
    let guest = GuestReport::read(map).context("the guest joined, but")?;
    let (vm, vm_beside) = vm_info::of_guest(vm, guest.map_kind);
    let vcpus = VcpuThreads::of(vm.as_ref());
    let native = if vm.is_none() { NativeGuest::of(guest.map_kind, guest.thread, map) } else { None };
    if let Some(bell) = &mut link.bell {
        bell.meet(&guest, vcpus.clone(), native.clone())?;
    }
    let answering = Answering { vcpus, natives: native.into_iter().collect() };
    if let Some(kernel) = config.bandwidth.as_ref().and_then(|plan| plan.guest_kernel) {
        let has = feature_names(guest.cpu_features);
        let lacks = kernel.feature().filter(|needed| !has.contains(needed));
        if let Some(feature) = lacks {
            return Err(anyhow!(
                "--guest-copy {kernel}: the guest's CPU ({}) has no {feature}",
                guest.cpu_model
            ));
        }
    }

    let mut results = Results::new()?;
    let test = Test { config, geometry: &geometry, sizes: &sizes, llc_bytes: host_facts.llc_bytes };
    let mut ended = test.calibrate(&mut link, &mut results);
    // The roofs and kernels are the idle machine's: what the load costs shows against them.
    let mut load = None;
    if let (Ok(()), Some(spec)) = (&ended, &asked.load) {
        load = Some(Load::start(spec, &config.out, &allowed)?);
    }
    let before = Counters::before(&answering);
    let measuring = Instant::now();
    link.gaps = GapWatch::new(&clock);
    if ended.is_ok() {
        ended = test.run(&mut link, &mut results);
    }
    let measured_s = measuring.elapsed().as_secs_f64();
    let after = Counters::after(&answering);
    let interference = Interference::between(before, after, link.gaps, &clock, measured_s);
    let load_record = load.map(Load::stop).transpose();
    if ended.is_ok() {
        let Results { calibration, rows, .. } = &mut results;
        ended = calibration.measure_again(&mut link, &geometry, rows);
    }
    let session = link.host.session();
    link.look_for_trouble();
    let violations = std::mem::take(&mut link.violations);
    let Measured { usage, counts, elapsed_ns, .. } = &results.latency;
    let doorbell =
        DoorbellFacts::of(config.server.as_ref(), &link, &guest, *usage, counts.total(), *elapsed_ns);
    link.host.close();

    let interrupted = matches!(ended.as_ref().map_err(|e| e.downcast_ref()), Err(Some(Stopped::Interrupted)));
    if results.latency.counts.total() == 0 && results.rows.is_empty() {
        // Nothing to keep: what an earlier run left under these names stays.
        return match ended {
            Ok(()) => Err(anyhow!("no message was due before the test was over; give a longer --duration")),
            Err(error) if !interrupted => Err(error),
            Err(_) => {
                eprintln!("host-writer: interrupted before the first message that counts; nothing written");
                Ok(Outcome::Interrupted)
            }
        };
    }
    let one_way = config.latency.filter(|plan| plan.one_way);
    let stamp = PeerClock { source: guest.stamp_source, frequency_hz: guest.stamp_frequency_hz };
    results.one_way = one_way.map(|_| one_way::of(&results.latency, &clock, stamp));
    results.put_in_order();
    results.latency.fill_histograms(&clock);
    let (calibration, llc_bytes) = (&results.calibration, host_facts.llc_bytes);
    let run = RunJson {
        head: Head::of(started, started_utc, ended.is_ok(), interrupted),
        preset: config.preset.clone(),
        session: session.to_string(),
        region: RegionFacts::of(map, &geometry, config.lane),
        host: host_facts,
        guest: GuestFacts::new(
            guest,
            calibration.largest().map(|size| &size.guest),
            calibration.largest().and_then(|size| size.guest_kernel(config.bandwidth.as_ref())),
        ),
        vm,
        vm_beside,
        copy_kernel: calibration.largest().map(|size| size.kernel.name()),
        copy_candidates: calibration
            .largest()
            .map_or_else(Vec::new, |size| size.kernels.iter().map(HostCandidate::from).collect()),
        copy_by_size: calibration.by_size(config.bandwidth.as_ref()),
        roof: config.bandwidth.as_ref().map(|_| calibration.roof(&results.rows)),
        latency: config.latency.map(|plan| facts::latency(&plan, &results)),
        doorbell,
        broadcast: None,
        bandwidth: config
            .bandwidth
            .as_ref()
            .map(|plan| facts::bandwidth(plan, &sizes, &geometry, &results, &clock, llc_bytes)),
        load: LoadFacts::of(load_record.as_ref().ok().and_then(Option::as_ref), vm_info::guest_load()),
        interference,
        peer_violations: violations.sentences,
        peer_violation_kinds: violations.kinds,
    };
    files.write(config, &results, &clock, &run)?;
    print(config, &run, &Figures::of(&sizes, &results, run.bandwidth.as_ref(), &clock))?;
    if interrupted {
        eprintln!(
            "host-writer: interrupted; {} messages and {} frames are kept",
            results.latency.counts.total(),
            results.rows.len()
        );
    }
    match ended {
        Err(_) if interrupted => return Ok(Outcome::Interrupted),
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    load_record?;
    if let Some(sentence) = run.roof.as_ref().and_then(|roof| roof.exceeded.first()) {
        return Err(anyhow!("{sentence}"));
    }
    let reached = run.latency.as_ref().is_none_or(|latency| !latency.is_far_from_its_rate());
    Ok(if run.peer_violation_kinds.is_empty() && results.all_ok() && reached {
        Outcome::AllOk
    } else {
        Outcome::SomeNotOk
    })
}

pub(crate) fn print(config: &Config, run: &RunJson, figures: &Figures) -> anyhow::Result<()> {
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
