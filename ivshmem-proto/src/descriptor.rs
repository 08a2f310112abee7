//! The descriptor that travels with a published sequence: what to do, with which bytes, and how to check them.

use crate::copy::Kernel;
use crate::geometry::{Geometry, PayloadRange};
use crate::layout::{PAGE_BYTES, RING_ENTRIES, SIGNATURE_MAGIC};
use crate::wire::{Consume, Digest, Kind};

/// The operation word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What is asked: bits 0 to 7.
    pub kind: Kind,
    /// How content is checked: bits 8 to 15.
    pub digest: Digest,
    /// The slot: bits 16 to 31.
    pub slot: u16,
    /// The guest's copy kernel, bits 32 to 39; `None` (0) leaves the choice to the guest.
    pub kernel: Option<Kernel>,
    /// What becomes of a frame: bits 40 and 41.
    pub consume: Consume,
    /// Bit 42: the payload becomes valid bit by bit, as the watermark says.
    pub chunked: bool,
    /// Bit 43: the guest reads its clock when it sees the message.
    pub timed: bool,
}

const CHUNKED: u64 = 1 << 42;
const TIMED: u64 = 1 << 43;

impl Operation {
    /// The plainest operation of a kind.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            digest: Digest::None,
            slot: 0,
            kernel: None,
            consume: Consume::Copy,
            chunked: false,
            timed: false,
        }
    }

    /// The word that stands for it.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        let kernel = match self.kernel {
            Some(kernel) => kernel.to_wire(),
            None => 0,
        };
        self.kind.to_wire()
            | self.digest.to_wire() << 8
            | (self.slot as u64) << 16
            | kernel << 32
            | self.consume.to_wire() << 40
            | if self.chunked { CHUNKED } else { 0 }
            | if self.timed { TIMED } else { 0 }
    }

    /// The operation a word stands for; `None` for unknown numbers and for bits where none belong.
    #[must_use]
    pub fn from_wire(word: u64) -> Option<Self> {
        if word >> 44 != 0 {
            return None;
        }
        let kernel = match word >> 32 & 0xFF {
            0 => None,
            wire => Some(Kernel::from_wire(wire)?),
        };
        Some(Self {
            kind: Kind::from_wire(word & 0xFF)?,
            digest: Digest::from_wire(word >> 8 & 0xFF)?,
            slot: (word >> 16 & 0xFFFF) as u16,
            kernel,
            consume: Consume::from_wire(word >> 40 & 3)?,
            chunked: word & CHUNKED != 0,
            timed: word & TIMED != 0,
        })
    }
}

/// The words of a descriptor as they stand in the host page, copied out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawDescriptor {
    /// See [`Operation`].
    pub operation: u64,
    /// Payload bytes.
    pub length: u64,
    /// What a ping echoes; which pattern a frame holds.
    pub token: u64,
    /// [`SIGNATURE_MAGIC`] in front of every digest.
    pub signature_magic: u64,
    /// The digest; of SHA-256 the first byte is the lowest byte of the first word. Unused words are zero.
    pub digest: [u64; 4],
}

/// The operation word of a ping; compared whole on the hot path.
pub const PING_OPERATION: u64 = Kind::Ping.to_wire();
/// The most payload a message without a slot of its own may carry.
pub const INLINE_BYTES_MAX: u64 = PAGE_BYTES as u64;

/// How far into what was produced a fetch may begin, in bytes: a cache line for each other message that may be in flight, so
/// that no slot need get the same content twice running.
pub const FETCH_SHIFT_BYTES_MAX: usize = (RING_ENTRIES as usize - 1) * 64;

/// How a receiver checks content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The algorithm.
    pub digest: Digest,
    /// What it must yield; meaningless for [`Digest::Pattern`] and [`Digest::None`].
    pub expected: [u64; 4],
    /// Which pattern it must be, for [`Digest::Pattern`].
    pub token: u64,
}

/// A validated request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// Copy the payload (none for a plain ping) and echo the token.
    Ping {
        /// The value to echo.
        token: u64,
        /// Where the payload lies, if there is one.
        range: Option<PayloadRange>,
        /// Whether to read the clock on seeing it.
        timed: bool,
    },
    /// Take a payload.
    Frame {
        /// Where it lies; inside a slot by construction.
        range: PayloadRange,
        /// What to do with it.
        consume: Consume,
        /// With which kernel, if not with one's own choice.
        kernel: Option<Kernel>,
        /// Whether it comes in chunks.
        chunked: bool,
        /// How to check it.
        check: Check,
    },
    /// Prepare content for a later fetch.
    Produce {
        /// Bytes; no more than a slot has.
        length: usize,
        /// Which pattern.
        token: u64,
        /// Which digest of it to report.
        digest: Digest,
    },
    /// Write what was produced.
    Fetch {
        /// Where to.
        range: PayloadRange,
        /// With which kernel.
        kernel: Option<Kernel>,
        /// Whether to publish it in chunks of so many bytes.
        chunk_bytes: Option<usize>,
        /// Where in what was produced it begins: at most [`FETCH_SHIFT_BYTES_MAX`].
        shift_bytes: usize,
    },
    /// Measure copies of the range's length.
    Measure {
        /// What may be overwritten.
        range: PayloadRange,
    },
}

/// Why a descriptor was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Unknown kind, digest algorithm, kernel, or bits where none belong.
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
    /// A fetch would begin too far into what was produced.
    #[error("a fetch begins {0} bytes into what was produced, at most {FETCH_SHIFT_BYTES_MAX} are allowed")]
    Shift(u64),
    /// The signature's magic is missing.
    #[error("signature magic is {0:#x}, not {SIGNATURE_MAGIC:#x}")]
    Signature(u64),
}

impl RawDescriptor {
    /// A ping that carries `token`.
    #[must_use]
    pub fn ping(token: u64) -> Self {
        Self { operation: PING_OPERATION, token, ..Self::default() }
    }

    /// A message of the ring: the signature's magic stands in every one.
    #[must_use]
    pub fn of(operation: Operation, length: u64, token: u64, digest: [u64; 4]) -> Self {
        Self { operation: operation.to_wire(), length, token, signature_magic: SIGNATURE_MAGIC, digest }
    }

    /// A frame of `length` bytes in `slot`, published whole, copied, with its SHA-256 when it is to be verified.
    #[must_use]
    pub fn frame(slot: u16, length: u64, sha256: Option<[u64; 4]>) -> Self {
        let digest = if sha256.is_some() { Digest::Sha256 } else { Digest::None };
        Self::of(
            Operation { slot, digest, ..Operation::of(Kind::Frame) },
            length,
            0,
            sha256.unwrap_or_default(),
        )
    }

    /// Validates the copied-out words against the region they came from.
    ///
    /// # Errors
    /// The first word that does not describe something inside `geometry`.
    pub fn validate(&self, geometry: &Geometry) -> Result<Descriptor, DescriptorError> {
        if self.operation == PING_OPERATION {
            return Ok(Descriptor::Ping { token: self.token, range: None, timed: false });
        }
        let bad_operation = DescriptorError::Operation(self.operation);
        let operation = Operation::from_wire(self.operation).ok_or(bad_operation)?;
        let (slot, length) = (u64::from(operation.slot), self.length);
        let outside = DescriptorError::OutOfBounds { slot, length };
        let range = geometry.payload(slot, length).ok_or(outside)?;
        let Operation { kind, digest, kernel, consume, chunked, timed, .. } = operation;
        if !matches!(kind, Kind::Ping | Kind::Inline) && self.signature_magic != SIGNATURE_MAGIC {
            return Err(DescriptorError::Signature(self.signature_magic));
        }
        match kind {
            Kind::Ping => Ok(Descriptor::Ping { token: self.token, range: None, timed }),
            Kind::Inline if length > INLINE_BYTES_MAX => Err(outside),
            Kind::Inline => Ok(Descriptor::Ping { token: self.token, range: Some(range), timed }),
            Kind::Frame => {
                let check = Check { digest, expected: self.digest, token: self.token };
                Ok(Descriptor::Frame { range, consume, kernel, chunked, check })
            }
            Kind::Produce => Ok(Descriptor::Produce { length: range.len(), token: self.token, digest }),
            Kind::Fetch => {
                // The token of a fetch is its chunk's size.
                let chunk = usize::try_from(self.token).ok().filter(|&bytes| bytes > 0);
                // It has no digest; the first word of that says where it begins.
                let shift_bytes = usize::try_from(self.digest[0])
                    .ok()
                    .filter(|&bytes| bytes <= FETCH_SHIFT_BYTES_MAX)
                    .ok_or(DescriptorError::Shift(self.digest[0]))?;
                Ok(Descriptor::Fetch { range, kernel, chunk_bytes: chunk.filter(|_| chunked), shift_bytes })
            }
            Kind::Measure => Ok(Descriptor::Measure { range }),
        }
    }
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
        let plain = Descriptor::Ping { token: 7, range: None, timed: false };
        assert_eq!(RawDescriptor::ping(7).validate(&g), Ok(plain));
        let sha = std::array::from_fn(|i| i as u64);
        let range = g.payload(1, 1000).unwrap();
        let frame = |digest, expected| Descriptor::Frame {
            range,
            consume: Consume::Copy,
            kernel: None,
            chunked: false,
            check: Check { digest, expected, token: 0 },
        };
        assert_eq!(RawDescriptor::frame(1, 1000, Some(sha)).validate(&g), Ok(frame(Digest::Sha256, sha)));
        assert_eq!(RawDescriptor::frame(1, 1000, None).validate(&g), Ok(frame(Digest::None, [0; 4])));
        let fetch = Operation { slot: 1, chunked: true, ..Operation::of(Kind::Fetch) };
        assert_eq!(
            RawDescriptor::of(fetch, 1000, 64, [0; 4]).validate(&g),
            Ok(Descriptor::Fetch { range, kernel: None, chunk_bytes: Some(64), shift_bytes: 0 })
        );
        assert_eq!(
            RawDescriptor::of(fetch, 1000, 0, [960, 0, 0, 0]).validate(&g),
            Ok(Descriptor::Fetch { range, kernel: None, chunk_bytes: None, shift_bytes: 960 })
        );
    }

    #[test]
    fn each_malformed_word_is_refused_by_name() {
        let (g, good) = (geometry(), RawDescriptor::frame(0, 64, None));
        let refused = |raw: RawDescriptor| raw.validate(&g).unwrap_err();
        for operation in [0, 0x902, 1 << 48 | 2, 200 << 32 | 2, 3 << 40 | 2] {
            assert_eq!(refused(RawDescriptor { operation, ..good }), DescriptorError::Operation(operation));
        }
        assert_eq!(
            refused(RawDescriptor { length: u64::MAX, ..good }),
            DescriptorError::OutOfBounds { slot: 0, length: u64::MAX }
        );
        assert_eq!(
            refused(RawDescriptor::frame(2, 64, None)),
            DescriptorError::OutOfBounds { slot: 2, length: 64 }
        );
        assert_eq!(refused(RawDescriptor { signature_magic: 1, ..good }), DescriptorError::Signature(1));
        let fetch = RawDescriptor::of(Operation::of(Kind::Fetch), 64, 0, [961, 0, 0, 0]);
        assert_eq!(refused(fetch), DescriptorError::Shift(961));
        let inline = RawDescriptor::of(Operation::of(Kind::Inline), 4097, 0, [0; 4]);
        assert_eq!(refused(inline), DescriptorError::OutOfBounds { slot: 0, length: 4097 });
    }

    proptest! {
        #[test]
        fn an_operation_survives_the_wire(
            kind in 0..Kind::ALL.len(), digest in 0..Digest::ALL.len(), kernel in 0..=Kernel::ALL.len(), slot: u16,
            consume in 0..Consume::ALL.len(), chunked: bool, timed: bool,
        ) {
            let operation = Operation {
                kind: Kind::ALL[kind],
                digest: Digest::ALL[digest],
                slot,
                kernel: Kernel::ALL.get(kernel).copied(),
                consume: Consume::ALL[consume],
                chunked,
                timed,
            };
            prop_assert_eq!(Operation::from_wire(operation.to_wire()), Some(operation));
        }

        #[test]
        fn arbitrary_words_never_yield_a_range_outside_the_region(
            operation: u64, length: u64, token: u64, signature_magic: u64, digest: [u64; 4], kind in 1u64..7, tame: bool,
        ) {
            let g = geometry();
            let mut raw = RawDescriptor { operation, length, token, signature_magic, digest };
            if tame {
                // Steer half of the cases past the first checks.
                raw.operation = operation & 0x0D02_0001_0300 | kind;
                raw.length = length % (2 << 20);
                raw.signature_magic = SIGNATURE_MAGIC;
            }
            let inside = |range: PayloadRange| (range.offset() + range.len()) as u64 <= g.region_bytes();
            match raw.validate(&g) {
                Ok(Descriptor::Ping { range, .. }) => prop_assert!(range.is_none_or(inside)),
                Ok(Descriptor::Frame { range, .. } | Descriptor::Fetch { range, .. } | Descriptor::Measure { range }) => {
                    prop_assert!(inside(range));
                }
                Ok(Descriptor::Produce { length, .. }) => prop_assert!(length as u64 <= g.slot_bytes()),
                Err(_) => {}
            }
        }
    }
}
