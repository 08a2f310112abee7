//! Anything that a server can say once its memory has come, through the decoder into the table of peers.
//!
//! An input is a row of three bytes a message: a byte, and an id (little-endian). Of the first byte the lowest bit says
//! whether a descriptor comes with the id, and the upper four how often it is said, as a power of two (2048 at the most). What must hold:
//!
//! - no panic;
//! - descriptors are in the table or closed: nobody else holds any, and nobody has more than there are vectors;
//! - a peer in the table has a vector, its vectors stand in the order they came in, and one that left is not in it;
//! - what the table does not take leaves those who are in it as they are.
#![no_main]

mod descriptor;

use descriptor::{Descriptor, Descriptors};
use ivshmem_proto::peer_table::PeerTable;
use ivshmem_proto::server_wire::{Decoder, Message, Told, VECTORS_MAX};
use libfuzzer_sys::fuzz_target;

const OWN: u16 = 2;
/// As many as there can be vectors.
const REPEATS_LOG2_MAX: u8 = 11;

fn check(table: &PeerTable<Descriptor>, descriptors: &Descriptors) {
    assert!(!table.peers.contains_key(&OWN), "one's own vectors are no other peer's");
    assert!(table.peers.values().all(|vectors| !vectors.is_empty()));
    let all = || table.peers.values().chain([&table.own]);
    assert!(all().all(|vectors| vectors.len() <= VECTORS_MAX.into()));
    assert!(all().all(|vectors| vectors.is_sorted_by_key(|descriptor| descriptor.number)));
    assert_eq!(all().map(Vec::len).sum::<usize>(), descriptors.alive());
}

fuzz_target!(|input: &[u8]| {
    let mut descriptors = Descriptors::default();
    let mut decoder = Decoder::new();
    for (message, descriptor) in
        [(Message::Version, None), (Message::OwnId(OWN), None), (Message::Memory, Some(descriptors.make()))]
    {
        decoder.take(&message.encode(), descriptor).unwrap();
    }
    let mut table = PeerTable::new(OWN);
    for said in input.as_chunks::<3>().0 {
        let id = u16::from_le_bytes([said[1], said[2]]);
        for _ in 0..1_u32 << (said[0] >> 4).min(REPEATS_LOG2_MAX) {
            let descriptor = (said[0] & 1 != 0).then(|| descriptors.make());
            let Ok(Some(told)) = decoder.take(&Message::Vector(id).encode(), descriptor) else { return };
            let left = matches!(told, Told::Left(_));
            let count = |table: &PeerTable<_>, id| match id {
                OWN => table.own.len(),
                id => table.peers.get(&id).map_or(0, Vec::len),
            };
            let before = count(&table, id);
            match table.take(told) {
                Ok(()) => assert_eq!(count(&table, id), if left { 0 } else { before + 1 }),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    assert_eq!(count(&table, id), before);
                    check(&table, &descriptors);
                    return;
                }
            }
            let last = u16::try_from(before).unwrap();
            assert_eq!(table.doorbell(id, last).is_some(), !left);
        }
        check(&table, &descriptors);
    }
});
