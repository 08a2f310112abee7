//! How much load to run beside the test, as typed: `cpu=2,memory=1,io=1`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Workers of one kind at most: more says nothing about a machine, and is a slip of the finger.
const WORKERS_MAX: u32 = 1024;

/// Workers of each kind; at least one in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LoadSpec {
    /// Workers that compute.
    pub cpu: u32,
    /// Workers that stream through memory.
    pub memory: u32,
    /// Workers that write files.
    pub io: u32,
}

/// Text that is not a load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLoad {
    /// Not `KIND=N`, or no known kind.
    #[error(
        "{0:?} is not a kind of load and its workers: write cpu=N, memory=N or io=N, separated by commas"
    )]
    NotAPart(String),
    /// A number that is none, or too large.
    #[error("{kind}={text}: {text:?} is not a number of workers from 0 to {WORKERS_MAX}")]
    NotANumber {
        /// Which kind.
        kind: &'static str,
        /// What stands for its number.
        text: String,
    },
    /// A kind given twice.
    #[error("{0} is given twice; give each kind of load once")]
    Repeated(&'static str),
    /// All numbers are 0.
    #[error("this load has no workers; give cpu, memory or io a number above 0, such as cpu=2")]
    NoWorkers,
}

impl LoadSpec {
    /// Workers of all kinds.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.cpu + self.memory + self.io
    }
}

impl FromStr for LoadSpec {
    type Err = BadLoad;

    fn from_str(text: &str) -> Result<Self, BadLoad> {
        let (mut cpu, mut memory, mut io) = (None, None, None);
        for part in text.split(',') {
            let not_a_part = || BadLoad::NotAPart(part.to_owned());
            let (kind, number) = part.split_once('=').ok_or_else(not_a_part)?;
            let (kind, place) = match kind {
                "cpu" => ("cpu", &mut cpu),
                "memory" => ("memory", &mut memory),
                "io" => ("io", &mut io),
                _ => return Err(not_a_part()),
            };
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let workers = number.parse().ok().filter(|&n: &u32| digits && n <= WORKERS_MAX);
            let workers = workers.ok_or_else(|| BadLoad::NotANumber { kind, text: number.to_owned() })?;
            if place.replace(workers).is_some() {
                return Err(BadLoad::Repeated(kind));
            }
        }
        let [cpu, memory, io] = [cpu, memory, io].map(Option::unwrap_or_default);
        let spec = Self { cpu, memory, io };
        if spec.workers() == 0 { Err(BadLoad::NoWorkers) } else { Ok(spec) }
    }
}

/// The label of results that were taken under this load: kinds without workers are left out.
impl fmt::Display for LoadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [("cpu", self.cpu), ("memory", self.memory), ("io", self.io)];
        for (i, (kind, workers)) in kinds.into_iter().filter(|&(_, workers)| workers > 0).enumerate() {
            write!(f, "{}{kind}={workers}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_subset_in_any_order_is_a_load_and_its_label_leads_back() {
        let spec: LoadSpec = "io=1,cpu=2".parse().unwrap();
        assert_eq!(spec, LoadSpec { cpu: 2, memory: 0, io: 1 });
        assert_eq!((spec.to_string().as_str(), spec.workers()), ("cpu=2,io=1", 3));
        assert_eq!("memory=1024,io=0".parse(), Ok(LoadSpec { cpu: 0, memory: 1024, io: 0 }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let complaint = |text: &str| text.parse::<LoadSpec>().unwrap_err().to_string();
        let part = |text: &str| {
            format!(
                "{text:?} is not a kind of load and its workers: write cpu=N, memory=N or io=N, separated by commas"
            )
        };
        for (text, bad) in
            [("", ""), ("cpu", "cpu"), ("disk=1", "disk=1"), ("cpu=1,", ""), ("cpu=1, io=1", " io=1")]
        {
            assert_eq!(complaint(text), part(bad), "{text:?}");
        }
        for number in ["", "x", "-1", "+1", "1025", "99999999999", "1.5"] {
            assert_eq!(
                complaint(&format!("io={number}")),
                format!("io={number}: {number:?} is not a number of workers from 0 to 1024")
            );
        }
        assert_eq!(complaint("cpu=1,cpu=2"), "cpu is given twice; give each kind of load once");
        assert_eq!(
            complaint("cpu=0,io=0"),
            "this load has no workers; give cpu, memory or io a number above 0, such as cpu=2"
        );
    }

    proptest! {
        #[test]
        fn every_label_is_read_back(cpu in 0..=WORKERS_MAX, memory in 0..=WORKERS_MAX, io in 1..=WORKERS_MAX) {
            let spec = LoadSpec { cpu, memory, io };
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }

        #[test]
        fn any_text_is_a_load_or_an_error(text in "\\PC*") {
            let _ = text.parse::<LoadSpec>();
        }
    }
}
