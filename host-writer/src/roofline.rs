//! What either side's core can do on the region and on private memory, whatever the protocol: the roof that no figure of
//! the same run can be above.
//!
//! Measured before and after the test; the best sample of both counts. Payload after payload goes to the same place and
//! nobody else touches it, so these rates are upper bounds, and a test's figure above one is an error of the tool.

use ivshmem_proto::clock::Clock;
use ivshmem_proto::copy::{self, Kernel};
use ivshmem_proto::descriptor::{Operation, RawDescriptor};
use ivshmem_proto::geometry::PayloadRange;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::rates::measure_rates;
use ivshmem_proto::report::RateReport;
use ivshmem_proto::wire::{Consume, Kind};
use serde::Serialize;

use crate::bandwidth::Row;
use crate::cli::Direction;
use crate::config::PayloadSize;
use crate::link::Link;
use crate::median::lower_median;
use crate::status::RowStatus;

/// Bytes of a sample of small payloads: as many copies as that takes.
const SAMPLE_BYTES: usize = 1 << 20;
/// Samples of each way.
const SAMPLES: usize = 4;
/// How far above the roof a figure may lie before it is called an error. A shared machine's cores change their speed by
/// as much from one second to the next, and a read under TCG is at its roof when all is well. What this is to catch (an
/// acknowledgement before the bytes, a payload counted twice) is off by a factor of two and more.
const TOLERANCE: f64 = 1.25;

/// The roofs of one side for one size, in GB/s (1e9 bytes a second); `None` where not measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Side {
    /// From private memory into the region.
    pub write_region_gb_per_s: Option<f64>,
    /// With which kernel.
    pub write_region_kernel: Option<&'static str>,
    /// The lowest of what the measurements before and after the test reached, each with its best kernel.
    pub write_region_low_gb_per_s: Option<f64>,
    /// From private memory into private memory, with the best kernel for that.
    pub write_anon_gb_per_s: Option<f64>,
    /// From the region into private memory.
    pub copy_region_gb_per_s: Option<f64>,
    /// With which kernel.
    pub copy_region_kernel: Option<&'static str>,
    /// The lowest, likewise.
    pub copy_region_low_gb_per_s: Option<f64>,
    /// From private memory into private memory, with a kernel whose stores go through the caches.
    pub copy_anon_gb_per_s: Option<f64>,
    /// Reading the region and keeping nothing.
    pub scan_region_gb_per_s: Option<f64>,
    /// The lowest, likewise.
    pub scan_region_low_gb_per_s: Option<f64>,
    /// Reading private memory and keeping nothing.
    pub scan_anon_gb_per_s: Option<f64>,
}

/// The roofs over payloads of one size that go one way, in GB/s.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Roofs {
    /// Over the writer's rate.
    pub writing: Option<f64>,
    /// Over the reader's.
    pub reading: Option<f64>,
    /// Over the whole transfer's.
    pub total: Option<f64>,
}

impl Roofs {
    /// Of what `writer` writes and `reader` reads, at the same time or in turns.
    #[must_use]
    pub fn of(writer: &Side, reader: &Side, consume: Consume, overlaps: bool) -> Self {
        let (writing, reading) = (writer.writing(), reader.reading(consume));
        let together = |(w, r): (f64, f64)| if overlaps { w.min(r) } else { 1.0 / (1.0 / w + 1.0 / r) };
        // Where nobody reads, writing is all there is.
        let total = if consume == Consume::None { writing } else { writing.zip(reading).map(together) };
        Self { writing, reading, total }
    }
}

/// The roofs of both sides for one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SizeRoof {
    /// The size.
    pub bytes: u64,
    /// This side.
    pub host: Side,
    /// The other, by its own word.
    pub guest: Side,
}

/// The roofs of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Roof {
    /// By size.
    pub sizes: Vec<SizeRoof>,
    /// Figures above their roof, in sentences; a run with any has failed.
    pub exceeded: Vec<String>,
}

/// Bytes per second as GB/s (1e9), to three decimals; `None` of what was not measured and stands as 0.
#[must_use]
pub fn gb_per_s(bytes_per_s: u64) -> Option<f64> {
    (bytes_per_s > 0).then(|| (bytes_per_s as f64 / 1e6).round() / 1e3)
}

/// Keeps the better of two figures.
fn keep(best: &mut Option<f64>, figure: Option<f64>) -> bool {
    let better = figure > *best;
    if better {
        *best = figure;
    }
    better
}

impl Side {
    fn write(&mut self, kernel: Kernel, bytes_per_s: u64) {
        if keep(&mut self.write_region_gb_per_s, gb_per_s(bytes_per_s)) {
            self.write_region_kernel = Some(kernel.name());
        }
    }

    fn copy(&mut self, kernel: Kernel, bytes_per_s: u64) {
        if keep(&mut self.copy_region_gb_per_s, gb_per_s(bytes_per_s)) {
            self.copy_region_kernel = Some(kernel.name());
        }
    }

    /// Takes in what a guest measured.
    pub fn take(&mut self, rates: &RateReport) {
        for row in &rates.candidates {
            self.write(row.kernel, row.write.best);
            self.copy(row.kernel, row.region.best);
            keep(&mut self.copy_anon_gb_per_s, gb_per_s(row.anon.best));
            keep(&mut self.write_anon_gb_per_s, gb_per_s(row.anon.best));
        }
        keep(&mut self.scan_region_gb_per_s, gb_per_s(rates.scan_region_bytes_per_s));
        keep(&mut self.scan_anon_gb_per_s, gb_per_s(rates.scan_anon_bytes_per_s));
    }

    /// Takes in a whole measurement of this side: the better figures stay, and the lowest.
    pub fn absorb(&mut self, round: &Self) {
        if keep(&mut self.write_region_gb_per_s, round.write_region_gb_per_s) {
            self.write_region_kernel = round.write_region_kernel;
        }
        if keep(&mut self.copy_region_gb_per_s, round.copy_region_gb_per_s) {
            self.copy_region_kernel = round.copy_region_kernel;
        }
        keep(&mut self.write_anon_gb_per_s, round.write_anon_gb_per_s);
        keep(&mut self.copy_anon_gb_per_s, round.copy_anon_gb_per_s);
        keep(&mut self.scan_region_gb_per_s, round.scan_region_gb_per_s);
        keep(&mut self.scan_anon_gb_per_s, round.scan_anon_gb_per_s);
        for (low, figure) in [
            (&mut self.write_region_low_gb_per_s, round.write_region_gb_per_s),
            (&mut self.copy_region_low_gb_per_s, round.copy_region_gb_per_s),
            (&mut self.scan_region_low_gb_per_s, round.scan_region_gb_per_s),
        ] {
            *low = (*low).into_iter().chain(figure).reduce(f64::min);
        }
    }

    /// The roof of writing into the region.
    #[must_use]
    pub fn writing(&self) -> Option<f64> {
        self.write_region_gb_per_s
    }

    /// The roof of reading out of the region in the way asked for.
    #[must_use]
    pub fn reading(&self, consume: Consume) -> Option<f64> {
        match consume {
            Consume::Copy => self.copy_region_gb_per_s,
            Consume::Scan => self.scan_region_gb_per_s,
            Consume::None => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Write(Kernel),
    Anon(Kernel),
    Copy(Kernel),
    ScanRegion,
    ScanAnon,
}

/// Measures the host's side for payloads of `range`'s length and keeps what is better in `side`. Overwrites the range.
pub fn measure_host(map: &Mapping, clock: &Clock, range: PayloadRange, side: &mut Side) {
    let bytes = range.len();
    if bytes == 0 {
        return;
    }
    // Not zeros: untouched zero pages would all be one page.
    let (source, mut destination) = (vec![1u8; bytes], vec![2u8; bytes]);
    let kernels = Kernel::available();
    let mut ways: Vec<Way> = kernels.iter().flat_map(|&k| [Way::Write(k), Way::Anon(k)]).collect();
    ways.extend(kernels.iter().filter(|k| !k.is_non_temporal()).map(|&k| Way::Copy(k)));
    ways.extend([Way::ScanRegion, Way::ScanAnon]);
    let times = if bytes >= SAMPLE_BYTES { 1 } else { SAMPLE_BYTES.div_ceil(bytes) };
    let rates = measure_rates(clock, &ways, SAMPLES, bytes * times, |way| {
        for _ in 0..times {
            match way {
                Way::Write(kernel) => map.write(range, &source, kernel),
                Way::Anon(kernel) => kernel.copy_slice(&mut destination, &source),
                Way::Copy(kernel) => map.read(range, &mut destination, kernel),
                Way::ScanRegion => {
                    std::hint::black_box(map.scan(range));
                }
                Way::ScanAnon => {
                    std::hint::black_box(copy::scan_slice(&source));
                }
            }
        }
    });
    for (way, rate) in rates {
        match way {
            Way::Write(kernel) => side.write(kernel, rate.best),
            Way::Anon(kernel) => {
                keep(&mut side.write_anon_gb_per_s, gb_per_s(rate.best));
                if !kernel.is_non_temporal() {
                    keep(&mut side.copy_anon_gb_per_s, gb_per_s(rate.best));
                }
            }
            Way::Copy(kernel) => side.copy(kernel, rate.best),
            Way::ScanRegion => {
                keep(&mut side.scan_region_gb_per_s, gb_per_s(rate.best));
            }
            Way::ScanAnon => {
                keep(&mut side.scan_anon_gb_per_s, gb_per_s(rate.best));
            }
        }
    }
}

/// Asks the guest to measure its side for payloads of `bytes`.
///
/// # Errors
/// A signal, a guest that died or whose report means nothing.
pub fn ask_guest(link: &mut Link<'_>, bytes: u64) -> anyhow::Result<RateReport> {
    link.ask(&RawDescriptor::of(Operation::of(Kind::Measure), bytes, 0, [0; 4]))?;
    Ok(RateReport::read(link.map)?)
}

/// The figures of `rows` that lie above the roof of their size, in sentences. The figure is the median of a size and
/// direction's rows that ended well.
#[must_use]
pub fn exceeded(rows: &[Row], roofs: &[SizeRoof], consume: Consume) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut sizes: Vec<PayloadSize> = Vec::new();
    for row in rows {
        if !sizes.contains(&row.size) {
            sizes.push(row.size);
        }
    }
    for size in sizes {
        let Some(roof) = roofs.iter().find(|roof| roof.bytes == size.bytes()) else { continue };
        for direction in [Direction::HostToGuest, Direction::GuestToHost] {
            let of = |row: &&Row| {
                row.size == size
                    && row.transfer.direction == direction
                    && row.transfer.status == RowStatus::Ok
            };
            let ok: Vec<&Row> = rows.iter().filter(of).collect();
            let to_guest = direction == Direction::HostToGuest;
            let (writer, reader) =
                if to_guest { (&roof.host, &roof.guest) } else { (&roof.guest, &roof.host) };
            let write_ns = |r: &&Row| if to_guest { r.transfer.write_ns } else { r.transfer.guest_ns() };
            let read_ns = |r: &&Row| if to_guest { r.transfer.guest_ns() } else { r.transfer.read_ns };
            let figures = [
                ("written", rate(size, ok.iter().filter_map(write_ns)), writer.writing()),
                ("read", rate(size, ok.iter().filter_map(read_ns)), reader.reading(consume)),
            ];
            for (what, figure, roof) in figures {
                if let (Some(figure), Some(roof)) = (figure, roof)
                    && figure > roof * TOLERANCE
                {
                    let name = size.label();
                    sentences.push(format!(
                        "{name} payloads appear {what} at {figure:.2} GB/s, above the {roof:.2} GB/s that the same core \
                         reached without the protocol in the same run: this figure is wrong"
                    ));
                }
            }
        }
    }
    sentences
}

/// GB/s at the median of the durations.
fn rate(size: PayloadSize, durations_ns: impl Iterator<Item = u64>) -> Option<f64> {
    let median = lower_median(durations_ns.collect())?;
    // What took no time at all is as wrong as what took too little.
    Some(size.bytes() as f64 / median.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Transfer;
    use ivshmem_proto::clock::Ticks;
    use ivshmem_proto::wire::Digest;

    fn row(write_ns: u64, guest_copy_ns: u64) -> Row {
        let published = Transfer::published(1, Direction::HostToGuest, Digest::None, Ticks(0));
        let transfer = Transfer {
            write_ns: Some(write_ns),
            guest_copy_ns: Some(guest_copy_ns + 50),
            guest_stall_ns: Some(50),
            status: RowStatus::Ok,
            ..published
        };
        Row::sample(PayloadSize::Bytes(1000), transfer)
    }

    #[test]
    fn a_figure_above_the_roof_is_named_and_one_below_is_not() {
        let host = Side { write_region_gb_per_s: Some(10.0), ..Side::default() };
        let guest = Side { copy_region_gb_per_s: Some(2.0), ..Side::default() };
        let roofs = [SizeRoof { bytes: 1000, host, guest }];
        let of = |write_ns, read_ns| exceeded(&[row(write_ns, read_ns)], &roofs, Consume::Copy);
        assert_eq!(of(100, 500), Vec::<String>::new());
        assert_eq!(of(81, 405), Vec::<String>::new(), "noise");
        let sentences = of(50, 100);
        assert_eq!(sentences.len(), 2);
        assert!(
            sentences[0].starts_with("1000B payloads appear written at 20.00 GB/s, above the 10.00"),
            "{sentences:?}"
        );
        assert!(sentences[1].contains("read at 10.00 GB/s, above the 2.00 GB/s"), "{sentences:?}");
        assert_eq!(exceeded(&[row(1, 1)], &[], Consume::Copy), Vec::<String>::new());
        assert_eq!(of(0, 500).len(), 1, "in no time");
        assert_eq!(of(u64::MAX, u64::MAX - 50), Vec::<String>::new());
    }

    #[test]
    fn the_roof_of_a_transfer_is_the_slower_side_or_the_sum_of_both_times() {
        let writer = Side { write_region_gb_per_s: Some(12.0), ..Side::default() };
        let reader = Side { copy_region_gb_per_s: Some(4.0), ..Side::default() };
        let total = |consume, overlaps| Roofs::of(&writer, &reader, consume, overlaps).total;
        // 1 / (1/12 + 1/4) = 3.
        assert!((total(Consume::Copy, false).unwrap() - 3.0).abs() < 1e-12);
        assert_eq!((total(Consume::Copy, true), total(Consume::None, false)), (Some(4.0), Some(12.0)));
        assert_eq!(total(Consume::Scan, true), None, "not measured");
    }

    #[test]
    fn the_better_of_two_measurements_stays_with_its_kernel() {
        let mut side = Side::default();
        side.write(Kernel::Memcpy, 2_000_000_000);
        side.write(Kernel::Avx2, 1_000_000_000);
        assert_eq!((side.writing(), side.write_region_kernel), (Some(2.0), Some("memcpy")));
        side.write(Kernel::Avx2, 3_000_000_000);
        assert_eq!((side.writing(), side.write_region_kernel), (Some(3.0), Some("avx2")));
        side.write(Kernel::Sse2, 0);
        assert_eq!(side.writing(), Some(3.0));
    }

    #[test]
    fn a_second_measurement_leaves_the_best_with_its_kernel_and_the_lowest() {
        let measured = |rate, kernel| Side {
            write_region_gb_per_s: Some(rate),
            write_region_kernel: Some(kernel),
            ..Side::default()
        };
        let mut side = Side::default();
        for (rate, kernel) in [(2.0, "sse2"), (3.0, "avx2"), (1.5, "memcpy")] {
            side.absorb(&measured(rate, kernel));
        }
        assert_eq!((side.writing(), side.write_region_kernel), (Some(3.0), Some("avx2")));
        assert_eq!(side.write_region_low_gb_per_s, Some(1.5));
        assert_eq!((side.copy_region_gb_per_s, side.copy_region_low_gb_per_s), (None, None), "not measured");
    }
}
