//! The host's half of the handshake: opens sessions, publishes messages, recognises acknowledgements.
//!
//! A state machine without I/O, waiting or allocation: each method is a handful of loads and stores, and the
//! caller decides how to wait. The host is the only writer of the host page.

use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

use crate::descriptor::{PING_OPERATION, RawDescriptor};
use crate::doorbell::{GuestCounts, Ring, SLEEPS};
use crate::geometry::Geometry;
use crate::layout::{
    GUEST_MAGIC, HOST_MAGIC, LAYOUT_VERSION, PAGE_BYTES, RING_ENTRIES, WordOffset, descriptor_words as d,
    guest_words as g, host_words as h, result_words as r,
};
use crate::memory::ControlWords;
use crate::wire::{State, Status, Verdict, WaitWish};
use crate::word::{SEQUENCE_MAX, Session, sequence_of, tag_of, watermark, watermark_of};

/// What the guest page says about its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The page is blank: no guest has ever announced itself.
    Absent,
    /// The page starts with something that is not the guest's magic.
    Foreign {
        /// The first word found.
        magic: u64,
    },
    /// A guest of another layout version.
    OtherLayout {
        /// Its version.
        version: u64,
    },
    /// A guest that maps a region of another size than ours.
    OtherSize {
        /// Bytes it says it maps.
        bytes: u64,
    },
    /// A guest that looked at our page and refused it.
    Refused,
    /// A guest that has announced itself and has not joined this session (or left this word behind long ago).
    Announced,
    /// A guest that serves this session.
    Attached {
        /// Changes whenever the guest starts anew.
        incarnation: u64,
    },
}

/// The guest's words on a ping, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processed {
    /// How it went; `None` when the guest wrote a number that means nothing.
    pub status: Option<Status>,
    /// The token a ping echoes.
    pub token_echo: u64,
    /// The guest's clock when it saw a timed ping, in its ticks; arbitrary if it lies.
    pub seen_ticks: u64,
    /// Pings answered in this session.
    pub answered: u64,
}

/// The guest's words on a message of the ring, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it went; `None` when the guest wrote a number that means nothing.
    pub status: Option<Status>,
    /// The guest's own duration of the copy in nanoseconds, waiting included; arbitrary if it lies.
    pub copy_ns: u64,
    /// How much of that it waited for the watermark.
    pub stall_ns: u64,
    /// The digest of what it produced.
    pub digest: [u64; 4],
}

/// The guest's words on a verified message, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What the check said; `None` when the guest wrote a number that means nothing.
    pub verdict: Option<Verdict>,
    /// The guest's own duration of the check in nanoseconds.
    pub verify_ns: u64,
    /// The first byte that differs, where the check can tell.
    pub mismatch_offset: Option<u64>,
}

/// How far the guest has come, by its acknowledgement words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Nothing of this session yet.
    Nothing,
    /// Everything up to this sequence number.
    UpTo(u64),
    /// A message that has not been published.
    Future(u64),
}

/// A word of the host page that the host did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest wrote to the host's page: {found:#x} stands at offset {at:#x}, where the host wrote {written:#x}"
)]
pub struct Tampered {
    /// Offset in the region in bytes.
    pub at: usize,
    /// What the host wrote.
    pub written: u64,
    /// What stands there.
    pub found: u64,
}

/// A session has used all its sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has used all {SEQUENCE_MAX} sequence numbers; start a new one")]
pub struct SequenceExhausted;

/// The host's end of one session.
#[derive(Debug)]
pub struct Host<'m, M> {
    memory: &'m M,
    session: Session,
    sequence: u64,
    beats: u64,
    /// What `armed` is when this side is awake.
    awake: u64,
    /// What this side wrote, word by word: the page is the host's alone, and a guest that writes to it is caught.
    written: Box<[u64; PAGE_BYTES / 8]>,
}

impl<'m, M: ControlWords> Host<'m, M> {
    /// Opens a new session, whatever an earlier one left behind. `random` makes the session's identity; its tag
    /// differs from every tag still standing in the region.
    pub fn open(memory: &'m M, geometry: &Geometry, random: u64) -> Self {
        Self::open_with_ring(memory, geometry, random, None)
    }

    /// The same for a host that has a doorbell: `ring` is where the guest rings it.
    pub fn open_with_ring(memory: &'m M, geometry: &Geometry, random: u64, ring: Option<Ring>) -> Self {
        let tag = |at| tag_of(memory.load(at, Relaxed));
        let entries = (0..RING_ENTRIES).flat_map(|i| [tag(r::word(i)), tag(r::verdict_word(i))]);
        // The echo tells what a guest still serves when the host before this one died while it opened a session.
        let echo = Session::from_wire(memory.load(g::session_echo, Relaxed)).map(Session::tag);
        let stale: Vec<u64> =
            [h::publish, g::received, g::processed].map(tag).into_iter().chain(entries).chain(echo).collect();
        let mut session = Session::from_random(random, 0);
        while stale.contains(&session.tag()) {
            session = Session::from_random(session.id().wrapping_add(1), session.tag());
        }
        // What an earlier host left in the words that this one has yet to write is nobody's tampering.
        let written = Box::new(std::array::from_fn(|index| memory.load(h::magic.plus(index), Relaxed)));
        let mut host = Self { memory, session, sequence: 0, beats: 0, awake: 0, written };
        // SYNC: a sequence lock around the identity. The zero word says "being written"; the fence keeps the
        // identity's stores after it; the final Release store pairs with the guest's Acquire load in
        // `Guest::renegotiate`, which reads the publish word before and after.
        host.put(h::publish, 0, Relaxed);
        memory.fence(Release);

        host.put(h::magic, HOST_MAGIC, Relaxed);
        host.put(h::layout_version, LAYOUT_VERSION, Relaxed);
        host.put(h::region_bytes, geometry.region_bytes(), Relaxed);
        host.put(h::slot_count, geometry.slot_count(), Relaxed);
        host.put(h::slot_bytes, geometry.slot_bytes(), Relaxed);
        host.put(h::session, session.id(), Relaxed);
        host.put(h::watermark, 0, Relaxed);
        host.put(h::ring, ring.map_or(0, Ring::to_wire), Relaxed);
        for word in [h::wait_wish, h::armed] {
            host.put(word, 0, Relaxed);
        }
        for sequence in 0..RING_ENTRIES {
            host.put(d::word(sequence), 0, Relaxed);
        }
        host.put(h::state, State::Ready.to_wire(), Relaxed);
        host.put(h::publish, session.word(0), Release);
        // SYNC: as in `retract`: the ring's messages of an earlier host are given up before any slot is written.
        memory.fence(SeqCst);
        host
    }

    /// Stores a word of the host page and remembers it.
    #[inline(always)]
    fn put(&mut self, at: WordOffset, value: u64, order: Ordering) {
        self.written[at.bytes() / 8] = value;
        self.memory.store(at, value, order);
    }

    /// This session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// What the guest page says now. Everything it says may be stale or a lie, except that only a live guest can
    /// echo this session.
    #[must_use]
    pub fn presence(&self) -> Presence {
        let m = self.memory;
        // SYNC: pairs with the guest's Release store of `session_echo` in `Guest::renegotiate`: whoever sees the
        // echo sees the guest's identity, report and reset acknowledgement words.
        let echo = m.load(g::session_echo, Acquire);
        let (magic, version) = (m.load(g::magic, Relaxed), m.load(g::layout_version, Relaxed));
        let bytes = m.load(g::region_bytes, Relaxed);
        match magic {
            0 => Presence::Absent,
            GUEST_MAGIC if version != LAYOUT_VERSION => Presence::OtherLayout { version },
            // Our own page is no place to ask: the guest can write to it.
            GUEST_MAGIC if bytes != self.written[h::region_bytes.bytes() / 8] => {
                Presence::OtherSize { bytes }
            }
            GUEST_MAGIC if echo == self.session.id() => {
                Presence::Attached { incarnation: m.load(g::incarnation, Relaxed) }
            }
            GUEST_MAGIC if State::from_wire(m.load(g::state, Relaxed)) == Some(State::Refused) => {
                Presence::Refused
            }
            GUEST_MAGIC => Presence::Announced,
            magic => Presence::Foreign { magic },
        }
    }

    /// Publishes a ping carrying `token`; returns its sequence number.
    ///
    /// # Errors
    /// [`SequenceExhausted`] after 2^40 - 1 messages.
    #[inline(always)]
    pub fn publish_ping(&mut self, token: u64) -> Result<u64, SequenceExhausted> {
        self.put(h::operation, PING_OPERATION, Relaxed);
        self.put(h::token, token, Relaxed);
        self.publish_next()
    }

    /// Publishes a ping with options (a payload of `length` bytes in a slot, a reading of the guest's clock); returns
    /// its sequence number. The payload is already written.
    ///
    /// # Errors
    /// [`SequenceExhausted`] after 2^40 - 1 messages.
    #[inline(always)]
    pub fn publish_short(
        &mut self,
        operation: u64,
        length: u64,
        token: u64,
    ) -> Result<u64, SequenceExhausted> {
        self.put(h::operation, operation, Relaxed);
        self.put(h::length, length, Relaxed);
        self.put(h::token, token, Relaxed);
        self.publish_next()
    }

    /// Publishes `descriptor` through the ring; returns its sequence number. A payload that is not chunked is already
    /// written. The caller keeps fewer than [`RING_ENTRIES`] messages in flight, and gives up those it does not wait
    /// for with [`Self::retract`]. Not for pings, and no ping is published while a message of the ring is in flight: a
    /// guest that sees a ping passes over what came before it.
    ///
    /// # Errors
    /// [`SequenceExhausted`] after 2^40 - 1 messages.
    pub fn publish(&mut self, descriptor: &RawDescriptor) -> Result<u64, SequenceExhausted> {
        if self.sequence == SEQUENCE_MAX {
            // Before the entry of another message is touched.
            return Err(SequenceExhausted);
        }
        let sequence = self.sequence + 1;
        // SYNC: a sequence lock around the entry, as `Guest::take_next` reads it: the entry may still be read for the
        // message sixteen before, if that was given up.
        self.put(d::word(sequence), 0, Relaxed);
        self.memory.fence(Release);
        self.put(d::operation(sequence), descriptor.operation, Relaxed);
        self.put(d::length(sequence), descriptor.length, Relaxed);
        self.put(d::token(sequence), descriptor.token, Relaxed);
        self.put(d::signature_magic(sequence), descriptor.signature_magic, Relaxed);
        for (i, word) in descriptor.digest.iter().enumerate() {
            self.put(d::digest(sequence).plus(i), *word, Relaxed);
        }
        self.put(d::word(sequence), self.session.word(sequence), Release);
        self.put(h::operation, descriptor.operation, Relaxed);
        self.publish_next()
    }

    /// Begins a chunked publication: no byte of the next message is valid yet. Call it before [`Self::publish`], and not
    /// before the chunked message before it is processed or given up: there is one watermark.
    pub fn begin_chunks(&mut self) {
        self.put(h::watermark, watermark(self.sequence + 1, 0), Relaxed);
    }

    /// The first `bytes` bytes of message `sequence` are written.
    #[inline(always)]
    pub fn advance(&mut self, sequence: u64, bytes: u64) {
        // SYNC: pairs with the guest's Acquire load in `Guest::watermark`: whoever sees the mark sees the bytes.
        self.put(h::watermark, watermark(sequence, bytes), Release);
    }

    /// Gives message `sequence` up. A guest that is still reading it will find that out, and its slot may be written
    /// again. One that is still writing (a fetch, a measurement) may find out after the fact: that slot may be written
    /// when a later message has been processed.
    pub fn retract(&mut self, sequence: u64) {
        let at = d::word(sequence);
        // The entry may be a later message's by now.
        if self.written[at.bytes() / 8] == self.session.word(sequence) {
            self.put(at, 0, Relaxed);
        }
        // SYNC: pairs with the Acquire fence in `Guest::is_current`. Sequentially consistent, because nothing weaker
        // keeps non-temporal stores of the next payload behind the store above.
        self.memory.fence(SeqCst);
    }

    #[inline(always)]
    fn publish_next(&mut self) -> Result<u64, SequenceExhausted> {
        if self.sequence == SEQUENCE_MAX {
            return Err(SequenceExhausted);
        }
        self.sequence += 1;
        // SYNC: pairs with the guest's Acquire load in `Guest::poll`: whoever sees the word sees descriptor and
        // payload.
        self.put(h::publish, self.session.word(self.sequence), Release);
        Ok(self.sequence)
    }

    /// Phase one: whether the guest has seen message `sequence`, the latest.
    #[must_use]
    #[inline(always)]
    pub fn is_received(&self, sequence: u64) -> bool {
        // SYNC: pairs with the guest's Release store of `received` in `Guest::poll`.
        self.memory.load(g::received, Acquire) == self.session.word(sequence)
    }

    /// Phase two: whether the guest has done with message `sequence`, the latest.
    #[must_use]
    #[inline(always)]
    pub fn is_processed(&self, sequence: u64) -> bool {
        // SYNC: pairs with the guest's Release store of `processed` in `Guest::complete`: whoever sees the word
        // sees what belongs to it.
        self.memory.load(g::processed, Acquire) == self.session.word(sequence)
    }

    /// The number the next message will have.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }

    /// Phase one when several messages are in flight: whether message `sequence` or a later one was seen.
    #[must_use]
    #[inline(always)]
    pub fn has_received(&self, sequence: u64) -> bool {
        matches!(self.received_up_to(), Reached::UpTo(latest) if latest >= sequence)
    }

    /// Phase two when several messages are in flight: whether message `sequence` or a later one is done.
    #[must_use]
    #[inline(always)]
    pub fn has_processed(&self, sequence: u64) -> bool {
        matches!(self.processed_up_to(), Reached::UpTo(latest) if latest >= sequence)
    }

    /// Phase one when several messages are in flight.
    #[must_use]
    #[inline(always)]
    pub fn received_up_to(&self) -> Reached {
        // SYNC: as in `is_received`.
        self.reached(self.memory.load(g::received, Acquire))
    }

    /// Phase two when several messages are in flight.
    #[must_use]
    #[inline(always)]
    pub fn processed_up_to(&self) -> Reached {
        // SYNC: as in `is_processed`.
        self.reached(self.memory.load(g::processed, Acquire))
    }

    #[inline(always)]
    fn reached(&self, word: u64) -> Reached {
        match sequence_of(word) {
            _ if tag_of(word) != self.session.tag() => Reached::Nothing,
            0 => Reached::Nothing,
            sequence if sequence > self.sequence => Reached::Future(sequence),
            sequence => Reached::UpTo(sequence),
        }
    }

    /// An acknowledgement of a message that has not been published: its number. Look before publishing: standing there
    /// already, it would satisfy the next wait at once.
    #[must_use]
    #[inline(always)]
    pub fn foretold(&self) -> Option<u64> {
        match (self.received_up_to(), self.processed_up_to()) {
            (_, Reached::Future(sequence)) | (Reached::Future(sequence), _) => Some(sequence),
            _ => None,
        }
    }

    /// What the guest says of the ping it processed last. Call it after [`Self::is_processed`] was true.
    #[must_use]
    #[inline(always)]
    pub fn processed(&self) -> Processed {
        let m = self.memory;
        Processed {
            status: Status::from_wire(m.load(g::status, Relaxed)),
            token_echo: m.load(g::token_echo, Relaxed),
            seen_ticks: m.load(g::seen_ticks, Relaxed),
            answered: m.load(g::answered, Relaxed),
        }
    }

    /// What the guest says of message `sequence` of the ring; `None` when its result does not stand there, although a
    /// guest that keeps to the protocol writes it before it moves `processed` so far. It stands until the message
    /// [`RING_ENTRIES`] later is published.
    #[must_use]
    pub fn outcome(&self, sequence: u64) -> Option<Outcome> {
        let m = self.memory;
        self.standing(r::word(sequence), sequence, || Outcome {
            status: Status::from_wire(m.load(r::status(sequence), Relaxed)),
            copy_ns: m.load(r::copy_ns(sequence), Relaxed),
            stall_ns: m.load(r::stall_ns(sequence), Relaxed),
            digest: std::array::from_fn(|i| m.load(r::digest(sequence).plus(i), Relaxed)),
        })
    }

    /// What `read` finds while the word at `at` is that of message `sequence`; `None` when it is not, or no longer: the
    /// guest may have come to the message sixteen later meanwhile.
    fn standing<T>(&self, at: WordOffset, sequence: u64, read: impl FnOnce() -> T) -> Option<T> {
        let word = self.session.word(sequence);
        // SYNC: the reader's half of the sequence locks in `Guest::complete` and `Guest::judge`, whose Release stores
        // of the word this load pairs with.
        if self.memory.load(at, Acquire) != word {
            return None;
        }
        let found = read();
        self.memory.fence(Acquire);
        (self.memory.load(at, Relaxed) == word).then_some(found)
    }

    /// The verdict on message `sequence`, once there is one.
    #[must_use]
    pub fn verdict(&self, sequence: u64) -> Option<Judged> {
        let m = self.memory;
        self.standing(r::verdict_word(sequence), sequence, || {
            let offset = m.load(r::mismatch_offset(sequence), Relaxed);
            Judged {
                verdict: Verdict::from_wire(m.load(r::verdict_status(sequence), Relaxed)),
                verify_ns: m.load(r::verify_ns(sequence), Relaxed),
                mismatch_offset: (offset != u64::MAX).then_some(offset),
            }
        })
    }

    /// The bytes of message `sequence`, a chunked fetch, that the guest has written; `None` before the first.
    #[must_use]
    #[inline(always)]
    pub fn guest_watermark(&self, sequence: u64) -> Option<u64> {
        // SYNC: pairs with the guest's Release store in `Guest::advance`.
        watermark_of(self.memory.load(g::watermark, Acquire), sequence)
    }

    /// Looks for words of the host page that somebody else wrote, and puts the first right.
    #[must_use]
    pub fn mend(&mut self) -> Option<Tampered> {
        let (index, written, found) = self.written.iter().enumerate().find_map(|(index, &written)| {
            let found = self.memory.load(h::magic.plus(index), Relaxed);
            (found != written).then_some((index, written, found))
        })?;
        self.memory.store(h::magic.plus(index), written, Release);
        Some(Tampered { at: index * 8, written, found })
    }

    /// Asks to be rung: `phases` is made of [`crate::doorbell::AT_PROCESSED`] and [`crate::doorbell::AT_RECEIVED`]. Look once
    /// more after it, then sleep.
    #[inline]
    pub fn arm(&mut self, phases: u64) {
        self.put(h::armed, self.awake | phases, Relaxed);
        // SYNC: with the fence in `Guest::host_is_armed`, of two sides that each store and then look at the other's word at
        // least one sees the other's store: the guest rings, or the look that follows finds its acknowledgement.
        self.memory.fence(SeqCst);
    }

    /// Asks no longer.
    #[inline]
    pub fn disarm(&mut self) {
        self.put(h::armed, self.awake, Relaxed);
    }

    /// Says whether this host sleeps at times. It must not before it has said so, and a message must lie between.
    pub fn declare(&mut self, sleeps: bool) {
        self.awake = if sleeps { SLEEPS } else { 0 };
        self.disarm();
    }

    /// After publishing: whether the guest sleeps, or is about to, and must be rung.
    #[must_use]
    #[inline(always)]
    pub fn guest_is_armed(&self) -> bool {
        // SYNC: pairs with the fence in `Guest::arm`.
        self.memory.fence(SeqCst);
        self.memory.load(g::armed, Relaxed) != 0
    }

    /// The same at a glance, without a fence: whoever has slept for a while is seen, one that is just falling asleep may not
    /// be. After a no, [`Self::guest_is_armed`] is owed before this side sleeps or turns to anything long.
    #[must_use]
    #[inline(always)]
    pub fn guest_seems_armed(&self) -> bool {
        self.memory.load(g::armed, Relaxed) != 0
    }

    /// Where the guest is rung, by its own word.
    #[must_use]
    pub fn guest_ring(&self) -> Option<Ring> {
        Ring::from_wire(self.memory.load(g::ring, Relaxed))
    }

    /// Tells the guest how to wait. It heeds that when it is about to wait the next time.
    pub fn wish(&mut self, wish: WaitWish) {
        self.put(h::wait_wish, wish.to_wire(), Relaxed);
    }

    /// What the guest has counted since it started.
    #[must_use]
    pub fn guest_counts(&self) -> GuestCounts {
        let of = |at| self.memory.load(at, Relaxed);
        GuestCounts { interrupts: of(g::interrupts), rings_sent: of(g::rings_sent), rescued: of(g::rescued) }
    }

    /// Shows that this side is alive. For the long waits, outside timers.
    pub fn beat(&mut self) {
        self.beats += 1;
        self.put(h::heartbeat, self.beats, Relaxed);
    }

    /// The guest's heartbeat: whether it moves is all that matters.
    #[must_use]
    pub fn guest_heartbeat(&self) -> u64 {
        self.memory.load(g::heartbeat, Relaxed)
    }

    /// Ends the session in good order.
    pub fn close(mut self) {
        self.put(h::state, State::Closed.to_wire(), Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::HeapRegion;
    use crate::wire::Kind;

    const REGION_BYTES: u64 = 64 << 10;

    fn geometry() -> Geometry {
        Geometry::for_payload(REGION_BYTES, 0).unwrap()
    }

    #[test]
    fn the_last_sequence_number_is_used_and_the_entry_of_no_other_message_touched_after_it() {
        let region = HeapRegion::new(REGION_BYTES as usize);
        let mut host = Host::open(&region, &geometry(), 7);
        host.sequence = SEQUENCE_MAX - 1;
        let frame = |length| RawDescriptor::frame(0, length, None);
        assert_eq!(host.publish(&frame(64)), Ok(SEQUENCE_MAX));
        let page =
            || -> Vec<u64> { (0..PAGE_BYTES / 8).map(|i| region.load(h::magic.plus(i), Relaxed)).collect() };
        let before = page();
        assert_eq!(host.publish(&frame(65)), Err(SequenceExhausted));
        assert_eq!(page(), before);
        assert_eq!(
            (host.publish_ping(1), host.publish_short(2, 3, 4)),
            (Err(SequenceExhausted), Err(SequenceExhausted))
        );
        assert_eq!(region.load(h::publish, Relaxed), before[h::publish.bytes() / 8]);
    }

    /// A guest so quick that it writes to the host's page while a session is being opened.
    struct Scribbled(HeapRegion);

    impl ControlWords for Scribbled {
        fn load(&self, at: WordOffset, order: Ordering) -> u64 {
            self.0.load(at, order)
        }

        fn store(&self, at: WordOffset, value: u64, order: Ordering) {
            self.0.store(at, value, order);
            if at == h::state {
                self.0.store(h::slot_bytes, 4096, Relaxed);
            }
        }
    }

    #[test]
    fn a_word_changed_while_the_session_is_opened_is_tampering() {
        let region = Scribbled(HeapRegion::new(REGION_BYTES as usize));
        let mut host = Host::open(&region, &geometry(), 7);
        let written = geometry().slot_bytes();
        assert_eq!(host.mend(), Some(Tampered { at: h::slot_bytes.bytes(), written, found: 4096 }));
        assert_eq!(host.mend(), None);
    }

    #[test]
    fn what_an_earlier_host_left_in_the_page_is_nobodys_tampering() {
        let region = HeapRegion::new(REGION_BYTES as usize);
        let mut first = Host::open(&region, &geometry(), 7);
        first.publish(&RawDescriptor::frame(0, 64, Some([1; 4]))).unwrap();
        first.publish_short(Kind::Inline.to_wire(), 5, 6).unwrap();
        first.beat();
        assert_eq!(Host::open(&region, &geometry(), 7).mend(), None);
    }
}
