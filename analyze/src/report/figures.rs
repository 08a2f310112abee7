//! The figures of summary.json by their place in it, such as `runs.0.latency.rtt_processed.p50_ns`, written as people read
//! them. HTML, Markdown and CSV take every number from here, so none of them can say another than summary.json.

use serde_json::Value;

use super::text::{NOT_AVAILABLE, duration, four_digits, grouped, percent, times};
use crate::analysis::Analysis;

/// summary.json as a tree.
#[derive(Debug, Clone)]
pub struct Figures(Value);

/// What stands in a table: words, and the figure behind them if there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// As people read it.
    pub text: String,
    /// Its place in summary.json and its value there.
    pub figure: Option<(String, Value)>,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), figure: None }
    }
}

impl Figures {
    /// Of what summary.json says of `analysis`.
    ///
    /// # Errors
    /// Never for the figures this crate computes, which are finite.
    pub fn of(analysis: &Analysis) -> serde_json::Result<Self> {
        analysis.to_value().map(Self)
    }

    /// The whole tree.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.0
    }

    /// What is at `key`; `None` if there is nothing, or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        key.split('.')
            .try_fold(&self.0, |value, part| match value {
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                other => other.get(part),
            })
            .filter(|value| !value.is_null())
    }

    /// The words at `key`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// How many elements the list at `key` has; 0 if there is none.
    #[must_use]
    pub fn count(&self, key: &str) -> usize {
        self.get(key).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The figure at `key` for a table; `n/a` where there is none.
    #[must_use]
    pub fn cell(&self, key: &str) -> Cell {
        match self.get(key) {
            Some(value) => Cell { text: written(key, value), figure: Some((key.to_owned(), value.clone())) },
            None => NOT_AVAILABLE.into(),
        }
    }
}

/// `value` in the unit that the end of its key names.
#[must_use]
pub fn written(key: &str, value: &Value) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let parent = key.rsplit('.').nth(1).unwrap_or_default();
    let Some(number) = value.as_f64() else {
        return value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    };
    let is_share =
        ["share_of_roof", "parts"].contains(&parent) || ["success_rate", "share", "excess"].contains(&name);
    match name {
        _ if name.ends_with("_ns") || name.contains("_ns_per_") => signed_duration(number),
        _ if is_share => percent(Some(number)),
        _ if name.contains("_over_") => times(Some(number)),
        "percent" => format!("{} %", four_digits(number)),
        _ => value.as_u64().map_or_else(|| four_digits(number), grouped),
    }
}

/// A duration that may be below 0.
fn signed_duration(ns: f64) -> String {
    format!("{}{}", if ns < 0.0 { "-" } else { "" }, duration(ns.abs()))
}

/// The unit of the figure called `name`, empty of a bare number: `ns`, `GB/s`, `B`.
#[must_use]
pub fn unit(name: &str) -> &'static str {
    let ends = |suffix: &str| name.ends_with(suffix) || name.contains(&format!("{suffix}_"));
    match name {
        _ if ends("_ns") => "ns",
        _ if ends("_gb_per_s") || name == "gb_per_s" => "GB/s",
        _ if ends("_bytes") => "B",
        _ if ends("_fps") => "frames/s",
        _ if name.ends_with("_per_s") => "1/s",
        "percent" => "%",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_figure_is_written_in_the_unit_its_name_ends_with() {
        let shown = |key: &str, value: Value| written(key, &value);
        assert_eq!(shown("a.p50_ns", json!(48_217)), "48.22 µs");
        assert_eq!(shown("a.mean_ns", json!(-3.5)), "-3.500 ns");
        assert_eq!(shown("a.host_cpu_ns_per_message", json!(20_000.0)), "20.00 µs");
        assert_eq!(shown("frames.0.share_of_roof.total", json!(0.5)), "50.0 %");
        assert_eq!(shown("frames.0.parts.write", json!(0.125)), "12.5 %");
        assert_eq!(shown("ratios.0.vm_over_native", json!(1.0625)), "1.062 ×");
        assert_eq!(shown("frames.0.size_bytes", json!(24_883_200)), "24,883,200");
        assert_eq!(shown("ratios.0.vm", json!(150.0)), "150.0");
    }

    #[test]
    fn what_is_not_there_is_not_available_and_no_figure() {
        let figures = Figures(json!({"runs": [{"p50_ns": null, "p90_ns": 7}]}));
        assert_eq!(figures.cell("runs.0.p50_ns"), Cell::from("n/a"));
        assert_eq!(figures.cell("runs.1.p50_ns"), Cell::from("n/a"));
        let found = figures.cell("runs.0.p90_ns");
        assert_eq!((found.text.as_str(), found.figure), ("7 ns", Some(("runs.0.p90_ns".into(), json!(7)))));
    }

    #[test]
    fn units_are_told_by_names() {
        let names = ["p99_ns", "vcpu_cpu_ns_per_message", "mean_gb_per_s", "size_bytes", "due_fps", "ok"];
        assert_eq!(names.map(unit), ["ns", "ns", "GB/s", "B", "frames/s", ""]);
    }
}
