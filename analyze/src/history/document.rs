//! The history in every form: its rows, and its sections with each figure's place in history.json.

use serde_json::json;

use super::History;
use super::picture::picture;
use super::report::{self, left_out, of_runs, short, summary, title, word};
use super::series::{Change, Point, Series};
use crate::charts::Picture;
use crate::compare_runs::{FigureId, percent};
use crate::html::Page;
use crate::report::concern::Concern;
use crate::report::csv;
use crate::report::document::{Block, Row, Section, Table};
use crate::report::figures::Cell;
use crate::report::forms::Document;
use crate::report::text::{NOT_AVAILABLE, four_digits, plural};

impl Document for History {
    /// `change_ratio` is what a new level, which begins with this run, has over the one before.
    const MORE_COLUMNS: &'static [&'static str] = &["series", "started_utc", "git_revision", "change_ratio"];

    fn text(&self) -> String {
        report::render(self)
    }

    /// Each run's figures with what its own messages leave open.
    fn rows(&self) -> Vec<csv::Row<'_>> {
        self.series.iter().enumerate().flat_map(|(place, series)| rows(place, series)).collect()
    }

    fn page(&self) -> Page {
        let mut sections =
            vec![Section { id: "changes", title: "Changes".into(), blocks: vec![changes(self)] }];
        let series =
            self.series.iter().enumerate().flat_map(|(place, series)| of_series(self, place, series));
        let title = "Runs, in order of their start".into();
        sections.push(Section { id: "series", title, blocks: series.collect() });
        if !self.left_out.is_empty() {
            let lines = self.left_out.iter().map(|left| left_out(&left.run, &left.why)).collect();
            let title = "Left out".into();
            sections.push(Section { id: "left-out", title, blocks: vec![Block::List(lines)] });
        }
        let doubtful = self.series.iter().enumerate();
        let alarm = percent::shown(self.alarm);
        let chance =
            format!("Of figures that never changed at most {alarm} show a change, each judged by itself.");
        Page {
            title: format!("history of {}", of_runs(self).trim_end_matches('.')),
            about: self.series.iter().enumerate().map(|(place, series)| about(self, place, series)).collect(),
            verdict: [format!("{} {}", of_runs(self), summary(self)), chance],
            severity: None,
            concerns: doubtful.filter_map(|(place, series)| concern(place, series)).collect(),
            sections,
            notes: report::notes(self).into(),
            end: String::new(),
        }
    }

    fn picture(&self) -> Picture<'_> {
        picture(self)
    }
}

fn rows(place: usize, series: &Series) -> Vec<csv::Row<'_>> {
    let mut rows = Vec::new();
    for (index, point) in series.runs.iter().enumerate() {
        for (figure, id) in series.figures.iter().enumerate() {
            let Some(value) = point.values[figure] else { continue };
            let change =
                series.changes.iter().find(|change| change.index == index && change.figure == id.key);
            let ratio = change.map_or_else(String::new, |change| change.ratio.to_string());
            let revision = point.git_revision.clone().unwrap_or_default();
            rows.push(csv::Row {
                run: &point.run,
                figure: &id.name,
                unit: id.unit.symbol(),
                value,
                ends: point.ends[figure],
                more: vec![(place + 1).to_string(), point.started_utc.clone(), revision, ratio],
            });
        }
    }
    rows
}

/// What tells a series from the others, its first run, and how many there are.
fn about(history: &History, place: usize, series: &Series) -> [String; 3] {
    let first = series.runs.first().map_or_else(String::new, |point| point.run.clone());
    let others = (series.runs.len() as u64).saturating_sub(1);
    let more = if others == 0 { String::new() } else { format!(" and {others} more") };
    [format!("series {}, {}", place + 1, title(series, &history.series)), first, more]
}

/// The runs of a series that are doubtful, in one sentence.
fn concern(place: usize, series: &Series) -> Option<Concern> {
    let doubtful: Vec<&Point> = series.runs.iter().filter(|point| !point.doubts.is_empty()).collect();
    let first = doubtful.first()?;
    let (count, all) = (doubtful.len(), plural(series.runs.len() as u64, "run"));
    let why = first.doubts.join(", ");
    Some(Concern {
        severity: doubtful.iter().filter_map(|point| point.gravest).min()?,
        text: format!(
            "Series {}: {count} of {all} to doubt, the first of them {}: {why}.",
            place + 1,
            first.run
        ),
        advice: "The report of analyze about each says why, and what to do.".into(),
    })
}

fn changes(history: &History) -> Block {
    let row = |(place, series): (usize, &Series), (number, change): (usize, &Change)| {
        let key = |name: &str| format!("series.{place}.changes.{number}.{name}");
        let figure =
            |name: &str, text: String, value: f64| Cell { text, figure: Some((key(name), json!(value))) };
        let revision = series.runs.get(change.index).and_then(|point| point.git_revision.clone());
        let [level_before, level_after] =
            [change.before, change.after].map(|level| change.unit.written(level));
        let plain = |text: String| Cell { text, figure: None };
        Row {
            name: format!("series {}, {}", place + 1, change.figure),
            cells: vec![
                plain(change.run.clone()),
                plain(change.started_utc.clone()),
                plain(revision.unwrap_or_else(|| NOT_AVAILABLE.into())),
                figure("before", level_before, change.before),
                figure("after", level_after, change.after),
                figure("ratio", four_digits(change.ratio), change.ratio),
                plain(format!("{:.3}", change.p_value)),
                Cell::from(word(change)),
            ],
        }
    };
    let rows: Vec<Row> = history
        .series
        .iter()
        .enumerate()
        .flat_map(|of| of.1.changes.iter().enumerate().map(move |change| row(of, change)))
        .collect();
    if rows.is_empty() {
        return Block::Note("No figure changed, as far as these runs tell.".into());
    }
    let columns = ["", "first run", "began", "revision", "before", "after", "ratio", "p", "new level is"];
    Block::Table(Table {
        caption: "Where a level began, and the medians of the levels".into(),
        columns: columns.map(str::to_owned).into(),
        rows,
    })
}

/// The runs of a series with their figures.
fn of_series(history: &History, place: usize, series: &Series) -> Vec<Block> {
    let row = |(run, point): (usize, &Point)| {
        let figure = |(figure, id): (usize, &FigureId)| match point.values[figure] {
            None => NOT_AVAILABLE.into(),
            Some(value) => {
                let key = format!("series.{place}.runs.{run}.values.{figure}");
                Cell { text: id.unit.written(value), figure: Some((key, json!(value))) }
            }
        };
        let mut cells = vec![Cell::from(point.started_utc.as_str())];
        cells.extend(series.figures.iter().enumerate().map(figure));
        cells.push(Cell::from(point.doubts.join(", ").as_str()));
        Row { name: point.run.clone(), cells }
    };
    let keys = series.figures.iter().map(|id| id.key.as_str());
    let columns = ["", "began"].into_iter().chain(keys).chain(["to doubt"]);
    let table = Table {
        caption: format!("Series {}: {}", place + 1, title(series, &history.series)),
        columns: columns.map(str::to_owned).collect(),
        rows: series.runs.iter().enumerate().map(row).collect(),
    };
    let note = series.is_short.then(|| Block::Note(short()));
    std::iter::once(Block::Table(table)).chain(note).collect()
}
