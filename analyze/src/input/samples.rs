//! The samples of a latency file in columns of 32 bits, so that ten million of them fit in a hundred megabytes.
//!
//! Nearly every duration is below four seconds and nearly every iteration follows the one before: those take four bytes and
//! none; what does not fit is kept beside its column, with its place.

use std::slice;

use crate::stats::Sorted;

/// One message that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Its iteration number.
    pub iteration: u64,
    /// To PROCESSED, in nanoseconds: from the publication in a closed loop, from the due time in an open one.
    pub processed_ns: u64,
    /// To RECEIVED, in nanoseconds, where measured.
    pub received_ns: Option<u64>,
    /// Due time to publication, in nanoseconds; of an open loop only.
    pub send_delay_ns: Option<u64>,
    /// One way host to guest, in nanoseconds, below 0 by no more than the error of the clocks' offset.
    pub to_guest_ns: Option<i64>,
    /// One way guest to host, likewise.
    pub to_host_ns: Option<i64>,
}

/// The messages that were acknowledged, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    iterations: Iterations,
    processed: Column,
    received: Column,
    send_delay: Column,
    to_guest: Column,
    to_host: Column,
}

impl Samples {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iterations.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one behind the others; its iteration is above theirs.
    pub fn push(&mut self, sample: &Sample) {
        let at = self.len();
        self.iterations.push(sample.iteration);
        self.processed.set(at, Some(sample.processed_ns));
        self.received.set(at, sample.received_ns);
        self.send_delay.set(at, sample.send_delay_ns);
        self.to_guest.set(at, sample.to_guest_ns.map(zigzag));
        self.to_host.set(at, sample.to_host_ns.map(zigzag));
    }

    /// Adds others behind these; their iterations are above these.
    pub(super) fn append(&mut self, others: &Self) {
        let at = self.len();
        self.iterations.append(&others.iterations);
        self.processed.append(at, &others.processed);
        self.received.append(at, &others.received);
        self.send_delay.append(at, &others.send_delay);
        self.to_guest.append(at, &others.to_guest);
        self.to_host.append(at, &others.to_host);
    }

    /// The samples, by value.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            iterations: self.iterations.iter(),
            processed: self.processed.values(),
            received: self.received.values(),
            send_delay: self.send_delay.values(),
            to_guest: self.to_guest.values(),
            to_host: self.to_host.values(),
        }
    }

    /// Their iteration numbers, ascending.
    pub fn iterations(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.iterations.iter()
    }

    /// Times to PROCESSED, in nanoseconds, in the order of the file.
    pub fn processed_ns(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.processed.values().flatten()
    }

    /// Times to RECEIVED of those that have one, in nanoseconds.
    pub fn received_ns(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.received.values().flatten()
    }

    /// Both of each, in the order of the file.
    pub fn processed_and_received_ns(&self) -> impl Iterator<Item = (u64, Option<u64>)> + '_ {
        self.processed_ns().zip(self.received.values().chain(std::iter::repeat(None)))
    }

    /// Due time to publication of those that have one, in nanoseconds.
    pub fn send_delay_ns(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.send_delay.values().flatten()
    }

    /// One way host to guest of those that have it, in nanoseconds.
    pub fn to_guest_ns(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        self.to_guest.values().flatten().map(unzigzag)
    }

    /// One way guest to host, likewise.
    pub fn to_host_ns(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        self.to_host.values().flatten().map(unzigzag)
    }

    /// Times to PROCESSED in the order of the file, as they are kept.
    #[must_use]
    pub fn processed_in_order(&self) -> InOrder<'_> {
        // Each sample has one, so that the column says of none that it has not.
        if self.processed.wide.is_empty() {
            InOrder::Narrow(&self.processed.narrow)
        } else {
            InOrder::Wide(self.processed_ns().collect())
        }
    }

    /// Times to PROCESSED, sorted.
    #[must_use]
    pub fn sorted_processed(&self) -> Sorted<u64> {
        Sorted::of_durations_ns(self.processed_ns())
    }

    /// Times to RECEIVED of those that have one, sorted.
    #[must_use]
    pub fn sorted_received(&self) -> Sorted<u64> {
        Sorted::of_durations_ns(self.received_ns())
    }
}

/// Times of all samples, in nanoseconds.
#[derive(Debug)]
pub enum InOrder<'a> {
    /// Where all fit in 32 bits, which is nearly always: no copy is made.
    Narrow(&'a [u32]),
    /// Where they do not.
    Wide(Vec<u64>),
}

impl FromIterator<Sample> for Samples {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let mut all = Self::default();
        samples.into_iter().for_each(|sample| all.push(&sample));
        all
    }
}

impl<'a> IntoIterator for &'a Samples {
    type Item = Sample;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes through samples.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    iterations: Numbers<'a>,
    processed: Values<'a>,
    received: Values<'a>,
    send_delay: Values<'a>,
    to_guest: Values<'a>,
    to_host: Values<'a>,
}

impl Iterator for Iter<'_> {
    type Item = Sample;

    #[inline]
    fn next(&mut self) -> Option<Sample> {
        Some(Sample {
            iteration: self.iterations.next()?,
            processed_ns: self.processed.next().flatten()?,
            received_ns: self.received.next().flatten(),
            send_delay_ns: self.send_delay.next().flatten(),
            to_guest_ns: self.to_guest.next().flatten().map(unzigzag),
            to_host_ns: self.to_host.next().flatten().map(unzigzag),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.processed.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Ascending numbers as runs of consecutive ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Iterations {
    len: usize,
    /// The index and the number each run begins with.
    runs: Vec<(usize, u64)>,
    next: u64,
}

impl Iterations {
    fn push(&mut self, iteration: u64) {
        if self.runs.is_empty() || iteration != self.next {
            self.runs.push((self.len, iteration));
        }
        self.next = iteration.wrapping_add(1);
        self.len += 1;
    }

    fn append(&mut self, others: &Self) {
        let mut runs = others.runs.iter().map(|(index, first)| (self.len + index, *first)).peekable();
        // A run that goes on is no other run.
        runs.next_if(|(_, first)| !self.runs.is_empty() && *first == self.next);
        self.runs.extend(runs);
        if others.len > 0 {
            self.next = others.next;
            self.len += others.len;
        }
    }

    fn iter(&self) -> Numbers<'_> {
        Numbers { runs: self.runs.iter(), len: self.len, index: 0, end: 0, number: 0 }
    }
}

/// Goes through [`Iterations`].
#[derive(Debug, Clone)]
struct Numbers<'a> {
    /// Runs that were not begun.
    runs: slice::Iter<'a, (usize, u64)>,
    len: usize,
    index: usize,
    /// Where the run that was begun ends.
    end: usize,
    number: u64,
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        if self.index == self.end {
            self.number = self.runs.next()?.1;
            self.end = self.runs.as_slice().first().map_or(self.len, |run| run.0);
        }
        let number = self.number;
        self.number = number.wrapping_add(1);
        self.index += 1;
        Some(number)
    }
}

/// In a column: there is no value.
const NONE: u32 = u32::MAX;
/// In a column: the value is the next of those beside it.
const WIDE: u32 = u32::MAX - 1;

/// Values of up to 64 bits, most of which take 32. It is as long as its last value: behind that there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Column {
    narrow: Vec<u32>,
    /// Those that are no smaller than [`WIDE`], in order.
    wide: Vec<u64>,
}

impl Column {
    /// Sets the value at `index`, which is behind all others.
    fn set(&mut self, index: usize, value: Option<u64>) {
        let Some(value) = value else { return };
        self.narrow.resize(index, NONE);
        match u32::try_from(value) {
            Ok(narrow) if narrow < WIDE => self.narrow.push(narrow),
            _ => {
                self.narrow.push(WIDE);
                self.wide.push(value);
            }
        }
    }

    /// Adds the values of another column, the first of them at `index`.
    fn append(&mut self, index: usize, others: &Self) {
        if !others.narrow.is_empty() {
            self.narrow.resize(index, NONE);
            self.narrow.extend_from_slice(&others.narrow);
            self.wide.extend_from_slice(&others.wide);
        }
    }

    fn values(&self) -> Values<'_> {
        Values { narrow: self.narrow.iter(), wide: self.wide.iter() }
    }
}

/// The values of a column; it ends with the last there is.
#[derive(Debug, Clone)]
struct Values<'a> {
    narrow: slice::Iter<'a, u32>,
    wide: slice::Iter<'a, u64>,
}

impl Iterator for Values<'_> {
    type Item = Option<u64>;

    #[inline]
    fn next(&mut self) -> Option<Option<u64>> {
        Some(match *self.narrow.next()? {
            NONE => None,
            WIDE => self.wide.next().copied(),
            narrow => Some(u64::from(narrow)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.narrow.size_hint()
    }
}

/// Signed as unsigned, so that a number near 0 stays small: 0, -1, 1, -2 become 0, 1, 2, 3.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..1000, u64::from(WIDE) - 2..u64::from(NONE) + 3, any::<u64>()]
    }

    fn sample() -> impl Strategy<Value = (bool, Sample)> {
        let optional = || prop::option::of(count());
        let signed = || prop::option::of(prop_oneof![-9_i64..9, any::<i64>()]);
        (any::<bool>(), count(), optional(), optional(), signed(), signed()).prop_map(
            |(gap, processed_ns, received_ns, send_delay_ns, to_guest_ns, to_host_ns)| {
                let iteration = 0;
                let sample =
                    Sample { iteration, processed_ns, received_ns, send_delay_ns, to_guest_ns, to_host_ns };
                (gap, sample)
            },
        )
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            first in 0_u64..3,
            rows in prop::collection::vec(sample(), 0..60),
            cuts in prop::array::uniform2(0_usize..60),
        ) {
            let mut iteration = first;
            let rows: Vec<Sample> = rows.into_iter().map(|(gap, sample)| {
                iteration += 1 + u64::from(gap) * 7;
                Sample { iteration, ..sample }
            }).collect();
            let samples: Samples = rows.iter().copied().collect();
            let [a, b] = [cuts[0].min(cuts[1]).min(rows.len()), cuts[0].max(cuts[1]).min(rows.len())];
            let mut together = Samples::default();
            for part in [&rows[..a], &rows[a..b], &rows[b..]] {
                together.append(&part.iter().copied().collect());
            }
            prop_assert_eq!(&together, &samples);
            prop_assert_eq!(samples.len(), rows.len());
            prop_assert_eq!(samples.iter().collect::<Vec<_>>(), rows.clone());
            let received: Vec<u64> = rows.iter().filter_map(|row| row.received_ns).collect();
            prop_assert_eq!(&samples.received_ns().collect::<Vec<_>>(), &received);
            let to_host: Vec<i64> = rows.iter().filter_map(|row| row.to_host_ns).collect();
            prop_assert_eq!(samples.to_host_ns().collect::<Vec<_>>(), to_host);
            let processed: Vec<u64> = rows.iter().map(|row| row.processed_ns).collect();
            let in_order = match samples.processed_in_order() {
                InOrder::Narrow(narrow) => narrow.iter().map(|ns| u64::from(*ns)).collect(),
                InOrder::Wide(wide) => wide,
            };
            prop_assert_eq!(&in_order, &processed);
            let both = rows.iter().map(|row| (row.processed_ns, row.received_ns)).collect::<Vec<_>>();
            prop_assert_eq!(samples.processed_and_received_ns().collect::<Vec<_>>(), both);
            prop_assert_eq!(samples.sorted_received(), Sorted::new(received));
            prop_assert_eq!(samples.sorted_processed(), Sorted::new(processed));
        }
    }

    #[test]
    fn ordinary_rows_take_four_bytes_a_column_and_absent_columns_none() {
        let row = |iteration| Sample {
            iteration,
            processed_ns: 300,
            received_ns: Some(200),
            send_delay_ns: None,
            to_guest_ns: None,
            to_host_ns: None,
        };
        let samples: Samples = (1..=1000).map(row).collect();
        assert_eq!((samples.processed.narrow.len(), samples.received.narrow.len()), (1000, 1000));
        assert_eq!(samples.iterations.runs, [(0, 1)]);
        assert_eq!(samples.send_delay.narrow.capacity() + samples.to_guest.narrow.capacity(), 0);
    }
}
