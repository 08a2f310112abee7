//! `analyze gate`: the comparison as an exit status. A regression is one that the interval proves.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::comparison::{Compared, Comparison};
use super::doubts::{self, DoubtOfRuns};
use super::one_run::Unit;
use super::report::interval_title;
use super::{Difference, Judging, Problem, percent};
use crate::answer::Answer;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::text::{four_digits, named, plural, shown, wrapped};
use crate::stats::ratio::{Interval, least_runs, runs_needed};

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

    /// Print JSON instead of a line a figure
    #[arg(long)]
    pub json: bool,
}

/// What to do when the runs cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Undecided {
    /// Exit status 0
    Pass,
    /// Exit status 4
    Fail,
}

/// What is allowed: figures' keys with shares of 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits(Vec<(String, f64)>);

impl Limits {
    fn parse(text: &str) -> Result<Self, String> {
        let mut limits: Vec<(String, f64)> = Vec::new();
        for part in text.split(',') {
            let expected = || format!("`{part}` is not FIGURE=PERCENT, such as p50=5%");
            let (key, share) = part.split_once('=').ok_or_else(expected)?;
            let key = key.trim();
            if key.is_empty() {
                return Err(expected());
            }
            if limits.iter().any(|(known, _)| known == key) {
                return Err(format!("{key} is named twice"));
            }
            limits.push((key.into(), percent::share(share).map_err(|why| format!("{key}: {why}"))?));
        }
        Ok(Self(limits))
    }
}

/// What became of a figure, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of the interval is allowed.
    Passed,
    /// Some of it is.
    CannotTell,
    /// None of it is.
    Regressed,
}

/// A figure that is watched.
#[derive(Debug, Clone, Serialize)]
struct Watched<'a> {
    key: &'a str,
    name: &'a str,
    outcome: Outcome,
    ratio: f64,
    /// `None` of one run a side: what runs differ by is not known.
    interval: Option<Interval>,
    /// Of one run a side: what the messages of these two leave open. No outcome rests on it.
    within_runs: Option<Interval>,
    /// The worst ratio that is allowed.
    allowed_ratio: f64,
    /// Runs a side that would tell.
    runs_needed: Option<u64>,
    #[serde(skip)]
    unit: Unit,
}

#[derive(Serialize)]
struct WireGate<'a> {
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
    figures: &'a [Watched<'a>],
}

/// Compares, and judges what is watched.
///
/// # Errors
/// When the runs cannot be compared, or a figure to be watched is not in all of them.
pub fn run(args: &GateArgs, interrupt: &Interrupt) -> Result<Answer, Error> {
    let comparison = args.judging.compare([&args.base, &args.new], 0.0, interrupt)?;
    let watched = watch(&comparison, &args.max_regression)?;
    let outcome = watched.iter().map(|figure| figure.outcome).max().unwrap_or(Outcome::Passed);
    let exit_code = match (outcome, args.cannot_tell) {
        (Outcome::Regressed, _) => REGRESSED,
        (Outcome::CannotTell, Undecided::Fail) => CANNOT_TELL,
        (Outcome::CannotTell, Undecided::Pass) | (Outcome::Passed, _) => 0,
    };
    let stdout = if args.json {
        to_json(&comparison, &watched, outcome, exit_code == 0)?
    } else {
        lines(&comparison, &watched) + &wrapped("", &closing(&watched, exit_code == 0))
    };
    Ok(Answer { stdout, note: None, exit_code })
}

fn watch<'a>(comparison: &'a Comparison, limits: &Limits) -> Result<Vec<Watched<'a>>, Problem> {
    let mut watched = Vec::new();
    for (key, allowed) in &limits.0 {
        let all_of = format!("_{key}");
        let every = matches!(key.as_str(), "rate" | "duration");
        let meant = |figure: &&Compared| {
            figure.id.key == *key
                || every && figure.id.key.ends_with(&all_of) && !is_named(limits, &figure.id.key)
        };
        let before = watched.len();
        watched.extend(
            comparison.figures.iter().filter(meant).map(|figure| Watched::of(figure, *allowed, comparison)),
        );
        if watched.len() == before {
            let known = comparison.figures.iter().map(|figure| figure.id.key.clone()).collect();
            return Err(Problem::NoSuchFigure { key: key.clone(), known });
        }
    }
    Ok(watched)
}

/// A limit of its own goes before that of all.
fn is_named(limits: &Limits, key: &str) -> bool {
    limits.0.iter().any(|(named, _)| named == key)
}

impl<'a> Watched<'a> {
    fn of(figure: &'a Compared, allowed: f64, comparison: &Comparison) -> Self {
        let Interval { low, high, level } = figure.interval;
        let (allowed_ratio, passes, regressed) = match figure.id.unit {
            Unit::Ns => (1.0 + allowed, high <= 1.0 + allowed, low > 1.0 + allowed),
            Unit::GbPerS => (1.0 - allowed, low >= 1.0 - allowed, high < 1.0 - allowed),
        };
        let outcome = match () {
            () if level < comparison.standard.level - 1e-9 => Outcome::CannotTell,
            () if regressed => Outcome::Regressed,
            () if passes => Outcome::Passed,
            () => Outcome::CannotTell,
        };
        let distance = (figure.ratio / allowed_ratio).ln().abs();
        let needed =
            figure.spread_of_runs.map(|spread| runs_needed(spread, distance, comparison.standard.level));
        let least = least_runs(comparison.standard.level).max(figure.base.len().min(figure.new.len()) + 1);
        let runs_needed = needed.map(|needed| needed.max(least as f64)).filter(|needed| *needed <= 1e3);
        Self {
            key: &figure.id.key,
            name: &figure.id.name,
            outcome,
            ratio: figure.ratio,
            interval: Some(figure.interval).filter(|interval| interval.level > 0.0),
            within_runs: figure.within_runs,
            allowed_ratio,
            runs_needed: runs_needed.filter(|_| outcome == Outcome::CannotTell).map(|needed| needed as u64),
            unit: figure.id.unit,
        }
    }

    fn row(&self) -> String {
        let ends =
            |interval: Interval| format!("{} to {}", four_digits(interval.low), four_digits(interval.high));
        let interval = shown(self.interval.or(self.within_runs), ends);
        let bound = if self.unit == Unit::Ns { "at most" } else { "at least" };
        let word = match self.outcome {
            Outcome::Passed => "ok",
            Outcome::CannotTell => "cannot tell",
            Outcome::Regressed => "REGRESSED",
        };
        let (ratio, allowed) = (four_digits(self.ratio), four_digits(self.allowed_ratio));
        row(self.key, [&ratio, &interval, &format!("{bound} {allowed}"), word])
    }
}

fn row(name: &str, [ratio, interval, allowed, outcome]: [&str; 4]) -> String {
    named(name, 18, &format!("{ratio:>8}{interval:>20}{allowed:>18}  {outcome}"))
}

fn lines(comparison: &Comparison, watched: &[Watched<'_>]) -> String {
    let mut out = String::new();
    for difference in comparison.differences.iter().filter(|difference| difference.matters) {
        out += &wrapped("  !! ", &format!("COMPARED DESPITE A DIFFERENCE: {}", difference.sentence()));
    }
    out += &doubts::lines(comparison);
    out += &row("new over base", ["ratio", &interval_title(comparison), "allowed", "outcome"]);
    out += &watched.iter().map(Watched::row).collect::<String>();
    let undecided = watched.iter().filter(|figure| figure.outcome == Outcome::CannotTell);
    if let Some(needed) = undecided.map(|figure| figure.runs_needed).max() {
        let runs = [&comparison.base, &comparison.new].map(Vec::len);
        let made = format!("{} in base and {} in new cannot tell", plural(runs[0] as u64, "run"), runs[1]);
        let needed = match needed {
            Some(needed) => format!("about {needed} a side would"),
            None if runs == [1, 1] => "one run a side never can: make ten".into(),
            None => "more than a thousand a side would be needed".into(),
        };
        out += &wrapped("", &format!("{made}; {needed}."));
    }
    out
}

/// What the exit status says, and which figures it is for.
fn closing(watched: &[Watched<'_>], passed: bool) -> String {
    let with = |outcome: Outcome| {
        let keys: Vec<&str> =
            watched.iter().filter(|figure| figure.outcome == outcome).map(|figure| figure.key).collect();
        keys.join(", ")
    };
    let (regressed, undecided) = (with(Outcome::Regressed), with(Outcome::CannotTell));
    match (passed, regressed.as_str(), undecided.as_str()) {
        (true, _, "") => "gate: passed".into(),
        (true, ..) => format!("gate: passed, because of --cannot-tell pass: nothing is told of {undecided}"),
        (false, "", _) => format!("gate: failed: nothing is told of {undecided}"),
        (false, _, "") => format!("gate: failed: {regressed} regressed"),
        (false, ..) => format!("gate: failed: {regressed} regressed; nothing is told of {undecided}"),
    }
}

fn to_json(
    comparison: &Comparison,
    watched: &[Watched<'_>],
    outcome: Outcome,
    passed: bool,
) -> Result<String, Error> {
    let wire = WireGate {
        schema: GATE_SCHEMA,
        tool: comparison.tool,
        level: comparison.standard.level,
        outcome,
        passed,
        runs: [comparison.base.len(), comparison.new.len()],
        differences: &comparison.differences,
        doubts: doubts::grave(comparison),
        figures: watched,
    };
    let failed =
        |error: serde_json::Error| Error::Write { path: "the gate's JSON".into(), source: error.into() };
    Ok(serde_json::to_string_pretty(&wire).map_err(failed)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused_with_what_was_expected() {
        let limits = Limits::parse("p50=5%, 4k_rate=0.5%,p99.9=10").unwrap();
        let expected = [("p50", 0.05), ("4k_rate", 0.005), ("p99.9", 0.1)];
        assert_eq!(limits.0, expected.map(|(key, share)| (key.to_owned(), share)));
        let error = |text| Limits::parse(text).unwrap_err();
        assert_eq!(error("p50"), "`p50` is not FIGURE=PERCENT, such as p50=5%");
        assert_eq!(error("p50=5%,"), "`` is not FIGURE=PERCENT, such as p50=5%");
        assert_eq!(error("=5%"), "`=5%` is not FIGURE=PERCENT, such as p50=5%");
        assert_eq!(error("p50=x"), "p50: expected a percentage from 0 to below 100, such as 2%");
        assert_eq!(error("p50=5%,p50=6%"), "p50 is named twice");
    }
}
