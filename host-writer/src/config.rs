//! What to measure, once the flags have been checked against each other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::INLINE_BYTES_MAX;
use ivshmem_proto::frame::{BITS_PER_PIXEL, FrameFormat};
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::lane::Lane;
use ivshmem_proto::layout::RING_ENTRIES;
use ivshmem_proto::wire::{Consume, Digest};

use crate::cli::{
    Args, BandwidthArgs, Cache, Circumstances, Direction, HostWait, LatencyArgs, ModeName, Phases, Preset,
    Record,
};
use crate::schedule::Arrivals;
use crate::sizes;

/// A validated request. Constructed from [`Args`] only.
#[derive(Debug, Clone)]
pub struct Config {
    /// The region's file.
    pub shm: PathBuf,
    /// The server to be a peer of, which has a region of its own.
    pub server: Option<Server>,
    /// The part of the region that is used.
    pub lane: Lane,
    /// Messages to many guests at once, in place of both tests.
    pub broadcast: Option<BroadcastPlan>,
    /// Where results go.
    pub out: PathBuf,
    /// The latency test, unless skipped.
    pub latency: Option<LatencyPlan>,
    /// The bandwidth test, unless skipped.
    pub bandwidth: Option<BandwidthPlan>,
    /// The preset asked for, and the options that changed it.
    pub preset: Option<String>,
    /// Where and beside what it runs.
    pub circumstances: Circumstances,
    /// Longest wait for one acknowledgement.
    pub timeout: Duration,
    /// Longest wait for the guest.
    pub guest_timeout: Duration,
    /// What to print.
    pub print: Print,
}

/// A request that this machine or this region cannot meet, as only a look at them shows.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Unmet(pub anyhow::Error);

/// A peer's place at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The server's socket.
    pub socket: PathBuf,
    /// How this side waits.
    pub wait: HostWait,
    /// What it is rung for.
    pub phases: Phases,
    /// Where it is rung.
    pub vector: u16,
}

impl Server {
    /// How this side waits, as files name it: `doorbell=both` is told of RECEIVED, too. Who polls sees it anyhow.
    #[must_use]
    pub const fn wait_name(&self) -> &'static str {
        match (self.wait, self.phases) {
            (HostWait::Doorbell, Phases::Both) => "doorbell=both",
            (HostWait::Adaptive, Phases::Both) => "adaptive=both",
            (wait, _) => wait.name(),
        }
    }
}

/// What the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// Progress on standard error, tables on standard output.
    Tables,
    /// JSON on standard output.
    Json,
    /// Nothing but errors.
    Nothing,
}

/// How long a test goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// So many messages.
    Count(u64),
    /// So long.
    Time(Duration),
}

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The next one after the last one's acknowledgement and this pause.
    Closed(Duration),
    /// On a schedule, whatever became of those before.
    Open {
        /// Messages a second.
        rate_per_s: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// A latency test of at least one message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyPlan {
    /// Messages that count.
    pub extent: Extent,
    /// Messages before them.
    pub warmup: u64,
    /// When they are sent.
    pub pace: Pace,
    /// Bytes of payload, at most a page.
    pub payload_bytes: u64,
    /// What is kept of them.
    pub record: Record,
    /// Whether both one-way latencies are estimated.
    pub one_way: bool,
}

/// Messages to many guests at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroadcastPlan {
    /// Guests, each in a lane of its own.
    pub lanes: u64,
    /// Messages that count.
    pub messages: u64,
    /// Messages before them.
    pub warmup: u64,
    /// Pause between messages.
    pub interval: Duration,
}

/// A payload's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSize {
    /// A video frame.
    Frame(FrameFormat),
    /// So many bytes.
    Bytes(u64),
}

impl PayloadSize {
    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Frame(format) => format.bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The name used in files.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Frame(format) => format.name().to_owned(),
            Self::Bytes(bytes) => sizes::format_size(bytes),
        }
    }

    /// The name shown to people: `4K frame`, beside which `4KiB` is no frame.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Frame(FrameFormat::Uhd4k) => "4K frame".to_owned(),
            Self::Frame(format) => format!("{} frame", format.name()),
            Self::Bytes(_) => self.name(),
        }
    }

    /// Width and height in pixels and bits a pixel; zeros for what is no picture.
    #[must_use]
    pub const fn picture(self) -> (u32, u32, u32) {
        match self {
            Self::Frame(format) => (format.width(), format.height(), BITS_PER_PIXEL),
            Self::Bytes(_) => (0, 0, 0),
        }
    }
}

/// How payloads travel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Write all, then publish.
    Whole,
    /// Publish and advance a watermark.
    Chunked {
        /// How often, in bytes.
        chunk_bytes: u64,
    },
    /// Several in flight.
    Stream {
        /// How many at most; `None`: as many as fit, at most [`SLOTS_DEFAULT`].
        slots: Option<u64>,
        /// Frames a second; `None`: as fast as they go.
        fps: Option<f64>,
    },
}

/// Slots of a stream unless asked otherwise.
pub const SLOTS_DEFAULT: u64 = 4;

impl Mode {
    /// Whether the reader reads while the writer writes; else the two take turns.
    #[must_use]
    pub const fn overlaps(self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Chunked { .. } => "chunked",
            Self::Stream { .. } => "stream",
        }
    }

    /// How often the watermark advances in bytes; `None` where payloads go whole.
    #[must_use]
    pub const fn chunk_bytes(self) -> Option<u64> {
        match self {
            Self::Chunked { chunk_bytes } => Some(chunk_bytes),
            Self::Whole | Self::Stream { .. } => None,
        }
    }

    /// Frames a second of an open loop.
    #[must_use]
    pub const fn fps(self) -> Option<f64> {
        match self {
            Self::Stream { fps, .. } => fps,
            Self::Whole | Self::Chunked { .. } => None,
        }
    }
}

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

impl BandwidthPlan {
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

/// Messages unless asked otherwise.
const MESSAGES_DEFAULT: u64 = 100_000;
/// Payloads of a size at the most: each becomes a row.
const ITERATIONS_MAX: u64 = 1_000_000;
/// Samples kept in memory at the most: 64 bytes each.
const SAMPLES_MAX: u64 = 50_000_000;
/// How often the watermark advances unless asked otherwise.
const CHUNK_BYTES_DEFAULT: u64 = 256 << 10;
/// Bytes of a cache line: what a chunk is a multiple of.
const LINE_BYTES: u64 = 64;

impl LatencyPlan {
    fn new(args: &LatencyArgs, duration: Option<Duration>) -> anyhow::Result<Option<Self>> {
        if let Some(arrivals) = args.arrivals.filter(|_| args.rate.is_none()) {
            bail!("--arrivals {} belongs to an open loop: give its --rate, for example 50k", arrivals.name());
        }
        let extent = match (args.messages, duration) {
            (Some(0), _) => return Ok(None),
            (Some(_), Some(_)) => {
                bail!("--messages and --duration both say when the latency test ends; give one")
            }
            (Some(messages), None) => Extent::Count(messages),
            (None, Some(duration)) => Extent::Time(duration),
            (None, None) => Extent::Count(MESSAGES_DEFAULT),
        };
        let by_time = matches!(extent, Extent::Time(_));
        let record = args.record.unwrap_or(if by_time { Record::Histogram } else { Record::Samples });
        let pace = match args.rate {
            Some(rate_per_s) => {
                Pace::Open { rate_per_s, arrivals: args.arrivals.unwrap_or(Arrivals::Uniform) }
            }
            None => Pace::Closed(args.interval),
        };
        if record == Record::Samples {
            let count = match extent {
                Extent::Count(messages) => messages.max(args.warmup),
                Extent::Time(_) => bail!(
                    "--duration keeps a histogram, because nobody knows how many samples come; \
                    leave --record samples out, or give --messages"
                ),
            };
            ensure!(
                count <= SAMPLES_MAX,
                "--messages and --warmup may be at most {SAMPLES_MAX} when every sample is kept; add --record histogram"
            );
        }
        ensure!(
            !(args.one_way && record == Record::Histogram),
            "--one-way needs every sample, because the clocks' offset is known only at the end; leave the histogram out"
        );
        ensure!(
            args.payload <= INLINE_BYTES_MAX,
            "--payload {}: a latency message carries at most {INLINE_BYTES_MAX} bytes; larger ones are --sizes",
            args.payload
        );
        Ok(Some(Self {
            extent,
            warmup: args.warmup,
            pace,
            payload_bytes: args.payload,
            record,
            one_way: args.one_way,
        }))
    }
}

impl BroadcastPlan {
    fn new(lanes: u64, args: &Args) -> anyhow::Result<Self> {
        let (latency, bandwidth) = (&args.latency, &args.bandwidth);
        for (is_given, flag) in [
            (args.preset.is_some(), "--preset"),
            (latency.rate.is_some(), "--rate"),
            (latency.payload > 0, "--payload"),
            (latency.record.is_some(), "--record"),
            (latency.one_way, "--one-way"),
            (bandwidth.mode != ModeName::Whole, "--mode"),
            (bandwidth.frames.as_ref().is_some_and(|list| !list.0.is_empty()), "--frames"),
            (bandwidth.sizes.is_some(), "--sizes"),
            (bandwidth.sweep, "--sweep"),
            (bandwidth.duration.is_some(), "--duration"),
        ] {
            ensure!(
                !is_given,
                "--broadcast sends messages without payload in a closed loop: leave {flag} out"
            );
        }
        let messages = latency.messages.unwrap_or(MESSAGES_DEFAULT);
        ensure!(messages > 0, "nothing to measure: give --messages above 0");
        ensure!(
            messages.saturating_mul(lanes) <= SAMPLES_MAX,
            "--messages {messages} to {lanes} guests: at most {SAMPLES_MAX} samples are kept"
        );
        Ok(Self { lanes, messages, warmup: latency.warmup, interval: latency.interval })
    }
}

fn available(name: Option<&String>) -> anyhow::Result<Option<Kernel>> {
    let Some(name) = name else { return Ok(None) };
    let kernel = Kernel::ALL.iter().copied().find(|k| k.name() == name).context("no such copy kernel")?;
    ensure!(kernel.is_available(), "--copy {kernel}: this CPU lacks the instructions for it");
    Ok(Some(kernel))
}

impl BandwidthPlan {
    fn new(args: &BandwidthArgs) -> anyhow::Result<Option<Self>> {
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
        ensure!(
            args.verify == Digest::None || args.consume == Consume::Copy,
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
            digest: args.verify,
            verify_every: args.verify_every,
            kernel: available(args.copy.as_ref())?,
            // Whether the guest's CPU can run it, the guest will say.
            guest_kernel: args
                .guest_copy
                .as_ref()
                .and_then(|name| Kernel::ALL.iter().copied().find(|k| k.name() == name)),
            seed: args.seed,
        }))
    }
}

/// What a preset stands for; options given beside it change it, or stay where it says nothing.
/// Returns its name and what of it was changed.
fn apply(preset: Preset, args: &mut Args) -> String {
    match preset {
        Preset::Stream4k60 => {
            args.latency.messages = args.latency.messages.or(Some(0));
            let bandwidth = &mut args.bandwidth;
            bandwidth.mode = ModeName::Stream;
            let changes = [
                ("--fps", bandwidth.fps.is_some_and(|fps| fps != 60.0)),
                ("--duration", bandwidth.duration.is_some_and(|length| length != Duration::from_secs(10))),
                ("--frames", bandwidth.frames.is_some()),
                ("--sizes", bandwidth.sizes.is_some()),
                ("--sweep", bandwidth.sweep),
            ];
            let others = bandwidth.frames.is_some() || bandwidth.sizes.is_some() || bandwidth.sweep;
            if !others {
                bandwidth.frames = Some(crate::cli::FrameList(vec![FrameFormat::Uhd4k]));
            }
            bandwidth.fps = bandwidth.fps.or(Some(60.0));
            bandwidth.duration = bandwidth.duration.or(Some(Duration::from_secs(10)));
            bandwidth.verify = Digest::None;
            let changed: Vec<_> = changes.iter().filter(|(_, is)| *is).map(|&(flag, _)| flag).collect();
            match changed[..] {
                [] => "4k60".to_owned(),
                _ => format!("4k60 changed by {}", changed.join(", ")),
            }
        }
    }
}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(mut args: Args) -> anyhow::Result<Self> {
        let preset = args.preset.map(|preset| apply(preset, &mut args));
        let broadcast = args.broadcast.map(|lanes| BroadcastPlan::new(lanes, &args)).transpose()?;
        if broadcast.is_some() {
            args.latency.messages = Some(0);
            args.bandwidth.frames = Some(crate::cli::FrameList(Vec::new()));
        }
        let is_stream = args.bandwidth.mode == ModeName::Stream;
        ensure!(
            args.bandwidth.duration != Some(Duration::ZERO),
            "--duration 0 measures nothing; give for example 10s"
        );
        let mut latency = LatencyPlan::new(&args.latency, args.bandwidth.duration.filter(|_| !is_stream))?;
        if let Some(plan) = latency.as_mut().filter(|plan| plan.record == Record::Samples) {
            // How long a wake-up takes is a one-way latency.
            plan.one_way |= args.server.is_some();
        }
        let bandwidth = BandwidthPlan::new(&args.bandwidth)?;
        ensure!(
            latency.is_some() || bandwidth.is_some() || broadcast.is_some(),
            "nothing to measure: give --messages above 0, or --frames and --iterations"
        );
        ensure!(!args.timeout.is_zero(), "--timeout 0 would call every message lost; give for example 5s");
        let print = match (args.quiet, args.json) {
            (_, true) => Print::Json,
            (true, false) => Print::Nothing,
            (false, false) => Print::Tables,
        };
        Ok(Self {
            shm: args.shm,
            server: args.server.map(|socket| Server {
                socket,
                wait: args.wait,
                phases: args.phases,
                vector: args.vector,
            }),
            lane: args.lane,
            broadcast,
            out: args.out,
            latency,
            bandwidth,
            preset,
            circumstances: args.circumstances,
            timeout: args.timeout,
            guest_timeout: args.guest_timeout,
            print,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn config(args: &[&str]) -> anyhow::Result<Config> {
        Config::try_from(Args::try_parse_from(std::iter::once(&"host-writer").chain(args))?)
    }

    fn bandwidth(args: &[&str]) -> BandwidthPlan {
        config(args).unwrap().bandwidth.unwrap()
    }

    #[test]
    fn without_options_both_tests_run_on_three_frame_sizes() {
        let config = config(&[]).unwrap();
        assert_eq!(config.latency.unwrap().extent, Extent::Count(100_000));
        let plan = config.bandwidth.unwrap();
        assert_eq!((plan.sizes.len(), plan.mode, plan.extent), (3, Mode::Whole, Extent::Count(10)));
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
    fn a_duration_is_the_streams_or_else_the_latency_tests() {
        let soak = config(&["--duration", "1s"]).unwrap();
        assert_eq!(soak.bandwidth, None);
        let plan = soak.latency.unwrap();
        assert_eq!((plan.extent, plan.record), (Extent::Time(Duration::from_secs(1)), Record::Histogram));
        let stream = config(&["--mode", "stream", "--duration", "1s"]).unwrap();
        assert_eq!(stream.latency.unwrap().extent, Extent::Count(100_000));
        assert_eq!(stream.bandwidth.unwrap().extent, Extent::Time(Duration::from_secs(1)));
    }

    #[test]
    fn the_preset_is_4k_at_60_for_ten_seconds_without_hashing() {
        let config = config(&["--preset", "4k60"]).unwrap();
        let plan = config.bandwidth.unwrap();
        assert_eq!(config.latency, None);
        assert_eq!(plan.mode, Mode::Stream { slots: None, fps: Some(60.0) });
        assert_eq!((plan.extent, plan.digest), (Extent::Time(Duration::from_secs(10)), Digest::None));
        assert_eq!(config.preset.unwrap(), "4k60");
    }

    #[test]
    fn a_preset_that_was_changed_says_by_what() {
        let config = config(&["--preset", "4k60", "--fps", "30", "--frames", "1080p"]).unwrap();
        assert_eq!(config.preset.unwrap(), "4k60 changed by --fps, --frames");
        assert_eq!(config.bandwidth.unwrap().mode, Mode::Stream { slots: None, fps: Some(30.0) });
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_line_that_names_it() {
        for (args, expected) in [
            (&["--mode", "chunked", "--chunk", "100"][..], "not a multiple of a cache line"),
            (&["--chunk", "4KiB"], "--chunk belongs to --mode chunked"),
            (&["--mode", "stream", "--chunk", "4KiB"], "--chunk belongs to --mode chunked"),
            (&["--slots", "2"], "--slots belongs to --mode stream"),
            (&["--frames", "none", "--slots", "2"], "--slots belongs to --mode stream"),
            (&["--mode", "stream", "--slots", "16"], "1 to 15 messages"),
            (&["--fps", "60"], "--fps belongs to --mode stream"),
            (&["--consume", "scan"], "add --verify none"),
            (&["--mode", "chunked", "--direction", "both"], "--mode whole only"),
            (&["--arrivals", "poisson"], "give its --rate, for example 50k"),
            (&["--one-way", "--record", "histogram"], "needs every sample"),
            (&["--messages", "60000000"], "add --record histogram"),
            (&["--messages", "5", "--duration", "1s"], "give one"),
            (&["--duration", "0s"], "--duration 0"),
            (&["--payload", "5KiB"], "--payload 5120: a latency message carries at most 4096 bytes"),
            (&["--iterations", "18446744073709551615"], "at most 1000000 payloads"),
            (&["--messages", "0", "--frames", "none"], "nothing to measure"),
            (&["--server", "/s", "--broadcast", "2", "--messages", "0"], "nothing to measure"),
            (&["--server", "/s", "--broadcast", "2", "--sizes", "64"], "leave --sizes out"),
            (&["--server", "/s", "--broadcast", "2", "--rate", "1k"], "leave --rate out"),
            (&["--server", "/s", "--broadcast", "256", "--messages", "1000000"], "at most 50000000 samples"),
        ] {
            let error = config(args).unwrap_err().to_string();
            assert!(error.contains(expected), "{args:?}: {error}");
        }
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
