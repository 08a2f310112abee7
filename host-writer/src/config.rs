//! What to measure, once the flags have been checked against each other.

mod bandwidth;
mod broadcast;
mod payload;
mod preset;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use ivshmem_proto::descriptor::INLINE_BYTES_MAX;
use ivshmem_proto::lane::Lane;

pub use bandwidth::BandwidthPlan;
pub use broadcast::BroadcastPlan;
pub use payload::{Mode, PayloadSize};

use crate::cli::{Args, Circumstances, FrameList, HostWait, LatencyArgs, ModeName, Phases, Record};
use crate::schedule::Arrivals;

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

/// Messages unless asked otherwise.
const MESSAGES_DEFAULT: u64 = 100_000;
/// Samples kept in memory at the most: 64 bytes each.
const SAMPLES_MAX: u64 = 50_000_000;

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

/// Refuses what only a server can give. Not left to clap, whose `requires` is dropped where `--shm`, which conflicts with the
/// server, stands beside it.
fn check_server(args: &Args) -> anyhow::Result<()> {
    if args.server.is_some() {
        return Ok(());
    }
    let option = match args {
        Args { wait: HostWait::Doorbell | HostWait::Adaptive, .. } => format!("--wait {}", args.wait.name()),
        Args { phases: Phases::Both, .. } => "--phases both".to_owned(),
        Args { broadcast: Some(lanes), .. } => format!("--broadcast {lanes}"),
        Args { vector: 1.., .. } => format!("--vector {}", args.vector),
        _ => return Ok(()),
    };
    bail!("{option} needs --server SOCKET ('provision status' names it)")
}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(mut args: Args) -> anyhow::Result<Self> {
        check_server(&args)?;
        let preset = args.preset.map(|preset| preset::apply(preset, &mut args));
        let broadcast = args.broadcast.map(|lanes| BroadcastPlan::new(lanes, &args)).transpose()?;
        if broadcast.is_some() {
            args.latency.messages = Some(0);
            args.bandwidth.frames = Some(FrameList(Vec::new()));
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

    pub(super) fn config(args: &[&str]) -> anyhow::Result<Config> {
        Config::try_from(Args::try_parse_from(std::iter::once(&"host-writer").chain(args))?)
    }

    #[test]
    fn without_options_both_tests_run_on_three_frame_sizes() {
        let config = config(&[]).unwrap();
        assert_eq!(config.latency.unwrap().extent, Extent::Count(100_000));
        let plan = config.bandwidth.unwrap();
        assert_eq!((plan.sizes.len(), plan.mode, plan.extent), (3, Mode::Whole, Extent::Count(10)));
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
    fn what_cannot_be_is_refused_in_one_line_that_names_it() {
        for (args, expected) in [
            (&["--mode", "chunked", "--chunk", "100"][..], "not a multiple of a cache line"),
            (&["--chunk", "4KiB"], "--chunk belongs to --mode chunked"),
            (&["--mode", "stream", "--chunk", "4KiB"], "--chunk belongs to --mode chunked"),
            (&["--slots", "2"], "--slots belongs to --mode stream"),
            (&["--frames", "none", "--slots", "2"], "--slots belongs to --mode stream"),
            (&["--mode", "stream", "--slots", "16"], "1 to 15 messages"),
            (&["--fps", "60"], "--fps belongs to --mode stream"),
            (&["--preset", "4k60", "--mode", "whole"], "cannot be used with"),
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
            (&["--wait", "doorbell"], "--wait doorbell needs --server SOCKET ('provision status' names it)"),
            (&["--shm", "/x", "--wait", "adaptive"], "--wait adaptive needs --server SOCKET"),
            (&["--shm", "/x", "--phases", "both"], "--phases both needs --server SOCKET"),
            (&["--shm", "/x", "--vector", "1"], "--vector 1 needs --server SOCKET"),
            (&["--shm", "/x", "--broadcast", "2"], "--broadcast 2 needs --server SOCKET"),
            (&["--server", "/s", "--broadcast", "2", "--messages", "0"], "nothing to measure"),
            (&["--server", "/s", "--broadcast", "2", "--sizes", "64"], "leave --sizes out"),
            (&["--server", "/s", "--broadcast", "2", "--rate", "1k"], "leave --rate out"),
            (&["--server", "/s", "--broadcast", "256", "--messages", "1000000"], "at most 50000000 samples"),
        ] {
            let error = config(args).unwrap_err().to_string();
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }
}
