//! Doorbells: what the two sides write into their pages so that one can be told instead of looking.
//!
//! The sequence in shared memory is the truth, the interrupt a hint. A sleeper says so (`armed`), a full fence later looks
//! once more, and then sleeps; whoever has something to tell stores it and, a full fence later, looks whether the other
//! sleeps. At least one of the two sees the other's store, so nobody sleeps over a message; an interrupt too many costs time
//! only. Where the CPU leaves out its fences (TCG with one vCPU) another takes their place
//! ([`crate::mapping::Registers::drain_stores`]).

use crate::wire::WaitSource;

/// Bit of the host's `armed`: to be rung when a message is done, and when its content was judged.
pub const AT_PROCESSED: u64 = 1;
/// Bit of the host's `armed`: to be rung when a message was seen, too.
pub const AT_RECEIVED: u64 = 2;

/// Bit of the host's `armed`: it sleeps at times. For a host that never does nobody need look twice.
pub const SLEEPS: u64 = 4;

/// Where a peer is rung: its number at the ivshmem server, and the vector it listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ring {
    /// The peer.
    pub peer: u16,
    /// Its vector.
    pub vector: u16,
}

/// The bit that tells a ring from a blank word.
const RING_VALID: u64 = 1 << 63;

impl Ring {
    /// The word in a control page.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        RING_VALID | self.register() as u64
    }

    /// The ring a word stands for; `None` for a blank one and for anything else a peer may write.
    #[must_use]
    pub const fn from_wire(word: u64) -> Option<Self> {
        if word & !0xFFFF_FFFF != RING_VALID {
            return None;
        }
        Some(Self { peer: (word >> 16) as u16, vector: word as u16 })
    }

    /// The same, which tells a word that means nothing from a blank one: `Some(None)`.
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Option<Self>> {
        match Self::from_wire(word) {
            None if word != 0 => None,
            ring => Some(ring),
        }
    }

    /// What the device's Doorbell register takes to ring it.
    #[must_use]
    #[inline(always)]
    pub const fn register(self) -> u32 {
        (self.peer as u32) << 16 | self.vector as u32
    }
}

impl std::fmt::Display for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "peer {} vector {}", self.peer, self.vector)
    }
}

/// How a guest waits, as its page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestWait {
    /// What tells it.
    pub source: WaitSource,
    /// Whether it looks for a while before it sleeps.
    pub adaptive: bool,
    /// Whether it can ring a host.
    pub can_ring: bool,
}

const ADAPTIVE: u64 = 1 << 8;
const CAN_RING: u64 = 1 << 9;

impl GuestWait {
    /// One that looks and can ring nobody.
    pub const POLL: Self = Self { source: WaitSource::Poll, adaptive: false, can_ring: false };

    /// The word in the guest's page.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        let flags = if self.adaptive { ADAPTIVE } else { 0 } | if self.can_ring { CAN_RING } else { 0 };
        self.source.to_wire() | flags
    }

    /// What a word stands for; `None` for one that means nothing.
    #[must_use]
    pub fn from_wire(word: u64) -> Option<Self> {
        let source = WaitSource::from_wire(word & !(ADAPTIVE | CAN_RING))?;
        Some(Self { source, adaptive: word & ADAPTIVE != 0, can_ring: word & CAN_RING != 0 })
    }
}

impl std::fmt::Display for GuestWait {
    /// `uio`, or `adaptive=uio`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.source.name();
        if self.adaptive { write!(f, "adaptive={name}") } else { f.pad(name) }
    }
}

/// What a guest counts while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuestCounts {
    /// Interrupts it was given, those that came when it no longer slept included.
    pub interrupts: u64,
    /// Times it rang the host.
    pub rings_sent: u64,
    /// Times it found a message only because its sleep was bounded: an interrupt was missing.
    pub rescued: u64,
}

impl GuestCounts {
    /// What came since `before`. A guest may write anything: no difference is below zero.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            interrupts: self.interrupts.saturating_sub(before.interrupts),
            rings_sent: self.rings_sent.saturating_sub(before.rings_sent),
            rescued: self.rescued.saturating_sub(before.rescued),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ring_is_what_the_register_takes_with_a_mark() {
        let ring = Ring { peer: 0x1234, vector: 5 };
        assert_eq!((ring.register(), ring.to_wire()), (0x1234_0005, 0x8000_0000_1234_0005));
        assert_eq!(ring.to_string(), "peer 4660 vector 5");
        assert_eq!((Ring::from_word(0), Ring::from_word(1)), (Some(None), None));
    }

    #[test]
    fn how_a_guest_waits_has_a_name() {
        let wait = GuestWait { source: WaitSource::Uio, adaptive: true, can_ring: true };
        assert_eq!((wait.to_string(), GuestWait::POLL.to_string()), ("adaptive=uio".into(), "poll".into()));
    }

    proptest! {
        #[test]
        fn rings_survive_the_wire_and_nothing_else_is_one(peer: u16, vector: u16, word: u64) {
            let ring = Ring { peer, vector };
            prop_assert_eq!(Ring::from_wire(ring.to_wire()), Some(ring));
            if let Some(ring) = Ring::from_wire(word) {
                prop_assert_eq!(ring.to_wire(), word);
            }
        }

        #[test]
        fn waits_survive_the_wire_and_nothing_else_is_one(
            source in 0..WaitSource::ALL.len(), adaptive: bool, can_ring: bool, word in 0u64..2048,
        ) {
            let wait = GuestWait { source: WaitSource::ALL[source], adaptive, can_ring };
            prop_assert_eq!(GuestWait::from_wire(wait.to_wire()), Some(wait));
            if let Some(wait) = GuestWait::from_wire(word) {
                prop_assert_eq!(wait.to_wire(), word);
            }
        }
    }
}
