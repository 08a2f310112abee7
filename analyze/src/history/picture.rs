//! The history as a panel for each figure of each series.

use super::History;
use super::report::title;
use super::series::{Point, Series};
use crate::charts::Picture;
use crate::charts::trend::{self, Trend, TrendPoint, TrendUnit};
use crate::compare_runs::{FigureId, Unit, percent};

/// More panels than this, and none can be read.
const PANELS: usize = 8;

/// The trends of all series, the longest first.
pub(super) fn picture(history: &History) -> Picture<'static> {
    let all = &history.series;
    let of_series = |series: &Series| -> Vec<Trend> {
        let name = |id: &FigureId| match all.len() {
            1 => id.key.clone(),
            _ => format!("{}: {}", id.key, title(series, all)),
        };
        let trend = |(place, id)| trend(series, place, id, name(id));
        series.figures.iter().enumerate().map(trend).collect()
    };
    let trends: Vec<Trend> = all.iter().flat_map(of_series).take(PANELS).collect();
    let facts = format!(
        "Lines: 95 % intervals by each run's own messages. Of figures that never changed at most {} show a change",
        percent::shown(history.alarm)
    );
    trend::picture("Figures of each run", &facts, trends)
}

fn trend(series: &Series, place: usize, id: &FigureId, name: String) -> Trend {
    let changed =
        |index: usize| series.changes.iter().any(|change| change.index == index && change.figure == id.key);
    let point = |(index, point): (usize, &Point)| {
        let (low, high) = point.ends[place].unwrap_or((f64::NAN, f64::NAN));
        Some(TrendPoint {
            when_utc: point.started_utc.clone(),
            label: point.run.clone(),
            value: point.values[place]?,
            low,
            high,
            is_change_point: changed(index),
        })
    };
    let unit = match id.unit {
        Unit::Ns => TrendUnit::Nanoseconds,
        Unit::GbPerS => TrendUnit::GigabytesPerSecond,
    };
    Trend { name, unit, points: series.runs.iter().enumerate().filter_map(point).collect() }
}
