//! What else the guest is to do while it is measured: `cpu=2,memory=1,io=1`, as workers of stress-ng.

use std::fmt;
use std::str::FromStr;

use crate::load_unit::IO_DIRECTORY;

/// The program that makes the load.
pub const STRESS_NG: &str = "stress-ng";
/// The variable that tells host-writer of the whole command, for its run.json.
pub const ENVIRONMENT: &str = "IVSHMEM_GUEST_LOAD";

/// Workers of one kind, at most: with one vCPU or with a hundred, more of them only take memory.
const WORKERS_MAX: u32 = 256;
/// What all memory workers take together, about, and each of them at most: a quarter of the Debian guest's 2 GiB, and
/// more than the caches of most hosts.
const MEMORY_MIB: u32 = 512;
const MEMORY_MIB_MAX: u32 = 128;
/// stress-ng's stream works on four times the cache size that it is told.
const STREAM_CACHES: u32 = 4;
/// What an io worker writes before it starts over.
const IO_MIB: u32 = 64;

/// How many workers of each kind run in the guest; at least one in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestLoad {
    /// Workers that compute.
    pub cpu: u32,
    /// Workers that stream through more memory than a cache holds.
    pub memory: u32,
    /// Workers that write to the disk.
    pub io: u32,
}

/// Text that is no load.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadLoad {
    /// A part that is no `KIND=N`.
    #[error("{0:?} is not cpu=N, memory=N or io=N: write for example cpu=2,memory=1")]
    Part(String),
    /// A count out of range.
    #[error("{0:?}: a number of workers is a whole number from 0 to {WORKERS_MAX}")]
    Count(String),
    /// A kind named again.
    #[error("{0} is given twice: give one number of workers for each kind")]
    Twice(String),
    /// No worker at all.
    #[error("no worker at all: give one of cpu, memory and io a number above 0, or leave the load out")]
    Nothing,
}

impl FromStr for GuestLoad {
    type Err = BadLoad;

    fn from_str(text: &str) -> Result<Self, BadLoad> {
        let (mut cpu, mut memory, mut io) = (None, None, None);
        for part in text.split(',') {
            let (kind, count) = part.split_once('=').ok_or_else(|| BadLoad::Part(part.to_owned()))?;
            let workers = match kind {
                "cpu" => &mut cpu,
                "memory" => &mut memory,
                "io" => &mut io,
                _ => return Err(BadLoad::Part(part.to_owned())),
            };
            let bad = || BadLoad::Count(part.to_owned());
            if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(bad());
            }
            let count = count.parse().ok().filter(|n| *n <= WORKERS_MAX).ok_or_else(bad)?;
            if workers.replace(count).is_some() {
                return Err(BadLoad::Twice(kind.to_owned()));
            }
        }
        let [cpu, memory, io] = [cpu, memory, io].map(Option::unwrap_or_default);
        if cpu + memory + io == 0 { Err(BadLoad::Nothing) } else { Ok(Self { cpu, memory, io }) }
    }
}

/// As it is typed, without what is zero.
impl fmt::Display for GuestLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [("cpu", self.cpu), ("memory", self.memory), ("io", self.io)];
        let parts: Vec<String> =
            kinds.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{kind}={n}")).collect();
        f.write_str(&parts.join(","))
    }
}

impl GuestLoad {
    /// What stress-ng is told: to go on until it is stopped.
    pub fn stress_ng_options(&self) -> String {
        let mut options = Vec::new();
        if self.cpu > 0 {
            options.push(format!("--cpu {}", self.cpu));
        }
        if let Some(each) = MEMORY_MIB.checked_div(self.memory) {
            let each = each.clamp(STREAM_CACHES, MEMORY_MIB_MAX);
            options.push(format!("--stream {} --stream-l3-size {}M", self.memory, each / STREAM_CACHES));
        }
        if self.io > 0 {
            options.push(format!("--hdd {} --hdd-bytes {IO_MIB}M --temp-path {IO_DIRECTORY}", self.io));
        }
        options.push("--timeout 0".to_owned());
        options.join(" ")
    }

    /// The whole command, for the record.
    pub fn command(&self) -> String {
        format!("{STRESS_NG} {}", self.stress_ng_options())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(text: &str) -> GuestLoad {
        text.parse().unwrap()
    }

    #[test]
    fn any_subset_in_any_order_is_a_load() {
        assert_eq!(load("cpu=2"), GuestLoad { cpu: 2, memory: 0, io: 0 });
        assert_eq!(load("io=1,cpu=0,memory=256"), GuestLoad { cpu: 0, memory: 256, io: 1 });
    }

    #[test]
    fn what_is_no_load_is_refused_with_what_to_write() {
        let refused = |text: &str| text.parse::<GuestLoad>().unwrap_err();
        for text in ["", "cpu", "disk=1", "cpu=1,", "cpu=1 memory=1", " cpu=1", "CPU=1"] {
            assert!(matches!(refused(text), BadLoad::Part(_) | BadLoad::Count(_)), "{text:?}");
        }
        for text in ["cpu=", "cpu=-1", "cpu=+1", "cpu=1.5", "cpu=257", "memory=99999999999"] {
            assert_eq!(refused(text), BadLoad::Count(text.to_owned()));
        }
        assert_eq!(refused("cpu=1,cpu=1"), BadLoad::Twice("cpu".to_owned()));
        assert_eq!(refused("cpu=0,io=0"), BadLoad::Nothing);
    }

    #[test]
    fn the_command_names_what_runs_and_nothing_else() {
        assert_eq!(load("cpu=2").command(), "stress-ng --cpu 2 --timeout 0");
        assert_eq!(
            load("io=1,memory=1").command(),
            "stress-ng --stream 1 --stream-l3-size 32M --hdd 1 --hdd-bytes 64M --temp-path \
             /var/tmp/ivshmem-guest-load --timeout 0"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(cpu in 0..=WORKERS_MAX, memory in 0..=WORKERS_MAX, io in 0..=WORKERS_MAX) {
            prop_assume!(cpu + memory + io > 0);
            let load = GuestLoad { cpu, memory, io };
            prop_assert_eq!(load.to_string().parse(), Ok(load));
        }

        #[test]
        fn any_text_is_a_load_or_an_error(text in "[a-z=,0-9]{0,20}") {
            let _ = text.parse::<GuestLoad>();
        }

        #[test]
        fn memory_workers_take_no_more_than_half_of_two_gibibytes(memory in 1..=WORKERS_MAX) {
            let options = GuestLoad { cpu: 0, memory, io: 0 }.stress_ng_options();
            let cache = options.split_once("--stream-l3-size ").unwrap().1.split_once('M').unwrap().0;
            let each = cache.parse::<u32>().unwrap() * STREAM_CACHES;
            prop_assert!(each >= 4 && memory * each <= 1024, "{}", options);
        }
    }
}
