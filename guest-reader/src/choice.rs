//! Which kernel copies payloads of which size: what was measured for the nearest size.

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::report::RateReport;

/// Kernels by size; each size was measured.
#[derive(Debug, Clone, Default)]
pub struct KernelChoice {
    /// Size in bytes, reading kernel, writing kernel; in ascending order of size.
    by_size: Vec<(usize, Kernel, Kernel)>,
}

impl KernelChoice {
    /// Takes in a measurement; it replaces one of the same size.
    pub fn learn(&mut self, report: &RateReport) {
        let Some(reading) = report.chosen else { return };
        let fastest = report.candidates.iter().max_by_key(|c| c.write.typical);
        let writing = fastest.map_or(reading, |c| c.kernel);
        let entry = (report.bytes as usize, reading, writing);
        match self.by_size.binary_search_by_key(&entry.0, |&(bytes, ..)| bytes) {
            Ok(at) => self.by_size[at] = entry,
            Err(at) => self.by_size.insert(at, entry),
        }
    }

    /// The kernel that reads payloads of `bytes`.
    #[must_use]
    #[inline]
    pub fn of(&self, bytes: usize) -> Kernel {
        self.nearest(bytes).map_or(Kernel::Memcpy, |&(_, reading, _)| reading)
    }

    /// The kernel that writes payloads of `bytes`.
    #[must_use]
    pub fn writing(&self, bytes: usize) -> Kernel {
        self.nearest(bytes).map_or(Kernel::Memcpy, |&(.., writing)| writing)
    }

    /// The entry whose size is the nearest in proportion.
    #[inline]
    fn nearest(&self, bytes: usize) -> Option<&(usize, Kernel, Kernel)> {
        let above = self.by_size.partition_point(|&(size, ..)| size < bytes);
        match (above.checked_sub(1).and_then(|at| self.by_size.get(at)), self.by_size.get(above)) {
            (Some(low), Some(high)) => {
                let product = bytes as u128 * bytes as u128;
                Some(if product > low.0 as u128 * high.0 as u128 { high } else { low })
            }
            (low, high) => high.or(low),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::report::{CopyRate, Rate};

    fn report(bytes: u64, reading: Kernel, writing: Kernel) -> RateReport {
        let rate = |typical| Rate { typical, best: typical };
        let row = |kernel, write| CopyRate { kernel, region: rate(1), anon: rate(1), write: rate(write) };
        let candidates = vec![row(reading, 1), row(writing, 2)];
        RateReport { bytes, chosen: Some(reading), candidates, ..RateReport::default() }
    }

    #[test]
    fn the_nearest_measured_size_decides() {
        let mut choice = KernelChoice::default();
        assert_eq!(choice.of(100), Kernel::Memcpy);
        choice.learn(&report(1 << 20, Kernel::Avx2, Kernel::Avx2Nt));
        assert_eq!((choice.of(1), choice.of(1 << 30)), (Kernel::Avx2, Kernel::Avx2));
        choice.learn(&report(1 << 10, Kernel::Sse2, Kernel::Sse2));
        assert_eq!(
            (choice.of(1 << 10), choice.of(1 << 14), choice.of(1 << 16)),
            (Kernel::Sse2, Kernel::Sse2, Kernel::Avx2)
        );
        assert_eq!((choice.of(0), choice.writing(1 << 21)), (Kernel::Sse2, Kernel::Avx2Nt));
        choice.learn(&report(1 << 20, Kernel::Memcpy, Kernel::Memcpy));
        assert_eq!((choice.of(1 << 20), choice.of(7)), (Kernel::Memcpy, Kernel::Sse2));
        choice.learn(&RateReport::default());
        assert_eq!(choice.of(1 << 20), Kernel::Memcpy);
    }
}
