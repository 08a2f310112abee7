//! The header of a CSV: the names of its columns, and where its rows begin.

use std::path::Path;

use super::kind::{Kind, shorten};
use super::source::Source;
use super::text::not_text;
use crate::error::Error;

/// The first line that is not blank.
#[derive(Debug)]
pub(crate) struct Header {
    /// The columns' names, trimmed.
    pub(crate) names: Vec<String>,
    /// Its line in the file.
    pub(crate) line: u64,
    /// Bytes of the file before the first row.
    pub(crate) bytes: usize,
}

impl Header {
    /// Looks at the header of `source`, and takes nothing of it.
    pub(crate) fn peek(source: &mut Source) -> Result<Self, Error> {
        let path = source.path.clone();
        Self::find(&path, source.peek()?)
    }

    pub(crate) fn find(path: &Path, begin: &[u8]) -> Result<Self, Error> {
        let mut bytes = 0;
        for (number, line) in (1..).zip(begin.split_inclusive(|byte| *byte == b'\n')) {
            let text = std::str::from_utf8(line).map_err(|error| not_text(path, line, &error, number))?;
            let text = if number == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
            bytes += line.len();
            if !text.trim().is_empty() {
                return Ok(Self { names: names(text), line: number, bytes });
            }
        }
        Err(Error::Empty { path: path.into() })
    }

    /// What the file holds, if every column it has to have is there, once.
    pub(crate) fn kind(&self, path: &Path) -> Result<Kind, Error> {
        let kind = Kind::of(path, &self.names, self.line)?;
        for (index, column) in self.names.iter().enumerate() {
            if self.names[..index].contains(column) {
                let column = shorten(column);
                return Err(Error::DuplicateColumn { path: path.into(), line: self.line, column });
            }
        }
        Ok(kind)
    }
}

fn names(line: &str) -> Vec<String> {
    let mut record = csv::StringRecord::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
    // The line is UTF-8 and in memory, so it can always be read.
    let _ = reader.read_record(&mut record);
    record.iter().map(|name| name.trim().to_owned()).collect()
}
