//! Layout v3 of the region, pinned: what lies where, and who may write it.
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
pub const LAYOUT_VERSION: u64 = 3;
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
/// Messages that may be in flight: entries of the descriptor ring and of the result ring. A power of two.
pub const RING_ENTRIES: u64 = 16;
/// Bytes of a ring's entry: a pair of cache lines, so that neighbours are not shared falsely.
pub const RING_ENTRY_BYTES: usize = 128;
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
    /// Hot. A message without a frame is described in the same cache line, so that seeing the word is having it all.
    pub publish: u64,
    pub operation: u64,
    pub length: u64,
    pub token: u64,
    _pad3: [u64; 28],
    /// Hot in chunked publication: payload bytes that are valid so far.
    pub watermark: u64,
    _pad4: [u64; 15],
    pub ring: u64,
    pub wait_wish: u64,
    _pad5: [u64; 14],
    /// Hot where the host sleeps.
    pub armed: u64,
    _pad6: [u64; 15],
    pub descriptors: [DescriptorEntry; RING_ENTRIES as usize],
    _reserved: [u64; 128],
}

/// What a message of the ring asks for: entry `sequence % RING_ENTRIES`.
#[repr(C)]
#[allow(missing_docs, reason = "documented in docs/protocol.md, word by word")]
pub struct DescriptorEntry {
    pub word: u64,
    pub operation: u64,
    pub length: u64,
    pub token: u64,
    pub signature_magic: u64,
    pub digest: [u64; 4],
    _pad: [u64; 7],
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
    pub stamp_source: u64,
    pub ring: u64,
    pub wait: u64,
    pub thread: u64,
    _pad0: [u64; 7],
    pub state: u64,
    _pad1: [u64; 15],
    pub heartbeat: u64,
    _pad2: [u64; 23],
    pub interrupts: u64,
    pub rings_sent: u64,
    pub rescued: u64,
    _pad7: [u64; 5],
    /// Hot.
    pub received: u64,
    _pad3: [u64; 15],
    /// Hot.
    pub processed: u64,
    pub status: u64,
    pub token_echo: u64,
    pub seen_ticks: u64,
    pub answered: u64,
    _pad4: [u64; 11],
    /// Hot where the guest sleeps.
    pub armed: u64,
    _pad5: [u64; 15],
    /// Hot when the guest publishes in chunks: payload bytes that are valid so far.
    pub watermark: u64,
    _pad6: [u64; 15],
    pub map_kind: u64,
    pub memory_type: u64,
    pub clock_source: u64,
    pub clock_frequency_hz: u64,
    pub clock_resolution_ps: u64,
    pub clock_overhead_ps: u64,
    pub cpu_features: u64,
    pub spin: u64,
    pub spin_sleep_ns: u64,
    /// CPU number plus one; zero when not pinned.
    pub cpu_pinned_plus_1: u64,
    pub measured_bytes: u64,
    pub copy_kernel: u64,
    pub scan_region_bytes_per_s: u64,
    pub scan_anon_bytes_per_s: u64,
    pub candidate_count: u64,
    pub stamp_frequency_hz: u64,
    pub candidates: [Candidate; CANDIDATES_MAX],
    pub kernel_release: [u64; 16],
    pub cpu_model: [u64; 16],
    pub device: [u64; 8],
    pub tool_version: [u64; 8],
    pub results: [ResultEntry; RING_ENTRIES as usize],
}

/// One row of the guest's copy measurements, in bytes per second.
#[repr(C)]
#[allow(missing_docs, reason = "documented in docs/protocol.md, word by word")]
pub struct Candidate {
    pub kernel: u64,
    pub region_typical: u64,
    pub region_best: u64,
    pub anon_typical: u64,
    pub anon_best: u64,
    pub write_typical: u64,
    pub write_best: u64,
    _pad: u64,
}

/// How a message of the ring went: entry `sequence % RING_ENTRIES`.
#[repr(C)]
#[allow(missing_docs, reason = "documented in docs/protocol.md, word by word")]
pub struct ResultEntry {
    pub word: u64,
    pub status: u64,
    pub copy_ns: u64,
    pub stall_ns: u64,
    pub verdict_word: u64,
    pub verdict_status: u64,
    pub verify_ns: u64,
    pub mismatch_offset: u64,
    pub digest: [u64; 4],
    _pad: [u64; 4],
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
    assert!(offset_of!(HostPage, watermark) == 0x280);
    assert!(offset_of!(HostPage, ring) == 0x300);
    assert!(offset_of!(HostPage, wait_wish) == 0x308);
    assert!(offset_of!(HostPage, armed) == 0x380);
    assert!(offset_of!(HostPage, descriptors) == 0x400);
    assert!(size_of::<DescriptorEntry>() == RING_ENTRY_BYTES && RING_ENTRIES.is_power_of_two());
    assert!(offset_of!(DescriptorEntry, digest) == 0x28);

    assert!(size_of::<GuestPage>() == PAGE_BYTES && align_of::<GuestPage>() == 8);
    assert!(offset_of!(GuestPage, magic) == 0x000);
    assert!(offset_of!(GuestPage, layout_version) == 0x008);
    assert!(offset_of!(GuestPage, region_bytes) == 0x010);
    assert!(offset_of!(GuestPage, session_echo) == 0x018);
    assert!(offset_of!(GuestPage, incarnation) == 0x020);
    assert!(offset_of!(GuestPage, stamp_source) == 0x028);
    assert!(offset_of!(GuestPage, ring) == 0x030);
    assert!(offset_of!(GuestPage, wait) == 0x038);
    assert!(offset_of!(GuestPage, thread) == 0x040);
    assert!(offset_of!(GuestPage, state) == 0x080);
    assert!(offset_of!(GuestPage, heartbeat) == 0x100);
    assert!(offset_of!(GuestPage, interrupts) == 0x1C0);
    assert!(offset_of!(GuestPage, rings_sent) == 0x1C8);
    assert!(offset_of!(GuestPage, rescued) == 0x1D0);
    assert!(offset_of!(GuestPage, received) == 0x200);
    assert!(offset_of!(GuestPage, processed) == 0x280);
    assert!(offset_of!(GuestPage, status) == 0x288);
    assert!(offset_of!(GuestPage, token_echo) == 0x290);
    assert!(offset_of!(GuestPage, seen_ticks) == 0x298);
    assert!(offset_of!(GuestPage, answered) == 0x2A0);
    assert!(offset_of!(GuestPage, armed) == 0x300);
    assert!(offset_of!(GuestPage, watermark) == 0x380);
    assert!(offset_of!(GuestPage, map_kind) == 0x400);
    assert!(offset_of!(GuestPage, candidate_count) == 0x470);
    assert!(offset_of!(GuestPage, candidates) == 0x480);
    assert!(offset_of!(GuestPage, kernel_release) == 0x680);
    assert!(offset_of!(GuestPage, cpu_model) == 0x700);
    assert!(offset_of!(GuestPage, device) == 0x780);
    assert!(offset_of!(GuestPage, tool_version) == 0x7C0);
    assert!(offset_of!(GuestPage, results) == 0x800);
    assert!(size_of::<Candidate>() == 64);
    assert!(size_of::<ResultEntry>() == RING_ENTRY_BYTES);
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
        publish, operation, length, token, watermark, ring, wait_wish, armed);
}

/// Words of the guest page.
pub mod guest_words {
    words!(GuestPage at super::PAGE_BYTES => magic, layout_version, region_bytes, session_echo, incarnation, stamp_source,
        ring, wait, thread, state, heartbeat, interrupts, rings_sent, rescued, received, processed, status, token_echo, seen_ticks,
        answered, armed, watermark, map_kind,
        memory_type, clock_source, clock_frequency_hz, clock_resolution_ps, clock_overhead_ps, cpu_features, spin,
        spin_sleep_ns, cpu_pinned_plus_1, measured_bytes, copy_kernel, scan_region_bytes_per_s, scan_anon_bytes_per_s,
        candidate_count, stamp_frequency_hz, candidates, kernel_release, cpu_model, device, tool_version);
}

macro_rules! ring_words {
    ($entry:ident in $page:ident.$ring:ident at $base:expr => $($name:ident),+ $(,)?) => {
        $(
            #[doc = concat!("Where the word `", stringify!($name), "` of message `sequence` lies.")]
            #[must_use]
            pub const fn $name(sequence: u64) -> super::WordOffset {
                let entry = (sequence % super::RING_ENTRIES) as usize * super::RING_ENTRY_BYTES;
                super::WordOffset::new(
                    $base + std::mem::offset_of!(super::$page, $ring) + entry + std::mem::offset_of!(super::$entry, $name),
                )
            }
        )+
    };
}

/// Words of the host page's ring of descriptors.
pub mod descriptor_words {
    ring_words!(DescriptorEntry in HostPage.descriptors at 0 => word, operation, length, token, signature_magic, digest);
}

/// Words of the guest page's ring of results.
pub mod result_words {
    ring_words!(ResultEntry in GuestPage.results at super::PAGE_BYTES => word, status, copy_ns, stall_ns, verdict_word,
        verdict_status, verify_ns, mismatch_offset, digest);
}
