//! bandwidth_analysis.png: distribution, scaling, duration and success, by frame format; the rates are drawn here.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::Context;
use super::axis::{Axis, plain};
use super::bandwidth_bars;
use super::panel::{Chart, Panel, Swatch};
use super::scaling;
use super::style::{self, Area, BLUE, Drawn, GREY, INK, ORANGE, VERMILLION, px};
use crate::analysis::{Analysis, Analyzed};
use crate::report::text::{four_digits, payload};
use crate::stats::{Percentile, Sorted};
use crate::summary::FrameSummary;

/// Rates further apart than this factor are drawn on a logarithmic axis.
pub(super) const LOG_BEYOND: f64 = 20.0;

/// Half the width of a bar or box, where the distance between frame formats is 1.
pub(super) const HALF_WIDTH: f64 = 0.16;

/// A run, its colour, and its place beside the other one.
pub(super) struct Lane<'a> {
    pub(super) analyzed: &'a Analyzed,
    pub(super) color: RGBColor,
    pub(super) offset: f64,
}

pub(super) fn draw(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let heading = px(40);
    let title = plotters::element::Text::new("Bandwidth by payload", (px(12), px(10)), style::bold(24, INK));
    area.draw(&title)?;
    Context::of(analysis).draw(area, (px(330), px(15)))?;

    let lanes = lanes(analysis);
    let places = Places::of(&analysis.main);
    let below = area.clone().margin(heading, 0, 0, 0);
    let (upper, lower) = below.split_vertically((height as i32 - heading) / 2);
    let (first, second) = upper.split_horizontally(width as i32 / 2);
    let (third, fourth) = lower.split_horizontally(width as i32 / 2);
    distribution(&first, &lanes, &places)?;
    scaling::draw(&second, &lanes)?;
    bandwidth_bars::durations(&third, &lanes, &places)?;
    bandwidth_bars::success(&fourth, &lanes, &places)
}

pub(super) fn lanes(analysis: &Analysis) -> Vec<Lane<'_>> {
    let baseline = analysis.baseline.as_ref().filter(|b| b.summary.bandwidth.is_some());
    let offset = if baseline.is_some() { 0.2 } else { 0.0 };
    let mut lanes = vec![Lane { analyzed: &analysis.main, color: BLUE, offset: -offset }];
    lanes.extend(baseline.map(|analyzed| Lane { analyzed, color: ORANGE, offset }));
    lanes
}

/// The main run's frame formats, a place on the axis for each.
pub(super) struct Places<'a> {
    pub(super) frames: &'a [FrameSummary],
}

/// Width of a letter on an axis, and of the axis, in pixels: what fits is estimated, not measured.
const LETTER: f64 = 6.8;
const AXIS: f64 = 590.0;

/// Bars beyond which each one's figures would run into its neighbour's.
const ROOM: usize = 6;

impl<'a> Places<'a> {
    pub(super) fn of(analyzed: &'a Analyzed) -> Self {
        Self { frames: frames(analyzed) }
    }

    /// Whether there is no room for figures at every bar.
    pub(super) fn is_crowded(&self, lanes: &[Lane<'_>]) -> bool {
        self.frames.len() * lanes.len() > ROOM
    }

    pub(super) fn axis(&self) -> Axis {
        Axis::categories("", &fitting(self.frames))
    }
}

/// Names with their sizes if they fit, else names alone, else every second or third of them; ways on a line of their own.
fn fitting(frames: &[FrameSummary]) -> Vec<String> {
    let megabytes = |f: &FrameSummary| plain((f.size_bytes as f64 / 1e5).round() / 10.0);
    let name = |f: &FrameSummary, size: String| format!("{}{size}\n{}", payload(&f.frame), f.way);
    let with_size = |f: &FrameSummary| match f.frame.ends_with('B') {
        true => name(f, String::new()),
        false => name(f, format!(" ({} MB)", megabytes(f))),
    };
    let step_for = |names: &[String]| {
        let lines = names.iter().flat_map(|name| name.lines());
        let longest = lines.map(|line| line.chars().count()).max().unwrap_or(1) as f64 + 1.0;
        (longest * LETTER * names.len() as f64 / AXIS).ceil().max(1.0) as usize
    };
    let long: Vec<String> = frames.iter().map(with_size).collect();
    if step_for(&long) == 1 || frames.len() <= 3 {
        return long;
    }
    let short: Vec<String> = frames.iter().map(|f| name(f, String::new())).collect();
    let step = step_for(&short);
    let shown = |(place, name): (usize, String)| if place % step == 0 { name } else { String::new() };
    short.into_iter().enumerate().map(shown).collect()
}

pub(super) fn frames(analyzed: &Analyzed) -> &[FrameSummary] {
    analyzed.summary.bandwidth.as_ref().map_or(&[], |b| &b.frames)
}

pub(super) fn runs_legend(lanes: &[Lane<'_>], swatch: fn(RGBColor) -> Swatch) -> Vec<(Swatch, String)> {
    lanes.iter().map(|lane| (swatch(lane.color), lane.analyzed.title())).collect()
}

impl Lane<'_> {
    fn rates(&self, frame: &FrameSummary) -> Vec<f64> {
        let bandwidth = self.analyzed.run.bandwidth.as_ref();
        let place = self.analyzed.summary.place_of(frame);
        bandwidth.zip(place).map_or_else(Vec::new, |(b, place)| b.frames[place].rates_gb_per_s())
    }

    /// Says whose bar it is, where there are two side by side.
    pub(super) fn name_above(
        &self,
        chart: &Chart<'_>,
        lanes: &[Lane<'_>],
        top: (f64, f64),
        moved: i32,
    ) -> Drawn {
        if lanes.len() < 2 {
            return Ok(());
        }
        chart.note(top, (0, moved), (HPos::Center, VPos::Bottom), self.analyzed.short, GREY)
    }

    pub(super) fn summary(&self, frame: &FrameSummary) -> Option<&FrameSummary> {
        self.analyzed.summary.like(frame)
    }
}

/// Lowest and highest rate of all runs.
pub(super) fn rate_range(lanes: &[Lane<'_>]) -> (f64, f64) {
    let rates = || lanes.iter().flat_map(|l| frames(l.analyzed)).filter_map(|f| f.rate);
    let low = rates().map(|r| r.min_gb_per_s).fold(f64::INFINITY, f64::min);
    let high = rates().map(|r| r.max_gb_per_s).fold(0.0, f64::max);
    if low.is_finite() { (low, high) } else { (0.0, 1.0) }
}

fn distribution(area: &Area<'_>, lanes: &[Lane<'_>], places: &Places<'_>) -> Drawn {
    let (low, high) = rate_range(lanes);
    let x = places.axis();
    let y = Axis::fitting("GB/s", low, high, LOG_BEYOND, plain);
    let mut legend = runs_legend(lanes, Swatch::Dot);
    if lanes.iter().flat_map(|l| frames(l.analyzed)).any(|f| f.above_limit > 0) {
        legend.push((Swatch::Dot(VERMILLION), "not believable".into()));
    }
    let panel = Panel {
        title: "Distribution".into(),
        facts: vec!["a dot for each ok frame; box: quartiles and median".into()],
        legend,
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    for lane in lanes {
        for (place, frame) in places.frames.iter().enumerate() {
            let rates = lane.rates(frame);
            let middle = place as f64 + lane.offset;
            draw_box(&chart, &y, middle, lane.color, &Sorted::new(rates.clone()))?;
            let limit = lane.analyzed.summary.bandwidth.as_ref().and_then(|b| b.believable_limit.as_ref());
            for (index, rate) in rates.iter().enumerate() {
                // A fixed scatter: fractional parts of multiples of the golden ratio never bunch.
                let scatter = ((index as f64 * 0.618_033_988_75).fract() - 0.5) * 1.5 * HALF_WIDTH;
                let absurd = limit.is_some_and(|l| l.is_exceeded_by(*rate));
                let color = if absurd { VERMILLION } else { lane.color };
                let dot = Circle::new((middle + scatter, y.at(*rate)), px(3), style::fill(color, 0.75));
                chart.plotting_area().draw(&dot)?;
            }
        }
        let of_frame = |(place, frame): (usize, &FrameSummary)| {
            let sorted = Sorted::new(lane.rates(frame));
            let (low, high) = (*sorted.as_slice().first()?, *sorted.as_slice().last()?);
            let median = sorted.upper_median()?;
            let rates = [low, median, high].map(four_digits);
            let text =
                format!("{}: median {} GB/s, from {} to {}", frame.label, rates[1], rates[0], rates[2]);
            Some((place as f64 + lane.offset, median, text))
        };
        let medians: Vec<_> = places.frames.iter().enumerate().filter_map(of_frame).collect();
        let name = lane.analyzed.title();
        chart.values((&name, lane.color), &medians, |m| (m.0, y.at(m.1)), |m| m.2.clone())?;
    }
    Ok(())
}

/// Quartiles as a box, the rate of the median duration (as in the report) as a bar across it.
fn draw_box(chart: &Chart<'_>, y: &Axis, middle: f64, color: RGBColor, rates: &Sorted<f64>) -> Drawn {
    let quartile = |hundredths| Percentile::from_hundredths(hundredths).and_then(|p| rates.nearest_rank(p));
    let (Some(first), Some(median), Some(third)) = (quartile(2_500), rates.upper_median(), quartile(7_500))
    else {
        return Ok(());
    };
    let (left, right) = (middle - HALF_WIDTH, middle + HALF_WIDTH);
    let corners = [(left, y.at(third)), (right, y.at(first))];
    chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, 0.18)))?;
    chart.plotting_area().draw(&Rectangle::new(corners, style::line(color, 1)))?;
    let bar = [(left, y.at(median)), (right, y.at(median))];
    chart.plotting_area().draw(&PathElement::new(bar, style::line(color, 3)))?;
    Ok(())
}
