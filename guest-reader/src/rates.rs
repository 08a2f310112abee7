//! Which copy kernel is fastest here for payloads of one size, out of the region, into it, and in private memory.
//!
//! In heats, because somebody waits for the answer: all kernels on a small sample, those within reach of the best once on
//! the whole size, and those within reach there in earnest. Both sizes matter: glibc's memcpy takes `rep movsb` for small
//! copies on some CPUs and non-temporal stores over interleaved pages for large ones, and a TCG guest runs either at a
//! fraction of the rate between.

use ivshmem_proto::clock::Clock;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::PayloadRange;
use ivshmem_proto::layout::PAGE_BYTES;
use ivshmem_proto::mapping::{Mapping, forget_translations};
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::rates::{Measured, measure_rates};
use ivshmem_proto::report::{CopyRate, Rate, RateReport};

/// Bytes of a sample in the first heat, and of a sample of payloads smaller than that: as many of them as it takes.
pub const HEAT_BYTES: usize = 256 << 10;
/// Share of the best rate that qualifies for the next heat.
const QUALIFIED: f64 = 0.75;
/// Samples of each kernel and place in a heat, and in the final.
const HEAT_SAMPLES: usize = 3;
const FINAL_SAMPLES: usize = 5;

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

/// Passes over a payload to get warm.
const WARM_PASSES: usize = 8;

/// Reads `range` into `private` until address translations are warm.
///
/// QEMU's TCG keeps them in a table that starts with 256 entries, is doubled only when the guest has its translations
/// flushed, and then only if most entries were used: a quiet guest can read large payloads at a third of its rate for as
/// long as nothing flushes. So they are flushed a few times, and the payload read in between.
pub fn warm(map: &Mapping, range: PayloadRange, private: &mut [u8]) {
    if range.len() < HEAT_BYTES {
        return;
    }
    for _ in 0..WARM_PASSES {
        forget_translations();
        map.read(range, private, Kernel::Memcpy);
    }
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Region(Kernel),
    Anon(Kernel),
    Write(Kernel),
    ScanRegion,
    ScanAnon,
}

/// Kernels and their rates.
type Rates = Vec<Measured<Kernel>>;

/// Splits into those within reach of the best, and the others.
fn qualified(rates: Rates) -> (Rates, Rates) {
    let best = rates.iter().map(|&(_, rate)| rate.typical).max().unwrap_or(0) as f64;
    rates.into_iter().partition(|&(_, rate)| rate.typical as f64 >= best * QUALIFIED)
}

/// Measures copies of `range`'s length out of the region and in private memory, and chooses: for the start, when a host
/// has yet to say which sizes matter.
#[must_use]
pub fn at_start(map: &Mapping, clock: &Clock, range: PayloadRange) -> RateReport {
    let (mut private, anon) = (touched(range.len()), touched(range.len()));
    let kernels = reading_kernels();
    let ways: Vec<Way> = kernels.iter().flat_map(|&k| [Way::Region(k), Way::Anon(k)]).collect();
    let rates = sample(clock, &ways, HEAT_SAMPLES, range.len(), |way| match way {
        Way::Region(kernel) => map.read(range, &mut private, kernel),
        Way::Anon(kernel) => kernel.copy_slice(&mut private, &anon),
        Way::Write(_) | Way::ScanRegion | Way::ScanAnon => {}
    });
    let of = |wanted| rate_of(&rates, wanted);
    let mut rows: Vec<CopyRate> =
        kernels.iter().map(|&k| CopyRate { anon: of(Way::Anon(k)), ..row(k, of(Way::Region(k))) }).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.region.typical));
    report(range.len(), rows)
}

fn rate_of(rates: &[Measured<Way>], wanted: Way) -> Rate {
    rates.iter().find(|(way, _)| *way == wanted).map_or(Rate::default(), |&(_, rate)| rate)
}

/// Measures everything for payloads of `range`'s length. Overwrites the range and `private`, which is at least as long.
/// `slot_bytes` is the most that may be allocated beside it.
#[must_use]
pub fn measure(
    map: &Mapping,
    clock: &Clock,
    range: PayloadRange,
    private: &mut Vec<u8>,
    slot_bytes: usize,
) -> RateReport {
    let bytes = range.len();
    if bytes == 0 {
        return RateReport::default();
    }
    if private.len() < slot_bytes {
        *private = touched(slot_bytes);
    }
    let private = &mut private[..bytes];
    let mut anon = touched(bytes);
    warm(map, range, private);
    let small = range.part(0, bytes.min(HEAT_BYTES)).unwrap_or(range);
    let (semifinalists, mut others) = qualified(heat(map, clock, small, private, &reading_kernels()));
    let finalists = if bytes > HEAT_BYTES {
        let looks = semifinalists.into_iter().map(|(kernel, _)| {
            let start = clock.now();
            map.read(range, private, kernel);
            let rate = bytes as u64 * 1_000_000_000 / clock.ns(start, clock.now()).max(1);
            (kernel, Rate { typical: rate, best: rate })
        });
        let (finalists, slow) = qualified(looks.collect());
        others.extend(slow);
        finalists
    } else {
        semifinalists
    };
    let kernels = || finalists.iter().map(|&(kernel, _)| kernel);
    // Reading first, and apart from writing: lines that this core has just written are slower to read.
    let mut ways: Vec<Way> = kernels().flat_map(|k| [Way::Region(k), Way::Anon(k)]).collect();
    ways.extend([Way::ScanRegion, Way::ScanAnon]);
    let writes: Vec<Way> = kernels().map(Way::Write).collect();
    let mut once = |way| match way {
        Way::Region(kernel) => map.read(range, private, kernel),
        Way::Anon(kernel) => kernel.copy_slice(private, &anon),
        Way::Write(kernel) => map.write(range, &anon, kernel),
        Way::ScanRegion => {
            std::hint::black_box(map.scan(range));
        }
        Way::ScanAnon => {
            std::hint::black_box(ivshmem_proto::copy::scan_slice(&anon));
        }
    };
    let mut rates = sample(clock, &ways, FINAL_SAMPLES, bytes, &mut once);
    rates.extend(sample(clock, &writes, HEAT_SAMPLES, bytes, &mut once));
    // For the roof: the same read again and again, with nothing between that takes the caches from it.
    let alone = sample(clock, &ways[..1], FINAL_SAMPLES, bytes, &mut once);
    if let (Some(first), Some(again)) = (rates.iter_mut().find(|(way, _)| *way == ways[0]), alone.first()) {
        first.1.best = first.1.best.max(again.1.best);
    }
    // So that the next measurement's region holds other bytes than this one's.
    anon[0] ^= 1;
    let of = |wanted| rate_of(&rates, wanted);
    let mut rows: Vec<CopyRate> = finalists
        .iter()
        .map(|&(kernel, _)| CopyRate {
            kernel,
            region: of(Way::Region(kernel)),
            anon: of(Way::Anon(kernel)),
            write: of(Way::Write(kernel)),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.region.typical));
    rows.extend(others.into_iter().map(|(kernel, region)| row(kernel, region)));
    RateReport {
        scan_region_bytes_per_s: of(Way::ScanRegion).best,
        scan_anon_bytes_per_s: of(Way::ScanAnon).best,
        ..report(bytes, rows)
    }
}

/// Non-temporal stores would push the private copy out of the cache just before it is checked.
fn reading_kernels() -> Vec<Kernel> {
    Kernel::available().into_iter().filter(|k| !k.is_non_temporal()).collect()
}

fn row(kernel: Kernel, region: Rate) -> CopyRate {
    CopyRate { kernel, region, anon: Rate::default(), write: Rate::default() }
}

fn report(bytes: usize, candidates: Vec<CopyRate>) -> RateReport {
    let chosen = candidates.first().map(|row| row.kernel);
    RateReport { bytes: bytes as u64, chosen, candidates, ..RateReport::default() }
}

/// All `kernels` out of the region, fastest first.
fn heat(map: &Mapping, clock: &Clock, range: PayloadRange, private: &mut [u8], kernels: &[Kernel]) -> Rates {
    let private = &mut private[..range.len()];
    sample(clock, kernels, HEAT_SAMPLES, range.len(), |kernel| map.read(range, private, kernel))
}

/// Small payloads are copied as often as fills a sample: one copy would be shorter than reading the clock.
fn sample<T: Copy>(
    clock: &Clock,
    ways: &[T],
    samples: usize,
    bytes: usize,
    mut copy: impl FnMut(T),
) -> Vec<Measured<T>> {
    let times = HEAT_BYTES.div_ceil(bytes.max(1)).clamp(1, 4096);
    let times = if bytes >= HEAT_BYTES { 1 } else { times };
    measure_rates(clock, ways, samples, bytes * times, |way| {
        for _ in 0..times {
            copy(way);
        }
    })
}
