//! latency_percentiles.png: latency by percentile, the axis stretched towards the tail.
//!
//! Position on the x axis is log10(1 / (1 - p)), as in HdrHistogram's plots: each further nine takes the same room.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::Context;
use super::axis::{Axis, nanoseconds};
use super::latencies::{Latencies, Series};
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, Drawn, GREY, INK, PAPER, px};
use crate::report::text::duration;
use crate::stats::{MIN_SAMPLES_BEYOND, Percentile};

/// Opacity of the part where a percentile is n/a.
pub(super) const UNKNOWN_SHADE: f64 = 0.15;

/// Places of a curve that have words for a reader who points at them.
const SAID: u16 = 240;

/// A curve and what the legend calls it.
pub(super) struct Curve<'a> {
    pub(super) name: String,
    pub(super) series: &'a Series,
}

/// Of the main run, then of the baseline: to PROCESSED, then to RECEIVED.
pub(super) fn curves<'a>(latencies: &'a Latencies<'_>) -> Vec<Curve<'a>> {
    let named = |series: &'a Series, to: &str| Curve { name: format!("{}, to {to}", series.name), series };
    let processed = latencies.processed().iter().map(|series| named(series, "PROCESSED"));
    let received = latencies.received().iter().map(|series| named(series, "RECEIVED"));
    let mut curves: Vec<Curve<'_>> = processed.chain(received).collect();
    curves.sort_by_key(|curve| !curve.series.is_main);
    curves
}

/// Shortest and longest time, and the largest count, of all curves; 1 where there are none.
pub(super) fn extent(curves: &[Curve<'_>]) -> (f64, f64, usize) {
    let low = curves.iter().map(|curve| curve.series.min()).min().unwrap_or(1).max(1);
    let high = curves.iter().map(|curve| curve.series.max()).max().unwrap_or(1);
    (low as f64, high as f64, curves.iter().map(|curve| curve.series.count()).max().unwrap_or(1))
}

pub(super) fn draw(area: &Area<'_>, latencies: &Latencies<'_>) -> Drawn {
    let analysis = latencies.analysis;
    let curves = curves(latencies);
    let (low, high, most) = extent(&curves);
    let [title, time] = latencies.quantity();
    let end = (most as f64).log10().max(1.0) + 0.3;
    let x = Axis::marked("percentile", 0.0, end, marks(end));
    let y = if high / low > 10.0 {
        Axis::log(&format!("{time}, log scale"), low / 1.3, high * 1.6, nanoseconds)
    } else {
        let spread = (high - low).max(2.0);
        Axis::linear(time, (low - spread * 0.1).max(0.0), high + spread * 0.15, nanoseconds)
    };
    let mut legend: Vec<_> = curves.iter().map(|c| (Swatch::Line(c.series.color), c.name.clone())).collect();
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
    shade_unknown(&chart, &x, &y, first.series.count())?;
    for curve in curves.iter().rev() {
        let path = steps(curve.series.sorted.as_slice(), &x, &y);
        let line = PathElement::new(path, style::line(curve.series.color, 2));
        chart.plotting_area().draw(&line)?;
    }
    for curve in &curves {
        curve.say(&chart, |share, time| (x.at(share), y.at(time)))?;
    }
    label_percentiles(&chart, &x, &y, first)
}

impl Curve<'_> {
    /// Its values at places evenly spaced on the stretched axis, for a reader who points at it.
    pub(super) fn say(&self, chart: &Chart<'_>, place: impl Fn(f64, f64) -> (f64, f64)) -> Drawn {
        say_percentiles(chart, (&self.name, self.series.color), self.series.sorted.as_slice(), place)
    }
}

/// Values of a sorted series by percentile; `place` is given the position on the stretched axis and the time.
pub(super) fn say_percentiles(
    chart: &Chart<'_>,
    series: (&str, RGBColor),
    sorted: &[u64],
    place: impl Fn(f64, f64) -> (f64, f64),
) -> Drawn {
    let count = sorted.len();
    if count == 0 {
        return Ok(());
    }
    let end = (count as f64).log10();
    let fraction = |i: u16| 1.0 - 10_f64.powf(-end * f64::from(i) / f64::from(SAID));
    let fractions: Vec<f64> = (0..=SAID).map(fraction).collect();
    let value =
        |fraction: f64| sorted[((fraction * count as f64).ceil() as usize).clamp(1, count) - 1] as f64;
    let place = |fraction: &f64| place(stretched(*fraction), value(*fraction));
    let text = |fraction: &f64| format!("{}: {}", name_of(*fraction), duration(value(*fraction)));
    chart.values(series, &fractions, place, text)
}

/// `p99.37`, with as many digits as tell it from 100.
pub(super) fn name_of(fraction: f64) -> String {
    let beyond = (1.0 - fraction) * 100.0;
    let decimals = if beyond > 0.0 { (1.0 - beyond.log10().floor()).clamp(1.0, 9.0) as usize } else { 1 };
    format!("p{:.decimals$}", fraction * 100.0)
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

/// Places of a curve on the stretched axis: more than these are not told apart.
const PLACES: f64 = 1_000.0;

/// The k-th of n samples covers the percentiles from (k - 1) / n to k / n; equal neighbours are one step, and steps
/// narrower than a place are passed over.
pub(super) fn steps(sorted: &[u64], x: &Axis, y: &Axis) -> Vec<(f64, f64)> {
    let count = sorted.len() as f64;
    let least = (x.high() - x.low()) / PLACES;
    // The first rank that is a place further on.
    let next = |from: f64| (count * (1.0 - 10_f64.powf(-(from + least)))).ceil() as usize;
    let steps = steps_between(sorted, least, |rank| stretched(rank as f64 / count), next);
    steps.into_iter().map(|(position, ns)| (x.at(position), y.at(ns as f64))).collect()
}

/// The same by shares, all of which take the same room.
pub(super) fn even_steps(sorted: &[u64]) -> Vec<(f64, u64)> {
    let count = sorted.len() as f64;
    let next = |from: f64| ((from + 1.0 / PLACES) * count).ceil() as usize;
    steps_between(sorted, 1.0 / PLACES, |rank| rank as f64 / count, next)
}

fn steps_between(
    sorted: &[u64],
    least: f64,
    position: impl Fn(usize) -> f64,
    next: impl Fn(f64) -> usize,
) -> Vec<(f64, u64)> {
    let count = sorted.len();
    let mut path = Vec::new();
    let mut begin = 0;
    while begin < count {
        let (from, value) = (position(begin), sorted[begin]);
        let end = begin + sorted[begin..].partition_point(|other| *other == value);
        path.push((from, value));
        if position(end) - from >= least {
            path.push((position(end), value));
            begin = end;
        } else {
            begin = next(from).clamp(end, count);
            if begin == count {
                path.push((position(count), sorted[count - 1]));
            }
        }
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

fn label_percentiles(chart: &Chart<'_>, x: &Axis, y: &Axis, curve: &Curve<'_>) -> Drawn {
    for percentile in Percentile::REPORTED {
        let Some(value) = curve.series.sorted.percentile(percentile) else { continue };
        let place = (x.at(stretched(percentile.fraction())), y.at(value as f64));
        chart.plotting_area().draw(&Circle::new(place, px(6), style::fill(PAPER, 1.0)))?;
        chart.plotting_area().draw(&Circle::new(place, px(5), style::fill(curve.series.color, 1.0)))?;
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

    #[test]
    fn a_curve_of_a_million_values_has_few_points_and_all_of_its_tail() {
        let x = Axis::marked("", 0.0, 6.3, vec![]);
        let y = Axis::linear("", 0.0, 1e6, |v| v.to_string());
        let sorted: Vec<u64> = (1..=1_000_000).collect();
        let path = steps(&sorted, &x, &y);
        assert!(path.len() < 2_100, "{}", path.len());
        assert!(path.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        assert_eq!((path[0], path[path.len() - 1]), ((0.0, 1.0), (6.3, 1e6)));
        // The 20 slowest are a step each.
        for value in 999_981..=1_000_000_u64 {
            assert_eq!(path.iter().filter(|(_, height)| *height == value as f64).count(), 2, "{value}");
        }
        let alike = steps(&[7; 1_000], &x, &y);
        assert_eq!(alike, [(0.0, 7.0), (6.3, 7.0)]);
    }
}
