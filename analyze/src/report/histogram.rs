//! A histogram for a terminal: time on a logarithmic axis, messages as bars, p50 and p99 marked below.

use super::text::{WIDTH, duration, grouped};
use crate::analysis::Analyzed;
use crate::stats::{Percentile, Sorted};

/// Rows of bars; each has eight heights.
const HEIGHT: usize = 4;
/// Columns at most, less the margin on either side.
const COLUMNS: usize = WIDTH - 4;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The histogram of the times to PROCESSED of a run; empty without samples.
pub(super) fn section(analyzed: &Analyzed) -> String {
    analyzed.processed.as_deref().map_or_else(String::new, draw)
}

/// A line of words, the bars, the axis and its labels.
fn draw(sorted: &Sorted<u64>) -> String {
    let all = sorted.as_slice();
    let [Some(min), Some(max)] = [all.first(), all.last()].map(Option::<&u64>::copied) else {
        return String::new();
    };
    if min == max {
        return String::new();
    }
    let end = end(sorted, min, max);
    let shown = &all[..all.partition_point(|ns| *ns <= end)];
    let bars = Bars::of(shown, end);
    let tallest = bars.densities.iter().copied().fold(0.0, f64::max);
    let heights: Vec<usize> = bars.densities.iter().map(|density| height(*density, tallest)).collect();
    let mut out = String::from("\n  Messages by time, logarithmic axis\n");
    for row in (0..HEIGHT).rev() {
        let bars: String =
            heights.iter().map(|height| BLOCKS[height.saturating_sub(row * 8).min(8)]).collect();
        out += format!("  {bars}").trim_end();
        out.push('\n');
    }
    let column = |ns: u64| bars.edges.partition_point(|edge| *edge <= ns).saturating_sub(1);
    let marks = [(Percentile::P50, "p50"), (Percentile::P99, "p99")];
    let marks: Vec<(usize, &str)> =
        marks.iter().filter_map(|(p, name)| Some((column(sorted.percentile(*p)?), *name))).collect();
    out += &axis(bars.edges.len(), &marks);
    out += &labels(bars.edges.len(), &marks, min, end);
    let beyond = all.len() - shown.len();
    if beyond > 0 {
        let (count, end, max) = (grouped(beyond as u64), duration(end as f64), duration(max as f64));
        out += &format!("  {count} beyond {end}, the longest {max}\n");
    }
    out
}

/// Where the axis ends: p99 stands in its middle or behind it, so that a far tail does not press the body into a bar or two.
fn end(sorted: &Sorted<u64>, min: u64, max: u64) -> u64 {
    let low = min.max(1) as f64;
    let p99 = sorted.nearest_rank(Percentile::P99).map_or(low, |ns| ns.max(1) as f64);
    let end = (p99 * p99 / low).max(low * 1.25).ceil();
    if end >= max as f64 { max } else { end as u64 }
}

/// Equal steps of the logarithm.
struct Bars {
    /// Where each begins, in whole nanoseconds, which is the unit of the file.
    edges: Vec<u64>,
    /// Messages in each, made up for the part of its step that whole nanoseconds do not fill.
    densities: Vec<f64>,
}

impl Bars {
    fn of(sorted: &[u64], end: u64) -> Self {
        let min = sorted.first().copied().unwrap_or(0);
        let (low, high) = (min.max(1) as f64, end as f64 + 1.0);
        // No bar is narrower than a nanosecond, and few messages make few bars.
        let narrowest = (1.0 + 1.0 / low).ln();
        let fitting = ((high / low).ln() / narrowest).floor() as usize;
        let worth = (sorted.len() as f64).sqrt() as usize * 2;
        let columns = fitting.min(worth.max(8)).clamp(1, COLUMNS);
        let at = |column: usize| low * (high / low).powf(column as f64 / columns as f64);
        let mut steps: Vec<(u64, f64)> =
            (0..columns).map(|column| (at(column).round() as u64, at(column))).collect();
        steps[0].0 = min;
        steps.dedup_by_key(|step| step.0);
        let ends = steps.iter().copied().skip(1).chain(std::iter::once((end.saturating_add(1), high)));
        let below = |edge: u64| sorted.partition_point(|ns| *ns < edge);
        let density = |((from, low), (to, high)): (&(u64, f64), (u64, f64))| {
            (below(to) - below(*from)) as f64 * (high - low) / (to - from) as f64
        };
        let densities = steps.iter().zip(ends).map(density).collect();
        Self { edges: steps.iter().map(|step| step.0).collect(), densities }
    }
}

/// In eighths of a row; a bar with a single message is seen.
fn height(density: f64, tallest: f64) -> usize {
    let full = (HEIGHT * 8) as f64;
    if density > 0.0 { ((density / tallest * full).round() as usize).max(1) } else { 0 }
}

fn axis(columns: usize, marks: &[(usize, &str)]) -> String {
    let is_mark = |column: usize| marks.iter().any(|(at, _)| *at == column);
    let line: String = (0..columns).map(|column| if is_mark(column) { '┴' } else { '─' }).collect();
    format!("  {line}\n")
}

/// The ends of the axis, and the marks' names between them where there is room.
fn labels(columns: usize, marks: &[(usize, &str)], min: u64, max: u64) -> String {
    let (first, last) = (duration(min as f64), duration(max as f64));
    let width = columns.max(first.chars().count() + last.chars().count() + 12);
    let mut line: Vec<char> = vec![' '; width];
    let mut put = |at: usize, text: &str| {
        let end = at + text.chars().count();
        // A blank on either side keeps words apart.
        let around = at.saturating_sub(1)..(end + 1).min(width);
        if end <= width && line[around].iter().all(|c| *c == ' ') {
            line.splice(at..end, text.chars());
        }
    };
    put(0, &first);
    put(width - last.chars().count(), &last);
    for (at, name) in marks {
        put(at.saturating_sub(1), name);
    }
    // What had no room below the axis is said behind it.
    let missing: Vec<&str> = marks.iter().map(|(_, name)| *name).collect();
    let text: String = line.iter().collect();
    let missing: Vec<&str> = missing.into_iter().filter(|name| !text.contains(name)).collect();
    let note = if missing.is_empty() { String::new() } else { format!("  (┴ {})\n", missing.join(", ")) };
    format!("  {}\n{note}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(samples: Vec<u64>) -> String {
        draw(&Sorted::new(samples))
    }

    #[test]
    fn every_message_is_in_a_bar() {
        let sorted = Sorted::new((0..5_000_u64).map(|i| 100_000 + i * i % 7_919_000).collect());
        let bars = Bars::of(sorted.as_slice(), *sorted.as_slice().last().unwrap());
        // Whole nanoseconds fill steps of thousands of them to a permille.
        let sum: f64 = bars.densities.iter().sum();
        assert!((sum - 5_000.0).abs() < 10.0, "{sum}");
        assert!(bars.edges.len() == COLUMNS && bars.edges.is_sorted());
    }

    #[test]
    fn a_bar_of_two_nanoseconds_is_no_higher_for_it() {
        // A message at each nanosecond: on a logarithmic axis the bars rise, and do nothing else.
        let samples: Vec<u64> = (0..20).flat_map(|_| 130..=170).collect();
        let bars = Bars::of(Sorted::new(samples).as_slice(), 170);
        assert!(bars.edges.windows(2).any(|pair| pair[1] - pair[0] == 2), "{:?}", bars.edges);
        assert!(bars.densities.is_sorted(), "{:?}", bars.densities);
    }

    #[test]
    fn a_far_tail_is_counted_and_the_body_seen() {
        let out = drawn(std::iter::repeat_n(150, 1_000).chain(140..160).chain([1_000_000]).collect());
        assert!(out.ends_with("\n  1 beyond 175 ns, the longest 1.000 ms\n"), "{out}");
        assert!(out.contains("140 ns") && out.contains("p50"), "{out}");
    }

    #[test]
    fn nothing_is_drawn_of_equal_samples_or_none() {
        assert_eq!(drawn(vec![]), "");
        assert_eq!(drawn(vec![7; 100]), "");
        // Zero has no logarithm, but its place.
        assert!(drawn((0..100).collect()).contains("0 ns"));
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        for samples in [vec![1, 2], vec![0, u64::MAX], (1..1_000).collect(), vec![5, 6, 7, 8_000_000_000]] {
            let out = drawn(samples);
            assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        }
    }
}
