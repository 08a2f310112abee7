//! Which copy kernel reads fastest here, from the region and from private memory.
//!
//! Two heats, because the measurement delays the guest's readiness: all kernels on a small sample, then those within
//! reach of the best on one of a 4K frame's size. Both sizes matter: glibc's memcpy takes `rep movsb` for small copies
//! on some CPUs and non-temporal stores over interleaved pages for large ones, and a TCG guest runs either at a
//! fraction of the rate between.

use ivshmem_proto::clock::Clock;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::{Geometry, GeometryError, PayloadRange};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::rates::median_rates;
use ivshmem_proto::report::CopyRate;

/// Bytes of a sample in the first heat.
const HEAT_BYTES: usize = 256 << 10;
/// Share of the best rate that qualifies for the final.
const QUALIFIED: f64 = 0.5;
/// Bytes of a sample in the final at most: about a 4K frame.
const FINAL_BYTES: usize = 24 << 20;
/// Samples of each kernel, place and heat.
const SAMPLES: usize = 3;

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Region,
    Anon,
}

/// The reading kernels, fastest from the region first. Reads the region's slots and writes nothing to them. Those
/// that left in the first heat have its rate, and none (zero) from private memory.
///
/// # Errors
/// The region's size is none the layout allows.
pub fn measure(map: &Mapping, clock: &Clock) -> Result<Vec<CopyRate>, GeometryError> {
    let geometry = Geometry::for_payload(map.bytes(), 0)?;
    let slot = geometry.slot_bytes() as usize;
    let range_of = |bytes: usize| -> Result<PayloadRange, GeometryError> {
        geometry.payload(0, bytes.min(slot) as u64).ok_or(GeometryError::SlotBytes(geometry.slot_bytes()))
    };
    let (heat, large) = (range_of(HEAT_BYTES)?, range_of(FINAL_BYTES)?);
    let (mut private, anon) = (vec![1u8; large.len()], vec![2u8; large.len()]);

    // Non-temporal stores would push the private copy out of the cache just before it is hashed.
    let kernels: Vec<_> = Kernel::available().into_iter().filter(|k| !k.is_non_temporal()).collect();
    let heat_rates = median_rates(clock, &kernels, SAMPLES, heat.len(), |kernel| {
        map.read(heat, &mut private[..heat.len()], kernel);
    });
    let best = heat_rates.first().map_or(0, |&(_, rate)| rate) as f64;
    let (finalists, others): (Vec<_>, Vec<_>) =
        heat_rates.into_iter().partition(|&(_, rate)| rate as f64 >= best * QUALIFIED);

    let pairs: Vec<_> =
        finalists.iter().flat_map(|&(kernel, _)| [(kernel, Place::Region), (kernel, Place::Anon)]).collect();
    let rates = median_rates(clock, &pairs, SAMPLES, large.len(), |(kernel, place)| match place {
        Place::Region => map.read(large, &mut private, kernel),
        Place::Anon => kernel.copy_slice(&mut private, &anon),
    });
    let anon_rate =
        |kernel| rates.iter().find(|(pair, _)| *pair == (kernel, Place::Anon)).map_or(0, |&(_, r)| r);
    let region =
        rates.iter().filter(|((_, place), _)| *place == Place::Region).map(|&((k, _), rate)| (k, rate));
    Ok(region
        .chain(others)
        .map(|(kernel, rate)| CopyRate {
            kernel,
            region_bytes_per_s: rate,
            anon_bytes_per_s: anon_rate(kernel),
        })
        .collect())
}
