//! The directories for what is fetched and for what VMs keep: whether they can be written, and what is free.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::finding::Finding;
use super::host::about;
use crate::paths::{NoRoot, cache_root, state_root};

const AREA: &str = "disk";
/// What the Debian guest comes to take, image and disk and snapshot together.
const DEBIAN_BYTES: u64 = 4 << 30;
/// What the micro guest takes: the kernel's package while it is fetched, kernel and initramfs.
const MICRO_BYTES: u64 = 200 << 20;

/// What is known of the directories.
#[derive(Debug, Clone)]
pub struct Facts {
    /// For kernels and images.
    pub cache: Result<Directory, String>,
    /// For VMs.
    pub state: Result<Directory, String>,
}

/// A directory of ours, there or not yet.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Where it is or would be.
    pub path: PathBuf,
    /// The nearest directory that exists.
    pub nearest: PathBuf,
    /// Whether that can be written.
    pub writable: bool,
    /// What is free there for this user.
    pub free_bytes: Option<u64>,
}

/// Looks.
pub fn probe() -> Facts {
    Facts { cache: directory(cache_root()), state: directory(state_root()) }
}

fn directory(root: Result<PathBuf, NoRoot>) -> Result<Directory, String> {
    let path = root.map_err(|e| e.to_string())?;
    let nearest = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned();
    let free = statvfs(&nearest).ok();
    Ok(Directory {
        free_bytes: free.map(|free| free.blocks_available().saturating_mul(free.fragment_size())),
        writable: nearest.is_dir() && access(&nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
        nearest,
        path,
    })
}

/// Judges. A cache that cannot be written does no harm when the kernel is in it.
pub fn findings(facts: &Facts, kernel_cached: bool) -> Vec<Finding> {
    vec![
        judge("cache", "IVSHMEM_CACHE_DIR", &facts.cache, kernel_cached),
        judge("state", "IVSHMEM_STATE_DIR", &facts.state, false),
    ]
}

fn judge(
    name: &'static str,
    variable: &str,
    directory: &Result<Directory, String>,
    enough_there: bool,
) -> Finding {
    let worse = |seen: String, remedy: String| {
        if enough_there {
            Finding::degraded(AREA, name, seen, remedy)
        } else {
            Finding::missing(AREA, name, seen, remedy)
        }
    };
    let directory = match directory {
        Ok(directory) => directory,
        Err(why) => return worse(why.clone(), format!("'export {variable}=/some/directory/of/yours'")),
    };
    let shown = directory.path.display();
    if !directory.writable {
        let seen =
            format!("{shown}: {} is not a directory this user may write to", directory.nearest.display());
        return worse(seen, format!("take it over, or set {variable} to a directory of yours"));
    }
    let larger = format!("make room, or set {variable} to a directory on a larger disk");
    match directory.free_bytes {
        None => Finding::degraded(AREA, name, format!("{shown}: free space is not told"), larger),
        Some(free) if free < MICRO_BYTES => {
            worse(format!("{shown}: only {} free of {} wanted", about(free), about(MICRO_BYTES)), larger)
        }
        Some(free) if free < DEBIAN_BYTES => {
            let seen =
                format!("{shown}: {} free; the Debian guest wants {}", about(free), about(DEBIAN_BYTES));
            Finding::degraded(AREA, name, seen, larger)
        }
        Some(free) => Finding::ok(AREA, name, format!("{shown}, {} free", about(free))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;

    fn of(path: &str, free_bytes: u64) -> Directory {
        Directory { path: path.into(), nearest: "/home".into(), writable: true, free_bytes: Some(free_bytes) }
    }

    /// Directories with room.
    pub(crate) fn roomy() -> Facts {
        Facts {
            cache: Ok(of("/home/ann/.cache/ivshmem", 50 << 30)),
            state: Ok(of("/home/ann/.local/state/ivshmem", 50 << 30)),
        }
    }

    fn state(directory: Result<Directory, String>) -> State {
        findings(&Facts { state: directory, ..roomy() }, false)[1].state
    }

    #[test]
    fn little_room_degrades_and_less_stands_in_the_way() {
        assert_eq!(state(Ok(of("/x", 5 << 30))), State::Ok);
        assert_eq!(state(Ok(of("/x", 3 << 30))), State::Degraded);
        assert_eq!(state(Ok(of("/x", 100 << 20))), State::Missing);
        assert_eq!(state(Ok(Directory { free_bytes: None, ..of("/x", 0) })), State::Degraded);
        assert_eq!(state(Ok(Directory { writable: false, ..of("/x", 5 << 30) })), State::Missing);
        assert_eq!(state(Err("neither is set".to_owned())), State::Missing);
    }

    #[test]
    fn a_read_only_cache_that_holds_the_kernel_does_no_harm() {
        let facts = Facts { cache: Ok(Directory { writable: false, ..of("/x", 0) }), ..roomy() };
        assert_eq!(findings(&facts, true)[0].state, State::Degraded);
        assert_eq!(findings(&facts, false)[0].state, State::Missing);
    }

    #[test]
    fn a_directory_not_made_yet_is_judged_by_the_nearest_that_exists() {
        let root = tempfile::tempdir().unwrap();
        let found = directory(Ok(root.path().join("a/b"))).unwrap();
        assert_eq!((found.nearest.as_path(), found.writable), (root.path(), true));
        std::fs::write(root.path().join("file"), "").unwrap();
        assert!(!directory(Ok(root.path().join("file/b"))).unwrap().writable);
    }
}
