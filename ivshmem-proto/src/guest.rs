//! The guest's half of the handshake: announces itself, joins sessions, acknowledges in two phases.
//!
//! A state machine without I/O, waiting or allocation. The guest is the only writer of the guest page. It treats
//! the host page as hostile input: words are copied out once and validated before use.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::descriptor::{Descriptor, DescriptorError, PING_OPERATION, RawDescriptor};
use crate::geometry::{Geometry, GeometryError, PayloadRange};
use crate::layout::{GUEST_MAGIC, HOST_MAGIC, LAYOUT_VERSION, guest_words as g, host_words as h};
use crate::memory::ControlWords;
use crate::wire::{State, Status, Verdict};
use crate::word::{Session, sequence_of, tag_of};

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
    /// A payload to read; answer with [`Guest::complete`]. RECEIVED has been sent.
    Frame {
        /// Its sequence word.
        word: u64,
        /// Where it lies.
        range: PayloadRange,
        /// What its SHA-256 must be; answer with [`Guest::judge`] when there is one.
        digest: Option<[u8; 32]>,
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
    /// The last published word that was dealt with.
    last: u64,
    beats: u64,
}

impl<'m, M: ControlWords> Guest<'m, M> {
    /// Announces a guest that maps `region_bytes` bytes. `incarnation` should differ from start to start.
    pub fn announce(memory: &'m M, region_bytes: u64, incarnation: u64) -> Self {
        memory.store(g::session_echo, 0, Release);
        memory.store(g::layout_version, LAYOUT_VERSION, Relaxed);
        memory.store(g::region_bytes, region_bytes, Relaxed);
        memory.store(g::incarnation, incarnation, Relaxed);
        memory.store(g::state, State::Ready.to_wire(), Relaxed);
        // SYNC: the magic comes last; the host reads everything else only after the session's echo.
        memory.store(g::magic, GUEST_MAGIC, Release);
        Self { memory, region_bytes, attached: None, tag: NO_TAG, last: 0, beats: 0 }
    }

    /// Looks once at the published word. A new message is acknowledged with RECEIVED before anything else.
    #[inline(always)]
    pub fn poll(&mut self) -> Event {
        // SYNC: pairs with the host's Release store in `Host::publish_next`.
        let word = self.memory.load(h::publish, Acquire);
        if word == self.last {
            return Event::Idle;
        }
        if tag_of(word) == self.tag && word > self.last {
            self.last = word;
            // SYNC: pairs with the host's Acquire load in `Host::is_received`.
            self.memory.store(g::received, word, Release);
            if self.memory.load(h::operation, Relaxed) == PING_OPERATION {
                return Event::Ping { word, token: self.memory.load(h::token, Relaxed) };
            }
            return self.take_frame(word);
        }
        self.renegotiate(word)
    }

    #[inline(never)]
    fn take_frame(&mut self, word: u64) -> Event {
        let m = self.memory;
        let raw = RawDescriptor {
            operation: m.load(h::operation, Relaxed),
            length: m.load(h::length, Relaxed),
            token: m.load(h::token, Relaxed),
            signature_magic: m.load(h::signature_magic, Relaxed),
            digest: std::array::from_fn(|i| m.load(h::digest.plus(i), Relaxed)),
            watermark: m.load(h::watermark, Relaxed),
        };
        let Some((_, geometry)) = &self.attached else { return Event::Idle };
        match raw.validate(geometry) {
            Ok(Descriptor::Ping { token }) => Event::Ping { word, token },
            Ok(Descriptor::Frame { range, digest, .. }) => Event::Frame { word, range, digest },
            Err(error) => {
                self.complete(word, Status::BadDescriptor, 0, 0);
                Event::Malformed { sequence: sequence_of(word), error }
            }
        }
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
            Ok((session, geometry)) => Event::Invited { session, geometry },
            Err(refusal) => {
                (self.attached, self.tag) = (None, NO_TAG);
                self.last = word;
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
        let answered = m.load(g::processed, Relaxed);
        if tag_of(answered) == session.tag() {
            self.last = answered;
        } else {
            for word in [g::received, g::processed, g::verdict] {
                m.store(word, 0, Relaxed);
            }
            self.last = session.word(0);
        }
        (self.attached, self.tag) = (Some((session, geometry)), session.tag());
        m.store(g::state, State::Attached.to_wire(), Relaxed);
        // SYNC: pairs with the host's Acquire load in `Host::presence`.
        m.store(g::session_echo, session.id(), Release);
    }

    /// Whether the host still stands by the message `word`: false when it has moved on, and what was read may be
    /// torn. Call it after the copy.
    #[must_use]
    pub fn is_current(&self, word: u64) -> bool {
        // SYNC: the fence keeps the payload's loads before this look at the published word.
        self.memory.fence(Acquire);
        self.memory.load(h::publish, Relaxed) == word
    }

    /// Phase two for a ping: echoes the token.
    #[inline(always)]
    pub fn complete_ping(&mut self, word: u64, token: u64) {
        self.complete(word, Status::Ok, token, 0);
    }

    /// Phase two: all bytes of the message are in private memory (or `status` says why not). `read_ns` is this
    /// side's own duration of the copy.
    #[inline(always)]
    pub fn complete(&mut self, word: u64, status: Status, token_echo: u64, read_ns: u64) {
        self.memory.store(g::status, status.to_wire(), Relaxed);
        self.memory.store(g::token_echo, token_echo, Relaxed);
        self.memory.store(g::read_ns, read_ns, Relaxed);
        // SYNC: pairs with the host's Acquire load in `Host::is_processed`.
        self.memory.store(g::processed, word, Release);
    }

    /// After phase two: what hashing the private copy showed.
    pub fn judge(&mut self, word: u64, verdict: Verdict, verify_ns: u64) {
        self.memory.store(g::verdict_status, verdict.to_wire(), Relaxed);
        self.memory.store(g::verify_ns, verify_ns, Relaxed);
        // SYNC: pairs with the host's Acquire load in `Host::verdict`.
        self.memory.store(g::verdict, word, Release);
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
