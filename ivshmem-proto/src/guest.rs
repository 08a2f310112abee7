//! The guest's half of the handshake: announces itself, joins sessions, acknowledges in two phases.
//!
//! A state machine without I/O, waiting or allocation. The guest is the only writer of the guest page. It treats
//! the host page as hostile input: words are copied out once and validated before use.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::descriptor::{Descriptor, DescriptorError, Operation, PING_OPERATION, RawDescriptor};
use crate::doorbell::{GuestCounts, Ring, SLEEPS};
use crate::geometry::{Geometry, GeometryError};
use crate::layout::{
    GUEST_MAGIC, HOST_MAGIC, LAYOUT_VERSION, RING_ENTRIES, descriptor_words as d, guest_words as g,
    host_words as h, result_words as r,
};
use crate::memory::ControlWords;
use crate::wire::{Kind, State, Status, Verdict, WaitWish};
use crate::word::{Session, sequence_of, tag_of, watermark, watermark_of};

/// What a look at the published word brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing new.
    Idle,
    /// A ping; answer with [`Guest::complete_ping`]. RECEIVED has been sent.
    Ping {
        /// Its sequence word.
        word: u64,
        /// The value to echo.
        token: u64,
    },
    /// Anything else; answer a [`Descriptor::Ping`] with [`Guest::complete_short`], others with [`Guest::complete`], and
    /// a frame that is to be checked with [`Guest::judge`] as well. RECEIVED has been sent.
    Message {
        /// Its sequence word.
        word: u64,
        /// What is asked.
        descriptor: Descriptor,
    },
    /// A message whose descriptor is malformed; it has been answered.
    Malformed {
        /// Its sequence number.
        sequence: u64,
        /// What is wrong.
        error: DescriptorError,
    },
    /// A host opened a session: prepare for payloads of up to a slot, then [`Guest::join`].
    Invited {
        /// The session.
        session: Session,
        /// Its slots.
        geometry: Geometry,
    },
    /// The host page was refused.
    Refused(Refusal),
}

/// What phase two tells of a message of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// How it went.
    pub status: Status,
    /// This side's own duration of the copy in nanoseconds, waiting for the watermark included.
    pub copy_ns: u64,
    /// How much of that was waiting.
    pub stall_ns: u64,
    /// The digest of what was produced; zero for all but [`Descriptor::Produce`].
    pub digest: [u64; 4],
}

impl Default for Done {
    fn default() -> Self {
        Self { status: Status::Ok, copy_ns: 0, stall_ns: 0, digest: [0; 4] }
    }
}

/// Why a guest does not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a host page.
    #[error(
        "the host page starts with {0:#018x}, not with the host's magic; what wrote it is no host-writer"
    )]
    Magic(u64),
    /// Another layout.
    #[error("the host speaks layout version {0}, this guest version {LAYOUT_VERSION}; use matching builds")]
    Version(u64),
    /// The host maps another number of bytes.
    #[error("the host says the region holds {host} bytes, this guest maps {guest}")]
    RegionBytes {
        /// What the host says.
        host: u64,
        /// What is mapped here.
        guest: u64,
    },
    /// Slots that do not fit.
    #[error("the host announces an impossible layout: {0}")]
    Geometry(#[from] GeometryError),
    /// The session word and the published word disagree.
    #[error("the host's session {0:#018x} does not carry the tag it publishes under")]
    Session(u64),
}

/// A value no word's tag can have.
const NO_TAG: u64 = u64::MAX;

/// The guest's end.
#[derive(Debug)]
pub struct Guest<'m, M> {
    memory: &'m M,
    region_bytes: u64,
    attached: Option<(Session, Geometry)>,
    /// Tag of the attached session, or [`NO_TAG`].
    tag: u64,
    /// The last word that was dealt with.
    last: u64,
    /// The newest published word that was seen; those between are in the ring.
    newest: u64,
    /// Pings answered in this session.
    answered: u64,
    beats: u64,
    /// Where the host that opened the latest session is rung.
    host_ring: Option<Ring>,
}

impl<'m, M: ControlWords> Guest<'m, M> {
    /// Announces a guest that maps `region_bytes` bytes. `incarnation` should differ from start to start.
    pub fn announce(memory: &'m M, region_bytes: u64, incarnation: u64) -> Self {
        memory.store(g::session_echo, 0, Release);
        memory.store(g::layout_version, LAYOUT_VERSION, Relaxed);
        memory.store(g::region_bytes, region_bytes, Relaxed);
        memory.store(g::incarnation, incarnation, Relaxed);
        for word in [g::armed, g::interrupts, g::rings_sent, g::rescued] {
            memory.store(word, 0, Relaxed);
        }
        memory.store(g::state, State::Ready.to_wire(), Relaxed);
        // SYNC: the magic comes last; the host reads everything else only after the session's echo.
        memory.store(g::magic, GUEST_MAGIC, Release);
        Self {
            memory,
            region_bytes,
            attached: None,
            tag: NO_TAG,
            last: 0,
            newest: 0,
            answered: 0,
            beats: 0,
            host_ring: None,
        }
    }

    /// Looks once at the published word. A new message is acknowledged with RECEIVED before anything else.
    #[inline(always)]
    pub fn poll(&mut self) -> Event {
        // SYNC: pairs with the host's Release store in `Host::publish_next`.
        let word = self.memory.load(h::publish, Acquire);
        if word == self.newest {
            return if self.last == word { Event::Idle } else { self.take_next() };
        }
        if tag_of(word) == self.tag && word > self.newest {
            self.newest = word;
            // SYNC: pairs with the host's Acquire load in `Host::is_received`.
            self.memory.store(g::received, word, Release);
            let operation = self.memory.load(h::operation, Relaxed);
            if operation == PING_OPERATION {
                self.last = word;
                return Event::Ping { word, token: self.memory.load(h::token, Relaxed) };
            }
            return self.take_short(word, operation);
        }
        self.renegotiate(word)
    }

    /// A ping with options stands whole beside the published word; everything else is in the ring.
    #[inline(never)]
    fn take_short(&mut self, word: u64, operation: u64) -> Event {
        let is_short =
            Operation::from_wire(operation).is_some_and(|o| matches!(o.kind, Kind::Ping | Kind::Inline));
        if !is_short {
            return self.take_next();
        }
        let Some((_, geometry)) = &self.attached else { return Event::Idle };
        self.last = word;
        let (length, token) = (self.memory.load(h::length, Relaxed), self.memory.load(h::token, Relaxed));
        let raw = RawDescriptor { operation, length, token, ..RawDescriptor::default() };
        match raw.validate(geometry) {
            Ok(descriptor) => Event::Message { word, descriptor },
            Err(error) => {
                self.complete_short(word, Status::BadDescriptor, 0, 0);
                Event::Malformed { sequence: sequence_of(word), error }
            }
        }
    }

    /// The next message of the ring, in order. One that the host has given up is passed over.
    #[inline(never)]
    fn take_next(&mut self) -> Event {
        let m = self.memory;
        let Some((session, geometry)) = self.attached else { return Event::Idle };
        // Further behind than the ring reaches: what is lost is lost.
        self.last = self.last.max(self.newest.saturating_sub(RING_ENTRIES).max(session.word(0)));
        while self.last < self.newest {
            self.last += 1;
            let (word, sequence) = (self.last, sequence_of(self.last));
            // SYNC: the reader's half of the sequence lock in `Host::publish`.
            if m.load(d::word(sequence), Acquire) != word {
                continue;
            }
            let raw = RawDescriptor {
                operation: m.load(d::operation(sequence), Relaxed),
                length: m.load(d::length(sequence), Relaxed),
                token: m.load(d::token(sequence), Relaxed),
                signature_magic: m.load(d::signature_magic(sequence), Relaxed),
                digest: std::array::from_fn(|i| m.load(d::digest(sequence).plus(i), Relaxed)),
            };
            if !self.is_current(word) {
                continue;
            }
            return match raw.validate(&geometry) {
                Ok(descriptor) => Event::Message { word, descriptor },
                Err(error) => {
                    self.complete(word, &Done { status: Status::BadDescriptor, ..Done::default() });
                    Event::Malformed { sequence, error }
                }
            };
        }
        Event::Idle
    }

    /// The published word belongs to no session this guest serves: join its session, or say why not.
    #[inline(never)]
    fn renegotiate(&mut self, word: u64) -> Event {
        let m = self.memory;
        if tag_of(word) == 0 || tag_of(word) == self.tag {
            // A host page being written, a blank one, or a sequence that runs backwards: nothing to do.
            return Event::Idle;
        }
        let (magic, version) = (m.load(h::magic, Relaxed), m.load(h::layout_version, Relaxed));
        let (bytes, session) = (m.load(h::region_bytes, Relaxed), m.load(h::session, Relaxed));
        let (slot_count, slot_bytes) = (m.load(h::slot_count, Relaxed), m.load(h::slot_bytes, Relaxed));
        let ring = m.load(h::ring, Relaxed);
        // SYNC: the reader's half of the sequence lock in `Host::open`: the fence keeps the loads above before
        // the second look, and an unchanged session tag means that they all belong to it.
        m.fence(Acquire);
        let again = m.load(h::publish, Relaxed);
        if tag_of(again) != tag_of(word) {
            return Event::Idle;
        }
        let joined = if magic != HOST_MAGIC {
            Err(Refusal::Magic(magic))
        } else if version != LAYOUT_VERSION {
            Err(Refusal::Version(version))
        } else if bytes != self.region_bytes {
            Err(Refusal::RegionBytes { host: bytes, guest: self.region_bytes })
        } else {
            match Session::from_wire(session).filter(|s| s.tag() == tag_of(word)) {
                Some(session) => Geometry::new(bytes, slot_count, slot_bytes)
                    .map(|geometry| (session, geometry))
                    .map_err(Refusal::from),
                None => Err(Refusal::Session(session)),
            }
        };
        match joined {
            Ok((session, geometry)) => {
                self.host_ring = Ring::from_wire(ring);
                Event::Invited { session, geometry }
            }
            Err(refusal) => {
                (self.attached, self.tag) = (None, NO_TAG);
                (self.last, self.newest) = (word, word);
                m.store(g::state, State::Refused.to_wire(), Release);
                Event::Refused(refusal)
            }
        }
    }

    /// Joins the session this guest was invited to. From here on messages may arrive.
    pub fn join(&mut self, session: Session, geometry: Geometry) {
        let m = self.memory;
        // A guest that comes back into the same session goes on after the message it answered last; in a new
        // session the words of the old one are cleared before the echo admits that we are here.
        let processed = m.load(g::processed, Relaxed);
        if tag_of(processed) == session.tag() {
            (self.last, self.answered) = (processed, m.load(g::answered, Relaxed));
        } else {
            for word in [g::received, g::processed, g::watermark, g::answered] {
                m.store(word, 0, Relaxed);
            }
            (self.last, self.answered) = (session.word(0), 0);
        }
        self.newest = self.last;
        (self.attached, self.tag) = (Some((session, geometry)), session.tag());
        m.store(g::state, State::Attached.to_wire(), Relaxed);
        // SYNC: pairs with the host's Acquire load in `Host::presence`.
        m.store(g::session_echo, session.id(), Release);
    }

    /// Whether the host still stands by the ring's message `word`: false when it has given it up, and what was read
    /// may be torn. Call it after the copy.
    #[must_use]
    pub fn is_current(&self, word: u64) -> bool {
        // SYNC: the fence keeps the loads before it (the payload's, the descriptor's) before this look at the entry;
        // pairs with the fences in `Host::retract` and `Host::publish`.
        self.memory.fence(Acquire);
        self.memory.load(d::word(sequence_of(word)), Relaxed) == word
    }

    /// The bytes of the chunked message `word` that are valid; `None` before the first and when the host has moved on.
    #[must_use]
    #[inline(always)]
    pub fn watermark(&self, word: u64) -> Option<u64> {
        // SYNC: pairs with the host's Release store in `Host::advance`: whoever sees the mark sees the bytes.
        watermark_of(self.memory.load(h::watermark, Acquire), sequence_of(word))
    }

    /// The first `bytes` bytes of the chunked fetch `word` are written.
    #[inline(always)]
    pub fn advance(&mut self, word: u64, bytes: u64) {
        // SYNC: pairs with the host's Acquire load in `Host::guest_watermark`.
        self.memory.store(g::watermark, watermark(sequence_of(word), bytes), Release);
    }

    /// Phase two for a ping: echoes the token.
    #[inline(always)]
    pub fn complete_ping(&mut self, word: u64, token: u64) {
        self.complete_short(word, Status::Ok, token, 0);
    }

    /// Phase two for a ping with options. `seen_ticks` is this side's clock when it saw the message.
    #[inline(always)]
    pub fn complete_short(&mut self, word: u64, status: Status, token_echo: u64, seen_ticks: u64) {
        self.answered += 1;
        self.memory.store(g::status, status.to_wire(), Relaxed);
        self.memory.store(g::token_echo, token_echo, Relaxed);
        self.memory.store(g::seen_ticks, seen_ticks, Relaxed);
        self.memory.store(g::answered, self.answered, Relaxed);
        // SYNC: pairs with the host's Acquire load in `Host::is_processed`.
        self.memory.store(g::processed, word, Release);
    }

    /// Phase two for a message of the ring: all its bytes are where they were asked for, or `done` says why not.
    pub fn complete(&mut self, word: u64, done: &Done) {
        let (m, sequence) = (self.memory, sequence_of(word));
        // SYNC: a sequence lock around the entry, as `Host::standing` reads it: a host may still look for the result of
        // the message sixteen before.
        m.store(r::word(sequence), 0, Relaxed);
        m.fence(Release);
        m.store(r::status(sequence), done.status.to_wire(), Relaxed);
        m.store(r::copy_ns(sequence), done.copy_ns, Relaxed);
        m.store(r::stall_ns(sequence), done.stall_ns, Relaxed);
        for (i, digest) in done.digest.iter().enumerate() {
            m.store(r::digest(sequence).plus(i), *digest, Relaxed);
        }
        // SYNC: pairs with the host's Acquire load in `Host::standing`, called by `Host::outcome`.
        m.store(r::word(sequence), word, Release);
        // SYNC: pairs with the host's Acquire load in `Host::processed_up_to`.
        m.store(g::processed, word, Release);
    }

    /// After phase two: what checking the private copy showed. `mismatch_offset` is the first wrong byte, if known.
    pub fn judge(&mut self, word: u64, verdict: Verdict, verify_ns: u64, mismatch_offset: Option<u64>) {
        let (m, sequence) = (self.memory, sequence_of(word));
        // SYNC: as in `complete`.
        m.store(r::verdict_word(sequence), 0, Relaxed);
        m.fence(Release);
        m.store(r::verdict_status(sequence), verdict.to_wire(), Relaxed);
        m.store(r::verify_ns(sequence), verify_ns, Relaxed);
        m.store(r::mismatch_offset(sequence), mismatch_offset.unwrap_or(u64::MAX), Relaxed);
        // SYNC: pairs with the host's Acquire load in `Host::standing`, called by `Host::verdict`.
        m.store(r::verdict_word(sequence), word, Release);
    }

    /// Changes a verdict that was given: a fault, which a host must notice.
    pub fn change_verdict(&mut self, sequence: u64, verdict: Verdict) {
        self.memory.store(r::verdict_status(sequence), verdict.to_wire(), Release);
    }

    /// Messages of the session this guest serves that it has dealt with; 0 without one.
    #[must_use]
    pub fn messages(&self) -> u64 {
        if self.attached.is_some() { sequence_of(self.last) } else { 0 }
    }

    /// Whether a look would find something.
    #[must_use]
    #[inline(always)]
    pub fn has_news(&self) -> bool {
        self.memory.load(h::publish, Relaxed) != self.newest
    }

    /// Asks to be rung. Look once more after it ([`Self::has_news`]), then sleep.
    #[inline]
    pub fn arm(&mut self) {
        self.memory.store(g::armed, 1, Relaxed);
        // SYNC: with the fence in `Host::guest_is_armed`, of two sides that each store and then look at the other's word at
        // least one sees the other's store: the host rings, or the look that follows finds its message.
        self.memory.fence(SeqCst);
    }

    /// Asks no longer.
    #[inline]
    pub fn disarm(&mut self) {
        self.memory.store(g::armed, 0, Relaxed);
    }

    /// After an acknowledgement: whether the host sleeps, or is about to, and is to be rung at this phase
    /// ([`crate::doorbell::AT_PROCESSED`] or [`crate::doorbell::AT_RECEIVED`]). `fence` is called when all depends on a full
    /// fence, for CPUs that leave out theirs.
    #[inline(always)]
    pub fn host_is_armed(&self, phase: u64, fence: impl FnOnce()) -> bool {
        // A host that sleeps has said so before it published the message that was acknowledged.
        let armed = self.memory.load(h::armed, Relaxed);
        if armed & (phase | SLEEPS) != SLEEPS {
            return armed & phase != 0;
        }
        // SYNC: pairs with the fence in `Host::arm`.
        self.memory.fence(SeqCst);
        fence();
        self.memory.load(h::armed, Relaxed) & phase != 0
    }

    /// The same at a glance, without a fence: whoever has slept for a while is seen, one that is just falling asleep may not
    /// be. After a no, [`Self::host_is_armed`] is owed before this side sleeps or turns to anything long.
    #[must_use]
    #[inline(always)]
    pub fn host_seems_armed(&self, phase: u64) -> bool {
        self.memory.load(h::armed, Relaxed) & phase != 0
    }

    /// Where the host of the session this guest serves is rung; `None` when it has no doorbell, and cannot ring this guest
    /// either.
    #[must_use]
    pub fn host_ring(&self) -> Option<Ring> {
        self.host_ring
    }

    /// How the host would have this guest wait.
    #[must_use]
    #[inline]
    pub fn wish(&self) -> WaitWish {
        WaitWish::from_wire(self.memory.load(h::wait_wish, Relaxed)).unwrap_or(WaitWish::AsSet)
    }

    /// Shows what was counted since this guest announced itself.
    #[inline]
    pub fn show(&mut self, counts: &GuestCounts) {
        self.memory.store(g::interrupts, counts.interrupts, Relaxed);
        self.memory.store(g::rings_sent, counts.rings_sent, Relaxed);
        self.memory.store(g::rescued, counts.rescued, Relaxed);
    }

    /// Shows that this side is alive.
    #[inline(always)]
    pub fn beat(&mut self) {
        self.beats += 1;
        self.memory.store(g::heartbeat, self.beats, Relaxed);
    }

    /// Whether the host has closed the session this guest serves.
    #[must_use]
    pub fn host_closed(&self) -> bool {
        self.attached.is_some() && self.memory.load(h::state, Relaxed) == State::Closed.to_wire()
    }

    /// Leaves in good order.
    pub fn leave(self) {
        self.memory.store(g::session_echo, 0, Relaxed);
        self.memory.store(g::state, State::Closed.to_wire(), Release);
    }
}
