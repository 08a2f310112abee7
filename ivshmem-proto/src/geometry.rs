//! Where slots lie in a region, and the proof that a payload lies inside one.

use crate::layout::{PAGE_BYTES, REGION_BYTES_MAX, REGION_BYTES_MIN, SLOT_COUNT_MAX, SLOTS_OFFSET};

/// Region size and slot grid, validated: every slot is page aligned and inside the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    region_bytes: u64,
    slot_count: u64,
    slot_bytes: u64,
}

/// Why three numbers do not describe a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Not a power of two in range.
    #[error("region size {0} is not a power of two the layout allows")]
    RegionBytes(u64),
    /// Zero or more than the layout allows.
    #[error("slot count {0} is not between 1 and {SLOT_COUNT_MAX}")]
    SlotCount(u64),
    /// Zero, or not page aligned.
    #[error("slot size {0} is not a positive multiple of {PAGE_BYTES}")]
    SlotBytes(u64),
    /// The slots would reach beyond the region.
    #[error("{slot_count} slots of {slot_bytes} bytes do not fit a region of {region_bytes}")]
    Overflow {
        /// Region size in bytes.
        region_bytes: u64,
        /// Number of slots.
        slot_count: u64,
        /// Bytes from one slot to the next.
        slot_bytes: u64,
    },
    /// The payload is larger than any slot of this region.
    #[error(
        "a payload of {payload} bytes does not fit the largest slot, {slot_bytes} bytes, of a \
         {region_bytes}-byte region"
    )]
    PayloadTooLarge {
        /// Payload size in bytes.
        payload: u64,
        /// The largest slot in bytes.
        slot_bytes: u64,
        /// Region size in bytes.
        region_bytes: u64,
    },
}

impl Geometry {
    /// Validates numbers that a peer or a user supplied.
    ///
    /// # Errors
    /// The first number that does not fit the layout.
    pub fn new(region_bytes: u64, slot_count: u64, slot_bytes: u64) -> Result<Self, GeometryError> {
        if !region_bytes.is_power_of_two() || !(REGION_BYTES_MIN..=REGION_BYTES_MAX).contains(&region_bytes) {
            return Err(GeometryError::RegionBytes(region_bytes));
        }
        if slot_count == 0 || slot_count > SLOT_COUNT_MAX {
            return Err(GeometryError::SlotCount(slot_count));
        }
        if slot_bytes == 0 || !slot_bytes.is_multiple_of(PAGE_BYTES as u64) {
            return Err(GeometryError::SlotBytes(slot_bytes));
        }
        match slot_bytes.checked_mul(slot_count).and_then(|b| b.checked_add(SLOTS_OFFSET as u64)) {
            Some(end) if end <= region_bytes => Ok(Self { region_bytes, slot_count, slot_bytes }),
            _ => Err(GeometryError::Overflow { region_bytes, slot_count, slot_bytes }),
        }
    }

    /// Two slots where `payload` fits half the region, else one.
    ///
    /// # Errors
    /// The region size is wrong, or `payload` does not fit even one slot.
    pub fn for_payload(region_bytes: u64, payload: u64) -> Result<Self, GeometryError> {
        match Self::for_slots(region_bytes, 2, payload) {
            Err(GeometryError::PayloadTooLarge { .. }) => Self::for_slots(region_bytes, 1, payload),
            geometry => geometry,
        }
    }

    /// `count` slots, as large as they can be.
    ///
    /// # Errors
    /// The region size or the count is wrong, or `payload` does not fit a slot.
    pub fn for_slots(region_bytes: u64, count: u64, payload: u64) -> Result<Self, GeometryError> {
        let slots = region_bytes.saturating_sub(SLOTS_OFFSET as u64);
        let page = PAGE_BYTES as u64;
        let largest = slots / count.max(1) / page * page;
        let geometry = Self::new(region_bytes, count, largest.max(page))?;
        if payload > geometry.slot_bytes {
            let slot_bytes = geometry.slot_bytes;
            return Err(GeometryError::PayloadTooLarge { payload, slot_bytes, region_bytes });
        }
        Ok(geometry)
    }

    /// Region size in bytes.
    #[must_use]
    pub const fn region_bytes(&self) -> u64 {
        self.region_bytes
    }

    /// Number of slots.
    #[must_use]
    pub const fn slot_count(&self) -> u64 {
        self.slot_count
    }

    /// Bytes from the start of one slot to the start of the next.
    #[must_use]
    pub const fn slot_bytes(&self) -> u64 {
        self.slot_bytes
    }

    /// The bytes of a payload of `length` bytes in slot `slot`; `None` unless all of them lie inside the slot.
    #[must_use]
    pub fn payload(&self, slot: u64, length: u64) -> Option<PayloadRange> {
        if slot >= self.slot_count || length > self.slot_bytes {
            return None;
        }
        let offset = SLOTS_OFFSET as u64 + slot * self.slot_bytes;
        Some(PayloadRange { offset: usize::try_from(offset).ok()?, length: usize::try_from(length).ok()? })
    }
}

/// A range of bytes proven to lie inside one slot of some [`Geometry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadRange {
    offset: usize,
    length: usize,
}

impl PayloadRange {
    /// Offset from the start of the region in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// The `length` bytes from `offset` of this range on; `None` unless all of them lie inside it.
    #[must_use]
    pub fn part(&self, offset: usize, length: usize) -> Option<Self> {
        let inside = offset <= self.length && length <= self.length - offset;
        inside.then(|| Self { offset: self.offset + offset, length })
    }

    /// True for a payload of no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_region_holds_two_4k_frames() {
        let g = Geometry::for_payload(64 << 20, 24_883_200).unwrap();
        assert_eq!((g.slot_count(), g.slot_bytes()), (2, 33_550_336));
    }

    #[test]
    fn a_frame_too_large_for_half_the_region_gets_one_slot_or_is_refused_with_numbers() {
        let g = Geometry::for_payload(32 << 20, 24_883_200).unwrap();
        assert_eq!(g.slot_count(), 1);
        let error = Geometry::for_payload(16 << 20, 24_883_200).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a payload of 24883200 bytes does not fit the largest slot, 16769024 bytes, of a 16777216-byte region"
        );
    }

    proptest! {
        #[test]
        fn whatever_numbers_come_a_payload_never_leaves_the_region(
            region_shift in 0u32..64, slot_count: u64, slot_bytes: u64, slot: u64, length: u64,
        ) {
            if let Ok(g) = Geometry::new(1 << region_shift, slot_count, slot_bytes)
                && let Some(range) = g.payload(slot, length)
            {
                prop_assert!(range.offset() >= SLOTS_OFFSET);
                prop_assert!((range.offset() + range.len()) as u64 <= g.region_bytes());
            }
        }

        #[test]
        fn small_numbers_too(
            region_shift in 14u32..30, slot_count in 0u64..2000, pages in 0u64..70_000, slot in 0u64..1100, length in 0u64..1 << 30,
        ) {
            if let Ok(g) = Geometry::new(1 << region_shift, slot_count, pages * 4096)
                && let Some(range) = g.payload(slot, length)
            {
                prop_assert!(range.offset() >= SLOTS_OFFSET && range.offset() % PAGE_BYTES == 0);
                prop_assert!((range.offset() + range.len()) as u64 <= g.region_bytes());
                prop_assert!(range.len() as u64 <= g.slot_bytes());
            }
        }
    }
}
