//! The handshake over a region on the heap: every order of starts, deaths and returns, and peers that write
//! whatever they like.

use std::sync::atomic::Ordering::{Relaxed, Release};

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::{DescriptorError, RawDescriptor};
use ivshmem_proto::geometry::{Geometry, GeometryError};
use ivshmem_proto::guest::{Event, Guest, Refusal};
use ivshmem_proto::host::{Host, Presence};
use ivshmem_proto::layout::{GUEST_MAGIC, HOST_MAGIC, guest_words as g, host_words as h};
use ivshmem_proto::memory::{ControlWords, HeapRegion, Payload as _};
use ivshmem_proto::wire::{State, Status, Verdict};
use ivshmem_proto::word::{sequence_of, tag_of};
use proptest::prelude::*;

const REGION_BYTES: u64 = 64 << 10;

fn region() -> (HeapRegion, Geometry) {
    (HeapRegion::new(REGION_BYTES as usize), Geometry::for_payload(REGION_BYTES, 0).unwrap())
}

/// Polls until the guest has joined.
fn join(guest: &mut Guest<'_, HeapRegion>) {
    match guest.poll() {
        Event::Invited { session, geometry } => guest.join(session, geometry),
        other => panic!("expected an invitation, got {other:?}"),
    }
}

/// Polls, expects a ping, and echoes it.
fn answer_ping(guest: &mut Guest<'_, HeapRegion>) -> u64 {
    match guest.poll() {
        Event::Ping { word, token } => {
            guest.complete_ping(word, token);
            token
        }
        other => panic!("expected a ping, got {other:?}"),
    }
}

#[test]
fn a_ping_is_acknowledged_in_two_phases() {
    let (m, geometry) = region();
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    assert_eq!(guest.poll(), Event::Idle);
    let mut host = Host::open(&m, &geometry, 77);
    assert_eq!(host.presence(), Presence::Announced);
    join(&mut guest);
    assert_eq!(host.presence(), Presence::Attached { incarnation: 1 });
    assert_eq!(guest.poll(), Event::Idle);

    let sequence = host.publish_ping(0xFEED).unwrap();
    assert!(!host.is_received(sequence));
    let Event::Ping { word, token } = guest.poll() else { panic!() };
    assert!(host.is_received(sequence) && !host.is_processed(sequence));
    guest.complete_ping(word, token);
    assert!(host.is_processed(sequence));
    assert_eq!((host.processed().status, host.processed().token_echo), (Some(Status::Ok), 0xFEED));
    assert!(!host.is_processed(sequence + 1) && !host.is_received(sequence + 1));
}

#[test]
fn a_frame_brings_its_bytes_and_gets_a_verdict() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let payload: Vec<u8> = (0..1000).map(|i| i as u8).collect();
    m.write(geometry.payload(1, 1000).unwrap(), &payload, Kernel::Memcpy);
    let sequence = host.publish(&RawDescriptor::frame(1, 1000, Some([9; 32]))).unwrap();

    let Event::Frame { word, range, digest } = guest.poll() else { panic!() };
    let mut private = vec![0; range.len()];
    m.read(range, &mut private, Kernel::Memcpy);
    assert_eq!((private, digest), (payload, Some([9; 32])));
    assert!(guest.is_current(word));
    guest.complete(word, Status::Ok, 0, 123);
    assert!(host.is_processed(sequence) && host.verdict(sequence).is_none());
    assert_eq!(host.processed().read_ns, 123);
    guest.judge(word, Verdict::Mismatch, 456);
    let judged = host.verdict(sequence).unwrap();
    assert_eq!((judged.verdict, judged.verify_ns), (Some(Verdict::Mismatch), 456));
}

#[test]
fn a_host_that_comes_back_is_satisfied_by_no_old_acknowledgement() {
    let (m, geometry) = region();
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    let mut first = Host::open(&m, &geometry, 77);
    join(&mut guest);
    first.publish_ping(1).unwrap();
    answer_ping(&mut guest);
    // The first host dies without a word. Its acknowledgements for sequence 1 still stand in the region; even the
    // same random number makes another session.
    let mut second = Host::open(&m, &geometry, 77);
    assert_ne!(second.session().tag(), first.session().tag());
    assert_eq!(second.presence(), Presence::Announced);
    let sequence = second.publish_ping(2).unwrap();
    assert_eq!(sequence, 1);
    assert!(!second.is_received(sequence) && !second.is_processed(sequence));
    join(&mut guest);
    assert!(!second.is_received(sequence) && !second.is_processed(sequence));
    assert_eq!(answer_ping(&mut guest), 2);
    assert!(second.is_received(sequence) && second.is_processed(sequence));
    assert!(!first.is_processed(1), "the dead host's view is not satisfied either");
}

#[test]
fn a_guest_that_died_between_the_phases_answers_the_message_after_its_return() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    host.publish_ping(1).unwrap();
    answer_ping(&mut guest);
    let sequence = host.publish_ping(2).unwrap();
    assert!(matches!(guest.poll(), Event::Ping { .. }));
    // Dead here: RECEIVED without PROCESSED. Its successor joins the same session and goes on behind message 1.
    let mut guest = Guest::announce(&m, REGION_BYTES, 2);
    assert_eq!(host.presence(), Presence::Announced);
    join(&mut guest);
    assert_eq!(host.presence(), Presence::Attached { incarnation: 2 });
    assert!(!host.is_processed(sequence));
    assert_eq!(answer_ping(&mut guest), 2);
    assert!(host.is_processed(sequence));
    assert_eq!(guest.poll(), Event::Idle);
}

#[test]
fn a_guest_that_missed_messages_takes_the_latest() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    host.publish_ping(1).unwrap();
    let latest = host.publish_ping(2).unwrap();
    assert_eq!(answer_ping(&mut guest), 2);
    assert!(host.is_processed(latest) && !host.is_processed(latest - 1));
}

#[test]
fn a_frame_that_was_overtaken_is_known_to_be_torn() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
    let Event::Frame { word, .. } = guest.poll() else { panic!() };
    host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
    assert!(!guest.is_current(word));
}

#[test]
fn a_malformed_descriptor_is_answered_and_named() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let sequence = host.publish(&RawDescriptor::frame(9, 64, None)).unwrap();
    let error = DescriptorError::OutOfBounds { slot: 9, length: 64 };
    assert_eq!(guest.poll(), Event::Malformed { sequence, error });
    assert!(host.is_processed(sequence));
    assert_eq!(host.processed().status, Some(Status::BadDescriptor));
}

#[test]
fn pages_of_another_layout_or_maker_are_refused_by_name_on_both_sides() {
    let (m, geometry) = region();
    let refusal = |at, value| {
        let session = Host::open(&m, &geometry, 77).session();
        m.store(at, value, Relaxed);
        let mut guest = Guest::announce(&m, REGION_BYTES, 1);
        let event = guest.poll();
        assert_eq!(m.load(g::state, Relaxed), State::Refused.to_wire());
        assert_eq!(guest.poll(), Event::Idle, "refused once, not for ever");
        // A proper host afterwards is welcome.
        assert_ne!(Host::open(&m, &geometry, 77).session(), session);
        join(&mut guest);
        match event {
            Event::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(h::magic, 5), Refusal::Magic(5));
    assert_eq!(refusal(h::layout_version, 2), Refusal::Version(2));
    assert_eq!(
        refusal(h::region_bytes, 1 << 20),
        Refusal::RegionBytes { host: 1 << 20, guest: REGION_BYTES }
    );
    assert_eq!(refusal(h::slot_count, 0), Refusal::Geometry(GeometryError::SlotCount(0)));
    assert_eq!(refusal(h::session, 1 << 30), Refusal::Session(1 << 30));

    let host = Host::open(&m, &geometry, 77);
    m.store(g::layout_version, 9, Relaxed);
    assert_eq!(host.presence(), Presence::OtherLayout { version: 9 });
    m.store(g::magic, HOST_MAGIC, Relaxed);
    assert_eq!(host.presence(), Presence::Foreign { magic: HOST_MAGIC });
    m.store(g::magic, 0, Relaxed);
    assert_eq!(host.presence(), Presence::Absent);
    let _guest = Guest::announce(&m, REGION_BYTES * 2, 1);
    assert_eq!(host.presence(), Presence::OtherSize { bytes: REGION_BYTES * 2 });
}

#[test]
fn a_guest_page_left_behind_by_a_dead_guest_never_counts_as_attached() {
    let (m, geometry) = region();
    let first = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    assert!(matches!(first.presence(), Presence::Attached { .. }));
    // The machine is switched off; a new host finds yesterday's region.
    let second = Host::open(&m, &geometry, 78);
    assert_eq!(second.presence(), Presence::Announced);
}

#[test]
fn a_sequence_that_runs_backwards_is_ignored() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    for token in 1..=3 {
        host.publish_ping(token).unwrap();
        answer_ping(&mut guest);
    }
    m.store(h::publish, host.session().word(2), Release);
    assert_eq!(guest.poll(), Event::Idle);
    assert_eq!(sequence_of(m.load(g::processed, Relaxed)), 3);
}

#[test]
fn closing_is_seen_and_leaving_is_seen() {
    let (m, geometry) = region();
    let host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    assert!(!guest.host_closed());
    join(&mut guest);
    assert!(!guest.host_closed());
    host.close();
    assert!(guest.host_closed());
    let host = Host::open(&m, &geometry, 79);
    join(&mut guest);
    guest.leave();
    assert_eq!(host.presence(), Presence::Announced);
}

#[test]
fn each_heartbeat_moves() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    let before = host.guest_heartbeat();
    guest.beat();
    assert_ne!(host.guest_heartbeat(), before);
    let before = m.load(h::heartbeat, Relaxed);
    host.beat();
    assert_ne!(m.load(h::heartbeat, Relaxed), before);
}

/// Words that are more often interesting than 64 random bits are.
fn nasty_word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..8,
        Just(u64::MAX),
        Just(GUEST_MAGIC),
        Just(HOST_MAGIC),
        Just(1),
        Just(REGION_BYTES),
        (0u64..4, 0u64..4).prop_map(|(tag, sequence)| tag << 40 | sequence),
    ]
}

/// Indices of the words that steer a page, found by their offsets.
const PAGE_WORDS: usize = 512;

proptest! {
    #[test]
    fn a_guest_that_writes_garbage_fools_the_host_into_nothing(
        page in proptest::collection::vec(nasty_word(), PAGE_WORDS), random: u64,
    ) {
        let (m, geometry) = region();
        let mut host = Host::open(&m, &geometry, random);
        let sequence = host.publish_ping(1).unwrap();
        for (i, word) in page.iter().enumerate() {
            m.store(g::magic.plus(i), *word, Relaxed);
        }
        let _ = (host.presence(), host.processed(), host.verdict(sequence), host.guest_heartbeat());
        // An acknowledgement counts only as the exact word, session tag included.
        let exact = host.session().word(sequence);
        prop_assert_eq!(host.is_received(sequence), m.load(g::received, Relaxed) == exact);
        prop_assert_eq!(host.is_processed(sequence), m.load(g::processed, Relaxed) == exact);
        // And a new session shares its tag with nothing that stands there.
        let next = Host::open(&m, &geometry, random);
        for at in [g::received, g::processed, g::verdict] {
            prop_assert_ne!(tag_of(m.load(at, Relaxed)), next.session().tag());
        }
    }

    #[test]
    fn a_host_that_writes_garbage_never_gets_a_guest_to_touch_memory_outside_the_slots(
        pages in proptest::collection::vec(proptest::collection::vec(nasty_word(), PAGE_WORDS), 1..6), attach_first: bool,
    ) {
        let (m, geometry) = region();
        let mut guest = Guest::announce(&m, REGION_BYTES, 1);
        if attach_first {
            Host::open(&m, &geometry, 77);
            join(&mut guest);
        }
        for page in pages {
            for (i, word) in page.iter().enumerate() {
                m.store(h::magic.plus(i), *word, Relaxed);
            }
            for _ in 0..4 {
                match guest.poll() {
                    Event::Frame { word, range, .. } => {
                        prop_assert!(range.offset() >= 8192);
                        prop_assert!((range.offset() + range.len()) as u64 <= REGION_BYTES);
                        guest.complete(word, Status::Ok, 0, 0);
                    }
                    Event::Ping { word, token } => guest.complete_ping(word, token),
                    Event::Invited { session, geometry } => {
                        prop_assert_eq!(geometry.region_bytes(), REGION_BYTES);
                        guest.join(session, geometry);
                    }
                    Event::Idle | Event::Malformed { .. } | Event::Refused(_) => {}
                }
                let _ = guest.host_closed();
            }
        }
    }
}
