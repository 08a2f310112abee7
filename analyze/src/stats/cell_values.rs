//! What the cells of a series hold, as distinct values: a cell of ten thousand round trips has a few hundred of them, and whatever
//! is counted in every cell goes through those instead of the samples.

use super::cells::Cells;
use super::{Nanoseconds, Sorted};

/// The distinct values of each cell, ascending, and how many of its samples have them.
#[derive(Debug)]
pub struct CellValues {
    values: Vec<(u64, u32)>,
    /// Where each cell's end.
    ends: Vec<usize>,
}

impl CellValues {
    /// Of `samples_ns` in the order they were taken.
    #[must_use]
    pub fn of<N: Nanoseconds>(samples_ns: &[N], cells: Cells) -> Self {
        let mut all = Self { values: Vec::new(), ends: Vec::with_capacity(cells.count()) };
        let mut cell: Vec<u64> = Vec::new();
        for range in cells.ranges() {
            cell.clear();
            cell.extend(samples_ns[range].iter().map(|ns| (*ns).into()));
            let sorted = Sorted::of_neighbours_ns(&cell);
            // The count of a cell fits in 16 bits.
            all.values.extend(sorted.groups().map(|(ns, count)| (ns, count as u32)));
            all.ends.push(all.values.len());
        }
        all
    }

    /// Those of each cell, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[(u64, u32)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.values[start..*end])
    }

    /// Samples of each cell.
    #[must_use]
    pub fn sizes(&self) -> Vec<i16> {
        self.iter().map(|cell| cell.iter().map(|(_, count)| *count as i16).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_own_values() {
        let values = CellValues::of(&[7_u32, 5, 7, 9, 9, 9, 5], Cells::new(7, 2));
        assert_eq!(values.iter().collect::<Vec<_>>(), [&[(5, 1), (7, 2)][..], &[(5, 1), (9, 3)]]);
        assert_eq!(values.sizes(), [3, 4]);
        let far = CellValues::of(&[u64::MAX, 0, u64::MAX], Cells::new(3, 1));
        assert_eq!(far.iter().collect::<Vec<_>>(), [&[(0, 1), (u64::MAX, 2)]]);
    }
}
