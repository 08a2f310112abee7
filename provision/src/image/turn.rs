//! Waiting for one's turn to make an image: two commands that want the same make it once. flock(2) cannot be
//! waited for together with Ctrl-C, so a thread waits for it and says so through a socket.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::{ImageError, Origin, store};
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::state::{Lock, LockError};
use crate::wait::readable;

/// Takes the lock of those who make images of `origin`, and says when that means waiting for another.
pub(super) fn take(
    cache_root: &Path,
    origin: Origin,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<Lock, ImageError> {
    let directory = store::directory(cache_root);
    fs::create_dir_all(&directory).map_err(ImageError::io("create", &directory))?;
    let path = store::lock_file(cache_root, origin);
    let holder = match Lock::acquire(&path) {
        Ok(lock) => return Ok(lock),
        Err(LockError::Busy { holder }) => holder,
        Err(e) => return Err(refused(e)),
    };
    let who = holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let _task = progress.task(&format!("waiting for the image that another provision{who} is making"));
    let io = || ImageError::io("wait for", &path);
    let (here, there) = UnixStream::pair().map_err(io())?;
    let (give, taken) = mpsc::channel();
    let theirs = path.clone();
    // If we stop waiting, the thread's lock is dropped as soon as it gets it.
    let waiter = move || {
        let _ = give.send(Lock::wait(&theirs));
        drop(there);
    };
    thread::Builder::new().name("lock".to_owned()).spawn(waiter).map_err(io())?;
    if let [_, true] = readable([here.as_fd(), interrupts.as_fd()], None).map_err(io())? {
        interrupts.check()?;
    }
    match taken.recv() {
        Ok(lock) => lock.map_err(refused),
        Err(_) => Err(io()(std::io::Error::other("the waiting thread died"))),
    }
}

fn refused(e: LockError) -> ImageError {
    match e {
        LockError::Io { path, source } => ImageError::Io { action: "lock", path, source },
        LockError::Busy { .. } => unreachable!("waiting does not give up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    const QUIET: Progress = Progress { quiet: true };

    #[test]
    fn the_second_waits_for_the_first() {
        let cache = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::catch().unwrap();
        let first = take(cache.path(), Origin::Mirror, &interrupts, QUIET).unwrap();
        take(cache.path(), Origin::Official, &interrupts, QUIET).unwrap();
        let path = cache.path().to_owned();
        let (tell, second_has_it) = mpsc::channel();
        let second = thread::spawn(move || {
            let _lock = take(&path, Origin::Mirror, &Interrupts::catch().unwrap(), QUIET).unwrap();
            tell.send(()).unwrap();
        });
        assert!(second_has_it.try_recv().is_err());
        drop(first);
        second_has_it.recv().unwrap();
        second.join().unwrap();
    }

    #[test]
    fn waiting_ends_with_ctrl_c() {
        let cache = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::catch().unwrap();
        let _first = take(cache.path(), Origin::Mirror, &interrupts, QUIET).unwrap();
        // To this thread alone, whose mask holds it until it is read.
        raise(Signal::SIGINT).unwrap();
        let error = take(cache.path(), Origin::Mirror, &interrupts, QUIET).unwrap_err();
        assert!(matches!(error, ImageError::Interrupted(_)), "{error}");
    }
}
