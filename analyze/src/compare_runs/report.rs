//! The comparison as text of 80 columns: the verdict first, then why.

use super::comparison::{Compared, Comparison, RunEntry};
use super::verdict::Verdict;
use super::{doubts, percent};
use crate::report::text::{WIDTH, duration, entry, four_digits, heading, named, plural, shown, wrapped};
use crate::stats::rank::{MannWhitney, Method};
use crate::stats::ratio::Interval;
use crate::stats::shift::Shift;

/// The whole report.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let rule = "=".repeat(WIDTH);
    let mut out = format!("{rule}\nIVSHMEM COMPARISON\n{rule}\n");
    for difference in comparison.differences.iter().filter(|difference| difference.matters) {
        out += &wrapped("  !! ", &format!("COMPARED DESPITE A DIFFERENCE: {}", difference.sentence()));
    }
    out += &entry("Base", &side(&comparison.base));
    out += &entry("New", &side(&comparison.new));
    out += &verdict(comparison);
    out += &table(comparison);
    out += &ranks(comparison);
    out += &shift(comparison);
    out += &told_differences(comparison);
    out += &heading("HOW TO READ THIS");
    out += &notes(comparison).iter().map(|note| wrapped("  - ", note)).collect::<String>();
    out
}

fn side(runs: &[RunEntry]) -> String {
    let count = plural(runs.len() as u64, "run");
    let names = match runs {
        [first, .., last] => format!("{} to {}", first.run, last.run),
        [only] => only.run.clone(),
        [] => String::new(),
    };
    let mut times: Vec<&str> = runs.iter().filter_map(|run| run.started_utc.as_deref()).collect();
    times.sort_unstable();
    match (times.first(), times.last()) {
        (Some(first), Some(last)) if first == last => format!("{count}: {names}, taken {first}"),
        (Some(first), Some(last)) => format!("{count}: {names}, taken {first} to {last}"),
        _ => format!("{count}: {names}"),
    }
}

fn verdict(comparison: &Comparison) -> String {
    let mut out = heading("VERDICT");
    let Some(first) = comparison.figures.first() else { return out };
    out += &wrapped("  ", &format!("{}: {}.", sentence(first), first.judgement.reason));
    out += "\n";
    out += &wrapped("  ", &tally(comparison));
    out += &doubts::lines(comparison);
    out
}

/// What became of a figure, in words.
pub(super) fn sentence(figure: &Compared) -> String {
    let medians = format!(
        "{} in base, {} in new",
        figure.id.unit.written(figure.base_median),
        figure.id.unit.written(figure.new_median)
    );
    let (label, ratio) = (figure.label(), four_digits(figure.ratio));
    match figure.judgement.verdict {
        Verdict::Faster => format!("FASTER. {label}, is {ratio} times that of base ({medians})"),
        Verdict::Slower => format!("SLOWER. {label}, is {ratio} times that of base ({medians})"),
        Verdict::Same => format!("THE SAME. {label}, is {ratio} times that of base ({medians})"),
        Verdict::CannotTell => format!("CANNOT TELL. {label}, is {ratio} times that of base ({medians})"),
    }
}

pub(super) fn tally(comparison: &Comparison) -> String {
    let mut parts: Vec<String> = Vec::new();
    for verdict in [Verdict::Slower, Verdict::Faster, Verdict::Same, Verdict::CannotTell] {
        let count = comparison.count(verdict);
        let same = percent::shown(comparison.standard.same_within);
        parts.extend(match (count, verdict) {
            (0, _) => None,
            (_, Verdict::Slower) => Some(format!("{count} slower")),
            (_, Verdict::Faster) => Some(format!("{count} faster")),
            (_, Verdict::Same) => Some(format!("{count} the same within {same}")),
            (_, Verdict::CannotTell) => Some(format!("{count} that cannot be told")),
        });
    }
    let figures = plural(comparison.figures.len() as u64, "figure");
    let chance = percent::shown(1.0 - comparison.standard.level);
    format!(
        "Of {figures}: {}. Each is judged by itself: where nothing changed, up to {chance} of the verdicts say faster or slower \
         all the same.",
        parts.join(", ")
    )
}

/// The columns of a row after its name of 16 characters.
fn row(name: &str, cells: [&str; 5]) -> String {
    let [base, new, ratio, interval, last] = cells;
    let line = format!("{name:<16}{base:>11}{new:>12}{ratio:>8}{interval:>18}  {last}");
    format!("{}\n", line.trim_end())
}

pub(super) fn ends(interval: Interval) -> String {
    format!("{} to {}", four_digits(interval.low), four_digits(interval.high))
}

pub(super) fn interval_title(comparison: &Comparison) -> String {
    let reached = comparison.figures.first().map_or(0.0, |figure| figure.interval.level);
    let asked = comparison.standard.level;
    if comparison.is_one_a_side() {
        "within runs".into()
    } else {
        format!("{} interval", percent::shown(asked.min(reached)))
    }
}

fn table(comparison: &Comparison) -> String {
    let mut out = heading("FIGURES · new over base");
    let title = interval_title(comparison);
    out += &row("", ["base", "new", "ratio", &title, "verdict"]);
    let mut group = "";
    for figure in &comparison.figures {
        if figure.id.group != group {
            group = &figure.id.group;
            out += &format!("  {group}\n");
        }
        let cells = [figure.base_median, figure.new_median].map(|median| figure.id.unit.written(median));
        let interval = shown(figure.shown_interval(), ends);
        let verdict = figure.judgement.verdict.word();
        out += &row(
            &format!("    {}", figure.id.what),
            [&cells[0], &cells[1], &four_digits(figure.ratio), &interval, verdict],
        );
    }
    for figure in &comparison.left_out {
        let missing = format!(
            "{} is in {} of {} runs only, and not compared.",
            figure.label, figure.runs_with_it, figure.runs
        );
        out += &wrapped("  - ", &missing);
    }
    out
}

/// What needs more than one run on a side.
fn ranks(comparison: &Comparison) -> String {
    if comparison.is_one_a_side() {
        return String::new();
    }
    let mut out = heading("BETWEEN RUNS");
    let row = |name: &str, spread: &str, p: &str, delta: &str, needed: &str| {
        named(name, 28, &format!("{spread:>8}{p:>16}{delta:>18}{needed:>8}"))
    };
    out += &row("", "spread", "Mann-Whitney p", "Cliff's delta", "needed");
    for figure in &comparison.figures {
        let spread = shown(figure.spread_of_runs, |spread| format!("{:.2} %", spread * 100.0));
        let p = p_value(&figure.mann_whitney);
        let delta = format!("{:+.2} {}", figure.cliffs_delta.delta, figure.cliffs_delta.size);
        let needed = match (figure.judgement.verdict, figure.judgement.runs_needed) {
            (Verdict::CannotTell, Some(runs)) => runs.to_string(),
            (Verdict::CannotTell, None) => "> 1000".into(),
            _ => "-".into(),
        };
        out += &row(&figure.label(), &spread, &p, &delta, &needed);
    }
    out
}

/// With a `~` before it where it is approximated.
pub(super) fn p_value(test: &MannWhitney) -> String {
    let approximate = if test.method == Method::Exact { "" } else { "~" };
    let p = test.p_value;
    let p = if p < 0.0001 { "< 0.0001".into() } else { format!("{p:.4}") };
    format!("{approximate}{p}")
}

/// Whether a decile is faster or slower, where its interval says so.
pub(super) fn shift_word(shift: &Shift, comparison: &Comparison) -> &'static str {
    match shift.interval {
        Interval { level, .. } if level < comparison.standard.level => "",
        Interval { low, .. } if low > 1.0 => "slower",
        Interval { high, .. } if high < 1.0 => "faster",
        _ => "",
    }
}

fn shift(comparison: &Comparison) -> String {
    if comparison.shift.is_empty() || comparison.is_one_a_side() {
        return String::new();
    }
    let mut out = heading("SHIFT · time to PROCESSED, decile by decile");
    out += &row("", ["base", "new", "ratio", &interval_title(comparison), ""]);
    for shift in &comparison.shift {
        let name = format!("    p{}", shift.percentile);
        let cells = [shift.base_ns, shift.new_ns].map(duration);
        let word = shift_word(shift, comparison);
        out += &row(&name, [&cells[0], &cells[1], &four_digits(shift.ratio), &ends(shift.interval), word]);
    }
    out
}

fn told_differences(comparison: &Comparison) -> String {
    let told: Vec<_> = comparison.differences.iter().filter(|difference| !difference.matters).collect();
    if told.is_empty() {
        return String::new();
    }
    let lines = told.iter().map(|difference| wrapped("  - ", &difference.sentence()));
    heading("THE RUNS ALSO DIFFER IN") + &lines.collect::<String>()
}

pub(super) fn notes(comparison: &Comparison) -> Vec<String> {
    let same = percent::shown(comparison.standard.same_within);
    let mut notes = Vec::new();
    if comparison.is_one_a_side() {
        notes.push("base and new are the figures of the two runs; the ratio is new over base.".to_owned());
        notes.push(
            "The interval within runs is what the messages of these two runs leave open (95 %). What runs of the same \
             thing differ by is not in it, and is usually more: it is no ground for a verdict."
                .to_owned(),
        );
    } else {
        notes.push(
            "base and new are medians over runs; the ratio is the median of the ratios of all pairs of runs, and so need \
             not be that of the medians."
                .to_owned(),
        );
        notes.push(format!(
            "An interval holds every factor that Mann and Whitney's test of the runs would not reject. slower and faster: all \
             of it lies on one side of 1. same: all of it lies within {same} of 1, even where it does not hold 1."
        ));
        notes.push(
            "spread is what runs of one side differ by (a standard deviation). ~ before p: by the normal approximation. needed: \
             runs a side that would tell, as far as this spread is known."
                .to_owned(),
        );
    }
    notes
}
