//! history_trend.png: a figure of each run of a series of runs, in their order, and where it changed.

use plotters::element::{Circle, PathElement};
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, nanoseconds, plain};
use super::panel::{Chart, Panel, Swatch};
use super::picture::{Picture, names};
use super::style::{self, Area, BLUE, Drawn, GREY, ORANGE, PAPER, VERMILLION, px};
use crate::report::text::{duration, four_digits};
use crate::stats::shift::median;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendPoint {
    /// When it began: `2026-11-20T20:00:00Z`.
    pub when_utc: String,
    /// Its name: the directory's, or a revision.
    pub label: String,
    /// Its figure.
    pub value: f64,
    /// Lower end of its interval; not finite where there is none.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// Whether the level changed with this run.
    pub is_change_point: bool,
}

/// What a figure is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrendUnit {
    /// Durations.
    Nanoseconds,
    /// Rates, 1e9 bytes a second.
    GigabytesPerSecond,
}

/// One figure over all runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// Its name: `p99 to PROCESSED`.
    pub name: String,
    /// What it is in.
    pub unit: TrendUnit,
    /// The runs, in order.
    pub points: Vec<TrendPoint>,
}

const WIDTH: u32 = 1200;
const PANEL: u32 = 380;
/// Height of the heading over its first line of facts.
const HEADING: u32 = 40;
/// Height of a line of facts.
const FACT: u32 = 20;
/// Letters of dates that fit side by side on the axis.
const DATES: usize = 9;

/// The picture of these figures, a panel each, under lines of facts.
#[must_use]
pub fn picture(title: &str, facts: Vec<String>, trends: Vec<Trend>) -> Picture<'static> {
    let above = HEADING + FACT * facts.len() as u32;
    let height = above + PANEL * trends.len().max(1) as u32;
    let names: Vec<&str> = trends.iter().map(|trend| trend.name.as_str()).collect();
    let alt =
        format!("Figures of each run in order, with the points where they changed: {}", names.join(", "));
    let heading = title.to_owned();
    Picture::new(names!("history_trend"), title.to_owned(), alt, (WIDTH, height), move |area| {
        use plotters::element::Text;
        area.draw(&Text::new(heading.clone(), (px(12), px(10)), style::bold(24, style::INK)))?;
        for (line, fact) in facts.iter().enumerate() {
            let top = (HEADING + FACT * line as u32) as i32;
            area.draw(&Text::new(fact.clone(), (px(12), px(top)), style::text(15, GREY)))?;
        }
        let below = area.clone().margin(px(above as i32), 0, 0, 0);
        for (trend, panel) in trends.iter().zip(below.split_evenly((trends.len().max(1), 1))) {
            draw(&panel, trend)?;
        }
        Ok(())
    })
}

impl TrendUnit {
    fn label(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => duration(value),
            Self::GigabytesPerSecond => format!("{} GB/s", four_digits(value)),
        }
    }

    fn axis(self, low: f64, high: f64) -> Axis {
        let room = (high - low).max(high.abs() * 0.02).max(f64::MIN_POSITIVE) * 0.15;
        let (name, mark): (_, fn(f64) -> String) = match self {
            Self::Nanoseconds => ("time", nanoseconds),
            Self::GigabytesPerSecond => ("GB/s", plain),
        };
        if low > 0.0 && high / low > 20.0 {
            return Axis::log(&format!("{name}, log scale"), low / 1.3, high * 1.3, mark);
        }
        // Not from 0: what matters here is a change, and the axis says where it begins.
        Axis::linear(name, (low - room).max(0.0), high + room, mark)
    }
}

fn draw(area: &Area<'_>, trend: &Trend) -> Drawn {
    let points = &trend.points;
    let ends = points.iter().flat_map(|p| [p.low, p.value, p.high]).filter(|value| value.is_finite());
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
    let y = trend.unit.axis(low, high);
    let step = points.len().div_ceil(DATES).max(1);
    let date = if minutes_repeat(points) { to_the_second } else { to_the_minute };
    let dates = points.iter().enumerate().step_by(step).map(|(i, p)| (i as f64, date(&p.when_utc))).collect();
    let x = Axis::marked("run, in order of its start (UTC)", -0.5, points.len().max(1) as f64 - 0.5, dates);
    let changes = points.iter().filter(|p| p.is_change_point).count();
    let mut legend = vec![
        (Swatch::Dot(BLUE), "a run, with its interval".to_owned()),
        (Swatch::Line(ORANGE), "median of the runs between changes".to_owned()),
    ];
    if changes > 0 {
        legend.push((Swatch::Tick(VERMILLION), "the level changes with this run".to_owned()));
    }
    let panel = Panel { title: trend.name.clone(), legend, headroom: 19, ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    levels(&chart, &y, points)?;
    for (place, point) in points.iter().enumerate() {
        let at = place as f64;
        if point.is_change_point {
            let border = at - 0.5;
            chart.dashed_vertical(border, (y.part(0.0), y.part(1.0)), style::line(VERMILLION, 2))?;
            let anchor = if border > points.len() as f64 * 0.8 { HPos::Right } else { HPos::Left };
            chart.note(
                (border, y.part(1.0)),
                (0, -3),
                (anchor, VPos::Bottom),
                &short(&point.label),
                VERMILLION,
            )?;
        }
        if point.low.is_finite() && point.high.is_finite() {
            chart.whisker(at, (y.at(point.low), y.at(point.high)), style::line(BLUE, 1))?;
        }
        if point.value.is_finite() {
            for (radius, color) in [(px(5), PAPER), (px(4), BLUE)] {
                let dot = Circle::new((at, y.at(point.value)), radius, style::fill(color, 1.0));
                chart.plotting_area().draw(&dot)?;
            }
        }
    }
    let known: Vec<(usize, &TrendPoint)> =
        points.iter().enumerate().filter(|(_, p)| p.value.is_finite()).collect();
    let place = |(place, point): &(usize, &TrendPoint)| (*place as f64, y.at(point.value));
    let text = |(_, point): &(usize, &TrendPoint)| {
        format!(
            "{} {}: {}",
            date(&point.when_utc).replace('\n', " "),
            point.label,
            trend.unit.label(point.value)
        )
    };
    chart.values((&trend.name, BLUE), &known, place, text)
}

/// The median of each stretch without a change, over its whole length; as the report has it, between two in the middle.
fn levels(chart: &Chart<'_>, y: &Axis, points: &[TrendPoint]) -> Drawn {
    let mut begin = 0;
    for end in 1..=points.len() {
        if end < points.len() && !points[end].is_change_point {
            continue;
        }
        let values = points[begin..end].iter().map(|p| p.value).filter(|value| value.is_finite()).collect();
        if let Some(median) = median(values) {
            let ends = [(begin as f64 - 0.5, y.at(median)), (end as f64 - 0.5, y.at(median))];
            chart.plotting_area().draw(&PathElement::new(ends, style::line(ORANGE, 2)))?;
        }
        begin = end;
    }
    Ok(())
}

/// Whether runs began so soon after each other that their dates would read the same.
fn minutes_repeat(points: &[TrendPoint]) -> bool {
    points.windows(2).any(|pair| to_the_minute(&pair[0].when_utc) == to_the_minute(&pair[1].when_utc))
}

/// Date over hour and minute.
fn to_the_minute(when_utc: &str) -> String {
    date(when_utc, "20:00".len())
}

/// With the second.
fn to_the_second(when_utc: &str) -> String {
    date(when_utc, "20:00:00".len())
}

/// Date over so many letters of the time of day, as far as they are there.
fn date(when_utc: &str, letters: usize) -> String {
    let (day, time) = when_utc.split_once('T').unwrap_or((when_utc, ""));
    format!("{day}\n{}", time.get(..letters).unwrap_or(time))
}

fn short(label: &str) -> String {
    if label.chars().count() <= 40 {
        label.to_owned()
    } else {
        label.chars().take(39).chain(['…']).collect()
    }
}
