//! The report as sections of tables, facts and sentences, apart from how they are shown: HTML and Markdown are made of it.

mod bandwidth;
mod doorbell;
mod latency;
mod ratios;
mod shape;

use super::figures::{Cell, Figures};
use crate::analysis::Analysis;

/// A part of the report under a heading.
#[derive(Debug, Clone)]
pub struct Section {
    /// A name for links: `latency`.
    pub id: &'static str,
    /// The heading.
    pub title: String,
    /// What is under it, in order.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone)]
pub enum Block {
    /// Names, each with what is to be said of it.
    Facts(Vec<(String, String)>),
    /// A table.
    Table(Table),
    /// A sentence.
    Note(String),
    /// Sentences.
    List(Vec<String>),
}

/// A table whose first column names its rows.
#[derive(Debug, Clone)]
pub struct Table {
    /// What it shows, and in which unit.
    pub caption: String,
    /// Headings, that of the first column among them.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its cells, as many as there are columns after the first.
    pub cells: Vec<Cell>,
}

impl Table {
    /// With a row for each of `rows`, a name and the keys of its figures. A column without any figure is left out.
    fn of_keys(caption: &str, columns: &[&str], rows: &[(String, Vec<String>)], figures: &Figures) -> Self {
        let known = |column: usize| rows.iter().any(|(_, keys)| figures.get(&keys[column]).is_some());
        let kept: Vec<usize> = (0..columns.len() - 1).filter(|column| known(*column)).collect();
        let cells = |keys: &[String]| kept.iter().map(|column| figures.cell(&keys[*column])).collect();
        Self {
            caption: caption.to_owned(),
            columns: std::iter::once(0)
                .chain(kept.iter().map(|column| column + 1))
                .map(|at| columns[at].to_owned())
                .collect(),
            rows: rows.iter().map(|(name, keys)| Row { name: name.clone(), cells: cells(keys) }).collect(),
        }
    }
}

/// All sections with figures, in order.
#[must_use]
pub fn sections(analysis: &Analysis, figures: &Figures) -> Vec<Section> {
    let all = [
        ratios::section(analysis, figures),
        latency::section(analysis, figures),
        shape::section(analysis, figures),
        doorbell::section(analysis, figures),
        bandwidth::section(analysis, figures),
    ];
    all.into_iter().flatten().collect()
}

/// The runs with their places in summary.json.
fn runs(analysis: &Analysis) -> impl Iterator<Item = (String, &crate::analysis::Analyzed)> {
    analysis.runs().enumerate().map(|(place, analyzed)| (format!("runs.{place}"), analyzed))
}
