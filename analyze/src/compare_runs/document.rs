//! The comparison as sections, for HTML, Markdown and CSV; each figure with its place in comparison.json.

use serde_json::{Value, json};

use super::comparison::{Compared, Comparison, RunEntry};
use super::doubts;
use super::one_run::Unit;
use super::picture::picture;
use super::report::{ends, interval_title, notes, p_value, sentence, shift_word, tally, value};
use super::verdict::Verdict;
use crate::doubt::Severity;
use crate::error::Error;
use crate::html::Page;
use crate::report::concern::Concern;
use crate::report::document::{Block, Row, Section, Table};
use crate::report::figures::Cell;
use crate::report::markdown::of_parts;
use crate::report::text::{duration, four_digits, plural, shown};
use crate::stats::shift::Shift;

/// As a page with the ratios drawn.
///
/// # Errors
/// [`Error::Draw`].
pub(super) fn html(comparison: &Comparison) -> Result<String, Error> {
    Page {
        title: format!("ivshmem: {}", title(comparison)),
        about: about("base", &comparison.base).chain(about("new", &comparison.new)).collect(),
        verdict: verdict(comparison),
        concerns: concerns(comparison),
        sections: sections(comparison),
        notes: notes(comparison),
        end: String::new(),
    }
    .render(&[picture(comparison)])
}

/// As GitHub's Markdown.
pub(super) fn markdown(comparison: &Comparison) -> String {
    let [happened, belief] = verdict(comparison);
    of_parts(&title(comparison), [&happened, &belief], &concerns(comparison), &sections(comparison))
}

/// A row for each figure: medians of both sides, then the ratio with its interval.
///
/// # Errors
/// Never: the writer is memory.
pub(super) fn csv(comparison: &Comparison) -> csv::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["run", "figure", "unit", "value", "low", "high"])?;
    for figure in &comparison.figures {
        let unit = if figure.id.unit == Unit::Ns { "ns" } else { "GB/s" };
        for (run, median) in [("base", figure.base_median), ("new", figure.new_median)] {
            writer.write_record([run, &figure.id.name, unit, &median.to_string(), "", ""])?;
        }
        let ends =
            figure.shown_interval().map(|interval| [interval.low, interval.high].map(|end| end.to_string()));
        let [low, high] = ends.unwrap_or_default();
        writer.write_record([
            "new_over_base",
            &figure.id.name,
            "",
            &figure.ratio.to_string(),
            &low,
            &high,
        ])?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn title(comparison: &Comparison) -> String {
    let [base, new] = [&comparison.base, &comparison.new].map(|runs| plural(runs.len() as u64, "run"));
    format!("new ({new}) over base ({base})")
}

fn about<'a>(side: &'a str, runs: &'a [RunEntry]) -> impl Iterator<Item = [String; 3]> + 'a {
    runs.iter().map(move |run| {
        let taken = run.started_utc.as_ref().map_or_else(String::new, |utc| format!(", taken {utc}"));
        [side.to_owned(), run.run.clone(), taken]
    })
}

fn verdict(comparison: &Comparison) -> [String; 2] {
    let first = comparison.figures.first();
    let happened = first.map(|figure| format!("{}: {}.", sentence(figure), figure.judgement.reason));
    [happened.unwrap_or_default(), tally(comparison)]
}

/// Differences that matter, then each kind of doubt once, with the first run that it is of.
fn concerns(comparison: &Comparison) -> Vec<Concern> {
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
    let told: Vec<String> =
        comparison.differences.iter().filter(|d| !d.matters).map(super::Difference::sentence).collect();
    if !told.is_empty() {
        let blocks = vec![Block::List(told)];
        sections.push(Section { id: "differences", title: "The runs also differ in".into(), blocks });
    }
    sections
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

fn cell(text: String, key: String, value: Value) -> Cell {
    Cell { text, figure: Some((key, value)) }
}

fn figures(comparison: &Comparison) -> Table {
    let row = |(place, figure): (usize, &Compared)| {
        let key = |name: &str| format!("figures.{place}.{name}");
        let median = |name: &str, median: f64| cell(value(figure.id.unit, median), key(name), json!(median));
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
