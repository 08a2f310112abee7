//! The main run beside its baseline.

use super::{Block, Row, Section, Table};
use crate::analysis::Analysis;
use crate::report::figures::Figures;

pub(super) fn section(analysis: &Analysis, figures: &Figures) -> Option<Section> {
    let baseline = analysis.baseline.as_ref().filter(|_| !analysis.ratios.is_empty())?;
    let [main_key, baseline_key] = analysis.relation.names();
    let (main, other) = (analysis.main.title(), baseline.title());
    let row = |(place, label): (usize, &str)| {
        let cell = |key: &str| figures.cell(&format!("ratios.{place}.{key}"));
        let cells =
            vec![cell(main_key), cell(baseline_key), cell(&format!("{main_key}_over_{baseline_key}"))];
        Row { name: label.to_owned(), cells }
    };
    let labels = analysis.ratios.iter().map(|ratio| ratio.label.as_str());
    let table = Table {
        caption: format!("{main} over {other}: above 1 is longer for times, faster for rates"),
        columns: vec![String::new(), main.clone(), other.clone(), "ratio".into()],
        rows: labels.enumerate().map(row).collect(),
    };
    Some(Section { id: "ratios", title: format!("{main} over {other}"), blocks: vec![Block::Table(table)] })
}
