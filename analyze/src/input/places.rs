//! Where in a run messages are missing or failed, in bounded memory however many they are.

use std::collections::BTreeMap;
use std::slice;

/// Ranges kept apart; beyond, neighbours become one. A picture has fewer columns of pixels.
const MOST_RANGES: usize = 8_192;
/// Failures told apart by name; a writer of this toolkit has a handful.
const MOST_STATUSES: usize = 64;
/// The name under which all further ones are counted.
const OTHERS: &str = "others";

/// Iterations, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Gap {
    /// How many iterations there are.
    #[must_use]
    pub fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Ascending iterations as ranges: exactly, up to some thousand ranges; beyond that, ranges close to each other are shown as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    count: u64,
    ranges: Vec<Gap>,
    /// Ranges with no more than this many iterations between them are one.
    tolerance: u64,
}

impl Places {
    /// Adds a range that begins behind all others.
    pub fn add(&mut self, range: Gap) {
        self.count = self.count.saturating_add(range.count());
        self.append(range);
        while self.ranges.len() > MOST_RANGES {
            self.tolerance = self.tolerance * 2 + 1;
            for range in std::mem::take(&mut self.ranges) {
                self.append(range);
            }
        }
    }

    fn append(&mut self, range: Gap) {
        match self.ranges.last_mut() {
            Some(last) if range.first - last.last - 1 <= self.tolerance => last.last = range.last,
            _ => self.ranges.push(range),
        }
    }

    /// How many iterations were added, exactly.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether none were.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> slice::Iter<'_, Gap> {
        self.ranges.iter()
    }
}

/// Messages that have a row, but not as they should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many by status, such as `timeout_received`.
    pub by_status: BTreeMap<String, u64>,
    /// Which they are.
    pub places: Places,
}

impl Failures {
    /// Adds one behind the others.
    pub fn add(&mut self, iteration: u64, status: &str) {
        self.places.add(Gap { first: iteration, last: iteration });
        match self.by_status.get_mut(status) {
            Some(count) => *count += 1,
            None => {
                let name = if self.by_status.len() < MOST_STATUSES { status } else { OTHERS };
                *self.by_status.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.places.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_others_stay_apart() {
        let mut failures = Failures::default();
        for iteration in [3, 4, 5, 9] {
            failures.add(iteration, "timeout_received");
        }
        let ranges: Vec<_> = failures.places.iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(ranges, [(3, 5), (9, 9)]);
        assert_eq!((failures.count(), failures.by_status["timeout_received"]), (4, 4));
    }

    #[test]
    fn a_million_failures_of_as_many_names_are_counted_and_bounded() {
        let mut failures = Failures::default();
        for i in 0..1_000_000_u64 {
            failures.add(1 + i * 2, &format!("failure_{}", i % 100_000));
        }
        assert_eq!(failures.count(), 1_000_000);
        assert_eq!(failures.by_status.len(), MOST_STATUSES + 1);
        assert_eq!(failures.by_status.values().sum::<u64>(), 1_000_000);
        assert!(!failures.places.is_empty() && failures.places.iter().count() <= MOST_RANGES);
        let ends = failures.places.iter().next().zip(failures.places.iter().last()).unwrap();
        assert_eq!((ends.0.first, ends.1.last), (1, 1_999_999));
    }
}
