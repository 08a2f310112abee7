//! Which copy kernel reads fastest here, from the region and from private memory.
//!
//! In heats, because the measurement delays the guest's readiness: all kernels on a small sample, those within reach of
//! the best once on a large frame's size, and those within reach there in earnest. Both sizes matter: glibc's memcpy
//! takes `rep movsb` for small copies on some CPUs and non-temporal stores over interleaved pages for large ones, and
//! a TCG guest runs either at a fraction of the rate between.

use ivshmem_proto::clock::Clock;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::{Geometry, GeometryError, PayloadRange};
use ivshmem_proto::layout::PAGE_BYTES;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::rates::median_rates;
use ivshmem_proto::report::CopyRate;

/// Bytes of a sample in the first heat.
const HEAT_BYTES: usize = 256 << 10;
/// Share of the best rate that qualifies for the next heat.
const QUALIFIED: f64 = 0.75;
/// Bytes of a sample in the final at most: a large frame, beyond where glibc changes to non-temporal stores.
const FINAL_BYTES: usize = 16 << 20;
/// Samples of each kernel, place and heat.
const SAMPLES: usize = 3;

/// A zeroed buffer whose every page is present. One write a page: filling it all would be a `rep stosb`, which
/// under TCG takes longer than all the measurements.
#[must_use]
pub fn touched(bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    for page in buffer.chunks_mut(PAGE_BYTES) {
        // Not zero, lest the compiler see that nothing changes.
        page[0] = 1;
    }
    buffer
}

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Region,
    Anon,
}

/// Kernels with their rates in bytes per second.
type Rates = Vec<(Kernel, u64)>;

/// Splits into those within reach of the best, and the others.
fn qualified(rates: Rates) -> (Rates, Rates) {
    let best = rates.iter().map(|&(_, rate)| rate).max().unwrap_or(0) as f64;
    rates.into_iter().partition(|&(_, rate)| rate as f64 >= best * QUALIFIED)
}

/// The reading kernels, fastest from the region first. Reads the region's slots and writes nothing to them. Those
/// that left before the final have the rate of their last heat, and none (zero) from private memory.
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
    let (mut private, anon) = (touched(large.len()), touched(large.len()));

    // Non-temporal stores would push the private copy out of the cache just before it is hashed.
    let kernels: Vec<_> = Kernel::available().into_iter().filter(|k| !k.is_non_temporal()).collect();
    let heat_rates = median_rates(clock, &kernels, SAMPLES, heat.len(), |kernel| {
        map.read(heat, &mut private[..heat.len()], kernel);
    });
    let (semifinalists, mut others) = qualified(heat_rates);
    let looks = semifinalists.into_iter().map(|(kernel, _)| {
        let start = clock.now();
        map.read(large, &mut private, kernel);
        (kernel, large.len() as u64 * 1_000_000_000 / clock.ns(start, clock.now()).max(1))
    });
    let (finalists, slow) = qualified(looks.collect());
    others.extend(slow);

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
