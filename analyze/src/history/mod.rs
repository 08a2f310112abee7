//! `analyze history`: a folder of runs over time, and where they changed.
//!
//! `find` reads the runs, `series` sorts them by what they were taken on and looks for changes, `document` and
//! `report` show them.

mod document;
mod find;
mod picture;
mod report;
mod series;

use std::path::PathBuf;

use serde::Serialize;

pub use series::{Change, Point, Series, Setting};

use crate::answer::Answer;
use crate::compare_runs::{OneRun, Problem, percent};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::forms::OutputArgs;

/// What is watched unless something else is asked for; runs of frames have none of these.
const USUAL_FIGURES: [&str; 2] = ["p50", "p99"];

/// Schema of what `history --json` prints.
pub const HISTORY_SCHEMA: &str = "ivshmem-history/1";

const EXAMPLES: &str = "\
Examples:
  analyze history results                  every run directory below results
  analyze history 'results/*/vm'           a quoted glob of them
  analyze history results --figure p50,4k_rate --out report
  analyze history results --json | jq '.series[].changes'

Runs are sorted by when they began, as run.json says. Those alike in
accelerator, CPU, QEMU, mapping, loop and all else that moves the figures are
one series. Runs without run.json or figures are named and left out.

Written with --out: history.json, history.txt, history.html and
history_trend.png, which draws each figure over time with its changes.

Exit status: 0 done, whether there are changes or not, 1 could not be done,
2 wrong usage, 130 interrupted.";

/// A folder of runs over time: their figures, and where these changed.
#[derive(Debug, clap::Args)]
#[command(term_width = 80, after_help = EXAMPLES)]
pub struct Args {
    /// Folders that hold run directories at any depth up to 4, or quoted globs
    #[arg(required = true, value_name = "DIR")]
    pub paths: Vec<PathBuf>,

    /// Figures to watch, with commas between; of runs that have none of them,
    /// all rates [default: p50,p99]
    #[arg(long, value_name = "FIGURES", value_delimiter = ',')]
    pub figure: Vec<String>,

    /// How often a figure that never changed may show a change
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent::alarm)]
    pub false_alarms: f64,

    /// Of the random numbers that runs are shuffled with
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// What is written and printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is looked for.
#[derive(Debug)]
struct Watch {
    keys: Vec<String>,
    alarm: f64,
    seed: u64,
}

/// All series of a folder.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// [`HISTORY_SCHEMA`].
    pub schema: &'static str,
    /// The tool and its version.
    pub tool: &'static str,
    /// How often a figure that never changed may show a change.
    #[serde(rename = "false_alarms")]
    pub alarm: f64,
    /// The seed of the shuffling.
    pub seed: u64,
    /// Runs of one setting each, the longest series first.
    pub series: Vec<Series>,
    /// Runs that are in none.
    pub left_out: Vec<LeftOut>,
}

/// A run that is in no series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its directory.
    pub run: String,
    /// The reason.
    pub why: String,
}

/// Reads the runs and looks for changes.
///
/// # Errors
/// When there is no run with a time and figures, when none has a figure that was asked for, when `--out` cannot be written, and once interrupted.
pub fn run(args: &Args, interrupt: &Interrupt) -> Result<Answer, Error> {
    let (runs, left_out) = find::find(&args.paths, interrupt)?;
    if runs.is_empty() {
        let why = left_out.first().map_or_else(
            || "holds no run directory".to_owned(),
            |left| {
                format!("no run with a time and figures; the first that has not: {}: {}", left.run, left.why)
            },
        );
        return Err(Problem::NoHistory { path: args.paths[0].clone(), why }.into());
    }
    let keys = keys(&args.figure, &runs)?;
    let watch = Watch { keys, alarm: args.false_alarms, seed: args.seed };
    let history = History {
        schema: HISTORY_SCHEMA,
        tool: concat!("analyze ", env!("CARGO_PKG_VERSION")),
        alarm: args.false_alarms,
        seed: args.seed,
        series: series::series(&runs, &watch),
        left_out,
    };
    args.output.answer(&history, ["history.txt", "history.json", "history.html"], interrupt)
}

/// The figures to watch. One that was asked for by name and that no run has would look like one that never changed.
fn keys(asked: &[String], runs: &[OneRun]) -> Result<Vec<String>, Problem> {
    if asked.is_empty() {
        return Ok(USUAL_FIGURES.map(str::to_owned).into());
    }
    let mut known: Vec<String> = Vec::new();
    for figure in runs.iter().flat_map(|run| &run.figures) {
        if !known.contains(&figure.id.key) {
            known.push(figure.id.key.clone());
        }
    }
    let keys: Vec<String> = asked.iter().map(|key| key.trim().to_owned()).collect();
    match keys.iter().find(|key| !known.contains(key)) {
        Some(key) => Err(Problem::NotInHistory { key: key.clone(), known }),
        None => Ok(keys),
    }
}
