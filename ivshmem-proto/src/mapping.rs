//! Mapping a region file or a PCI BAR into this process.
//!
//! Laws: no reference to shared bytes is ever formed other than to an `AtomicU64` control word; payload moves by
//! raw-pointer copies; every offset is proven in range before it gets here ([`WordOffset`] by construction,
//! [`PayloadRange`] by [`crate::geometry::Geometry`]) and checked once more against the mapped length.
#![allow(unsafe_code, reason = "one of the three modules that touch raw memory")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::copy::{self, Kernel};
use crate::doorbell::Ring;
use crate::geometry::PayloadRange;
use crate::lane::{Lane, LaneError, OtherLane};
use crate::layout::{PAGE_BYTES, REGION_BYTES_MAX, WordOffset};
use crate::memory::{ControlWords, Payload};
use crate::region_file::{RegionFileError, check_size, open_existing};
use crate::wire::MapKind;

/// Why a region could not be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file is absent, forbidden, or of a size that no region has.
    #[error(transparent)]
    File(#[from] RegionFileError),
    /// The file's size is no region size.
    #[error(
        "{path} holds {bytes} bytes, which is not a power of two from 64 KiB up: no ivshmem region; remove it or name \
         another file"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
    },
    /// `mmap` refused.
    #[error("map {path}: {error}")]
    Map {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// It has no such lane.
    #[error("{path}: {error}")]
    Lane {
        /// The file.
        path: PathBuf,
        /// Why.
        error: LaneError,
    },
    /// Another process plays the same side.
    #[error("another process owns the {page:?} page of {path}")]
    Owned {
        /// The file.
        path: PathBuf,
        /// The page.
        page: ControlPage,
    },
    /// The file became smaller than its mapping: the next access could be fatal.
    #[error("{path} shrank from {mapped} to {now} bytes while mapped; something truncated it")]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// Bytes mapped.
        mapped: u64,
        /// Bytes now.
        now: u64,
    },
}

/// A control page and the side that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlPage {
    /// Page 0.
    Host,
    /// Page 1.
    Guest,
}

/// A shared, writable mapping of a region, or of a lane of one.
#[derive(Debug)]
pub struct Mapping {
    map: MmapRaw,
    /// The first byte: of the mapping, or of the lane in it.
    base: NonNull<u8>,
    /// How far that is into the mapping, and how many bytes are ours.
    start: usize,
    length: usize,
    file: File,
    path: PathBuf,
    /// Mapped write-combining: neither stores nor loads keep their order by themselves, control words included.
    is_write_combined: bool,
}

// SAFETY: `base` points into `map`, which may go to and be used by any thread; all access through it is by atomics and
// raw-pointer copies, as for memory that other processes write.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(map: MmapRaw, file: File, path: PathBuf, is_write_combined: bool) -> Result<Self, MapError> {
        let Some(base) = NonNull::new(map.as_mut_ptr()) else {
            return Err(MapError::Map { path, error: io::Error::other("mapped at address zero") });
        };
        let length = map.len();
        Ok(Self { map, base, start: 0, length, file, path, is_write_combined })
    }

    /// Only a lane of it: nothing outside can be touched any more.
    ///
    /// # Errors
    /// [`MapError::Lane`] when it is too small for so many.
    pub fn lane(mut self, lane: Lane) -> Result<Self, MapError> {
        let (start, bytes) =
            lane.part_of(self.bytes()).map_err(|error| MapError::Lane { path: self.path.clone(), error })?;
        // Below the mapped length, which is a usize.
        let (start, length) = (start as usize, bytes as usize);
        // SAFETY: `part_of` returns a part of the `self.length` bytes that begin at `base` and are mapped.
        self.base = unsafe { self.base.add(start) };
        (self.start, self.length) = (self.start + start, length);
        Ok(self)
    }

    /// What `bytes` bytes are of the region that begin where this lane does: the lane of a peer that has the same control
    /// pages and says so. `None` where no lane is so.
    #[must_use]
    pub fn lane_of(&self, bytes: u64) -> Option<Lane> {
        check_size(bytes).ok()?;
        let (start, region_bytes) = (self.start as u64, self.map.len() as u64);
        start.is_multiple_of(bytes).then(|| Lane::new(start / bytes, region_bytes / bytes)).flatten()
    }

    /// Both lanes of a host that maps `host` bytes and a guest that maps `guest` from here, when that is why they differ.
    #[must_use]
    pub fn other_lanes(&self, host: u64, guest: u64) -> Option<OtherLane> {
        Some(OtherLane { host: self.lane_of(host)?, guest: self.lane_of(guest)? })
    }

    /// Maps all of `path`: a region file, or a BAR's `resource2` or `resource2_wc` in sysfs.
    ///
    /// # Errors
    /// The file cannot be opened or mapped, or its size is not a power of two in range.
    pub fn open(path: &Path) -> Result<Self, MapError> {
        let file = open_existing(path)?;
        let io = |error| MapError::Map { path: path.to_owned(), error };
        let bytes = file.metadata().map_err(io)?.len();
        check_size(bytes).map_err(|_| MapError::Size { path: path.to_owned(), bytes })?;
        let length = usize::try_from(bytes).map_err(|e| io(io::Error::other(e)))?;
        let map = MmapOptions::new().len(length).map_raw(&file).map_err(io)?;
        let is_write_combined = path.file_name().is_some_and(|name| name == MapKind::Resource2Wc.name());
        Self::new(map, file, path.to_owned(), is_write_combined)
    }

    /// Maps the region behind a descriptor that a server gave: a file or a memfd. Opened anew, because every peer of the
    /// server shares the descriptor's open file description, and with it what [`Self::own`] locks. A memfd has no path, and
    /// is shown as `nameless`.
    ///
    /// # Errors
    /// As [`Self::open`]; the path in them is the file's own, where it has one.
    pub fn from_fd(fd: BorrowedFd<'_>, nameless: &str) -> Result<Self, MapError> {
        let link = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let named =
            std::fs::read_link(&link).ok().filter(|path| !path.to_string_lossy().starts_with("/memfd:"));
        let path = named.unwrap_or_else(|| PathBuf::from(nameless));
        let io = |error| MapError::Map { path: path.clone(), error };
        let file = OpenOptions::new().read(true).write(true).open(&link).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        Self::of_device(file, 0, bytes, path)
    }

    /// Maps `bytes` bytes of a device from `offset`: the shared memory of a UIO or VFIO device. `path` is for errors.
    ///
    /// # Errors
    /// It cannot be mapped, or is not a power of two in range.
    pub fn of_device(file: File, offset: u64, bytes: u64, path: PathBuf) -> Result<Self, MapError> {
        check_size(bytes).map_err(|_| MapError::Size { path: path.clone(), bytes })?;
        let io = |error| MapError::Map { path: path.clone(), error };
        let length = usize::try_from(bytes).map_err(|e| io(io::Error::other(e)))?;
        let map = MmapOptions::new().offset(offset).len(length).map_raw(&file).map_err(io)?;
        Self::new(map, file, path, false)
    }

    /// Claims a side for this process, so that no second writer of it can start here or in a lane that overlaps. The claim
    /// is a lock on bytes beyond any region's end, a range for each side, and ends with the mapping.
    ///
    /// # Errors
    /// [`MapError::Owned`] when another process holds it.
    pub fn own(&self, page: ControlPage) -> Result<(), MapError> {
        let side = match page {
            ControlPage::Host => REGION_BYTES_MAX,
            ControlPage::Guest => 2 * REGION_BYTES_MAX,
        };
        let lock = libc::flock {
            l_type: libc::F_WRLCK as i16,
            l_whence: libc::SEEK_SET as i16,
            // Below 2^42: `start` and `length` lie in a region.
            l_start: (side + self.start as u64) as i64,
            l_len: self.length as i64,
            l_pid: 0,
        };
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(MapError::Owned { path: self.path.clone(), page }),
            Err(errno) => Err(MapError::Map { path: self.path.clone(), error: errno.into() }),
        }
    }

    /// Bytes of the region, or of the lane.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.length as u64
    }

    /// The file that is mapped.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the file that is mapped, which tell it from any other.
    ///
    /// # Errors
    /// fstat(2) fails.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().map(|found| (found.dev(), found.ino()))
    }

    /// Makes every page present, so that no first touch lands inside a timer. Asks the kernel to populate the
    /// mapping for writing; where it cannot (a BAR, an old kernel) reads one word of every page.
    pub fn prefault(&self) {
        if self.map.advise_range(Advice::PopulateWrite, self.start, self.length).is_ok() {
            return;
        }
        for offset in (0..self.length).step_by(PAGE_BYTES) {
            // SAFETY: `offset` is page aligned and below our length, so the pointer is valid for a
            // u64 and aligned; the mapping outlives the borrow; an atomic load tolerates concurrent writers.
            let word = unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) };
            std::hint::black_box(word.load(Ordering::Relaxed));
        }
    }

    /// Checks that the file still is as long as its mapping. Call it outside timers, before touching payload.
    ///
    /// # Errors
    /// [`MapError::Shrunk`] when something truncated the file.
    pub fn check_not_shrunk(&self) -> Result<(), MapError> {
        let path = || self.path.clone();
        let now = self.file.metadata().map_err(|error| MapError::Map { path: path(), error })?.len();
        let mapped = (self.start + self.length) as u64;
        if now < mapped {
            return Err(MapError::Shrunk { path: path(), mapped, now });
        }
        Ok(())
    }

    #[inline(always)]
    fn word(&self, at: WordOffset) -> &AtomicU64 {
        // SAFETY: a `WordOffset` is a multiple of 8 below 8 KiB by construction and every mapping and lane is at least
        // 64 KiB (checked by `open`, `of_device` and `lane`) and page aligned, so the pointer is in bounds and aligned; the
        // mapping lives as long as `self`. All access to control words in this process goes through atomics. Other processes
        // and the guest may write at any time, which an atomic load tolerates.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at.bytes()).cast()) }
    }

    /// Pointer to the start of `range`, checked against our length.
    fn payload(&self, range: PayloadRange) -> *mut u8 {
        let end = range.offset().checked_add(range.len());
        assert!(end.is_some_and(|end| end <= self.length), "payload range outside the mapping");
        // SAFETY: the assertion above keeps the offset inside the mapping.
        unsafe { self.base.as_ptr().add(range.offset()) }
    }
}

/// The registers of an ivshmem device: BAR0 (QEMU's docs/specs/ivshmem-spec.txt).
#[derive(Debug)]
pub struct Registers {
    map: MmapRaw,
    /// Where in its page the BAR begins: it is smaller than one.
    within: usize,
}

/// Bytes of BAR0.
const REGISTERS_BYTES: usize = 256;
/// Offset of the register that holds this peer's number.
const IV_POSITION: usize = 8;
/// Offset of the register that rings a peer.
const DOORBELL: usize = 12;

impl Registers {
    /// Maps them: sysfs `resource0`, or a UIO or VFIO device's first region. The page that holds them begins at `offset` in
    /// the file, and they begin `within` bytes later.
    ///
    /// # Errors
    /// `mmap` refuses, or they would not lie in one page.
    pub fn map(file: &File, offset: u64, within: usize) -> io::Result<Self> {
        if within + REGISTERS_BYTES > PAGE_BYTES || !within.is_multiple_of(REGISTERS_BYTES) {
            return Err(io::Error::other(format!("registers cannot begin {within:#x} bytes into a page")));
        }
        let map = MmapOptions::new().offset(offset).len(PAGE_BYTES).map_raw(file)?;
        Ok(Self { map, within })
    }

    fn register(&self, offset: usize) -> *mut u32 {
        // SAFETY: `offset` is one of the registers' below, `within` leaves them inside the mapped page (checked by `map`), and
        // both are multiples of four.
        unsafe { self.map.as_mut_ptr().add(self.within + offset).cast() }
    }

    /// This peer's number at the server; `None` when the device has none.
    #[must_use]
    pub fn iv_position(&self) -> Option<u16> {
        // SAFETY: the pointer is valid and aligned, and the mapping lives as long as `self`. A device's register changes by
        // itself, hence volatile.
        let position = unsafe { self.register(IV_POSITION).read_volatile() };
        // Minus one while the device waits for its server.
        u16::try_from(position).ok()
    }

    /// Rings a peer. One that is not there is nobody's harm: the device ignores it.
    #[inline(always)]
    pub fn ring(&self, ring: Ring) {
        // SAFETY: as above; four bytes are the only width the device takes, and what is written there it alone reads.
        unsafe { self.register(DOORBELL).write_volatile(ring.register()) }
    }

    /// Makes every earlier store visible to the host where the CPU's own fences are left out ([`crate::cpu::is_tcg`]): QEMU
    /// takes a lock to read a register for the guest.
    #[inline]
    pub fn drain_stores(&self) {
        let _ = self.iv_position();
    }
}

/// Makes the kernel forget this process's address translations: maps, touches and unmaps more pages than it would
/// invalidate one by one (33 on x86). A no-op where memory is short.
pub fn forget_translations() {
    const BYTES: usize = 64 * PAGE_BYTES;
    if let Ok(mut scratch) = memmap2::MmapMut::map_anon(BYTES) {
        for page in scratch.chunks_mut(PAGE_BYTES) {
            page[0] = 1;
        }
        std::hint::black_box(&scratch);
    }
}

impl ControlWords for Mapping {
    #[inline(always)]
    fn load(&self, at: WordOffset, order: Ordering) -> u64 {
        let value = self.word(at).load(order);
        if order != Ordering::Relaxed && self.is_write_combined {
            load_fence();
        }
        value
    }

    #[inline(always)]
    fn store(&self, at: WordOffset, value: u64, order: Ordering) {
        if order == Ordering::Relaxed || !self.is_write_combined {
            return self.word(at).store(value, order);
        }
        // Before: what is published has left the write-combining buffers. After: so has the word that publishes it.
        store_fence();
        self.word(at).store(value, order);
        store_fence();
    }

    #[inline(always)]
    fn fence(&self, order: Ordering) {
        fence(order);
        match order {
            Ordering::Acquire if self.is_write_combined => load_fence(),
            Ordering::Release if self.is_write_combined => store_fence(),
            // The strongest is an `mfence` on x86, for memory of every type.
            _ => {}
        }
    }
}

/// Orders loads of every memory type, which `Acquire` does for write-back memory only.
fn load_fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: LFENCE is part of SSE2, which every x86-64 has.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    fence(Ordering::SeqCst);
}

/// Orders stores to every memory type, which `Release` does for write-back memory only.
fn store_fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SFENCE is part of SSE, which every x86-64 has.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    fence(Ordering::SeqCst);
}

impl Payload for Mapping {
    fn write(&self, range: PayloadRange, source: &[u8], kernel: Kernel) {
        assert!(source.len() <= range.len(), "payload longer than its range");
        let destination = self.payload(range);
        // SAFETY: `destination` is valid for `range.len()` bytes (checked by `payload`) and `source` is no
        // longer; `source` is a private slice and cannot overlap the mapping. The peer may read these bytes
        // meanwhile; what it then sees is its loss until the sequence is published.
        unsafe { kernel.copy(destination, source.as_ptr(), source.len()) }
    }

    fn read(&self, range: PayloadRange, destination: &mut [u8], kernel: Kernel) {
        assert!(destination.len() <= range.len(), "destination longer than the range");
        let source = self.payload(range);
        // SAFETY: `source` is valid for `range.len()` bytes (checked by `payload`) and `destination` is no
        // longer; `destination` is exclusively ours and cannot overlap the mapping. A misbehaving peer may
        // write meanwhile: the bytes may then be torn, they are treated as arbitrary data and verified later.
        unsafe { kernel.copy(destination.as_mut_ptr(), source, destination.len()) }
    }
}

impl Mapping {
    /// Reads all of `range` and keeps none of it; returns a sum.
    ///
    /// # Panics
    /// When `range` belongs to a larger region.
    #[must_use]
    pub fn scan(&self, range: PayloadRange) -> u64 {
        // SAFETY: the pointer is valid for `range.len()` bytes (checked by `payload`). A peer may write meanwhile: the
        // sum is then of arbitrary bytes.
        unsafe { copy::scan(self.payload(range), range.len()) }
    }

    /// Evicts `range` from all caches.
    ///
    /// # Panics
    /// When `range` belongs to a larger region.
    pub fn evict(&self, range: PayloadRange) {
        // SAFETY: as above; eviction changes no byte.
        unsafe { copy::evict(self.payload(range), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::layout::{guest_words, host_words};
    use crate::region_file::ensure;
    use std::os::fd::AsFd as _;

    fn region() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("region");
        ensure(&path, 1 << 20).unwrap();
        (dir, path)
    }

    #[test]
    fn two_mappings_of_one_file_see_each_other() {
        let (_dir, path) = region();
        let (a, b) = (Mapping::open(&path).unwrap(), Mapping::open(&path).unwrap());
        a.prefault();
        a.store(host_words::session, 42, Ordering::Release);
        b.store(guest_words::tool_version, 43, Ordering::Release);
        assert_eq!(b.load(host_words::session, Ordering::Acquire), 42);
        assert_eq!(a.load(guest_words::tool_version, Ordering::Acquire), 43);
        let range = Geometry::for_payload(1 << 20, 0).unwrap().payload(1, 5).unwrap();
        for kernel in Kernel::available() {
            a.write(range, b"hello", kernel);
            let mut got = [0; 5];
            b.read(range, &mut got, kernel);
            assert_eq!(&got, b"hello", "{kernel}");
        }
    }

    #[test]
    fn a_write_combining_mapping_is_known_by_its_name_and_carries_the_same_words() {
        let (dir, path) = region();
        let combined = dir.path().join("resource2_wc");
        std::fs::hard_link(&path, &combined).unwrap();
        let (a, b) = (Mapping::open(&path).unwrap(), Mapping::open(&combined).unwrap());
        assert_eq!((a.is_write_combined, b.is_write_combined), (false, true));
        for order in [Ordering::Relaxed, Ordering::Release] {
            b.store(guest_words::processed, 42 + order as u64, order);
            b.fence(Ordering::SeqCst);
            assert_eq!(a.load(guest_words::processed, Ordering::Acquire), 42 + order as u64);
            a.store(host_words::publish, 44 + order as u64, order);
            assert_eq!(b.load(host_words::publish, Ordering::Acquire), 44 + order as u64);
        }
    }

    #[test]
    fn a_descriptor_maps_what_its_file_holds_and_each_peer_that_got_it_can_claim_a_page() {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let fd = memfd_create("region", MFdFlags::MFD_CLOEXEC).unwrap();
        let short = Mapping::from_fd(fd.as_fd(), "nameless").unwrap_err();
        assert!(matches!(short, MapError::Size { bytes: 0, .. }), "{short}");
        nix::unistd::ftruncate(&fd, 1 << 20).unwrap();
        let map = || Mapping::from_fd(fd.as_fd(), "nameless").unwrap();
        let (a, b) = (map(), map());
        a.store(host_words::session, 42, Ordering::Release);
        assert_eq!(b.load(host_words::session, Ordering::Acquire), 42);
        a.own(ControlPage::Host).unwrap();
        assert!(matches!(b.own(ControlPage::Host), Err(MapError::Owned { page: ControlPage::Host, .. })));
        a.check_not_shrunk().unwrap();
        assert_eq!(a.path(), Path::new("nameless"));
        let (_dir, path) = region();
        let named = Mapping::from_fd(File::open(&path).unwrap().as_fd(), "nameless").unwrap();
        assert_eq!(named.path(), path.canonicalize().unwrap());
    }

    #[test]
    fn the_registers_are_where_the_device_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resource0");
        std::fs::write(&path, vec![0; 3 * PAGE_BYTES]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let registers = Registers::map(&file, PAGE_BYTES as u64, 0x300).unwrap();
        let at = |offset: usize| {
            let start = PAGE_BYTES + 0x300 + offset;
            u32::from_le_bytes(std::fs::read(&path).unwrap()[start..start + 4].try_into().unwrap())
        };
        registers.ring(Ring { peer: 3, vector: 1 });
        assert_eq!((at(DOORBELL), at(DOORBELL + 4), at(DOORBELL - 4)), (0x0003_0001, 0, 0));
        assert_eq!(registers.iv_position(), Some(0));
        std::os::unix::fs::FileExt::write_all_at(&file, &u32::MAX.to_le_bytes(), PAGE_BYTES as u64 + 0x308)
            .unwrap();
        assert_eq!(registers.iv_position(), None);
        assert!(Registers::map(&file, 0, 0xF80).is_err());
    }

    #[test]
    fn each_control_page_has_one_owner_at_a_time() {
        let (_dir, path) = region();
        let (a, b) = (Mapping::open(&path).unwrap(), Mapping::open(&path).unwrap());
        a.own(ControlPage::Host).unwrap();
        b.own(ControlPage::Guest).unwrap();
        assert!(matches!(b.own(ControlPage::Host), Err(MapError::Owned { page: ControlPage::Host, .. })));
        drop(a);
        b.own(ControlPage::Host).unwrap();
    }

    #[test]
    fn a_lane_is_a_region_of_its_own_within_its_bounds() {
        let (_dir, path) = region();
        let lane = |text: &str| Mapping::open(&path).unwrap().lane(text.parse().unwrap());
        let (whole, second) = (lane("0/1").unwrap(), lane("1/4").unwrap());
        assert_eq!((whole.bytes(), second.bytes()), (1 << 20, 256 << 10));
        second.prefault();
        second.store(host_words::session, 42, Ordering::Release);
        let range = Geometry::for_payload(second.bytes(), 0).unwrap().payload(1, 5).unwrap();
        second.write(range, b"hello", Kernel::Memcpy);
        let bytes = std::fs::read(&path).unwrap();
        let at = (256 << 10) + host_words::session.bytes();
        assert_eq!(bytes[at], 42);
        assert_eq!(&bytes[(256 << 10) + range.offset()..][..5], b"hello");
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 6);
        let beyond = Geometry::for_slots(1 << 20, 1, 0).unwrap().payload(0, 512 << 10).unwrap();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| second.scan(beyond)));
        assert!(panic.is_err(), "what lies in the next lane");
        let small = lane("0/32").unwrap_err().to_string();
        assert!(small.contains("has no 32 lanes"), "{small}");
        // Only the lane has to be there still.
        File::options().write(true).open(&path).unwrap().set_len(512 << 10).unwrap();
        second.check_not_shrunk().unwrap();
        assert!(whole.check_not_shrunk().is_err());
    }

    #[test]
    fn a_peers_lane_is_known_by_its_size() {
        let (_dir, path) = region();
        let map = |text: &str| Mapping::open(&path).unwrap().lane(text.parse().unwrap()).unwrap();
        for (ours, bytes, theirs) in [
            ("0/1", 1 << 20, Some("0/1")),
            ("0/1", 512 << 10, Some("0/2")),
            ("0/4", 1 << 20, Some("0/1")),
            ("2/4", 256 << 10, Some("2/4")),
            ("2/4", 512 << 10, Some("1/2")),
            ("2/4", 64 << 10, Some("8/16")),
            // It would begin elsewhere, be no lane, or be larger than the region.
            ("1/4", 512 << 10, None),
            ("2/4", 1 << 20, None),
            ("0/1", 4096, None),
            ("0/1", 0, None),
            ("0/1", 3 << 18, None),
            ("0/1", 2 << 20, None),
            ("0/1", u64::MAX, None),
        ] {
            let found = map(ours).lane_of(bytes).map(|lane| lane.to_string());
            assert_eq!(found.as_deref(), theirs, "{ours}, {bytes}");
        }
        let differ = map("1/2").other_lanes(512 << 10, 256 << 10).unwrap();
        let said = "the host is in lane 1/2 of the region, the guest in lane 2/4: start guest-reader with --lane 1/2, or \
                    host-writer with --lane 2/4";
        assert_eq!(differ.to_string(), said);
    }

    #[test]
    fn a_side_is_owned_lane_by_lane_and_never_twice_where_lanes_overlap() {
        let (_dir, path) = region();
        let lane = |text: &str| Mapping::open(&path).unwrap().lane(text.parse().unwrap()).unwrap();
        let (first, second) = (lane("0/4"), lane("1/4"));
        first.own(ControlPage::Guest).unwrap();
        second.own(ControlPage::Guest).unwrap();
        for overlapping in ["0/4", "1/4", "0/2", "0/1", "3/8"] {
            let refused = lane(overlapping).own(ControlPage::Guest);
            assert!(matches!(refused, Err(MapError::Owned { .. })), "{overlapping}");
        }
        lane("0/1").own(ControlPage::Host).unwrap();
        lane("1/2").own(ControlPage::Guest).unwrap();
    }

    #[test]
    fn words_lie_where_the_layout_says() {
        let (_dir, path) = region();
        let map = Mapping::open(&path).unwrap();
        map.store(host_words::publish, 0x0102_0304_0506_0708, Ordering::Release);
        map.store(guest_words::processed, 0x1112_1314_1516_1718, Ordering::Release);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[0x180..0x188], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[0x1280..0x1288], [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
    }

    #[test]
    fn a_truncated_file_is_noticed() {
        let (_dir, path) = region();
        let map = Mapping::open(&path).unwrap();
        map.check_not_shrunk().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(8192).unwrap();
        assert!(matches!(map.check_not_shrunk(), Err(MapError::Shrunk { mapped: 1048576, now: 8192, .. })));
    }

    #[test]
    fn files_of_other_sizes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd");
        std::fs::write(&path, vec![0; 12345]).unwrap();
        assert!(matches!(Mapping::open(&path), Err(MapError::Size { bytes: 12345, .. })));
        assert!(matches!(Mapping::open(Path::new("/no/such")), Err(MapError::File(_))));
    }

    #[test]
    #[should_panic(expected = "outside the mapping")]
    fn a_range_of_a_larger_region_panics_instead_of_touching_memory() {
        let (_dir, path) = region();
        let range = Geometry::for_payload(64 << 20, 0).unwrap().payload(1, 5).unwrap();
        Mapping::open(&path).unwrap().write(range, b"hello", Kernel::Memcpy);
    }
}
