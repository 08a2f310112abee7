//! latency_percentiles.png: latency by percentile, the axis stretched towards the tail.
//!
//! Position on the x axis is log10(1 / (1 - p)), as in HdrHistogram's plots: each further nine takes the same room.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, nanoseconds};
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, GREEN, GREY, INK, ORANGE, PAPER, PURPLE, px};
use super::{Context, comparable_baseline, quantity};
use crate::analysis::{Analysis, Analyzed};
use crate::report::text::duration;
use crate::stats::{MIN_SAMPLES_BEYOND, Percentile, Sorted};

/// Opacity of the part where a percentile is n/a.
const UNKNOWN_SHADE: f64 = 0.15;

/// Places of a curve that have words for a reader who points at them.
const SAID: u16 = 240;

struct Curve {
    name: String,
    color: RGBColor,
    samples: Sorted<u64>,
}

pub(super) fn draw(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let mut curves = curves(&analysis.main, BLUE, GREEN);
    if let Some(baseline) = comparable_baseline(analysis) {
        curves.extend(curves_of_baseline(baseline));
    }
    let all = || curves.iter().flat_map(|c| c.samples.as_slice());
    let (low, high) =
        (all().min().copied().unwrap_or(1).max(1) as f64, all().max().copied().unwrap_or(1) as f64);
    let most = curves.iter().map(|c| c.samples.as_slice().len()).max().unwrap_or(1);

    let [title, time] = quantity(analysis);
    let end = (most as f64).log10().max(1.0) + 0.3;
    let x = Axis::marked("percentile", 0.0, end, marks(end));
    let y = if high / low > 10.0 {
        Axis::log(&format!("{time}, log scale"), low / 1.3, high * 1.6, nanoseconds)
    } else {
        let spread = (high - low).max(2.0);
        Axis::linear(time, (low - spread * 0.1).max(0.0), high + spread * 0.15, nanoseconds)
    };
    let mut legend: Vec<_> = curves.iter().map(|c| (Swatch::Line(c.color), c.name.clone())).collect();
    // The shade is the main run's: another number of messages has another end.
    let whose =
        if analysis.baseline.is_some() { format!(" of {}", analysis.main.title()) } else { String::new() };
    let unknown = format!("n/a: fewer than {MIN_SAMPLES_BEYOND} messages{whose} beyond");
    legend.push((Swatch::Block(GREY, UNKNOWN_SHADE), unknown));
    // Figures stand at one curve only.
    let marked = curves.first().filter(|_| analysis.baseline.is_some());
    let marked = marked.map_or_else(String::new, |curve| format!("; marked: {}", curve.name));
    let panel = Panel {
        title: format!("{title} by percentile"),
        context: Some(Context::of(analysis)),
        facts: vec![format!(
            "nearest rank, from every ok message; the right end of a curve is its slowest message{marked}"
        )],
        legend,
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    let Some(first) = curves.first() else { return Ok(()) };
    shade_unknown(&chart, &x, &y, first.samples.as_slice().len())?;
    for curve in curves.iter().rev() {
        let line = PathElement::new(steps(curve.samples.as_slice(), &x, &y), style::line(curve.color, 2));
        chart.plotting_area().draw(&line)?;
    }
    for curve in &curves {
        curve.say(&chart, &x, &y)?;
    }
    label_percentiles(&chart, &x, &y, first)
}

impl Curve {
    /// Its values at places evenly spaced on the stretched axis, for a reader who points at it.
    fn say(&self, chart: &Chart<'_>, x: &Axis, y: &Axis) -> Drawn {
        let count = self.samples.as_slice().len();
        let end = (count as f64).log10();
        let fractions: Vec<f64> =
            (0..=SAID).map(|i| 1.0 - 10_f64.powf(-end * f64::from(i) / f64::from(SAID))).collect();
        let value = |fraction: f64| {
            let place = ((fraction * count as f64).ceil() as usize).clamp(1, count) - 1;
            self.samples.as_slice()[place] as f64
        };
        let place = |fraction: &f64| (x.at(stretched(*fraction)), y.at(value(*fraction)));
        let text = |fraction: &f64| format!("{}: {}", name_of(*fraction), duration(value(*fraction)));
        chart.values((&self.name, self.color), &fractions, place, text)
    }
}

/// `p99.37`, with as many digits as tell it from 100.
pub(super) fn name_of(fraction: f64) -> String {
    let beyond = (1.0 - fraction) * 100.0;
    let decimals = if beyond > 0.0 { (1.0 - beyond.log10().floor()).clamp(1.0, 9.0) as usize } else { 1 };
    format!("p{:.decimals$}", fraction * 100.0)
}

fn curves(analyzed: &Analyzed, processed: RGBColor, received: RGBColor) -> Vec<Curve> {
    let Some(latency) = &analyzed.run.latency else { return Vec::new() };
    let title = analyzed.title();
    [
        (format!("{title}, to PROCESSED"), processed, latency.processed_ns()),
        (format!("{title}, to RECEIVED"), received, latency.received_ns()),
    ]
    .into_iter()
    .filter(|(_, _, samples)| !samples.is_empty())
    .map(|(name, color, samples)| Curve { name, color, samples: Sorted::new(samples) })
    .collect()
}

fn curves_of_baseline(baseline: &Analyzed) -> Vec<Curve> {
    curves(baseline, ORANGE, PURPLE)
}

/// Marks for the minimum, 50, 90, 95 and as many nines as the axis has room for.
pub(super) fn marks(end: f64) -> Vec<(f64, String)> {
    let mut marks: Vec<(f64, String)> =
        [50.0, 75.0, 90.0, 95.0, 99.0].iter().map(|p| (stretched(p / 100.0), format!("p{p}"))).collect();
    marks.insert(0, (0.0, "min".into()));
    marks.extend((3..10).map(|nines| (f64::from(nines), format!("p99.{}", "9".repeat(nines as usize - 2)))));
    marks.retain(|(position, _)| *position <= end);
    marks
}

pub(super) fn stretched(fraction: f64) -> f64 {
    -(1.0 - fraction).log10()
}

/// The k-th of n samples covers the percentiles from (k - 1) / n to k / n; equal neighbours are one step.
pub(super) fn steps(sorted: &[u64], x: &Axis, y: &Axis) -> Vec<(f64, f64)> {
    let count = sorted.len() as f64;
    let mut path = Vec::new();
    let mut begin = 0;
    for group in sorted.chunk_by(|a, b| a == b) {
        let height = y.at(group[0] as f64);
        path.push((x.at(stretched(begin as f64 / count)), height));
        begin += group.len();
        path.push((x.at(stretched(begin as f64 / count)), height));
    }
    path
}

/// The part where a percentile is n/a.
fn shade_unknown(chart: &Chart<'_>, x: &Axis, y: &Axis, count: usize) -> Drawn {
    let known = 1.0 - MIN_SAMPLES_BEYOND as f64 / count as f64;
    let left = x.at(stretched(known.max(0.0)));
    let corners = [(left, y.part(1.0)), (x.part(1.0), y.part(0.0))];
    chart.plotting_area().draw(&Rectangle::new(corners, style::fill(GREY, UNKNOWN_SHADE)))?;
    Ok(())
}

fn label_percentiles(chart: &Chart<'_>, x: &Axis, y: &Axis, curve: &Curve) -> Drawn {
    for percentile in Percentile::REPORTED {
        let Some(value) = curve.samples.percentile(percentile) else { continue };
        let place = (x.at(stretched(percentile.fraction())), y.at(value as f64));
        chart.plotting_area().draw(&Circle::new(place, px(6), style::fill(PAPER, 1.0)))?;
        chart.plotting_area().draw(&Circle::new(place, px(5), style::fill(curve.color, 1.0)))?;
        let label = format!("{} = {}", percentile.name(), duration(value as f64));
        // p95 stands close to p90, and p50 close to the axis.
        let (anchor, moved) = match percentile {
            Percentile::P50 => (HPos::Center, (0, -9)),
            Percentile::P95 => (HPos::Right, (-4, -27)),
            _ => (HPos::Right, (-4, -9)),
        };
        chart.note(place, moved, (anchor, VPos::Bottom), &label, INK)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nine_takes_the_same_room() {
        let positions: Vec<f64> = [0.9, 0.99, 0.999].map(stretched).into();
        assert!((positions[2] - positions[1] - (positions[1] - positions[0])).abs() < 1e-9);
        let labels: Vec<String> = marks(4.3).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["min", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99"]);
    }

    #[test]
    fn a_curve_has_a_step_for_each_value_and_ends_at_the_right() {
        let x = Axis::marked("", 0.0, 2.0, vec![]);
        let y = Axis::linear("", 0.0, 10.0, |v| v.to_string());
        let path = steps(&[1, 1, 1, 7], &x, &y);
        assert_eq!(path.len(), 4);
        assert_eq!(path[0], (0.0, 1.0));
        assert!((path[1].0 - stretched(0.75)).abs() < 1e-12);
        assert_eq!(path[3], (2.0, 7.0));
    }
}
