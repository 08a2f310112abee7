//! The comparison in every form: its rows and its sections; each figure with its place in comparison.json.

use serde_json::{Value, json};

use super::comparison::{Compared, Comparison, RunEntry};
use super::doubts;
use super::picture::picture;
use super::report::{self, ends, interval_title, notes, p_value, sentence, shift_word, tally};
use super::verdict::Verdict;
use crate::charts::Picture;
use crate::doubt::Severity;
use crate::html::Page;
use crate::report::concern::Concern;
use crate::report::csv;
use crate::report::document::{Block, Row, Section, Table};
use crate::report::figures::Cell;
use crate::report::forms::Document;
use crate::report::text::{duration, four_digits, plural, shown};
use crate::stats::ratio::Interval;
use crate::stats::shift::Shift;

impl Document for Comparison {
    const MORE_COLUMNS: &'static [&'static str] = &["verdict"];

    fn text(&self) -> String {
        report::render(self)
    }

    /// Of each figure the medians of both sides, then the ratio with its interval and the verdict.
    fn rows(&self) -> Vec<csv::Row<'_>> {
        // As the JSON has it.
        let verdict = |figure: &Compared| json!(figure.judgement.verdict).as_str().map(str::to_owned);
        self.figures.iter().flat_map(|figure| rows(figure, verdict(figure).into_iter().collect())).collect()
    }

    fn page(&self) -> Page {
        Page {
            title: title(self),
            about: about(self),
            verdict: verdict(self),
            severity: None,
            concerns: concerns(self),
            sections: sections(self),
            notes: notes(self),
            end: String::new(),
        }
    }

    fn picture(&self) -> Picture<'_> {
        picture(self)
    }
}

/// The medians of both sides, then the ratio with its interval and, in further columns, `more`. Of one run a side there is no
/// such interval: what the messages of these two leave open is a row of its own.
pub(super) fn rows(figure: &Compared, more: Vec<String>) -> Vec<csv::Row<'_>> {
    let row = |run, unit, value, interval: Option<Interval>| {
        let ends = interval.map(|interval| (interval.low, interval.high));
        csv::Row { run, figure: &figure.id.name, unit, value, ends, more: Vec::new() }
    };
    let unit = figure.id.unit.symbol();
    let between = Some(figure.interval).filter(|interval| interval.level > 0.0);
    let mut rows = vec![
        row("base", unit, figure.base_median, None),
        row("new", unit, figure.new_median, None),
        csv::Row { more, ..row("new_over_base", "", figure.ratio, between) },
    ];
    rows.extend(
        figure.within_runs.map(|within| row("new_over_base_within_runs", "", figure.ratio, Some(within))),
    );
    rows
}

pub(super) fn title(comparison: &Comparison) -> String {
    let [base, new] = [&comparison.base, &comparison.new].map(|runs| plural(runs.len() as u64, "run"));
    format!("new ({new}) over base ({base})")
}

pub(super) fn about(comparison: &Comparison) -> Vec<[String; 3]> {
    let of_side = |side: &'static str, runs: &'_ [RunEntry]| -> Vec<[String; 3]> {
        let line = |run: &RunEntry| {
            let taken = run.started_utc.as_ref().map_or_else(String::new, |utc| format!(", taken {utc}"));
            [side.to_owned(), run.run.clone(), taken]
        };
        runs.iter().map(line).collect()
    };
    [of_side("base", &comparison.base), of_side("new", &comparison.new)].concat()
}

fn verdict(comparison: &Comparison) -> [String; 2] {
    let first = comparison.figures.first();
    let happened = first.map(|figure| format!("{}: {}.", sentence(figure), figure.judgement.reason));
    [happened.unwrap_or_default(), tally(comparison)]
}

/// Differences that matter, then each kind of doubt once, with the first run that it is of.
pub(super) fn concerns(comparison: &Comparison) -> Vec<Concern> {
    let grave =
        comparison.differences.iter().filter(|difference| difference.matters).map(|difference| Concern {
            severity: Severity::Alarm,
            text: format!("COMPARED DESPITE A DIFFERENCE: {}.", difference.sentence()),
            advice: "Make the runs alike in it, or quote it with every figure.".into(),
        });
    let mut all: Vec<Concern> = grave.collect();
    let runs = comparison.base.len() + comparison.new.len();
    all.extend(doubts::all(comparison).iter().map(|known| Concern {
        severity: known.doubt.severity(),
        text: format!(
            "{} of {runs} runs, the first of them {}: {}",
            known.base_runs + known.new_runs,
            known.first_run,
            known.doubt
        ),
        advice: known.doubt.advice(),
    }));
    all.sort_by_key(|concern| concern.severity);
    all
}

fn sections(comparison: &Comparison) -> Vec<Section> {
    let mut sections = vec![Section {
        id: "figures",
        title: "Figures, new over base".into(),
        blocks: vec![Block::Table(figures(comparison)), Block::List(left_out(comparison))],
    }];
    if !comparison.is_one_a_side() {
        let blocks = vec![Block::Table(between(comparison))];
        sections.push(Section { id: "between", title: "Between runs".into(), blocks });
        if !comparison.shift.is_empty() {
            let title = "Shift: time to PROCESSED, decile by decile".into();
            let blocks = vec![Block::Table(shift(comparison))];
            sections.push(Section { id: "shift", title, blocks });
        }
    }
    sections.extend(told(comparison));
    sections
}

/// What runs differ in that need not move the figures.
pub(super) fn told(comparison: &Comparison) -> Option<Section> {
    let told: Vec<String> = comparison
        .differences
        .iter()
        .filter(|difference| !difference.matters)
        .map(super::Difference::sentence)
        .collect();
    let title = "The runs also differ in".into();
    (!told.is_empty()).then(|| Section { id: "differences", title, blocks: vec![Block::List(told)] })
}

fn left_out(comparison: &Comparison) -> Vec<String> {
    let line = |figure: &super::LeftOut| {
        format!(
            "{} is in {} of {} runs only, and not compared.",
            figure.label, figure.runs_with_it, figure.runs
        )
    };
    comparison.left_out.iter().map(line).collect()
}

pub(super) fn cell(text: String, key: String, value: Value) -> Cell {
    Cell { text, figure: Some((key, value)) }
}

fn figures(comparison: &Comparison) -> Table {
    let row = |(place, figure): (usize, &Compared)| {
        let key = |name: &str| format!("figures.{place}.{name}");
        let median = |name: &str, median: f64| cell(figure.id.unit.written(median), key(name), json!(median));
        let interval = figure.shown_interval();
        let ends = shown(interval, ends);
        Row {
            name: figure.label(),
            cells: vec![
                median("base_median", figure.base_median),
                median("new_median", figure.new_median),
                cell(four_digits(figure.ratio), key("ratio"), json!(figure.ratio)),
                Cell { text: ends, figure: None },
                Cell::from(figure.judgement.verdict.word()),
            ],
        }
    };
    let interval = interval_title(comparison);
    let caption = if comparison.is_one_a_side() {
        "Figures of both runs, and their ratio"
    } else {
        "Medians over runs, and the ratio of all pairs"
    };
    Table {
        caption: caption.into(),
        columns: ["", "base", "new", "ratio", &interval, "verdict"].map(str::to_owned).into(),
        rows: comparison.figures.iter().enumerate().map(row).collect(),
    }
}

fn between(comparison: &Comparison) -> Table {
    let row = |figure: &Compared| {
        let spread = shown(figure.spread_of_runs, |spread| format!("{:.2} %", spread * 100.0));
        let delta = format!("{:+.2} {}", figure.cliffs_delta.delta, figure.cliffs_delta.size);
        let needed = match (figure.judgement.verdict, figure.judgement.runs_needed) {
            (Verdict::CannotTell, Some(runs)) => runs.to_string(),
            (Verdict::CannotTell, None) => "> 1000".into(),
            _ => "-".into(),
        };
        let p = p_value(&figure.mann_whitney);
        let cells = [spread, p, delta, needed].map(|text| Cell { text, figure: None });
        Row { name: figure.label(), cells: cells.into() }
    };
    Table {
        caption: "What runs of one side differ by, and what tells the sides apart".into(),
        columns: ["", "spread", "Mann-Whitney p", "Cliff's delta", "runs needed"].map(str::to_owned).into(),
        rows: comparison.figures.iter().map(row).collect(),
    }
}

/// Where in the distribution of messages the change lies.
fn shift(comparison: &Comparison) -> Table {
    let row = |(place, shift): (usize, &Shift)| {
        let key = |name: &str| format!("shift.{place}.{name}");
        Row {
            name: format!("p{}", shift.percentile),
            cells: vec![
                cell(duration(shift.base_ns), key("base_ns"), json!(shift.base_ns)),
                cell(duration(shift.new_ns), key("new_ns"), json!(shift.new_ns)),
                cell(four_digits(shift.ratio), key("ratio"), json!(shift.ratio)),
                Cell { text: ends(shift.interval), figure: None },
                Cell::from(shift_word(shift, comparison)),
            ],
        }
    };
    let interval = interval_title(comparison);
    Table {
        caption: "Medians over runs of each decile, and the ratio of all pairs".into(),
        columns: ["", "base", "new", "ratio", &interval, "verdict"].map(str::to_owned).into(),
        rows: comparison.shift.iter().enumerate().map(row).collect(),
    }
}
