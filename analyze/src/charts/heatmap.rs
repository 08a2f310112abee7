//! latency_heatmap.png: how densely messages lie, by time and latency. It shows what an average over time hides: two
//! levels at once, a level that moves, and what comes back regularly.

use plotters::element::Rectangle;
use plotters::style::RGBColor;

use super::Context;
use super::axis::{Axis, nanoseconds};
use super::latencies::{Column, Latencies};
use super::over_time::draw_marks;
use super::panel::{Panel, Swatch};
use super::style::{self, Area, Drawn, INK, VERMILLION};
use crate::report::text::{duration, grouped, plural};

/// Columns of the map: each four pixels wide.
const COLUMNS: usize = 270;
/// Messages a column has at least, where there are that many in all: a share of fewer says little.
const COLUMN_LEAST: u64 = 20;

/// One hue from light to dark, so that density is seen as lightness with any colour vision: Brewer's "Blues" (2003), without
/// those too pale for a single cell on white. Up to which share of its column's messages a cell has each.
const SCALE: [(f64, RGBColor, &str); 5] = [
    (0.01, RGBColor(107, 174, 214), "up to 1 %"),
    (0.03, RGBColor(66, 146, 198), "3 %"),
    (0.1, RGBColor(33, 113, 181), "10 %"),
    (0.3, RGBColor(8, 81, 156), "30 %"),
    (f64::INFINITY, RGBColor(8, 32, 77), "more of its group"),
];
/// A cell with one message.
const SINGLE: RGBColor = RGBColor(158, 202, 225);

/// Neighbouring columns as one.
struct Group {
    left: u64,
    right: u64,
    count: u64,
    cells: Vec<u64>,
    median_ns: u64,
    max_ns: u64,
}

pub(super) fn draw(area: &Area<'_>, latencies: &Latencies<'_>) -> Drawn {
    let analysis = latencies.analysis;
    let Some(latency) = &analysis.main.run.latency else { return Ok(()) };
    let groups = groups(latencies.columns().first().map_or(&[], Vec::as_slice));
    let edges = latencies.row_edges();
    let (low, high) = (edges[0], edges[edges.len() - 1]);

    let [title, time] = latencies.quantity();
    let range = latencies.iterations();
    let x = Axis::whole("message (iteration)", *range.start() as f64, *range.end() as f64 + 1.0, |v| {
        grouped(v as u64)
    });
    // The foot of the plot is kept free for the marks of failures.
    let foot = low / (high / low).powf(0.08).max(1.02);
    let y = Axis::log(&format!("{time} to PROCESSED, log scale"), foot, high * 1.02, nanoseconds);
    let size = groups.first().map_or(1, |group| group.count);
    let mut legend = vec![(Swatch::Block(SINGLE, 1.0), "one message".to_owned())];
    legend.extend(SCALE.iter().map(|(_, color, name)| (Swatch::Block(*color, 1.0), (*name).to_owned())));
    if !latency.failures.is_empty() {
        legend.push((Swatch::Tick(VERMILLION), format!("{} failed", grouped(latency.failures.count()))));
    }
    if !latency.gaps.is_empty() {
        legend.push((Swatch::Tick(INK), format!("{} lost", grouped(latency.lost()))));
    }
    let panel = Panel {
        title: format!("{title}: density over time"),
        context: Some(Context::of(analysis)),
        facts: vec![format!(
            "{} of {} in groups of {}; a cell's colour: its share of its group's messages",
            plural(latency.samples.len() as u64, "ok message"),
            analysis.main.title(),
            grouped(size)
        )],
        legend,
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    // One colour after the other, so that each is one path in an SVG.
    let all = std::iter::once(SINGLE).chain(SCALE.iter().map(|(_, color, _)| *color));
    for color in all {
        for row in 0..edges.len() - 1 {
            let heights = (y.at(edges[row + 1]), y.at(edges[row]));
            let is_it = |group: &Group| color_of(group, row) == Some(color);
            // Neighbours of one colour are one block.
            for run in groups.chunk_by(|a, b| is_it(a) == is_it(b)).filter(|run| is_it(&run[0])) {
                let (left, right) = (x.at(run[0].left as f64), x.at(run[run.len() - 1].right as f64));
                let corners = [(left, heights.0), (right, heights.1)];
                chart.plotting_area().draw(&Rectangle::new(corners, style::fill(color, 1.0)))?;
            }
        }
    }
    draw_marks(&chart, &x, &y, latency.failures.places.iter().map(|g| g.first..=g.last), VERMILLION)?;
    draw_marks(&chart, &x, &y, latency.gaps.iter().map(|g| g.first..=g.last), INK)?;
    let place = |g: &Group| (x.at((g.left + g.right) as f64 / 2.0), y.at(g.median_ns as f64));
    let text = |g: &Group| {
        let (first, last) = (grouped(g.left), grouped(g.right - 1));
        let (median, most) = (duration(g.median_ns as f64), duration(g.max_ns as f64));
        format!("{first} – {last}: median about {median}, slowest {most}")
    };
    chart.values((&analysis.main.title(), SCALE[2].1), &groups, place, text)
}

fn color_of(group: &Group, row: usize) -> Option<RGBColor> {
    match group.cells[row] {
        0 => None,
        1 => Some(SINGLE),
        count => {
            let share = count as f64 / group.count as f64;
            SCALE.iter().find(|(most, _, _)| share <= *most).map(|(_, color, _)| *color)
        }
    }
}

fn groups(columns: &[Column]) -> Vec<Group> {
    let total: u64 = columns.iter().map(|column| column.count).sum();
    let each = total.div_ceil(columns.len().max(1) as u64).max(1);
    let size = columns.len().div_ceil(COLUMNS).max(COLUMN_LEAST.div_ceil(each) as usize);
    let group = |columns: &[Column]| {
        let mut cells = vec![0; columns.first()?.cells.len()];
        for column in columns {
            cells.iter_mut().zip(&column.cells).for_each(|(sum, cell)| *sum += u64::from(*cell));
        }
        let mut medians: Vec<u64> = columns.iter().map(|column| column.median_ns).collect();
        medians.sort_unstable();
        Some(Group {
            left: *columns.first()?.iterations.start(),
            right: columns.last()?.iterations.end().saturating_add(1),
            count: columns.iter().map(|column| column.count).sum(),
            cells,
            median_ns: medians[(medians.len() - 1) / 2],
            max_ns: columns.iter().map(|column| column.max_ns).max()?,
        })
    };
    columns.chunks(size.max(1)).filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(first: u64, count: u64, cells: Vec<u32>) -> Column {
        Column {
            iterations: first..=first + count - 1,
            count,
            min_ns: 1,
            p10_ns: 1,
            median_ns: first,
            p90_ns: 9,
            max_ns: first * 10,
            cells,
        }
    }

    #[test]
    fn groups_have_enough_messages_and_lose_none() {
        let columns: Vec<Column> = (0..30).map(|i| column(1 + i * 3, 3, vec![2, 1])).collect();
        let groups = groups(&columns);
        assert!(groups.iter().take(groups.len() - 1).all(|group| group.count >= COLUMN_LEAST));
        assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), 90);
        assert_eq!(groups.iter().map(|group| group.cells.iter().sum::<u64>()).sum::<u64>(), 90);
        assert!(groups.windows(2).all(|pair| pair[0].right == pair[1].left));
        let many: Vec<Column> = (0..540).map(|i| column(1 + i * 100, 100, vec![100])).collect();
        assert_eq!(super::groups(&many).len(), 270);
        assert!(super::groups(&[]).is_empty());
    }

    #[test]
    fn a_cell_is_as_dark_as_its_share() {
        let group = |cells| Group { left: 0, right: 1, count: 1_000, cells, median_ns: 1, max_ns: 1 };
        let group = group(vec![0, 1, 2, 10, 11, 300, 301, 1_000]);
        let colors: Vec<_> = (0..8).map(|row| color_of(&group, row)).collect();
        let scale = SCALE.map(|(_, color, _)| Some(color));
        assert_eq!(colors, [None, Some(SINGLE), scale[0], scale[0], scale[1], scale[3], scale[4], scale[4]]);
    }
}
