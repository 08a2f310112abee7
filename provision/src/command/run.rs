//! `provision run`: one measurement with both sides started, perhaps under a load in the guest, and the guest's logs
//! beside the results.

use std::fs::Permissions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ivshmem_proto::made_directory::MadeDirectory;

use super::{find, host_writer, ssh::LOGIN_WITHIN};
use crate::Error;
use crate::cli::RunArgs;
use crate::guest_load::GuestLoad;
use crate::guest_unit::{self, UnitError};
use crate::interrupt::Interrupts;
use crate::load_unit::{self, Stopped};
use crate::process::Process;
use crate::qemu::complaint::last_words;
use crate::ssh::{Patience, Session};
use crate::state::{SshRecord, VmRecord};

/// The logs' names among the results.
const LOG: &str = "guest-reader.log";
const LOAD_LOG: &str = "guest-load.log";
/// host-writer's exit code when it refuses its options.
const USAGE: u8 = 2;
/// How long guest-reader, or the load, may take to be ready, or to end.
const UNIT_WITHIN: Duration = Duration::from_secs(60);
/// How long the login may take while the guest's vCPUs are busy with a load.
const LOADED_LOGIN_WITHIN: Duration = Duration::from_secs(180);

/// Measures.
///
/// # Errors
/// [`Error`]: one of the two sides did not start, or the load was not there all the time.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let host_writer = host_writer::find(args.host_writer.as_deref())?;
    let (directory, vm) = find::running(args.name.name.as_ref())?;
    check_guest_flags(args, &vm)?;
    check_server(&vm)?;
    // Nothing is left of it unless something comes into it.
    let _directory = MadeDirectory::ensure(&args.out)?;
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let measure = |load: Option<&str>| {
        let options = &args.host_writer_args;
        host_writer::measure(&host_writer, &vm, &args.out, options, load, &interrupts)
    };
    let (measured, log, load) = if vm.ssh.is_some() {
        let (ssh, process) = find::reachable(&vm)?;
        let guest = Guest { vm: &vm, ssh, process, interrupts: &interrupts, load: args.guest_load };
        guest.start(&args.guest_args)?;
        // Nothing of ours runs in the guest now but guest-reader and the load, and no connection is open.
        let measured = measure(args.guest_load.map(|load| load.command()).as_deref());
        let Ended { log, load } = guest.stop();
        (measured, log, load)
    } else {
        let path = directory.serial_log();
        let log = std::fs::read(&path).map_err(|e| Error::io(format!("read {}", path.display()), e));
        (measure(None), log, None)
    };
    if let Ok(USAGE) = measured {
        // It has measured nothing, and said why: logs of that would lie among other results, or alone.
        return Ok(ExitCode::from(USAGE));
    }
    if let Err(e) = log.and_then(|log| save(&args.out.join(LOG), &log)) {
        // The results are there, and worth more than the guest's words on them.
        eprintln!("provision: the guest's log is not saved: {e}");
    }
    let loaded = load.map_or(Ok(()), |load| loaded(&vm, load, &args.out));
    match (measured, loaded) {
        (Ok(0), Err(e)) => Err(e),
        (measured, loaded) => {
            // A measurement that failed says so with its own code.
            if let Err(e) = loaded {
                eprintln!("provision: {e}");
            }
            measured.map(ExitCode::from)
        }
    }
}

/// Whether its server, if it has one, can be joined by host-writer.
fn check_server(vm: &VmRecord) -> Result<(), Error> {
    let (Some(server), Some(doorbell)) = (vm.doorbell_server(), &vm.doorbell) else { return Ok(()) };
    if server.is_alive() {
        return Ok(());
    }
    Err(Error::DeadServer { name: doorbell.joined.clone().unwrap_or_else(|| vm.name.clone()) })
}

/// What a micro guest cannot do: its one program runs already.
fn check_guest_flags(args: &RunArgs, vm: &VmRecord) -> Result<(), Error> {
    if vm.ssh.is_some() {
        return Ok(());
    }
    let refuse = |flag, value, why| Err(Error::BadFlag { flag, value, why });
    if !args.guest_args.is_empty() {
        let name = &vm.name;
        let why =
            format!("VM {name} has its guest-reader already: give them to 'provision up --guest micro'");
        return refuse("--guest-args", format!("{:?}", args.guest_args), why);
    }
    if let Some(load) = args.guest_load {
        let why = format!(
            "VM {} is a micro guest, in which nothing but guest-reader runs: measure in a Debian guest \
             ('provision up'), or load the host with host-writer's own --load",
            vm.name
        );
        return refuse("--guest-load", load.to_string(), why);
    }
    Ok(())
}

/// Keeps the load's log; an error unless the load ran until it was stopped.
fn loaded(vm: &VmRecord, load: Result<Stopped, Error>, out: &Path) -> Result<(), Error> {
    let Stopped { log, ran_until_now } = load?;
    if let Err(e) = save(&out.join(LOAD_LOG), &log) {
        eprintln!("provision: the load's log is not saved: {e}");
    }
    if ran_until_now {
        return Ok(());
    }
    Err(Error::GuestLoadEnded { name: vm.name.clone(), said: last_words(&String::from_utf8_lossy(&log)) })
}

/// What is left of a measurement's guest side.
struct Ended {
    /// guest-reader's log.
    log: Result<Vec<u8>, Error>,
    /// The load, if there was one.
    load: Option<Result<Stopped, Error>>,
}

/// The guest, while measuring.
struct Guest<'a> {
    vm: &'a VmRecord,
    ssh: &'a SshRecord,
    process: Process,
    interrupts: &'a Interrupts,
    load: Option<GuestLoad>,
}

impl Guest<'_> {
    /// Starts guest-reader, and then the load; when that fails or is interrupted, neither is left.
    fn start(&self, options: &str) -> Result<(), Error> {
        let session = find::connect(self.vm, self.ssh, &self.within(LOGIN_WITHIN))?;
        match guest_unit::start(&session, options, &self.within(UNIT_WITHIN)) {
            Ok(()) => {}
            Err(e @ UnitError::Refused { .. }) => return Err(self.explain(e)),
            Err(e) => return Err(self.give_up(session, self.explain(e))),
        }
        let Some(load) = &self.load else { return Ok(()) };
        match load_unit::start(&session, load, &self.within(UNIT_WITHIN)) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.give_up(session, self.explain_load(e))),
        }
    }

    /// Ends what may have been started all the same. Whoever interrupts this, too, leaves it to the next run.
    fn give_up(&self, session: Session, error: Error) -> Error {
        drop(session);
        let _ = self.stop();
        error
    }

    /// Ends the load, if there is one, and guest-reader, and returns their logs. The load first: all goes faster then.
    fn stop(&self) -> Ended {
        let (login_within, load) = match self.load {
            Some(_) => (LOADED_LOGIN_WITHIN, true),
            None => (LOGIN_WITHIN, false),
        };
        let session = match find::connect(self.vm, self.ssh, &self.within(login_within)) {
            Ok(session) => session,
            Err(e) if load => {
                let said = format!("it could not be asked whether it still runs: {e}");
                let ended = Error::GuestLoadEnded { name: self.vm.name.clone(), said };
                return Ended { log: Err(e), load: Some(Err(ended)) };
            }
            Err(e) => return Ended { log: Err(e), load: None },
        };
        let load = load
            .then(|| load_unit::stop(&session, &self.within(UNIT_WITHIN)).map_err(|e| self.explain_load(e)));
        let log = guest_unit::stop(&session, &self.within(UNIT_WITHIN)).map_err(|e| self.explain(e));
        Ended { log, load }
    }

    fn within(&self, time: Duration) -> Patience<'_> {
        Patience::within(self.interrupts, self.process.as_fd(), time)
    }

    fn explain(&self, error: UnitError) -> Error {
        match error {
            UnitError::Ssh(e) => Error::ssh(&self.vm.name)(e),
            UnitError::Refused { said } => Error::GuestReader { name: self.vm.name.clone(), said },
        }
    }

    fn explain_load(&self, error: UnitError) -> Error {
        match error {
            UnitError::Ssh(e) => Error::ssh(&self.vm.name)(e),
            UnitError::Refused { said } => Error::GuestLoad { name: self.vm.name.clone(), said },
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
