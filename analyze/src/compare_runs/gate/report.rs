//! The gate as text: a line a figure, what else is needed, and what the exit status says.

use super::Gate;
use super::watched::{Outcome, Watched};
use crate::compare_runs::doubts;
use crate::compare_runs::report::{ends, interval_title};
use crate::report::text::{four_digits, named, plural, shown, wrapped};

/// All lines, that of the exit status last.
pub(super) fn render(gate: &Gate<'_>) -> String {
    let mut out = String::new();
    for difference in gate.differences.iter().filter(|difference| difference.matters) {
        out += &wrapped("  !! ", &format!("COMPARED DESPITE A DIFFERENCE: {}", difference.sentence()));
    }
    out += &doubts::lines(gate.comparison);
    out += &row("new over base", ["ratio", &interval_title(gate.comparison), "allowed", "outcome"]);
    out += &gate.figures.iter().map(of_figure).collect::<String>();
    out += &needed(gate).map_or_else(String::new, |needed| wrapped("", &needed));
    out + &wrapped("", &format!("gate: {}", closing(gate)))
}

fn row(name: &str, [ratio, interval, allowed, outcome]: [&str; 4]) -> String {
    named(name, 18, &format!("{ratio:>8}{interval:>20}{allowed:>18}  {outcome}"))
}

fn of_figure(watched: &Watched<'_>) -> String {
    let interval = shown(watched.figure.shown_interval(), ends);
    row(watched.key, [&four_digits(watched.ratio), &interval, &watched.allowed(), watched.outcome.word()])
}

/// How many runs would tell what these cannot; `None` where they can.
pub(super) fn needed(gate: &Gate<'_>) -> Option<String> {
    let undecided = gate.figures.iter().filter(|figure| figure.outcome == Outcome::CannotTell);
    let needed = undecided.map(|figure| figure.runs_needed).max()?;
    let made =
        format!("{} in base and {} in new cannot tell", plural(gate.runs[0] as u64, "run"), gate.runs[1]);
    let needed = match needed {
        Some(needed) => format!("about {needed} a side would"),
        None if gate.runs == [1, 1] => "one run a side never can: make ten".into(),
        None => "more than a thousand a side would be needed".into(),
    };
    Some(format!("{made}; {needed}."))
}

/// What the exit status says, and which figures it is for.
pub(super) fn closing(gate: &Gate<'_>) -> String {
    let with = |outcome: Outcome| {
        let keys: Vec<&str> =
            gate.figures.iter().filter(|figure| figure.outcome == outcome).map(|figure| figure.key).collect();
        keys.join(", ")
    };
    let (regressed, undecided) = (with(Outcome::Regressed), with(Outcome::CannotTell));
    match (gate.passed, regressed.as_str(), undecided.as_str()) {
        (true, _, "") => "passed".into(),
        (true, ..) => format!("passed, because of --cannot-tell pass: nothing is told of {undecided}"),
        (false, "", _) => format!("failed: nothing is told of {undecided}"),
        (false, _, "") => format!("failed: {regressed} regressed"),
        (false, ..) => format!("failed: {regressed} regressed; nothing is told of {undecided}"),
    }
}
