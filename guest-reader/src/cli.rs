//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use ivshmem_proto::lane::Lane;
use ivshmem_proto::server_wire::VECTORS_MAX;
use ivshmem_proto::wire::{Spin, WaitSource};

use crate::inject::Injection;

/// Answers a host-writer through the shared memory of an ivshmem PCI device (or through a file, as the native
/// baseline), until told to stop.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// The device to use when there are several, as lspci names it
    #[arg(long, value_name = "BDF")]
    pub device: Option<String>,

    /// What to map: resource2_wc, resource2, or the path of a region file on the host
    #[arg(long, value_name = "auto|resource2|resource2_wc|PATH", default_value = "auto")]
    pub map: MapChoice,

    /// What to do between two looks at the published word: none (look again at once: fastest), pause (one instruction:
    /// kinder to a hyper-thread sibling, far slower under TCG), or sleep=TIME as slow pollers do, such as sleep=10us
    #[arg(long, value_name = "none|pause|sleep=TIME", default_value = "none")]
    pub spin: SpinChoice,

    /// How to wait for messages in sessions with a host that has a doorbell (host-writer --server): poll (look), uio or vfio
    /// (sleep until an interrupt), doorbell (the same without a guest: with --server), adaptive (look for as long as recent
    /// messages took to come, then sleep; by uio where its driver is there, else by vfio)
    #[arg(
        long,
        value_name = "poll|uio|vfio|doorbell|adaptive[=uio|=vfio]",
        default_value = "poll",
        value_parser = parse_wait
    )]
    pub wait: WaitChoice,

    /// The interrupt vector to be rung at
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..i64::from(VECTORS_MAX)))]
    pub vector: u16,

    /// Be a peer of the ivshmem server at this socket instead of a guest: the native baseline with doorbells
    #[arg(long, value_name = "PATH", conflicts_with_all = ["map", "device"])]
    pub server: Option<PathBuf>,

    /// Share the region with other pairs: use the I-th of N equal parts only, from 0; N is a power of two
    #[arg(long, value_name = "I/N", default_value_t = Lane::WHOLE)]
    pub lane: Lane,

    /// Ask instead of answering: N round trips with the guest-reader that answers in this lane, such as one in another
    /// guest; prints a line RESULT {json} and ends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MESSAGES_MAX), conflicts_with_all = ["inject", "spin"])]
    pub initiate: Option<u64>,

    /// With --initiate: longest wait for one answer before the message counts as lost
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time, requires = "initiate")]
    pub timeout: Duration,

    /// With --initiate: longest wait for somebody who answers
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time, requires = "initiate")]
    pub peer_timeout: Duration,

    /// Pin to this CPU
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,

    /// Write one READY or FAILED line here once it is decided
    #[arg(long, value_name = "PATH")]
    pub ready_port: Option<PathBuf>,

    /// Misbehave on one message of every session, to test the host: drop-ack=N, corrupt=N, torn=N, reorder=N,
    /// future-ack=N, flip-verdict=N, scribble=N, stale=N. N counts all
    /// messages of the session from 1: host-writer's warm-up comes first (--warmup 0); damage needs frames to be seen,
    /// stale needs --direction guest-to-host
    #[arg(long, value_name = "FAULT=N")]
    pub inject: Option<Injection>,
}

/// Messages of an initiator at the most.
const MESSAGES_MAX: u64 = 1_000_000_000;

fn parse_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("give a time above 0, such as 5s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

const EXAMPLES: &str = "\
Examples:
  guest-reader                        in a guest, as root: the only device
  guest-reader --device 0000:00:04.0 --cpu 1
                                      one of several devices, pinned
  guest-reader --map /dev/shm/ivshmem on the host: the native baseline
  guest-reader --wait uio             asleep until the host rings
  guest-reader --server PATH --wait adaptive
                                      on the host, as a peer of the server
  guest-reader --lane 1/2 --wait uio  the second half of the region only
  guest-reader --lane 1/2 --wait uio --initiate 10000
                                      in another guest: round trips with that one

Serves one session after another; SIGINT or SIGTERM ends it.
Exit status: 0 stopped on request or every message ok, 1 failed, 2 usage,
3 some messages of --initiate are not ok.";

/// What to map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapChoice {
    /// `resource2_wc` where it exists, else `resource2`.
    Auto,
    /// sysfs `resource2`.
    Resource2,
    /// sysfs `resource2_wc`.
    Resource2Wc,
    /// A region file.
    File(PathBuf),
}

impl FromStr for MapChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "resource2" => Ok(Self::Resource2),
            "resource2_wc" => Ok(Self::Resource2Wc),
            path if path.contains('/') => Ok(Self::File(path.into())),
            _ => Err("expected auto, resource2, resource2_wc, or a path with a '/' in it".to_owned()),
        }
    }
}

/// `--wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitChoice {
    /// What tells of a message; `None` leaves the choice between UIO, VFIO and a server to what there is.
    pub source: Option<WaitSource>,
    /// Whether to look for a while first.
    pub adaptive: bool,
}

fn parse_wait(text: &str) -> Result<WaitChoice, String> {
    let of = |source, adaptive| Ok(WaitChoice { source, adaptive });
    match text {
        "poll" => of(Some(WaitSource::Poll), false),
        "uio" => of(Some(WaitSource::Uio), false),
        "vfio" => of(Some(WaitSource::Vfio), false),
        "doorbell" => of(Some(WaitSource::Doorbell), false),
        "adaptive" => of(None, true),
        "adaptive=uio" => of(Some(WaitSource::Uio), true),
        "adaptive=vfio" => of(Some(WaitSource::Vfio), true),
        _ => Err("expected poll, uio, vfio, doorbell, adaptive, adaptive=uio or adaptive=vfio".to_owned()),
    }
}

impl Args {
    /// What no single flag shows.
    ///
    /// # Errors
    /// One line on flags that do not go together.
    pub fn check(&self) -> Result<(), String> {
        let source = self.wait.source;
        let is_file = matches!(self.map, MapChoice::File(_));
        match source {
            Some(WaitSource::Uio | WaitSource::Vfio) if self.server.is_some() => {
                Err("--server makes this a peer on the host, which has no PCI device; wait with --wait doorbell or adaptive".into())
            }
            Some(WaitSource::Doorbell) if self.server.is_none() => {
                Err("--wait doorbell needs --server PATH; in a guest it is --wait uio or --wait vfio".into())
            }
            Some(WaitSource::Poll) => Ok(()),
            _ if is_file => Err("a file has no doorbell; with --map PATH only --wait poll works, or use --server".into()),
            _ if self.map != MapChoice::Auto && self.server.is_none() => {
                Err("--wait with an interrupt maps the region through its driver; leave --map out".into())
            }
            _ => Ok(()),
        }
    }
}

/// `--spin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpinChoice {
    /// What to do.
    pub spin: Spin,
    /// How long, for [`Spin::Sleep`]; else zero.
    pub sleep: Duration,
}

/// The longest sleep between two looks: a host would take a guest that sleeps longer for dead.
const SLEEP_MAX: Duration = Duration::from_millis(1);

impl FromStr for SpinChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |spin, sleep| Ok(Self { spin, sleep });
        match text.split_once('=') {
            None if text == "none" => of(Spin::None, Duration::ZERO),
            None if text == "pause" => of(Spin::Pause, Duration::ZERO),
            Some(("sleep", time)) => match humantime::parse_duration(time) {
                Ok(sleep) if !sleep.is_zero() && sleep <= SLEEP_MAX => of(Spin::Sleep, sleep),
                _ => Err(format!("'{time}' is no time above 0 and up to 1ms, such as 10us")),
            },
            _ => Err("expected none, pause, or sleep=TIME such as sleep=10us".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_choices_are_names_or_paths() {
        assert_eq!("auto".parse(), Ok(MapChoice::Auto));
        assert_eq!("resource2_wc".parse(), Ok(MapChoice::Resource2Wc));
        assert_eq!("./region".parse(), Ok(MapChoice::File("./region".into())));
        assert!("resource3".parse::<MapChoice>().is_err());
    }

    #[test]
    fn ways_to_wait_go_with_what_there_is_to_wait_on() {
        let line = |args: &[&str]| {
            let args = Args::try_parse_from(std::iter::once(&"guest-reader").chain(args)).unwrap();
            args.check().err().unwrap_or_default()
        };
        for good in [
            &[][..],
            &["--wait", "uio", "--vector", "1"],
            &["--wait", "adaptive=vfio"],
            &["--server", "/s", "--wait", "doorbell"],
            &["--server", "/s", "--wait", "adaptive"],
            &["--server", "/s"],
            &["--map", "resource2"],
        ] {
            assert_eq!(line(good), "", "{good:?}");
        }
        assert!(line(&["--server", "/s", "--wait", "uio"]).contains("has no PCI device"));
        assert!(line(&["--wait", "doorbell"]).contains("needs --server PATH"));
        assert!(line(&["--map", "./region", "--wait", "adaptive"]).contains("a file has no doorbell"));
        assert!(line(&["--map", "resource2", "--wait", "vfio"]).contains("leave --map out"));
        assert!(parse_wait("adaptive=poll").is_err());
    }

    #[test]
    fn spins_are_names_and_a_sleep_has_a_time() {
        let sleep: SpinChoice = "sleep=10us".parse().unwrap();
        assert_eq!((sleep.spin, sleep.sleep), (Spin::Sleep, Duration::from_micros(10)));
        assert_eq!("none".parse::<SpinChoice>().unwrap().spin, Spin::None);
        for bad in ["", "sleep", "sleep=", "sleep=0s", "sleep=2ms", "pause=1us", "None"] {
            assert!(bad.parse::<SpinChoice>().is_err(), "{bad}");
        }
    }
}
