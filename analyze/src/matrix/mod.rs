//! Many runs of one experiment side by side: a row for each run, size and way, then what they say together.
//!
//! Nothing is averaged over runs. Where two figures are compared, all else is equal, or the pair is not made.

mod findings;
mod kernels;
mod mappings;
mod pairs;
mod report;
mod row;
mod winners;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use kernels::KernelRate;
pub use pairs::{LatencyPair, RatePair};
pub use report::render;
pub use row::Row;

use crate::Done;
use crate::analysis::Analyzed;
use crate::charts;
use crate::error::Error;
use crate::input;
use crate::interrupt::Interrupt;
use crate::output::{self, Artifact};
use crate::report::format::Format;

/// Schema of what `--matrix --json` prints.
pub const MATRIX_SCHEMA: &str = "ivshmem-matrix/1";

/// One run of the experiment.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its directory's name, or the path as given where two directories share a name.
    pub label: String,
    /// Its samples and figures.
    pub analyzed: Analyzed,
}

/// All runs and what they come to.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The runs, in the order given.
    pub cells: Vec<Cell>,
    /// Their figures.
    pub rows: Vec<Row>,
    /// Copy kernels by size.
    pub kernels: Vec<KernelRate>,
    /// Rates under load beside idle ones.
    pub loaded_rates: Vec<RatePair>,
    /// Latencies under load beside idle ones.
    pub loaded_latencies: Vec<LatencyPair>,
    /// Sentences a reader can act on.
    pub findings: Vec<String>,
}

#[derive(Serialize)]
struct WireMatrix<'a> {
    schema: &'static str,
    tool: &'static str,
    rows: &'a [Row],
    kernels: &'a [KernelRate],
    loaded_rates: &'a [RatePair],
    loaded_latencies: &'a [LatencyPair],
    findings: &'a [String],
}

impl Matrix {
    /// Of `cells`.
    #[must_use]
    pub fn of(cells: Vec<Cell>) -> Self {
        let rows: Vec<Row> = cells.iter().flat_map(Row::of_cell).collect();
        let kernels = kernels::rates(&cells, &rows);
        let loaded_rates = pairs::loaded_rates(&rows);
        let loaded_latencies = pairs::loaded_latencies(&cells, &rows);
        let mut matrix = Self { cells, rows, kernels, loaded_rates, loaded_latencies, findings: Vec::new() };
        matrix.findings = findings::of(&matrix);
        matrix
    }

    /// The rows as CSV, an empty field where there is no figure.
    ///
    /// # Errors
    /// Never: the rows are plain and the writer is memory.
    pub fn to_csv(&self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in &self.rows {
            writer.serialize(row)?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }

    /// The matrix as indented JSON, with a line ending at the end.
    ///
    /// # Errors
    /// Never for the figures this crate computes, which are finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let wire = WireMatrix {
            schema: MATRIX_SCHEMA,
            tool: concat!("analyze ", env!("CARGO_PKG_VERSION")),
            rows: &self.rows,
            kernels: &self.kernels,
            loaded_rates: &self.loaded_rates,
            loaded_latencies: &self.loaded_latencies,
            findings: &self.findings,
        };
        Ok(serde_json::to_string_pretty(&wire)? + "\n")
    }
}

/// Reads the run directories and writes matrix.csv, experiments_report.txt and experiments.png into `out`, by default
/// the directory that holds the first of them.
///
/// # Errors
/// On a directory that is no run's or holds damaged files, on any output that cannot be written, and once interrupted.
pub fn analyze(
    directories: &[PathBuf],
    out: Option<&Path>,
    format: Format,
    picture_files: charts::Pictures,
    interrupt: &Interrupt,
) -> Result<Done, Error> {
    let matrix = Matrix::of(read(directories, interrupt)?);
    let beside = directories.first().and_then(|first| first.parent()).unwrap_or(Path::new("."));
    let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
    let directory = out.unwrap_or(beside).to_path_buf();
    let failed = |name: &str, source: std::io::Error| Error::Write { path: directory.join(name), source };
    let report = render(&matrix);
    let json = matrix.to_json().map_err(|error| failed("matrix.json", error.into()))?;
    let csv = matrix.to_csv().map_err(|error| failed("matrix.csv", error.into()))?;
    let printed = match format {
        Format::Json => json,
        Format::Csv => String::from_utf8_lossy(&csv).into_owned(),
        // The command line lets no other through.
        Format::Text | Format::Md | Format::Html => report.clone(),
    };
    let mut artifacts = vec![
        Artifact { name: "matrix.csv", bytes: csv },
        Artifact { name: "experiments_report.txt", bytes: report.into_bytes() },
    ];
    let pictures = Vec::from_iter(charts::experiments(&matrix));
    artifacts.extend(charts::artifacts(&pictures, picture_files, interrupt)?);
    let written = output::write_all(&directory, &artifacts, interrupt)?;
    Ok(Done { printed, directory, written })
}

fn read(directories: &[PathBuf], interrupt: &Interrupt) -> Result<Vec<Cell>, Error> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut seen = Vec::new();
    for directory in directories {
        interrupt.check()?;
        let run = input::read_cell(directory)?;
        let canonical = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.clone());
        // A directory given twice is one run.
        if seen.contains(&canonical) {
            continue;
        }
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let label = name(&canonical).unwrap_or_else(|| directory.display().to_string());
        seen.push(canonical);
        cells.push(Cell { label, analyzed: Analyzed::of(run) });
    }
    let labels: Vec<String> = cells.iter().map(|cell| cell.label.clone()).collect();
    for cell in &mut cells {
        if labels.iter().filter(|label| **label == cell.label).count() > 1 {
            cell.label.clone_from(&cell.analyzed.summary.directory);
        }
    }
    Ok(cells)
}
