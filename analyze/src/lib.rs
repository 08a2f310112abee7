//! Turns the toolkit's CSVs into percentiles, charts and a report; depends on files, never on a live VM.
//!
//! [`input`] reads, [`summary`] counts, [`stats`] says how sure it is, [`doubt`] warns, [`compare`] divides, [`doorbell`]
//! sets ways to wait side by side, [`report`], [`charts`] and [`html`] show, [`output`] writes. [`matrix`] does the same for
//! many runs of one experiment side by side, [`compare_runs`] tells whether runs before and after differ, [`history`] where
//! a series of them changed, [`export`] gives every row to other tools.

pub mod analysis;
pub mod answer;
mod beside;
pub mod charts;
pub mod cli;
pub mod compare;
pub mod compare_runs;
pub mod doorbell;
pub mod doubt;
pub mod error;
pub mod export;
pub mod history;
pub mod html;
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
use beside::beside;
use error::Error;
use interrupt::Interrupt;
use output::Artifact;
use report::figures::Figures;
use report::format::Format;

/// What was made.
#[derive(Debug)]
pub struct Done {
    /// What is to be printed, in the form asked for.
    pub printed: String,
    /// Where it was written.
    pub directory: PathBuf,
    /// Every file written.
    pub written: Vec<PathBuf>,
}

/// Reads `inputs` and writes report, summary and charts into `out`, by default the main run's directory; prints as `format`.
///
/// # Errors
/// On any input that is absent or damaged, on any output that cannot be written, and once interrupted.
pub fn analyze(
    inputs: &[PathBuf],
    out: Option<&Path>,
    format: Format,
    picture_files: charts::Pictures,
    interrupt: &Interrupt,
) -> Result<Done, Error> {
    let runs = input::read(inputs)?;
    interrupt.check()?;
    let directory = out.unwrap_or(&runs.main.directory).to_path_buf();
    let analysis = Analysis::of(runs);
    let failed = |name: &str, source: std::io::Error| Error::Write { path: directory.join(name), source };
    let json = analysis.to_json().map_err(|error| failed("summary.json", error.into()))?;
    let figures = Figures::of(&analysis).map_err(|error| failed("summary.json", error.into()))?;
    let pictures = charts::pictures(&analysis);
    // A picture that both need is drawn once, by whoever comes first.
    let (drawn, (text, page)) = beside(
        || charts::artifacts(&pictures, picture_files, interrupt),
        || (report::render(&analysis), html::render(&analysis, &figures, &pictures)),
    );
    let page = page?;
    let csv =
        || report::csv::render(&analysis, &figures).map_err(|error| failed("figures.csv", error.into()));
    let printed = match format {
        Format::Text => text.clone(),
        Format::Json => json.clone(),
        Format::Csv => csv()?,
        Format::Md => report::markdown::render(&analysis, &figures),
        Format::Html => page.clone(),
    };
    let mut artifacts = vec![
        Artifact { name: "performance_report.txt", bytes: text.into_bytes() },
        Artifact { name: "summary.json", bytes: json.into_bytes() },
        Artifact { name: "report.html", bytes: page.into_bytes() },
    ];
    artifacts.extend(drawn?);
    let written = output::write_all(&directory, &artifacts, interrupt)?;
    Ok(Done { printed, directory, written })
}
