//! The gate in every form: a row for each figure that is watched, with what is allowed.

use serde_json::json;

use super::watched::{Outcome, Watched};
use super::{Gate, report};
use crate::charts::Picture;
use crate::charts::forest::{self, ForestRow, ForestVerdict};
use crate::compare_runs::document::{about, cell, concerns, rows, title, told};
use crate::compare_runs::picture;
use crate::compare_runs::report::{ends, interval_title};
use crate::doubt::Severity;
use crate::html::Page;
use crate::report::csv;
use crate::report::document::{Block, Row, Section, Table};
use crate::report::figures::Cell;
use crate::report::forms::Document;
use crate::report::text::{four_digits, shown};

impl Document for Gate<'_> {
    const MORE_COLUMNS: &'static [&'static str] = &["allowed", "outcome"];

    fn text(&self) -> String {
        report::render(self)
    }

    fn rows(&self) -> Vec<csv::Row<'_>> {
        self.figures.iter().flat_map(of_watched).collect()
    }

    fn page(&self) -> Page {
        let table = vec![Block::Table(table(self))];
        let mut sections =
            vec![Section { id: "figures", title: "Figures, new over base".into(), blocks: table }];
        sections.extend(told(self.comparison));
        Page {
            title: format!("gate: {}", title(self.comparison)),
            about: about(self.comparison),
            verdict: [format!("Gate {}.", report::closing(self)), report::needed(self).unwrap_or_default()],
            // A closed gate is no good news, however sound its runs are.
            severity: match self.outcome {
                _ if self.passed => None,
                Outcome::Regressed => Some(Severity::Alarm),
                Outcome::CannotTell | Outcome::Passed => Some(Severity::Warning),
            },
            concerns: concerns(self.comparison),
            sections,
            notes: notes(self),
            end: String::new(),
        }
    }

    fn picture(&self) -> Picture<'_> {
        forest::picture(picture::heading(self.comparison), self.figures.iter().map(drawn).collect())
    }
}

/// The rows of its comparison; what is allowed stands beside the ratio.
fn of_watched<'a>(watched: &Watched<'a>) -> Vec<csv::Row<'a>> {
    // As the JSON has it.
    let outcome = json!(watched.outcome).as_str().unwrap_or_default().to_owned();
    rows(watched.figure, vec![watched.allowed_ratio.to_string(), outcome])
}

fn drawn(watched: &Watched<'_>) -> ForestRow {
    let verdict = match watched.outcome {
        Outcome::Passed => ForestVerdict::Allowed,
        Outcome::CannotTell => ForestVerdict::CannotTell,
        Outcome::Regressed => ForestVerdict::Regressed,
    };
    ForestRow { verdict, allowed: Some(watched.allowed_ratio), ..picture::row(watched.figure) }
}

fn table(gate: &Gate<'_>) -> Table {
    let row = |(place, watched): (usize, &Watched<'_>)| {
        let key = |name: &str| format!("figures.{place}.{name}");
        let unit = watched.figure.id.unit;
        let [base, new] = [("base_median", watched.base_median), ("new_median", watched.new_median)]
            .map(|(name, median)| cell(unit.written(median), key(name), json!(median)));
        let interval = shown(watched.figure.shown_interval(), ends);
        Row {
            name: watched.figure.label(),
            cells: vec![
                base,
                new,
                cell(four_digits(watched.ratio), key("ratio"), json!(watched.ratio)),
                Cell { text: interval, figure: None },
                Cell { text: watched.allowed(), figure: None },
                Cell::from(watched.outcome.word()),
            ],
        }
    };
    let interval = interval_title(gate.comparison);
    let columns = ["", "base", "new", "ratio", &interval, "allowed", "outcome"];
    Table {
        caption: "What is watched, and what is allowed of it".into(),
        columns: columns.map(str::to_owned).into(),
        rows: gate.figures.iter().enumerate().map(row).collect(),
    }
}

fn notes(gate: &Gate<'_>) -> Vec<String> {
    let of_ratio = if gate.comparison.is_one_a_side() {
        "base and new are the figures of the two runs; within runs is what their messages leave open, and no ground for \
         an outcome."
    } else {
        "base and new are medians over runs; the ratio is the median of the ratios of all pairs of runs, and so need not be \
         that of the medians."
    };
    let outcomes = "ok: all of the interval is within what is allowed. REGRESSED: all of it is beyond. In between, the runs \
                    cannot tell, and the gate is closed unless --cannot-tell pass.";
    [of_ratio, outcomes].map(str::to_owned).into()
}
