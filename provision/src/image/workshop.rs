//! The directory an image is built in: private, below $TMPDIR or /var/tmp, and gone when dropped, whoever owns the
//! files in it. An ordinary user builds in a user namespace of his own, where he is root and his subordinate ids are
//! all other users; files of theirs only that namespace can remove.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ImageError;
use crate::state::Lock;

const PREFIX: &str = "ivshmem-image-";

/// Where builds are made: $TMPDIR, else /var/tmp, which is on a disk where /tmp may be in memory.
pub(super) fn parent() -> PathBuf {
    let set = std::env::var_os("TMPDIR").filter(|value| !value.is_empty());
    set.map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// What makes us root: nothing if we are, else a user namespace.
pub(super) fn namespace(is_root: bool) -> &'static [&'static str] {
    if is_root { &[] } else { &["--map-auto", "--map-root-user"] }
}

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// As many ids as a user needs to have others below him, none of which anybody has yet.
pub(super) fn free_ids() -> String {
    let given = ["/etc/subuid", "/etc/subgid"].map(|path| fs::read_to_string(path).unwrap_or_default());
    free_after(&given.concat())
}

/// The range after all those in lines of `user:first:count` (subuid(5)).
fn free_after(given: &str) -> String {
    let end = |line: &str| -> Option<u64> {
        let mut numbers = line.split(':').skip(1).map(|text| text.trim().parse::<u64>());
        Some(numbers.next()?.ok()? + numbers.next()?.ok()?)
    };
    let first = given.lines().filter_map(end).max().unwrap_or_default().max(100_000);
    format!("{first}-{}", first + 65_535)
}

/// A directory to build in.
#[derive(Debug)]
pub(super) struct Workshop {
    path: PathBuf,
    _lock: Lock,
}

impl Workshop {
    /// Makes one below `parent`, and removes those of this user that nobody works in any more.
    pub(super) fn open(parent: &Path) -> Result<Self, ImageError> {
        let failed = || ImageError::io("create a directory in", parent);
        let parent = fs::canonicalize(parent).map_err(failed())?;
        sweep(&parent);
        // It gets the name that is swept only once its lock is held.
        let fresh = tempfile::Builder::new().prefix(".ivshmem-new-").tempdir_in(&parent).map_err(failed())?;
        fs::set_permissions(fresh.path(), Permissions::from_mode(0o700)).map_err(failed())?;
        let lock = Lock::acquire(&fresh.path().join("lock"))
            .map_err(|e| failed()(io::Error::other(e.to_string())))?;
        let name = fresh.path().file_name().unwrap_or_default().to_string_lossy();
        let path = parent.join(name.replace(".ivshmem-new-", PREFIX));
        fs::rename(fresh.path(), &path).map_err(failed())?;
        let workshop = Self { path, _lock: lock };
        for inner in [workshop.tmp(), workshop.out(), workshop.hooks()] {
            fs::create_dir(inner).map_err(failed())?;
        }
        Ok(workshop)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where mmdebstrap works.
    pub(super) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Where the results go.
    pub(super) fn out(&self) -> PathBuf {
        self.path.join("out")
    }

    /// Where the scripts are.
    pub(super) fn hooks(&self) -> PathBuf {
        self.path.join("hooks")
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes a directory in which subordinate users may own files. Mounts are of no concern: the build makes them in
/// a mount namespace, which is gone with its processes.
fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_ok() || is_root() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(namespace(false)).args(["rm", "-rf", "--one-file-system", "--"]).arg(path);
    // In a group of its own: the user's Ctrl-C is what we clean up after.
    let _ = command.stdin(Stdio::null()).stderr(Stdio::null()).process_group(0).status();
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
        if ours && !Lock::is_held(&entry.path().join("lock")) {
            remove(&entry.path());
        }
    }
}

/// Finds a program as a shell would, and also where an ordinary user's shell does not look.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|directory| directory.join(name)).find(|path| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// $PATH, and the directories of the system's own programs.
pub(super) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsStr::new(if path.is_empty() { "/usr/bin:/bin" } else { "" }));
    path.push(":/usr/sbin:/sbin");
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workshop_is_private_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let workshop = Workshop::open(root.path()).unwrap();
        assert_eq!(fs::metadata(workshop.path()).unwrap().mode() & 0o777, 0o700);
        assert!(workshop.tmp().is_dir() && workshop.out().is_dir() && workshop.hooks().is_dir());
        drop(workshop);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_the_dead_left_is_removed_and_what_is_worked_in_stays() {
        let root = tempfile::tempdir().unwrap();
        let alive = Workshop::open(root.path()).unwrap();
        let dead = root.path().join("ivshmem-image-dead");
        fs::create_dir_all(dead.join("tmp/deep")).unwrap();
        let other = Workshop::open(root.path()).unwrap();
        assert!(alive.path().exists() && other.path().exists() && !dead.exists());
    }

    #[test]
    fn the_ids_offered_are_nobodys() {
        assert_eq!(free_after(""), "100000-165535");
        assert_eq!(free_after("a:100000:65536\nb:165536:65536\nnonsense\n"), "231072-296607");
    }

    #[test]
    fn programs_of_the_system_are_found_without_a_path_to_them() {
        assert!(find_program("mke2fs").is_some());
        assert!(find_program("no-such-program").is_none());
    }
}
