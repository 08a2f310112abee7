//! Which copy kernel writes fastest here, measured as it will be used.
//!
//! Fresh content each time, into a slot that the guest has read before, with the guest reading it
//! afterwards. The same copies over and over into memory that nobody else touches are two to four times faster and rank
//! the kernels differently, because neither side's caches have anything to give up.

use std::cmp::Reverse;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;

use crate::content;
use crate::link::Link;
use crate::transfer::{Parcel, send};

/// Samples of each kernel in the heat, after one that is not counted.
const HEAT_SAMPLES: usize = 2;
/// Samples of each finalist in the final, which alone count for it.
const FINAL_SAMPLES: usize = 9;
/// Share of the best rate that qualifies for the final. memcpy is in it as the measure of the others.
const QUALIFIED: f64 = 0.9;

/// The host's copy kernels with their median rates in bytes per second, fastest first, for payloads of `bytes` whose
/// content is hashed or not, as that of the test will be. The guest verifies none: hashing takes it far longer than the
/// write that is measured.
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
    let mut heat: Vec<(Kernel, Vec<u64>)> =
        Kernel::available().into_iter().map(|kernel| (kernel, Vec::new())).collect();
    for round in 0..=HEAT_SAMPLES {
        for (kernel, samples_ns) in &mut heat {
            let ns = write_ns(*kernel)?;
            if round > 0 {
                samples_ns.push(ns);
            }
        }
    }
    let best_ns = heat.iter().map(|(_, samples_ns)| median(samples_ns)).min().unwrap_or(0) as f64;
    let (mut finalists, others): (Vec<_>, Vec<_>) = heat.into_iter().partition(|(kernel, samples_ns)| {
        *kernel == Kernel::Memcpy || best_ns >= median(samples_ns) as f64 * QUALIFIED
    });
    finalists.iter_mut().for_each(|(_, samples_ns)| samples_ns.clear());
    for _ in 0..FINAL_SAMPLES {
        for (kernel, samples_ns) in &mut finalists {
            samples_ns.push(write_ns(*kernel)?);
        }
    }
    let rate = |samples_ns: &[u64]| (bytes as f64 * 1e9 / median(samples_ns) as f64) as u64;
    let mut rates: Vec<_> =
        finalists.iter().chain(&others).map(|(kernel, samples_ns)| (*kernel, rate(samples_ns))).collect();
    rates.sort_by_key(|&(_, rate)| Reverse(rate));
    Ok(rates)
}

/// The lower median of at least one sample.
fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_lower_middle() {
        assert_eq!(median(&[5]), 5);
        assert_eq!(median(&[9, 1, 5, 7]), 5);
        assert_eq!(median(&[3, 2, 1]), 2);
    }
}
