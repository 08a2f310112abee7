//! Layout v1 of the region, pinned: what lies where, and who may write it.
//!
//! ```text
//! page 0   0x0000  host page    written by the host only
//! page 1   0x1000  guest page   written by the guest only
//! slots    0x2000  payload      written by the host; handed over and back by sequence number
//! ```
//!
//! Every control word is a little-endian `u64` accessed with one plain, aligned load or store. The structs below
//! exist to be measured by `offset_of!`; nobody ever holds a reference to one in shared memory. Hot words sit
//! 128 bytes apart, because Intel's spatial prefetcher fetches lines in pairs and would share two of them falsely; and
//! those of a ping have different offsets in the two pages, because a load that follows a store to the same offset of
//! another page waits for it (4K aliasing; Intel optimization manual).

use std::mem::{align_of, offset_of, size_of};

/// Version of this layout. A peer of any other version is refused by name.
pub const LAYOUT_VERSION: u64 = 1;
/// First word of the host page: `"IVSHMHST"` read as a little-endian integer.
pub const HOST_MAGIC: u64 = u64::from_le_bytes(*b"IVSHMHST");
/// First word of the guest page: `"IVSHMGST"` read as a little-endian integer.
pub const GUEST_MAGIC: u64 = u64::from_le_bytes(*b"IVSHMGST");
/// Precedes the digest in every descriptor.
pub const SIGNATURE_MAGIC: u64 = 0xDEAD_BEEF;

/// Size of a page, and the alignment of slots, in bytes.
pub const PAGE_BYTES: usize = 4096;
/// Offset of the first slot in bytes.
pub const SLOTS_OFFSET: usize = 2 * PAGE_BYTES;
/// The smallest region: two control pages and room for slots.
pub const REGION_BYTES_MIN: u64 = 64 << 10;
/// The largest region this layout describes.
pub const REGION_BYTES_MAX: u64 = 1 << 40;
/// The default region.
pub const REGION_BYTES_DEFAULT: u64 = 64 << 20;
/// The most slots a session may announce.
pub const SLOT_COUNT_MAX: u64 = 1024;
/// Rows in the guest's table of copy-kernel measurements.
pub const CANDIDATES_MAX: usize = 8;

/// Page 0. See docs/protocol.md for the meaning of each word.
#[repr(C)]
#[allow(missing_docs, reason = "documented in docs/protocol.md, word by word")]
pub struct HostPage {
    pub magic: u64,
    pub layout_version: u64,
    pub region_bytes: u64,
    pub session: u64,
    pub slot_count: u64,
    pub slot_bytes: u64,
    _pad0: [u64; 10],
    pub state: u64,
    _pad1: [u64; 15],
    pub heartbeat: u64,
    _pad2: [u64; 15],
    /// Hot. The descriptor travels in the same cache line, so that seeing the word is having the descriptor.
    pub publish: u64,
    pub operation: u64,
    pub length: u64,
    pub token: u64,
    _pad3: [u64; 12],
    pub signature_magic: u64,
    pub digest: [u64; 4],
    _pad4: [u64; 11],
    /// Hot in chunked publication: payload bytes that are valid so far.
    pub watermark: u64,
    _pad5: [u64; 15],
    _reserved: [u64; 416],
}

/// Page 1. See docs/protocol.md for the meaning of each word.
#[repr(C)]
#[allow(missing_docs, reason = "documented in docs/protocol.md, word by word")]
pub struct GuestPage {
    pub magic: u64,
    pub layout_version: u64,
    pub region_bytes: u64,
    pub session_echo: u64,
    pub incarnation: u64,
    _pad0: [u64; 11],
    pub state: u64,
    _pad1: [u64; 15],
    pub heartbeat: u64,
    _pad2: [u64; 31],
    /// Hot.
    pub received: u64,
    _pad3: [u64; 15],
    /// Hot.
    pub processed: u64,
    pub status: u64,
    pub token_echo: u64,
    pub read_ns: u64,
    _pad4: [u64; 12],
    /// Hot.
    pub verdict: u64,
    pub verdict_status: u64,
    pub verify_ns: u64,
    _pad5: [u64; 13],
    pub map_kind: u64,
    pub memory_type: u64,
    pub clock_source: u64,
    pub clock_frequency_hz: u64,
    pub clock_resolution_ps: u64,
    pub clock_overhead_ps: u64,
    pub cpu_features: u64,
    pub spin: u64,
    /// CPU number plus one; zero when not pinned.
    pub cpu_pinned_plus_1: u64,
    pub copy_kernel: u64,
    pub candidate_count: u64,
    _pad6: [u64; 5],
    pub candidates: [Candidate; CANDIDATES_MAX],
    pub kernel_release: [u64; 16],
    pub cpu_model: [u64; 16],
    pub device: [u64; 8],
    pub tool_version: [u64; 8],
    _reserved: [u64; 312],
}

/// One row of the guest's copy measurements.
#[repr(C)]
#[allow(missing_docs, reason = "documented in docs/protocol.md, word by word")]
pub struct Candidate {
    pub kernel: u64,
    pub region_bytes_per_s: u64,
    pub anon_bytes_per_s: u64,
}

const _: () = {
    assert!(size_of::<HostPage>() == PAGE_BYTES && align_of::<HostPage>() == 8);
    assert!(offset_of!(HostPage, magic) == 0x000);
    assert!(offset_of!(HostPage, layout_version) == 0x008);
    assert!(offset_of!(HostPage, region_bytes) == 0x010);
    assert!(offset_of!(HostPage, session) == 0x018);
    assert!(offset_of!(HostPage, slot_count) == 0x020);
    assert!(offset_of!(HostPage, slot_bytes) == 0x028);
    assert!(offset_of!(HostPage, state) == 0x080);
    assert!(offset_of!(HostPage, heartbeat) == 0x100);
    assert!(offset_of!(HostPage, publish) == 0x180);
    assert!(offset_of!(HostPage, operation) == 0x188);
    assert!(offset_of!(HostPage, length) == 0x190);
    assert!(offset_of!(HostPage, token) == 0x198);
    assert!(offset_of!(HostPage, signature_magic) == 0x200);
    assert!(offset_of!(HostPage, digest) == 0x208);
    assert!(offset_of!(HostPage, watermark) == 0x280);

    assert!(size_of::<GuestPage>() == PAGE_BYTES && align_of::<GuestPage>() == 8);
    assert!(offset_of!(GuestPage, magic) == 0x000);
    assert!(offset_of!(GuestPage, layout_version) == 0x008);
    assert!(offset_of!(GuestPage, region_bytes) == 0x010);
    assert!(offset_of!(GuestPage, session_echo) == 0x018);
    assert!(offset_of!(GuestPage, incarnation) == 0x020);
    assert!(offset_of!(GuestPage, state) == 0x080);
    assert!(offset_of!(GuestPage, heartbeat) == 0x100);
    assert!(offset_of!(GuestPage, received) == 0x200);
    assert!(offset_of!(GuestPage, processed) == 0x280);
    assert!(offset_of!(GuestPage, status) == 0x288);
    assert!(offset_of!(GuestPage, token_echo) == 0x290);
    assert!(offset_of!(GuestPage, read_ns) == 0x298);
    assert!(offset_of!(GuestPage, verdict) == 0x300);
    assert!(offset_of!(GuestPage, verdict_status) == 0x308);
    assert!(offset_of!(GuestPage, verify_ns) == 0x310);
    assert!(offset_of!(GuestPage, map_kind) == 0x380);
    assert!(offset_of!(GuestPage, candidate_count) == 0x3D0);
    assert!(offset_of!(GuestPage, candidates) == 0x400);
    assert!(offset_of!(GuestPage, kernel_release) == 0x4C0);
    assert!(offset_of!(GuestPage, cpu_model) == 0x540);
    assert!(offset_of!(GuestPage, device) == 0x5C0);
    assert!(offset_of!(GuestPage, tool_version) == 0x600);
};

/// The address of one control word: always aligned, always inside the two control pages.
///
/// Only this module makes one, which is what lets [`crate::memory::ControlWords`] be safe without bounds checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WordOffset(u16);

impl WordOffset {
    const fn new(offset: usize) -> Self {
        assert!(offset.is_multiple_of(8) && offset + 8 <= SLOTS_OFFSET);
        Self(offset as u16)
    }

    /// Offset from the start of the region in bytes: a multiple of 8 below [`SLOTS_OFFSET`].
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// The word `index` places further on.
    ///
    /// # Panics
    /// When that would leave the control pages.
    #[must_use]
    pub const fn plus(self, index: usize) -> Self {
        Self::new(self.0 as usize + index * 8)
    }
}

macro_rules! words {
    ($page:ident at $base:expr => $($name:ident),+ $(,)?) => {
        $(
            #[doc = concat!("Where the word `", stringify!($name), "` lies.")]
            #[allow(non_upper_case_globals, reason = "named as the field it locates")]
            pub const $name: super::WordOffset = super::WordOffset::new($base + std::mem::offset_of!(super::$page, $name));
        )+
    };
}

/// Words of the host page.
pub mod host_words {
    words!(HostPage at 0 => magic, layout_version, region_bytes, session, slot_count, slot_bytes, state, heartbeat,
        publish, operation, length, token, signature_magic, digest, watermark);
}

/// Words of the guest page.
pub mod guest_words {
    words!(GuestPage at super::PAGE_BYTES => magic, layout_version, region_bytes, session_echo, incarnation, state,
        heartbeat, received, processed, status, token_echo, read_ns, verdict, verdict_status, verify_ns, map_kind,
        memory_type, clock_source, clock_frequency_hz, clock_resolution_ps, clock_overhead_ps, cpu_features, spin,
        cpu_pinned_plus_1, copy_kernel, candidate_count, candidates, kernel_release, cpu_model, device, tool_version);
}
