//! In which form a result is printed.

use clap::ValueEnum;

/// A form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words and tables of 80 columns, coloured on a terminal
    #[default]
    Text,
    /// All figures, with their structure
    Json,
    /// A row for each figure: run, figure, unit, value, low, high
    Csv,
    /// Markdown, for a comment on a pull request
    Md,
    /// A page with charts, in one file
    Html,
}

/// The flags that choose it.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct FormatArgs {
    /// Print text, json, csv, md or html [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,

    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    /// The form asked for; `None` where none was.
    #[must_use]
    pub fn asked(self) -> Option<Format> {
        self.format.or(self.json.then_some(Format::Json))
    }

    /// The form to print.
    #[must_use]
    pub fn format(self) -> Format {
        self.asked().unwrap_or_default()
    }
}
