//! The handshake under loom: every interleaving and every reordering the C11 memory model allows, within the
//! preemption bound. Run with `RUSTFLAGS="--cfg loom" cargo test --release -p ivshmem-proto --test loom`.
//!
//! Each model names the words its question is about; all others are plain memory that both sides see at once, which
//! keeps the number of executions small.
#![cfg(loom)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64 as Plain, Ordering};

use ivshmem_proto::descriptor::{Descriptor, Operation, RawDescriptor};
use ivshmem_proto::doorbell::AT_PROCESSED;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::{Done, Event, Guest};
use ivshmem_proto::host::{Host, Presence, Reached};
use ivshmem_proto::layout::{
    RING_ENTRIES, SLOTS_OFFSET, WordOffset, descriptor_words as d, guest_words as g, host_words as h,
    result_words as r,
};
use ivshmem_proto::memory::ControlWords;
use ivshmem_proto::wire::{Kind, Status, Verdict};
use ivshmem_proto::word::{sequence_of, tag_of};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};
use loom::thread;

const REGION_BYTES: u64 = 64 << 10;
/// What session 7 publishes under.
const TAG: u64 = 7;

/// The control words, some of them modelled, and two words of payload.
struct LoomRegion {
    modelled: BTreeMap<WordOffset, AtomicU64>,
    plain: Vec<Plain>,
    payload: [AtomicU64; 2],
}

impl LoomRegion {
    fn new(modelled: &[WordOffset]) -> Arc<Self> {
        Arc::new(Self {
            modelled: modelled.iter().map(|&at| (at, AtomicU64::new(0))).collect(),
            plain: (0..SLOTS_OFFSET / 8).map(|_| Plain::new(0)).collect(),
            payload: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    /// For questions about starting, dying and coming back: all that a ping needs.
    fn for_sessions() -> Arc<Self> {
        Self::new(&[
            h::magic,
            h::layout_version,
            h::region_bytes,
            h::session,
            h::slot_count,
            h::slot_bytes,
            h::publish,
            h::operation,
            h::token,
            g::magic,
            g::session_echo,
            g::incarnation,
            g::state,
            g::received,
            g::processed,
            g::status,
            g::token_echo,
            g::seen_ticks,
            g::answered,
        ])
    }
}

impl ControlWords for LoomRegion {
    fn load(&self, at: WordOffset, order: Ordering) -> u64 {
        match self.modelled.get(&at) {
            Some(word) => word.load(order),
            None => self.plain[at.bytes() / 8].load(Ordering::Relaxed),
        }
    }

    fn store(&self, at: WordOffset, value: u64, order: Ordering) {
        match self.modelled.get(&at) {
            Some(word) => word.store(value, order),
            None => self.plain[at.bytes() / 8].store(value, Ordering::Relaxed),
        }
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 20_000;
    builder.check(body);
}

fn geometry() -> Geometry {
    Geometry::for_payload(REGION_BYTES, 0).unwrap()
}

/// Polls until a message of the ring or a ping comes, joining sessions on the way.
fn next(guest: &mut Guest<'_, LoomRegion>) -> Event {
    loop {
        match guest.poll() {
            Event::Idle => thread::yield_now(),
            Event::Invited { session, geometry } => guest.join(session, geometry),
            event => return event,
        }
    }
}

/// Polls until a ping comes; returns its word and token.
fn next_ping(guest: &mut Guest<'_, LoomRegion>) -> (u64, u64) {
    match next(guest) {
        Event::Ping { word, token } => (word, token),
        other => panic!("{other:?}"),
    }
}

/// Polls until a message of the ring comes; returns its word and what is asked.
fn next_message(guest: &mut Guest<'_, LoomRegion>) -> (u64, Descriptor) {
    match next(guest) {
        Event::Message { word, descriptor } => (word, descriptor),
        other => panic!("{other:?}"),
    }
}

/// A guest that answers one ping with the payload it finds.
fn answer_one(region: &LoomRegion, incarnation: u64) {
    let mut guest = Guest::announce(region, REGION_BYTES, incarnation);
    let (word, token) = next_ping(&mut guest);
    let payload = region.payload[0].load(Ordering::Relaxed);
    guest.complete_short(word, Status::Ok, token, payload);
}

/// Waits for PROCESSED and returns what the guest said.
fn processed(host: &Host<'_, LoomRegion>, sequence: u64) -> (Option<Status>, u64, u64) {
    while !host.is_processed(sequence) {
        thread::yield_now();
    }
    let answer = host.processed();
    (answer.status, answer.token_echo, answer.seen_ticks)
}

/// Brings a guest into the session before the threads part: one that comes after it finds the session open.
fn attach<'m>(region: &'m LoomRegion, host: &Host<'m, LoomRegion>) -> Guest<'m, LoomRegion> {
    let mut guest = Guest::announce(region, REGION_BYTES, 1);
    match guest.poll() {
        Event::Invited { session, geometry } => guest.join(session, geometry),
        other => panic!("{other:?}"),
    }
    assert!(matches!(host.presence(), Presence::Attached { .. }));
    guest
}

/// A frame in `slot` whose length tells which message it is: eight bytes times its number.
fn frame(sequence: u64, slot: u16) -> RawDescriptor {
    RawDescriptor::frame(slot, 8 * sequence, None)
}

/// The payload word that belongs to a message.
fn content(sequence: u64) -> u64 {
    100 + sequence
}

#[test]
fn whoever_starts_first_the_payload_precedes_its_acknowledgement() {
    model(|| {
        let region = LoomRegion::for_sessions();
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || answer_one(&theirs, 1));
        // The guest may announce itself before, during or after all of this: loom tries every order.
        let mut host = Host::open(&*region, &geometry(), TAG);
        region.payload[0].store(42, Ordering::Relaxed);
        let sequence = host.publish_ping(9).unwrap();
        assert_eq!(processed(&host, sequence), (Some(Status::Ok), 9, 42));
        assert!(host.is_received(sequence), "phase two without phase one");
        guest.join().unwrap();
    });
}

#[test]
fn an_attached_guest_has_no_stale_acknowledgement_standing() {
    model(|| {
        let region = LoomRegion::for_sessions();
        // What an earlier run left: a guest page full of another session's words.
        for at in [g::received, g::processed] {
            region.store(at, 3 << 40 | 1, Ordering::Relaxed);
        }
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 1);
            loop {
                match guest.poll() {
                    Event::Idle => thread::yield_now(),
                    Event::Invited { session, geometry } => return guest.join(session, geometry),
                    other => panic!("{other:?}"),
                }
            }
        });
        let host = Host::open(&*region, &geometry(), TAG);
        while !matches!(host.presence(), Presence::Attached { .. }) {
            assert!(!host.is_processed(1) && !host.is_received(1));
            thread::yield_now();
        }
        assert!(!host.is_processed(1) && !host.is_received(1));
        assert_eq!(region.load(g::processed, Ordering::Relaxed), 0, "reset before the echo");
        guest.join().unwrap();
    });
}

#[test]
fn a_host_that_died_and_came_back_gets_answers_to_its_own_messages_only() {
    model(|| {
        let region =
            LoomRegion::new(&[h::publish, h::session, h::token, g::processed, g::status, g::token_echo]);
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 1);
            // Answers whatever it sees until it has answered the second session. An answer to the first may carry
            // a token of the second, read too late: it satisfies nobody.
            loop {
                let (word, token) = next_ping(&mut guest);
                guest.complete_ping(word, token);
                if tag_of(word) == TAG + 1 {
                    return;
                }
            }
        });
        let mut first = Host::open(&*region, &geometry(), TAG);
        first.publish_ping(1).unwrap();
        // The first host is gone at once, answered or not.
        let mut second = Host::open(&*region, &geometry(), TAG + 1);
        let sequence = second.publish_ping(2).unwrap();
        let (status, token, _) = processed(&second, sequence);
        assert_eq!((status, token), (Some(Status::Ok), 2));
        guest.join().unwrap();
    });
}

#[test]
fn a_guest_that_died_between_the_phases_is_replaced_without_losing_the_message() {
    model(|| {
        let region = LoomRegion::for_sessions();
        let theirs = Arc::clone(&region);
        let guests = thread::spawn(move || {
            let mut first = Guest::announce(&*theirs, REGION_BYTES, 1);
            next_ping(&mut first);
            // Dead after RECEIVED.
            drop(first);
            answer_one(&theirs, 2);
        });
        let mut host = Host::open(&*region, &geometry(), TAG);
        region.payload[0].store(42, Ordering::Relaxed);
        let sequence = host.publish_ping(9).unwrap();
        assert_eq!(processed(&host, sequence), (Some(Status::Ok), 9, 42));
        guests.join().unwrap();
    });
}

#[test]
fn an_identity_that_is_being_rewritten_is_never_believed() {
    model(|| {
        let region = LoomRegion::for_sessions();
        let two_slots = geometry();
        let one_slot = Geometry::new(REGION_BYTES, 1, 4096).unwrap();
        let first = Host::open(&*region, &two_slots, TAG).session();
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 1);
            // One look or two, at any moment of the second host's opening.
            for _ in 0..2 {
                if let Event::Invited { session, geometry } = guest.poll() {
                    let expected = if session == first { two_slots } else { one_slot };
                    assert_eq!(geometry, expected, "session {session} with another's slots");
                }
            }
        });
        Host::open(&*region, &one_slot, TAG + 1);
        guest.join().unwrap();
    });
}

#[test]
fn a_guest_that_sees_the_mark_sees_the_bytes_up_to_it() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, h::watermark, d::word(1), g::received, g::processed]);
        let mut host = Host::open(&*region, &geometry(), TAG);
        drop(attach(&region, &host));
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 2);
            let (word, _) = next_message(&mut guest);
            // The first chunk was marked before the message was published.
            assert!(guest.watermark(word).is_some_and(|bytes| bytes >= 8));
            for (index, payload) in theirs.payload.iter().enumerate() {
                while guest.watermark(word).unwrap() < 8 * (index as u64 + 1) {
                    thread::yield_now();
                }
                assert_eq!(payload.load(Ordering::Relaxed), 41 + index as u64);
            }
            guest.complete(word, &Done::default());
        });
        let chunked = Operation { chunked: true, ..Operation::of(Kind::Frame) };
        // As host-writer does it: the message is published with its first chunk.
        host.begin_chunks();
        let next = host.next_sequence();
        region.payload[0].store(41, Ordering::Relaxed);
        host.advance(next, 8);
        host.publish(&RawDescriptor::of(chunked, 16, 0, [0; 4])).unwrap();
        region.payload[1].store(42, Ordering::Relaxed);
        host.advance(next, 16);
        while !host.is_processed(next) {
            thread::yield_now();
        }
        guest.join().unwrap();
    });
}

#[test]
fn messages_in_flight_keep_their_payloads_their_descriptors_and_their_results_apart() {
    model(|| {
        let mut modelled = vec![h::publish, g::processed];
        for sequence in 1..=3 {
            modelled.extend([
                d::word(sequence),
                d::length(sequence),
                r::word(sequence),
                r::copy_ns(sequence),
            ]);
        }
        let region = LoomRegion::new(&modelled);
        let mut host = Host::open(&*region, &geometry(), TAG);
        drop(attach(&region, &host));
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 2);
            for sequence in 1..=3 {
                let (word, descriptor) = next_message(&mut guest);
                let Descriptor::Frame { range, .. } = descriptor else { panic!("{descriptor:?}") };
                assert_eq!((sequence_of(word), range.len() as u64), (sequence, 8 * sequence));
                let payload = theirs.payload[sequence as usize % 2].load(Ordering::Relaxed);
                assert_eq!(payload, content(sequence), "a slot shows another message's payload");
                guest.complete(word, &Done { copy_ns: sequence, ..Done::default() });
            }
        });
        let result_of = |host: &Host<'_, LoomRegion>, sequence| {
            let outcome = host.outcome(sequence).expect("processed without a result");
            assert_eq!(outcome.copy_ns, sequence, "another message's result");
        };
        for sequence in 1..=3 {
            // Two slots take turns: one is free again when the message before the last is done.
            while sequence == 3 && !host.has_processed(1) {
                thread::yield_now();
            }
            region.payload[sequence as usize % 2].store(content(sequence), Ordering::Relaxed);
            host.publish(&frame(sequence, sequence as u16 % 2)).unwrap();
        }
        result_of(&host, 1);
        while host.processed_up_to() != Reached::UpTo(3) {
            thread::yield_now();
        }
        (1..=3).for_each(|sequence| result_of(&host, sequence));
        guest.join().unwrap();
    });
}

#[test]
fn a_guest_whose_message_still_stands_after_its_reading_has_read_nothing_later() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, d::word(1), d::word(2), g::processed]);
        let mut host = Host::open(&*region, &geometry(), TAG);
        drop(attach(&region, &host));
        region.payload[0].store(content(1), Ordering::Relaxed);
        host.publish(&frame(1, 0)).unwrap();
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 2);
            loop {
                let (word, _) = next_message(&mut guest);
                let payload = theirs.payload[0].load(Ordering::Relaxed);
                if guest.is_current(word) {
                    assert_eq!(payload, content(sequence_of(word)), "torn, and not noticed");
                }
                guest.complete(word, &Done::default());
                if sequence_of(word) == 2 {
                    return;
                }
            }
        });
        host.retract(1);
        region.payload[0].store(content(2), Ordering::Relaxed);
        host.publish(&frame(2, 0)).unwrap();
        while !host.is_processed(2) {
            thread::yield_now();
        }
        guest.join().unwrap();
    });
}

#[test]
fn a_host_that_comes_back_writes_no_slot_under_a_message_that_still_stands() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, d::word(1)]);
        let mut first = Host::open(&*region, &geometry(), TAG);
        let mut guest = attach(&region, &first);
        region.payload[0].store(content(1), Ordering::Relaxed);
        first.publish(&frame(1, 0)).unwrap();
        let (word, _) = next_message(&mut guest);
        drop((first, guest));
        let theirs = Arc::clone(&region);
        let host = thread::spawn(move || {
            Host::open(&*theirs, &geometry(), TAG + 1);
            theirs.payload[0].store(content(2), Ordering::Relaxed);
        });
        // In the middle of its reading, whoever writes.
        let guest = Guest::announce(&*region, REGION_BYTES, 2);
        let payload = region.payload[0].load(Ordering::Relaxed);
        if guest.is_current(word) {
            assert_eq!(payload, content(1), "torn, and not noticed");
        }
        host.join().unwrap();
    });
}

#[test]
fn an_entry_that_is_being_rewritten_for_a_later_message_is_never_believed() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, d::word(1), d::length(1), d::token(1)]);
        let mut host = Host::open(&*region, &geometry(), TAG);
        drop(attach(&region, &host));
        let of = |sequence| RawDescriptor { token: sequence, ..frame(sequence, 0) };
        for sequence in 1..=RING_ENTRIES {
            host.publish(&of(sequence)).unwrap();
        }
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 2);
            // The first message, while its entry still is its own, or one after it.
            let (word, descriptor) = next_message(&mut guest);
            let Descriptor::Frame { range, check, .. } = descriptor else { panic!("{descriptor:?}") };
            let sequence = sequence_of(word);
            assert_eq!((range.len() as u64, check.token), (8 * sequence, sequence), "a mixture");
        });
        // The entry of the first message, which nobody waits for any more.
        host.publish(&of(1 + RING_ENTRIES)).unwrap();
        guest.join().unwrap();
    });
}

#[test]
fn a_result_that_is_being_overwritten_by_a_later_one_is_none() {
    model(|| {
        let words = [r::word(1), r::copy_ns(1), r::stall_ns(1)];
        let verdict_words = [r::verdict_word(1), r::verify_ns(1), r::mismatch_offset(1)];
        let region = LoomRegion::new(&[words, verdict_words].concat());
        let host = Host::open(&*region, &geometry(), TAG);
        let mut guest = attach(&region, &host);
        let answer = |guest: &mut Guest<'_, LoomRegion>, sequence| {
            let word = TAG << 40 | sequence;
            guest.complete(word, &Done { copy_ns: sequence, stall_ns: sequence, ..Done::default() });
            guest.judge(word, Verdict::Mismatch, sequence, Some(sequence));
        };
        answer(&mut guest, 1);
        drop(guest);
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            answer(&mut Guest::announce(&*theirs, REGION_BYTES, 2), 1 + RING_ENTRIES);
        });
        // A host that looks late, and one that looks without having seen PROCESSED.
        for sequence in [1, 1 + RING_ENTRIES] {
            if let Some(outcome) = host.outcome(sequence) {
                assert_eq!((outcome.copy_ns, outcome.stall_ns), (sequence, sequence), "a mixture");
            }
            if let Some(judged) = host.verdict(sequence) {
                assert_eq!(
                    (judged.verify_ns, judged.mismatch_offset),
                    (sequence, Some(sequence)),
                    "a mixture"
                );
            }
        }
        guest.join().unwrap();
    });
}

#[test]
fn a_host_that_sees_the_guests_mark_or_its_answer_sees_the_bytes() {
    model(|| {
        let region =
            LoomRegion::new(&[h::publish, d::word(1), g::watermark, g::processed, r::word(1), r::copy_ns(1)]);
        let mut host = Host::open(&*region, &geometry(), TAG);
        drop(attach(&region, &host));
        let fetch = Operation { chunked: true, ..Operation::of(Kind::Fetch) };
        let sequence = host.publish(&RawDescriptor::of(fetch, 16, 8, [0; 4])).unwrap();
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 2);
            let (word, _) = next_message(&mut guest);
            theirs.payload[0].store(41, Ordering::Relaxed);
            guest.advance(word, 8);
            // The second chunk is not marked: PROCESSED alone tells of it.
            theirs.payload[1].store(42, Ordering::Relaxed);
            guest.complete(word, &Done { copy_ns: 5, ..Done::default() });
        });
        while !host.guest_watermark(sequence).is_some_and(|bytes| bytes >= 8) {
            thread::yield_now();
        }
        assert_eq!(region.payload[0].load(Ordering::Relaxed), 41);
        while !host.is_processed(sequence) {
            thread::yield_now();
        }
        assert_eq!(region.payload[1].load(Ordering::Relaxed), 42);
        assert_eq!(host.outcome(sequence).unwrap().copy_ns, 5);
        guest.join().unwrap();
    });
}

/// What becomes of a sleeper and of whoever has something to tell it, when both begin at once.
struct Race {
    /// The sleeper's last look found nothing: it sleeps.
    slept: bool,
    /// The other saw that it should ring.
    rang: bool,
}

/// How whoever has something to tell looks whether the other sleeps.
#[derive(Clone, Copy)]
enum Tells {
    /// After a full fence.
    AtOnce,
    /// At a glance, and after a full fence only when that and some looks for what comes next were in vain.
    Lazily,
    /// At a glance: what must not be.
    AtAGlance,
}

/// The guest goes to sleep while the host publishes.
fn guest_sleeps<M: ControlWords + Send + Sync + 'static>(
    region: &Arc<LoomRegion>,
    of: fn(Arc<LoomRegion>) -> M,
    tells: Tells,
) -> Race {
    let mut host = Host::open(&**region, &geometry(), TAG);
    drop(attach(region, &host));
    let ours = of(Arc::clone(region));
    let sleeper = thread::spawn(move || {
        let mut guest = Guest::announce(&ours, REGION_BYTES, 2);
        match guest.poll() {
            Event::Invited { session, geometry } => guest.join(session, geometry),
            // The message is there already: a guest that looks joins and takes it.
            other => panic!("{other:?}"),
        }
        if !matches!(guest.poll(), Event::Idle) {
            return false;
        }
        guest.arm();
        !guest.has_news()
    });
    let sequence = host.publish_ping(9).unwrap();
    let rang = match tells {
        Tells::AtOnce => host.guest_is_armed(),
        Tells::Lazily => host.guest_seems_armed() || (!host.is_processed(sequence) && host.guest_is_armed()),
        Tells::AtAGlance => host.guest_seems_armed(),
    };
    Race { slept: sleeper.join().unwrap(), rang }
}

/// The host goes to sleep while the guest acknowledges.
fn host_sleeps<M: ControlWords + Send + Sync + 'static>(
    region: &Arc<LoomRegion>,
    of: fn(Arc<LoomRegion>) -> M,
    tells: Tells,
) -> Race {
    let mut host = Host::open(&**region, &geometry(), TAG);
    host.declare(true);
    drop(attach(region, &host));
    let sequence = host.publish_ping(9).unwrap();
    let theirs = of(Arc::clone(region));
    let ringer = thread::spawn(move || {
        let mut guest = Guest::announce(&theirs, REGION_BYTES, 2);
        match guest.poll() {
            Event::Invited { session, geometry } => guest.join(session, geometry),
            other => panic!("{other:?}"),
        }
        let Event::Ping { word, token } = guest.poll() else { panic!("the ping is there") };
        guest.complete_ping(word, token);
        match tells {
            Tells::AtOnce => guest.host_is_armed(AT_PROCESSED, || ()),
            Tells::Lazily => {
                guest.host_seems_armed(AT_PROCESSED)
                    || (!guest.has_news() && guest.host_is_armed(AT_PROCESSED, || ()))
            }
            Tells::AtAGlance => guest.host_seems_armed(AT_PROCESSED),
        }
    });
    host.arm(AT_PROCESSED);
    let slept = !host.is_processed(sequence);
    Race { slept, rang: ringer.join().unwrap() }
}

/// A region whose full fences are left out, as TCG leaves out those of a guest with one CPU.
struct Unfenced(Arc<LoomRegion>);

impl ControlWords for Unfenced {
    fn load(&self, at: WordOffset, order: Ordering) -> u64 {
        self.0.load(at, order)
    }

    fn store(&self, at: WordOffset, value: u64, order: Ordering) {
        self.0.store(at, value, order);
    }

    fn fence(&self, order: Ordering) {
        if order != Ordering::SeqCst {
            self.0.fence(order);
        }
    }
}

impl ControlWords for Fenced {
    fn load(&self, at: WordOffset, order: Ordering) -> u64 {
        self.0.load(at, order)
    }

    fn store(&self, at: WordOffset, value: u64, order: Ordering) {
        self.0.store(at, value, order);
    }

    fn fence(&self, order: Ordering) {
        self.0.fence(order);
    }
}

/// The region as it is.
struct Fenced(Arc<LoomRegion>);

fn no_sleep_over_a_message(race: &Race) {
    assert!(race.rang || !race.slept, "asleep, and nobody rings");
}

#[test]
fn a_guest_that_goes_to_sleep_finds_the_message_or_is_rung() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, g::armed]);
        no_sleep_over_a_message(&guest_sleeps(&region, Fenced, Tells::AtOnce));
    });
}

#[test]
fn a_host_that_goes_to_sleep_finds_the_acknowledgement_or_is_rung() {
    model(|| {
        let region = LoomRegion::new(&[h::armed, g::processed]);
        no_sleep_over_a_message(&host_sleeps(&region, Fenced, Tells::AtOnce));
    });
}

#[test]
fn a_guest_that_goes_to_sleep_finds_the_message_or_is_rung_by_a_host_that_looks_for_the_answer_first() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, g::armed, g::processed]);
        no_sleep_over_a_message(&guest_sleeps(&region, Fenced, Tells::Lazily));
    });
}

#[test]
fn a_host_that_goes_to_sleep_finds_the_acknowledgement_or_is_rung_by_a_guest_that_looks_for_the_next_message_first()
 {
    model(|| {
        let region = LoomRegion::new(&[h::armed, g::processed, h::publish]);
        no_sleep_over_a_message(&host_sleeps(&region, Fenced, Tells::Lazily));
    });
}

#[test]
#[should_panic(expected = "asleep, and nobody rings")]
fn a_glance_alone_sleeps_over_a_message() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, g::armed]);
        no_sleep_over_a_message(&guest_sleeps(&region, Fenced, Tells::AtAGlance));
    });
}

#[test]
#[should_panic(expected = "asleep, and nobody rings")]
fn a_glance_alone_sleeps_over_an_acknowledgement() {
    model(|| {
        let region = LoomRegion::new(&[h::armed, g::processed]);
        no_sleep_over_a_message(&host_sleeps(&region, Fenced, Tells::AtAGlance));
    });
}

#[test]
#[should_panic(expected = "asleep, and nobody rings")]
fn without_a_fence_in_the_guest_that_sleeps_a_message_is_slept_over() {
    model(|| {
        let region = LoomRegion::new(&[h::publish, g::armed]);
        no_sleep_over_a_message(&guest_sleeps(&region, Unfenced, Tells::AtOnce));
    });
}

#[test]
#[should_panic(expected = "asleep, and nobody rings")]
fn without_a_fence_in_the_guest_that_rings_an_acknowledgement_is_slept_over() {
    model(|| {
        let region = LoomRegion::new(&[h::armed, g::processed]);
        no_sleep_over_a_message(&host_sleeps(&region, Unfenced, Tells::AtOnce));
    });
}
