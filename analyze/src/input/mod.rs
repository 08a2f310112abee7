//! From the paths on the command line to one main run and perhaps a baseline.
//!
//! Files of one directory are one run; its kind is told by the header, its provenance by the run.json beside it.

mod bandwidth;
mod kind;
mod latency;
mod run_json;
mod status;
mod table;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

pub use bandwidth::{Bandwidth, Frame, Transfer};
pub use latency::{Failure, Gap, Latency, Sample};
pub use run_json::{Candidate, Clock, Interference, Provenance, RunJson, Side, Vm};

use crate::error::Error;
use kind::Kind;
use table::Table;
use text::Text;

/// The contracted names of the CSVs in a run directory.
const CSV_NAMES: [&str; 2] = ["latency_results.csv", "bandwidth_results.csv"];

/// All that is known of one run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its directory.
    pub directory: PathBuf,
    /// Its run.json, if there is one.
    pub provenance: Option<Provenance>,
    /// Its latency file, if given.
    pub latency: Option<Latency>,
    /// Its bandwidth file, if given.
    pub bandwidth: Option<Bandwidth>,
}

/// The run a report is about, and what it is compared with.
#[derive(Debug, Clone)]
pub struct Runs {
    /// The VM's run, or the only one.
    pub main: Run,
    /// The native run beside it.
    pub baseline: Option<Run>,
}

impl Run {
    /// Whether the reader was a process of the host rather than a guest.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.provenance.as_ref().is_some_and(|p| p.run.is_native())
    }
}

/// Reads every input and sorts the runs by role.
///
/// # Errors
/// On the first input that is absent, foreign or damaged, and on more than one run of a role.
pub fn read(inputs: &[PathBuf]) -> Result<Runs, Error> {
    let mut runs: Vec<Run> = Vec::new();
    let mut seen = Vec::new();
    for file in inputs.iter().map(|input| csv_files(input)).collect::<Result<Vec<_>, _>>()?.concat() {
        // A file given twice, or given with its directory, is one file.
        let canonical = fs::canonicalize(&file).map_err(|_| Error::Absent { path: file.clone() })?;
        if seen.contains(&canonical) {
            continue;
        }
        let key = canonical.parent().map(Path::to_path_buf);
        seen.push(canonical);
        add(&mut runs, &file, key.as_deref())?;
    }
    sort_by_role(runs)
}

/// The CSVs an input stands for: itself, or those in it.
fn csv_files(input: &Path) -> Result<Vec<PathBuf>, Error> {
    if !input.is_dir() {
        return Ok(vec![input.to_path_buf()]);
    }
    let inside = |directory: &Path| -> Vec<PathBuf> {
        CSV_NAMES.iter().map(|name| directory.join(name)).filter(|path| path.exists()).collect()
    };
    let found = inside(input);
    if !found.is_empty() {
        return Ok(found);
    }
    let entries = fs::read_dir(input).map_err(|source| Error::Read { path: input.into(), source })?;
    let mut nested: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| !inside(path).is_empty()).collect();
    nested.sort();
    Err(Error::NoCsv { path: input.into(), nested })
}

fn add(runs: &mut Vec<Run>, file: &Path, canonical_directory: Option<&Path>) -> Result<(), Error> {
    let (kind, table) = Table::load(Text::read(file)?)?;
    let directory = match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => PathBuf::from("."),
    };
    let known =
        runs.iter().position(|run| fs::canonicalize(&run.directory).ok().as_deref() == canonical_directory);
    let index = match known {
        Some(index) => index,
        None => {
            let provenance = Provenance::read(&directory.join("run.json"))?;
            runs.push(Run { directory, provenance, latency: None, bandwidth: None });
            runs.len() - 1
        }
    };
    let run = &mut runs[index];
    let twice =
        |first: &Path| Error::TwoOfAKind { kind: kind.name(), first: first.into(), second: file.into() };
    match kind {
        Kind::Latency => match &run.latency {
            Some(first) => return Err(twice(&first.path)),
            None => run.latency = Some(Latency::from_table(&table)?),
        },
        Kind::Bandwidth => match &run.bandwidth {
            Some(first) => return Err(twice(&first.path)),
            None => run.bandwidth = Some(Bandwidth::from_table(&table)?),
        },
    }
    Ok(())
}

/// One run is the main one whatever it is; of two, the native one is the baseline.
fn sort_by_role(runs: Vec<Run>) -> Result<Runs, Error> {
    let (native, other): (Vec<_>, Vec<_>) = runs.into_iter().partition(Run::is_native);
    for (role, runs) in [("native", &native), ("VM", &other)] {
        if let [first, second, ..] = runs.as_slice() {
            let (first, second) = (first.directory.clone(), second.directory.clone());
            return Err(Error::TooManyRuns { role, first, second });
        }
    }
    let (mut native, mut other) = (native.into_iter(), other.into_iter());
    match (other.next(), native.next()) {
        (Some(main), baseline) => Ok(Runs { main, baseline }),
        (None, Some(main)) => Ok(Runs { main, baseline: None }),
        (None, None) => {
            unreachable!("the command line demands an input, and each input is a run or an error")
        }
    }
}
