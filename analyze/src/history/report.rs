//! The history as text of 80 columns: a table a series, with a line where a figure changed.

use super::History;
use super::series::{Change, Point, Series};
use crate::compare_runs::conditions::NOT_RECORDED;
use crate::compare_runs::{Unit, percent};
use crate::report::text::{WIDTH, four_digits, heading, plural, shown, wrapped};
use crate::stats::change_points::LEAST_SERIES;

/// Width of a figure's column.
const COLUMN: usize = 12;

/// Figures that fit beside a run's name.
const FIGURES: usize = 3;

/// The whole report.
pub(super) fn render(history: &History) -> String {
    let rule = "=".repeat(WIDTH);
    let mut out = format!("{rule}\nIVSHMEM HISTORY\n{rule}\n");
    out += &wrapped("  ", &format!("{} {}", of_runs(history), summary(history)));
    for (index, series) in history.series.iter().enumerate() {
        out += &heading(&format!("SERIES {} · {}", index + 1, title(series, &history.series)));
        out += &table(series);
    }
    if !history.left_out.is_empty() {
        out += &heading("LEFT OUT");
        out += &history
            .left_out
            .iter()
            .map(|left| wrapped("  - ", &left_out(&left.run, &left.why)))
            .collect::<String>();
    }
    out += &heading("HOW TO READ THIS");
    out + &notes(history).iter().map(|note| wrapped("  - ", note)).collect::<String>()
}

/// An error begins with its file, which most often lies in the run's directory.
pub(super) fn left_out(run: &str, why: &str) -> String {
    if why.starts_with(run) { why.into() } else { format!("{run}: {why}") }
}

/// How many runs there are, and of how many settings.
pub(super) fn of_runs(history: &History) -> String {
    let count: usize = history.series.iter().map(|series| series.runs.len()).sum();
    let (runs, settings) = (plural(count as u64, "run"), plural(history.series.len() as u64, "setting"));
    format!("{runs} of {settings}.")
}

pub(super) fn summary(history: &History) -> String {
    let changes: usize = history.series.iter().map(|series| series.changes.len()).sum();
    let short = history.series.iter().filter(|series| series.is_short).count();
    match changes {
        0 if short == history.series.len() => {
            format!("Nothing can be told of changes: no setting has {LEAST_SERIES} runs.")
        }
        0 if short > 0 => format!(
            "No change; {} of them {} too few runs to tell.",
            plural(short as u64, "setting"),
            if short == 1 { "has" } else { "have" }
        ),
        0 => "No change.".into(),
        _ => format!("{}, marked below.", plural(changes as u64, "change")),
    }
}

/// What the series is, and what tells it from the others.
pub(super) fn title(series: &Series, all: &[Series]) -> String {
    let value = |series: &Series, name: &str| {
        series.setting.iter().find(|setting| setting.name == name).map(|setting| setting.value.clone())
    };
    let machine = match value(series, "mapping").as_deref() {
        Some("file") => "native".to_owned(),
        _ => format!("VM ({})", value(series, "accelerator").unwrap_or_default()),
    };
    let told = |name: &str| ["accelerator", "mapping", "guest CPU", "QEMU", "vCPUs"].contains(&name);
    let differs = |name: &str| all.iter().any(|other| value(other, name) != value(series, name));
    let others = series
        .setting
        .iter()
        .filter(|setting| !told(setting.name) && setting.value != NOT_RECORDED && differs(setting.name));
    let mut parts = vec![machine];
    parts.extend(
        value(series, "mapping")
            .filter(|mapping| mapping != "file")
            .map(|mapping| format!("mapping {mapping}")),
    );
    parts.extend(others.map(|setting| format!("{} {}", setting.name, setting.value)));
    parts.join(", ")
}

fn table(series: &Series) -> String {
    let figures = &series.figures[..series.figures.len().min(FIGURES)];
    let name_width = WIDTH - 2 - 21 - 3 - COLUMN * figures.len();
    let row = |when: &str, run: &str, cells: Vec<String>, mark: &str| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>COLUMN$}")).collect();
        let line = format!("  {when:<21}{run:<name_width$}{cells} {mark}");
        format!("{}\n", line.trim_end())
    };
    let mut out = row("began", "run", figures.iter().map(|id| id.key.clone()).collect(), "");
    for (index, point) in series.runs.iter().enumerate() {
        for change in series.changes.iter().filter(|change| change.index == index) {
            let before = index.checked_sub(1).and_then(|before| series.runs.get(before));
            out += &wrapped("  >>>> ", &changed(change, before, point));
        }
        let cells = (0..figures.len()).map(|place| cell(point, place, figures[place].unit)).collect();
        let mark = if point.doubts.is_empty() { "" } else { "!" };
        out += &row(&point.started_utc, &tail(&point.run, name_width - 1), cells, mark);
    }
    if series.figures.len() > FIGURES {
        let more = plural((series.figures.len() - FIGURES) as u64, "figure");
        out += &wrapped("  - ", &format!("{more} more in the JSON; choose with --figure."));
    }
    if series.is_short {
        out += &wrapped("  - ", &short());
    }
    let doubtful: Vec<&Point> = series.runs.iter().filter(|point| !point.doubts.is_empty()).collect();
    if let Some(first) = doubtful.first() {
        let runs = plural(doubtful.len() as u64, "run");
        out += &wrapped("  ! ", &format!("{runs} to doubt, the first for: {}", first.doubts.join(", ")));
    }
    out
}

/// What is said of a series that `is_short`.
pub(super) fn short() -> String {
    format!("Fewer than {LEAST_SERIES} runs: a change could not be told from chance.")
}

fn cell(point: &Point, place: usize, unit: Unit) -> String {
    shown(point.values[place], |figure| unit.written(figure))
}

/// With the revision where it is another than that of the run before: else it is no reason for the change.
fn changed(change: &Change, before: Option<&Point>, first: &Point) -> String {
    let known = before.and_then(|point| point.git_revision.as_ref());
    let new = first.git_revision.as_ref().filter(|revision| Some(*revision) != known);
    let revision = new.map_or_else(String::new, |revision| format!(", revision {revision}"));
    let word = word(change);
    format!(
        "{} changed: {word}, {} to {}, {} times, p = {:.3}{revision}",
        change.figure,
        change.unit.written(change.before),
        change.unit.written(change.after),
        four_digits(change.ratio),
        change.p_value
    )
}

/// Which way a figure changed.
pub(super) fn word(change: &Change) -> &'static str {
    match change.unit {
        Unit::Ns if change.ratio > 1.0 => "slower",
        Unit::GbPerS if change.ratio < 1.0 => "slower",
        _ => "faster",
    }
}

/// The end of a path, which tells runs of one folder apart.
fn tail(path: &str, width: usize) -> String {
    let length = path.chars().count();
    if length <= width {
        return path.into();
    }
    std::iter::once('…').chain(path.chars().skip(length + 1 - width)).collect()
}

pub(super) fn notes(history: &History) -> [String; 2] {
    let alarm = percent::shown(history.alarm);
    [
        "A series holds runs that are alike in all that moves the figures, in the order of the times they began at."
            .to_owned(),
        format!(
            "A change is where the ranks of the runs before and after differ most, if no more than {alarm} of series with \
             the same runs in random order could be cut as well. A figure that never changed shows a change in up to \
             {alarm} of all series. The times are medians between changes."
        ),
    ]
}
