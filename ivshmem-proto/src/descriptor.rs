//! The descriptor that travels with a published sequence: what to read, where, and how to check it.

use crate::geometry::{Geometry, PayloadRange};
use crate::layout::SIGNATURE_MAGIC;
use crate::wire::{Digest, Kind};

/// The words of a descriptor as they stand in the host page, copied out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawDescriptor {
    /// Kind in bits 0..8, digest algorithm in bits 8..16, slot in bits 16..48, zero above.
    pub operation: u64,
    /// Payload bytes.
    pub length: u64,
    /// What a ping echoes.
    pub token: u64,
    /// [`SIGNATURE_MAGIC`] in front of every digest.
    pub signature_magic: u64,
    /// SHA-256, first byte in the lowest byte of the first word.
    pub digest: [u64; 4],
    /// Payload bytes that are valid.
    pub watermark: u64,
}

/// The operation word of a ping; compared whole on the hot path.
pub const PING_OPERATION: u64 = Kind::Ping.to_wire();

/// A validated request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// Echo the token.
    Ping {
        /// The value to echo.
        token: u64,
    },
    /// Read a payload.
    Frame {
        /// The slot's number.
        slot: u64,
        /// Where the payload lies; inside the region by construction.
        range: PayloadRange,
        /// How to check it, and the expected digest.
        digest: Option<[u8; 32]>,
    },
}

/// Why a descriptor was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Unknown kind, digest algorithm, or bits where none belong.
    #[error("operation word {0:#x} is not one this layout defines")]
    Operation(u64),
    /// The payload would lie outside its slot or the region.
    #[error("{length} bytes in slot {slot} lie outside the region's slots")]
    OutOfBounds {
        /// Slot number.
        slot: u64,
        /// Length in bytes.
        length: u64,
    },
    /// The signature's magic is missing.
    #[error("signature magic {0:#x} is not {SIGNATURE_MAGIC:#x}")]
    Signature(u64),
    /// A whole publication whose watermark is not its length.
    #[error("watermark {watermark} is not the payload's length {length}")]
    Watermark {
        /// Valid bytes.
        watermark: u64,
        /// Length in bytes.
        length: u64,
    },
}

impl RawDescriptor {
    /// A ping.
    #[must_use]
    pub const fn ping(token: u64) -> Self {
        Self { operation: PING_OPERATION, length: 0, token, signature_magic: 0, digest: [0; 4], watermark: 0 }
    }

    /// A frame of `length` bytes in `slot`, with its SHA-256 when it is to be verified.
    #[must_use]
    pub fn frame(slot: u64, length: u64, sha256: Option<[u8; 32]>) -> Self {
        let algorithm = if sha256.is_some() { Digest::Sha256 } else { Digest::None };
        Self {
            operation: Kind::Frame.to_wire() | algorithm.to_wire() << 8 | slot << 16,
            length,
            token: 0,
            signature_magic: SIGNATURE_MAGIC,
            digest: digest_to_words(sha256.unwrap_or([0; 32])),
            watermark: length,
        }
    }

    /// Validates the copied-out words against the region they came from.
    ///
    /// # Errors
    /// The first word that does not describe something inside `geometry`.
    pub fn validate(&self, geometry: &Geometry) -> Result<Descriptor, DescriptorError> {
        let bad_operation = DescriptorError::Operation(self.operation);
        if self.operation == PING_OPERATION {
            return Ok(Descriptor::Ping { token: self.token });
        }
        if self.operation >> 48 != 0 || Kind::from_wire(self.operation & 0xFF) != Some(Kind::Frame) {
            return Err(bad_operation);
        }
        let algorithm = Digest::from_wire(self.operation >> 8 & 0xFF).ok_or(bad_operation)?;
        let (slot, length) = (self.operation >> 16 & 0xFFFF_FFFF, self.length);
        let range = geometry.payload(slot, length).ok_or(DescriptorError::OutOfBounds { slot, length })?;
        if self.signature_magic != SIGNATURE_MAGIC {
            return Err(DescriptorError::Signature(self.signature_magic));
        }
        if self.watermark != length {
            return Err(DescriptorError::Watermark { watermark: self.watermark, length });
        }
        let digest = (algorithm == Digest::Sha256).then(|| digest_from_words(self.digest));
        Ok(Descriptor::Frame { slot, range, digest })
    }
}

fn digest_to_words(bytes: [u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

fn digest_from_words(words: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry() -> Geometry {
        Geometry::for_payload(1 << 20, 0).unwrap()
    }

    #[test]
    fn what_the_host_writes_validates_to_the_same_thing() {
        let g = geometry();
        assert_eq!(RawDescriptor::ping(7).validate(&g), Ok(Descriptor::Ping { token: 7 }));
        let sha = std::array::from_fn(|i| i as u8);
        let range = g.payload(1, 1000).unwrap();
        assert_eq!(
            RawDescriptor::frame(1, 1000, Some(sha)).validate(&g),
            Ok(Descriptor::Frame { slot: 1, range, digest: Some(sha) })
        );
        assert_eq!(
            RawDescriptor::frame(1, 1000, None).validate(&g),
            Ok(Descriptor::Frame { slot: 1, range, digest: None })
        );
    }

    #[test]
    fn each_malformed_word_is_refused_by_name() {
        let (g, good) = (geometry(), RawDescriptor::frame(0, 64, None));
        let refused = |raw: RawDescriptor| raw.validate(&g).unwrap_err();
        assert_eq!(refused(RawDescriptor { operation: 0, ..good }), DescriptorError::Operation(0));
        assert_eq!(refused(RawDescriptor { operation: 0x902, ..good }), DescriptorError::Operation(0x902));
        assert_eq!(
            refused(RawDescriptor { operation: 1 << 48 | 2, ..good }),
            DescriptorError::Operation(1 << 48 | 2)
        );
        assert_eq!(
            refused(RawDescriptor { length: u64::MAX, ..good }),
            DescriptorError::OutOfBounds { slot: 0, length: u64::MAX }
        );
        assert_eq!(
            refused(RawDescriptor::frame(2, 64, None)),
            DescriptorError::OutOfBounds { slot: 2, length: 64 }
        );
        assert_eq!(refused(RawDescriptor { signature_magic: 1, ..good }), DescriptorError::Signature(1));
        assert_eq!(
            refused(RawDescriptor { watermark: 63, ..good }),
            DescriptorError::Watermark { watermark: 63, length: 64 }
        );
    }

    proptest! {
        #[test]
        fn arbitrary_words_never_yield_a_range_outside_the_region(
            operation: u64, length: u64, token: u64, signature_magic: u64, digest: [u64; 4], watermark: u64,
            tame in proptest::bool::ANY,
        ) {
            let g = geometry();
            let mut raw = RawDescriptor { operation, length, token, signature_magic, digest, watermark };
            if tame {
                // Steer half of the cases past the first checks.
                raw.operation = operation & 0x3_01FF & !0xFF | 2;
                raw.length = length % (2 << 20);
                raw.signature_magic = SIGNATURE_MAGIC;
                raw.watermark = raw.length;
            }
            if let Ok(Descriptor::Frame { range, .. }) = raw.validate(&g) {
                prop_assert!((range.offset() + range.len()) as u64 <= g.region_bytes());
            }
        }
    }
}
