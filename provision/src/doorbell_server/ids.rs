//! Peers' ids: each is given out once, in order, and none again while anybody is there who has heard of it.
//!
//! QEMU's device (hw/misc/ivshmem.c, `resize_peers` and `close_peer_eventfds`; seen with 7.2) makes room for a peer's
//! doorbells when it first hears of an id, and frees it when that peer leaves: of a second peer with the same id it writes
//! to freed memory and dies. A peer that hears of both late would take the new bearer for the old one, besides.

/// What is not yet given out.
#[derive(Debug, Default)]
pub(super) struct Ids {
    next: u32,
}

impl Ids {
    /// The next id; none when all were given out. It starts over when nobody is there.
    pub(super) fn next(&mut self, nobody_is_there: bool) -> Option<u16> {
        if nobody_is_there {
            self.next = 0;
        }
        let id = u16::try_from(self.next).ok()?;
        self.next += 1;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_given_out_once_while_somebody_is_there() {
        let mut ids = Ids::default();
        assert_eq!([true, false, false].map(|nobody| ids.next(nobody)), [Some(0), Some(1), Some(2)]);
        assert_eq!([true, false].map(|nobody| ids.next(nobody)), [Some(0), Some(1)]);
    }

    #[test]
    fn there_are_65536_ids_and_no_more() {
        let mut ids = Ids::default();
        assert_eq!((0..=u16::MAX).map(|_| ids.next(false)).max(), Some(Some(u16::MAX)));
        assert_eq!(ids.next(false), None);
        assert_eq!(ids.next(true), Some(0));
    }
}
