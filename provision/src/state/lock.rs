//! flock(2) on a file: whoever holds it is the only one working on what the file stands for. The kernel drops it
//! with its holder, so a lock is never stale.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else holds it.
    #[error("held by {}", .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Busy {
        /// The pid the holder wrote into the file, when it is readable.
        holder: Option<u32>,
    },
    /// The operating system refuses.
    #[error("lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock, or says at once who holds it.
    ///
    /// # Errors
    /// [`LockError::Busy`] when it is held; otherwise what the operating system said.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        Self::take(path, FlockArg::LockExclusiveNonblock)
    }

    /// Takes the lock, waiting for whoever holds it. Only for locks that are held for a few file operations.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn wait(path: &Path) -> Result<Self, LockError> {
        Self::take(path, FlockArg::LockExclusive)
    }

    /// Whether someone holds the lock now. Takes nothing and creates nothing.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        matches!(Flock::lock(file, FlockArg::LockExclusiveNonblock), Err((_, Errno::EWOULDBLOCK)))
    }

    fn take(path: &Path, how: FlockArg) -> Result<Self, LockError> {
        let io = |source: io::Error| LockError::Io { path: path.to_owned(), source };
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(io)?;
            let mut file = match Flock::lock(file, how) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    let holder = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
                    return Err(LockError::Busy { holder });
                }
                Err((_, Errno::EINTR)) => continue,
                Err((_, errno)) => return Err(io(errno.into())),
            };
            // A holder that finished may have removed the file between our open and our lock: then what we
            // locked is nobody's, and the file at the path (if any) is the one to have.
            let locked = file.metadata().map_err(io)?;
            if std::fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (locked.dev(), locked.ino()))
            {
                file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(io)?;
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Removes the lock file and then its directory, when that is empty, and lets go.
    pub fn remove_with_directory(self) {
        // In this order: whoever opened the file meanwhile finds after locking that it is gone, and starts over.
        let _ = std::fs::remove_file(&self.path);
        if let Some(directory) = self.path.parent() {
            let _ = std::fs::remove_dir(directory);
        }
        drop(self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_is_free_after_the_drop() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        assert!(!Lock::is_held(&path));
        let first = Lock::acquire(&path).unwrap();
        assert!(Lock::is_held(&path));
        match Lock::acquire(&path) {
            Err(LockError::Busy { holder }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!Lock::is_held(&path));
        Lock::acquire(&path).unwrap();
    }

    #[test]
    fn removing_takes_the_empty_directory_along() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("vm");
        std::fs::create_dir(&directory).unwrap();
        Lock::wait(&directory.join("lock")).unwrap().remove_with_directory();
        assert!(!directory.exists());
    }
}
