//! doorbell_latency_vs_cpu.png: what each way to wait takes of a message's time and of the CPUs'.

use plotters::element::Text;

use super::axis::{Axis, nanoseconds};
use super::doorbell::{Looks, heading};
use super::mark::{Mark, RADIUS, Shape};
use super::panel::{Panel, Swatch};
use super::style::{self, Area, Drawn, GREY, VERMILLION, px};
use crate::analysis::Analysis;
use crate::doorbell::{Cell, Percentiles};
use crate::report::text::duration;

/// A cell that has a place in the picture.
struct Point<'a> {
    cell: &'a Cell,
    cpu_ns: f64,
    rtt: Percentiles,
}

pub(super) fn draw(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let Some(doorbells) = &analysis.doorbells else { return Ok(()) };
    let looks = Looks::of(doorbells);
    let point = |cell| -> Option<Point<'_>> {
        let cell: &Cell = cell;
        let cpu_ns = cell.cpu_ns_per_message().filter(|ns| *ns > 0.0)?;
        looks.of_cell(cell)?;
        Some(Point { cell, cpu_ns, rtt: cell.percentiles()? })
    };
    let points: Vec<Point<'_>> = doorbells.cells.iter().filter_map(point).collect();
    let mut facts = vec![
        "mark: p50, whisker: to p99; lines join the rates of one way to wait, which stand beside idle marks"
            .to_owned(),
    ];
    if points.iter().any(|point| point.cell.other_cpu_ns_per_message().is_none()) {
        facts.push("where the guest's CPU time is not known: the host's thread only".into());
    }
    let left_out = doorbells.cells.len() - points.len();
    if left_out > 0 {
        facts.push(format!(
            "{left_out} of {} cells are not here: too few messages, no CPU time, or too many ways",
            doorbells.cells.len()
        ));
    }
    facts.extend(looks.left_out());
    let legend = looks.legend(
        doorbells,
        |color, shape, _| Swatch::Marked(color, Mark { shape, is_full: true }),
        |_, is_idle| {
            let mark = Mark { shape: Shape::Circle, is_full: is_idle };
            (Swatch::Marked(GREY, mark), if is_idle { "full" } else { "outline" }.to_owned())
        },
    );
    let title = looks.title("Latency against CPU time, by way to wait (guest/host)");
    let top = heading(area, doorbells, (&title, &facts), &legend)?;
    // The panel has no title of its own.
    let below = area.clone().margin(top - px(20), 0, 0, 0);
    if points.is_empty() {
        let sentence = "Nothing to draw: no cell has both a median and CPU time";
        below.draw(&Text::new(sentence, (px(40), px(40)), style::bold(24, VERMILLION)))?;
        return Ok(());
    }

    let range = |of: &dyn Fn(&Point<'_>) -> f64| points.iter().map(of).fold(f64::INFINITY, f64::min);
    let (least_cpu, least_ns) = (range(&|p| p.cpu_ns), range(&|p| p.rtt.p50_ns.max(1) as f64));
    let most_cpu = points.iter().map(|p| p.cpu_ns).fold(0.0, f64::max);
    let most_ns =
        points.iter().map(|p| p.rtt.p99_ns.unwrap_or(0).max(p.rtt.p50_ns) as f64).fold(0.0, f64::max);
    let x = Axis::log(
        "CPU time a message, host's thread and guest's (vCPUs, or its thread), log scale",
        least_cpu / 2.0,
        most_cpu * 3.0,
        nanoseconds,
    );
    let y = Axis::log("round trip, log scale", least_ns / 2.0, most_ns * 2.0, nanoseconds);
    let chart = Panel::default().draw(&below, &x, &y)?;
    let place = |point: &Point<'_>| (x.at(point.cpu_ns), y.at(point.rtt.p50_ns as f64));

    for (index, first) in points.iter().enumerate() {
        let joined = |p: &&Point<'_>| p.cell.name() == first.cell.name() && p.cell.load == first.cell.load;
        let Some((color, _, dash)) = looks.of_cell(first.cell) else { continue };
        if !points[..index].iter().any(|p| joined(&p)) {
            dash.draw(
                chart.plotting_area(),
                points.iter().filter(joined).map(place).collect(),
                style::line(color, 1),
            )?;
        }
    }
    for (index, first) in points.iter().enumerate() {
        let like = |p: &&Point<'_>| p.cell.name() == first.cell.name() && p.cell.load == first.cell.load;
        let Some((color, _, _)) = looks.of_cell(first.cell) else { continue };
        if !points[..index].iter().any(|p| like(&p)) {
            let all: Vec<&Point<'_>> = points.iter().filter(like).collect();
            let name = format!("{}, {}", first.cell.name(), first.cell.load);
            let text = |p: &&Point<'_>| {
                let (p50, cpu) = (duration(p.rtt.p50_ns as f64), duration(p.cpu_ns));
                format!("{}: p50 {p50}, {cpu} of CPU time a message", p.cell.rate())
            };
            chart.values((&name, color), &all, |p| place(p), text)?;
        }
    }
    let mut taken = Vec::new();
    for point in &points {
        let Some((color, mark, _)) = looks.of_cell(point.cell) else { continue };
        if let Some(p99_ns) = point.rtt.p99_ns {
            let (at, foot) = place(point);
            chart.whisker(at, (foot, y.at(p99_ns as f64)), style::line(color, 1))?;
        }
        chart.mark(place(point), mark, color)?;
        taken.push(chart.place_of(place(point), RADIUS));
    }
    for point in points.iter().filter(|point| is_named(point, &points)) {
        let name = format!("{} {}", point.cell.rate(), looks.load_beyond_one(point.cell));
        chart.note_beside(place(point), name.trim_end(), &mut taken)?;
    }
    Ok(())
}

/// Whether a point has its rate beside it: idle ones, and those of which there is no idle one, which would lie close by.
fn is_named(point: &Point<'_>, points: &[Point<'_>]) -> bool {
    let is_idle_twin = |other: &Point<'_>| {
        let (one, other) = (point.cell, other.cell);
        other.is_idle() && other.rate_per_s == one.rate_per_s && other.name() == one.name()
    };
    point.cell.is_idle() || !points.iter().any(is_idle_twin)
}
