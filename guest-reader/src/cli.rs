//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use ivshmem_proto::wire::Spin;

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

const EXAMPLES: &str = "\
Examples:
  guest-reader                        in a guest, as root: the only device
  guest-reader --device 0000:00:04.0 --cpu 1
                                      one of several devices, pinned
  guest-reader --map /dev/shm/ivshmem on the host: the native baseline

Serves one session after another; SIGINT or SIGTERM ends it.
Exit status: 0 stopped on request, 1 failed, 2 usage.";

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
    fn spins_are_names_and_a_sleep_has_a_time() {
        let sleep: SpinChoice = "sleep=10us".parse().unwrap();
        assert_eq!((sleep.spin, sleep.sleep), (Spin::Sleep, Duration::from_micros(10)));
        assert_eq!("none".parse::<SpinChoice>().unwrap().spin, Spin::None);
        for bad in ["", "sleep", "sleep=", "sleep=0s", "sleep=2ms", "pause=1us", "None"] {
            assert!(bad.parse::<SpinChoice>().is_err(), "{bad}");
        }
    }
}
