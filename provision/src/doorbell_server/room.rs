//! Descriptors: as many as all peers need, and one to spare for when there are none after all.

use std::fs::File;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::DoorbellError;

/// What the server needs for itself, generously.
const OWN: u64 = 32;

/// Raises this process's limit as far as it goes, and makes sure that all peers fit.
pub(super) fn reserve(max_peers: u32, vectors: u16) -> Result<(), DoorbellError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    check(max_peers, vectors, hard)?;
    if soft < hard {
        // Where that is refused, connections will be.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    Ok(())
}

fn check(max_peers: u32, vectors: u16, limit: u64) -> Result<(), DoorbellError> {
    let needed = OWN + u64::from(max_peers) * (u64::from(vectors) + 1);
    if needed > limit {
        return Err(DoorbellError::Descriptors { max_peers, vectors, needed, limit });
    }
    Ok(())
}

/// A descriptor kept for a connection that has to be taken in order to be closed.
#[derive(Debug)]
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Some(File::open("/dev/null")?)))
    }

    /// Frees the descriptor for the time of `use_it`; false when it was lost to someone else before.
    pub(super) fn lend(&mut self, use_it: impl FnOnce()) -> bool {
        let had = self.0.take().is_some();
        if had {
            use_it();
        }
        self.0 = File::open("/dev/null").ok();
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_cannot_have_their_descriptors_are_refused_beforehand() {
        check(64, 2, 1024).unwrap();
        let error = check(64, 2048, 4096).unwrap_err().to_string();
        assert!(error.starts_with("64 peers with 2048 vectors each need 131168 descriptors"), "{error}");
    }

    #[test]
    fn the_spare_descriptor_is_free_while_it_is_lent() {
        let mut spare = Spare::new().unwrap();
        let mut lent = 0;
        assert!(spare.lend(|| lent += 1));
        assert!(spare.lend(|| lent += 1));
        assert_eq!(lent, 2);
        let mut lost = Spare(None);
        assert!(!lost.lend(|| lent += 1) && lost.0.is_some() && lent == 2);
    }
}
