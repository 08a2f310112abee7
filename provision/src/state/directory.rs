//! The directory of one VM and the files in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ivshmem_proto::server_client::SOCKET_PATH_BYTES_MAX;

use super::{DiskRecord, StartingRecord, StateError, VmRecord, read_record, write_record};
use crate::hugepages::{self, HugePage};
use crate::name::VmName;

/// Paths of one VM's state. Making one touches nothing.
#[derive(Debug, Clone)]
pub struct VmDirectory {
    path: PathBuf,
    name: VmName,
}

impl VmDirectory {
    /// The directory of `name` below `root`.
    pub fn new(root: &Path, name: &VmName) -> Self {
        Self { path: root.join(name.as_str()), name: name.clone() }
    }

    /// Whose directory it is.
    pub fn name(&self) -> &VmName {
        &self.name
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state root it lies in.
    pub fn root(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The file whose flock(2) says that a command works on this VM.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// What the guest wrote to its first serial port.
    pub fn serial_log(&self) -> PathBuf {
        self.path.join("serial.log")
    }

    /// What QEMU wrote to its standard error.
    pub fn qemu_log(&self) -> PathBuf {
        self.path.join("qemu.log")
    }

    /// QEMU's second monitor, for `down` and `status`.
    pub fn qmp_socket(&self) -> PathBuf {
        self.path.join("qmp.sock")
    }

    /// Where the doorbell server listens.
    pub fn doorbell_socket(&self) -> PathBuf {
        self.path.join("doorbell.sock")
    }

    /// What the doorbell server says of its peers.
    pub fn doorbell_log(&self) -> PathBuf {
        self.path.join("doorbell.log")
    }

    /// Where a hugetlbfs for the region is mounted, when there is none to be had.
    pub fn hugepages(&self) -> PathBuf {
        self.path.join("hugepages")
    }

    /// The guest's root file system.
    pub fn initramfs(&self) -> PathBuf {
        self.path.join("initramfs.cpio")
    }

    /// What outlives `down`: the disk with its snapshot, the seed, the keys.
    pub fn machine(&self) -> PathBuf {
        self.path.join("machine")
    }

    /// Where that lies while `up --fresh` makes a new one: it comes back if that fails.
    pub fn machine_aside(&self) -> PathBuf {
        self.path.join("machine.aside")
    }

    /// What the guest last wrote to its first serial port, once it does not run any more.
    pub fn last_serial_log(&self) -> PathBuf {
        self.machine().join("serial.log")
    }

    /// The disk.
    pub fn disk(&self) -> PathBuf {
        self.machine().join("disk.qcow2")
    }

    /// The seed volume.
    pub fn seed(&self) -> PathBuf {
        self.machine().join("seed.img")
    }

    /// The user's cloud-config, kept for later starts.
    pub fn user_data(&self) -> PathBuf {
        self.machine().join("user-data.yaml")
    }

    /// The private key that logs in.
    pub fn identity(&self) -> PathBuf {
        self.machine().join("id_ed25519")
    }

    /// The guest's private host key.
    pub fn host_key(&self) -> PathBuf {
        self.machine().join("ssh_host_ed25519_key")
    }

    /// The guest's host key as the ssh client wants it.
    pub fn known_hosts(&self) -> PathBuf {
        self.machine().join("known_hosts")
    }

    fn disk_json(&self) -> PathBuf {
        self.machine().join("disk.json")
    }

    /// Creates the directory of what outlives `down`.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn create_machine(&self) -> Result<(), StateError> {
        let path = self.machine();
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(StateError::io("create", &path))
    }

    /// Removes what outlives `down`; true when there was something.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn remove_machine(&self) -> Result<bool, StateError> {
        remove_directory(&self.machine())
    }

    /// Puts what outlives `down` aside; true when there was something.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn put_machine_aside(&self) -> Result<bool, StateError> {
        rename_directory(&self.machine(), &self.machine_aside())
    }

    /// Takes back what was put aside, in place of what was made instead.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn take_machine_back(&self) -> Result<(), StateError> {
        if self.machine_aside().exists() {
            remove_directory(&self.machine())?;
            rename_directory(&self.machine_aside(), &self.machine())?;
        }
        Ok(())
    }

    /// Removes what was put aside.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn remove_machine_aside(&self) -> Result<bool, StateError> {
        remove_directory(&self.machine_aside())
    }

    /// The record of the disk that is kept.
    ///
    /// # Errors
    /// It is there but unreadable.
    pub fn read_disk(&self) -> Result<Option<DiskRecord>, StateError> {
        read_record(&self.disk_json())
    }

    /// Records the disk.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn write_disk(&self, record: &DiskRecord) -> Result<(), StateError> {
        write_record(&self.disk_json(), record)
    }

    fn vm_json(&self) -> PathBuf {
        self.path.join("vm.json")
    }

    fn starting_json(&self) -> PathBuf {
        self.path.join("starting.json")
    }

    /// Whether the doorbell server can listen, and QEMU find it.
    ///
    /// # Errors
    /// Its socket would have too long a path.
    pub fn check_doorbell_socket(&self) -> Result<(), StateError> {
        check_socket_path(self.doorbell_socket())
    }

    /// Creates the directory, private to the user, and its parents.
    ///
    /// # Errors
    /// The socket in it would have too long a path, or the operating system refuses.
    pub fn create(&self) -> Result<(), StateError> {
        check_socket_path(self.qmp_socket())?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(StateError::io("create", &self.path))
    }

    /// The record of a VM that became ready.
    ///
    /// # Errors
    /// It is there but unreadable.
    pub fn read_vm(&self) -> Result<Option<VmRecord>, StateError> {
        read_record(&self.vm_json())
    }

    /// Records a VM that is ready.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn write_vm(&self, record: &VmRecord) -> Result<(), StateError> {
        write_record(&self.vm_json(), record)
    }

    /// The record of a start under way, or of one that was cut off.
    ///
    /// # Errors
    /// It is there but unreadable.
    pub fn read_starting(&self) -> Result<Option<StartingRecord>, StateError> {
        read_record(&self.starting_json())
    }

    /// Records a start under way.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn write_starting(&self, record: &StartingRecord) -> Result<(), StateError> {
        write_record(&self.starting_json(), record)
    }

    /// Removes the record of a start that is over.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn remove_starting(&self) -> Result<(), StateError> {
        let path = self.starting_json();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StateError::io("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    /// Mounts a hugetlbfs with pages of that size there, until [`Self::clear`].
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn mount_hugepages(&self, page: HugePage) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.hugepages())?;
        hugepages::mount_at(&self.hugepages(), page)
    }

    /// Removes everything in the directory but what outlives `down`, and the lock, which whoever calls this holds. The
    /// serial log goes to what outlives, if there is any: someone may want to know what the guest's last words were.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn clear(&self) -> Result<(), StateError> {
        if self.machine().is_dir() {
            let _ = std::fs::rename(self.serial_log(), self.last_serial_log());
        }
        let hugepages = self.hugepages();
        if hugepages.is_dir() {
            hugepages::unmount(&hugepages).map_err(StateError::io("unmount", &hugepages))?;
            std::fs::remove_dir(&hugepages).map_err(StateError::io("remove", &hugepages))?;
        }
        let kept = [self.lock_file(), self.machine(), self.machine_aside()];
        let entries = std::fs::read_dir(&self.path).map_err(StateError::io("read", &self.path))?;
        for path in
            entries.filter_map(|entry| entry.ok().map(|e| e.path())).filter(|path| !kept.contains(path))
        {
            std::fs::remove_file(&path).map_err(StateError::io("remove", &path))?;
        }
        Ok(())
    }
}

fn check_socket_path(path: PathBuf) -> Result<(), StateError> {
    let length = path.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(StateError::SocketPathTooLong { path, length });
    }
    Ok(())
}

fn remove_directory(path: &Path) -> Result<bool, StateError> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StateError::io("remove", path)(e)),
    }
}

fn rename_directory(from: &Path, to: &Path) -> Result<bool, StateError> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StateError::io("rename", from)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_directory_is_private_and_clearing_it_spares_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let directory = VmDirectory::new(&root.path().join("deep"), &"vm".parse().unwrap());
        directory.create().unwrap();
        directory.create().unwrap();
        assert_eq!(std::fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(directory.lock_file(), "").unwrap();
        std::fs::write(directory.serial_log(), "x").unwrap();
        directory.create_machine().unwrap();
        std::fs::write(directory.disk(), "x").unwrap();
        directory.clear().unwrap();
        assert!(directory.disk().exists() && directory.last_serial_log().exists());
        assert!(directory.put_machine_aside().unwrap() && !directory.disk().exists());
        directory.create_machine().unwrap();
        directory.clear().unwrap();
        directory.take_machine_back().unwrap();
        assert!(directory.disk().exists() && !directory.machine_aside().exists());
        directory.take_machine_back().unwrap();
        assert!(directory.disk().exists(), "nothing was aside");
        assert!(directory.remove_machine().unwrap() && !directory.remove_machine().unwrap());
        assert!(directory.lock_file().exists() && !directory.serial_log().exists());
    }

    #[test]
    fn a_path_too_long_for_the_socket_is_refused_before_anything_is_made() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        let error = VmDirectory::new(&deep, &"vm".parse().unwrap()).create().unwrap_err();
        assert!(error.to_string().contains("set IVSHMEM_STATE_DIR to a shorter path"), "{error}");
        assert!(!deep.exists());
    }

    #[test]
    fn a_foreign_record_is_named_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let directory = VmDirectory::new(root.path(), &"vm".parse().unwrap());
        directory.create().unwrap();
        assert!(directory.read_vm().unwrap().is_none());
        std::fs::write(directory.path().join("vm.json"), "{}").unwrap();
        let error = directory.read_vm().unwrap_err().to_string();
        assert!(error.contains("vm.json is not a record this version understands"), "{error}");
    }
}
