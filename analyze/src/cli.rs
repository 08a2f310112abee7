//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::report::forms::OutputArgs;
use crate::{compare_runs, export, history};

const EXAMPLES: &str = "\
Examples:
  analyze latency_results.csv                     one file, results beside it
  analyze results/vm                              a run directory
  analyze results/native results/vm --out report  a VM and its native baseline
  analyze results/idle results/loaded             a VM under load and idle
  analyze doorbell_results.csv                    ways to wait side by side
  analyze results/vm --json | jq .runs[0].latency
  analyze results/vm --format md | gh pr comment --body-file -
  analyze --matrix results/exp/* --out report     all runs of an experiment
  analyze --matrix results/exp/* --json | jq .findings
  analyze compare results/old results/new         did it change?
  analyze gate --base old --new new --max-regression p50=5%
  analyze history results                         where runs changed over time
  analyze export --parquet fleet results/*        every row, for DuckDB or Spark

The report is about the VM run, or about the only run. A native run (one whose
run.json says the reader mapped a file) given beside it is the baseline, and the
ratios VM to native are printed. Of two VM runs exactly one of which was under a
load, the loaded one is the main run and the idle one the baseline. Any other
two VM runs and two native runs are an error.

A doorbell file may hold the rows of many runs, one below the other. Such files
are put together wherever they lie, and beside any run.

A run directory whose name is a command's is given as ./compare.

With --matrix each directory is a cell named after it, with a run.json in it.

Written, unless --out says where, to the directory of the run the report is
about (of a matrix, to the one that holds the first run): report.html, which is
the whole of it in one file with charts to hover over; performance_report.txt,
summary.json, and for latency latency_histogram.png, latency_over_time.png,
latency_percentiles.png, latency_ccdf.png and latency_heatmap.png, for bandwidth
bandwidth_analysis.png and phase_breakdown.png, for doorbells
doorbell_latency_cdf.png and doorbell_latency_vs_cpu.png. With --matrix:
matrix.csv, experiments_report.txt and experiments.png, which draws what there
is data for.

Standard output is coloured on a terminal only, and as NO_COLOR, CLICOLOR and
CLICOLOR_FORCE say.

Exit status: 0 done, 1 could not be done, 2 wrong usage, 130 interrupted; of
gate also 3 and 4, which its --help explains.";

/// Turns latency, bandwidth and doorbell CSVs into percentiles, charts and a
/// report.
#[derive(Debug, Parser)]
#[command(
    version,
    term_width = 80,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// What else is asked than a report.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The report.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// What else can be asked of results.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Did it change? Runs before and after, figure by figure, and how sure that is
    Compare(compare_runs::Args),
    /// Compares runs before and after for CI: an exit status for what is allowed
    Gate(compare_runs::GateArgs),
    /// A folder of runs over time: their figures, and where these changed
    History(history::Args),
    /// Every row, with its run's provenance, as Parquet for other tools
    Export(export::Args),
}

/// The report about one run.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// CSVs or run directories. The header tells what a CSV holds; run.json is
    /// looked for beside it
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,

    /// Compare all run directories given: one row a run, size and way; as text,
    /// json or csv
    #[arg(long)]
    pub matrix: bool,

    /// What is written and printed.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Print nothing but errors, and what --format or --json asked for
    #[arg(long, short)]
    pub quiet: bool,
}
