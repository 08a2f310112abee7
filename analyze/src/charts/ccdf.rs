//! latency_ccdf.png: the share of messages up to a time, and below it the share beyond on the axis of HdrHistogram's plots,
//! where each further nine takes the same room.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};

use super::Context;
use super::axis::{Axis, nanoseconds};
use super::histogram::body_end;
use super::latencies::Latencies;
use super::panel::{Chart, Panel, Swatch};
use super::percentiles::{Curve, UNKNOWN_SHADE, curves, even_steps, extent, steps, stretched};
use super::style::{self, Area, Drawn, GREY, INK, PAPER, px};
use crate::report::text::duration;
use crate::stats::{MIN_SAMPLES_BEYOND, Percentile};

pub(super) fn draw(area: &Area<'_>, latencies: &Latencies<'_>) -> Drawn {
    let curves = curves(latencies);
    let (upper, lower) = area.split_vertically(area.dim_in_pixel().1 as i32 / 2);
    cumulative(&upper, &curves, latencies)?;
    complementary(&lower, &curves, latencies)
}

fn legend(curves: &[Curve<'_>]) -> Vec<(Swatch, String)> {
    curves.iter().map(|curve| (Swatch::Line(curve.series.color), curve.name.clone())).collect()
}

/// Linear on both axes, as far as the body of the distribution.
fn cumulative(area: &Area<'_>, curves: &[Curve<'_>], latencies: &Latencies<'_>) -> Drawn {
    let [title, time] = latencies.quantity();
    let (low, _, _) = extent(curves);
    let ends = curves.iter().map(|curve| body_end(&curve.series.sorted));
    let high = ends.map(|(end, _)| end).max().unwrap_or(1).max(1) as f64;
    let room = ((high - low) * 0.03).max(5.0);
    let x = Axis::linear(&format!("{time}, linear scale"), (low - room).max(0.0), high + room, nanoseconds);
    let percents = (0..=5).map(|i| (f64::from(i) * 0.2, format!("{} %", i * 20))).collect();
    let y = Axis::marked("messages up to this time", 0.0, 1.0, percents);
    let panel = Panel {
        title: format!("{title}: cumulative distribution"),
        context: Some(Context::of(latencies.analysis)),
        facts: vec!["the body, as far as in the histogram; the panel below shows all".into()],
        legend: legend(curves),
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    for curve in curves.iter().rev() {
        let path: Vec<(f64, f64)> = even_steps(curve.series.sorted.as_slice())
            .into_iter()
            .take_while(|(_, ns)| (*ns as f64) < x.high())
            .map(|(share, ns)| (x.at(ns as f64), y.at(share)))
            .collect();
        chart.plotting_area().draw(&PathElement::new(path, style::line(curve.series.color, 2)))?;
    }
    for curve in curves {
        curve.say(&chart, |nines, time| (x.at(time), y.at(1.0 - 10_f64.powf(-nines))))?;
    }
    Ok(())
}

/// Logarithmic on both axes: all of it.
fn complementary(area: &Area<'_>, curves: &[Curve<'_>], latencies: &Latencies<'_>) -> Drawn {
    let [title, time] = latencies.quantity();
    let (low, high, most) = extent(curves);
    let end = (most as f64).log10().max(1.0) + 0.3;
    // Upwards is less: the axis is that of nines, from the end.
    let y = Axis::marked("messages beyond this time, log scale", -end, 0.0, shares(end));
    let x = Axis::log(&format!("{time}, log scale"), low / 1.1, high * 1.2, nanoseconds);
    let whose = match latencies.processed().first() {
        Some(main) if latencies.processed().len() > 1 => format!(" of {}", main.name),
        _ => String::new(),
    };
    let mut legend = legend(curves);
    let unknown = format!("n/a: fewer than {MIN_SAMPLES_BEYOND} messages{whose} beyond");
    legend.push((Swatch::Block(GREY, UNKNOWN_SHADE), unknown));
    let panel = Panel {
        title: format!("{title}: complementary distribution"),
        facts: vec![
            "every ok message; each step down is ten times rarer, the foot of a curve its slowest".into(),
        ],
        legend,
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    let Some(first) = curves.first() else { return Ok(()) };
    let known = 1.0 - MIN_SAMPLES_BEYOND as f64 / first.series.count() as f64;
    let corners = [(x.part(0.0), y.at(-stretched(known.max(0.0)))), (x.part(1.0), y.part(0.0))];
    chart.plotting_area().draw(&Rectangle::new(corners, style::fill(GREY, UNKNOWN_SHADE)))?;
    let share = Axis::marked("", 0.0, end, Vec::new());
    for curve in curves.iter().rev() {
        let path: Vec<(f64, f64)> = steps(curve.series.sorted.as_slice(), &share, &x)
            .into_iter()
            .map(|(nines, time)| (time, y.at(-nines)))
            .collect();
        chart.plotting_area().draw(&PathElement::new(path, style::line(curve.series.color, 2)))?;
    }
    for curve in curves {
        curve.say(&chart, |nines, time| (x.at(time), y.at(-nines)))?;
    }
    label(&chart, &x, &y, first)
}

/// The figures of the main run at its curve, right of it: there the next one is further down.
fn label(chart: &Chart<'_>, x: &Axis, y: &Axis, curve: &Curve<'_>) -> Drawn {
    for percentile in Percentile::REPORTED {
        let Some(value) = curve.series.sorted.percentile(percentile) else { continue };
        let place = (x.at(value as f64), y.at(-stretched(percentile.fraction())));
        for (radius, color) in [(px(6), PAPER), (px(5), curve.series.color)] {
            chart.plotting_area().draw(&Circle::new(place, radius, style::fill(color, 1.0)))?;
        }
        let label = format!("{} = {}", percentile.name(), duration(value as f64));
        let is_far = place.0 > x.part(0.89);
        let (anchor, moved) = if is_far { (HPos::Right, (-4, -18)) } else { (HPos::Left, (10, -2)) };
        chart.note(place, moved, (anchor, VPos::Bottom), &label, INK)?;
    }
    Ok(())
}

/// Shares beyond at whole nines, with the percentile that has them.
fn shares(end: f64) -> Vec<(f64, String)> {
    let mut marks = vec![(0.0, "100 %".to_owned())];
    for nines in 1..=(end.floor() as i32) {
        let percent = 100.0 / 10_f64.powi(nines);
        let decimals = (nines - 2).max(0) as usize;
        marks.push((-f64::from(nines), format!("{percent:.decimals$} %")));
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nine_has_its_share() {
        let shown: Vec<String> = shares(5.3).into_iter().map(|(_, label)| label).collect();
        assert_eq!(shown, ["100 %", "10 %", "1 %", "0.1 %", "0.01 %", "0.001 %"]);
    }
}
