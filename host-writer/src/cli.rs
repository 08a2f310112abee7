//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::frame::FrameFormat;
use ivshmem_proto::lane::Lane;
use ivshmem_proto::server_wire::VECTORS_MAX;
use ivshmem_proto::wire::{Consume, Digest};

use crate::load::LoadSpec;
use crate::schedule::{Arrivals, parse_rate};
use crate::sizes::{parse_size, parse_sizes};

/// Measures round-trip latency and payload bandwidth between this host and a guest-reader, through shared memory.
#[derive(Debug, Clone, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// The region's file; created with 64 MiB when absent
    #[arg(long, value_name = "PATH", default_value = "/dev/shm/ivshmem")]
    pub shm: PathBuf,

    /// Be a peer of the ivshmem server at this socket, as provision up --doorbell starts one: its region, and doorbells to
    /// ring the guest and be rung by it
    #[arg(long, value_name = "SOCKET", conflicts_with = "shm")]
    pub server: Option<PathBuf>,

    /// With --server: how to wait for acknowledgements
    #[arg(long, value_enum, default_value_t = HostWait::Poll)]
    pub wait: HostWait,

    /// With --wait doorbell or adaptive: which of a latency message's acknowledgements to be rung for. Being rung for RECEIVED
    /// makes the guest ring before it answers; --wait poll sees both without a bell
    #[arg(long, value_enum, default_value_t = Phases::Processed, conflicts_with = "broadcast")]
    pub phases: Phases,

    /// With --server: the vector that the guest rings
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..i64::from(VECTORS_MAX)))]
    pub vector: u16,

    /// Share the region with other pairs: use the I-th of N equal parts only, from 0; N is a power of two. The guest takes
    /// the same
    #[arg(long, value_name = "I/N", default_value_t = Lane::WHOLE)]
    pub lane: Lane,

    /// With --server: send each message to N guests at once, one in each of N lanes, and wait for all of them; writes
    /// broadcast_results.csv
    #[arg(long, value_name = "N", value_parser = parse_lanes, conflicts_with = "lane")]
    pub broadcast: Option<u64>,

    /// Where the result files go; created when absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,

    /// A set of options by name, which others given beside it change: 4k60 is a stream of 4K frames, 60 a second for 10 s,
    /// copied and not hashed
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub latency: LatencyArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub bandwidth: BandwidthArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub circumstances: Circumstances,

    /// Longest wait for one acknowledgement before the message counts as lost
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// Longest wait for the guest to join
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub guest_timeout: Duration,

    /// Print run.json and the figures as JSON instead of tables
    #[arg(long)]
    pub json: bool,

    /// Print errors only
    #[arg(long, short)]
    pub quiet: bool,
}

/// What the latency test does.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Latency")]
pub struct LatencyArgs {
    /// Latency messages that count; 0 skips the latency test [default: 100000, or what --duration allows]
    #[arg(long, value_name = "N")]
    pub messages: Option<u64>,

    /// Latency messages sent first and not counted
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub warmup: u64,

    /// Closed loop: pause between latency messages, such as 1ms or 50us; 0 for none
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = humantime::parse_duration, conflicts_with = "rate")]
    pub interval: Duration,

    /// Open loop: messages a second, such as 50k; latency then counts from the time a message was due
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub rate: Option<f64>,

    /// When messages of an open loop (--rate) are due [default: uniform]
    #[arg(long, value_enum)]
    pub arrivals: Option<Arrivals>,

    /// Payload of a latency message, 0 to 4KiB; the guest copies it before it acknowledges
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_payload)]
    pub payload: u64,

    /// Keep every sample, or a histogram only: constant memory, for 10^8 messages and more
    /// [default: samples; histogram with --duration]
    #[arg(long, value_enum)]
    pub record: Option<Record>,

    /// Estimate the offset of the guest's clock and report both one-way latencies with their error bound
    #[arg(long)]
    pub one_way: bool,
}

/// What the bandwidth test does.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Bandwidth")]
pub struct BandwidthArgs {
    /// How payloads travel
    #[arg(long, value_enum, default_value_t = ModeName::Whole, conflicts_with = "preset")]
    pub mode: ModeName,

    /// Frame sizes: any of 1080p,1440p,4k, or none to skip the bandwidth test
    /// [default: 1080p,1440p,4k; none when --sizes, --sweep or --duration is given]
    #[arg(long, value_name = "LIST", value_parser = parse_frames)]
    pub frames: Option<FrameList>,

    /// Payload sizes beside frames, such as 64,4KiB,1M; K, M and G stand for KiB, MiB and GiB
    #[arg(long, value_name = "LIST", value_parser = parse_size_list)]
    pub sizes: Option<SizeList>,

    /// Powers of two from 64 bytes to the largest the region holds, up to 64MiB
    #[arg(long)]
    pub sweep: bool,

    /// Payloads of each size
    #[arg(long, visible_alias = "count", value_name = "N", default_value_t = 10)]
    pub iterations: u64,

    /// How long instead of how many: the stream of each size with --mode stream, else the latency test
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// Chunked mode: how often the watermark advances; a multiple of 64 [default: 256KiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk)]
    pub chunk: Option<u64>,

    /// Stream mode: slots in flight [default: as many as fit, at most 4]
    #[arg(long, value_name = "N")]
    pub slots: Option<u64>,

    /// Stream mode: frames a second, open loop [default: as fast as they go]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub fps: Option<f64>,

    /// Who writes and who reads
    #[arg(long, value_enum, default_value_t = Direction::HostToGuest)]
    pub direction: Direction,

    /// Whether payloads lie in the caches: cold takes each from a working set beyond the last-level cache and evicts its slot
    #[arg(long, value_enum, default_value_t = Cache::Warm)]
    pub cache: Cache,

    /// What the reader does with the bytes before PROCESSED: copy them, look at each (scan), or nothing (none)
    #[arg(long, value_name = "copy|scan|none", default_value = "copy", value_parser = parse_consume)]
    pub consume: Consume,

    /// How the reader checks content, after the transfer has been timed [default: sha256; none with --preset]
    #[arg(long, value_name = "sha256|xxh3|crc32c|pattern|none", value_parser = parse_digest)]
    pub verify: Option<Digest>,

    /// Check every N-th payload of a size only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub verify_every: u64,

    /// Write with this copy kernel instead of the fastest measured
    #[arg(long, value_name = "KERNEL", value_parser = kernel())]
    pub copy: Option<Kernel>,

    /// Have the guest copy with this kernel instead of the fastest it measured
    #[arg(long, value_name = "KERNEL", value_parser = kernel())]
    pub guest_copy: Option<Kernel>,

    /// Seed of the payloads' content
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Where and beside what it runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Circumstances")]
pub struct Circumstances {
    /// Pin to this CPU [default: the first allowed CPU that no vCPU of the VM is pinned to]
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,

    /// Run the measuring thread under SCHED_FIFO at this priority, 1 to 99
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(i32).range(1..=99))]
    pub fifo: Option<i32>,

    /// Lock all memory of this process
    #[arg(long)]
    pub mlock: bool,

    /// Load this host with stress-ng while measuring: workers by kind
    #[arg(long, value_name = "cpu=N,memory=N,io=N")]
    pub load: Option<LoadSpec>,
}

const EXAMPLES: &str = "\
Examples:
  host-writer                         100,000 round trips, then ten frames a size
  host-writer --frames 4k             the same with 4K frames only
  host-writer --frames 4k --messages 0
                                      4K frames only, no round trips
  host-writer --frames none --rate 50k --arrivals poisson
                                      open loop: latency from the due time
  host-writer --frames none --one-way
                                      both one-way latencies, with error bound
  host-writer --frames none --duration 60s
                                      a soak: histogram only, constant memory
  host-writer --messages 0 --mode chunked --frames 4k --verify none
                                      the guest reads while the host writes
  host-writer --preset 4k60           4K at 60 frames/s for 10 s: late, dropped
  host-writer --messages 0 --sweep --verify xxh3
                                      powers of two from 64 bytes
  host-writer --server PATH --wait doorbell --frames none --rate 1k
                                      asleep until the guest rings; provision
                                      status names the server's socket
  host-writer --server PATH --broadcast 2 --interval 1ms
                                      to two guests at once, in lanes 0/2 and 1/2
  host-writer --load cpu=2 --out results/loaded
                                      the same beside two busy processes

Writes latency_results.csv, latency.hgrm, bandwidth_results.csv, run.json and,
with --server, doorbell_results.csv; --broadcast broadcast_results.csv and
run.json. A histogram (--duration) has no rows: neither latency_results.csv nor
doorbell_results.csv.
Exit status: 0 every message ok, 1 failed, 2 usage, 3 measured but some
messages are not ok or less than half of the --rate was sent, 130 interrupted.";

/// `--wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostWait {
    /// Look, as without a doorbell
    Poll,
    /// Sleep until the guest rings
    Doorbell,
    /// Look for as long as recent acknowledgements took, then sleep
    Adaptive,
}

impl HostWait {
    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Doorbell => "doorbell",
            Self::Adaptive => "adaptive",
        }
    }
}

/// `--phases`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phases {
    /// PROCESSED only: `received_ns` is not known
    Processed,
    /// RECEIVED, too: up to two bells a message
    Both,
}

/// `--preset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A stream of 4K frames, 60 a second for 10 s
    #[value(name = "4k60")]
    Stream4k60,
}

/// `--record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Record {
    /// Every sample
    Samples,
    /// A histogram of three significant digits
    Histogram,
}

impl Record {
    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Histogram => "histogram",
        }
    }
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// Write all, then publish
    Whole,
    /// Publish at once and advance a watermark; the reader follows it
    Chunked,
    /// Several payloads in flight
    Stream,
}

/// `--direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// The host writes, the guest reads
    HostToGuest,
    /// The guest writes, the host reads
    GuestToHost,
    /// One of each at the same time
    Both,
}

impl Direction {
    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostToGuest => "host-to-guest",
            Self::GuestToHost => "guest-to-host",
            Self::Both => "both",
        }
    }
}

/// `--cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cache {
    /// As a producer leaves them
    Warm,
    /// In memory
    Cold,
}

impl Cache {
    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// The frame sizes asked for, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrameList(pub Vec<FrameFormat>);

/// The payload sizes asked for in bytes, in the order given. A type of its own, because clap takes a `Vec` for a repeated
/// option.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SizeList(pub Vec<u64>);

fn parse_size_list(text: &str) -> Result<SizeList, String> {
    parse_sizes(text).map(SizeList)
}

fn parse_frames(text: &str) -> Result<FrameList, String> {
    if text == "none" {
        return Ok(FrameList::default());
    }
    let mut list = Vec::new();
    for name in text.split(',') {
        let format = FrameFormat::from_name(name)
            .ok_or_else(|| format!("'{name}' is no frame size; use 1080p, 1440p, 4k, or none alone"))?;
        if !list.contains(&format) {
            list.push(format);
        }
    }
    Ok(FrameList(list))
}

fn parse_chunk(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Err(_)
            if text.starts_with('0')
                && text.trim_start_matches('0').chars().all(|c| c.is_ascii_alphabetic()) =>
        {
            Err("a chunk of 0 bytes moves nothing; write a multiple of 64, for example 256KiB".to_owned())
        }
        parsed => parsed,
    }
}

/// Most guests of a broadcast.
const BROADCAST_MAX: u64 = 256;

fn parse_lanes(text: &str) -> Result<u64, String> {
    let count =
        text.parse().ok().filter(|&count| count > 1 && count <= BROADCAST_MAX && u64::is_power_of_two(count));
    count.ok_or_else(|| format!("'{text}' is no number of lanes: 2, 4, 8 ... {BROADCAST_MAX}"))
}

fn parse_payload(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { parse_size(text) }
}

fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Result<T, String> {
    let names = || all.iter().map(|&v| name(v)).collect::<Vec<_>>().join(", ");
    all.iter().copied().find(|&v| name(v) == text).ok_or_else(|| format!("expected one of {}", names()))
}

fn parse_consume(text: &str) -> Result<Consume, String> {
    named(Consume::ALL, Consume::name, text)
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    named(Digest::ALL, Digest::name, text)
}

fn kernel() -> impl TypedValueParser<Value = Kernel> {
    let names = PossibleValuesParser::new(Kernel::ALL.iter().map(|k| k.name()));
    names.try_map(|text| named(Kernel::ALL, Kernel::name, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_lists_are_names_without_repeats() {
        use FrameFormat::{Hd1080, Uhd4k};
        assert_eq!(parse_frames("none"), Ok(FrameList(vec![])));
        assert_eq!(parse_frames("4K,1080p,4k"), Ok(FrameList(vec![Uhd4k, Hd1080])));
        assert!(parse_frames("4k,none").is_err());
        assert!(parse_frames("").is_err());
    }

    #[test]
    fn digests_and_uses_are_known_by_the_names_in_the_files() {
        assert_eq!(parse_digest("crc32c"), Ok(Digest::Crc32c));
        assert_eq!(parse_consume("scan"), Ok(Consume::Scan));
        assert_eq!(parse_consume("eat"), Err("expected one of copy, scan, none".into()));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
