//! The doors to shared memory: plain loads and stores of control words, and whole-payload copies.
//!
//! The handshake is generic over these traits, so the same code runs over a mapped region, over [`HeapRegion`]
//! in unit tests and Miri, and over loom's model of atomics.
//!
//! No read-modify-write exists here on purpose: a single-vCPU TCG guest executes `lock` instructions
//! non-atomically with respect to host processes.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::copy::Kernel;
use crate::geometry::PayloadRange;
use crate::layout::WordOffset;

/// Loads and stores of single control words.
pub trait ControlWords {
    /// Loads one word. `order` is `Relaxed` or `Acquire`.
    fn load(&self, at: WordOffset, order: Ordering) -> u64;

    /// Stores one word. `order` is `Relaxed` or `Release`.
    fn store(&self, at: WordOffset, value: u64, order: Ordering);

    /// A fence of the given order.
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

/// Copies of payload bytes between a slot and private memory.
pub trait Payload {
    /// Copies `source` into the start of `range` and makes it visible before any later Release store.
    ///
    /// # Panics
    /// When `source` is longer than `range`, or `range` belongs to a larger region: both are bugs of this side.
    fn write(&self, range: PayloadRange, source: &[u8], kernel: Kernel);

    /// Copies the start of `range` into `destination`.
    ///
    /// # Panics
    /// When `destination` is longer than `range`, or `range` belongs to a larger region.
    fn read(&self, range: PayloadRange, destination: &mut [u8], kernel: Kernel);
}

/// A region on the heap, made of atomics only: for unit tests and Miri.
#[derive(Debug)]
pub struct HeapRegion {
    words: Box<[AtomicU64]>,
}

impl HeapRegion {
    /// A zeroed region of `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { words: (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect() }
    }

    fn byte_range(&self, range: PayloadRange, length: usize) -> std::ops::Range<usize> {
        assert!(length <= range.len() && range.offset() + range.len() <= self.words.len() * 8);
        range.offset()..range.offset() + length
    }
}

impl ControlWords for HeapRegion {
    fn load(&self, at: WordOffset, order: Ordering) -> u64 {
        self.words[at.bytes() / 8].load(order)
    }

    fn store(&self, at: WordOffset, value: u64, order: Ordering) {
        self.words[at.bytes() / 8].store(value, order);
    }
}

impl Payload for HeapRegion {
    fn write(&self, range: PayloadRange, source: &[u8], _kernel: Kernel) {
        for (at, byte) in self.byte_range(range, source.len()).zip(source) {
            let (word, shift) = (&self.words[at / 8], at % 8 * 8);
            let rest = word.load(Ordering::Relaxed) & !(0xFF << shift);
            word.store(rest | u64::from(*byte) << shift, Ordering::Relaxed);
        }
    }

    fn read(&self, range: PayloadRange, destination: &mut [u8], _kernel: Kernel) {
        for (at, byte) in self.byte_range(range, destination.len()).zip(destination) {
            *byte = (self.words[at / 8].load(Ordering::Relaxed) >> (at % 8 * 8)) as u8;
        }
    }
}
