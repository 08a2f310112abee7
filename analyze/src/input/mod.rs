//! From the paths on the command line to one main run and perhaps a baseline.
//!
//! Latency and bandwidth files of one directory are one run; its kind is told by the header, its provenance by the run.json
//! beside it. Doorbell files hold many runs and are put together, whatever directories they come from.

mod bandwidth;
mod doorbell;
mod frames;
mod header;
mod kind;
mod latency;
mod micros;
mod places;
mod plan;
mod roof;
mod rows;
mod run_json;
mod samples;
mod setup;
mod source;
mod status;
mod table;
mod text;
mod workers;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

pub use bandwidth::{Bandwidth, DROPPED, Frame, Mismatch, Transfer};
pub use doorbell::{DoorbellFile, DoorbellRun, DoorbellSample, DoorbellSetup, RunWide};
pub(crate) use frames::Frames;
pub use latency::{Disagreeing, Latency};
pub use places::{Failures, Gap, Places};
pub use plan::{BandwidthPlan, LatencyPlan, OneWayFigures, OneWayPlan, RttFigures};
pub use roof::{KernelsAtSize, Roof, RoofSide, RoofSize};
pub use run_json::{Candidate, Clock, Interference, Load, Provenance, Region, RunJson, Side, Vm};
pub use samples::{InOrder, Iter, Sample, Samples};
pub use setup::Setup;

use crate::error::Error;
use header::Header;
use kind::Kind;
use source::Source;
use table::Table;
use text::Text;

/// Rows of a latency file that either reader refuses, and how its error ends.
#[cfg(test)]
const BAD_ROWS: [(&str, &str); 13] = [
    ("2,NaN,1.0,9,ok", "column latency_ns: `NaN` is not a whole number"),
    ("2,-7,1.0,9,ok", "column latency_ns: `-7` is negative"),
    ("2,inf,1.0,9,ok", "column latency_ns: `inf` is not a whole number"),
    ("2,7.5,1.0,9,ok", "column latency_ns: `7.5` is not a whole number"),
    ("2,1e3,1.0,9,ok", "column latency_ns: `1e3` is not a whole number"),
    ("2,x,1.0,9,ok", "column latency_ns: `x` is not a whole number"),
    ("2,99999999999999999999,1.0,9,ok", "`99999999999999999999` is larger than 18446744073709551615"),
    ("2,7,NaN,9,ok", "column latency_us: `NaN` is not a finite number"),
    ("2,7,inf,9,ok", "column latency_us: `inf` is not a finite number"),
    ("2,7,-1,9,ok", "column latency_us: `-1` is negative"),
    ("2,7,1e999,9,ok", "column latency_us: `1e999` is not a finite number"),
    ("2,7,0.007", "column received_ns: 3 fields where the header has 5"),
    ("2,7,0.007,5,ok,x", "column beyond the last: 6 fields where the header has 5"),
];

/// The contracted names of the CSVs in a run directory; each may end in `.gz`.
pub const CSV_NAMES: [&str; 3] = ["latency_results.csv", "bandwidth_results.csv", "doorbell_results.csv"];

/// That of one which is not read.
const BROADCAST_NAME: &str = "broadcast_results.csv";

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
    /// The VM's run (the loaded one of two), or the only one.
    pub main: Run,
    /// The native run beside it, or the idle one.
    pub baseline: Option<Run>,
    /// What the baseline is to it.
    pub relation: Relation,
    /// The doorbell files.
    pub doorbells: Vec<DoorbellFile>,
}

/// What is read of the inputs, before the runs have roles.
#[derive(Debug, Default)]
struct Found {
    runs: Vec<Run>,
    doorbells: Vec<DoorbellFile>,
}

/// What a baseline is to the run a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// A VM and a native run.
    VmOverNative,
    /// A run under load and an idle one, both of a VM or both native.
    LoadedOverIdle,
}

impl Relation {
    /// Short names of the main run and the baseline.
    #[must_use]
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::VmOverNative => ["vm", "native"],
            Self::LoadedOverIdle => ["loaded", "idle"],
        }
    }
}

impl Run {
    /// Whether the reader was a process of the host rather than a guest.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.provenance.as_ref().is_some_and(|p| p.run.is_native())
    }

    /// Whether it was disturbed too much while it was measured.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.provenance.as_ref().is_some_and(|p| p.run.is_dirty())
    }

    /// Whether it was disturbed too much and was not meant to be: one under a load was.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.is_dirty() && self.load().is_none()
    }

    /// The load's name, if the run was loaded.
    #[must_use]
    pub fn load(&self) -> Option<&str> {
        self.provenance.as_ref().and_then(|p| p.run.load_label())
    }

    /// What run.json says of the latency test.
    #[must_use]
    pub fn latency_plan(&self) -> Option<&LatencyPlan> {
        self.provenance.as_ref()?.run.latency.as_ref()
    }

    /// What run.json says of the bandwidth test.
    #[must_use]
    pub fn bandwidth_plan(&self) -> Option<&BandwidthPlan> {
        self.provenance.as_ref()?.run.bandwidth.as_ref()
    }

    /// The latency figures of a run that kept a histogram and so has no latency file.
    #[must_use]
    pub fn histogram_plan(&self) -> Option<&LatencyPlan> {
        let plan = self.latency_plan()?;
        (self.latency.is_none() && plan.is_histogram() && plan.rtt_ns.is_some()).then_some(plan)
    }
}

/// Reads every input and sorts the runs by role.
///
/// # Errors
/// On the first input that is absent, foreign or damaged, and on more than one run of a role.
pub fn read(inputs: &[PathBuf]) -> Result<Runs, Error> {
    let mut found = Found::default();
    let mut seen = Vec::new();
    for input in inputs {
        let files = csv_files(input)?;
        // The directory of a run that kept a histogram has no latency file, but is a run.
        if input.join("run.json").is_file() {
            let canonical = fs::canonicalize(input).map_err(|_| Error::Absent { path: input.clone() })?;
            run_of(&mut found.runs, input.clone(), Some(&canonical))?;
        }
        for file in files {
            // A file given twice, or given with its directory, is one file.
            let canonical = fs::canonicalize(&file).map_err(|_| Error::Absent { path: file.clone() })?;
            if seen.contains(&canonical) {
                continue;
            }
            let key = canonical.parent().map(Path::to_path_buf);
            seen.push(canonical);
            add(&mut found, &file, key.as_deref())?;
        }
    }
    let Found { mut runs, doorbells } = found;
    // A report is about a run: where only doorbell files were given, the one that the first of them lies in.
    if let (true, Some(first)) = (runs.is_empty(), doorbells.first()) {
        let provenance = first.provenance.clone();
        runs.push(Run { directory: directory_of(&first.path), provenance, latency: None, bandwidth: None });
    }
    let mut runs = sort_by_role(runs)?;
    runs.doorbells = doorbells;
    Ok(runs)
}

/// Reads one run directory that has a run.json, as the cell of a matrix.
///
/// # Errors
/// When it is no directory, has no run.json, or anything in it is damaged.
pub fn read_cell(directory: &Path) -> Result<Run, Error> {
    if !directory.exists() {
        return Err(Error::Absent { path: directory.into() });
    }
    if !directory.join("run.json").is_file() {
        return Err(Error::NoRunJson { directory: directory.into() });
    }
    let files = csv_files(directory)?;
    let canonical = fs::canonicalize(directory).ok();
    let mut found = Found::default();
    run_of(&mut found.runs, directory.into(), canonical.as_deref())?;
    for file in files {
        add(&mut found, &file, canonical.as_deref())?;
    }
    Ok(found.runs.swap_remove(0))
}

/// Reads one run: its directory, or files of one directory. Doorbell files are passed over.
///
/// # Errors
/// When anything given or in the directory is absent or damaged.
pub fn read_run(paths: &[PathBuf]) -> Result<Run, Error> {
    let mut found = Found::default();
    for path in paths {
        let directory = if path.is_dir() { path.clone() } else { directory_of(path) };
        let canonical = fs::canonicalize(&directory).map_err(|_| Error::Absent { path: path.clone() })?;
        run_of(&mut found.runs, directory, Some(&canonical))?;
        for file in csv_files(path)? {
            add(&mut found, &file, Some(&canonical))?;
        }
    }
    Ok(found.runs.swap_remove(0))
}

/// Whether `directory` is a run's: it holds a CSV of a contracted name, or a run.json.
#[must_use]
pub fn is_run_directory(directory: &Path) -> bool {
    !contracted(directory).is_empty() || directory.join("run.json").is_file()
}

/// The CSVs an input stands for: itself, or those in it; none for the directory of a run that kept a histogram only.
fn csv_files(input: &Path) -> Result<Vec<PathBuf>, Error> {
    if !input.is_dir() {
        return Ok(vec![input.to_path_buf()]);
    }
    let found = contracted(input);
    if !found.is_empty() || Provenance::read(&input.join("run.json"))?.is_some_and(|p| p.run.is_histogram()) {
        return Ok(found);
    }
    if let Some(path) = plain_or_compressed(input, BROADCAST_NAME) {
        return Err(Error::Broadcast { path });
    }
    let entries = fs::read_dir(input).map_err(|source| Error::Read { path: input.into(), source })?;
    let mut nested: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| !contracted(path).is_empty()).collect();
    nested.sort();
    Err(Error::NoCsv { path: input.into(), nested })
}

/// The CSVs of contracted names in `directory`; of a file that is there plain and compressed, the plain one.
pub(crate) fn contracted(directory: &Path) -> Vec<PathBuf> {
    CSV_NAMES.iter().filter_map(|name| plain_or_compressed(directory, name)).collect()
}

fn plain_or_compressed(directory: &Path, name: &str) -> Option<PathBuf> {
    let plain = directory.join(name);
    [plain.with_extension("csv.gz"), plain].into_iter().rfind(|path| path.exists())
}

/// Whether `name` is a contracted one, plain or compressed.
pub(crate) fn is_contracted(name: &OsStr) -> bool {
    let name = name.to_str().map(|name| name.strip_suffix(".gz").unwrap_or(name));
    name.is_some_and(|name| CSV_NAMES.contains(&name))
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn add(found: &mut Found, file: &Path, canonical_directory: Option<&Path>) -> Result<(), Error> {
    let mut source = Source::open(file)?;
    let header = Header::peek(&mut source)?;
    let kind = header.kind(file)?;
    let directory = directory_of(file);
    // These files are small: they are read whole.
    let table = |source: Source| Table::load(Text::parse(file, &source.into_bytes()?)?, &header);
    if kind == Kind::Doorbell {
        let provenance = Provenance::read(&directory.join("run.json"))?;
        found.doorbells.push(DoorbellFile::from_table(&table(source)?, provenance)?);
        return Ok(());
    }
    let index = run_of(&mut found.runs, directory, canonical_directory)?;
    let run = &mut found.runs[index];
    let twice =
        |first: &Path| Error::TwoOfAKind { kind: kind.name(), first: first.into(), second: file.into() };
    match kind {
        Kind::Latency => match &run.latency {
            Some(first) => return Err(twice(&first.path)),
            None => run.latency = Some(Latency::read(source, header)?),
        },
        Kind::Bandwidth => match &run.bandwidth {
            Some(first) => return Err(twice(&first.path)),
            None => run.bandwidth = Some(Bandwidth::from_table(&table(source)?)?),
        },
        Kind::Doorbell => {}
    }
    Ok(())
}

/// The place in `runs` of the run in `directory`, added if it is not there yet.
fn run_of(
    runs: &mut Vec<Run>,
    directory: PathBuf,
    canonical_directory: Option<&Path>,
) -> Result<usize, Error> {
    let known =
        runs.iter().position(|run| fs::canonicalize(&run.directory).ok().as_deref() == canonical_directory);
    if let Some(index) = known {
        return Ok(index);
    }
    let provenance = Provenance::read(&directory.join("run.json"))?;
    runs.push(Run { directory, provenance, latency: None, bandwidth: None });
    Ok(runs.len() - 1)
}

/// One run is the main one whatever it is; of two, the native one is the baseline, or the idle one beside a loaded one.
fn sort_by_role(mut runs: Vec<Run>) -> Result<Runs, Error> {
    if let [first, second] = &runs[..]
        && first.is_native() == second.is_native()
        && [first, second].iter().all(|run| run.provenance.is_some())
        && first.load().is_some() != second.load().is_some()
    {
        runs.sort_by_key(|run| run.load().is_none());
        let baseline = runs.pop();
        let (main, relation) = (runs.swap_remove(0), Relation::LoadedOverIdle);
        return Ok(Runs { main, baseline, relation, doorbells: Vec::new() });
    }
    let (native, other): (Vec<_>, Vec<_>) = runs.into_iter().partition(Run::is_native);
    let relation = Relation::VmOverNative;
    for (role, runs) in [("native", &native), ("VM", &other)] {
        if let [first, second, ..] = runs.as_slice() {
            let (first, second) = (first.directory.clone(), second.directory.clone());
            return Err(Error::TooManyRuns { role, first, second });
        }
    }
    let (mut native, mut other) = (native.into_iter(), other.into_iter());
    match (other.next(), native.next()) {
        (Some(main), baseline) => Ok(Runs { main, baseline, relation, doorbells: Vec::new() }),
        (None, Some(main)) => Ok(Runs { main, baseline: None, relation, doorbells: Vec::new() }),
        (None, None) => {
            unreachable!("the command line demands an input, and each input is a run or an error")
        }
    }
}
