//! The host's half of the handshake: opens sessions, publishes messages, recognises acknowledgements.
//!
//! A state machine without I/O, waiting or allocation: each method is a handful of loads and stores, and the
//! caller decides how to wait. The host is the only writer of the host page.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::descriptor::{PING_OPERATION, RawDescriptor};
use crate::geometry::Geometry;
use crate::layout::{GUEST_MAGIC, HOST_MAGIC, LAYOUT_VERSION, guest_words as g, host_words as h};
use crate::memory::ControlWords;
use crate::wire::{State, Status, Verdict};
use crate::word::{SEQUENCE_MAX, Session, tag_of};

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

/// The guest's words on a processed message, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processed {
    /// How it went; `None` when the guest wrote a number that means nothing.
    pub status: Option<Status>,
    /// The token a ping echoes.
    pub token_echo: u64,
    /// The guest's own duration of the copy in nanoseconds, from the guest's clock; arbitrary if it lies.
    pub read_ns: u64,
}

/// The guest's words on a verified message, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What the digest said; `None` when the guest wrote a number that means nothing.
    pub verdict: Option<Verdict>,
    /// The guest's own duration of the hashing in nanoseconds.
    pub verify_ns: u64,
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
}

impl<'m, M: ControlWords> Host<'m, M> {
    /// Opens a new session, whatever an earlier one left behind. `random` makes the session's identity; its tag
    /// differs from every tag still standing in the region.
    pub fn open(memory: &'m M, geometry: &Geometry, random: u64) -> Self {
        let stale =
            [h::publish, g::received, g::processed, g::verdict].map(|at| tag_of(memory.load(at, Relaxed)));
        let mut session = Session::from_random(random, 0);
        while stale.contains(&session.tag()) {
            session = Session::from_random(session.id().wrapping_add(1), session.tag());
        }
        // SYNC: a sequence lock around the identity. The zero word says "being written"; the fence keeps the
        // identity's stores after it; the final Release store pairs with the guest's Acquire load in
        // `Guest::renegotiate`, which reads the publish word before and after.
        memory.store(h::publish, 0, Relaxed);
        memory.fence(Release);

        memory.store(h::magic, HOST_MAGIC, Relaxed);
        memory.store(h::layout_version, LAYOUT_VERSION, Relaxed);
        memory.store(h::region_bytes, geometry.region_bytes(), Relaxed);
        memory.store(h::slot_count, geometry.slot_count(), Relaxed);
        memory.store(h::slot_bytes, geometry.slot_bytes(), Relaxed);
        memory.store(h::session, session.id(), Relaxed);
        memory.store(h::state, State::Ready.to_wire(), Relaxed);
        memory.store(h::publish, session.word(0), Release);
        Self { memory, session, sequence: 0, beats: 0 }
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
            GUEST_MAGIC if bytes != m.load(h::region_bytes, Relaxed) => Presence::OtherSize { bytes },
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
        self.memory.store(h::operation, PING_OPERATION, Relaxed);
        self.memory.store(h::token, token, Relaxed);
        self.publish_next()
    }

    /// Publishes `descriptor`, whose payload is already written; returns its sequence number.
    ///
    /// # Errors
    /// [`SequenceExhausted`] after 2^40 - 1 messages.
    pub fn publish(&mut self, descriptor: &RawDescriptor) -> Result<u64, SequenceExhausted> {
        let m = self.memory;
        m.store(h::operation, descriptor.operation, Relaxed);
        m.store(h::length, descriptor.length, Relaxed);
        m.store(h::token, descriptor.token, Relaxed);
        m.store(h::signature_magic, descriptor.signature_magic, Relaxed);
        for (i, word) in descriptor.digest.iter().enumerate() {
            m.store(h::digest.plus(i), *word, Relaxed);
        }
        m.store(h::watermark, descriptor.watermark, Relaxed);
        self.publish_next()
    }

    #[inline(always)]
    fn publish_next(&mut self) -> Result<u64, SequenceExhausted> {
        if self.sequence == SEQUENCE_MAX {
            return Err(SequenceExhausted);
        }
        self.sequence += 1;
        // SYNC: pairs with the guest's Acquire load in `Guest::poll`: whoever sees the word sees descriptor and
        // payload.
        self.memory.store(h::publish, self.session.word(self.sequence), Release);
        Ok(self.sequence)
    }

    /// Phase one: whether the guest has seen message `sequence`.
    #[must_use]
    #[inline(always)]
    pub fn is_received(&self, sequence: u64) -> bool {
        // SYNC: pairs with the guest's Release store of `received` in `Guest::poll`.
        self.memory.load(g::received, Acquire) == self.session.word(sequence)
    }

    /// Phase two: whether the guest has all bytes of message `sequence`.
    #[must_use]
    #[inline(always)]
    pub fn is_processed(&self, sequence: u64) -> bool {
        // SYNC: pairs with the guest's Release store of `processed` in `Guest::complete`: whoever sees the word
        // sees status, token and duration.
        self.memory.load(g::processed, Acquire) == self.session.word(sequence)
    }

    /// What the guest says of the message it processed last. Call it after [`Self::is_processed`] was true.
    #[must_use]
    pub fn processed(&self) -> Processed {
        let m = self.memory;
        Processed {
            status: Status::from_wire(m.load(g::status, Relaxed)),
            token_echo: m.load(g::token_echo, Relaxed),
            read_ns: m.load(g::read_ns, Relaxed),
        }
    }

    /// The verdict on message `sequence`, once there is one.
    #[must_use]
    pub fn verdict(&self, sequence: u64) -> Option<Judged> {
        let m = self.memory;
        // SYNC: pairs with the guest's Release store of `verdict` in `Guest::judge`.
        (m.load(g::verdict, Acquire) == self.session.word(sequence)).then(|| Judged {
            verdict: Verdict::from_wire(m.load(g::verdict_status, Relaxed)),
            verify_ns: m.load(g::verify_ns, Relaxed),
        })
    }

    /// Shows that this side is alive. For the long waits, outside timers.
    pub fn beat(&mut self) {
        self.beats += 1;
        self.memory.store(h::heartbeat, self.beats, Relaxed);
    }

    /// The guest's heartbeat: whether it moves is all that matters.
    #[must_use]
    pub fn guest_heartbeat(&self) -> u64 {
        self.memory.load(g::heartbeat, Relaxed)
    }

    /// Ends the session in good order.
    pub fn close(self) {
        self.memory.store(h::state, State::Closed.to_wire(), Release);
    }
}
