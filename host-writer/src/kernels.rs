//! Which copy kernel writes fastest here, measured as it will be used.
//!
//! Fresh content each time, into a slot that the guest has read before, with the guest reading it afterwards. The same
//! copies over and over into memory that nobody else touches are two to four times faster and rank the kernels
//! differently, because neither side's caches have anything to give up.

use std::cmp::Reverse;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;

use crate::content;
use crate::link::Link;
use crate::transfer::{Parcel, send};

/// Samples of each kernel in the heat, after one that is not counted.
const HEAT_SAMPLES: usize = 2;
/// Further samples of each finalist.
const FINAL_SAMPLES: usize = 6;
/// Share of the best rate that qualifies for the final. memcpy is in it as the measure of the others.
const QUALIFIED: f64 = 0.85;

/// The host's copy kernels with their median rates in bytes per second, fastest first, for payloads of `bytes` whose
/// content is hashed as that of the test will be.
///
/// # Errors
/// A signal, a guest that died, a payload that does not fit.
pub fn measure(
    link: &mut Link<'_>,
    geometry: &Geometry,
    bytes: u64,
    hash: bool,
) -> anyhow::Result<Vec<(Kernel, u64)>> {
    let mut payload = vec![0; usize::try_from(bytes)?];
    let mut number = 0;
    let mut write_ns = |kernel| -> anyhow::Result<u64> {
        content::produce(&mut payload, 0, number, hash);
        link.map.check_not_shrunk()?;
        let slot = number % geometry.slot_count();
        number += 1;
        let transfer = send(link, geometry, &Parcel { payload: &payload, slot, sha256: None, kernel })?;
        if transfer.status.is_timeout() {
            link.check_alive(transfer.sequence)?;
        }
        // The write counts whether or not the guest answered.
        Ok(transfer.write_ns.max(1))
    };
    let mut entries: Vec<Entry> = Kernel::available().into_iter().map(Entry::new).collect();
    for round in 0..=HEAT_SAMPLES {
        for entry in &mut entries {
            let ns = write_ns(entry.kernel)?;
            if round > 0 {
                entry.durations_ns.push(ns);
            }
        }
    }
    let best_ns = entries.iter().map(Entry::median_ns).min().unwrap_or(1) as f64;
    for _ in 0..FINAL_SAMPLES {
        for entry in &mut entries {
            if entry.kernel == Kernel::Memcpy || best_ns >= entry.heat_ns() as f64 * QUALIFIED {
                entry.durations_ns.push(write_ns(entry.kernel)?);
            }
        }
    }
    let rate = |entry: Entry| (entry.kernel, (bytes as f64 * 1e9 / entry.median_ns() as f64) as u64);
    let mut rates: Vec<_> = entries.into_iter().map(rate).collect();
    rates.sort_by_key(|&(_, rate)| Reverse(rate));
    Ok(rates)
}

/// A kernel and its samples.
struct Entry {
    kernel: Kernel,
    durations_ns: Vec<u64>,
}

impl Entry {
    fn new(kernel: Kernel) -> Self {
        Self { kernel, durations_ns: Vec::with_capacity(HEAT_SAMPLES + FINAL_SAMPLES) }
    }

    fn median_ns(&self) -> u64 {
        median(&self.durations_ns)
    }

    /// The median of the heat alone, so that the final does not change who is in it.
    fn heat_ns(&self) -> u64 {
        median(&self.durations_ns[..HEAT_SAMPLES])
    }
}

/// The lower median; one without samples is infinitely slow.
fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_lower_middle_and_the_heat_stays_what_it_was() {
        assert_eq!(median(&[]), u64::MAX);
        assert_eq!(median(&[5]), 5);
        assert_eq!(median(&[9, 1, 5, 7]), 5);
        let entry = Entry { kernel: Kernel::Memcpy, durations_ns: vec![9, 8, 1, 1, 1] };
        assert_eq!((entry.heat_ns(), entry.median_ns()), (8, 1));
    }
}
