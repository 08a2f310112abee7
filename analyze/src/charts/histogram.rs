//! latency_histogram.png: the body of the distribution on linear axes, all of it on logarithmic ones.

use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};

use super::Context;
use super::axis::{Axis, nanoseconds, plain};
use super::latencies::{Latencies, Series, counts, log_edges};
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, INK, ORANGE};
use crate::report::text::{duration, four_digits, grouped, plural};
use crate::stats::{Percentile, Sorted};

const LINEAR_BINS: u64 = 140;
const LOG_BINS_PER_DECADE: f64 = 40.0;
/// Rows for the percentiles' labels above a panel: one each, should all three crowd together.
const LABEL_ROWS: usize = 3;

pub(super) fn draw(area: &Area<'_>, latencies: &Latencies<'_>) -> Drawn {
    let series = latencies.processed();
    let (upper, lower) = area.split_vertically(area.dim_in_pixel().1 as i32 / 2);
    let words = latencies.quantity();
    linear(&upper, series, words, Context::of(latencies.analysis))?;
    logarithmic(&lower, series, words)
}

/// Percentiles the linear panel may end at, in hundredths, the furthest first.
const ENDS: [u32; 18] = [
    9_990, 9_900, 9_500, 9_000, 8_500, 8_000, 7_500, 7_000, 6_500, 6_000, 5_500, 5_000, 4_500, 4_000, 3_500,
    3_000, 2_750, 2_500,
];

/// Where the linear panel ends, and the name of that: the furthest of some percentiles that is not further from the
/// first quartile than forty times what the quickest quarter spans (or a twentieth of the quartile, where that is more).
/// That quarter meets no queue whatever the rest does, so neither a tail nor a backlog of most messages squeezes it
/// into one bin; and a body that is wide by itself is wide in its quickest quarter, too.
pub(super) fn body_end(samples: &Sorted<u64>) -> (u64, String) {
    let rank = |hundredths| {
        Percentile::from_hundredths(hundredths).and_then(|p| samples.nearest_rank(p)).unwrap_or(0)
    };
    let quarter = rank(2_500);
    let scale = (quarter - rank(100)).max(quarter / 20).max(1);
    let fence = quarter.saturating_add(scale.saturating_mul(40));
    let chosen = ENDS.into_iter().find(|hundredths| rank(*hundredths) <= fence).unwrap_or(2_500);
    let (end, max) = (rank(chosen), rank(10_000));
    // A tail that would lengthen the panel by a quarter at most is not worth cutting.
    if max <= end.saturating_add((end - rank(1)) / 4) {
        return (max, "max".into());
    }
    (end, Percentile::from_hundredths(chosen).map_or_else(String::new, Percentile::name))
}

fn linear(area: &Area<'_>, series: &[Series], [title, time]: [&str; 2], context: Context) -> Drawn {
    let low = series.iter().map(Series::min).min().unwrap_or(0);
    let ends: Vec<(u64, String)> = series.iter().map(|s| body_end(&s.sorted)).collect();
    let high = ends.iter().map(|(end, _)| *end).max().unwrap_or(1).max(low);
    let bin = ((high - low) / LINEAR_BINS + 1).max(1);
    let bins = ((high - low) / bin + 1) as usize;

    let edges: Vec<f64> = (0..=bins as u64).map(|i| low as f64 + (i * bin) as f64).collect();
    let mut facts = Vec::new();
    let mut heights = Vec::new();
    let mut part = "the body";
    for (one, (end, name)) in series.iter().zip(&ends) {
        let counts = counts(&one.sorted, &edges);
        let beyond = one.sorted.as_slice().len() as u64 - counts.iter().sum::<u64>();
        let total = one.sorted.as_slice().len() as f64;
        if one.is_main && beyond as f64 > total / 2.0 {
            part = "the quickest of it";
        }
        if beyond > 0 {
            // The panel is as wide as the widest body.
            let until = if *end == high { format!("ends at {name}; ") } else { String::new() };
            facts.push(format!(
                "{}: {until}{} of {} ({:.3} %) lie right of this panel, up to {}; the panel below shows all",
                one.name,
                plural(beyond, "message"),
                grouped(total as u64),
                beyond as f64 * 100.0 / total,
                duration(one.max() as f64)
            ));
        }
        heights.push(counts.iter().map(|c| *c as f64 * 100.0 / total).collect::<Vec<_>>());
    }

    let pad = ((bins as u64 * bin) as f64 * 0.02).max(5.0);
    let x = Axis::linear(
        &format!("{time} to PROCESSED, linear scale"),
        (low as f64 - pad).max(0.0),
        (low + bins as u64 * bin) as f64 + pad,
        nanoseconds,
    );
    let peak = heights.iter().flatten().copied().fold(0.0, f64::max);
    let y =
        Axis::linear(&format!("% of messages per {} bin", nanoseconds(bin as f64)), 0.0, peak * 1.05, plain);
    let panel = Panel {
        title: format!("{title}: {part}"),
        context: Some(context),
        facts,
        legend: legend(series),
        headroom: 2 + 17 * LABEL_ROWS as i32,
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    for (one, heights) in series.iter().zip(&heights) {
        one.draw_bins(&chart, &x, &y, &edges, heights)?;
        one.say_bins(&chart, &x, &y, &edges, heights, |share| format!("{} %", four_digits(share)))?;
    }
    mark_percentiles(&chart, &x, &y, series)
}

fn logarithmic(area: &Area<'_>, series: &[Series], [title, time]: [&str; 2]) -> Drawn {
    let low = series.iter().map(Series::min).min().unwrap_or(1).max(1);
    let high = series.iter().map(Series::max).max().unwrap_or(1).max(low);
    let edges = log_edges(low, high, 10_f64.powf(1.0 / LOG_BINS_PER_DECADE));
    let heights: Vec<Vec<f64>> = series
        .iter()
        .map(|one| counts(&one.sorted, &edges).into_iter().map(|count| count as f64).collect())
        .collect();
    let zeros = series.iter().map(|s| s.sorted.as_slice().partition_point(|v| *v == 0)).sum::<usize>() as u64;
    let mut facts =
        vec!["every message; both axes logarithmic, so a single one is as visible as the peak".to_owned()];
    if zeros > 0 {
        facts.push(format!("{} of 0 ns drawn in the first bin", plural(zeros, "message")));
    }
    let x = Axis::log(
        &format!("{time} to PROCESSED, log scale"),
        edges[0] / 1.05,
        edges[edges.len() - 1] * 1.05,
        nanoseconds,
    );
    let peak = heights.iter().flatten().copied().fold(1.0, f64::max);
    let y = Axis::log("messages per bin, log scale", 0.7, (peak * 1.6).max(12.0), |v| grouped(v as u64));
    let panel = Panel {
        title: format!("{title}: all of it"),
        facts,
        legend: legend(series),
        headroom: 2 + 17 * LABEL_ROWS as i32,
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    for (one, heights) in series.iter().zip(&heights) {
        one.draw_bins(&chart, &x, &y, &edges, heights)?;
        one.say_bins(&chart, &x, &y, &edges, heights, |count| plural(count as u64, "message"))?;
    }
    mark_percentiles(&chart, &x, &y, series)
}

fn legend(series: &[Series]) -> Vec<(Swatch, String)> {
    let swatch = |s: &Series| if s.is_main { Swatch::Block(BLUE, 0.75) } else { Swatch::Line(ORANGE) };
    series
        .iter()
        .map(|s| (swatch(s), format!("{}, {}", s.name, plural(s.sorted.as_slice().len() as u64, "message"))))
        .collect()
}

impl Series {
    /// The bins' values, for a reader who points at them.
    fn say_bins(
        &self,
        chart: &Chart<'_>,
        x: &Axis,
        y: &Axis,
        edges: &[f64],
        heights: &[f64],
        height_of: impl Fn(f64) -> String,
    ) -> Drawn {
        let bins: Vec<_> = edges.windows(2).zip(heights).filter(|(_, height)| **height > 0.0).collect();
        let place =
            |(edges, height): &(&[f64], &f64)| ((x.at(edges[0]) + x.at(edges[1])) / 2.0, y.at(**height));
        let text = |(edges, height): &(&[f64], &f64)| {
            // Samples are whole nanoseconds, and the upper edge is the next bin's.
            let (first, last) = (edges[0], edges[1] - 1.0);
            let range = if last > first {
                format!("{} – {}", duration(first), duration(last))
            } else {
                duration(first)
            };
            format!("{range}: {}", height_of(**height))
        };
        chart.values((&self.name, self.color), &bins, place, text)
    }

    /// The main run as filled bins, the baseline as an outline over them.
    fn draw_bins(&self, chart: &Chart<'_>, x: &Axis, y: &Axis, edges: &[f64], heights: &[f64]) -> Drawn {
        let area = chart.plotting_area();
        let floor = y.at(y.low());
        if self.is_main {
            for (edge, height) in edges.windows(2).zip(heights).filter(|(_, height)| **height > 0.0) {
                let corners = [(x.at(edge[0]), y.at(*height)), (x.at(edge[1]), floor)];
                area.draw(&Rectangle::new(corners, style::fill(BLUE, 0.75)))?;
            }
            return Ok(());
        }
        let mut outline = vec![(x.at(edges[0]), floor)];
        for (edge, height) in edges.windows(2).zip(heights) {
            outline.extend([(x.at(edge[0]), y.at(*height)), (x.at(edge[1]), y.at(*height))]);
        }
        outline.push((x.at(edges[edges.len() - 1]), floor));
        area.draw(&PathElement::new(outline, style::line(ORANGE, 2)))?;
        Ok(())
    }
}

/// Dashed lines at the main run's percentiles, with their values above the plot in as many rows as they need.
fn mark_percentiles(chart: &Chart<'_>, x: &Axis, y: &Axis, all: &[Series]) -> Drawn {
    let Some(series) = all.first() else { return Ok(()) };
    let whose = if all.len() > 1 { format!("{} ", series.short) } else { String::new() };
    // Where the last label of each row starts, and a label's room: a share of the axis.
    let room = 0.12 + 0.008 * whose.len() as f64;
    let mut taken = [f64::NEG_INFINITY; LABEL_ROWS];
    for percentile in [Percentile::P50, Percentile::P99, Percentile::P99_9] {
        let Some(value) = series.sorted.percentile(percentile) else { continue };
        let value = value as f64;
        if value > x.high() || value < x.low() {
            continue;
        }
        let position = x.at(value);
        chart.dashed_vertical(position, (y.part(0.0), y.part(1.0)), style::line(INK, 1))?;
        let share = (position - x.part(0.0)) / (x.part(1.0) - x.part(0.0));
        let anchor = if share > 0.9 { HPos::Right } else { HPos::Left };
        let row = taken.iter().position(|last| share - last >= room).unwrap_or(LABEL_ROWS - 1);
        taken[row] = share;
        let label = format!("{whose}{} = {}", percentile.name(), duration(value));
        chart.note(
            (position, y.part(1.0)),
            (0, -3 - 17 * row as i32),
            (anchor, VPos::Bottom),
            &label,
            INK,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linear_panel_ends_where_the_body_does() {
        let body: Vec<u64> = (0..10_000).map(|i| 120 + i % 21).collect();
        let end = |samples| body_end(&Sorted::new(samples));
        assert_eq!(end(body.clone()), (140, "max".into()));
        let tailed = body.into_iter().chain((0..300).map(|i| 1_000 + i * 100)).collect();
        assert_eq!(end(tailed), (140, "p95".into()));
        assert_eq!(end(vec![130; 5]).0, 130);
        assert_eq!(end(vec![u64::MAX]).0, u64::MAX);
        assert_eq!(end(vec![0; 5]).0, 0);
    }

    #[test]
    fn a_backlog_of_half_the_messages_does_not_squeeze_the_others_into_one_bin() {
        // As an open loop above what the link does: four decades between those that met no queue and those that did.
        let quick = (0..10_000_u64).map(|i| 400 + i % 50);
        let queued = (0..11_000_u64).map(|i| 50_000 + i * 700);
        let (end, name) = body_end(&Sorted::new(quick.chain(queued).collect()));
        // The 9,450th of 21,000.
        assert_eq!((end, name.as_str()), (447, "p45"));
        // A body that is wide by itself is not cut.
        assert_eq!(body_end(&Sorted::new((1..10_000).collect())), (9_999, "max".into()));
    }
}
