//! Copy kernels: the ways to move payload, each named, each available only where the CPU has what it needs.
//!
//! Which one is fastest depends on the machine, the size and the place (a TCG guest's `rep movsb` is five times
//! slower than AVX2 copies; on a host, non-temporal stores win once a payload outgrows the caches), so both sides
//! measure the available ones and record what they chose.
#![allow(unsafe_code, reason = "one of the three modules that touch raw memory")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_storeu_si128,
    _mm_stream_si128, _mm256_add_epi64, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_storeu_si256,
    _mm256_stream_si256, _mm512_loadu_si512, _mm512_stream_si512,
};

/// A way to copy bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u64)]
pub enum Kernel {
    /// The C library's `memcpy`: the portable fallback, always available.
    Memcpy = 1,
    /// One `rep movsb`.
    RepMovsb = 2,
    /// 128-bit loads and stores.
    Sse2 = 3,
    /// 256-bit loads and stores.
    Avx2 = 4,
    /// 128-bit loads, non-temporal stores.
    Sse2Nt = 5,
    /// 256-bit loads, non-temporal stores.
    Avx2Nt = 6,
    /// 512-bit loads, non-temporal stores.
    Avx512Nt = 7,
    /// 256-bit loads, non-temporal stores, four pages at a time.
    Avx2NtPages = 8,
    /// 512-bit loads, non-temporal stores, four pages at a time.
    Avx512NtPages = 9,
}

impl Kernel {
    /// Every kernel, in wire order.
    pub const ALL: &'static [Self] = &[
        Self::Memcpy,
        Self::RepMovsb,
        Self::Sse2,
        Self::Avx2,
        Self::Sse2Nt,
        Self::Avx2Nt,
        Self::Avx512Nt,
        Self::Avx2NtPages,
        Self::Avx512NtPages,
    ];

    /// The kernels this CPU can run.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|k| k.is_available()).collect()
    }

    /// The kernel `wire` stands for, or `None`.
    #[must_use]
    pub fn from_wire(wire: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.to_wire() == wire)
    }

    /// The word that stands for this kernel.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        self as u64
    }

    /// The name used in files and on the terminal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memcpy => "memcpy",
            Self::RepMovsb => "rep_movsb",
            Self::Sse2 => "sse2",
            Self::Avx2 => "avx2",
            Self::Sse2Nt => "sse2_nt",
            Self::Avx2Nt => "avx2_nt",
            Self::Avx512Nt => "avx512_nt",
            Self::Avx2NtPages => "avx2_nt_pages",
            Self::Avx512NtPages => "avx512_nt_pages",
        }
    }

    /// Whether this CPU (and its operating system) can run the kernel.
    #[must_use]
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            // SSE2 and `rep movsb` are part of x86-64.
            Self::Memcpy | Self::RepMovsb | Self::Sse2 | Self::Sse2Nt => true,
            Self::Avx2 | Self::Avx2Nt | Self::Avx2NtPages => is_x86_feature_detected!("avx2"),
            Self::Avx512Nt | Self::Avx512NtPages => is_x86_feature_detected!("avx512f"),
        };
        #[cfg(not(target_arch = "x86_64"))]
        return matches!(self, Self::Memcpy);
    }

    /// The CPU feature it needs beyond the architecture's own, as [`crate::cpu::feature_names`] calls it.
    #[must_use]
    pub const fn feature(self) -> Option<&'static str> {
        match self {
            Self::Memcpy | Self::RepMovsb | Self::Sse2 | Self::Sse2Nt => None,
            Self::Avx2 | Self::Avx2Nt | Self::Avx2NtPages => Some("avx2"),
            Self::Avx512Nt | Self::Avx512NtPages => Some("avx512f"),
        }
    }

    /// Whether its stores bypass the caches.
    #[must_use]
    pub const fn is_non_temporal(self) -> bool {
        matches!(self, Self::Sse2Nt | Self::Avx2Nt | Self::Avx512Nt | Self::Avx2NtPages | Self::Avx512NtPages)
    }

    /// Copies `source` over the start of `destination`, both private memory.
    ///
    /// # Panics
    /// When `destination` is shorter, or the kernel is not available on this CPU.
    pub fn copy_slice(self, destination: &mut [u8], source: &[u8]) {
        assert!(source.len() <= destination.len(), "source longer than its destination");
        // SAFETY: both slices are valid for `source.len()` bytes, and an exclusive borrow overlaps no other.
        unsafe { self.copy(destination.as_mut_ptr(), source.as_ptr(), source.len()) }
    }

    /// Copies `length` bytes. Non-temporal stores are followed by `sfence`, so that a later Release store
    /// publishes them.
    ///
    /// # Safety
    /// `source` must be valid for reads and `destination` for writes of `length` bytes, and the two must not
    /// overlap.
    ///
    /// # Panics
    /// When the kernel is not available on this CPU.
    pub unsafe fn copy(self, destination: *mut u8, source: *const u8, length: usize) {
        assert!(self.is_available(), "copy kernel {self} is not available on this CPU");
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller vouches for the pointers; the assertion above for the instruction sets.
        unsafe {
            match self {
                Self::Memcpy => std::ptr::copy_nonoverlapping(source, destination, length),
                Self::RepMovsb => rep_movsb(destination, source, length),
                Self::Sse2 => sse2(destination, source, length),
                Self::Avx2 => avx2(destination, source, length),
                Self::Sse2Nt => sse2_nt(destination, source, length),
                Self::Avx2Nt => avx2_nt(destination, source, length),
                Self::Avx512Nt => avx512_nt(destination, source, length),
                Self::Avx2NtPages => avx2_nt_pages(destination, source, length),
                Self::Avx512NtPages => avx512_nt_pages(destination, source, length),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            std::ptr::copy_nonoverlapping(source, destination, length);
        }
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Reads `length` bytes and keeps none of them: what a consumer pays who only looks. Returns a sum, so that no reading
/// is left out.
///
/// # Safety
/// `source` must be valid for reads of `length` bytes.
#[must_use]
pub unsafe fn scan(source: *const u8, length: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there; the caller vouches for the pointer.
        return unsafe { scan_avx2(source, length) };
    }
    // SAFETY: as above.
    unsafe { scan_bytes(source, length) }
}

/// [`scan`] of private memory.
#[must_use]
pub fn scan_slice(bytes: &[u8]) -> u64 {
    // SAFETY: a slice is valid for its length.
    unsafe { scan(bytes.as_ptr(), bytes.len()) }
}

/// [`evict`] of private memory.
pub fn evict_slice(bytes: &[u8]) {
    // SAFETY: a slice is valid for its length.
    unsafe { evict(bytes.as_ptr(), bytes.len()) }
}

unsafe fn scan_bytes(source: *const u8, length: usize) -> u64 {
    // SAFETY: `at` runs below `length`, for which the caller vouches.
    (0..length).fold(0, |sum, at| sum + u64::from(unsafe { source.add(at).read_volatile() }))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn scan_avx2(mut source: *const u8, mut length: usize) -> u64 {
    const BLOCK: usize = 4 * size_of::<__m256i>();
    let mut sums = [_mm256_setzero_si256(); 4];
    // SAFETY: each turn reads one block while at least that much is left; loads are unaligned loads.
    unsafe {
        while length >= BLOCK {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_add_epi64(*sum, _mm256_loadu_si256(source.cast::<__m256i>().add(i)));
            }
            (source, length) = (source.add(BLOCK), length - BLOCK);
        }
    }
    let [a, b, c, d] = sums;
    let mut lanes = [0u64; 4];
    // SAFETY: `lanes` is as long as a vector; the rest is shorter than a block.
    unsafe {
        let sum = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
        _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum);
        lanes.into_iter().fold(scan_bytes(source, length), u64::wrapping_add)
    }
}

/// Bytes of a cache line on every x86-64.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Evicts `length` bytes from all caches of the machine, modified lines into memory. Does nothing on other
/// architectures.
///
/// # Safety
/// `start` must be valid for reads of `length` bytes.
pub unsafe fn evict(start: *const u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: CLFLUSH (part of SSE2) faults as a load would: every address lies in a line of the range.
    unsafe {
        for at in (0..length).step_by(LINE) {
            std::arch::x86_64::_mm_clflush(start.add(at));
        }
        if length > 0 {
            std::arch::x86_64::_mm_clflush(start.add(length - 1));
        }
        std::arch::x86_64::_mm_mfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, length);
}

#[cfg(target_arch = "x86_64")]
unsafe fn rep_movsb(destination: *mut u8, source: *const u8, length: usize) {
    // SAFETY: the caller vouches for both ranges; the ABI keeps the direction flag clear.
    unsafe {
        std::arch::asm!("rep movsb", inout("rcx") length => _, inout("rdi") destination => _, inout("rsi") source => _,
            options(nostack, preserves_flags));
    }
}

/// Defines a kernel that moves blocks of four vectors and leaves head and tail to `memcpy`. The head brings the
/// destination to `align` bytes, which non-temporal stores require.
macro_rules! vector_kernel {
    ($name:ident, $feature:literal, $vector:ty, $load:ident, $store:ident, $fence:expr) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $feature)]
        unsafe fn $name(mut destination: *mut u8, mut source: *const u8, mut length: usize) {
            const VECTOR: usize = size_of::<$vector>();
            let head = destination.align_offset(VECTOR).min(length);
            // SAFETY: `head` is at most `length`, so the first copy and the new pointers stay in range. Each
            // turn of the loop moves 4 × VECTOR bytes while at least that many are left. Loads are unaligned
            // loads; stores are aligned because of `head`. The last copy moves what is left.
            unsafe {
                std::ptr::copy_nonoverlapping(source, destination, head);
                (destination, source, length) = (destination.add(head), source.add(head), length - head);
                while length >= 4 * VECTOR {
                    let from = source.cast::<$vector>();
                    let to = destination.cast::<$vector>();
                    let (a, b) = ($load(from), $load(from.add(1)));
                    let (c, d) = ($load(from.add(2)), $load(from.add(3)));
                    $store(to, a);
                    $store(to.add(1), b);
                    $store(to.add(2), c);
                    $store(to.add(3), d);
                    (destination, source) = (destination.add(4 * VECTOR), source.add(4 * VECTOR));
                    length -= 4 * VECTOR;
                }
                std::ptr::copy_nonoverlapping(source, destination, length);
            }
            if $fence {
                // Non-temporal stores are weakly ordered: without this a later publish could overtake them.
                _mm_sfence();
            }
        }
    };
}

vector_kernel!(sse2, "sse2", __m128i, _mm_loadu_si128, _mm_storeu_si128, false);
vector_kernel!(avx2, "avx2", __m256i, _mm256_loadu_si256, _mm256_storeu_si256, false);
vector_kernel!(sse2_nt, "sse2", __m128i, _mm_loadu_si128, _mm_stream_si128, true);
vector_kernel!(avx2_nt, "avx2", __m256i, _mm256_loadu_si256, _mm256_stream_si256, true);
vector_kernel!(avx512_nt, "avx512f", __m512i, _mm512_loadu_si512, _mm512_stream_si512, true);

/// Bytes between two streams of an interleaved kernel: a page, because hardware prefetchers stop at its end.
#[cfg(target_arch = "x86_64")]
const STREAM: usize = 4096;
/// Streams an interleaved kernel copies at a time.
#[cfg(target_arch = "x86_64")]
const STREAMS: usize = 4;
/// Bytes it copies of one stream before it turns to the next: a pair of cache lines.
#[cfg(target_arch = "x86_64")]
const STEP: usize = 128;

/// Defines a kernel that copies four pages in turn, a pair of cache lines of each, and prefetches the same lines of
/// the four pages after them. A source that comes from memory then keeps several pages of it open at a time, which
/// one stream cannot, whatever its vectors' width.
macro_rules! interleaved_kernel {
    ($name:ident, $feature:literal, $vector:ty, $load:ident, $store:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $feature)]
        unsafe fn $name(mut destination: *mut u8, mut source: *const u8, mut length: usize) {
            const VECTOR: usize = size_of::<$vector>();
            const BLOCK: usize = STREAM * STREAMS;
            const { assert!(STREAM % STEP == 0 && STEP % VECTOR == 0 && STEP == 128) };
            let head = destination.align_offset(VECTOR).min(length);
            // SAFETY: `head` is at most `length`, so the first copy and the new pointers stay in range. Each turn
            // of the outer loop moves one block while at least that much is left: `at + vector` runs over all
            // multiples of VECTOR below BLOCK exactly once. Prefetching may point beyond the source, which the
            // instruction permits and `wrapping_add` does, too. Loads are unaligned loads; stores are aligned
            // because of `head`. The last copy moves what is left.
            unsafe {
                std::ptr::copy_nonoverlapping(source, destination, head);
                (destination, source, length) = (destination.add(head), source.add(head), length - head);
                while length >= BLOCK {
                    for offset in (0..STREAM).step_by(STEP) {
                        for stream in 0..STREAMS {
                            let at = stream * STREAM + offset;
                            _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(BLOCK + at).cast());
                            _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(BLOCK + at + STEP / 2).cast());
                            for vector in (0..STEP).step_by(VECTOR) {
                                let loaded = $load(source.add(at + vector).cast());
                                $store(destination.add(at + vector).cast(), loaded);
                            }
                        }
                    }
                    (destination, source) = (destination.add(BLOCK), source.add(BLOCK));
                    length -= BLOCK;
                }
                std::ptr::copy_nonoverlapping(source, destination, length);
            }
            // As in the other non-temporal kernels.
            _mm_sfence();
        }
    };
}

interleaved_kernel!(avx2_nt_pages, "avx2", __m256i, _mm256_loadu_si256, _mm256_stream_si256);
interleaved_kernel!(avx512_nt_pages, "avx512f", __m512i, _mm512_loadu_si512, _mm512_stream_si512);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_kernel_copies_exactly_the_bytes_it_should(
            length in prop_oneof![0usize..2000, 16_000usize..50_000], seed: u32, skew_to in 0usize..70, skew_from in 0usize..70,
        ) {
            // Neighbours, lines and pages all differ, so that no displaced block goes unnoticed.
            let source: Vec<u8> = (0..length as u32).map(|i| ((i ^ seed).wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
            for kernel in Kernel::available() {
                let from = source.get(skew_from..).unwrap_or(&[]);
                let mut to = vec![0xA5u8; skew_to + from.len() + 64];
                kernel.copy_slice(&mut to[skew_to..], from);
                prop_assert_eq!(&to[skew_to..skew_to + from.len()], from, "{}", kernel);
                prop_assert!(to[..skew_to].iter().chain(&to[skew_to + from.len()..]).all(|&b| b == 0xA5), "{}", kernel);
            }
        }
    }

    #[test]
    fn a_scan_reads_every_byte_and_eviction_changes_none() {
        for length in [0, 1, 63, 64, 127, 128, 1000, 4096 + 7] {
            let mut bytes = vec![0u8; length];
            assert_eq!(scan_slice(&bytes), 0);
            for at in 0..length {
                bytes[at] = 7;
                assert_ne!(scan_slice(&bytes), 0, "byte {at} of {length}");
                evict_slice(&bytes);
                assert_eq!(bytes[at], 7);
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn kernels_survive_the_wire() {
        for &kernel in Kernel::ALL {
            assert_eq!(Kernel::from_wire(kernel.to_wire()), Some(kernel));
        }
        assert_eq!(Kernel::from_wire(0), None);
        assert_eq!(Kernel::from_wire(10), None);
    }
}
