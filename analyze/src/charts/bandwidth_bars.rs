//! The lower half of bandwidth_analysis.png: where a frame's time went, and how many frames arrived.

use plotters::element::Rectangle;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, nanoseconds};
use super::bandwidth::{HALF_WIDTH, LOG_BEYOND, Lane, Places, frames, runs_legend};
use super::panel::{Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, GREEN, GREY, INK, PURPLE, SKY, VERMILLION};
use crate::report::text::{duration, grouped, plural};
use crate::summary::{FrameSummary, Parts};

pub(super) fn durations(area: &Area<'_>, lanes: &[Lane<'_>], places: &Places<'_>) -> Drawn {
    let summaries = || lanes.iter().flat_map(|l| frames(l.analyzed));
    let highest = summaries().filter_map(|f| f.duration_max_ns).max().unwrap_or(1) as f64;
    let median = summaries().filter_map(|f| f.duration_median_ns).max().unwrap_or(1) as f64;
    let lowest = summaries().filter_map(|f| f.duration_min_ns).min().unwrap_or(1) as f64;
    let x = places.axis();
    let least = summaries().filter_map(|f| f.duration_median_ns).min().unwrap_or(1) as f64;
    // Parts of a bar can only be stacked on a linear axis.
    let logarithmic = highest > median * LOG_BEYOND || median > least * LOG_BEYOND;
    let crowded = places.is_crowded(lanes);
    let y = if logarithmic {
        Axis::log("duration, log scale", lowest / 2.0, highest * 3.0, nanoseconds)
    } else {
        Axis::linear("duration", 0.0, highest * 1.2, nanoseconds)
    };
    let split = !logarithmic && summaries().any(|f| f.parts.is_some());
    let other = split && summaries().filter_map(|f| f.parts).any(|parts| other_of(parts) > VISIBLE);
    let bar = if split { "median, divided as all frames' time was" } else { "median" };
    let mut facts = vec![format!("bar and figure: {bar}; whisker: shortest to longest")];
    if other {
        facts[0] += "; other: waiting for the other direction";
    }
    if !split && summaries().any(|f| f.setup.overlaps()) {
        facts[0] += "; write and read overlap";
    }
    facts.extend(verification(lanes, places));
    let legend = if split {
        let parts = [(SKY, "write"), (INK, "notify"), (BLUE, "read"), (GREY, "other")];
        let shown = if other { &parts[..] } else { &parts[..3] };
        shown.iter().map(|(color, name)| (Swatch::Block(*color, 1.0), (*name).to_owned())).collect()
    } else {
        runs_legend(lanes, |color| Swatch::Block(color, 0.8))
    };
    let panel = Panel { title: "Duration".into(), facts, legend, ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    // Figures go where neither a bar nor a whisker is, beside the bar's end and not on the whisker, which ends elsewhere.
    let (mut figures, mut taken) = (Vec::new(), Vec::new());
    for lane in lanes {
        for (place, wanted) in places.frames.iter().enumerate() {
            let Some(frame) = lane.summary(wanted) else { continue };
            let middle = place as f64 + lane.offset;
            let (left, right) = (middle - HALF_WIDTH, middle + HALF_WIDTH);
            let whole = frame.duration_median_ns.map_or(0.0, |ns| ns as f64);
            let mut foot = y.low();
            let parts = match frame.parts.filter(|_| split) {
                Some(of) => {
                    vec![(of.write, SKY), (of.notify, INK), (of.read, BLUE), (other_of(of), GREY)]
                }
                None => vec![(1.0, lane.color)],
            };
            for (share, color) in parts.into_iter().filter(|_| whole > 0.0) {
                let head = if split { foot + share * whole } else { whole };
                let corners = [(left, y.at(head)), (right, y.at(foot))];
                chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, 0.9)))?;
                foot = head;
            }
            if let (Some(min), Some(max)) = (frame.duration_min_ns, frame.duration_max_ns) {
                chart.whisker(middle, (y.at(min as f64), y.at(max as f64)), style::line(INK, 1))?;
                if crowded {
                    continue;
                }
                let top = (middle, y.at(max as f64));
                taken.push(chart.place_between((left, y.at(whole)), (right, y.at(y.low()))));
                taken.push(chart.place_between(top, (middle, y.at(min as f64))));
                if lanes.len() > 1 {
                    lane.name_above(&chart, lanes, top, NAME_ABOVE)?;
                    let anchors = (HPos::Center, VPos::Bottom);
                    taken.push(chart.place_of_note(top, (0, NAME_ABOVE), anchors, lane.analyzed.short)?);
                }
                figures.push(((middle, y.at(whole)), nanoseconds(round3(whole))));
            }
        }
        let of_frame = |(place, wanted): (usize, &FrameSummary)| {
            let frame = lane.summary(wanted)?;
            let median = frame.duration_median_ns?;
            let [least, middle, most] =
                [frame.duration_min_ns?, median, frame.duration_max_ns?].map(|ns| duration(ns as f64));
            let text = format!("{}: median {middle}, from {least} to {most}", frame.label);
            Some((place as f64 + lane.offset, median as f64, text))
        };
        let medians: Vec<_> = places.frames.iter().enumerate().filter_map(of_frame).collect();
        let name = lane.analyzed.title();
        chart.values((&name, lane.color), &medians, |m| (m.0, y.at(m.1)), |m| m.2.clone())?;
    }
    for (place, figure) in figures {
        chart.note_beside(place, &figure, &mut taken)?;
    }
    Ok(())
}

/// How far above a whisker a run's name stands: if that is short, the figure is between it and the bar.
const NAME_ABOVE: i32 = -22;

/// Shares below this have no pixel of their own.
const VISIBLE: f64 = 0.005;

/// The share that is neither writing, notifying nor reading.
fn other_of(parts: Parts) -> f64 {
    (1.0 - parts.write - parts.notify - parts.read).max(0.0)
}

/// What verification took in the main run, by format or, where these are many, from the fastest to the slowest.
fn verification(lanes: &[Lane<'_>], places: &Places<'_>) -> Option<String> {
    let time = |ns: u64| nanoseconds(round3(ns as f64));
    let all: Vec<_> = places.frames.iter().filter_map(|f| Some((f, f.verify_median_ns?))).collect();
    let (least, most) = (all.iter().map(|(_, ns)| *ns).min()?, all.iter().map(|(_, ns)| *ns).max()?);
    let times = if all.len() > 3 {
        format!("{} to {}", time(least), time(most))
    } else {
        all.iter().map(|(f, ns)| format!("{} {}", f.label, time(*ns))).collect::<Vec<_>>().join(", ")
    };
    Some(format!("verification comes after it ({}): {times}", lanes.first()?.analyzed.title()))
}

/// Rounded to three significant digits.
fn round3(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 2.0);
    (value / unit).round() * unit
}

pub(super) fn success(area: &Area<'_>, lanes: &[Lane<'_>], places: &Places<'_>) -> Drawn {
    let x = places.axis();
    let y = Axis::marked(
        "% of frames sent",
        0.0,
        128.0,
        (0..=5).map(|i| (f64::from(i) * 20.0, format!("{} %", i * 20))).collect(),
    );
    let crowded = places.is_crowded(lanes);
    let mut legend = vec![
        (Swatch::Block(GREEN, 0.85), "ok".to_owned()),
        (Swatch::Block(VERMILLION, 0.85), "failed".to_owned()),
        (Swatch::Block(GREY, 0.6), "lost".to_owned()),
    ];
    if lanes.iter().flat_map(|l| frames(l.analyzed)).any(|f| f.dropped() > 0) {
        legend.insert(2, (Swatch::Block(PURPLE, 0.85), "dropped, never sent".to_owned()));
    }
    let facts =
        if crowded { vec![totals(lanes)] } else { vec!["ok of sent; what was checked below it".into()] };
    let panel = Panel { title: "Success".into(), facts, legend, ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    for lane in lanes {
        for (place, wanted) in places.frames.iter().enumerate() {
            let Some(frame) = lane.summary(wanted) else { continue };
            let middle = place as f64 + lane.offset;
            let percent = |count: u64| count as f64 * 100.0 / frame.sent as f64;
            let mut foot = 0.0;
            let dropped = frame.dropped();
            for (count, color, opacity) in [
                (frame.ok, GREEN, 0.85),
                (frame.failed - dropped, VERMILLION, 0.85),
                (dropped, PURPLE, 0.85),
                (frame.lost, GREY, 0.6),
            ] {
                let head = foot + percent(count);
                let corners = [(middle - HALF_WIDTH, y.at(head)), (middle + HALF_WIDTH, y.at(foot))];
                chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, opacity)))?;
                foot = head;
            }
            if crowded {
                continue;
            }
            let top = (middle, y.at(foot));
            chart.note(
                top,
                (0, -20),
                (HPos::Center, VPos::Bottom),
                &format!("{}/{}", frame.ok, frame.sent),
                INK,
            )?;
            chart.note(top, (0, -4), (HPos::Center, VPos::Bottom), &checked(frame), GREY)?;
            lane.name_above(&chart, lanes, top, -38)?;
        }
        let of_frame = |(place, wanted): (usize, &FrameSummary)| {
            let frame = lane.summary(wanted)?;
            let counts = format!("{} ok of {}", grouped(frame.ok), grouped(frame.sent));
            let text = format!("{}: {counts}, {}", frame.label, checked(frame));
            Some((place as f64 + lane.offset, frame.success_rate * 100.0, text))
        };
        let shares: Vec<_> = places.frames.iter().enumerate().filter_map(of_frame).collect();
        let name = lane.analyzed.title();
        chart.values((&name, lane.color), &shares, |m| (m.0, y.at(m.1)), |m| m.2.clone())?;
    }
    Ok(())
}

/// `10 checked`, `10 checked, 1 mismatch`.
fn checked(frame: &FrameSummary) -> String {
    let found = frame.mismatches.len() as u64;
    let found = if found == 0 { String::new() } else { format!(", {}", plural(found, "mismatch")) };
    format!("{} checked{found}", frame.checked)
}

/// Of each run over all its formats, where single bars have no room for figures.
fn totals(lanes: &[Lane<'_>]) -> String {
    let of = |(lane, side): (&Lane<'_>, &str)| {
        let sum = |of: fn(&FrameSummary) -> u64| frames(lane.analyzed).iter().map(of).sum::<u64>();
        let counts = format!(
            "{} of {} ok, {} checked, {}",
            grouped(sum(|f| f.ok)),
            grouped(sum(|f| f.sent)),
            grouped(sum(|f| f.checked)),
            plural(sum(|f| f.mismatches.len() as u64), "mismatch")
        );
        if lanes.len() > 1 { format!("{side} {}: {counts}", lane.analyzed.short) } else { counts }
    };
    lanes.iter().zip(["left", "right"]).map(of).collect::<Vec<_>>().join("; ")
}
