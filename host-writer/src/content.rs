//! Seeded content and its digests, made outside every timer.

use ivshmem_proto::descriptor::FETCH_SHIFT_BYTES_MAX;
use ivshmem_proto::digest::{Hasher, digest_words};
use ivshmem_proto::pattern::fill_pattern;
use ivshmem_proto::wire::Digest;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

/// Bytes made and hashed at a time: they are still in the first-level cache when they are hashed.
const CHUNK_BYTES: usize = 16 << 10;
/// How far apart the pieces of one pattern begin.
const LINE_BYTES: usize = 64;

/// What the receiver needs to check a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// How.
    pub digest: Digest,
    /// What the digest must be; zeros where none is needed.
    pub expected: [u64; 4],
    /// Which pattern it is, for [`Digest::Pattern`].
    pub token: u64,
    /// Where in that pattern it begins, in bytes: whole words.
    pub shift_bytes: usize,
}

impl Proof {
    /// Of a payload that nobody checks.
    pub const NONE: Self = Self { digest: Digest::None, expected: [0; 4], token: 0, shift_bytes: 0 };
}

/// What payload `number` is made from: mixed, so that neighbouring seeds and numbers share no stream.
#[must_use]
pub const fn token(seed: u64, number: u64) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number
}

/// Fills `payload` with content that depends on `seed` and `number` only, and returns how to check it.
///
/// Random content is hashed chunk by chunk as it is made, so that it lies in the caches as a producer leaves it, hashed
/// or not: a second pass over the whole payload would change what the timed write finds there.
pub fn produce(payload: &mut [u8], seed: u64, number: u64, digest: Digest) -> Proof {
    let token = token(seed, number);
    if digest == Digest::Pattern {
        fill_pattern(payload, token);
        return Proof { digest, token, ..Proof::NONE };
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(token);
    let mut hasher = digest.algorithm().map(Hasher::new);
    for chunk in payload.chunks_mut(CHUNK_BYTES) {
        random.fill_bytes(chunk);
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
    }
    Proof { digest, expected: hasher.map_or([0; 4], Hasher::finish), ..Proof::NONE }
}

/// How to check `count` pieces of the pattern `token`, `length` bytes each, that begin a cache line after one another.
///
/// # Panics
/// When they are more than a guest can be asked for: a bug of this side.
#[must_use]
pub fn pieces(length: usize, token: u64, digest: Digest, count: usize) -> Vec<Proof> {
    assert!((count - 1) * LINE_BYTES <= FETCH_SHIFT_BYTES_MAX, "{count} pieces");
    // The guest's word is not asked for: what it has to send is known.
    let pattern = digest.algorithm().map(|kind| {
        let mut pattern = vec![0; length + FETCH_SHIFT_BYTES_MAX];
        fill_pattern(&mut pattern, token);
        (kind, pattern)
    });
    let piece = |number| {
        let shift_bytes = number * LINE_BYTES;
        let piece = pattern.as_ref().map(|(kind, all)| (*kind, &all[shift_bytes..shift_bytes + length]));
        let expected = piece.map_or([0; 4], |(kind, bytes)| digest_words(kind, bytes));
        Proof { digest, expected, token, shift_bytes }
    };
    (0..count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::pattern::{check_pattern, check_pattern_from};

    fn payload(seed: u64, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 3 * CHUNK_BYTES + 1001];
        assert_eq!(produce(&mut bytes, seed, number, Digest::None), Proof::NONE);
        bytes
    }

    #[test]
    fn content_depends_on_seed_and_number_only() {
        assert_eq!(payload(1, 5), payload(1, 5));
        assert_ne!(payload(1, 5), payload(1, 6));
        assert_ne!(payload(1, 5), payload(2, 5));
    }

    #[test]
    fn no_two_pieces_of_a_pattern_pass_for_each_other() {
        let mut pattern = vec![0; 2000];
        fill_pattern(&mut pattern, 5);
        for &digest in Digest::ALL {
            let proofs = pieces(1001, 5, digest, 16);
            assert_eq!(proofs.len(), 16);
            for (number, proof) in proofs.iter().enumerate() {
                let piece = &pattern[number * 64..number * 64 + 1001];
                assert_eq!(check_pattern_from(piece, proof.token, proof.shift_bytes / 8), None);
                let expected = digest.algorithm().map_or([0; 4], |kind| digest_words(kind, piece));
                assert_eq!((proof.digest, proof.expected), (digest, expected));
                let alike = |other: &&Proof| (other.expected, other.shift_bytes) == (expected, number * 64);
                assert_eq!(proofs.iter().filter(alike).count(), 1);
            }
        }
    }

    #[test]
    fn the_proof_is_of_what_was_made() {
        let mut bytes = vec![0; 3 * CHUNK_BYTES + 1001];
        for &digest in Digest::ALL {
            let proof = produce(&mut bytes, 1, 5, digest);
            match digest.algorithm() {
                Some(kind) => assert_eq!(proof.expected, digest_words(kind, &bytes), "{digest}"),
                None => assert_eq!(proof.expected, [0; 4]),
            }
            if digest == Digest::Pattern {
                assert_eq!(check_pattern(&bytes, proof.token), None);
            } else {
                assert_eq!(bytes, payload(1, 5), "{digest}");
            }
        }
    }
}
