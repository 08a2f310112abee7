//! The run a report is about beside its baseline.

use super::text::{heading, named, optional, times};
use crate::analysis::{Analysis, Analyzed};

/// Width of the column of names, and of a figure's.
const NAME: usize = 30;
const COLUMN: usize = 16;

/// The section; empty if the runs have nothing in common.
pub(super) fn section(analysis: &Analysis, baseline: &Analyzed) -> String {
    let ratios = &analysis.ratios;
    if ratios.is_empty() {
        return String::new();
    }
    let main = &analysis.main;
    let mut out = heading(&format!("{} OVER {}", main.title(), baseline.title()));
    let titles = [main.title(), baseline.title()];
    let fit = titles.iter().all(|title| title.chars().count() < COLUMN);
    let [main, baseline] = if fit { titles } else { [main, baseline].map(|a| a.short.to_owned()) };
    out += &row("", &main, &baseline, "ratio");
    for ratio in ratios {
        let (main, baseline) = (optional(ratio.main), optional(ratio.baseline));
        out += &row(&ratio.label, &main, &baseline, &times(ratio.ratio));
    }
    out
}

fn row(name: &str, main: &str, baseline: &str, ratio: &str) -> String {
    named(name, NAME, &format!("{main:>COLUMN$}{baseline:>COLUMN$}{ratio:>14}"))
}
