//! The handshake over a region on the heap: every order of starts, deaths and returns, and peers that write
//! whatever they like.

use std::sync::atomic::Ordering::{Relaxed, Release};

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::{Check, Descriptor, DescriptorError, Operation, RawDescriptor};
use ivshmem_proto::geometry::{Geometry, GeometryError, PayloadRange};
use ivshmem_proto::guest::{Done, Event, Guest, Refusal};
use ivshmem_proto::host::{Host, Presence, Processed, Reached, Tampered};
use ivshmem_proto::layout::{
    GUEST_MAGIC, HOST_MAGIC, RING_ENTRIES, guest_words as g, host_words as h, result_words as r,
};
use ivshmem_proto::memory::{ControlWords, HeapRegion, Payload as _};
use ivshmem_proto::wire::{Digest, Kind, State, Status, Verdict};
use ivshmem_proto::word::{self, sequence_of, tag_of};
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

/// Polls, expects a frame.
fn next_frame(guest: &mut Guest<'_, HeapRegion>) -> (u64, PayloadRange, Check) {
    match guest.poll() {
        Event::Message { word, descriptor: Descriptor::Frame { range, check, .. } } => (word, range, check),
        other => panic!("expected a frame, got {other:?}"),
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
    let sequence = host.publish(&RawDescriptor::frame(1, 1000, Some([9; 4]))).unwrap();

    let (word, range, check) = next_frame(&mut guest);
    let mut private = vec![0; range.len()];
    m.read(range, &mut private, Kernel::Memcpy);
    assert_eq!((private, check.digest, check.expected), (payload, Digest::Sha256, [9; 4]));
    assert!(guest.is_current(word));
    guest.complete(word, &Done { copy_ns: 123, stall_ns: 23, ..Done::default() });
    assert!(host.is_processed(sequence) && host.verdict(sequence).is_none());
    let outcome = host.outcome(sequence).unwrap();
    assert_eq!((outcome.status, outcome.copy_ns, outcome.stall_ns), (Some(Status::Ok), 123, 23));
    guest.judge(word, Verdict::Mismatch, 456, Some(7));
    let judged = host.verdict(sequence).unwrap();
    assert_eq!(
        (judged.verdict, judged.verify_ns, judged.mismatch_offset),
        (Some(Verdict::Mismatch), 456, Some(7))
    );
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
fn a_guest_that_comes_back_takes_what_is_in_flight_behind_its_last_answer() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    for length in 1..=4 {
        host.publish(&RawDescriptor::frame(0, length, None)).unwrap();
    }
    let (word, ..) = next_frame(&mut guest);
    guest.complete(word, &Done::default());
    next_frame(&mut guest);
    // Dead with message 2 in its hands; 3 is given up before its successor comes.
    host.retract(3);
    let mut guest = Guest::announce(&m, REGION_BYTES, 2);
    join(&mut guest);
    for expected in [2, 4] {
        let (word, range, _) = next_frame(&mut guest);
        assert_eq!((sequence_of(word), range.len() as u64), (expected, expected));
        assert!(host.outcome(expected).is_none());
        guest.complete(word, &Done::default());
        assert_eq!(host.processed_up_to(), Reached::UpTo(expected));
    }
    assert_eq!((guest.poll(), host.outcome(3)), (Event::Idle, None));
}

#[test]
fn a_host_that_comes_back_gives_up_what_the_one_before_it_had_in_flight() {
    let (m, geometry) = region();
    let mut first = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let chunked = Operation { chunked: true, ..Operation::of(Kind::Frame) };
    first.begin_chunks();
    first.publish(&RawDescriptor::of(chunked, 128, 0, [0; 4])).unwrap();
    first.publish(&RawDescriptor::frame(1, 64, None)).unwrap();
    first.advance(1, 64);
    let Event::Message { word, .. } = guest.poll() else { panic!() };
    assert!(guest.is_current(word));
    // Dead in the middle of the first message.
    let mut second = Host::open(&m, &geometry, 78);
    assert!(!guest.is_current(word));
    assert_eq!(guest.watermark(word), None);
    guest.complete(word, &Done { status: Status::Superseded, ..Done::default() });
    assert_eq!((second.outcome(1), second.processed_up_to()), (None, Reached::Nothing));
    join(&mut guest);
    assert_eq!(guest.poll(), Event::Idle, "nothing of the first session is taken in the second");
    let sequence = second.publish(&RawDescriptor::frame(0, 32, None)).unwrap();
    assert_eq!(next_frame(&mut guest).1.len(), 32);
    assert_eq!((sequence, second.received_up_to()), (1, Reached::UpTo(1)));
}

#[test]
fn a_session_that_a_guest_still_echoes_is_not_opened_again() {
    let (m, geometry) = region();
    let session = Host::open(&m, &geometry, 77).session();
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    // A second host died while it opened its session: the published word is gone, the guest has answered nothing.
    m.store(h::publish, 0, Relaxed);
    let third = Host::open(&m, &geometry, 77);
    assert_ne!(third.session().tag(), session.tag());
    assert_eq!(third.presence(), Presence::Announced);
}

#[test]
fn a_result_stands_until_its_entry_is_anothers() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    for sequence in 1..=RING_ENTRIES + 1 {
        host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
        let (word, ..) = next_frame(&mut guest);
        guest.complete(word, &Done { copy_ns: sequence, ..Done::default() });
        guest.judge(word, Verdict::Match, sequence, None);
        let stands = sequence <= RING_ENTRIES;
        assert_eq!(host.outcome(1).map(|outcome| outcome.copy_ns), stands.then_some(1));
        assert_eq!(host.verdict(1).map(|judged| judged.verify_ns), stands.then_some(1));
    }
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
fn a_frame_that_was_given_up_is_known_to_be_torn() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let first = host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
    let (word, ..) = next_frame(&mut guest);
    host.publish(&RawDescriptor::frame(1, 64, None)).unwrap();
    assert!(guest.is_current(word), "a message in flight behind it takes nothing away");
    host.retract(first);
    assert!(!guest.is_current(word));
}

#[test]
fn giving_up_a_message_long_past_takes_nothing_from_the_one_in_its_place() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let mut last = 0;
    for _ in 0..=RING_ENTRIES {
        last = host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
        let (word, ..) = next_frame(&mut guest);
        guest.complete(word, &Done::default());
    }
    host.retract(last - RING_ENTRIES);
    assert!(guest.is_current(host.session().word(last)));
    host.retract(last);
    assert!(!guest.is_current(host.session().word(last)));
}

#[test]
fn several_messages_in_flight_are_taken_in_order_and_each_has_its_own_result() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    for round in 0..5 {
        assert_eq!(host.foretold(), None);
        let published: Vec<u64> =
            (0..7).map(|i| host.publish(&RawDescriptor::frame(0, 64 + i, None)).unwrap()).collect();
        host.retract(published[3]);
        for (i, &sequence) in published.iter().enumerate().filter(|&(i, _)| i != 3) {
            let (word, range, _) = next_frame(&mut guest);
            assert_eq!((sequence_of(word), range.len()), (sequence, 64 + i));
            assert_eq!(host.received_up_to(), Reached::UpTo(published[6]), "seen all at once");
            assert!(host.outcome(sequence).is_none());
            guest.complete(word, &Done { copy_ns: sequence, ..Done::default() });
            assert_eq!(host.processed_up_to(), Reached::UpTo(sequence));
        }
        assert_eq!(guest.poll(), Event::Idle);
        assert_eq!(host.outcome(published[3]), None, "round {round}");
        for &sequence in &[published[0], published[6]] {
            assert_eq!(host.outcome(sequence).unwrap().copy_ns, sequence);
        }
    }
    // More than the ring holds: the oldest are lost, none is taken for another.
    for _ in 0..20 {
        host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
    }
    let (word, ..) = next_frame(&mut guest);
    assert_eq!(sequence_of(word), 35 + 20 - RING_ENTRIES + 1);
}

#[test]
fn a_watermark_tells_how_much_of_its_own_message_is_valid() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let chunked = Operation { chunked: true, ..Operation::of(Kind::Frame) };
    for _ in 0..2 {
        host.begin_chunks();
        let sequence = host.publish(&RawDescriptor::of(chunked, 128, 0, [0; 4])).unwrap();
        let Event::Message { word, descriptor: Descriptor::Frame { chunked: true, .. } } = guest.poll()
        else {
            panic!()
        };
        assert_eq!(guest.watermark(word), Some(0), "nothing of an earlier message counts");
        host.advance(sequence, 64);
        assert_eq!((guest.watermark(word), guest.watermark(word + 1)), (Some(64), None));
        guest.advance(word, 32);
        assert_eq!((host.guest_watermark(sequence), host.guest_watermark(sequence + 1)), (Some(32), None));
    }
}

#[test]
fn an_acknowledgement_of_the_future_is_noticed_before_it_can_satisfy_anybody() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    host.publish_ping(1).unwrap();
    for at in [g::received, g::processed] {
        m.store(at, host.session().word(1), Relaxed);
        assert_eq!(host.foretold(), None);
        m.store(at, host.session().word(2), Relaxed);
        assert_eq!(host.foretold(), Some(2));
        m.store(at, host.session().word(1), Relaxed);
    }
}

#[test]
fn a_guest_that_writes_to_the_hosts_page_is_caught_and_the_page_mended() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    host.publish_ping(1).unwrap();
    host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
    host.begin_chunks();
    host.beat();
    assert_eq!(host.mend(), None);
    for index in 0..512 {
        let written = m.load(h::magic.plus(index), Relaxed);
        m.store(h::magic.plus(index), !written, Relaxed);
        assert_eq!(host.mend(), Some(Tampered { at: index * 8, written, found: !written }));
        assert_eq!((m.load(h::magic.plus(index), Relaxed), host.mend()), (written, None));
    }
}

#[test]
fn a_ping_with_payload_and_clock_is_one_line_and_not_the_rings() {
    let (m, geometry) = region();
    let mut host = Host::open(&m, &geometry, 77);
    let mut guest = Guest::announce(&m, REGION_BYTES, 1);
    join(&mut guest);
    let operation = Operation { timed: true, slot: 1, ..Operation::of(Kind::Inline) }.to_wire();
    let sequence = host.publish_short(operation, 100, 5).unwrap();
    let Event::Message { word, descriptor } = guest.poll() else { panic!() };
    assert_eq!(descriptor, Descriptor::Ping { token: 5, range: geometry.payload(1, 100), timed: true });
    guest.complete_short(word, Status::Ok, 6, 1234);
    assert!(host.is_processed(sequence));
    let expected = Processed { status: Some(Status::Ok), token_echo: 6, seen_ticks: 1234, answered: 1 };
    assert_eq!(host.processed(), expected);
    let sequence = host.publish_short(operation, 4097, 5).unwrap();
    assert!(matches!(guest.poll(), Event::Malformed { sequence: s, .. } if s == sequence));
    assert_eq!(host.processed().status, Some(Status::BadDescriptor));
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
    assert_eq!(host.outcome(sequence).unwrap().status, Some(Status::BadDescriptor));
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
    assert_eq!(refusal(h::layout_version, 1), Refusal::Version(1));
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
    // Not even one that puts its own size into the host's page.
    m.store(h::region_bytes, REGION_BYTES * 2, Relaxed);
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

/// Words of the session that is attacked, 77: acknowledgements of the past and of the future, and watermarks.
fn guided_word() -> impl Strategy<Value = u64> {
    let sequence = || prop_oneof![0u64..24, Just(word::SEQUENCE_MAX)];
    prop_oneof![
        nasty_word(),
        sequence().prop_map(|sequence| 77 << 40 | sequence),
        (sequence(), any::<u64>()).prop_map(|(sequence, bytes)| word::watermark(sequence, bytes)),
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
        let _ = (host.presence(), host.processed(), host.guest_heartbeat(), host.foretold(), host.outcome(sequence));
        let _ = (host.verdict(sequence), host.received_up_to(), host.processed_up_to(), host.guest_watermark(sequence));
        // An acknowledgement counts only as the exact word, session tag included.
        let exact = host.session().word(sequence);
        prop_assert_eq!(host.is_received(sequence), m.load(g::received, Relaxed) == exact);
        prop_assert_eq!(host.is_processed(sequence), m.load(g::processed, Relaxed) == exact);
        // And a new session shares its tag with nothing that stands there.
        let next = Host::open(&m, &geometry, random);
        for at in [g::received, g::processed, r::word(3), r::verdict_word(5)] {
            prop_assert_ne!(tag_of(m.load(at, Relaxed)), next.session().tag());
        }
    }

    #[test]
    fn a_guest_that_writes_garbage_with_the_right_tag_is_believed_no_more_than_it_says(
        page in proptest::collection::vec(guided_word(), PAGE_WORDS), published in 1u64..20,
    ) {
        let (m, geometry) = region();
        let mut host = Host::open(&m, &geometry, 77);
        for _ in 0..published {
            host.publish(&RawDescriptor::frame(0, 64, None)).unwrap();
        }
        for (i, word) in page.iter().enumerate() {
            m.store(g::magic.plus(i), *word, Relaxed);
        }
        let get = |at| m.load(at, Relaxed);
        let reached = |at| match (tag_of(get(at)), sequence_of(get(at))) {
            (77, 0) => Reached::Nothing,
            (77, sequence) if sequence <= published => Reached::UpTo(sequence),
            (77, sequence) => Reached::Future(sequence),
            _ => Reached::Nothing,
        };
        prop_assert_eq!(host.received_up_to(), reached(g::received));
        prop_assert_eq!(host.processed_up_to(), reached(g::processed));
        let is_future = |at| matches!(reached(at), Reached::Future(_));
        prop_assert_eq!(host.foretold().is_some(), is_future(g::received) || is_future(g::processed));
        for sequence in 1..=published {
            let has = |at| (Reached::UpTo(sequence)..=Reached::UpTo(published)).contains(&reached(at));
            prop_assert_eq!(host.has_processed(sequence), has(g::processed));
            prop_assert_eq!(host.has_received(sequence), has(g::received));
            let outcome = host.outcome(sequence);
            prop_assert_eq!(outcome.is_some(), get(r::word(sequence)) == 77 << 40 | sequence);
            if let Some(outcome) = outcome {
                let status = get(r::status(sequence));
                prop_assert_eq!(outcome.status.map(Status::to_wire), (1..=5).contains(&status).then_some(status));
            }
            let judged = host.verdict(sequence);
            prop_assert_eq!(judged.is_some(), get(r::verdict_word(sequence)) == 77 << 40 | sequence);
            if let Some(judged) = judged {
                let verdict = get(r::verdict_status(sequence));
                prop_assert_eq!(judged.verdict.map(Verdict::to_wire), (1..=2).contains(&verdict).then_some(verdict));
            }
            let mark = get(g::watermark);
            let bytes = (mark >> 40 == sequence).then_some(mark & ((1 << 40) - 1));
            prop_assert_eq!(host.guest_watermark(sequence), bytes, "of any size: the caller clamps it");
        }
        prop_assert_eq!(host.mend(), None);
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
                    Event::Message { word, descriptor } => {
                        let range = match descriptor {
                            Descriptor::Ping { range, .. } => range,
                            Descriptor::Frame { range, .. }
                            | Descriptor::Fetch { range, .. }
                            | Descriptor::Measure { range } => Some(range),
                            Descriptor::Produce { .. } => None,
                        };
                        if let Some(range) = range {
                            prop_assert!(range.offset() >= 8192);
                            prop_assert!((range.offset() + range.len()) as u64 <= REGION_BYTES);
                        }
                        let _ = (guest.is_current(word), guest.watermark(word));
                        guest.complete(word, &Done::default());
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
