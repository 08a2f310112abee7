//! bandwidth_analysis.png: distribution, scaling, duration and success, by frame format; the rates are drawn here.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::Context;
use super::axis::{Axis, plain};
use super::bandwidth_bars;
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, GREY, INK, ORANGE, VERMILLION, px};
use crate::analysis::{Analysis, Analyzed};
use crate::input::Frame;
use crate::report::text::four_digits;
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
    let title =
        plotters::element::Text::new("Bandwidth by frame format", (px(12), px(10)), style::bold(24, INK));
    area.draw(&title)?;
    Context::of(analysis).draw(area, (px(330), px(15)))?;

    let lanes = lanes(analysis);
    let names = frame_names(analysis);
    let below = area.clone().margin(heading, 0, 0, 0);
    let (upper, lower) = below.split_vertically((height as i32 - heading) / 2);
    let (first, second) = upper.split_horizontally(width as i32 / 2);
    let (third, fourth) = lower.split_horizontally(width as i32 / 2);
    distribution(&first, &lanes, &names)?;
    scaling(&second, &lanes)?;
    bandwidth_bars::durations(&third, &lanes, &names)?;
    bandwidth_bars::success(&fourth, &lanes, &names)
}

fn lanes(analysis: &Analysis) -> Vec<Lane<'_>> {
    let baseline = analysis.baseline.as_ref().filter(|b| b.summary.bandwidth.is_some());
    let offset = if baseline.is_some() { 0.2 } else { 0.0 };
    let mut lanes = vec![Lane { analyzed: &analysis.main, color: BLUE, offset: -offset }];
    lanes.extend(baseline.map(|analyzed| Lane { analyzed, color: ORANGE, offset }));
    lanes
}

/// The main run's frame formats; a name that occurs with two sizes is told apart by them.
fn frame_names(analysis: &Analysis) -> Vec<(String, u64)> {
    frames(&analysis.main).iter().map(|f| (f.frame.clone(), f.size_bytes)).collect()
}

pub(super) fn frames(analyzed: &Analyzed) -> &[FrameSummary] {
    analyzed.summary.bandwidth.as_ref().map_or(&[], |b| &b.frames)
}

pub(super) fn labels(names: &[(String, u64)]) -> Vec<String> {
    names
        .iter()
        .map(|(name, bytes)| format!("{name} ({} MB)", plain((*bytes as f64 / 1e5).round() / 10.0)))
        .collect()
}

pub(super) fn runs_legend(lanes: &[Lane<'_>], swatch: fn(RGBColor) -> Swatch) -> Vec<(Swatch, String)> {
    lanes.iter().map(|lane| (swatch(lane.color), lane.analyzed.title())).collect()
}

impl Lane<'_> {
    fn rates(&self, (name, bytes): &(String, u64)) -> Vec<f64> {
        let frames = self.analyzed.run.bandwidth.iter().flat_map(|b| &b.frames);
        frames.filter(|f| f.name == *name && f.bytes == *bytes).flat_map(Frame::rates_gb_per_s).collect()
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
        let name = if self.analyzed.run.is_native() { "native" } else { "VM" };
        chart.note(top, (0, moved), (HPos::Center, VPos::Bottom), name, GREY)
    }

    pub(super) fn summary(&self, (name, bytes): &(String, u64)) -> Option<&FrameSummary> {
        self.analyzed.summary.frame(name, *bytes)
    }
}

/// Lowest and highest rate of all runs.
fn rate_range(lanes: &[Lane<'_>]) -> (f64, f64) {
    let rates = || lanes.iter().flat_map(|l| frames(l.analyzed)).filter_map(|f| f.rate);
    let low = rates().map(|r| r.min_gb_per_s).fold(f64::INFINITY, f64::min);
    let high = rates().map(|r| r.max_gb_per_s).fold(0.0, f64::max);
    if low.is_finite() { (low, high) } else { (0.0, 1.0) }
}

fn distribution(area: &Area<'_>, lanes: &[Lane<'_>], names: &[(String, u64)]) -> Drawn {
    let (low, high) = rate_range(lanes);
    let x = Axis::categories("", &labels(names));
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
        for (place, name) in names.iter().enumerate() {
            let rates = lane.rates(name);
            let middle = place as f64 + lane.offset;
            draw_box(&chart, &y, middle, lane.color, &Sorted::new(rates.clone()))?;
            let limit = lane.analyzed.summary.bandwidth.as_ref().map(|b| &b.believable_limit);
            for (index, rate) in rates.iter().enumerate() {
                // A fixed scatter: fractional parts of multiples of the golden ratio never bunch.
                let scatter = ((index as f64 * 0.618_033_988_75).fract() - 0.5) * 1.5 * HALF_WIDTH;
                let absurd = limit.is_some_and(|l| l.is_exceeded_by(*rate));
                let color = if absurd { VERMILLION } else { lane.color };
                let dot = Circle::new((middle + scatter, y.at(*rate)), px(3), style::fill(color, 0.75));
                chart.plotting_area().draw(&dot)?;
            }
        }
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

fn scaling(area: &Area<'_>, lanes: &[Lane<'_>]) -> Drawn {
    let (low, high) = rate_range(lanes);
    let largest =
        lanes.iter().flat_map(|l| frames(l.analyzed)).map(|f| f.size_bytes).max().unwrap_or(1) as f64 / 1e6;
    let x = Axis::linear("frame size, MB (1e6 bytes)", 0.0, largest * 1.15, plain);
    let y = Axis::fitting("GB/s", low, high, LOG_BEYOND, plain);
    // The first lane is the run the report is about.
    let limit =
        lanes.first().and_then(|l| l.analyzed.summary.bandwidth.as_ref()).map(|b| &b.believable_limit);
    let mut facts = vec!["mean rate ± standard deviation".to_owned()];
    if let Some(limit) = limit {
        let source = limit.copy_kernel.as_ref().map_or_else(
            || "no copy was measured".to_owned(),
            |kernel| format!("fastest copy measured, {kernel}"),
        );
        facts[0] += &format!("; believable up to {} GB/s ({source})", four_digits(limit.gb_per_s));
    }
    let panel = Panel {
        title: "Scaling".into(),
        facts,
        legend: runs_legend(lanes, Swatch::Line),
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    if let Some(limit) = limit.filter(|l| l.gb_per_s < y.high() && l.gb_per_s > y.low()) {
        let line = [(x.part(0.0), y.at(limit.gb_per_s)), (x.part(1.0), y.at(limit.gb_per_s))];
        chart.plotting_area().draw(&PathElement::new(line, style::line(VERMILLION, 1)))?;
        let place = (x.part(0.01), y.at(limit.gb_per_s));
        chart.note(place, (0, -3), (HPos::Left, VPos::Bottom), "believable limit", VERMILLION)?;
    }
    for lane in lanes {
        let points: Vec<_> = frames(lane.analyzed)
            .iter()
            .filter_map(|f| Some((x.at(f.size_bytes as f64 / 1e6), f.rate?)))
            .collect();
        let path: Vec<_> = points.iter().map(|(at, rate)| (*at, y.at(rate.mean_gb_per_s))).collect();
        chart.plotting_area().draw(&PathElement::new(path.clone(), style::line(lane.color, 2)))?;
        for (place, (_, rate)) in path.into_iter().zip(&points) {
            let spread = rate.stddev_gb_per_s.unwrap_or(0.0);
            let ends = (y.at(rate.mean_gb_per_s - spread), y.at(rate.mean_gb_per_s + spread));
            chart.whisker(place.0, ends, style::line(lane.color, 1))?;
            chart.plotting_area().draw(&Circle::new(place, px(5), style::fill(lane.color, 1.0)))?;
            let label = four_digits(rate.mean_gb_per_s);
            chart.note(place, (9, -9), (HPos::Left, VPos::Bottom), &label, INK)?;
        }
    }
    Ok(())
}
