//! Axes: a range of values, linear or logarithmic, with labelled marks.
//!
//! Plotters draws on the transformed value, so linear and logarithmic axes are of one type.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use crate::report::text::unit_of_time;

/// The coordinate plotters draws on: positions, with lines where the axis wants them.
#[derive(Debug, Clone)]
pub(super) struct Coord {
    range: Range<f64>,
    marks: Vec<f64>,
    minor: Vec<f64>,
}

impl Ranged for Coord {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (position - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.minor.clone() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// From values to positions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    /// Position is the decimal logarithm.
    Log,
}

/// One axis. Values are in the unit of the data, marks too.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) title: String,
    scale: Scale,
    low: f64,
    high: f64,
    marks: Vec<(f64, String)>,
    /// Faint lines without a label.
    minor: Vec<f64>,
}

/// Linear marks wanted on an axis.
const MARKS: f64 = 8.0;

impl Axis {
    /// A linear axis from `low` to `high`, widened where they are equal.
    pub(super) fn linear(title: &str, low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let high = if high > low { high } else { low + low.abs().max(1.0) * 0.1 };
        let marks = steps(low, high).into_iter().map(|v| (v, label(v))).collect();
        Self { title: title.into(), scale: Scale::Linear, low, high, marks, minor: Vec::new() }
    }

    /// A linear axis of whole numbers, which nothing lies between.
    pub(super) fn whole(title: &str, low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let mut axis = Self::linear(title, low, high.max(low + 1.0), label);
        axis.marks.retain(|(value, _)| value.fract() == 0.0);
        axis
    }

    /// A logarithmic axis with labelled decades, and labels between them where there are few.
    pub(super) fn log(title: &str, low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        let high = high.max(low * 1.2);
        let within = |v: &f64| *v >= low * 0.999_999 && *v <= high * 1.000_001;
        let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let multiples = |of: &'static [f64]| {
            decades.clone().flat_map(move |d| of.iter().map(move |m| m * 10_f64.powi(d))).filter(within)
        };
        let span = (high / low).log10();
        let labelled: Vec<f64> = if span < 0.7 {
            steps(low, high)
        } else if span < 3.0 {
            multiples(&[1.0, 2.0, 5.0]).collect()
        } else {
            multiples(&[1.0]).collect()
        };
        let minor = multiples(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]).collect();
        let marks = labelled.into_iter().map(|v| (v, label(v))).collect();
        Self { title: title.into(), scale: Scale::Log, low, high, marks, minor }
    }

    /// A logarithmic axis of sizes in bytes, with powers of two as marks: at most eight, so that none runs into the next.
    pub(super) fn sizes(title: &str, low: f64, high: f64) -> Self {
        let (low, high) = (low.max(1.0), high.max(low.max(1.0) * 2.0));
        let (first, last) = (low.log2().ceil() as i32, high.log2().floor() as i32);
        let step = ((last - first) / 8 + 1).max(1);
        let marks = (first..=last)
            .step_by(step as usize)
            .map(|power| (2_f64.powi(power), crate::report::text::size(1_u64 << power.clamp(0, 62))))
            .collect();
        let minor = (first..=last).map(|power| 2_f64.powi(power)).collect();
        Self { title: title.into(), scale: Scale::Log, low, high, marks, minor }
    }

    /// Logarithmic where the values span more than `factor`, linear from 0 otherwise.
    pub(super) fn fitting(
        title: &str,
        low: f64,
        high: f64,
        factor: f64,
        label: impl Fn(f64) -> String,
    ) -> Self {
        if low > 0.0 && high / low > factor {
            Self::log(&format!("{title}, log scale"), low / 1.5, high * 2.0, label)
        } else {
            Self::linear(title, 0.0, high * 1.12, label)
        }
    }

    /// An axis with a place for each name: 0, 1, 2 …
    pub(super) fn categories(title: &str, names: &[String]) -> Self {
        let marks = names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        Self::marked(title, -0.6, names.len() as f64 - 0.4, marks)
    }

    /// A linear axis with these marks and no others.
    pub(super) fn marked(title: &str, low: f64, high: f64, marks: Vec<(f64, String)>) -> Self {
        Self { title: title.into(), scale: Scale::Linear, low, high, marks, minor: Vec::new() }
    }

    /// The position of `value`; values off the axis are put on its end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        }
    }

    /// The position a share of the way from the low end to the high end.
    pub(super) fn part(&self, share: f64) -> f64 {
        let (low, high) = (self.at(self.low), self.at(self.high));
        low + (high - low) * share
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    pub(super) fn coord(&self) -> Coord {
        Coord {
            range: self.at(self.low)..self.at(self.high),
            marks: self.marks.iter().map(|(value, _)| self.at(*value)).collect(),
            minor: self.minor.iter().map(|value| self.at(*value)).collect(),
        }
    }

    /// The second lines of labels that have one, and where.
    pub(super) fn second_lines(&self) -> Vec<(f64, String)> {
        let second =
            |(value, label): &(f64, String)| Some((self.at(*value), label.lines().nth(1)?.to_owned()));
        self.marks.iter().filter_map(second).collect()
    }

    /// The label of the mark at `position`.
    pub(super) fn label(&self, position: f64) -> String {
        let near = |v: f64| (self.at(v) - position).abs();
        let mark = self.marks.iter().min_by(|a, b| near(a.0).total_cmp(&near(b.0)));
        mark.map_or_else(String::new, |(_, label)| label.clone())
    }
}

/// Round values from `low` to `high`: multiples of 1, 2 or 5 times a power of ten.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / MARKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(power * 10.0);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A duration's label: `130 ns`, `1.5 µs`.
pub(super) fn nanoseconds(ns: f64) -> String {
    // Weeks come of a counter that wrapped.
    if ns >= 1e15 {
        return format!("{:e} s", (ns / 1e6).round() / 1e3);
    }
    let (scale, unit) = unit_of_time(ns);
    format!("{} {unit}", plain(ns / scale))
}

/// A number's label: no trailing zeros, thousands grouped.
pub(super) fn plain(value: f64) -> String {
    if value.abs() >= 1e3 {
        return crate::report::text::four_digits(value);
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn decades_are_labelled() {
        let axis = Axis::log("t", 90.0, 600_000.0, nanoseconds);
        assert_eq!(labels(&axis), ["100 ns", "1 µs", "10 µs", "100 µs"]);
        let short = Axis::log("t", 90.0, 2_000.0, nanoseconds);
        assert_eq!(labels(&short), ["100 ns", "200 ns", "500 ns", "1 µs", "2 µs"]);
        let narrow = Axis::log("t", 128.0, 141.0, nanoseconds);
        assert!(labels(&narrow).len() >= 4, "{:?}", labels(&narrow));
    }

    #[test]
    fn a_wrapped_counter_has_a_short_label() {
        assert_eq!(nanoseconds(1e19), "1e10 s");
        assert_eq!(nanoseconds(2e14), "200,000 s");
    }

    #[test]
    fn sizes_are_marked_at_powers_of_two() {
        let axis = Axis::sizes("s", 50.0, 70e6);
        let shown = labels(&axis);
        assert_eq!(shown[..3], ["64 B", "512 B", "4 KiB"]);
        assert!(shown.len() <= 8, "{shown:?}");
        assert_eq!(labels(&Axis::sizes("s", 3000.0, 3000.0)), ["4 KiB"]);
    }

    #[test]
    fn linear_marks_are_round() {
        let axis = Axis::linear("t", 100.0, 180.0, nanoseconds);
        assert_eq!(
            labels(&axis),
            ["100 ns", "110 ns", "120 ns", "130 ns", "140 ns", "150 ns", "160 ns", "170 ns", "180 ns"]
        );
        assert!(Axis::linear("t", 5.0, 5.0, plain).high() > 5.0);
    }

    #[test]
    fn an_axis_of_whole_numbers_has_no_marks_between_them() {
        assert_eq!(labels(&Axis::whole("n", 0.0, 2.0, plain)), ["0", "1", "2"]);
        assert_eq!(labels(&Axis::whole("n", 1.0, 1.0, plain)), ["1", "2"]);
        assert_eq!(labels(&Axis::whole("n", 0.5, 1.5, plain)), ["1"]);
    }

    #[test]
    fn a_label_may_have_a_second_line() {
        let axis = Axis::categories("", &["4 KiB\nwhole".into(), "4K frame\n".into(), "1 MiB".into()]);
        assert_eq!(axis.second_lines(), [(0.0, "whole".to_owned())]);
    }

    #[test]
    fn zero_has_a_place_on_a_logarithmic_axis() {
        let axis = Axis::log("t", 1.0, 100.0, plain);
        assert_eq!(axis.at(0.0), 0.0);
        assert_eq!(axis.label(1.01), "10");
    }
}
