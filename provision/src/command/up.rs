//! `provision up`: everything from a command line to a guest that is ready, and nothing left when that fails.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem_proto::server_client::join;

use super::{directory_of, print, print_json};
use crate::Error;
use crate::accel::{Asked, Verdict, ladder};
use crate::claim::Claim;
use crate::cli::UpArgs;
use crate::config::UpConfig;
use crate::doorbell::Server;
use crate::interrupt::Interrupts;
use crate::keep::{self, utc_now};
use crate::name::VmName;
use crate::pin;
use crate::prepare::{Parts, prepare, sha256};
use crate::process::host_boot_id;
use crate::qemu::binary;
use crate::report::{Progress, summary};
use crate::start::Start;
use crate::state::{self, AcceleratorRecord, KernelRecord, QemuRecord, SCHEMA, VmRecord};

/// Longest wait for a server to say all to a peer; it takes a millisecond.
const SERVER_PATIENCE: Duration = Duration::from_secs(5);

/// Starts a VM as the command line says.
///
/// # Errors
/// [`Error`]; nothing is left behind.
pub(super) fn run(args: UpArgs) -> Result<ExitCode, Error> {
    let progress = Progress { quiet: args.quiet };
    let json = args.json;
    let config = UpConfig::try_from(args)?;
    let record = up(&config, progress)?;
    // The VM is up, whatever becomes of these words.
    if json {
        print_json(&record)?;
    } else if !progress.quiet {
        print(summary(&record).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn up(config: &UpConfig, progress: Progress) -> Result<VmRecord, Error> {
    let (begin, started_utc) = (Instant::now(), utc_now());
    // First of all: threads inherit the mask, and from here on Ctrl-C cleans up.
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let qemu = binary::find(&config.qemu)?;
    let allowed = pin::allowed_cpus().map_err(|e| Error::io("read the CPU affinity", e))?;
    let pins = pin::plan(&config.cpu_pin, config.vcpus, &allowed)?;
    let directory = directory_of(&config.name)?;
    if config.doorbell_vectors.is_some() && config.join.is_none() {
        directory.check_doorbell_socket()?;
    }
    let (mut claim, swept) = Claim::take(directory, &config.region.path, joined(config))?;
    if swept {
        progress.note(&format!("removed what a dead VM {} had left", config.name));
    }
    if let Some(note) = &pins.note {
        progress.note(note);
    }
    let (verdict, parts) = climb_and_prepare(config, &mut claim, &interrupts, progress)?;
    interrupts.check()?;
    // It lives as long as this start, unless that succeeds.
    let server = doorbell_server(config, &mut claim, &interrupts)?;
    if let Some(doorbell) = &config.join {
        // QEMU waits without a word, and without an end, at a server that turns it away.
        drop(join(&doorbell.socket, doorbell.vectors, SERVER_PATIENCE)?);
    }
    let (mut up, kernel_sha256) = thread::scope(|scope| {
        // The kernel's digest is for the record only: it is computed while the guest boots.
        let digest = scope.spawn(|| parts.kernel_path().and_then(sha256));
        let identity = claim.directory().identity();
        let guest = parts.guest(&identity);
        let start = Start { config, qemu: &qemu, pins: &pins, interrupts: &interrupts, progress, guest };
        let up = start.until_ready(&mut claim, verdict)?;
        Ok::<_, Error>((up, digest.join().ok().flatten()))
    })?;
    let debian = match (&parts, up.debian.take()) {
        (Parts::Debian(parts), Some(debian)) => {
            Some(keep::debian(parts, claim.directory(), &qemu, &up, debian, progress)?)
        }
        _ => None,
    };
    let (kernel_path, header_release) = parts.kernel();
    let record = VmRecord {
        schema: SCHEMA.to_owned(),
        name: config.name.clone(),
        guest: config.guest.as_str().to_owned(),
        pid: up.qemu.id().pid,
        pid_start_time_ticks: up.qemu.id().start_time_ticks,
        qemu: QemuRecord {
            path: qemu,
            version: up.booted.version,
            args: up.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        },
        accelerator: AcceleratorRecord::from(&up.verdict),
        vcpus: config.vcpus,
        memory_bytes: config.memory_bytes,
        shm_path: config.region.path.clone(),
        shm_bytes: config.shm_bytes,
        hugepages: config.region.page,
        doorbell: config.join.clone().or_else(|| server.as_ref().map(|server| server.record.clone())),
        viommu: config.viommu,
        shm_created: claim.created_region(),
        shm_inode: parts.shm_inode(),
        kernel: KernelRecord {
            path: kernel_path,
            release: debian.as_ref().map(|kept| kept.kernel.clone()).or(header_release),
            sha256: kernel_sha256,
        },
        vcpu_threads: up.booted.threads,
        phases_ms: up.booted.phases,
        prepare_ms: milliseconds(up.qemu.started.saturating_duration_since(begin)),
        ready: up.booted.ready,
        started_utc,
        host_boot_id: host_boot_id(),
        start: debian.as_ref().map_or(state::Start::Cold, |kept| kept.start),
        disk: debian.as_ref().map(|kept| kept.disk.clone()),
        ssh: debian.map(|kept| kept.ssh),
    };
    interrupts.check()?;
    claim.keep(&record)?;
    up.qemu.release();
    if let Some(server) = server {
        server.release();
    }
    Ok(record)
}

/// The VM whose server this one is to use.
fn joined(config: &UpConfig) -> Option<&VmName> {
    config.join.as_ref().and_then(|doorbell| doorbell.joined.as_ref())
}

/// Starts the VM's doorbell server, if it shall have one of its own: QEMU connects while it starts.
fn doorbell_server(
    config: &UpConfig,
    claim: &mut Claim,
    interrupts: &Interrupts,
) -> Result<Option<Server>, Error> {
    let Some(mut server) = Server::start(config, claim.directory())? else { return Ok(None) };
    claim.doorbell_server_started(server.id())?;
    server.listens(interrupts)?;
    Ok(Some(server))
}

/// Chooses the accelerator and makes the files. The climb mostly waits for the tiny guest; files are made meanwhile.
/// Who insists on KVM is told before anything is fetched that would be of no use.
fn climb_and_prepare(
    config: &UpConfig,
    claim: &mut Claim,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<(Verdict, Parts), Error> {
    match config.asked {
        Asked::Tcg => Ok((Verdict::tcg_asked_for(), prepare(config, claim, interrupts, progress)?)),
        Asked::Kvm => {
            let verdict = Verdict::from_climb(config.asked, ladder::climb(&config.kvm_device))?;
            Ok((verdict, prepare(config, claim, interrupts, progress)?))
        }
        Asked::Auto => thread::scope(|scope| {
            let climb = scope.spawn(|| ladder::climb(&config.kvm_device));
            let parts = prepare(config, claim, interrupts, progress)?;
            let climb = climb.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((Verdict::from_climb(config.asked, climb)?, parts))
        }),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
