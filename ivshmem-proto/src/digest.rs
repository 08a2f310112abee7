//! Digests of payloads, as the four words a descriptor has room for.
//!
//! SHA-256 convinces anybody but costs a TCG guest 310 ms a 4K frame; XXH3 costs an eighth of that, and CRC-32C is
//! what storage and network devices use. All three see what shared memory does to a payload: a flipped bit, a line in
//! the wrong place, half of the previous frame. None but SHA-256 resists someone who wants a collision.
//!
//! Every implementation that wants more than the baseline CPU looks at CPUID when it runs (through the standard
//! library, so in a static binary too), except XXH3, whose vector width is chosen by the compiler's target features.

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestKind {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// XXH3 of 128 bits, seed 0 (xxHash 0.8).
    Xxh3,
    /// CRC-32C, the Castagnoli polynomial (RFC 3720, appendix B.4).
    Crc32c,
}

impl DigestKind {
    /// Every algorithm.
    pub const ALL: &'static [Self] = &[Self::Sha256, Self::Xxh3, Self::Crc32c];

    /// The name used on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Xxh3 => "xxh3",
            Self::Crc32c => "crc32c",
        }
    }

    /// The algorithm called `name`, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for DigestKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The digest of `bytes` in little-endian words; words the algorithm does not fill are zero.
///
/// SHA-256 fills all four with its 32 bytes in order, XXH3 two (low half first), CRC-32C half of one.
#[must_use]
pub fn digest_words(kind: DigestKind, bytes: &[u8]) -> [u64; 4] {
    match kind {
        DigestKind::Sha256 => sha256_words(Sha256::digest(bytes).into()),
        DigestKind::Xxh3 => xxh3_words(xxh3_128(bytes)),
        DigestKind::Crc32c => crc32c_words(crc32c::crc32c(bytes)),
    }
}

/// A digest of bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher(Inner);

/// Neither boxed nor allocated: a hasher is made for every frame, and half a kilobyte of stack is cheaper.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "boxing would allocate within the frame loop")]
enum Inner {
    Sha256(Sha256),
    Xxh3(Xxh3Default),
    Crc32c(u32),
}

impl Hasher {
    /// A digest of no bytes yet.
    #[must_use]
    pub fn new(kind: DigestKind) -> Self {
        Self(match kind {
            DigestKind::Sha256 => Inner::Sha256(Sha256::new()),
            DigestKind::Xxh3 => Inner::Xxh3(Xxh3Default::new()),
            DigestKind::Crc32c => Inner::Crc32c(0),
        })
    }

    /// Which algorithm this is.
    #[must_use]
    pub const fn kind(&self) -> DigestKind {
        match self.0 {
            Inner::Sha256(_) => DigestKind::Sha256,
            Inner::Xxh3(_) => DigestKind::Xxh3,
            Inner::Crc32c(_) => DigestKind::Crc32c,
        }
    }

    /// Takes the next piece, of any length.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hasher) => hasher.update(bytes),
            Inner::Xxh3(hasher) => hasher.update(bytes),
            Inner::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
        }
    }

    /// The digest of all pieces, as [`digest_words`] gives it for the whole.
    #[must_use]
    pub fn finish(self) -> [u64; 4] {
        match self.0 {
            Inner::Sha256(hasher) => sha256_words(hasher.finalize().into()),
            Inner::Xxh3(hasher) => xxh3_words(hasher.digest128()),
            Inner::Crc32c(crc) => crc32c_words(crc),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hasher").field(&self.kind()).finish()
    }
}

fn sha256_words(digest: [u8; 32]) -> [u64; 4] {
    let (words, _) = digest.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

fn xxh3_words(digest: u128) -> [u64; 4] {
    [digest as u64, (digest >> 64) as u64, 0, 0]
}

fn crc32c_words(digest: u32) -> [u64; 4] {
    [u64::from(digest), 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each known answer both at once and byte by byte.
    fn check(kind: DigestKind, bytes: &[u8], expected: [u64; 4]) {
        assert_eq!(digest_words(kind, bytes), expected, "{kind} of {} bytes", bytes.len());
        let mut hasher = Hasher::new(kind);
        bytes.iter().for_each(|byte| hasher.update(std::slice::from_ref(byte)));
        assert_eq!(hasher.finish(), expected, "{kind} of {} bytes, one by one", bytes.len());
    }

    #[test]
    fn sha256_answers_as_fips_180_says() {
        // NIST, "SHA-256 examples" and the FIPS 180-4 one million letters; the words are those of the standard,
        // which are big-endian, in pairs.
        let swapped = |words: [u64; 4]| words.map(u64::swap_bytes);
        check(
            DigestKind::Sha256,
            b"abc",
            swapped([0xba7816bf8f01cfea, 0x414140de5dae2223, 0xb00361a396177a9c, 0xb410ff61f20015ad]),
        );
        check(
            DigestKind::Sha256,
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            swapped([0x248d6a61d20638b8, 0xe5c026930c3e6039, 0xa33ce45964ff2167, 0xf6ecedd419db06c1]),
        );
        check(
            DigestKind::Sha256,
            &vec![b'a'; 1_000_000],
            swapped([0xcdc76e5c9914fb92, 0x81a1c7e284d73e67, 0xf1809a48a497200e, 0x046d39ccc7112cd0]),
        );
    }

    #[test]
    fn xxh3_answers_as_its_reference_does() {
        // XXH128 with seed 0 over the test buffer of xxHash 0.8.2's self-test: (bytes, low half, high half). The
        // lengths are those at which the algorithm changes, and several blocks.
        let mut generator = 2_654_435_761_u64;
        let buffer: Vec<u8> = std::iter::repeat_with(|| {
            let byte = (generator >> 56) as u8;
            generator = generator.wrapping_mul(11_400_714_785_074_694_797);
            byte
        })
        .take(2367)
        .collect();
        for (length, low, high) in [
            (0, 0x6001C324468D497F, 0x99AA06D3014798D8),
            (1, 0xC44BDFF4074EECDB, 0xA6CD5E9392000F6A),
            (6, 0x3E7039BDDA43CFC6, 0x082AFE0B8162D12A),
            (12, 0x061A192713F69AD9, 0x6E3EFD8FC7802B18),
            (24, 0x1E7044D28B1B901D, 0x0CE966E4678D3761),
            (48, 0xF942219AED80F67B, 0xA002AC4E5478227E),
            (81, 0x5E8BAFB9F95FB803, 0x4952F58181AB0042),
            (222, 0xF1AEBD597CEC6B3A, 0x337E09641B948717),
            (403, 0xCDEB804D65C6DEA4, 0x1B6DE21E332DD73D),
            (512, 0x617E49599013CB6B, 0x18D2D110DCC9BCA1),
            (2048, 0xDD59E2C3A5F038E0, 0xF736557FD47073A5),
            (2240, 0x6E73A90539CF2948, 0xCCB134FBFA7CE49D),
            (2367, 0xCB37AEB9E5D361ED, 0xE89C0F6FF369B427),
        ] {
            check(DigestKind::Xxh3, &buffer[..length], [low, high, 0, 0]);
        }
    }

    #[test]
    fn crc32c_answers_as_rfc_3720_says() {
        // RFC 3720, appendix B.4, and the check value of CRC-32/ISCSI in the catalogue of CRC algorithms.
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        check(DigestKind::Crc32c, &[0; 32], [0x8A91_36AA, 0, 0, 0]);
        check(DigestKind::Crc32c, &[0xFF; 32], [0x62A8_AB43, 0, 0, 0]);
        check(DigestKind::Crc32c, &ascending, [0x46DD_794E, 0, 0, 0]);
        check(DigestKind::Crc32c, &descending, [0x113F_DB5C, 0, 0, 0]);
        check(DigestKind::Crc32c, b"123456789", [0xE306_9283, 0, 0, 0]);
    }

    /// CRC-32C bit by bit, from its polynomial: long payloads take other paths than the published short ones.
    #[test]
    fn a_long_crc32c_is_that_of_the_definition() {
        let bytes: Vec<u8> = (0..100_003_u32).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        let crc = bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
        });
        assert_eq!(digest_words(DigestKind::Crc32c, &bytes), [u64::from(!crc), 0, 0, 0]);
    }

    #[test]
    fn names_lead_back() {
        for &kind in DigestKind::ALL {
            assert_eq!(DigestKind::from_name(kind.name()), Some(kind));
            assert_eq!(Hasher::new(kind).kind(), kind);
        }
        assert_eq!(DigestKind::from_name("SHA256"), None);
        assert_eq!(DigestKind::from_name("none"), None);
    }

    /// Lines of random content, different from one another: equal ones could be swapped unnoticed.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::hash_set(any::<[u64; 8]>(), 2..40)
            .prop_map(|lines| lines.iter().flatten().flat_map(|word| word.to_le_bytes()).collect())
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_digest_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..5000), cuts in prop::collection::vec(0_usize..900, 1..50),
        ) {
            for &kind in DigestKind::ALL {
                let mut hasher = Hasher::new(kind);
                let mut rest = bytes.as_slice();
                for cut in cuts.iter().copied() {
                    let (piece, after) = rest.split_at(cut.min(rest.len()));
                    hasher.update(piece);
                    rest = after;
                }
                hasher.update(rest);
                prop_assert_eq!(hasher.finish(), digest_words(kind, &bytes), "{}", kind);
            }
        }

        #[test]
        fn what_shared_memory_can_do_to_a_payload_changes_every_digest(
            bytes in lines(), other: u8, bit: prop::sample::Index, from: prop::sample::Index, to: prop::sample::Index,
        ) {
            let count = bytes.len() / 64;
            let (from, to) = (from.index(count), to.index(count));
            let mut flipped = bytes.clone();
            let bit = bit.index(bytes.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut torn = bytes.clone();
            torn[bytes.len() / 2..].iter_mut().for_each(|byte| *byte ^= other | 1);
            let mut damages = vec![("flipped", flipped), ("torn", torn)];
            if from != to {
                let (first, second) = (from.min(to), from.max(to));
                let mut swapped = bytes.clone();
                let (left, right) = swapped.split_at_mut(second * 64);
                left[first * 64..][..64].swap_with_slice(&mut right[..64]);
                let mut displaced = bytes.clone();
                displaced.copy_within(from * 64..(from + 1) * 64, to * 64);
                damages.extend([("swapped", swapped), ("displaced", displaced)]);
            }
            for &kind in DigestKind::ALL {
                for (damage, damaged) in &damages {
                    prop_assert_ne!(digest_words(kind, damaged), digest_words(kind, &bytes), "{} {}", kind, damage);
                }
            }
        }
    }
}
