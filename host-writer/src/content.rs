//! Seeded random frames and their digests, made outside every timer.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// Bytes made and hashed at a time: they are still in the first-level cache when they are hashed.
const CHUNK_BYTES: usize = 16 << 10;

/// Fills `frame` with content that depends on `seed` and `number` only, and returns its SHA-256 if asked.
///
/// Each chunk is hashed right after it was made, so that the frame lies in the caches as a producer leaves it, hashed
/// or not: a second pass over the whole frame would change what the timed write finds there.
pub fn produce(frame: &mut [u8], seed: u64, number: u64, hash: bool) -> Option<[u8; 32]> {
    // Mixed, so that neighbouring seeds and numbers share no stream.
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number);
    let mut hasher = hash.then(Sha256::new);
    for chunk in frame.chunks_mut(CHUNK_BYTES) {
        random.fill_bytes(chunk);
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
    }
    hasher.map(|h| h.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seed: u64, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 3 * CHUNK_BYTES + 1001];
        assert_eq!(produce(&mut bytes, seed, number, false), None);
        bytes
    }

    #[test]
    fn the_same_seed_makes_the_same_frame_and_another_makes_another() {
        assert_eq!(frame(1, 2), frame(1, 2));
        assert_ne!(frame(1, 2), frame(1, 3));
        assert_ne!(frame(1, 2), frame(2, 2));
    }

    #[test]
    fn the_digest_is_that_of_the_whole_frame_and_hashing_changes_no_byte() {
        let mut bytes = vec![0; 3 * CHUNK_BYTES + 1001];
        let digest = produce(&mut bytes, 1, 2, true).unwrap();
        assert_eq!(bytes, frame(1, 2));
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(&bytes)));
    }
}
