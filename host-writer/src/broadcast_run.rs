//! The order of a run with `--broadcast`: lanes, outputs, guests, load, messages, files, summary.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use ivshmem_proto::affinity;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::lane::Lane;
use ivshmem_proto::peers::Peers;
use ivshmem_proto::priority;
use serde_json::Value;

use crate::bell::HostCounts;
use crate::broadcast::{Group, Member, Rows};
use crate::broadcast_facts::BroadcastFacts;
use crate::config::{BroadcastPlan, Config};
use crate::environment::HostFacts;
use crate::facts::Results;
use crate::figures::Figures;
use crate::files::Files;
use crate::guest_facts::GuestFacts;
use crate::interference::{Counters, Interference};
use crate::link::Stopped;
use crate::load::Load;
use crate::native_guest::NativeGuest;
use crate::progress::Progress;
use crate::region::Region;
use crate::run::{Outcome, SERVER_PATIENCE, print};
use crate::run_delay::Answering;
use crate::run_json::{Head, LoadFacts, RegionFacts, RunJson};
use crate::vcpu::VcpuThreads;
use crate::violations::Violations;
use crate::vm_info;

/// Measures and writes the files.
///
/// # Errors
/// No server, a region too small for so many lanes, a lane without a guest, no room for results, or every guest lost (rows so
/// far are written).
pub fn run(
    config: &Config,
    plan: &BroadcastPlan,
    started: Instant,
    started_utc: SystemTime,
    stop: &AtomicBool,
) -> anyhow::Result<Outcome> {
    let server = config.server.as_ref().context("--broadcast needs --server")?;
    let peers = Peers::join(&server.socket, server.vector, SERVER_PATIENCE)?;
    let lanes: Vec<Lane> = (0..plan.lanes).filter_map(|index| Lane::new(index, plan.lanes)).collect();
    let regions: Vec<Region<'_>> =
        lanes.iter().map(|&lane| Region::of_server(&peers, lane)).collect::<anyhow::Result<_>>()?;
    let files = Files::prepare(config, &[])?;
    let mut rows = Rows::reserve(plan.lanes, plan.messages)?;

    let allowed = affinity::allowed_cpus()?;
    let path = regions.first().context("no lanes")?.map.path().to_owned();
    let vms: Vec<_> = lanes.iter().map(|&lane| find_vm(&path, &server.socket, lane)).collect();
    let asked = &config.circumstances;
    let vcpu_cpus: Vec<u32> = vms.iter().flatten().flat_map(vm_info::vcpu_cpus).collect();
    let (clock, host) = HostFacts::settle(asked, &vcpu_cpus)?;

    let maps = regions.iter().map(|region| &region.map);
    let mut group = Group::open(maps, peers, server.wait, &clock, stop, config.timeout)?;
    if !group.meet(config.guest_timeout)? {
        return Ok(Outcome::Interrupted);
    }
    let (vms, mut beside): (Vec<_>, Vec<_>) =
        vms.into_iter().zip(&group.members).map(|(vm, member)| vm_of(vm, member)).unzip();
    let natives = vms.iter().zip(&group.members).zip(&regions).filter_map(|((vm, member), region)| {
        let guest = member.guest.as_ref().filter(|_| vm.is_none())?;
        NativeGuest::of(guest.map_kind, guest.thread, &region.map)
    });
    let answering =
        Answering { vcpus: VcpuThreads::of_all(vms.iter().flatten()), natives: natives.collect() };
    let load = asked.load.as_ref().map(|spec| Load::start(spec, &config.out, &allowed)).transpose()?;
    if asked.mlock {
        priority::lock_memory()?;
    }
    if let Some(level) = asked.fifo {
        priority::set_fifo(level)?;
    }
    let progress = Progress::new("broadcast", plan.warmup.saturating_add(plan.messages), config.print);
    let (mut before, mut counts_before, mut measuring) =
        (Counters::before(&answering), HostCounts::default(), Instant::now());
    let ended = group.run(plan, &mut rows, &progress, |group| {
        (before, counts_before, measuring) = (Counters::before(&answering), group.counts(), Instant::now());
    });
    drop(progress);
    let measured_s = measuring.elapsed().as_secs_f64();
    let after = Counters::after(&answering);
    let interference =
        Interference::between(before, after, std::mem::take(&mut group.gaps), &clock, measured_s);
    let load_record = load.map(Load::stop).transpose();
    let interrupted = matches!(ended, Err(Stopped::Interrupted));
    if rows.iter().next().is_none() {
        return match ended {
            Err(error) if !interrupted => Err(error.into()),
            _ => {
                eprintln!("host-writer: interrupted before the first message that counts; nothing written");
                Ok(Outcome::Interrupted)
            }
        };
    }
    let names: Vec<_> =
        vms.iter().map(|vm| vm.as_ref().and_then(|vm| vm["name"].as_str()).map(str::to_owned)).collect();
    let mut broadcast = BroadcastFacts::of(plan, server, &group, &rows, &names, &clock)?;
    broadcast.subtract(counts_before);
    let first = group.members.first_mut().and_then(|member| member.guest.take()).context("no guest")?;
    let geometry = Geometry::for_payload(regions[0].map.bytes(), 0)?;
    let (session, violations) = close(group, plan.lanes);
    let is_ok = ended.is_ok() && broadcast.ok == plan.messages && violations.count() == 0;
    let run = RunJson {
        head: Head::of(started, started_utc, ended.is_ok(), interrupted),
        preset: None,
        session,
        region: RegionFacts::of(&regions[0].map, &geometry, lanes[0]),
        host,
        guest: GuestFacts::new(first, None, None),
        vm: vms.into_iter().next().flatten(),
        vm_beside: beside.swap_remove(0),
        copy_kernel: None,
        copy_candidates: Vec::new(),
        copy_by_size: Vec::new(),
        roof: None,
        latency: None,
        doorbell: None,
        broadcast: Some(broadcast),
        bandwidth: None,
        load: LoadFacts::of(load_record.as_ref().ok().and_then(Option::as_ref), vm_info::guest_load()),
        interference,
        peer_violations: violations.sentences,
        peer_violation_kinds: violations.kinds,
    };
    let results = Results { broadcast: Some(rows), ..Results::new()? };
    files.write(config, &results, &clock, &run)?;
    print(config, &run, &Figures::of(&[], &results, None, &clock))?;
    match ended {
        Err(Stopped::Interrupted) => {
            eprintln!("host-writer: interrupted; the rows so far are kept");
            return Ok(Outcome::Interrupted);
        }
        Err(error) => return Err(anyhow!(error)),
        Ok(()) => {}
    }
    load_record?;
    Ok(if is_ok { Outcome::AllOk } else { Outcome::SomeNotOk })
}

/// The state of the VM that answers in a lane.
fn find_vm(shm: &Path, socket: &Path, lane: Lane) -> Option<Value> {
    vm_info::find(&vm_info::state_root()?, shm, Some(socket), lane)
}

/// Whether a lane's guest runs in the VM that was found on that lane; else that VM's name.
fn vm_of(vm: Option<Value>, member: &Member<'_>) -> (Option<Value>, Option<String>) {
    match &member.guest {
        Some(guest) => vm_info::of_guest(vm, guest.map_kind),
        None => (None, None),
    }
}

/// Ends all sessions; returns the first one's name, and what guests did against the protocol.
fn close(mut group: Group<'_>, lanes: u64) -> (String, Violations) {
    let mut violations = Violations::default();
    let mut session = None;
    for (index, mut member) in group.members.drain(..).enumerate() {
        member.link.look_for_trouble();
        session.get_or_insert_with(|| member.link.host.session().to_string());
        violations.add_all(&format!("lane {index}/{lanes}"), std::mem::take(&mut member.link.violations));
        member.link.host.close();
    }
    (session.unwrap_or_default(), violations)
}
