//! The handshake under loom: every interleaving and every reordering the C11 memory model allows, within the
//! preemption bound. Run with `RUSTFLAGS="--cfg loom" cargo test --release -p ivshmem-proto --test loom`.
#![cfg(loom)]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::{Event, Guest};
use ivshmem_proto::host::{Host, Presence};
use ivshmem_proto::layout::{WordOffset, guest_words as g, host_words as h};
use ivshmem_proto::memory::ControlWords;
use ivshmem_proto::wire::Status;
use ivshmem_proto::word::tag_of;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};
use loom::thread;

const REGION_BYTES: u64 = 64 << 10;

/// The control words the handshake uses, and one word of payload.
struct LoomRegion {
    words: BTreeMap<WordOffset, AtomicU64>,
    payload: AtomicU64,
}

impl LoomRegion {
    fn new() -> Arc<Self> {
        let used = [
            h::magic,
            h::layout_version,
            h::region_bytes,
            h::session,
            h::slot_count,
            h::slot_bytes,
            h::state,
            h::publish,
            h::operation,
            h::token,
            g::magic,
            g::layout_version,
            g::region_bytes,
            g::session_echo,
            g::incarnation,
            g::state,
            g::received,
            g::processed,
            g::status,
            g::token_echo,
            g::read_ns,
            g::verdict,
        ];
        let words = used.into_iter().map(|at| (at, AtomicU64::new(0))).collect();
        Arc::new(Self { words, payload: AtomicU64::new(0) })
    }
}

impl ControlWords for LoomRegion {
    fn load(&self, at: WordOffset, order: Ordering) -> u64 {
        self.words[&at].load(order)
    }

    fn store(&self, at: WordOffset, value: u64, order: Ordering) {
        self.words[&at].store(value, order);
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

/// Polls until a ping comes, joining sessions on the way; returns its word and token.
fn next_ping(guest: &mut Guest<'_, LoomRegion>) -> (u64, u64) {
    loop {
        match guest.poll() {
            Event::Idle => thread::yield_now(),
            Event::Invited { session, geometry } => guest.join(session, geometry),
            Event::Ping { word, token } => return (word, token),
            other => panic!("{other:?}"),
        }
    }
}

/// A guest that answers one ping with the payload it finds.
fn answer_one(region: &LoomRegion, incarnation: u64) {
    let mut guest = Guest::announce(region, REGION_BYTES, incarnation);
    let (word, token) = next_ping(&mut guest);
    let payload = region.payload.load(Ordering::Relaxed);
    guest.complete(word, Status::Ok, token, payload);
}

/// Waits for PROCESSED and returns what the guest said.
fn processed(host: &Host<'_, LoomRegion>, sequence: u64) -> (Option<Status>, u64, u64) {
    while !host.is_processed(sequence) {
        thread::yield_now();
    }
    let answer = host.processed();
    (answer.status, answer.token_echo, answer.read_ns)
}

#[test]
fn whoever_starts_first_the_payload_precedes_its_acknowledgement() {
    model(|| {
        let region = LoomRegion::new();
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || answer_one(&theirs, 1));
        // The guest may announce itself before, during or after all of this: loom tries every order.
        let mut host = Host::open(&*region, &geometry(), 7);
        region.payload.store(42, Ordering::Relaxed);
        let sequence = host.publish_ping(9).unwrap();
        assert_eq!(processed(&host, sequence), (Some(Status::Ok), 9, 42));
        assert!(host.is_received(sequence), "phase two without phase one");
        guest.join().unwrap();
    });
}

#[test]
fn an_attached_guest_has_no_stale_acknowledgement_standing() {
    model(|| {
        let region = LoomRegion::new();
        // What an earlier run left: a guest page full of another session's words.
        for at in [g::received, g::processed, g::verdict] {
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
        let host = Host::open(&*region, &geometry(), 7);
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
        let region = LoomRegion::new();
        let theirs = Arc::clone(&region);
        let guest = thread::spawn(move || {
            let mut guest = Guest::announce(&*theirs, REGION_BYTES, 1);
            // Answers whatever it sees until it has answered the second session. An answer to the first may carry
            // a token of the second, read too late: it satisfies nobody.
            loop {
                let (word, token) = next_ping(&mut guest);
                guest.complete_ping(word, token);
                if tag_of(word) == 8 {
                    return;
                }
            }
        });
        let mut first = Host::open(&*region, &geometry(), 7);
        first.publish_ping(1).unwrap();
        // The first host is gone at once, answered or not.
        let mut second = Host::open(&*region, &geometry(), 8);
        let sequence = second.publish_ping(2).unwrap();
        let (status, token, _) = processed(&second, sequence);
        assert_eq!((status, token), (Some(Status::Ok), 2));
        guest.join().unwrap();
    });
}

#[test]
fn a_guest_that_died_between_the_phases_is_replaced_without_losing_the_message() {
    model(|| {
        let region = LoomRegion::new();
        let theirs = Arc::clone(&region);
        let guests = thread::spawn(move || {
            let mut first = Guest::announce(&*theirs, REGION_BYTES, 1);
            next_ping(&mut first);
            // Dead after RECEIVED.
            drop(first);
            answer_one(&theirs, 2);
        });
        let mut host = Host::open(&*region, &geometry(), 7);
        region.payload.store(42, Ordering::Relaxed);
        let sequence = host.publish_ping(9).unwrap();
        assert_eq!(processed(&host, sequence), (Some(Status::Ok), 9, 42));
        guests.join().unwrap();
    });
}

#[test]
fn an_identity_that_is_being_rewritten_is_never_believed() {
    model(|| {
        let region = LoomRegion::new();
        let two_slots = geometry();
        let one_slot = Geometry::new(REGION_BYTES, 1, 4096).unwrap();
        let first = Host::open(&*region, &two_slots, 7).session();
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
        Host::open(&*region, &one_slot, 8);
        guest.join().unwrap();
    });
}
