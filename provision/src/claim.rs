//! The right to make a VM of some name, and the duty to leave nothing behind when that fails.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::Error;
use crate::doorbell_server::is_memfd;
use crate::name::VmName;
use crate::process::{ProcessId, host_boot_id};
use crate::state::{
    Lock, LockError, RegionUse, StartingRecord, VmDirectory, VmRecord, regions_in_use, users_of_server,
};

/// Longest wait for a process that was sent SIGKILL.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A locked VM directory with nothing living in it. Dropping it removes everything made under it, unless it was
/// [`Claim::keep`]t.
#[derive(Debug)]
pub struct Claim {
    directory: VmDirectory,
    lock: Option<Lock>,
    starting: StartingRecord,
}

/// What was left of an earlier VM and is gone now.
pub type Swept = bool;

impl Claim {
    /// Claims the name, and the region or a place at the server of the VM `joined`. Remains of a dead VM are removed, and that is told.
    ///
    /// # Errors
    /// A VM of that name lives or is being worked on; another VM has the region; there is no server to join; the state is
    /// unusable.
    pub fn take(
        directory: VmDirectory,
        shm_path: &Path,
        joined: Option<&VmName>,
    ) -> Result<(Self, Swept), Error> {
        let lock = lock(&directory)?;
        if let Some(vm) = directory.read_vm()?.filter(VmRecord::is_alive) {
            return Err(already_up(&vm));
        }
        // One command at a time looks at the others' regions and enters its own.
        let root = lock_root(directory.root())?;
        let uses = regions_in_use(directory.root(), directory.name());
        if let Err(error) = joined.map_or(Ok(()), |owner| check_server(directory.root(), owner)) {
            lock.remove_with_directory();
            return Err(error);
        }
        let is_same = |other: &&RegionUse| canonical(&other.shm_path) == canonical(shm_path);
        if let Some(other) = uses.iter().find(is_same).filter(|_| !is_memfd(shm_path) && joined.is_none()) {
            let taken = Error::RegionTaken { shm_path: shm_path.to_owned(), vm: other.vm.clone() };
            lock.remove_with_directory();
            return Err(taken);
        }
        no_users(&directory)?;
        let swept = sweep(&directory, &uses)?;
        let starter = ProcessId::current().map_err(|source| Error::io("read /proc", source))?;
        let starting = StartingRecord {
            starter,
            qemu: None,
            doorbell_server: None,
            joined: joined.cloned(),
            shm_path: shm_path.to_owned(),
            shm_created_inode: None,
            machine_created: false,
            host_boot_id: host_boot_id(),
        };
        let claim = Self { directory, lock: Some(lock), starting };
        claim.directory.write_starting(&claim.starting)?;
        drop(root);
        Ok((claim, swept))
    }

    /// The VM's directory.
    pub fn directory(&self) -> &VmDirectory {
        &self.directory
    }

    /// Notes that the region's file was made by us.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn region_created(&mut self, inode: u64) -> Result<(), Error> {
        self.starting.shm_created_inode = Some(inode);
        Ok(self.directory.write_starting(&self.starting)?)
    }

    /// Puts what the VM had kept aside, until it is ready without it; true when there was something.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn put_machine_aside(&self) -> Result<bool, Error> {
        Ok(self.directory.put_machine_aside()?)
    }

    /// Makes the directory of what outlives `down`. Until the VM is ready, that goes, too, if this start fails.
    ///
    /// # Errors
    /// It cannot be made or noted.
    pub fn create_machine(&mut self) -> Result<(), Error> {
        self.starting.machine_created = true;
        self.directory.write_starting(&self.starting)?;
        Ok(self.directory.create_machine()?)
    }

    /// Notes which process is the VM.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn qemu_started(&mut self, qemu: ProcessId) -> Result<(), Error> {
        self.starting.qemu = Some(qemu);
        Ok(self.directory.write_starting(&self.starting)?)
    }

    /// Notes which process serves the VM's doorbells.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn doorbell_server_started(&mut self, server: ProcessId) -> Result<(), Error> {
        self.starting.doorbell_server = Some(server);
        Ok(self.directory.write_starting(&self.starting)?)
    }

    /// Whether the region's file was made by us.
    pub fn created_region(&self) -> bool {
        self.starting.shm_created_inode.is_some()
    }

    /// The VM is ready: records it, and leaves everything in place.
    ///
    /// # Errors
    /// The record cannot be written; then everything is removed after all.
    pub fn keep(mut self, record: &VmRecord) -> Result<(), Error> {
        self.directory.write_vm(record)?;
        self.directory.remove_machine_aside()?;
        self.directory.remove_starting()?;
        self.lock = None;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        if let Some(inode) = self.starting.shm_created_inode {
            remove_region(&self.starting.shm_path, inode);
        }
        let _ = self.directory.clear();
        if self.starting.machine_created {
            let _ = self.directory.remove_machine();
        }
        let _ = self.directory.take_machine_back();
        lock.remove_with_directory();
    }
}

/// Whether a VM's server can be joined: nobody is about to end it. To be asked with the state root locked.
fn check_server(root: &Path, owner: &VmName) -> Result<(), Error> {
    let directory = VmDirectory::new(root, owner);
    let vm = directory.read_vm()?.filter(VmRecord::is_alive);
    match vm.and_then(|vm| vm.own_doorbell_server()) {
        Some(server) if !server.is_alive() => Err(Error::DeadServer { name: owner.clone() }),
        None => Err(Error::NoServer { name: owner.clone() }),
        Some(_) if Lock::is_held(&directory.lock_file()) => {
            Err(Error::Busy { name: owner.clone(), holder: None })
        }
        Some(_) => Ok(()),
    }
}

/// Whether nobody else lives by a VM's server. The caller holds the VM's lock, so that nobody joins it from now on.
///
/// # Errors
/// [`Error::ServerInUse`].
pub fn check_unused(directory: &VmDirectory) -> Result<(), Error> {
    let _root = lock_root(directory.root())?;
    no_users(directory)
}

fn no_users(directory: &VmDirectory) -> Result<(), Error> {
    match users_of_server(directory.root(), directory.name()) {
        users if users.is_empty() => Ok(()),
        users => Err(Error::ServerInUse { name: directory.name().clone(), users }),
    }
}

/// Locks a VM's directory, creating it.
fn lock(directory: &VmDirectory) -> Result<Lock, Error> {
    loop {
        directory.create()?;
        match Lock::acquire(&directory.lock_file()) {
            Ok(lock) => return Ok(lock),
            // A `down` removed the directory between the two steps.
            Err(LockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(busy(directory.name(), e)),
        }
    }
}

/// What a failed lock means to the user.
pub fn busy(name: &VmName, error: LockError) -> Error {
    match error {
        LockError::Busy { holder } => Error::Busy { name: name.clone(), holder },
        other => Error::Lock(other),
    }
}

/// The state root locked as a directory: no file of its own, and held for a few file operations only.
fn lock_root(root: &Path) -> Result<Flock<File>, Error> {
    let file = File::open(root).map_err(|source| Error::io("open the state root", source))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Error::io("lock the state root", errno.into()))
}

fn already_up(vm: &VmRecord) -> Error {
    Error::AlreadyUp { name: vm.name.clone(), pid: vm.pid, since: vm.started_utc.clone() }
}

/// Ends and removes what is left of a dead VM, in a directory whose lock the caller holds: a QEMU whose starter
/// was killed, the doorbell server, the region it had created (unless another VM has it now), and the files.
///
/// # Errors
/// The remains do not go away.
pub fn sweep(directory: &VmDirectory, uses: &[RegionUse]) -> Result<Swept, Error> {
    let (vm, starting) = (directory.read_vm()?, directory.read_starting()?);
    let start = starting.as_ref().filter(|start| start.is_of_this_boot());
    if let Some(qemu) = start.and_then(|start| start.qemu) {
        end_process("QEMU", qemu)?;
    }
    // After QEMU, which has nothing to say to a server but by its end.
    let servers =
        [vm.as_ref().and_then(VmRecord::own_doorbell_server), start.and_then(|s| s.doorbell_server)];
    for server in servers.into_iter().flatten() {
        end_process("the doorbell server", server)?;
    }
    if starting.as_ref().is_some_and(|start| start.machine_created) {
        directory.remove_machine()?;
    }
    directory.take_machine_back()?;
    let regions = [
        vm.as_ref().filter(|vm| vm.shm_created).map(|vm| (vm.shm_path.as_path(), vm.shm_inode)),
        starting.as_ref().and_then(|start| Some((start.shm_path.as_path(), start.shm_created_inode?))),
    ];
    for (path, inode) in regions.into_iter().flatten() {
        if !uses.iter().any(|other| canonical(&other.shm_path) == canonical(path)) {
            remove_region(path, inode);
        }
    }
    directory.clear()?;
    Ok(vm.is_some() || starting.is_some())
}

/// Kills a process and waits for its end.
///
/// # Errors
/// It does not end, or is not ours.
pub fn end_process(what: &'static str, id: ProcessId) -> Result<(), Error> {
    let failed = |source| Error::io(format!("end {what}"), source);
    let Some(process) = id.open().map_err(failed)? else { return Ok(()) };
    process.kill().map_err(failed)?;
    if process.wait_until(Instant::now() + KILLED_WITHIN).map_err(failed)? {
        return Ok(());
    }
    Err(Error::Immortal { what, pid: id.pid })
}

/// Removes the region's file if it is still the one that was created.
pub fn remove_region(path: &Path, inode: u64) {
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.ino() == inode) {
        let _ = std::fs::remove_file(path);
    }
}

/// The path with its symbolic links resolved, also when the file itself is not there yet.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        parent.zip(path.file_name()).map_or_else(|| path.to_owned(), |(parent, name)| parent.join(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::doorbell_example;

    fn directory(root: &Path, name: &str) -> VmDirectory {
        VmDirectory::new(root, &name.parse().unwrap())
    }

    #[test]
    fn a_claim_given_up_leaves_nothing_not_even_the_region_it_made() {
        let root = tempfile::tempdir().unwrap();
        let region = root.path().join("region");
        std::fs::write(&region, "x").unwrap();
        let (mut claim, swept) = Claim::take(directory(root.path(), "vm"), &region, None).unwrap();
        assert!(!swept);
        claim.region_created(std::fs::metadata(&region).unwrap().ino()).unwrap();
        drop(claim);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_region_that_is_another_file_by_now_is_spared() {
        let root = tempfile::tempdir().unwrap();
        let region = root.path().join("region");
        std::fs::write(&region, "x").unwrap();
        remove_region(&region, std::fs::metadata(&region).unwrap().ino() + 1);
        assert!(region.exists());
    }

    #[test]
    fn a_name_and_a_region_belong_to_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let region = root.path().join("region");
        let (claim, _) = Claim::take(directory(root.path(), "one"), &region, None).unwrap();
        let same_name =
            Claim::take(directory(root.path(), "one"), &root.path().join("other"), None).unwrap_err();
        assert!(matches!(same_name, Error::Busy { holder: Some(pid), .. } if pid == std::process::id()));
        let through_a_link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &through_a_link).unwrap();
        let same_region =
            Claim::take(directory(root.path(), "two"), &through_a_link.join("region"), None).unwrap_err();
        assert!(
            matches!(same_region, Error::RegionTaken { ref vm, .. } if vm.as_str() == "one"),
            "{same_region}"
        );
        assert!(!root.path().join("two").exists());
        drop(claim);
        Claim::take(directory(root.path(), "two"), &region, None).unwrap();
    }

    #[test]
    fn a_server_is_joined_while_its_vm_lives_and_is_not_taken_from_who_joined() {
        let root = tempfile::tempdir().unwrap();
        let (a, owner) = ("a".parse::<VmName>().unwrap(), directory(root.path(), "a"));
        let region = root.path().join("region");
        let join = || Claim::take(directory(root.path(), "b"), &region, Some(&a));
        assert!(matches!(join().unwrap_err(), Error::NoServer { .. }));
        let me = ProcessId::current().unwrap();
        let mut vm = VmRecord { name: a.clone(), shm_path: region.clone(), ..doorbell_example() };
        (vm.pid, vm.pid_start_time_ticks, vm.host_boot_id) = (me.pid, me.start_time_ticks, host_boot_id());
        let doorbell = vm.doorbell.as_mut().unwrap();
        (doorbell.server_pid, doorbell.server_pid_start_time_ticks) = (me.pid, me.start_time_ticks);
        owner.create().unwrap();
        owner.write_vm(&vm).unwrap();
        let (claim, _) = join().unwrap();
        let error = check_unused(&owner).unwrap_err();
        assert!(matches!(&error, Error::ServerInUse { users, .. } if users[0].as_str() == "b"), "{error}");
        drop(claim);
        check_unused(&owner).unwrap();
        // Whoever has the lock may be ending it.
        let lock = Lock::acquire(&owner.lock_file()).unwrap();
        assert!(matches!(join().unwrap_err(), Error::Busy { ref name, .. } if *name == a));
        drop(lock);
        // Its server has died: nobody has its pid since so long ago.
        let doorbell = vm.doorbell.as_mut().unwrap();
        doorbell.server_pid_start_time_ticks -= 1;
        owner.write_vm(&vm).unwrap();
        let error = join().unwrap_err().to_string();
        assert!(
            error.starts_with("the doorbell server of VM a has died, and QEMU cannot rejoin another: "),
            "{error}"
        );
        // One that has itself joined has no server to give.
        vm.doorbell.as_mut().unwrap().joined = Some("c".parse().unwrap());
        owner.write_vm(&vm).unwrap();
        assert!(matches!(join().unwrap_err(), Error::NoServer { .. }));
        assert!(!root.path().join("b").exists());
    }

    #[test]
    fn what_a_killed_start_left_is_swept_with_its_qemu() {
        let root = tempfile::tempdir().unwrap();
        let (region, vm) = (root.path().join("region"), directory(root.path(), "vm"));
        std::fs::write(&region, "x").unwrap();
        vm.create().unwrap();
        let mut orphan = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let qemu = ProcessId::of(orphan.id()).unwrap();
        let mut other_orphan = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let server = ProcessId::of(other_orphan.id()).unwrap();
        let me = ProcessId::current().unwrap();
        let left = StartingRecord {
            starter: ProcessId { start_time_ticks: 1, ..me },
            qemu: Some(qemu),
            doorbell_server: Some(server),
            joined: None,
            shm_path: region.clone(),
            shm_created_inode: Some(std::fs::metadata(&region).unwrap().ino()),
            machine_created: true,
            host_boot_id: host_boot_id(),
        };
        vm.write_starting(&left).unwrap();
        vm.create_machine().unwrap();
        let machine = vm.machine();
        let (claim, swept) = Claim::take(vm, &root.path().join("other"), None).unwrap();
        assert!(swept && !region.exists() && !machine.exists() && !qemu.is_alive() && !server.is_alive());
        orphan.wait().unwrap();
        other_orphan.wait().unwrap();
        drop(claim);
    }
}
