//! phase_breakdown.png: what a frame's time is made of, by frame size: written, notified, read, and then verified.

use plotters::element::Rectangle;
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::Context;
use super::axis::{Axis, nanoseconds};
use super::bandwidth::{HALF_WIDTH, LOG_BEYOND, Lane, Places, lanes};
use super::panel::{Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, GREY, INK, PAPER, PURPLE, SKY, px};
use crate::analysis::{Analysis, Analyzed};
use crate::report::text::{duration, plural};
use crate::summary::FrameSummary;

/// Shares of a bar that have room for a figure.
const ROOM: f64 = 0.07;

/// The phases in the order they come in, and a colour for each.
const PHASES: [(&str, RGBColor); 5] = [
    ("write", SKY),
    ("notify", INK),
    ("read", BLUE),
    ("other", GREY),
    ("verify, after the frame's time", PURPLE),
];

/// One frame format: its phases in nanoseconds.
struct Stack {
    phases: [f64; 5],
    bytes: u64,
}

impl Stack {
    /// The median duration, divided as all frames' time was, and the median verification on top of it.
    fn of(frame: &FrameSummary) -> Option<Self> {
        let (parts, whole) = (frame.parts?, frame.duration_median_ns? as f64);
        let other = (1.0 - parts.write - parts.notify - parts.read).max(0.0);
        // What is less than a thousandth is rounding.
        let other = if other < 0.001 { 0.0 } else { other };
        let verify = frame.verify_median_ns.map_or(0.0, |ns| ns as f64);
        let phases = [parts.write * whole, parts.notify * whole, parts.read * whole, other * whole, verify];
        Some(Self { phases, bytes: frame.size_bytes })
    }

    fn total(&self) -> f64 {
        self.phases.iter().sum()
    }
}

/// Whether there is a frame whose phases are known.
pub(super) fn is_there(analyzed: &Analyzed) -> bool {
    super::bandwidth::frames(analyzed).iter().any(|frame| Stack::of(frame).is_some())
}

pub(super) fn draw(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    let heading = px(40);
    let title =
        plotters::element::Text::new("Where a frame's time goes", (px(12), px(10)), style::bold(24, INK));
    area.draw(&title)?;
    Context::of(analysis).draw(area, (px(330), px(15)))?;
    let lanes = lanes(analysis);
    let places = Places::of(&analysis.main);
    let below = area.clone().margin(heading, 0, 0, 0);
    let (left, right) = below.split_horizontally(width as i32 / 2);
    times(&left, &lanes, &places)?;
    shares(&right, &lanes, &places)
}

/// Every bar there is: where it stands, whose it is, and its phases.
fn bars<'a>(
    lanes: &'a [Lane<'a>],
    places: &'a Places<'a>,
) -> Vec<(f64, &'a Lane<'a>, &'a FrameSummary, Stack)> {
    let of_lane = |lane: &'a Lane<'a>| {
        let bar = move |(place, wanted): (usize, &'a FrameSummary)| {
            let frame = lane.summary(wanted)?;
            Some((place as f64 + lane.offset, lane, frame, Stack::of(frame)?))
        };
        places.frames.iter().enumerate().filter_map(bar)
    };
    lanes.iter().flat_map(of_lane).collect()
}

fn legend(stacks: &[&Stack]) -> Vec<(Swatch, String)> {
    let shown = |place: usize| stacks.iter().any(|stack| stack.phases[place] > 0.0);
    let named = PHASES.iter().enumerate().filter(|(place, _)| shown(*place));
    named.map(|(_, (name, color))| (Swatch::Block(*color, 1.0), (*name).to_owned())).collect()
}

/// In nanoseconds; of a megabyte, where the sizes are far apart.
fn times(area: &Area<'_>, lanes: &[Lane<'_>], places: &Places<'_>) -> Drawn {
    let bars = bars(lanes, places);
    let stacks: Vec<&Stack> = bars.iter().map(|(_, _, _, stack)| stack).collect();
    let most = stacks.iter().map(|stack| stack.total()).fold(0.0, f64::max);
    let least = stacks.iter().map(|stack| stack.total()).fold(f64::INFINITY, f64::min);
    let is_by_size = most > least * LOG_BEYOND;
    let scale = |stack: &Stack| if is_by_size { 1e6 / stack.bytes as f64 } else { 1.0 };
    let high = stacks.iter().map(|stack| stack.total() * scale(stack)).fold(1.0, f64::max);
    let name = if is_by_size {
        "duration and verification, for each MB (1e6 bytes)"
    } else {
        "duration and verification"
    };
    let (x, y) = (places.axis(), Axis::linear(name, 0.0, high * 1.14, nanoseconds));
    let left_out = lanes.len() * places.frames.len() - bars.len();
    let mut facts = vec!["bar: the median duration, divided as all frames' time was".to_owned()];
    if left_out > 0 {
        facts.push(format!(
            "{} without: phases that overlap or were not measured",
            plural(left_out as u64, "frame format")
        ));
    }
    let panel = Panel { title: "Time".into(), facts, legend: legend(&stacks), ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    for (middle, lane, _, stack) in &bars {
        let head = y.at(stack.total() * scale(stack));
        let mut foot = 0.0;
        for (time, (_, color)) in stack.phases.iter().map(|ns| ns * scale(stack)).zip(PHASES) {
            if time > 0.0 {
                let corners = [(middle - HALF_WIDTH, y.at(foot + time)), (middle + HALF_WIDTH, y.at(foot))];
                chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, 1.0)))?;
            }
            foot += time;
        }
        if !places.is_crowded(lanes) {
            let label = duration(stack.total() * scale(stack));
            chart.note((*middle, head), (0, -4), (HPos::Center, VPos::Bottom), &label, INK)?;
            lane.name_above(&chart, lanes, (*middle, head), -21)?;
        }
    }
    for (place, (name, color)) in PHASES.iter().enumerate() {
        let foot = |stack: &Stack| stack.phases[..=place].iter().sum::<f64>() - stack.phases[place] / 2.0;
        let known: Vec<_> = bars.iter().filter(|(_, _, _, stack)| stack.phases[place] > 0.0).collect();
        if !known.is_empty() {
            chart.values(
                (name, *color),
                &known,
                |(middle, _, _, stack)| (*middle, y.at(foot(stack) * scale(stack))),
                |(_, lane, frame, stack)| {
                    format!("{}, {}: {}", lane.analyzed.title(), frame.label, duration(stack.phases[place]))
                },
            )?;
        }
    }
    Ok(())
}

/// In percent of a frame's time, verification apart: that comes after it.
fn shares(area: &Area<'_>, lanes: &[Lane<'_>], places: &Places<'_>) -> Drawn {
    let bars = bars(lanes, places);
    let stacks: Vec<&Stack> = bars.iter().map(|(_, _, _, stack)| stack).collect();
    let x = places.axis();
    let percents = (0..=5).map(|i| (f64::from(i) * 0.2, format!("{} %", i * 20))).collect();
    let y = Axis::marked("share of the duration", 0.0, 1.12, percents);
    let mut legend = legend(&stacks);
    legend.retain(|(_, name)| name != PHASES[4].0);
    let facts = vec!["first byte written to PROCESSED; verification is not part of it".to_owned()];
    let panel = Panel { title: "Shares".into(), facts, legend, ..Panel::default() };
    let chart = panel.draw(area, &x, &y)?;
    let is_crowded = places.is_crowded(lanes);
    for (middle, lane, _, stack) in &bars {
        let whole: f64 = stack.phases[..4].iter().sum();
        let mut foot = 0.0;
        for (share, (_, color)) in stack.phases[..4].iter().map(|ns| ns / whole).zip(PHASES) {
            if share <= 0.0 || !share.is_finite() {
                continue;
            }
            let corners = [(middle - HALF_WIDTH, y.at(foot + share)), (middle + HALF_WIDTH, y.at(foot))];
            chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, 1.0)))?;
            if share >= ROOM && !is_crowded {
                let label = format!("{:.0} %", share * 100.0);
                let on = if color == SKY { INK } else { PAPER };
                chart.inscribe((*middle, y.at(foot + share / 2.0)), &label, on)?;
            }
            foot += share;
        }
        if !is_crowded {
            lane.name_above(&chart, lanes, (*middle, y.at(1.0)), -4)?;
        }
    }
    for (place, (name, color)) in PHASES[..4].iter().enumerate() {
        let share = |stack: &Stack| stack.phases[place] / stack.phases[..4].iter().sum::<f64>();
        let below =
            |stack: &Stack| stack.phases[..place].iter().sum::<f64>() / stack.phases[..4].iter().sum::<f64>();
        let known: Vec<_> = bars.iter().filter(|(_, _, _, stack)| stack.phases[place] > 0.0).collect();
        if !known.is_empty() {
            chart.values(
                (name, *color),
                &known,
                |(middle, _, _, stack)| (*middle, y.at(below(stack) + share(stack) / 2.0)),
                |(_, lane, frame, stack)| {
                    format!("{}, {}: {:.1} %", lane.analyzed.title(), frame.label, share(stack) * 100.0)
                },
            )?;
        }
    }
    Ok(())
}
