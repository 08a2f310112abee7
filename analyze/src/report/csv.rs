//! Every figure of summary.json as a row of a CSV: run, figure, unit, value and, where it has an interval, its ends.
//!
//! A figure's name is its place in summary.json; what was not measured has no row.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::figures::{Figures, unit};
use crate::analysis::Analysis;

const HEADER: [&str; 6] = ["run", "figure", "unit", "value", "low", "high"];

/// Lists of what happened, not of figures.
const EVENTS: [&str; 4] = ["doubts", "late", "mismatches", "provenance"];

/// A figure of some runs.
pub(crate) struct Row<'a> {
    pub(crate) run: &'a str,
    pub(crate) figure: &'a str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) ends: Option<(f64, f64)>,
    /// In further columns; those at the end may be missing.
    pub(crate) more: Vec<String>,
}

/// A whole file of such rows.
///
/// # Errors
/// Never: the writer is memory.
pub(crate) fn of_rows(more: &[&str], rows: &[Row<'_>]) -> csv::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER.iter().chain(more))?;
    for row in rows {
        let [low, high] =
            row.ends.map(|(low, high)| [low, high].map(|end| end.to_string())).unwrap_or_default();
        let mut more_cells = row.more.clone();
        more_cells.resize(more.len(), String::new());
        let cells = [row.run, row.figure, row.unit, &row.value.to_string(), &low, &high];
        writer.write_record(cells.into_iter().chain(more_cells.iter().map(String::as_str)))?;
    }
    finished(writer)
}

/// The whole file of a report.
///
/// # Errors
/// Never: the writer is memory.
pub fn render(analysis: &Analysis, figures: &Figures) -> csv::Result<String> {
    let mut rows = Rows(csv::Writer::from_writer(Vec::new()));
    rows.0.write_record(HEADER)?;
    for (place, analyzed) in analysis.runs().enumerate() {
        if let Some(run) = figures.get(&format!("runs.{place}")) {
            rows.tree(analyzed.short, "", run)?;
        }
    }
    let [main, baseline] = analysis.relation.names();
    for (place, ratio) in analysis.ratios.iter().enumerate() {
        let key = format!("ratios.{place}.{main}_over_{baseline}");
        if let Some(value) = figures.get(&key) {
            rows.row(&format!("{main}_over_{baseline}"), &ratio.name, "", value, [None, None])?;
        }
    }
    for (place, cell) in analysis.doorbells.iter().flat_map(|doorbells| &doorbells.cells).enumerate() {
        if let Some(tree) = figures.get(&format!("doorbells.{place}")) {
            let rate = cell.rate_per_s.map_or_else(|| "max".into(), |rate| rate.to_string());
            rows.tree(&format!("{} {rate} {}", cell.name(), cell.load), "doorbell", tree)?;
        }
    }
    finished(rows.0)
}

fn finished(writer: csv::Writer<Vec<u8>>) -> csv::Result<String> {
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Rows(csv::Writer<Vec<u8>>);

impl Rows {
    fn row(
        &mut self,
        run: &str,
        figure: &str,
        unit: &str,
        value: &Value,
        ends: [Option<&Value>; 2],
    ) -> csv::Result<()> {
        let [low, high] =
            ends.map(|end| end.filter(|end| end.is_number()).map_or_else(String::new, Value::to_string));
        self.0.write_record([run, figure, unit, &value.to_string(), &low, &high])
    }

    /// All figures of `value`, which is at `key` of the run.
    fn tree(&mut self, run: &str, key: &str, value: &Value) -> csv::Result<()> {
        let name = key.rsplit('.').next().unwrap_or(key);
        let below = |child: &str| if key.is_empty() { child.to_owned() } else { format!("{key}.{child}") };
        match value {
            Value::Number(_) => self.row(run, key, unit(name), value, [None, None]),
            Value::Object(fields) => match interval(fields) {
                Some((estimate, ends)) => self.row(run, key, "ns", estimate, ends),
                None => {
                    let mut fields: Vec<_> =
                        fields.iter().filter(|(name, _)| !EVENTS.contains(&name.as_str())).collect();
                    fields.sort_by(|(a, _), (b, _)| by_percentile(a, b));
                    fields.into_iter().try_for_each(|(name, value)| self.tree(run, &below(name), value))
                }
            },
            Value::Array(items) => items.iter().enumerate().try_for_each(|(place, item)| {
                // A frame is known by its name wherever it stands.
                let label = item.get("label").and_then(Value::as_str).map(|label| label.replace(' ', "_"));
                self.tree(run, &below(&label.unwrap_or_else(|| place.to_string())), item)
            }),
            Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        }
    }
}

/// An estimate with its ends.
fn interval(fields: &Map<String, Value>) -> Option<(&Value, [Option<&Value>; 2])> {
    let estimate = fields.get("estimate_ns").filter(|value| value.is_number())?;
    Some((estimate, [fields.get("low_ns"), fields.get("high_ns")]))
}

/// Alphabetical, but percentiles as numbers: `p99`, `p99.9`, `p99.99`.
fn by_percentile(one: &str, other: &str) -> Ordering {
    let number = |name: &str| {
        let digits = name.strip_prefix('p')?.trim_end_matches("_ns").replace('_', ".");
        digits.parse::<f64>().ok()
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(value: &Value) -> String {
        let mut rows = Rows(csv::Writer::from_writer(Vec::new()));
        rows.tree("vm", "", value).unwrap();
        String::from_utf8(rows.0.into_inner().unwrap()).unwrap()
    }

    #[test]
    fn an_interval_is_one_row_and_what_is_not_there_is_none() {
        let value = json!({
            "shape": {"intervals": {"p50": {"estimate_ns": 402, "low_ns": 400.5, "high_ns": 404, "level": 0.95}, "p99": null}},
            "role": "vm", "lost": 0,
        });
        assert_eq!(rows(&value), "vm,lost,,0,,\nvm,shape.intervals.p50,ns,402,400.5,404\n");
    }

    #[test]
    fn percentiles_stand_in_their_order() {
        let value = json!({"p99_99_ns": 4, "p99_9_ns": 3, "p50_ns": 1, "p99_ns": 2, "max_ns": 5});
        let names: Vec<_> =
            rows(&value).lines().map(|row| row.split(',').nth(1).unwrap().to_owned()).collect();
        assert_eq!(names, ["max_ns", "p50_ns", "p99_ns", "p99_9_ns", "p99_99_ns"]);
    }

    #[test]
    fn events_are_no_figures() {
        let value = json!({"frames": [{"label": "4K frame", "ok": 7, "late": [{"iteration": 3}]}], "doubts": [{"code": "x"}]});
        assert_eq!(rows(&value), "vm,frames.4K_frame.ok,,7,,\n");
    }
}
