//! `analyze compare`: did it change?
//!
//! The run is the unit. [`sides`] finds the runs of both sides.

mod problem;
mod sides;

use std::path::PathBuf;

pub use problem::Problem;

use crate::analysis::Analyzed;
use crate::answer::Answer;
use crate::error::Error;
use crate::input;
use crate::interrupt::Interrupt;
use crate::report::text::{optional, times};
use crate::stats::Sorted;

const EXAMPLES: &str = "\
Examples:
  analyze compare results/old results/new       directories of run directories
  analyze compare 'results/old-*' results/new-* a quoted glob, then runs
  analyze compare --base a --base b --new c --new d
  analyze compare old.csv new.csv               two files, one run each
  analyze compare results/old results/new --json | jq .figures

A run is a directory that host-writer wrote, or one of its CSVs. The run is the
unit: what two runs of the same thing differ by is what a change is measured
against, so that one run a side never tells.

Exit status: 0 compared, whatever came of it, 1 could not be done, 2 wrong
usage, 130 interrupted.";

/// Runs before and after: which figures changed, by how much, and how sure that
/// is.
#[derive(Debug, clap::Args)]
#[command(term_width = 80, after_help = EXAMPLES)]
pub struct Args {
    /// What to compare with, then what to compare: run directories, directories
    /// that hold them, CSVs, or quoted globs of these
    #[arg(value_names = ["BASE", "NEW"], num_args = 2.., required_unless_present_all = ["base", "new"])]
    pub paths: Vec<PathBuf>,

    /// Runs before; may be given many times
    #[arg(long, value_name = "PATH", conflicts_with = "paths", requires = "new")]
    pub base: Vec<PathBuf>,

    /// Runs after; may be given many times
    #[arg(long, value_name = "PATH", conflicts_with = "paths", requires = "base")]
    pub new: Vec<PathBuf>,

    /// Print JSON instead of the report
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// The paths of both sides.
    fn sides(&self) -> (&[PathBuf], &[PathBuf]) {
        match self.paths.split_first() {
            Some((base, new)) => (std::slice::from_ref(base), new),
            None => (&self.base, &self.new),
        }
    }
}

/// Compares the runs of both sides.
///
/// # Errors
/// When a side has no runs or a run cannot be read.
pub fn run(args: &Args, interrupt: &Interrupt) -> Result<Answer, Error> {
    let (base, new) = args.sides();
    let median = |paths: &[PathBuf]| -> Result<Option<f64>, Error> {
        let mut medians = Vec::new();
        for paths in sides::expand(paths)? {
            interrupt.check()?;
            let summary = Analyzed::of(input::read_run(&paths)?).summary;
            medians.extend(summary.latency.and_then(|latency| latency.p50_ns()).map(|ns| ns as f64));
        }
        Ok(Sorted::new(medians).median())
    };
    let (base, new) = (median(base)?, median(new)?);
    let ratio = base.zip(new).map(|(base, new)| new / base);
    let stdout = if args.json {
        format!("{}\n", serde_json::json!({"base_p50_ns": base, "new_p50_ns": new, "ratio": ratio}))
    } else {
        format!("p50, ns: base {}, new {}, ratio {}\n", optional(base), optional(new), times(ratio))
    };
    Ok(Answer { stdout, note: None, exit_code: 0 })
}
