//! `provision up`: everything from a command line to a guest that is ready, and nothing left when that fails.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ivshmem_proto::region_file::{self, Ensured};
use sha2::{Digest, Sha256};

use super::{directory_of, print, print_json};
use crate::Error;
use crate::accel::{Asked, Verdict, ladder};
use crate::claim::Claim;
use crate::cli::UpArgs;
use crate::config::UpConfig;
use crate::guest_binary;
use crate::initramfs;
use crate::interrupt::Interrupts;
use crate::kernel::{self, KernelImage};
use crate::paths::cache_root;
use crate::pin;
use crate::qemu::binary;
use crate::report::{Progress, summary};
use crate::start::Start;
use crate::state::{AcceleratorRecord, KernelRecord, QemuRecord, SCHEMA, VmRecord};

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
    let (begin, started_utc) =
        (Instant::now(), humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
    // First of all: threads inherit the mask, and from here on Ctrl-C cleans up.
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let qemu = binary::find(&config.qemu)?;
    let allowed = pin::allowed_cpus().map_err(|e| Error::io("read the CPU affinity", e))?;
    let pins = pin::plan(&config.cpu_pin, config.vcpus, &allowed)?;
    let (mut claim, swept) = Claim::take(directory_of(&config.name)?, &config.shm_path)?;
    if swept {
        progress.note(&format!("removed what a dead VM {} had left", config.name));
    }
    if let Some(note) = &pins.note {
        progress.note(note);
    }
    // The climb mostly waits for the tiny guest; files are made meanwhile. Who insists on KVM is told before
    // anything is fetched that would be of no use.
    let (verdict, prepared) = match config.asked {
        Asked::Tcg => (Verdict::tcg_asked_for(), prepare(config, &mut claim, &interrupts, progress)?),
        Asked::Kvm => {
            let verdict = Verdict::from_climb(config.asked, ladder::climb(&config.kvm_device))?;
            (verdict, prepare(config, &mut claim, &interrupts, progress)?)
        }
        Asked::Auto => thread::scope(|scope| {
            let climb = scope.spawn(|| ladder::climb(&config.kvm_device));
            let prepared = prepare(config, &mut claim, &interrupts, progress)?;
            let climb = climb.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, Error>((Verdict::from_climb(config.asked, climb)?, prepared))
        })?,
    };
    interrupts.check()?;
    let (up, sha256) = thread::scope(|scope| {
        // The image's digest is for the record only: it is computed while the guest boots.
        let digest = scope.spawn(|| sha256(&prepared.kernel.path));
        let kernel = &prepared.kernel;
        let start = Start { config, qemu: &qemu, kernel, pins: &pins, interrupts: &interrupts, progress };
        let up = start.until_ready(&mut claim, verdict)?;
        Ok::<_, Error>((up, digest.join().ok().flatten()))
    })?;
    let record = VmRecord {
        schema: SCHEMA.to_owned(),
        name: config.name.clone(),
        guest: "micro".to_owned(),
        pid: up.qemu.id().pid,
        pid_start_time_ticks: up.qemu.id().start_time_ticks,
        qemu: QemuRecord { path: qemu, version: up.booted.version, args: up.args },
        accelerator: AcceleratorRecord::from(&up.verdict),
        vcpus: config.vcpus,
        memory_bytes: config.memory_bytes,
        shm_path: config.shm_path.clone(),
        shm_bytes: config.shm_bytes,
        shm_created: claim.created_region(),
        shm_inode: prepared.shm_inode,
        kernel: KernelRecord { path: prepared.kernel.path, release: prepared.kernel.release, sha256 },
        vcpu_threads: up.booted.threads,
        phases_ms: up.booted.phases,
        prepare_ms: milliseconds(up.qemu.started.saturating_duration_since(begin)),
        ready: up.booted.ready,
        started_utc,
    };
    interrupts.check()?;
    claim.keep(&record)?;
    up.qemu.release();
    Ok(record)
}

struct Prepared {
    kernel: KernelImage,
    shm_inode: u64,
}

/// Makes the files QEMU is given: kernel, initramfs, region, empty serial log.
fn prepare(
    config: &UpConfig,
    claim: &mut Claim,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<Prepared, Error> {
    let guest = guest_binary::load(config.guest_reader.as_deref())?;
    let kernel =
        kernel::obtain(config.kernel.as_deref(), cache_root, interrupts, &mut |text| progress.note(text))?;
    let path = claim.directory().initramfs();
    initramfs::write(&path, &guest.image).map_err(|e| Error::io(format!("write {}", path.display()), e))?;
    let ensured = region_file::ensure(&config.shm_path, config.shm_bytes)?;
    let inspect = |e| Error::io(format!("inspect {}", config.shm_path.display()), e);
    let shm_inode = std::fs::metadata(&config.shm_path).map_err(inspect)?.ino();
    if ensured == Ensured::Created {
        claim.region_created(shm_inode)?;
    }
    Ok(Prepared { kernel, shm_inode })
}

fn sha256(path: &Path) -> Option<String> {
    let digest = Sha256::digest(std::fs::read(path).ok()?);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
