//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use ivshmem_proto::wire;

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

    /// What to do between two looks at the published word
    #[arg(long, value_enum, default_value_t = SpinChoice::None)]
    pub spin: SpinChoice,

    /// Pin to this CPU
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,

    /// Write one READY or FAILED line here once it is decided
    #[arg(long, value_name = "PATH")]
    pub ready_port: Option<PathBuf>,

    /// Misbehave on one message of every session, to test the host: drop-ack=N or corrupt=N
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SpinChoice {
    /// Look again at once: fastest
    None,
    /// One pause instruction: kinder to a hyper-thread sibling, far slower under TCG
    Pause,
}

impl From<SpinChoice> for wire::Spin {
    fn from(choice: SpinChoice) -> Self {
        match choice {
            SpinChoice::None => Self::None,
            SpinChoice::Pause => Self::Pause,
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
}
