//! What is kept of a Debian guest that is ready: the snapshot of that moment, and what later commands need to know.

use std::path::Path;
use std::time::SystemTime;

use crate::Error;
use crate::prepare::debian::DebianParts;
use crate::report::Progress;
use crate::seed::LOGIN_USER;
use crate::start::{DebianUp, Up};
use crate::state::{DiskRecord, MadeOf, SnapshotRecord, SshRecord, Start, VmDirectory, VmDisk, args_sha256};

/// What the VM's record says of a Debian guest.
#[derive(Debug)]
pub struct Kept {
    /// Booted or restored.
    pub start: Start,
    /// The disk.
    pub disk: VmDisk,
    /// The way in.
    pub ssh: SshRecord,
    /// The guest's kernel release.
    pub kernel: String,
}

/// A moment as text.
pub fn utc_now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Saves a snapshot, if one is wanted and the guest was not just restored from it, and records the disk. A snapshot
/// that cannot be saved is no reason to give up the VM: that is told, and the next start boots.
///
/// # Errors
/// The record cannot be written.
pub fn debian(
    parts: &DebianParts,
    directory: &VmDirectory,
    qemu: &Path,
    up: &Up,
    mut debian: DebianUp,
    progress: Progress,
) -> Result<Kept, Error> {
    let mut disk = parts.disk.clone();
    if !debian.restored {
        // Whatever is in the disk is older than this boot, which has changed the disk.
        if let Some(old) = disk.snapshot.take() {
            let _ = debian.monitor.delete(&old.made_of.tag());
        }
        if parts.snapshot {
            disk.snapshot = save(parts, qemu, up, &mut debian, progress);
        }
        if let Some(given) = &parts.new_user_data {
            let path = directory.user_data();
            std::fs::write(&path, &given.text)
                .map_err(|e| Error::io(format!("write {}", path.display()), e))?;
            disk.user_data_mode = Some(given.mode);
        }
        directory.write_disk(&disk)?;
    }
    let image = &disk.base_image;
    Ok(Kept {
        start: if debian.restored { Start::Restored } else { Start::Cold },
        disk: VmDisk {
            path: directory.disk(),
            bytes: disk.bytes,
            image: image.to_string(),
            image_sha256: image.sha256.clone(),
            instance_id: parts.seed.instance_id.clone(),
            snapshot: disk.snapshot.is_some(),
        },
        ssh: SshRecord {
            port: debian.port,
            user: LOGIN_USER.to_owned(),
            identity_file: directory.identity(),
            known_hosts_file: directory.known_hosts(),
            host_key: parts.host_key.clone(),
            host_alias: directory.name().to_string(),
        },
        kernel: debian.kernel,
    })
}

fn save(
    parts: &DebianParts,
    qemu: &Path,
    up: &Up,
    debian: &mut DebianUp,
    progress: Progress,
) -> Option<SnapshotRecord> {
    let DiskRecord { base_image, .. } = &parts.disk;
    let made_of = MadeOf {
        image_sha256: base_image.sha256.clone(),
        seed_sha256: parts.seed.sha256.clone(),
        qemu_version: up.booted.version.clone(),
        accelerator: up.verdict.effective,
        args_sha256: args_sha256(qemu, &up.args),
    };
    match debian.monitor.save(&made_of.tag()) {
        Ok(()) => {
            progress
                .note("saved a snapshot of this moment: the next 'provision up' returns to it in seconds");
            Some(SnapshotRecord { made_of, ready: up.booted.ready.clone(), saved_utc: utc_now() })
        }
        Err(e) => {
            progress.note(&format!("no snapshot could be saved ({e}): the next start will boot"));
            None
        }
    }
}
