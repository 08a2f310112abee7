//! `provision run`: one measurement with both sides started, and the guest's log beside the results.

use std::fs::Permissions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{find, host_writer, ssh::LOGIN_WITHIN};
use crate::Error;
use crate::cli::RunArgs;
use crate::guest_unit::{self, UnitError};
use crate::interrupt::Interrupts;
use crate::process::Process;
use crate::ssh::Patience;
use crate::state::{SshRecord, VmRecord};

/// The log's name among the results.
const LOG: &str = "guest-reader.log";
/// How long guest-reader may take to be ready, or to end.
const UNIT_WITHIN: Duration = Duration::from_secs(60);

/// Measures.
///
/// # Errors
/// [`Error`]: one of the two sides did not start.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let host_writer = host_writer::find(args.host_writer.as_deref())?;
    let (directory, vm) = find::running(args.name.name.as_ref())?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(format!("create {}", args.out.display()), e))?;
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let measure =
        || host_writer::measure(&host_writer, &vm.shm_path, &args.out, &args.host_writer_args, &interrupts);
    let (measured, log) = if vm.ssh.is_some() {
        let (ssh, process) = find::reachable(&vm)?;
        let guest = Guest { vm: &vm, ssh, process, interrupts: &interrupts };
        guest.start(&args.guest_args)?;
        // Nothing of ours runs in the guest now but guest-reader, and no connection is open.
        let measured = measure();
        (measured, guest.stop())
    } else {
        if !args.guest_args.is_empty() {
            return Err(Error::BadFlag {
                flag: "--guest-args",
                value: format!("{:?}", args.guest_args),
                why: format!(
                    "VM {} has its guest-reader already: give them to 'provision up --guest micro'",
                    vm.name
                ),
            });
        }
        let path = directory.serial_log();
        let log = std::fs::read(&path).map_err(|e| Error::io(format!("read {}", path.display()), e));
        (measure(), log)
    };
    if let Err(e) = log.and_then(|log| save(&args.out.join(LOG), &log)) {
        // The results are there, and worth more than the guest's words on them.
        eprintln!("provision: the guest's log is not saved: {e}");
    }
    measured.map(ExitCode::from)
}

/// The guest, while measuring.
struct Guest<'a> {
    vm: &'a VmRecord,
    ssh: &'a SshRecord,
    process: Process,
    interrupts: &'a Interrupts,
}

impl Guest<'_> {
    /// Starts guest-reader; when that fails or is interrupted, none is left.
    fn start(&self, options: &str) -> Result<(), Error> {
        let session = find::connect(self.vm, self.ssh, &self.within(LOGIN_WITHIN))?;
        match guest_unit::start(&session, options, &self.within(UNIT_WITHIN)) {
            Ok(()) => Ok(()),
            Err(e @ UnitError::Refused { .. }) => Err(self.explain(e)),
            Err(e) => {
                drop(session);
                // It may have been started all the same. Whoever interrupts this, too, leaves it to the next run.
                let _ = self.stop();
                Err(self.explain(e))
            }
        }
    }

    /// Ends guest-reader and returns its log.
    fn stop(&self) -> Result<Vec<u8>, Error> {
        let session = find::connect(self.vm, self.ssh, &self.within(LOGIN_WITHIN))?;
        guest_unit::stop(&session, &self.within(UNIT_WITHIN)).map_err(|e| self.explain(e))
    }

    fn within(&self, time: Duration) -> Patience<'_> {
        Patience {
            interrupts: self.interrupts,
            process: Some(self.process.as_fd()),
            deadline: Some(Instant::now() + time),
        }
    }

    fn explain(&self, error: UnitError) -> Error {
        match error {
            UnitError::Ssh(e) => Error::ssh(&self.vm.name)(e),
            UnitError::Refused { said } => Error::GuestReader { name: self.vm.name.clone(), said },
        }
    }
}

/// Writes the log aside and renames it into place.
fn save(path: &Path, log: &[u8]) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        // The results beside it are for everyone to read, within the user's umask.
        let mut file =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(directory)?;
        file.write_all(log)?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|e| Error::io(format!("write {}", path.display()), e))
}
