//! Peers' ids: given out in ascending order and each once, until nobody is there any more who could remember one.
//!
//! QEMU frees what it keeps of a peer that leaves, and goes on using it when the id comes back (`close_peer_eventfds` and
//! `process_msg_connect` in hw/misc/ivshmem.c): its heap is corrupt then, and sooner or later it dies.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

type InUse = Rc<RefCell<BTreeSet<u16>>>;

/// All ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    in_use: InUse,
    /// The next one; beyond the last when all were given out.
    next: Cell<u32>,
}

/// An id in use. It is shared by the peer and by every message not sent yet that says it has left; the last of them to
/// go frees it.
#[derive(Debug)]
pub(super) struct Lease {
    id: u16,
    in_use: InUse,
}

impl Ids {
    /// The next id; none when all were given out and somebody is there still.
    pub(super) fn lease(&self) -> Option<Rc<Lease>> {
        let mut in_use = self.in_use.borrow_mut();
        let next = if in_use.is_empty() { 0 } else { self.next.get() };
        let id = u16::try_from(next).ok()?;
        self.next.set(next + 1);
        in_use.insert(id);
        Some(Rc::new(Lease { id, in_use: Rc::clone(&self.in_use) }))
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
    fn an_id_comes_back_only_when_nobody_is_there_who_has_heard_of_it() {
        let ids = Ids::default();
        let (zero, one) = (ids.lease().unwrap(), ids.lease().unwrap());
        assert_eq!((zero.id(), one.id()), (0, 1));
        let mention = Rc::clone(&zero);
        drop((zero, one));
        assert_eq!(ids.lease().unwrap().id(), 2, "a message of the first one's end is under way");
        drop(mention);
        assert_eq!(ids.lease().unwrap().id(), 0);
    }

    #[test]
    fn there_are_65536_ids_and_no_more() {
        let ids = Ids::default();
        let first = ids.lease().unwrap();
        for expected in 1..=u16::MAX {
            assert_eq!(ids.lease().map(|lease| lease.id()), Some(expected));
        }
        assert!(ids.lease().is_none());
        drop(first);
        assert_eq!(ids.lease().unwrap().id(), 0);
    }
}
