//! Seeded content and its digests, made outside every timer.

use ivshmem_proto::digest::Hasher;
use ivshmem_proto::pattern::fill_pattern;
use ivshmem_proto::wire::Digest;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

/// Bytes made and hashed at a time: they are still in the first-level cache when they are hashed.
const CHUNK_BYTES: usize = 16 << 10;

/// What the receiver needs to check a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// How.
    pub digest: Digest,
    /// What the digest must be; zeros where none is needed.
    pub expected: [u64; 4],
    /// Which pattern it is, for [`Digest::Pattern`].
    pub token: u64,
}

impl Proof {
    /// Of a payload that nobody checks.
    pub const NONE: Self = Self { digest: Digest::None, expected: [0; 4], token: 0 };
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
        return Proof { digest, expected: [0; 4], token };
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(token);
    let mut hasher = digest.algorithm().map(Hasher::new);
    for chunk in payload.chunks_mut(CHUNK_BYTES) {
        random.fill_bytes(chunk);
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
    }
    Proof { digest, expected: hasher.map_or([0; 4], Hasher::finish), token: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::digest::digest_words;
    use ivshmem_proto::pattern::check_pattern;

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
