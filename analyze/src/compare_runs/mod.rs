//! `analyze compare`: did it change? And `analyze gate`, which turns the answer into an exit status.
//!
//! The run is the unit. `sides` finds the runs of both sides, `one_run` reduces each to its figures, `conditions` tells
//! what else they differ in, `comparison` sets figure beside figure, `verdict` says what may be said of it.

mod comparison;
pub(crate) mod conditions;
mod document;
mod doubts;
pub mod gate;
pub(crate) mod one_run;
pub(crate) mod percent;
mod picture;
mod problem;
mod report;
#[cfg(test)]
mod self_test;
pub(crate) mod sides;
mod verdict;

use std::path::PathBuf;

pub use comparison::{COMPARISON_SCHEMA, Compared, Comparison, LeftOut, RunEntry};
pub use conditions::Difference;
pub use gate::GateArgs;
pub use one_run::{Figure, FigureId, OneRun, Unit};
pub use picture::picture;
pub use problem::Problem;
pub use report::render;
pub use verdict::{Judgement, Standard, Verdict};

use crate::answer::Answer;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::forms::OutputArgs;

const EXAMPLES: &str = "\
Examples:
  analyze compare results/old results/new       directories of run directories
  analyze compare 'results/old-*' results/new-* a quoted glob, then runs
  analyze compare --base a --base b --new c --new d
  analyze compare old.csv new.csv               two files, one run each
  analyze compare old new --same-within 5% --json | jq .figures
  analyze compare native vm --despite-differences

A run is a directory that host-writer wrote, or one of its CSVs. The run is the
unit: a change is measured against what runs of the same thing differ by, so
that one run a side never tells, and four is the least that can at 95 %.

Verdicts: faster, slower, same (within --same-within), or cannot tell, with the
number of runs that would. Runs that differ in accelerator, CPU, QEMU, mapping,
loop or anything else that moves the figures are refused.

Written with --out: comparison.json, comparison.txt, comparison.html with the
ratios drawn, and that picture as comparison_forest.png.

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

    /// Differences up to this are none
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = percent::share)]
    pub same_within: f64,

    /// How runs are judged.
    #[command(flatten)]
    pub judging: Judging,

    /// What is written and printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What compare and gate have in common.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Judging {
    /// How often an interval is to hold the truth
    #[arg(long, value_name = "PERCENT", default_value = "95%", value_parser = percent::level)]
    pub level: f64,

    /// Compare runs that differ in what matters, or have no run.json, with a
    /// warning
    #[arg(long)]
    pub despite_differences: bool,
}

impl Judging {
    /// Reads both sides and compares them.
    fn compare(
        &self,
        [base, new]: [&[PathBuf]; 2],
        same_within: f64,
        interrupt: &Interrupt,
    ) -> Result<Comparison, Error> {
        let (base, new) = (one_run::load(base, interrupt)?, one_run::load(new, interrupt)?);
        let standard = Standard { level: self.level, same_within };
        Ok(Comparison::of(&base, &new, standard, self.despite_differences)?)
    }
}

impl Args {
    /// The paths of both sides.
    fn sides(&self) -> [&[PathBuf]; 2] {
        match self.paths.split_first() {
            Some((base, new)) => [std::slice::from_ref(base), new],
            None => [&self.base, &self.new],
        }
    }
}

/// Compares the runs of both sides.
///
/// # Errors
/// When a side has no runs, a run cannot be read, or they may not be compared; when `--out` cannot be written.
pub fn run(args: &Args, interrupt: &Interrupt) -> Result<Answer, Error> {
    let comparison = args.judging.compare(args.sides(), args.same_within, interrupt)?;
    args.output.answer(&comparison, ["comparison.txt", "comparison.json", "comparison.html"], interrupt)
}
