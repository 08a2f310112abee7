//! Any bytes from a server, in any pieces, with and without descriptors, into the decoder of its words.
//!
//! An input is a row of pieces: a byte whose lower half is the piece's length (0 to 15, where a word has 8) and whose bit 4 says
//! whether a descriptor comes with it, then that many bytes. What must hold, whatever comes:
//!
//! - no panic;
//! - the decoder holds one descriptor at the most, and after an error, or at the end, none is lost;
//! - what was understood, encoded again, is the word that was sent, with the descriptor that was sent with it;
//! - the same words in whole pieces are understood in the same way: how a stream is cut does not matter.
#![no_main]

mod descriptor;

use descriptor::{Descriptor, Descriptors};
use ivshmem_proto::server_wire::{Decoder, Message, Told, WORD_BYTES};
use libfuzzer_sys::fuzz_target;

const WITH_DESCRIPTOR: u8 = 0x10;
const LENGTH: u8 = 0x0f;

/// What is told, without its descriptor, and the number of that.
fn message(told: &Told<Descriptor>, own_id: u16) -> (Message, Option<usize>) {
    match told {
        Told::Version => (Message::Version, None),
        Told::OwnId(id) => (Message::OwnId(*id), None),
        Told::Memory(memory) => (Message::Memory, Some(memory.number)),
        Told::OwnVector(eventfd) => (Message::Vector(own_id), Some(eventfd.number)),
        Told::Vector { peer, eventfd } => {
            assert_ne!(*peer, own_id, "one's own vectors are told apart");
            (Message::Vector(*peer), Some(eventfd.number))
        }
        Told::Left(peer) => (Message::Left(*peer), None),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut descriptors = Descriptors::default();
    let mut decoder = Decoder::new();
    // What was understood is kept, for its descriptors.
    let (mut said, mut delivered) = (Vec::new(), 0);
    let (mut bytes, mut sent_with) = (Vec::new(), None);
    let mut own_id = 0;
    let mut rest = input;
    while let [head, after @ ..] = rest {
        let length = usize::from(head & LENGTH).min(after.len());
        let (piece, after) = after.split_at(length);
        rest = after;
        let descriptor = (head & WITH_DESCRIPTOR != 0).then(|| descriptors.make());
        let number = descriptor.as_ref().map(|descriptor| descriptor.number);
        let room = decoder.room();
        assert_eq!(room + bytes.len(), WORD_BYTES);
        assert_eq!(decoder.is_between_words(), bytes.is_empty());
        let told = match decoder.take(piece, descriptor) {
            Ok(told) => told,
            // Of no more use, and the end of the conversation.
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        };
        assert!(
            piece.len() <= room && (number.is_none() || sent_with.is_none()),
            "what is too much is refused"
        );
        bytes.extend_from_slice(piece);
        sent_with = sent_with.or(number);
        assert_eq!(told.is_some(), bytes.len() == WORD_BYTES);
        if let Some(told) = told {
            if let Told::OwnId(id) = told {
                own_id = id;
            }
            let (message, number) = message(&told, own_id);
            assert_eq!((&message.encode()[..], number), (&bytes[..], sent_with));
            assert_eq!(message.has_descriptor(), number.is_some());
            delivered += usize::from(number.is_some());
            said.push((message, told));
            bytes.clear();
            sent_with = None;
        }
        assert_eq!(
            descriptors.alive(),
            delivered + usize::from(sent_with.is_some()),
            "the decoder holds one at the most"
        );
    }
    drop(decoder);
    assert_eq!(descriptors.alive(), delivered);

    let mut whole = Decoder::new();
    for (expected, _told) in said {
        let descriptor = expected.has_descriptor().then(|| descriptors.make());
        let told = whole.take(&expected.encode(), descriptor).unwrap().unwrap();
        assert_eq!(message(&told, own_id).0, expected);
    }
});
