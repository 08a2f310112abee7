//! Turns the toolkit's CSVs into percentiles, charts and a report; depends on files, never on a live VM.
//!
//! [`input`] reads, [`summary`] counts, [`stats`] says how sure it is, [`doubt`] warns, [`compare`] divides, [`doorbell`] sets
//! ways to wait side by side, [`report`] and [`charts`] show, [`output`] writes. [`matrix`] does the same for many runs of one
//! experiment side by side, [`compare_runs`] tells whether runs before and after differ, [`history`] where a series of them
//! changed.

pub mod analysis;
pub mod answer;
pub mod charts;
pub mod cli;
pub mod compare;
pub mod compare_runs;
pub mod doorbell;
pub mod doubt;
pub mod error;
pub mod history;
pub mod input;
pub mod interrupt;
pub mod latency_summary;
pub mod limit;
pub mod matrix;
pub mod output;
pub mod report;
pub mod roof;
pub mod stats;
pub mod stream;
pub mod summary;
pub mod timeline;

use std::path::{Path, PathBuf};

use analysis::Analysis;
use error::Error;
use interrupt::Interrupt;
use output::Artifact;

/// What was made.
#[derive(Debug)]
pub struct Done {
    /// performance_report.txt, or experiments_report.txt of a matrix.
    pub report: String,
    /// summary.json, or the matrix as JSON.
    pub json: String,
    /// Where it was written.
    pub directory: PathBuf,
    /// Every file written.
    pub written: Vec<PathBuf>,
}

/// Reads `inputs` and writes report, summary and pictures into `out`, by default the main run's directory.
///
/// # Errors
/// On any input that is absent or damaged, on any output that cannot be written, and once interrupted.
pub fn analyze(
    inputs: &[PathBuf],
    out: Option<&Path>,
    formats: charts::Pictures,
    interrupt: &Interrupt,
) -> Result<Done, Error> {
    let runs = input::read(inputs)?;
    interrupt.check()?;
    let directory = out.unwrap_or(&runs.main.directory).to_path_buf();
    let analysis = Analysis::of(runs);
    let report = report::render(&analysis);
    let json = analysis
        .to_json()
        .map_err(|error| Error::Write { path: directory.join("summary.json"), source: error.into() })?;
    let mut artifacts = vec![
        Artifact { name: "performance_report.txt", bytes: report.clone().into_bytes() },
        Artifact { name: "summary.json", bytes: json.clone().into_bytes() },
    ];
    artifacts.extend(charts::artifacts(&charts::pictures(&analysis), formats, interrupt)?);
    let written = output::write_all(&directory, &artifacts, interrupt)?;
    Ok(Done { report, json, directory, written })
}
