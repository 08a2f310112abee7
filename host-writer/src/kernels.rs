//! Which copy kernel is fastest here for payloads of one size, measured as it will be used.
//!
//! What counts is what the mode waits for: the host's copy where payloads go whole, the whole transfer where the guest
//! reads behind the host, the slower of the two sides in a stream. Non-temporal stores are the fastest writes of large
//! payloads, but they leave nothing in the caches for the reader.
//!
//! Fresh content each time, into a slot that the guest has read before, with the guest reading it
//! afterwards. The same copies over and over into memory that nobody else touches are two to four times faster and rank
//! the kernels differently, because neither side's caches have anything to give up.

use std::cmp::Reverse;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::report::RateReport;
use ivshmem_proto::wire::{Consume, Digest};

use crate::cli::Direction;
use crate::config::{BandwidthPlan, Mode};
use crate::content::{self, Proof};
use crate::link::Link;
use crate::median::lower_median;
use crate::transfer::{self, Errand, Manner, Parcel, Transfer};

/// Samples of each kernel in the heat, after one that is not counted.
const HEAT_SAMPLES: usize = 2;
/// Samples of each finalist in the final, which alone count for it; more where they are short.
const FINAL_SAMPLES: usize = 9;
const FINAL_SAMPLES_SMALL: usize = 101;
/// Payloads up to this size are short.
const SMALL_BYTES: u64 = 1 << 20;
/// Share of the best rate that qualifies for the final. memcpy is in it as the measure of the others.
const QUALIFIED: f64 = 0.9;

/// The host's copy kernels with their median rates in bytes per second, fastest first, for payloads of `bytes`.
///
/// Content is hashed or not as that of the test will be, but the guest verifies none: hashing takes it far longer than
/// the copy that is measured.
///
/// # Errors
/// A signal, a guest that died, a payload that does not fit.
pub fn measure(
    link: &mut Link<'_>,
    geometry: &Geometry,
    bytes: u64,
    plan: &BandwidthPlan,
) -> anyhow::Result<Vec<(Kernel, u64)>> {
    let mut bench = Bench { payload: vec![0; usize::try_from(bytes)?], number: 0 };
    let fetches = plan.direction == Direction::GuestToHost;
    if fetches {
        transfer::produce(link, bytes, plan.seed, Digest::None)?;
    }
    // Non-temporal stores would push what was read out of the cache just before it is used.
    let useful = |kernel: &Kernel| !(fetches && kernel.is_non_temporal());
    let mut heat: Vec<(Kernel, Vec<u64>)> =
        Kernel::available().into_iter().filter(useful).map(|kernel| (kernel, Vec::new())).collect();
    for round in 0..=HEAT_SAMPLES {
        for (kernel, samples_ns) in &mut heat {
            let ns = bench.cost_ns(link, geometry, plan, *kernel)?;
            if round > 0 {
                samples_ns.push(ns);
            }
        }
    }
    let best_ns = heat.iter().map(|(_, samples_ns)| cost(samples_ns)).min().unwrap_or(0) as f64;
    let (mut finalists, others): (Vec<_>, Vec<_>) = heat.into_iter().partition(|(kernel, samples_ns)| {
        *kernel == Kernel::Memcpy || best_ns >= cost(samples_ns) as f64 * QUALIFIED
    });
    finalists.iter_mut().for_each(|(_, samples_ns)| samples_ns.clear());
    for _ in 0..if bytes <= SMALL_BYTES { FINAL_SAMPLES_SMALL } else { FINAL_SAMPLES } {
        for (kernel, samples_ns) in &mut finalists {
            samples_ns.push(bench.cost_ns(link, geometry, plan, *kernel)?);
        }
    }
    finalists.extend(others);
    Ok(fastest_first(bytes, &finalists))
}

/// The median rate of each kernel in bytes per second, the highest first.
fn fastest_first(bytes: u64, trials: &[(Kernel, Vec<u64>)]) -> Vec<(Kernel, u64)> {
    let rate = |samples_ns: &[u64]| (bytes as f64 * 1e9 / cost(samples_ns) as f64) as u64;
    let mut rates: Vec<_> = trials.iter().map(|(kernel, samples_ns)| (*kernel, rate(samples_ns))).collect();
    rates.sort_by_key(|&(_, rate)| Reverse(rate));
    rates
}

/// The median of a kernel's samples in nanoseconds.
fn cost(samples_ns: &[u64]) -> u64 {
    lower_median(samples_ns.to_vec()).unwrap_or(u64::MAX)
}

/// Samples of each of the guest's kernels, after one that is not counted.
const GUEST_SAMPLES: usize = 5;
/// Share of the guest's best rate, by its own measurement, that is worth a trial.
const GUEST_QUALIFIED: f64 = 0.5;

/// The guest's copy kernels with their median rates in bytes per second, fastest first, for payloads of `bytes` that the
/// host has just written with `kernel`; empty when there is nothing to choose.
///
/// The guest has measured them by itself on lines that lie in its own cache; which is fastest on lines that come from the
/// other side is another question.
///
/// # Errors
/// A signal, a guest that died, a payload that does not fit.
pub fn rank_guest(
    link: &mut Link<'_>,
    geometry: &Geometry,
    bytes: u64,
    plan: &BandwidthPlan,
    kernel: Kernel,
    rates: &RateReport,
) -> anyhow::Result<Vec<(Kernel, u64)>> {
    let best = rates.candidates.iter().map(|row| row.region.typical).max().unwrap_or(0) as f64;
    let worth = rates.candidates.iter().filter(|row| row.region.typical as f64 >= best * GUEST_QUALIFIED);
    let mut trials: Vec<(Kernel, Vec<u64>)> = worth.map(|row| (row.kernel, Vec::new())).collect();
    if trials.len() < 2 || plan.consume != Consume::Copy || plan.direction == Direction::GuestToHost {
        return Ok(Vec::new());
    }
    let mut bench = Bench { payload: vec![0; usize::try_from(bytes)?], number: 0 };
    for round in 0..=if bytes <= SMALL_BYTES { FINAL_SAMPLES_SMALL } else { GUEST_SAMPLES } {
        for (guest_kernel, samples_ns) in &mut trials {
            let transfer = bench.transfer(link, geometry, plan, kernel, Some(*guest_kernel))?;
            if round > 0 {
                samples_ns.push(transfer.guest_ns().unwrap_or(u64::MAX).max(1));
            }
        }
    }
    Ok(fastest_first(bytes, &trials))
}

struct Bench {
    payload: Vec<u8>,
    number: u64,
}

impl Bench {
    /// What the mode waits for in one transfer with `kernel`, in nanoseconds.
    fn cost_ns(
        &mut self,
        link: &mut Link<'_>,
        geometry: &Geometry,
        plan: &BandwidthPlan,
        kernel: Kernel,
    ) -> anyhow::Result<u64> {
        let transfer = self.transfer(link, geometry, plan, kernel, plan.guest_kernel)?;
        let is_fetch = plan.direction == Direction::GuestToHost;
        let own_ns = if is_fetch { transfer.read_ns } else { transfer.write_ns };
        let ns = match plan.mode {
            // A write counts whether or not the guest answered.
            Mode::Whole => own_ns,
            Mode::Chunked { .. } => transfer.duration_ns,
            Mode::Stream { .. } => own_ns.zip(transfer.guest_copy_ns).map(|(own, guest)| own.max(guest)),
        };
        Ok(ns.unwrap_or(u64::MAX).max(1))
    }

    /// One transfer as the test's will be, but for the check.
    fn transfer(
        &mut self,
        link: &mut Link<'_>,
        geometry: &Geometry,
        plan: &BandwidthPlan,
        kernel: Kernel,
        guest_kernel: Option<Kernel>,
    ) -> anyhow::Result<Transfer> {
        link.map.check_not_shrunk()?;
        let slot = (self.number % geometry.slot_count()) as u16;
        self.number += 1;
        let manner = Manner::of(plan, kernel, guest_kernel);
        let transfer = if plan.direction == Direction::GuestToHost {
            let errand = Errand { inbox: &mut self.payload, slot, proof: Proof::NONE, manner };
            transfer::fetch(link, geometry, errand)?
        } else {
            content::produce(&mut self.payload, 0, self.number, plan.digest);
            let parcel = Parcel { payload: &self.payload, slot, proof: Proof::NONE, manner };
            transfer::send(link, geometry, &parcel)?
        };
        if transfer.status.is_timeout() {
            link.check_alive(transfer.sequence)?;
        }
        Ok(transfer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_ranked_by_the_rate_at_their_median() {
        let trials =
            [(Kernel::Memcpy, vec![50, 1, 40]), (Kernel::Sse2, vec![20]), (Kernel::Avx2, vec![30, 30])];
        let expected = [
            (Kernel::Sse2, 50_000_000_000),
            (Kernel::Avx2, 33_333_333_333),
            (Kernel::Memcpy, 25_000_000_000),
        ];
        assert_eq!(fastest_first(1000, &trials), expected);
    }
}
