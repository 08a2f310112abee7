//! `analyze gate`: the comparison as an exit status. A regression is one that the interval proves.

mod document;
mod limits;
mod report;
mod watched;

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

pub use limits::Limits;
pub use watched::Outcome;

use super::comparison::Comparison;
use super::doubts::{self, DoubtOfRuns};
use super::{Difference, Judging};
use crate::answer::Answer;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::format::FormatArgs;
use crate::report::forms;
use watched::{Watched, watch};

/// Schema of what `gate --json` prints.
pub const GATE_SCHEMA: &str = "ivshmem-gate/1";

const EXAMPLES: &str = "\
Examples:
  analyze gate --base main --new branch --max-regression p50=5%,p99=10%
  analyze gate --base 'results/main-*' --new 'results/branch-*' \\
    --max-regression p50=5%,rate=5%,4k_duration=8%
  analyze gate --base a --new b --max-regression p50=5% --cannot-tell pass

Figures: p50, p90, p99, p99.9 and mean of the time to PROCESSED, received_p50,
and of each payload its rate and its median time, such as 4k_rate, 64B_duration
or 4k_stream_rate; rate and duration alone mean all of them. A rate regresses by
falling.

A figure passes when all of its interval is within what is allowed, and has
regressed when all of it is beyond. In between, the runs cannot tell, and the
gate is closed unless --cannot-tell pass.

Exit status: 0 nothing regressed, 1 could not be done, 2 wrong usage,
3 regressed, 4 cannot tell, 130 interrupted.";

/// The exit status of a regression.
const REGRESSED: u8 = 3;

/// The exit status when the runs do not show whether there is one.
const CANNOT_TELL: u8 = 4;

/// Compares runs before and after for CI, with an exit status for what was
/// allowed.
#[derive(Debug, clap::Args)]
#[command(term_width = 80, after_help = EXAMPLES)]
pub struct GateArgs {
    /// Runs before: run directories, directories that hold them, CSVs, or quoted
    /// globs; may be given many times
    #[arg(long, value_name = "PATH", required = true)]
    pub base: Vec<PathBuf>,

    /// Runs after; may be given many times
    #[arg(long, value_name = "PATH", required = true)]
    pub new: Vec<PathBuf>,

    /// How much worse each figure may be: FIGURE=PERCENT, with commas between
    #[arg(long, value_name = "LIMITS", required = true, value_parser = Limits::parse)]
    pub max_regression: Limits,

    /// What becomes of a figure that the runs cannot tell of: fail, exit status
    /// 4, or pass
    #[arg(long, value_name = "FATE", value_enum, default_value_t = Undecided::Fail, hide_possible_values = true)]
    pub cannot_tell: Undecided,

    /// How runs are judged.
    #[command(flatten)]
    pub judging: Judging,

    /// What to print.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// What to do when the runs cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Undecided {
    /// Exit status 0
    Pass,
    /// Exit status 4
    Fail,
}

/// What a gate comes to; serialised, what `gate --json` prints.
#[derive(Serialize)]
struct Gate<'a> {
    schema: &'static str,
    tool: &'static str,
    level: f64,
    outcome: Outcome,
    /// Whether the exit status is 0, by `--cannot-tell`, too.
    passed: bool,
    runs: [usize; 2],
    differences: &'a [Difference],
    /// Alarms and warnings.
    doubts: Vec<DoubtOfRuns<'a>>,
    figures: Vec<Watched<'a>>,
    #[serde(skip)]
    comparison: &'a Comparison,
}

/// Compares, and judges what is watched.
///
/// # Errors
/// When the runs cannot be compared, or a figure to be watched is not in all of them.
pub fn run(args: &GateArgs, interrupt: &Interrupt) -> Result<Answer, Error> {
    let comparison = args.judging.compare([&args.base, &args.new], 0.0, interrupt)?;
    let figures = watch(&comparison, &args.max_regression)?;
    let outcome = figures.iter().map(|figure| figure.outcome).max().unwrap_or(Outcome::Passed);
    let exit_code = match (outcome, args.cannot_tell) {
        (Outcome::Regressed, _) => REGRESSED,
        (Outcome::CannotTell, Undecided::Fail) => CANNOT_TELL,
        (Outcome::CannotTell, Undecided::Pass) | (Outcome::Passed, _) => 0,
    };
    let gate = Gate {
        schema: GATE_SCHEMA,
        tool: comparison.tool,
        level: comparison.standard.level,
        outcome,
        passed: exit_code == 0,
        runs: [comparison.base.len(), comparison.new.len()],
        differences: &comparison.differences,
        doubts: doubts::grave(&comparison),
        figures,
        comparison: &comparison,
    };
    Ok(Answer { stdout: forms::printed(&gate, args.format.format())?, note: None, exit_code })
}
