//! latency_over_time.png: latency by iteration, and where messages failed or left no row.

use std::ops::RangeInclusive;

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::RGBColor;

use super::axis::{Axis, nanoseconds};
use super::panel::{Chart, Panel, Swatch};
use super::style::{self, Area, BLUE, Drawn, INK, ORANGE, SKY, VERMILLION, px};
use super::{Context, Series, comparable_baseline, quantity};
use crate::analysis::{Analysis, Analyzed};
use crate::input::{Latency, Sample, Samples};
use crate::report::text::{grouped, plural};
use crate::stats::{Percentile, Sorted};

/// Columns of the plot that hold one bucket each, if there are more messages than that.
const BUCKETS: usize = 540;

/// Opacity of a group's whole range, and of its p10 to p90 over that; together 0.55.
const RANGE_SHADE: f64 = 0.25;
const BODY_SHADE: f64 = 0.4;

/// Neighbouring messages drawn as one.
struct Bucket {
    iterations: RangeInclusive<u64>,
    min_ns: u64,
    p10_ns: u64,
    median_ns: u64,
    p90_ns: u64,
    max_ns: u64,
}

pub(super) fn draw(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let Some(latency) = &analysis.main.run.latency else { return Ok(()) };
    let baseline = comparable_baseline(analysis).and_then(|b| Some((b, b.run.latency.as_ref()?)));
    let bucketed = latency.samples.len() > 2 * BUCKETS;

    let [title, time] = quantity(analysis);
    let range = iterations(latency);
    let series = Series::processed(analysis);
    let low = series.iter().map(Series::min).min().unwrap_or(1).max(1) as f64;
    let high = series.iter().map(Series::max).max().unwrap_or(1) as f64;
    let x = Axis::linear("message (iteration)", *range.start() as f64, *range.end() as f64, |v| {
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
        Axis::linear(
            &format!("{time} to PROCESSED"),
            (low - (high - low).max(2.0) * 0.15).max(0.0),
            high + (high - low).max(2.0) * 0.1,
            nanoseconds,
        )
    };
    let panel = Panel {
        title: format!("{title} over time"),
        context: Some(Context::of(analysis)),
        facts: vec![how_drawn(latency, bucketed)],
        legend: legend(&analysis.main, latency, baseline.map(|(b, _)| b), bucketed),
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;

    if bucketed {
        draw_band(&chart, &x, &y, &buckets(&latency.samples))?;
    } else {
        for sample in &latency.samples {
            let place = (x.at(sample.iteration as f64), y.at(sample.processed_ns as f64));
            chart.plotting_area().draw(&Circle::new(place, px(3), style::fill(BLUE, 0.8)))?;
        }
    }
    if let Some((_, baseline)) = baseline {
        draw_medians(&chart, &x, &y, &buckets(&baseline.samples), ORANGE)?;
    }
    let failed = latency.failures.places.iter().map(|g| g.first..=g.last);
    draw_marks(&chart, &x, &y, failed, VERMILLION)?;
    draw_marks(&chart, &x, &y, latency.gaps.iter().map(|g| g.first..=g.last), INK)
}

fn iterations(latency: &Latency) -> RangeInclusive<u64> {
    let all = || {
        let absent = latency.gaps.iter().chain(latency.failures.places.iter());
        latency.samples.iterations().chain(absent.flat_map(|g| [g.first, g.last]))
    };
    all().min().unwrap_or(0)..=all().max().unwrap_or(1)
}

fn how_drawn(latency: &Latency, bucketed: bool) -> String {
    let count = plural(latency.samples.len() as u64, "ok message");
    if !bucketed {
        return format!("{count}, a dot each");
    }
    let size = latency.samples.len().div_ceil(BUCKETS);
    format!(
        "{count} in groups of {size}: pale from each group's fastest to its slowest, so every extreme shows; darker \
         from p10 to p90; a dash at its median"
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

fn buckets(samples: &Samples) -> Vec<Bucket> {
    let size = samples.len().div_ceil(BUCKETS).max(1);
    let bucket = |group: &[Sample]| {
        let sorted = Sorted::new(group.iter().map(|s| s.processed_ns).collect());
        let nearest = |hundredths| sorted.nearest_rank(Percentile::from_hundredths(hundredths)?);
        Some(Bucket {
            iterations: group.first()?.iteration..=group.last()?.iteration,
            min_ns: *sorted.as_slice().first()?,
            p10_ns: nearest(1_000)?,
            median_ns: sorted.median()?,
            p90_ns: nearest(9_000)?,
            max_ns: *sorted.as_slice().last()?,
        })
    };
    let mut all = samples.iter();
    std::iter::from_fn(|| bucket(&all.by_ref().take(size).collect::<Vec<_>>())).collect()
}

fn draw_band(chart: &Chart<'_>, x: &Axis, y: &Axis, buckets: &[Bucket]) -> Drawn {
    for bucket in buckets {
        let left = x.at(*bucket.iterations.start() as f64);
        let right = x.at(*bucket.iterations.end() as f64 + 1.0);
        for (high, low, shade) in
            [(bucket.max_ns, bucket.min_ns, RANGE_SHADE), (bucket.p90_ns, bucket.p10_ns, BODY_SHADE)]
        {
            let corners = [(left, y.at(high as f64)), (right, y.at(low as f64))];
            chart.plotting_area().draw(&Rectangle::new(corners, style::fill(SKY, shade)))?;
        }
    }
    draw_medians(chart, x, y, buckets, BLUE)
}

fn draw_medians(chart: &Chart<'_>, x: &Axis, y: &Axis, buckets: &[Bucket], color: RGBColor) -> Drawn {
    // A dash each and no line between them: medians that jump would fill the plot with lines nobody measured.
    for bucket in buckets.iter().filter(|b| *b.iterations.start() as f64 <= x.high()) {
        let height = y.at(bucket.median_ns as f64);
        let ends =
            [bucket.iterations.start(), bucket.iterations.end()].map(|end| (x.at(*end as f64), height));
        chart.plotting_area().draw(&PathElement::new(ends, style::line(color, 2)))?;
    }
    Ok(())
}

/// A tick, or a bar for a long range, at the foot of the plot for each range of iterations.
fn draw_marks(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_lose_no_extreme() {
        let samples: Samples = (1..=10_000)
            .map(|i| Sample {
                iteration: i,
                processed_ns: if i == 7_777 { 50_000 } else { 130 },
                received_ns: None,
                send_delay_ns: None,
                to_guest_ns: None,
                to_host_ns: None,
            })
            .collect();
        let buckets = buckets(&samples);
        assert!(buckets.len() <= BUCKETS);
        assert_eq!(buckets.iter().map(|b| b.max_ns).max(), Some(50_000));
        assert_eq!(buckets.iter().map(|b| b.iterations.clone().count()).sum::<usize>(), 10_000);
        assert!(buckets.iter().all(|b| b.median_ns == 130));
    }
}
