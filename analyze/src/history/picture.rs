//! The history as a panel for each figure of each series.

use super::History;
use super::report::title;
use super::series::{Point, Series};
use crate::charts::Picture;
use crate::charts::trend::{self, Trend, TrendPoint, TrendUnit};
use crate::compare_runs::{FigureId, Unit, percent};
use crate::report::text::plural;

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
    let mut facts = vec![format!(
        "Lines: 95 % intervals by each run's own messages. Of figures that never changed at most {} show a change",
        percent::shown(history.alarm)
    )];
    facts.extend(not_drawn(all));
    let trends: Vec<Trend> = all.iter().flat_map(of_series).take(PANELS).collect();
    trend::picture("Figures of each run", facts, trends)
}

/// What there is no panel for, in words.
fn not_drawn(all: &[Series]) -> Option<String> {
    let mut room = PANELS;
    let (mut trends, mut series) = (0, 0);
    for figures in all.iter().map(|series| series.figures.len()) {
        let drawn = figures.min(room);
        room -= drawn;
        trends += figures - drawn;
        series += usize::from(drawn == 0);
    }
    let whole = match series {
        0 => String::new(),
        _ => format!(", among them all of {series} of {} series", all.len()),
    };
    let left = plural(trends as u64, "trend");
    (trends > 0).then(|| format!("NOT DRAWN: {left}{whole}; the tables have them, --figure chooses"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn series(figures: usize) -> Series {
        let id = |figure: usize| FigureId {
            name: format!("figure_{figure}_ns"),
            key: format!("figure_{figure}"),
            group: "figures".into(),
            what: figure.to_string(),
            unit: Unit::Ns,
        };
        let figures = (0..figures).map(id).collect();
        Series { setting: vec![], figures, runs: vec![], changes: vec![], is_short: true }
    }

    #[test]
    fn what_has_no_panel_is_said() {
        let said = |figures: &[usize]| {
            let said = not_drawn(&figures.iter().map(|count| series(*count)).collect::<Vec<_>>());
            said.map(|said| said.split(';').next().unwrap().to_owned())
        };
        assert_eq!(said(&[2, 2, 2, 2]), None);
        assert_eq!(said(&[2; 8]).as_deref(), Some("NOT DRAWN: 8 trends, among them all of 4 of 8 series"));
        assert_eq!(said(&[9]).as_deref(), Some("NOT DRAWN: 1 trend"));
        assert_eq!(said(&[7, 2]).as_deref(), Some("NOT DRAWN: 1 trend"));
    }
}
