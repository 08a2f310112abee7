//! Who is at an ivshmem server, as one of its peers knows it: made of what the server tells, and of nothing else.
//!
//! Nothing here does I/O, and a descriptor is of any type, so that tests and the fuzzer need none. A server that tells
//! nonsense is an error, and can never make the table hold more than [`VECTORS_MAX`] descriptors a peer.

use std::collections::BTreeMap;

use crate::server_wire::{Told, VECTORS_MAX, WireError};

/// The peers of a server, and the doorbells of each.
#[derive(Debug)]
pub struct PeerTable<D> {
    /// This peer's own id.
    pub own_id: u16,
    /// What the others write to in order to ring this peer's vectors.
    pub own: Vec<D>,
    /// The other peers that are there, each with what is written to in order to ring its vectors: one at least.
    pub peers: BTreeMap<u16, Vec<D>>,
}

impl<D> PeerTable<D> {
    /// That of a peer which has heard of nobody yet.
    #[must_use]
    pub const fn new(own_id: u16) -> Self {
        Self { own_id, own: Vec::new(), peers: BTreeMap::new() }
    }

    /// What rings `vector` of `peer`, which may be this one; `None` when there is no such peer or vector.
    #[must_use]
    #[inline]
    pub fn doorbell(&self, peer: u16, vector: u16) -> Option<&D> {
        let vectors = if peer == self.own_id { &self.own } else { self.peers.get(&peer)? };
        vectors.get(usize::from(vector))
    }

    /// Takes in what the server has told. What is no news of peers changes nothing.
    ///
    /// # Errors
    /// A peer with more vectors than there can be, or one that leaves and was not there.
    pub fn take(&mut self, told: Told<D>) -> Result<(), WireError> {
        let (peer, vectors, eventfd) = match told {
            Told::OwnVector(eventfd) => (self.own_id, &mut self.own, eventfd),
            Told::Vector { peer, eventfd } => (peer, self.peers.entry(peer).or_default(), eventfd),
            Told::Left(peer) => {
                return self.peers.remove(&peer).map(drop).ok_or(WireError::UnknownPeer { peer });
            }
            // The decoder lets these come but once, and that was before.
            Told::Version | Told::OwnId(_) | Told::Memory(_) => return Ok(()),
        };
        if vectors.len() >= VECTORS_MAX.into() {
            return Err(WireError::TooManyVectors { peer });
        }
        vectors.push(eventfd);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_come_with_their_vectors_in_order_and_go_with_all_of_them() {
        let mut table = PeerTable::new(2);
        for (peer, eventfd) in [(0, 'a'), (0, 'b'), (7, 'c')] {
            table.take(Told::Vector { peer, eventfd }).unwrap();
        }
        table.take(Told::OwnVector('d')).unwrap();
        let bell = |table: &PeerTable<char>, peer, vector| table.doorbell(peer, vector).copied();
        assert_eq!(
            [bell(&table, 0, 0), bell(&table, 0, 1), bell(&table, 0, 2)],
            [Some('a'), Some('b'), None]
        );
        assert_eq!([bell(&table, 2, 0), bell(&table, 2, 1), bell(&table, 1, 0)], [Some('d'), None, None]);
        table.take(Told::Left(0)).unwrap();
        assert_eq!((bell(&table, 0, 0), bell(&table, 7, 0)), (None, Some('c')));
        assert_eq!(table.take(Told::Left(0)), Err(WireError::UnknownPeer { peer: 0 }));
    }

    #[test]
    fn more_vectors_than_a_peer_can_have_are_refused_and_those_that_are_there_stay() {
        let mut table = PeerTable::new(2);
        for eventfd in 0..VECTORS_MAX {
            table.take(Told::Vector { peer: 0, eventfd }).unwrap();
            table.take(Told::OwnVector(eventfd)).unwrap();
        }
        let other = table.take(Told::Vector { peer: 0, eventfd: 0 });
        assert_eq!(other, Err(WireError::TooManyVectors { peer: 0 }));
        assert_eq!(table.take(Told::OwnVector(0)), Err(WireError::TooManyVectors { peer: 2 }));
        assert_eq!((table.own.len(), table.peers[&0].len()), (2048, 2048));
    }
}
