//! experiments.png: rates by size for each mode, kernels by size, and latency idle beside loaded; whichever have data.

use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, nanoseconds, plain};
use super::bandwidth::LOG_BEYOND;
use super::panel::{Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, GREEN, GREY, INK, ORANGE, PAPER, PURPLE, SKY, VERMILLION, px};
use crate::matrix::{KernelRate, Matrix, Row};
use crate::report::text::{duration, four_digits, plural, size};

/// Width and height of one panel, in pixels.
const PANEL: (u32, u32) = (700, 530);
/// Height of the heading.
const HEADING: u32 = 40;
/// Colours of series; as many more have the same ones and are hollow. What is beyond that is counted and left to the
/// report.
const PALETTE: [RGBColor; 7] = [BLUE, ORANGE, GREEN, PURPLE, SKY, INK, GREY];
/// Series a panel tells apart.
const SERIES_MAX: usize = 2 * PALETTE.len();

/// How a series looks: its colour, and whether its marks are hollow.
fn look(place: usize) -> (RGBColor, bool) {
    (PALETTE[place % PALETTE.len()], place >= PALETTE.len())
}

/// A line by size.
struct Line {
    name: String,
    points: Vec<(u64, f64)>,
}

/// What one panel shows.
enum Plot {
    Lines {
        title: String,
        fact: String,
        lines: Vec<Line>,
    },
    Bars {
        title: String,
        fact: String,
        groups: Vec<String>,
        bars: Vec<Bars>,
        axis: Axis,
        label: fn(f64) -> String,
    },
}

/// One series of bars, a value for each group.
struct Bars {
    name: String,
    values: Vec<Option<f64>>,
}

/// Bars beyond which their figures would touch; the report has them.
const LABELLED_BARS: usize = 8;

/// Opacity of a hollow bar within its frame.
const HOLLOW: f64 = 0.15;

/// Sizes up to which bars show more than lines would.
const BAR_SIZES: usize = 3;

/// The picture's size in pixels and how to draw it; `None` if no panel has data.
pub(super) struct Experiments {
    plots: Vec<Plot>,
    dirty: Vec<String>,
    runs: usize,
}

impl Experiments {
    pub(super) fn of(matrix: &Matrix) -> Option<Self> {
        let mut plots: Vec<Plot> = rates(matrix).into_iter().collect();
        plots.extend(kernels(matrix));
        plots = plots.into_iter().map(|plot| plot.or_bars_if_few(&matrix.rows)).collect();
        plots.extend(latencies(matrix));
        let dirty = matrix.cells.iter().filter(|cell| cell.analyzed.run.is_suspect());
        let dirty = dirty.map(|cell| cell.label.clone()).collect();
        (!plots.is_empty()).then_some(Self { plots, dirty, runs: matrix.cells.len() })
    }

    pub(super) fn size(&self) -> (u32, u32) {
        let rows = self.plots.len().div_ceil(2) as u32;
        (PANEL.0 * self.plots.len().min(2) as u32, PANEL.1 * rows + HEADING)
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let title = Text::new("Experiments", (px(12), px(10)), style::bold(24, INK));
        area.draw(&title)?;
        let (text, style) = if self.dirty.is_empty() {
            (format!("{} runs", self.runs), style::text(15, GREY))
        } else {
            let few: Vec<&str> = self.dirty.iter().take(4).map(String::as_str).collect();
            let more = if self.dirty.len() > few.len() { " …" } else { "" };
            let text = format!("{} of {} runs DIRTY: {}{more}", self.dirty.len(), self.runs, few.join(", "));
            (text, style::bold(15, VERMILLION))
        };
        area.draw(&Text::new(text, (px(170), px(15)), style))?;
        let below = area.clone().margin(px(HEADING as i32), 0, 0, 0);
        let columns = self.plots.len().min(2);
        let rows = self.plots.len().div_ceil(2);
        for (plot, panel) in self.plots.iter().zip(below.split_evenly((rows, columns))) {
            match plot {
                Plot::Lines { title, fact, lines } => draw_lines(&panel, title, fact, lines)?,
                Plot::Bars { title, fact, groups, bars, axis, label } => {
                    let x = Axis::categories("", groups);
                    draw_bars(&panel, (title, fact), (&x, axis), bars, *label)?;
                }
            }
        }
        Ok(())
    }
}

impl Plot {
    /// Lines over very few sizes would be points on top of each other: the same figures as bars.
    fn or_bars_if_few(self, rows: &[Row]) -> Self {
        let Self::Lines { title, fact, lines } = self else { return self };
        let mut sizes: Vec<u64> = lines.iter().flat_map(|l| &l.points).map(|(bytes, _)| *bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() > BAR_SIZES {
            return Self::Lines { title, fact, lines };
        }
        let name = |bytes: &u64| {
            let row = rows.iter().find(|row| row.size_bytes == Some(*bytes));
            row.map_or_else(|| size(*bytes), Row::payload)
        };
        let bars: Vec<Bars> = lines
            .into_iter()
            .map(|line| {
                let rate = |bytes: &u64| line.points.iter().find(|(b, _)| b == bytes).map(|(_, rate)| *rate);
                Bars { values: sizes.iter().map(rate).collect(), name: line.name }
            })
            .collect();
        let rates = || bars.iter().flat_map(|bar| &bar.values).flatten().copied();
        let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let axis = Axis::fitting("GB/s", low, high, LOG_BEYOND, plain);
        Self::Bars { title, fact, groups: sizes.iter().map(name).collect(), bars, axis, label: four_digits }
    }
}

/// Best rate of each size and way of the idle runs.
fn rates(matrix: &Matrix) -> Option<Plot> {
    let idle: Vec<&Row> =
        matrix.rows.iter().filter(|row| row.load.is_none() && row.total_gb_per_s.is_some()).collect();
    let mut lines: Vec<Line> = Vec::new();
    for row in &idle {
        let (Some(bytes), Some(rate)) = (row.size_bytes, row.total_gb_per_s) else { continue };
        let name = row.distinction(&idle);
        let name = if name.is_empty() { "frames".to_owned() } else { name };
        add(&mut lines, name, bytes, rate);
    }
    let left_out = finish(&mut lines, "way");
    (!lines.is_empty()).then(|| Plot::Lines {
        title: "Rate by size, idle".into(),
        fact: format!("payload rate of the median frame; the best run of each size{left_out}"),
        lines,
    })
}

/// Two panels for each mapping of the first machine; other machines are in the report.
fn kernels(matrix: &Matrix) -> Vec<Plot> {
    let all = &matrix.kernels;
    let Some(first) = all.first() else { return Vec::new() };
    let others = if all.iter().any(|rate| rate.machine != first.machine) {
        "; other machines are in the report"
    } else {
        ""
    };
    let mut plots = Vec::new();
    for of_place in all.chunk_by(KernelRate::is_of_like_place) {
        if of_place[0].machine != first.machine {
            continue;
        }
        for (side, title) in [("host", "Host write kernels by size"), ("guest", "Guest read kernels by size")]
        {
            let mut lines = Vec::new();
            let rates = || of_place.iter().filter(|rate| rate.side == side);
            let (trial, carried) =
                (rates().any(|r| r.source == "trial"), rates().any(|r| r.source == "frames"));
            for rate in rates() {
                add(&mut lines, rate.kernel.clone(), rate.size_bytes, rate.gb_per_s);
            }
            // Should there be more than can be told apart, the slow ones are left to the report.
            let best = |line: &Line| line.points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
            lines.sort_by(|a, b| best(b).total_cmp(&best(a)));
            let left_out = finish(&mut lines, "slower kernel");
            if lines.len() > 1 {
                let source = match (carried, trial) {
                    (true, true) => "frames carried with each; trial copies where only one was used",
                    (true, false) => "frames carried with each",
                    (false, _) => "the median of trial copies before the test",
                };
                let place = of_place[0].place(all);
                let fact = format!("{place}: {source}{left_out}{others}");
                plots.push(Plot::Lines { title: title.into(), fact, lines });
            }
        }
    }
    plots
}

/// Keeps the better of two rates of one size.
fn add(lines: &mut Vec<Line>, name: String, bytes: u64, rate: f64) {
    let place = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
        lines.push(Line { name, points: Vec::new() });
        lines.len() - 1
    });
    let points = &mut lines[place].points;
    match points.iter_mut().find(|(known, _)| *known == bytes) {
        Some((_, best)) => *best = best.max(rate),
        None => points.push((bytes, rate)),
    }
}

/// In order of size, and no more lines than are told apart; says how many are not drawn.
fn finish(lines: &mut Vec<Line>, what: &str) -> String {
    for line in lines.iter_mut() {
        line.points.sort_by_key(|(bytes, _)| *bytes);
    }
    let left_out = lines.len().saturating_sub(SERIES_MAX);
    lines.truncate(SERIES_MAX);
    if left_out == 0 { String::new() } else { format!("; {} not drawn", plural(left_out as u64, what)) }
}

fn latencies(matrix: &Matrix) -> Option<Plot> {
    let mut bars: Vec<Bars> = Vec::new();
    let mut add = |name: String, values: [Option<u64>; 2]| {
        if values.iter().any(Option::is_some) && !bars.iter().any(|bar| bar.name == name) {
            bars.push(Bars { name, values: values.map(|ns| ns.map(|ns| ns as f64)).into() });
        }
    };
    for pair in &matrix.loaded_latencies {
        add(format!("{}, idle", pair.idle_label), [pair.idle_p50_ns, pair.idle_p99_ns]);
        add(format!("{}, {}", pair.loaded_label, pair.load), [pair.loaded_p50_ns, pair.loaded_p99_ns]);
    }
    let left_out = bars.len().saturating_sub(SERIES_MAX);
    bars.truncate(SERIES_MAX);
    let from_due = matrix.loaded_latencies.iter().any(|pair| pair.from_due);
    let fact = if from_due {
        "to PROCESSED; from the due time where the loop is open"
    } else {
        "round trip to PROCESSED"
    };
    let left_out = if left_out == 0 { String::new() } else { format!("; {left_out} series not drawn") };
    let values = || bars.iter().flat_map(|bar| &bar.values).flatten().copied();
    let (low, high) = (values().fold(f64::INFINITY, f64::min).max(1.0), values().fold(1.0, f64::max));
    (!bars.is_empty()).then(|| Plot::Bars {
        title: "Latency, idle and loaded".into(),
        fact: format!("{fact}{left_out}"),
        groups: vec!["p50".into(), "p99".into()],
        axis: Axis::log("time, log scale", low / 3.0, high * 3.0, nanoseconds),
        bars,
        label: duration,
    })
}

fn draw_lines(area: &Area<'_>, title: &str, fact: &str, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let low = points().map(|(_, rate)| *rate).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let smallest = points().map(|(bytes, _)| *bytes).min().unwrap_or(1) as f64;
    let largest = points().map(|(bytes, _)| *bytes).max().unwrap_or(1) as f64;
    let x = Axis::sizes("payload, log2 scale", smallest / 1.6, largest * 1.8);
    let y = Axis::fitting("GB/s", low, high, LOG_BEYOND, plain);
    let swatch = |place| match look(place) {
        (color, false) => Swatch::Line(color),
        (color, true) => Swatch::Ring(color),
    };
    let legend = lines.iter().enumerate().map(|(place, line)| (swatch(place), line.name.clone()));
    let panel =
        Panel { title: title.into(), facts: vec![fact.into()], legend: legend.collect(), ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    for (place, line) in lines.iter().enumerate() {
        let (color, hollow) = look(place);
        let path: Vec<_> =
            line.points.iter().map(|(bytes, rate)| (x.at(*bytes as f64), y.at(*rate))).collect();
        for place in &path {
            chart.plotting_area().draw(&Circle::new(*place, px(4), style::fill(color, 1.0)))?;
            if hollow {
                chart.plotting_area().draw(&Circle::new(*place, px(2), style::fill(PAPER, 1.0)))?;
            }
        }
        chart
            .plotting_area()
            .draw(&PathElement::new(path, style::line(color, if hollow { 1 } else { 2 })))?;
        let place = |(bytes, rate): &(u64, f64)| (x.at(*bytes as f64), y.at(*rate));
        let text = |(bytes, rate): &(u64, f64)| format!("{}: {} GB/s", size(*bytes), four_digits(*rate));
        chart.values((&line.name, color), &line.points, place, text)?;
    }
    Ok(())
}

fn draw_bars(
    area: &Area<'_>,
    (title, fact): (&str, &str),
    (x, y): (&Axis, &Axis),
    bars: &[Bars],
    label: fn(f64) -> String,
) -> Drawn {
    let opacity = |hollow: bool| if hollow { HOLLOW } else { 0.9 };
    let swatch = |place| match look(place) {
        (color, true) => Swatch::Frame(color),
        (color, false) => Swatch::Block(color, opacity(false)),
    };
    let legend = bars.iter().enumerate().map(|(place, bar)| (swatch(place), bar.name.clone()));
    let panel =
        Panel { title: title.into(), facts: vec![fact.into()], legend: legend.collect(), ..Panel::default() };
    let chart = panel.draw(area, x, y)?;
    let slot = 0.8 / bars.len() as f64;
    let drawn = bars.iter().map(|bar| bar.values.len()).max().unwrap_or(0) * bars.len();
    for (place, bar) in bars.iter().enumerate() {
        let (color, hollow) = look(place);
        for (group, value) in bar.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let middle = group as f64 - 0.4 + slot * (place as f64 + 0.5);
            let head = y.at(*value);
            let corners = [(middle - slot * 0.45, head), (middle + slot * 0.45, y.at(y.low()))];
            chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, opacity(hollow))))?;
            if hollow {
                chart.plotting_area().draw(&Rectangle::new(corners, style::line(color, 2)))?;
            }
            if drawn <= LABELLED_BARS {
                chart.note((middle, head), (0, -4), (HPos::Center, VPos::Bottom), &label(*value), INK)?;
            }
        }
        let values = bar.values.iter().enumerate().filter_map(|(group, value)| Some((group, (*value)?)));
        let values: Vec<(usize, f64)> = values.collect();
        let middle = |group: usize| group as f64 - 0.4 + slot * (place as f64 + 0.5);
        let place = |(group, value): &(usize, f64)| (middle(*group), y.at(*value));
        chart.values((&bar.name, color), &values, place, |(_, value)| label(*value))?;
    }
    Ok(())
}
