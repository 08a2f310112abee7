//! The scaling panel of bandwidth_analysis.png: rate by payload size, under the roof or the believable limit.

use plotters::element::{Circle, PathElement};
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, plain};
use super::bandwidth::{LOG_BEYOND, Lane, frames, rate_range};
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, GREEN, GREY, INK, PAPER, PURPLE, SKY, VERMILLION, px};
use crate::limit::Limit;
use crate::report::text::four_digits;
use crate::summary::{FrameSummary, Rate};

/// Sizes beyond which the axis is logarithmic and figures are left to the report.
const LINEAR_SIZES: usize = 6;
/// Radius of a point, in pixels of the finished picture.
const POINT: i32 = 5;
/// Distance of two ways of one size, as a share of the axis.
const SHIFT: f64 = 0.025;
/// Sizes further apart than this factor are drawn on a logarithmic axis too.
const LINEAR_SPAN: f64 = 64.0;

pub(super) fn draw(area: &Area<'_>, lanes: &[Lane<'_>]) -> Drawn {
    let all = || lanes.iter().flat_map(|l| frames(l.analyzed));
    // The first lane is the run the report is about.
    let Some(main) = lanes.first() else { return Ok(()) };
    let roofs = || frames(main.analyzed).iter().filter_map(|f| f.roof?.total_gb_per_s);
    let (low, high) = rate_range(lanes);
    let y = Axis::fitting("GB/s", low, roofs().fold(high, f64::max), LOG_BEYOND, plain);

    let mut sizes: Vec<u64> = all().map(|f| f.size_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let (smallest, largest) =
        (sizes.first().copied().unwrap_or(1) as f64, sizes.last().copied().unwrap_or(1) as f64);
    let many = sizes.len() > LINEAR_SIZES;
    let logarithmic = many || largest / smallest > LINEAR_SPAN;
    let x = if logarithmic {
        Axis::sizes("payload, log2 scale", smallest / 1.5, largest * 2.5)
    } else {
        Axis::linear("payload, MB (1e6 bytes)", 0.0, largest / 1e6 * 1.15, plain)
    };
    let at =
        |f: &FrameSummary| x.at(if logarithmic { f.size_bytes as f64 } else { f.size_bytes as f64 / 1e6 });

    let limit = main.analyzed.summary.bandwidth.as_ref().and_then(|b| b.believable_limit.as_ref());
    let mut legend = Vec::new();
    for lane in lanes {
        for (way, color) in ways(frames(lane.analyzed)).iter().zip(colors(lane)) {
            let name = [lane.analyzed.title().as_str(), &way[0].way].join(" ");
            legend.push((Swatch::Line(color), name.trim_end().to_owned()));
        }
    }
    if roofs().next().is_some() {
        // Several roofs are told apart by the colours of their ways.
        let several = ways(frames(main.analyzed)).len() > 1;
        let color = if several { GREY } else { VERMILLION };
        let whose = if several { ", each in its colour" } else { "" };
        legend.push((Swatch::Ring(color), format!("roof of {}: plain copies{whose}", main.analyzed.title())));
        let is_spread = |f: &FrameSummary| {
            f.roof.is_some_and(|roof| {
                roof.total_low_gb_per_s.is_some_and(|low| Some(low) != roof.total_gb_per_s)
            })
        };
        if frames(main.analyzed).iter().any(is_spread) {
            legend.push((Swatch::Tick(color), "roof: lowest measurement".to_owned()));
        }
    }
    let panel =
        Panel { title: "Scaling".into(), facts: vec![facts(main, limit)], legend, ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    if let Some(limit) = limit.filter(|l| l.gb_per_s < y.high() && l.gb_per_s > y.low()) {
        let line = [(x.part(0.0), y.at(limit.gb_per_s)), (x.part(1.0), y.at(limit.gb_per_s))];
        chart.plotting_area().draw(&PathElement::new(line, style::line(VERMILLION, 1)))?;
        let place = (x.part(0.01), y.at(limit.gb_per_s));
        chart.note(place, (0, -3), (HPos::Left, VPos::Bottom), "believable limit", VERMILLION)?;
    }
    let main_ways = ways(frames(main.analyzed));
    for (place, (way, own)) in main_ways.iter().zip(colors(main)).enumerate() {
        let color = if main_ways.len() > 1 { own } else { VERMILLION };
        let shift = shift(&x, place, main_ways.len());
        let roof = |f: &&FrameSummary| Some((at(f) + shift, y.at(f.roof?.total_gb_per_s?)));
        let path: Vec<_> = way.iter().filter_map(roof).collect();
        for (place, roof) in way.iter().filter_map(|f| Some((at(f) + shift, f.roof?))) {
            if let (Some(low), Some(high)) = (roof.total_low_gb_per_s, roof.total_gb_per_s) {
                chart.whisker(place, (y.at(low), y.at(high)), style::line(color, 1))?;
            }
        }
        chart.plotting_area().draw(&PathElement::new(path.clone(), style::line(color, 1)))?;
        for place in path {
            for (radius, fill) in [(px(4), color), (px(2), PAPER)] {
                chart.plotting_area().draw(&Circle::new(place, radius, style::fill(fill, 1.0)))?;
            }
        }
    }
    let mut means = Vec::new();
    for lane in lanes {
        let ways = ways(frames(lane.analyzed));
        let count = ways.len();
        for (place, (way, color)) in ways.into_iter().zip(colors(lane)).enumerate() {
            let points: Vec<_> = way.into_iter().map(|f| (at(f) + shift(&x, place, count), f)).collect();
            let name = points.first().map(|(_, f)| [lane.analyzed.title().as_str(), &f.way].join(" "));
            means.extend(line(&chart, &y, (name.unwrap_or_default().trim_end(), color), &points)?);
        }
    }
    if many {
        return Ok(());
    }
    let mut taken: Vec<_> = means.iter().map(|(place, _)| chart.place_of(*place, POINT)).collect();
    for (place, mean) in means {
        chart.note_beside(place, &four_digits(mean), &mut taken)?;
    }
    Ok(())
}

/// Ways of one size stand side by side: how far this one is moved, in positions of the axis.
fn shift(x: &Axis, place: usize, of: usize) -> f64 {
    (x.part(SHIFT) - x.part(0.0)) * (place as f64 - (of.max(1) - 1) as f64 / 2.0)
}

fn facts(main: &Lane<'_>, limit: Option<&Limit>) -> String {
    let mut mean = "mean rate ± standard deviation".to_owned();
    if frames(main.analyzed).iter().any(FrameSummary::is_at_asked_rate) {
        mean += "; a stream at the asked rate says nothing of the link's limit";
    }
    let Some(limit) = limit else { return mean };
    let source = limit.copy_kernel.as_ref().map_or_else(
        || "no copy was measured".to_owned(),
        |kernel| format!("fastest copy measured, {kernel}"),
    );
    format!("{mean}; believable up to {} GB/s ({source})", four_digits(limit.gb_per_s))
}

/// The frames of each way, by size as they come.
fn ways(frames: &[FrameSummary]) -> Vec<Vec<&FrameSummary>> {
    let mut ways: Vec<Vec<&FrameSummary>> = Vec::new();
    for frame in frames {
        match ways.iter_mut().find(|way| way[0].way == frame.way) {
            Some(way) => way.push(frame),
            None => ways.push(vec![frame]),
        }
    }
    ways
}

/// The run's own colour for its first way, others for the rest; ways beyond the colours are left to the report.
fn colors(lane: &Lane<'_>) -> impl Iterator<Item = RGBColor> {
    let others = if lane.color == BLUE { [GREEN, PURPLE, SKY] } else { [INK, GREY, SKY] };
    std::iter::once(lane.color).chain(others)
}

/// One way of one run; returns where its mean rates are.
fn line(
    chart: &Chart<'_>,
    y: &Axis,
    (name, color): (&str, RGBColor),
    points: &[(f64, &FrameSummary)],
) -> Drawn<Vec<((f64, f64), f64)>> {
    let known: Vec<_> = points.iter().filter_map(|(at, f)| Some((*at, f.rate?, f.label.as_str()))).collect();
    let text = |(_, rate, label): &(f64, Rate, &str)| {
        let spread = rate.stddev_gb_per_s.map_or_else(String::new, |s| format!(" ± {}", four_digits(s)));
        format!("{label}: mean {}{spread} GB/s", four_digits(rate.mean_gb_per_s))
    };
    chart.values((name, color), &known, |(at, rate, _)| (*at, y.at(rate.mean_gb_per_s)), text)?;
    let points: Vec<_> = known.iter().map(|(at, rate, _)| (*at, *rate)).collect();
    let path: Vec<_> = points.iter().map(|(at, rate)| (*at, y.at(rate.mean_gb_per_s))).collect();
    chart.plotting_area().draw(&PathElement::new(path.clone(), style::line(color, 2)))?;
    for (place, (_, rate)) in path.iter().zip(&points) {
        let spread = rate.stddev_gb_per_s.unwrap_or(0.0);
        let ends = (y.at(rate.mean_gb_per_s - spread), y.at(rate.mean_gb_per_s + spread));
        let is_whole = rate.mean_gb_per_s - spread >= y.low();
        chart.whisker_from(place.0, ends, is_whole, style::line(color, 1))?;
        chart.plotting_area().draw(&Circle::new(*place, px(POINT), style::fill(color, 1.0)))?;
    }
    let means = points.iter().map(|(_, rate)| rate.mean_gb_per_s);
    Ok(path.into_iter().zip(means).collect())
}
