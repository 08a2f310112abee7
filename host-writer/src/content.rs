//! Seeded random frames and their digests, made outside every timer.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// Fills `frame` with content that depends on `seed` and `number` only.
pub fn fill(frame: &mut [u8], seed: u64, number: u64) {
    // Mixed, so that neighbouring seeds and numbers share no stream.
    Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number).fill_bytes(frame);
}

/// SHA-256 of `frame`.
#[must_use]
pub fn sha256(frame: &[u8]) -> [u8; 32] {
    Sha256::digest(frame).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_frame_and_another_makes_another() {
        let frame = |seed, number| {
            let mut bytes = vec![0; 1001];
            fill(&mut bytes, seed, number);
            bytes
        };
        assert_eq!(frame(1, 2), frame(1, 2));
        assert_ne!(frame(1, 2), frame(1, 3));
        assert_ne!(frame(1, 2), frame(2, 2));
    }

    #[test]
    fn sha256_matches_the_published_example() {
        // FIPS 180-4, example "abc".
        let hex: String = sha256(b"abc").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
