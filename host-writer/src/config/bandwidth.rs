//! The bandwidth test: its payloads, and the slots they travel in.

use anyhow::{Context as _, ensure};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::frame::FrameFormat;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::layout::RING_ENTRIES;
use ivshmem_proto::wire::{Consume, Digest};

use super::payload::SLOTS_DEFAULT;
use super::{Extent, Mode, PayloadSize};
use crate::cli::{BandwidthArgs, Cache, Direction, ModeName};
use crate::sizes;

/// A bandwidth test of at least one payload.
#[derive(Debug, Clone, PartialEq)]
pub struct BandwidthPlan {
    /// Sizes by name, in order; those of a sweep are not among them.
    pub sizes: Vec<PayloadSize>,
    /// Whether powers of two follow them, as far as they fit.
    pub sweep: bool,
    /// Payloads of each size.
    pub extent: Extent,
    /// How they travel.
    pub mode: Mode,
    /// Who writes.
    pub direction: Direction,
    /// Where they lie before.
    pub cache: Cache,
    /// What the reader does.
    pub consume: Consume,
    /// How they are checked.
    pub digest: Digest,
    /// Every how many.
    pub verify_every: u64,
    /// The host's copy kernel, if forced.
    pub kernel: Option<Kernel>,
    /// The guest's copy kernel, if forced.
    pub guest_kernel: Option<Kernel>,
    /// Seed of their content.
    pub seed: u64,
}

/// What helps when payloads do not fit.
const LARGER: &str = "use a larger region (provision up --shm-size) or smaller payloads";
/// The largest payload of a sweep.
const SWEEP_BYTES_MAX: u64 = 64 << 20;
/// Payloads of a size at the most: each becomes a row.
const ITERATIONS_MAX: u64 = 1_000_000;
/// How often the watermark advances unless asked otherwise.
const CHUNK_BYTES_DEFAULT: u64 = 256 << 10;
/// Bytes of a cache line: what a chunk is a multiple of.
const LINE_BYTES: u64 = 64;

impl BandwidthPlan {
    pub(super) fn new(args: &BandwidthArgs) -> anyhow::Result<Option<Self>> {
        let is_stream = args.mode == ModeName::Stream;
        let is_chunked = args.mode == ModeName::Chunked;
        // Whether or not there is a bandwidth test: what would change nothing was meant to change something.
        ensure!(is_chunked || args.chunk.is_none(), "--chunk belongs to --mode chunked");
        ensure!(is_stream || args.slots.is_none(), "--slots belongs to --mode stream");
        ensure!(is_stream || args.fps.is_none(), "--fps belongs to --mode stream");
        let by_default = || {
            let others = args.sizes.is_some() || args.sweep || (args.duration.is_some() && !is_stream);
            if others { Vec::new() } else { FrameFormat::ALL.to_vec() }
        };
        let frames = args.frames.as_ref().map_or_else(by_default, |list| list.0.clone());
        let mut sizes: Vec<_> = frames.into_iter().map(PayloadSize::Frame).collect();
        sizes.extend(args.sizes.iter().flat_map(|list| &list.0).map(|&bytes| PayloadSize::Bytes(bytes)));
        if args.iterations == 0 || (sizes.is_empty() && !args.sweep) {
            return Ok(None);
        }
        ensure!(
            args.iterations <= ITERATIONS_MAX,
            "--iterations {}: at most {ITERATIONS_MAX} payloads of a size are kept as rows",
            args.iterations
        );
        let chunk_bytes = args.chunk.unwrap_or(CHUNK_BYTES_DEFAULT);
        let mode = match args.mode {
            ModeName::Whole => Mode::Whole,
            ModeName::Chunked => Mode::Chunked { chunk_bytes },
            ModeName::Stream => Mode::Stream { slots: args.slots, fps: args.fps },
        };
        if let Some(slots) = args.slots {
            ensure!(
                (1..RING_ENTRIES).contains(&slots),
                "--slots {slots}: 1 to {} messages can be in flight",
                RING_ENTRIES - 1
            );
        }
        ensure!(
            chunk_bytes > 0 && chunk_bytes.is_multiple_of(LINE_BYTES),
            "--chunk {chunk_bytes} is not a multiple of a cache line ({LINE_BYTES} bytes)"
        );
        ensure!(
            args.direction != Direction::Both || args.mode == ModeName::Whole,
            "--direction both goes with --mode whole only"
        );
        if let Some(kernel) = args.copy {
            ensure!(kernel.is_available(), "--copy {kernel}: this CPU lacks the instructions for it");
        }
        let digest = args.verify.unwrap_or(Digest::Sha256);
        ensure!(
            digest == Digest::None || args.consume == Consume::Copy,
            "--consume {} keeps nothing that could be checked; add --verify none",
            args.consume
        );
        Ok(Some(Self {
            sizes,
            sweep: args.sweep,
            extent: match args.duration.filter(|_| is_stream) {
                Some(duration) => Extent::Time(duration),
                None => Extent::Count(args.iterations),
            },
            mode,
            direction: args.direction,
            cache: args.cache,
            consume: args.consume,
            digest,
            verify_every: args.verify_every,
            kernel: args.copy,
            // Whether the guest's CPU can run it, the guest will say.
            guest_kernel: args.guest_copy,
            seed: args.seed,
        }))
    }

    /// Every size, those of a sweep included, that a region of `region_bytes` is asked to hold.
    ///
    /// # Errors
    /// The region's size is none the layout allows.
    pub fn resolve(&self, region_bytes: u64) -> anyhow::Result<Vec<PayloadSize>> {
        let mut all = self.sizes.clone();
        if self.sweep {
            let slots = match self.mode {
                Mode::Stream { slots, .. } => slots.unwrap_or(2),
                _ => 2,
            };
            let largest = Geometry::for_slots(region_bytes, slots, 0)?.slot_bytes().min(SWEEP_BYTES_MAX);
            let more = sizes::sweep(largest).into_iter().map(PayloadSize::Bytes);
            all.extend(more.filter(|size| !self.sizes.contains(size)));
        }
        Ok(all)
    }

    /// The slots that payloads of up to `largest` bytes travel in.
    ///
    /// # Errors
    /// They do not fit, or the chunk is larger than a slot; the line says what would.
    pub fn geometry(&self, region_bytes: u64, largest: u64) -> anyhow::Result<Geometry> {
        let geometry = match self.mode {
            Mode::Stream { slots: Some(slots), .. } => Geometry::for_slots(region_bytes, slots, largest)
                .with_context(|| {
                    let fit =
                        (1..=slots).rev().find(|&n| Geometry::for_slots(region_bytes, n, largest).is_ok());
                    match fit {
                        Some(fit) => format!("--slots {slots}: give --slots {fit}, which fit, or {LARGER}"),
                        None => LARGER.to_owned(),
                    }
                })?,
            Mode::Stream { slots: None, .. } => (2..=SLOTS_DEFAULT)
                .rev()
                .find_map(|slots| Geometry::for_slots(region_bytes, slots, largest).ok())
                .map_or_else(|| Geometry::for_payload(region_bytes, largest), Ok)
                .context(LARGER)?,
            Mode::Whole | Mode::Chunked { .. } => {
                Geometry::for_payload(region_bytes, largest).context(LARGER)?
            }
        };
        if let Some(chunk_bytes) = self.mode.chunk_bytes() {
            let slot = geometry.slot_bytes();
            ensure!(
                chunk_bytes <= slot,
                "--chunk {} is larger than a slot: give a smaller chunk, {} at the most, or a larger region (provision up \
                 --shm-size)",
                sizes::format_size(chunk_bytes),
                sizes::format_size(slot)
            );
        }
        ensure!(
            self.direction != Direction::Both || geometry.slot_count() > 1,
            "{LARGER}: --direction both needs two slots, and payloads of {largest} bytes leave room for one"
        );
        Ok(geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    fn bandwidth(args: &[&str]) -> BandwidthPlan {
        config(args).unwrap().bandwidth.unwrap()
    }

    #[test]
    fn sizes_replace_the_default_frames_and_a_sweep_ends_at_the_slot() {
        let plan = bandwidth(&["--sizes", "64,4KiB"]);
        assert_eq!(plan.sizes, [PayloadSize::Bytes(64), PayloadSize::Bytes(4096)]);
        assert_eq!(bandwidth(&["--sizes", "64", "--frames", "4k"]).sizes.len(), 2);
        let sweep = bandwidth(&["--sweep"]).resolve(1 << 20).unwrap();
        assert_eq!((sweep[0].bytes(), sweep.last().unwrap().bytes()), (64, 256 << 10));
    }

    #[test]
    fn slots_and_chunks_are_held_against_the_region() {
        let stream = bandwidth(&["--mode", "stream", "--slots", "4"]);
        assert_eq!(stream.geometry(128 << 20, 24_883_200).unwrap().slot_count(), 4);
        let error = format!("{:#}", stream.geometry(64 << 20, 24_883_200).unwrap_err());
        assert!(error.starts_with("--slots 4: give --slots 2, which fit, or use a larger region"), "{error}");
        let by_default = bandwidth(&["--mode", "stream"]);
        assert_eq!(by_default.geometry(64 << 20, 24_883_200).unwrap().slot_count(), 2);
        assert_eq!(by_default.geometry(64 << 20, 4096).unwrap().slot_count(), SLOTS_DEFAULT);
        let chunked = bandwidth(&["--mode", "chunked", "--chunk", "1MiB"]);
        let error = chunked.geometry(1 << 20, 4096).unwrap_err().to_string();
        assert_eq!(
            error,
            "--chunk 1MiB is larger than a slot: give a smaller chunk, 508KiB at the most, or a larger region (provision up --shm-size)"
        );
        let error = bandwidth(&["--direction", "both"]).geometry(1 << 20, 600_000).unwrap_err().to_string();
        assert_eq!(
            error,
            "use a larger region (provision up --shm-size) or smaller payloads: --direction both needs two slots, and payloads \
             of 600000 bytes leave room for one"
        );
    }
}
