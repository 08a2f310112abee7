//! Peers' ids: the lowest free one is given out, and is free again only when everybody has been told that its last
//! bearer left. Otherwise a peer that hears of both late could take the new bearer for the old one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

type InUse = Rc<RefCell<BTreeSet<u16>>>;

/// All ids.
#[derive(Debug, Default)]
pub(super) struct Ids(InUse);

/// An id in use. It is shared by the peer and by every message not sent yet that says it has left; the last of them to
/// go frees it.
#[derive(Debug)]
pub(super) struct Lease {
    id: u16,
    in_use: InUse,
}

impl Ids {
    /// The lowest free id; none when all are in use.
    pub(super) fn lease(&self) -> Option<Rc<Lease>> {
        let mut in_use = self.0.borrow_mut();
        let id = (0..=u16::MAX).find(|id| !in_use.contains(id))?;
        in_use.insert(id);
        Some(Rc::new(Lease { id, in_use: Rc::clone(&self.0) }))
    }
}

impl Lease {
    pub(super) fn id(&self) -> u16 {
        self.id
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.in_use.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_free_again_when_its_last_mention_is_gone() {
        let ids = Ids::default();
        let (zero, one) = (ids.lease().unwrap(), ids.lease().unwrap());
        assert_eq!((zero.id(), one.id()), (0, 1));
        let mention = Rc::clone(&zero);
        drop(zero);
        assert_eq!(ids.lease().unwrap().id(), 2);
        drop(mention);
        assert_eq!(ids.lease().unwrap().id(), 0);
    }

    #[test]
    fn there_are_65536_ids_and_no_more() {
        let ids = Ids::default();
        let mut all: Vec<_> = (0..=u16::MAX).collect();
        ids.0.borrow_mut().extend(all.drain(..));
        assert!(ids.lease().is_none());
    }
}
