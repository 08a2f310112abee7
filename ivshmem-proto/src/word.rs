//! Sequence words: a sequence number and the tag of the session it belongs to, in one 64-bit word.
//!
//! One aligned 64-bit store is indivisible, so a peer sees both halves or neither, and an acknowledgement left
//! behind by an earlier message, run or boot can never equal the word that is waited for.

/// Bits of the sequence number: 2^40 messages are 39 hours at 130 ns each.
pub const SEQUENCE_BITS: u32 = 40;
/// The last sequence number of a session.
pub const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;

/// A session: 64 random bits whose low 24 bits (never zero) tag every sequence word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session(u64);

impl Session {
    /// Makes a session from random bits, avoiding the tag `not` (that of whatever ran in this region before).
    #[must_use]
    pub fn from_random(bits: u64, not: u64) -> Self {
        let mut id = bits;
        while Self(id).tag() == 0 || Self(id).tag() == not {
            id = id.wrapping_add(1);
        }
        Self(id)
    }

    /// Reads a session the peer wrote; `None` when its tag is zero.
    #[must_use]
    pub fn from_wire(id: u64) -> Option<Self> {
        (Self(id).tag() != 0).then_some(Self(id))
    }

    /// All 64 bits.
    #[must_use]
    pub const fn id(self) -> u64 {
        self.0
    }

    /// The 24 bits that go into every sequence word.
    #[must_use]
    #[inline(always)]
    pub const fn tag(self) -> u64 {
        self.0 & ((1 << (64 - SEQUENCE_BITS)) - 1)
    }

    /// The sequence word of message `sequence` in this session.
    #[must_use]
    #[inline(always)]
    pub const fn word(self, sequence: u64) -> u64 {
        (self.tag() << SEQUENCE_BITS) | (sequence & SEQUENCE_MAX)
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// The session tag of a sequence word.
#[must_use]
#[inline(always)]
pub const fn tag_of(word: u64) -> u64 {
    word >> SEQUENCE_BITS
}

/// The sequence number of a sequence word.
#[must_use]
#[inline(always)]
pub const fn sequence_of(word: u64) -> u64 {
    word & SEQUENCE_MAX
}

/// Bits of a watermark that hold bytes: as many as a region can have.
const WATERMARK_BITS: u32 = 40;

/// The watermark word of message `sequence`: its number's low 24 bits and how many bytes of it are valid, so that a
/// watermark of another message is never taken for this one's.
#[must_use]
#[inline(always)]
pub const fn watermark(sequence: u64, bytes: u64) -> u64 {
    sequence << WATERMARK_BITS | bytes & ((1 << WATERMARK_BITS) - 1)
}

/// The bytes a watermark word promises of message `sequence`; `None` when it is another message's.
#[must_use]
#[inline(always)]
pub const fn watermark_of(word: u64, sequence: u64) -> Option<u64> {
    if word >> WATERMARK_BITS == sequence << WATERMARK_BITS >> WATERMARK_BITS {
        Some(word & ((1 << WATERMARK_BITS) - 1))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_gives_back_its_halves(bits: u64, sequence in 0..=SEQUENCE_MAX) {
            let session = Session::from_random(bits, 0);
            let word = session.word(sequence);
            prop_assert_eq!(tag_of(word), session.tag());
            prop_assert_eq!(sequence_of(word), sequence);
        }

        #[test]
        fn a_watermark_is_of_its_message_only(sequence in 0..=SEQUENCE_MAX, bytes in 0u64..1 << 40, other in 1u64..1 << 24) {
            let word = watermark(sequence, bytes);
            prop_assert_eq!(watermark_of(word, sequence), Some(bytes));
            prop_assert_eq!(watermark_of(word, sequence + other), None);
        }

        #[test]
        fn a_new_session_never_reuses_the_tag_before_it(bits: u64, not in 0u64..1 << 24) {
            let session = Session::from_random(bits, not);
            prop_assert_ne!(session.tag(), not);
            prop_assert_ne!(session.tag(), 0);
        }
    }

    #[test]
    fn a_session_without_a_tag_is_none() {
        assert_eq!(Session::from_wire(0), None);
        assert_eq!(Session::from_wire(0xFF00_0000), None);
        assert!(Session::from_wire(0xFF00_0001).is_some());
    }
}
