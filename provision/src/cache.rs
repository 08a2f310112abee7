//! How things get into the cache: made in a directory aside, which then appears under its name by one rename, whole
//! or not at all. Two commands that make the same at once do not disturb each other.

use std::fs;
use std::io;
use std::path::Path;
use std::process;

use tempfile::TempDir;

const STAGING_PREFIX: &str = ".fetch-";

/// A directory of our own in `directory`, removed when dropped. What commands that were killed left behind is
/// removed here.
pub(crate) fn staging(directory: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)?.filter_map(Result::ok) {
        if is_left_behind(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{STAGING_PREFIX}{}-", process::id())).tempdir_in(directory)
}

/// Gives `staged` its name.
pub(crate) fn adopt(staged: &Path, target: &Path) -> io::Result<()> {
    match fs::rename(staged, target) {
        // Another command was quicker with the same: its copy is as good.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    }
}

/// The process that makes something in this directory, if it is one of ours.
fn owner(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix(STAGING_PREFIX)?.split('-').next()?.parse().ok()
}

/// Whether a living process makes something in this directory.
pub(crate) fn is_being_made(path: &Path) -> bool {
    owner(path).is_some_and(lives)
}

fn is_left_behind(path: &Path) -> bool {
    owner(path).is_some_and(|pid| !lives(pid))
}

fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let dead = root.path().join(".fetch-4294967295-x");
        let alive = root.path().join(format!(".fetch-{}-x", process::id()));
        let other = root.path().join("linux-image");
        for directory in [&dead, &alive, &other] {
            fs::create_dir_all(directory.join("inner")).unwrap();
        }
        drop(staging(root.path()).unwrap());
        assert!(!dead.exists() && alive.exists() && other.exists());
        assert!(is_being_made(&alive) && !is_being_made(&dead) && !is_being_made(&other));
    }

    #[test]
    fn what_another_made_first_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        for content in ["first", "second"] {
            let staged = root.path().join("staged");
            fs::create_dir_all(&staged).unwrap();
            fs::write(staged.join("file"), content).unwrap();
            adopt(&staged, &target).unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "first");
    }
}
