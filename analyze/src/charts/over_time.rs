//! latency_over_time.png: latency by iteration, and where messages failed or left no row.

use std::ops::RangeInclusive;

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::RGBColor;

use super::Context;
use super::axis::{Axis, nanoseconds};
use super::latencies::{COLUMNS, Column, Latencies};
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, INK, ORANGE, SKY, VERMILLION, px};
use crate::analysis::Analyzed;
use crate::input::Latency;
use crate::report::text::{duration, grouped, plural};

/// Opacity of a column's whole range, and of its p10 to p90 over that; together 0.55.
const RANGE_SHADE: f64 = 0.25;
const BODY_SHADE: f64 = 0.4;

pub(super) fn draw(area: &Area<'_>, latencies: &Latencies<'_>) -> Drawn {
    let analysis = latencies.analysis;
    let Some(latency) = &analysis.main.run.latency else { return Ok(()) };
    let baseline = latencies.runs().nth(1).map(|(analyzed, _)| analyzed).zip(latencies.columns().get(1));
    let bucketed = latency.samples.len() > 2 * COLUMNS;

    let [title, time] = latencies.quantity();
    let range = latencies.iterations();
    let (low, high) = latencies.range();
    let (low, high) = (low.max(1) as f64, high.max(1) as f64);
    // Dots have room at both ends.
    let room = if bucketed { 0.0 } else { ((range.end() - range.start()) as f64 * 0.01).max(0.5) };
    let x =
        Axis::whole("message (iteration)", *range.start() as f64 - room, *range.end() as f64 + room, |v| {
            grouped(v as u64)
        });
    // The foot of the plot is kept free for the marks of failures.
    let y = if high / low > 10.0 {
        Axis::log(
            &format!("{time} to PROCESSED, log scale"),
            low / (high / low).powf(0.1),
            high * 1.3,
            nanoseconds,
        )
    } else {
        let spread = (high - low).max(high * 0.02).max(10.0);
        let lowest = (low - spread * 0.15).max(0.0);
        Axis::whole(&format!("{time} to PROCESSED"), lowest, high + spread * 0.1, nanoseconds)
    };
    let panel = Panel {
        title: format!("{title} over time"),
        context: Some(Context::of(analysis)),
        facts: vec![how_drawn(latency, bucketed)],
        legend: legend(&analysis.main, latency, baseline.map(|(b, _)| b), bucketed),
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;

    let name = analysis.main.title();
    let columns = latencies.columns().first().map_or(&[][..], Vec::as_slice);
    if bucketed {
        draw_band(&chart, &x, &y, columns)?;
        say(&chart, &x, &y, (&name, BLUE), columns)?;
    } else {
        let dots: Vec<(u64, f64)> =
            latency.samples.iter().map(|s| (s.iteration, s.processed_ns as f64)).collect();
        let place = |(iteration, ns): &(u64, f64)| (x.at(*iteration as f64), y.at(*ns));
        for dot in &dots {
            chart.plotting_area().draw(&Circle::new(place(dot), px(3), style::fill(BLUE, 0.9)))?;
        }
        let text =
            |(iteration, ns): &(u64, f64)| format!("message {}: {}", grouped(*iteration), duration(*ns));
        chart.values((&name, BLUE), &dots, place, text)?;
    }
    if let Some((analyzed, columns)) = baseline {
        draw_medians(&chart, &x, &y, columns, ORANGE)?;
        say(&chart, &x, &y, (&analyzed.title(), ORANGE), columns)?;
    }
    let failed = latency.failures.places.iter().map(|g| g.first..=g.last);
    draw_marks(&chart, &x, &y, failed, VERMILLION)?;
    draw_marks(&chart, &x, &y, latency.gaps.iter().map(|g| g.first..=g.last), INK)
}

fn how_drawn(latency: &Latency, bucketed: bool) -> String {
    let count = plural(latency.samples.len() as u64, "ok message");
    if !bucketed {
        return format!("{count}, a dot each");
    }
    let size = latency.samples.len().div_ceil(COLUMNS);
    format!(
        "{count} in groups of {}: pale from each group's fastest to its slowest, which has a cap, so every extreme \
         shows; darker from p10 to p90; a dash at its median",
        grouped(size as u64)
    )
}

fn legend(
    main: &Analyzed,
    latency: &Latency,
    baseline: Option<&Analyzed>,
    bucketed: bool,
) -> Vec<(Swatch, String)> {
    let title = main.title();
    let mut legend = if bucketed {
        vec![
            (Swatch::Line(BLUE), format!("{title}, median of a group")),
            (Swatch::Block(SKY, 0.55), "p10 to p90".to_owned()),
            (Swatch::Block(SKY, RANGE_SHADE), "its range".to_owned()),
        ]
    } else {
        vec![(Swatch::Dot(BLUE), title)]
    };
    legend.extend(baseline.map(|b| (Swatch::Line(ORANGE), format!("{}, median", b.title()))));
    if !latency.failures.is_empty() {
        legend.push((Swatch::Tick(VERMILLION), format!("{} failed", grouped(latency.failures.count()))));
    }
    if !latency.gaps.is_empty() {
        legend.push((Swatch::Tick(INK), format!("{} lost", grouped(latency.lost()))));
    }
    legend
}

fn draw_band(chart: &Chart<'_>, x: &Axis, y: &Axis, columns: &[Column]) -> Drawn {
    let left = |column: &Column| x.at(*column.iterations.start() as f64);
    let right = |column: &Column| x.at(*column.iterations.end() as f64 + 1.0);
    for column in columns {
        let corners =
            [(left(column), y.at(column.max_ns as f64)), (right(column), y.at(column.min_ns as f64))];
        chart.plotting_area().draw(&Rectangle::new(corners, style::fill(SKY, RANGE_SHADE)))?;
    }
    for column in columns {
        let corners =
            [(left(column), y.at(column.p90_ns as f64)), (right(column), y.at(column.p10_ns as f64))];
        chart.plotting_area().draw(&Rectangle::new(corners, style::fill(SKY, BODY_SHADE)))?;
    }
    // A pale column of two pixels is easily overlooked.
    for column in columns.iter().filter(|column| column.max_ns > column.p90_ns) {
        let height = y.at(column.max_ns as f64);
        let cap = [(left(column), height), (right(column), height)];
        chart.plotting_area().draw(&PathElement::new(cap, style::line(SKY, 2)))?;
    }
    draw_medians(chart, x, y, columns, BLUE)
}

fn draw_medians(chart: &Chart<'_>, x: &Axis, y: &Axis, columns: &[Column], color: RGBColor) -> Drawn {
    // A dash each and no line between them: medians that jump would fill the plot with lines nobody measured.
    for column in columns.iter().filter(|b| *b.iterations.start() as f64 <= x.high()) {
        let height = y.at(column.median_ns as f64);
        let ends =
            [column.iterations.start(), column.iterations.end()].map(|end| (x.at(*end as f64), height));
        chart.plotting_area().draw(&PathElement::new(ends, style::line(color, 2)))?;
    }
    Ok(())
}

/// The groups' values, for a reader who points at them.
fn say(chart: &Chart<'_>, x: &Axis, y: &Axis, series: (&str, RGBColor), columns: &[Column]) -> Drawn {
    let time = |ns: u64| duration(ns as f64);
    let place = |b: &Column| {
        (
            (x.at(*b.iterations.start() as f64) + x.at(*b.iterations.end() as f64)) / 2.0,
            y.at(b.median_ns as f64),
        )
    };
    let text = |b: &Column| {
        let (first, last) = (grouped(*b.iterations.start()), grouped(*b.iterations.end()));
        let (least, median, most) = (time(b.min_ns), time(b.median_ns), time(b.max_ns));
        format!("{first} – {last}: median {median}, from {least} to {most}")
    };
    chart.values(series, columns, place, text)
}

/// A tick, or a bar for a long range, at the foot of the plot for each range of iterations.
pub(super) fn draw_marks(
    chart: &Chart<'_>,
    x: &Axis,
    y: &Axis,
    ranges: impl Iterator<Item = RangeInclusive<u64>>,
    color: RGBColor,
) -> Drawn {
    for range in ranges {
        let (left, right) = (x.at(*range.start() as f64), x.at(*range.end() as f64));
        let corners = [(left, y.part(0.005)), (left, y.part(0.05))];
        chart.plotting_area().draw(&PathElement::new(corners, style::line(color, 2)))?;
        let body = [(left, y.part(0.005)), (right, y.part(0.05))];
        chart.plotting_area().draw(&Rectangle::new(body, style::fill(color, 1.0)))?;
    }
    Ok(())
}
