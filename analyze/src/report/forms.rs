//! A result of many runs in whichever form is asked for, and its files: what compare, gate and history share.

use std::path::PathBuf;

use serde::Serialize;

use super::csv::{self, Row};
use super::format::{Format, FormatArgs};
use super::markdown;
use crate::answer::Answer;
use crate::charts::{self, Picture, Pictures};
use crate::error::Error;
use crate::html::Page;
use crate::interrupt::Interrupt;
use crate::output::{self, Artifact};

/// What is written, and what is printed.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// Where to write the files named below; created if absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Files of each picture: png, svg or both
    #[arg(long, value_name = "FORMAT", default_value = "png", hide_possible_values = true)]
    pub pictures: Pictures,

    /// What to print.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// A result that has every form. Its JSON is what it is serialised to.
pub(crate) trait Document: Serialize {
    /// Columns of its CSV after those that every CSV of figures has.
    const MORE_COLUMNS: &'static [&'static str];

    /// In 80 columns.
    fn text(&self) -> String;

    /// Its figures.
    fn rows(&self) -> Vec<Row<'_>>;

    /// As sections, for Markdown and HTML.
    fn page(&self) -> Page;

    /// Drawn.
    fn picture(&self) -> Picture<'_>;
}

/// `document` as `format`.
///
/// # Errors
/// [`Error::Draw`].
pub(crate) fn printed<D: Document>(document: &D, format: Format) -> Result<String, Error> {
    // Neither can fail: figures are finite, and the writer is memory.
    let failed = |form: &str, source: std::io::Error| Error::Write { path: form.into(), source };
    Ok(match format {
        Format::Text => document.text(),
        Format::Json => {
            serde_json::to_string_pretty(document).map_err(|error| failed("the JSON", error.into()))? + "\n"
        }
        Format::Csv => csv::of_rows(D::MORE_COLUMNS, &document.rows())
            .map_err(|error| failed("the CSV", error.into()))?,
        Format::Md => markdown::of_page(&document.page()),
        Format::Html => document.page().render(&[document.picture()])?,
    })
}

impl OutputArgs {
    /// Prints `document` as was asked for; with `--out` its text, JSON and page are written under these names, too, and its
    /// picture beside them.
    ///
    /// # Errors
    /// When that cannot be drawn or written, and once interrupted.
    pub(crate) fn answer<D: Document>(
        &self,
        document: &D,
        names: [&'static str; 3],
        interrupt: &Interrupt,
    ) -> Result<Answer, Error> {
        let format = self.format.format();
        let mut note = None;
        if let Some(out) = &self.out {
            let mut artifacts = Vec::new();
            for (name, form) in names.into_iter().zip([Format::Text, Format::Json, Format::Html]) {
                artifacts.push(Artifact { name, bytes: printed(document, form)?.into_bytes() });
            }
            artifacts.extend(charts::artifacts(&[document.picture()], self.pictures, interrupt)?);
            let written = output::write_all(out, &artifacts, interrupt)?;
            note = (format == Format::Text)
                .then(|| format!("wrote {} files to {}", written.len(), out.display()));
        }
        Ok(Answer { stdout: printed(document, format)?, note, exit_code: 0 })
    }
}
