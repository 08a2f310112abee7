//! A directory for results: made with all levels it takes, and gone again when nothing was put there.
//!
//! A run may be refused long after its directory was made, by a guest that is not there or an option that it rejects. What
//! was there before, or holds anything by then, stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// It, or what would hold it, is something else.
    #[error("{path} is a file; give --out a directory")]
    IsFile {
        /// What is in the way.
        path: PathBuf,
    },
    /// Any other refusal of the operating system.
    #[error("create output directory {path}: {error}")]
    Io {
        /// The directory that could not be made.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// The levels that had to be made. Dropping it removes those that are empty.
#[derive(Debug)]
pub struct MadeDirectory {
    /// From the outermost to the directory itself.
    made: Vec<PathBuf>,
}

impl MadeDirectory {
    /// Makes `directory`, unless it is there.
    ///
    /// # Errors
    /// [`MakeError`]; nothing is left of it then.
    pub fn ensure(directory: &Path) -> Result<Self, MakeError> {
        let mut this = Self { made: Vec::new() };
        // Without a last '.', which is no level.
        let directory: PathBuf = directory.components().collect();
        let is_level = |level: &&Path| !level.as_os_str().is_empty();
        let (mut absent, mut above) = (Vec::new(), None);
        for level in directory.ancestors().filter(is_level) {
            if level.exists() {
                above = Some(level);
                break;
            }
            absent.push(level);
        }
        if let Some(path) = above.filter(|above| !above.is_dir()) {
            return Err(MakeError::IsFile { path: path.to_owned() });
        }
        for level in absent.into_iter().rev() {
            match fs::create_dir(level) {
                Ok(()) => this.made.push(level.to_owned()),
                // Somebody was faster, or it is `new/..`, which came with `new`.
                Err(_) if level.is_dir() => {}
                Err(error) => return Err(MakeError::Io { path: level.to_owned(), error }),
            }
        }
        Ok(this)
    }
}

impl Drop for MadeDirectory {
    fn drop(&mut self) {
        for level in self.made.iter().rev() {
            // One that holds something is refused.
            let _ = fs::remove_dir(level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_levels_that_were_made_go_again_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let there = root.path().join("there");
        fs::create_dir(&there).unwrap();
        for directory in ["a/b/c", "a/b/c/.", "a/../d"] {
            let directory = there.join(directory);
            let made = MadeDirectory::ensure(&directory).unwrap();
            assert!(directory.is_dir());
            drop(made);
            assert_eq!(fs::read_dir(&there).unwrap().count(), 0, "{}", directory.display());
        }
        drop(MadeDirectory::ensure(&there).unwrap());
        assert!(there.is_dir());
    }

    #[test]
    fn what_holds_something_stays_with_all_above_it() {
        let root = tempfile::tempdir().unwrap();
        let made = MadeDirectory::ensure(&root.path().join("a/b/c")).unwrap();
        fs::write(root.path().join("a/b/kept"), "").unwrap();
        drop(made);
        assert!(root.path().join("a/b/kept").exists() && !root.path().join("a/b/c").exists());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for directory in [file.clone(), file.join("sub/sub")] {
            let error = MadeDirectory::ensure(&directory).unwrap_err().to_string();
            assert_eq!(error, format!("{} is a file; give --out a directory", file.display()));
        }
        std::os::unix::fs::symlink(root.path().join("nowhere"), root.path().join("dangling")).unwrap();
        let error = MadeDirectory::ensure(&root.path().join("dangling/new")).unwrap_err();
        assert!(matches!(error, MakeError::Io { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
