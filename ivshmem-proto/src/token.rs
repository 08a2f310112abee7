//! Tokens that nobody can guess: a guest that echoes one has read the message it came with.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

/// Odd, so that multiplying by it maps no two numbers to one; its bits have no pattern (2^64 over the golden ratio).
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// Random bits, from the seed that the standard library's hash maps take from the operating system.
#[must_use]
pub fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What the tokens of one test are made from.
#[derive(Debug, Clone, Copy)]
pub struct Secret(u64);

impl Secret {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(random_u64())
    }

    /// The token of message `number`; no two messages have the same.
    #[must_use]
    #[inline(always)]
    pub const fn token(self, number: u64) -> u64 {
        (self.0 ^ number).wrapping_mul(MIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_messages_have_the_same_token_and_no_two_tests_the_same_tokens() {
        let tokens = |secret: Secret| (0..10_000).map(|number| secret.token(number)).collect::<BTreeSet<_>>();
        let (one, other) = (tokens(Secret::random()), tokens(Secret::random()));
        assert_eq!((one.len(), other.len()), (10_000, 10_000));
        assert_ne!(one, other);
    }
}
