//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ivshmem_proto::frame::FrameFormat;

/// Measures round-trip latency and frame bandwidth between this host and a guest-reader, through shared memory.
#[derive(Debug, Clone, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// The region's file; created with 64 MiB when absent
    #[arg(long, value_name = "PATH", default_value = "/dev/shm/ivshmem")]
    pub shm: PathBuf,

    /// Where the result files go; created when absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,

    /// Latency messages that count; 0 skips the latency test
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub messages: u64,

    /// Latency messages sent first and not counted
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub warmup: u64,

    /// Pause between latency messages, such as 1ms or 50us; 0 for none
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = humantime::parse_duration)]
    pub interval: Duration,

    /// Frame sizes of the bandwidth test: any of 1080p,1440p,4k, or none to skip it
    #[arg(long, value_name = "LIST", default_value = "1080p,1440p,4k", value_parser = parse_frames)]
    pub frames: FrameList,

    /// Frames of each size
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub iterations: u64,

    /// How the guest checks each frame, after the transfer has been timed
    #[arg(long, value_enum, default_value_t = Verify::Sha256)]
    pub verify: Verify,

    /// Seed of the frames' content
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Pin to this CPU [default: the first allowed CPU that no vCPU of the VM is pinned to]
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,

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

const EXAMPLES: &str = "\
Examples:
  host-writer                         100,000 round trips, then ten frames a size
  host-writer --frames 4k             the same with 4K frames only
  host-writer --frames 4k --messages 0
                                      4K frames only, no round trips
  host-writer --frames none --messages 1000 --interval 1ms
                                      one message a millisecond, no frames
  host-writer --out results/a --cpu 0 --json
                                      files into results/a, pinned, JSON

Writes latency_results.csv, latency.hgrm, bandwidth_results.csv and run.json.
Exit status: 0 every message ok, 1 failed, 2 usage, 3 measured but some
messages are not ok, 130 interrupted.";

/// `--verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// SHA-256 over the guest's private copy
    Sha256,
    /// Not at all
    None,
}

impl Verify {
    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::None => "none",
        }
    }
}

/// The frame sizes asked for, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrameList(pub Vec<FrameFormat>);

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
}
