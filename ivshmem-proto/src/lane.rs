//! Lanes: equal parts of a region, each with a host page, a guest page and slots of its own.
//!
//! The layout knows one host and one guest. Many peers share a region by dividing it: what is said of a region in
//! [`crate::layout`] holds for a lane, with offsets counted from the lane's start.

use std::fmt;
use std::str::FromStr;

use crate::layout::{REGION_BYTES_MAX, REGION_BYTES_MIN};
use crate::region_file::check_size;

/// More lanes than the largest region holds there cannot be.
const LANES_MAX: u64 = REGION_BYTES_MAX / REGION_BYTES_MIN;

/// One of so many equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane {
    index: u64,
    count: u64,
}

/// A region that cannot be divided so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a region of {region_bytes} bytes has no {count} lanes of at least {REGION_BYTES_MIN} bytes: use fewer lanes, or a larger \
     region"
)]
pub struct LaneError {
    region_bytes: u64,
    count: u64,
}

/// A host and a guest that have the same control pages and were told of other lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the host is in lane {host} of the region, the guest in lane {guest}: start guest-reader with --lane {host}, or \
     host-writer with --lane {guest}"
)]
pub struct OtherLane {
    /// The host's.
    pub host: Lane,
    /// The guest's.
    pub guest: Lane,
}

impl Lane {
    /// The whole region.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Part `index` of `count`; `None` unless `count` is a power of two and `index` below it.
    #[must_use]
    pub const fn new(index: u64, count: u64) -> Option<Self> {
        if index < count && count <= LANES_MAX && count.is_power_of_two() {
            Some(Self { index, count })
        } else {
            None
        }
    }

    /// Which part, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Whether it is all there is.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.count == 1
    }

    /// Where it begins in a region of `region_bytes` bytes, and how long it is.
    ///
    /// # Errors
    /// It would be smaller than a region can be.
    pub fn part_of(self, region_bytes: u64) -> Result<(u64, u64), LaneError> {
        // Both are powers of two: the quotient is exact, or zero.
        let bytes = region_bytes / self.count;
        check_size(bytes).map_err(|_| LaneError { region_bytes, count: self.count })?;
        Ok((self.index * bytes, bytes))
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let Some((index, count)) = parsed else {
            return Err("expected I/N, such as 0/2 for the first half".to_owned());
        };
        Self::new(index, count).ok_or_else(|| {
            if !u64::is_power_of_two(count) || count > LANES_MAX {
                format!("a region has 1, 2, 4, 8 ... {LANES_MAX} lanes, not {count}")
            } else {
                format!("of {count} lanes the last is {}/{count}: lanes count from 0", count - 1)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lanes_are_powers_of_two_that_count_from_zero() {
        assert_eq!("0/1".parse(), Ok(Lane::WHOLE));
        assert_eq!("3/4".parse(), Ok(Lane { index: 3, count: 4 }));
        assert_eq!(Lane { index: 3, count: 4 }.to_string(), "3/4");
        for (bad, why) in [
            ("", "expected I/N"),
            ("1", "expected I/N"),
            ("a/2", "expected I/N"),
            ("-1/2", "expected I/N"),
            ("2/2", "the last is 1/2"),
            ("0/3", "not 3"),
            ("0/0", "not 0"),
            ("0/18446744073709551615", "lanes, not"),
            ("0/9223372036854775808", "lanes, not"),
        ] {
            let error = bad.parse::<Lane>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_lane_is_as_large_as_the_smallest_region_at_least() {
        let last = Lane { index: 15, count: 16 };
        assert_eq!(last.part_of(1 << 20), Ok((15 << 16, 64 << 10)));
        assert!(
            Lane { index: 0, count: 32 }.part_of(1 << 20).unwrap_err().to_string().contains("no 32 lanes")
        );
        assert!(Lane { index: 0, count: 1 << 24 }.part_of(1 << 20).is_err());
    }

    proptest! {
        #[test]
        fn lanes_tile_the_region(shift in 16u32..40, lanes in 0u32..8) {
            let (region_bytes, count) = (1u64 << shift, 1u64 << lanes);
            let mut end = 0;
            for index in 0..count {
                let Ok((start, bytes)) = Lane::new(index, count).unwrap().part_of(region_bytes) else {
                    prop_assert!(region_bytes / count < REGION_BYTES_MIN);
                    return Ok(());
                };
                prop_assert_eq!(start, end);
                end = start + bytes;
            }
            prop_assert_eq!(end, region_bytes);
        }
    }
}
