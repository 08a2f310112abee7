//! What to measure, once the flags have been checked against each other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use ivshmem_proto::frame::FrameFormat;

use crate::cli::{Args, Verify};

/// A validated request. Constructed from [`Args`] only.
#[derive(Debug, Clone)]
pub struct Config {
    /// The region's file.
    pub shm: PathBuf,
    /// Where results go.
    pub out: PathBuf,
    /// The latency test, unless skipped.
    pub latency: Option<LatencyPlan>,
    /// The bandwidth test, unless skipped.
    pub bandwidth: Option<BandwidthPlan>,
    /// The CPU asked for.
    pub cpu: Option<u32>,
    /// Longest wait for one acknowledgement.
    pub timeout: Duration,
    /// Longest wait for the guest.
    pub guest_timeout: Duration,
    /// What to print.
    pub print: Print,
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

/// A latency test of at least one message.
#[derive(Debug, Clone, Copy)]
pub struct LatencyPlan {
    /// Messages that count.
    pub messages: u64,
    /// Messages before them.
    pub warmup: u64,
    /// Pause between messages.
    pub interval: Duration,
}

/// A bandwidth test of at least one frame.
#[derive(Debug, Clone)]
pub struct BandwidthPlan {
    /// Frame sizes, in order.
    pub frames: Vec<FrameFormat>,
    /// Frames of each.
    pub iterations: u64,
    /// How they are checked.
    pub verify: Verify,
    /// Seed of their content.
    pub seed: u64,
}

impl BandwidthPlan {
    /// The largest payload in bytes.
    #[must_use]
    pub fn largest_bytes(&self) -> u64 {
        self.frames.iter().map(|f| f.bytes()).max().unwrap_or(0)
    }
}

/// Samples kept in memory at the most: 24 bytes each.
const MESSAGES_MAX: u64 = 200_000_000;

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        let bandwidth = (args.iterations > 0 && !args.frames.0.is_empty()).then(|| BandwidthPlan {
            frames: args.frames.0.clone(),
            iterations: args.iterations,
            verify: args.verify,
            seed: args.seed,
        });
        let latency = (args.messages > 0).then_some(LatencyPlan {
            messages: args.messages,
            warmup: args.warmup,
            interval: args.interval,
        });
        ensure!(
            latency.is_some() || bandwidth.is_some(),
            "nothing to measure: give --messages above 0, or --frames and --iterations"
        );
        ensure!(
            args.messages.max(args.warmup) <= MESSAGES_MAX,
            "--messages and --warmup may be at most {MESSAGES_MAX}, because every sample is kept"
        );
        ensure!(!args.timeout.is_zero(), "--timeout 0 would call every message lost; give for example 5s");
        let print = match (args.quiet, args.json) {
            (_, true) => Print::Json,
            (true, false) => Print::Nothing,
            (false, false) => Print::Tables,
        };
        Ok(Self {
            shm: args.shm,
            out: args.out,
            latency,
            bandwidth,
            cpu: args.cpu,
            timeout: args.timeout,
            guest_timeout: args.guest_timeout,
            print,
        })
    }
}
