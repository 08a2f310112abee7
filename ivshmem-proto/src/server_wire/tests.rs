//! The protocol against words written out by hand from QEMU's specification, in whole and in pieces, and against
//! whatever else a server could send. A descriptor is a number here.

use proptest::prelude::*;

use super::*;

const OWN: u16 = 2;

/// A peer that joins as number 2 where 0 is there, with two vectors each; then 3 joins and 0 leaves.
const CONVERSATION: [([u8; 8], Option<u32>, Told<u32>); 10] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], None, Told::Version),
    ([2, 0, 0, 0, 0, 0, 0, 0], None, Told::OwnId(2)),
    ([0xff; 8], Some(10), Told::Memory(10)),
    ([0, 0, 0, 0, 0, 0, 0, 0], Some(11), Told::Vector { peer: 0, eventfd: 11 }),
    ([0, 0, 0, 0, 0, 0, 0, 0], Some(12), Told::Vector { peer: 0, eventfd: 12 }),
    ([2, 0, 0, 0, 0, 0, 0, 0], Some(13), Told::OwnVector(13)),
    ([2, 0, 0, 0, 0, 0, 0, 0], Some(14), Told::OwnVector(14)),
    ([3, 0, 0, 0, 0, 0, 0, 0], Some(15), Told::Vector { peer: 3, eventfd: 15 }),
    ([3, 0, 0, 0, 0, 0, 0, 0], Some(16), Told::Vector { peer: 3, eventfd: 16 }),
    ([0, 0, 0, 0, 0, 0, 0, 0], None, Told::Left(0)),
];

#[test]
fn a_conversation_is_understood_word_by_word() {
    let mut decoder = Decoder::new();
    for (bytes, descriptor, told) in CONVERSATION {
        assert_eq!(decoder.take(&bytes, descriptor), Ok(Some(told)));
    }
}

#[test]
fn the_words_are_those_of_the_specification() {
    assert_eq!(Message::Version.encode(), [0; 8]);
    assert_eq!(Message::OwnId(0x1234).encode(), [0x34, 0x12, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Message::Memory.encode(), [0xff; 8]);
    assert_eq!(Message::Vector(65535).encode(), [0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Message::Left(1).encode(), [1, 0, 0, 0, 0, 0, 0, 0]);
    let with_descriptors =
        [Message::Version, Message::OwnId(1), Message::Memory, Message::Vector(1), Message::Left(1)]
            .map(Message::has_descriptor);
    assert_eq!(with_descriptors, [false, false, true, true, false]);
}

/// A decoder that has heard the version, its id and the memory.
fn set_up() -> Decoder<u32> {
    let mut decoder = Decoder::new();
    for (bytes, descriptor, _) in CONVERSATION.into_iter().take(3) {
        decoder.take(&bytes, descriptor).unwrap();
    }
    decoder
}

fn word(value: i64) -> [u8; 8] {
    value.to_le_bytes()
}

#[test]
fn what_is_not_the_protocol_is_named() {
    use WireError::*;
    let fresh = Decoder::new;
    let named = || {
        let mut decoder = Decoder::new();
        decoder.take(&word(0), None).unwrap();
        decoder
    };
    let owned = || {
        let mut decoder = named();
        decoder.take(&word(OWN.into()), None).unwrap();
        decoder
    };
    let cases: [(Decoder<u32>, i64, Option<u32>, WireError); 15] = [
        (fresh(), 1, None, Version { found: 1 }),
        (fresh(), -1, Some(7), Version { found: -1 }),
        // "HTTP/1.1": some other server.
        (fresh(), i64::from_le_bytes(*b"HTTP/1.1"), None, Version { found: 0x312e_312f_5054_5448 }),
        (fresh(), 0, Some(7), UnexpectedDescriptor { word: 0 }),
        (named(), -1, Some(7), Id { found: -1 }),
        (named(), 65536, None, Id { found: 65536 }),
        (named(), 5, Some(7), UnexpectedDescriptor { word: 5 }),
        (owned(), -1, None, MissingDescriptor { word: -1 }),
        (owned(), 0, Some(7), Order { word: 0, wanted: "the memory (-1)" }),
        (owned(), 0, None, Order { word: 0, wanted: "the memory (-1)" }),
        (set_up(), -1, Some(7), Order { word: -1, wanted: "a peer's id" }),
        (set_up(), -2, None, Id { found: -2 }),
        (set_up(), 65536, Some(7), Id { found: 65536 }),
        (set_up(), i64::MIN, None, Id { found: i64::MIN }),
        (set_up(), OWN.into(), None, MissingDescriptor { word: 2 }),
    ];
    for (mut decoder, sent, descriptor, error) in cases {
        assert_eq!(decoder.take(&word(sent), descriptor), Err(error));
    }
}

#[test]
fn a_piece_beyond_its_word_and_a_second_descriptor_are_refused() {
    let mut decoder = Decoder::<u32>::new();
    assert_eq!(decoder.take(&[0; 3], None), Ok(None));
    assert!(!decoder.is_between_words());
    assert_eq!(decoder.take(&[0; 6], None), Err(WireError::Overlong { bytes: 6, room: 5 }));
    let mut decoder = set_up();
    assert_eq!(decoder.take(&[0; 3], Some(1)), Ok(None));
    assert_eq!(decoder.take(&[0; 5], Some(2)), Err(WireError::SeveralDescriptors));
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let later = prop_oneof![
        any::<u16>().prop_map(Message::Vector),
        any::<u16>().prop_filter("nobody is told that he left", |id| *id != OWN).prop_map(Message::Left)
    ];
    proptest::collection::vec(later, 0..40)
        .prop_map(|later| [vec![Message::Version, Message::OwnId(OWN), Message::Memory], later].concat())
}

proptest! {
    #[test]
    fn what_is_encoded_is_understood_in_whatever_pieces(
        messages in messages(),
        cuts in proptest::collection::vec(1usize..=8, 1..30),
        late in any::<bool>(),
    ) {
        let mut decoder = Decoder::new();
        let mut cuts = cuts.iter().cycle();
        for (number, message) in (0u32..).zip(messages) {
            let bytes = message.encode();
            let mut descriptor = message.has_descriptor().then_some(number);
            let (mut at, mut told) = (0, None);
            while at < bytes.len() {
                let end = bytes.len().min(at + cuts.next().unwrap());
                // A descriptor comes with some piece of its word, not always the first.
                let with = if late && end < bytes.len() { None } else { descriptor.take() };
                prop_assert!(told.is_none() && end - at <= decoder.room());
                told = decoder.take(&bytes[at..end], with).unwrap();
                at = end;
            }
            let expected = match message {
                Message::Version => Told::Version,
                Message::OwnId(id) => Told::OwnId(id),
                Message::Memory => Told::Memory(number),
                Message::Vector(OWN) => Told::OwnVector(number),
                Message::Vector(peer) => Told::Vector { peer, eventfd: number },
                Message::Left(peer) => Told::Left(peer),
            };
            prop_assert_eq!(told, Some(expected));
        }
        prop_assert!(decoder.is_between_words());
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_descriptor_is_lost(
        pieces in proptest::collection::vec(
            (prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..12),
                (-2i64..5).prop_map(|n| n.to_le_bytes().to_vec()),
            ], any::<bool>()),
            0..40,
        ),
        is_set_up in any::<bool>(),
    ) {
        let mut decoder = if is_set_up { set_up() } else { Decoder::new() };
        let (mut given, mut returned) = (0u32, 0u32);
        for (piece, with) in pieces {
            let had = u32::from(decoder.descriptor.is_some());
            given += u32::from(with);
            match decoder.take(&piece, with.then_some(given)) {
                Ok(None) => prop_assert_eq!(u32::from(decoder.descriptor.is_some()), had + u32::from(with)),
                Ok(Some(Told::Memory(_) | Told::OwnVector(_) | Told::Vector { .. })) => returned += 1,
                Ok(Some(_)) => prop_assert!(had == 0 && !with),
                Err(_) => return Ok(()),
            }
            prop_assert_eq!(given, returned + u32::from(decoder.descriptor.is_some()));
        }
    }
}
