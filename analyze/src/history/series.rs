//! Runs of one setting in the order of time, and where their figures changed.

use serde::Serialize;

use super::Watch;
use crate::compare_runs::Unit;
use crate::compare_runs::conditions::setting;
use crate::compare_runs::one_run::{Figure, FigureId, OneRun};
use crate::doubt::{Doubt, Severity};
use crate::stats::change_points::{LEAST_SERIES, change_points};
use crate::stats::ratio::Ends;

/// Shuffled series that a cut is measured against.
const PERMUTATIONS: u32 = 999;

/// Runs that are alike in everything that matters.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// What they have in common.
    pub setting: Vec<Setting>,
    /// The figures that are watched.
    pub figures: Vec<FigureId>,
    /// The runs.
    pub runs: Vec<Point>,
    /// Where a figure changed, in the order of time.
    pub changes: Vec<Change>,
    /// Whether there are too few runs for any change to be told from chance.
    pub is_short: bool,
}

/// A condition and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// As people say it.
    pub name: &'static str,
    /// What run.json says.
    pub value: String,
}

/// A run in a series.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Its directory.
    pub run: String,
    /// When it began.
    pub started_utc: String,
    /// The revision of the tool.
    pub git_revision: Option<String>,
    /// Its figures, as [`Series::figures`]; `None` where it has none.
    pub values: Vec<Option<f64>>,
    /// Where each lies as far as the run's own messages tell.
    #[serde(skip)]
    pub ends: Vec<Option<Ends>>,
    /// What makes it doubtful.
    pub doubts: Vec<&'static str>,
    /// How grave the gravest of that is.
    #[serde(skip)]
    pub gravest: Option<Severity>,
}

/// A figure that changed.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The figure's key.
    pub figure: String,
    /// The first run of the new level, by its place in the series.
    pub index: usize,
    /// The same run.
    pub run: String,
    /// When it began.
    pub started_utc: String,
    /// The median of the level before.
    pub before: f64,
    /// The median of the new one.
    pub after: f64,
    /// After over before.
    pub ratio: f64,
    /// How often shuffled runs can be cut as well.
    pub p_value: f64,
    /// What its figure is measured in.
    #[serde(skip)]
    pub unit: Unit,
}

/// Sorts runs, which are in the order of time, into series; the longest first.
pub(super) fn series(runs: &[OneRun], watch: &Watch) -> Vec<Series> {
    let mut groups: Vec<(Vec<Setting>, Vec<&OneRun>)> = Vec::new();
    for run in runs {
        let Some(provenance) = &run.provenance else { continue };
        let mine: Vec<Setting> =
            setting(provenance).into_iter().map(|(name, value)| Setting { name, value }).collect();
        match groups.iter_mut().find(|(theirs, _)| *theirs == mine) {
            Some((_, members)) => members.push(run),
            None => groups.push((mine, vec![run])),
        }
    }
    groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    groups.into_iter().map(|(setting, members)| Series::of(setting, &members, watch)).collect()
}

impl Series {
    fn of(setting: Vec<Setting>, members: &[&OneRun], watch: &Watch) -> Self {
        let figures = watched(members, &watch.keys);
        let mut changes: Vec<Change> = figures.iter().flat_map(|id| changes(id, members, watch)).collect();
        changes.sort_by_key(|change| change.index);
        let runs = members.iter().map(|run| Point::of(run, &figures)).collect();
        Self { setting, figures, runs, changes, is_short: members.len() < LEAST_SERIES }
    }
}

impl Point {
    fn of(run: &OneRun, figures: &[FigureId]) -> Self {
        let grave = |doubt: &&Doubt| doubt.severity() < Severity::Note;
        let revision = run.provenance.as_ref().and_then(|p| p.pointer("/tool/git_revision")?.as_str());
        Self {
            run: run.path.display().to_string(),
            started_utc: run.started_utc.clone().unwrap_or_default(),
            git_revision: revision.map(str::to_owned),
            values: figures.iter().map(|id| run.figure(&id.name).map(|figure| figure.value)).collect(),
            ends: figures.iter().map(|id| run.figure(&id.name)?.ends).collect(),
            doubts: run.doubts.iter().filter(grave).map(Doubt::code).collect(),
            gravest: run.doubts.iter().filter(grave).map(Doubt::severity).min(),
        }
    }
}

/// The figures of these keys that some run has; where there are none, as in runs of frames only, all rates.
fn watched(members: &[&OneRun], keys: &[String]) -> Vec<FigureId> {
    let mut all: Vec<&FigureId> = Vec::new();
    for Figure { id, .. } in members.iter().flat_map(|run| &run.figures) {
        if !all.iter().any(|known| known.name == id.name) {
            all.push(id);
        }
    }
    let of_keys = keys.iter().flat_map(|key| all.iter().filter(move |id| id.key == *key));
    let mut figures: Vec<FigureId> = of_keys.map(|id| (*id).clone()).collect();
    if figures.is_empty() {
        figures = all.iter().filter(|id| id.unit == Unit::GbPerS).map(|id| (*id).clone()).collect();
    }
    figures
}

fn changes(id: &FigureId, members: &[&OneRun], watch: &Watch) -> Vec<Change> {
    let known: Vec<(usize, f64)> = members
        .iter()
        .enumerate()
        .filter_map(|(index, run)| Some((index, run.figure(&id.name)?.value)))
        .collect();
    let values: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
    let points = change_points(&values, watch.alarm, PERMUTATIONS, watch.seed);
    let change = |point: crate::stats::change_points::ChangePoint| {
        let (index, _) = known[point.index];
        Change {
            figure: id.key.clone(),
            index,
            run: members[index].path.display().to_string(),
            started_utc: members[index].started_utc.clone().unwrap_or_default(),
            before: point.before,
            after: point.after,
            ratio: point.after / point.before,
            p_value: point.p_value,
            unit: id.unit,
        }
    };
    points.into_iter().map(change).collect()
}
