//! A CSV file as lines of text: byte-order mark, CRLF and blank lines removed, line numbers kept.

use std::path::{Path, PathBuf};
use std::str::Utf8Error;

use crate::error::Error;

/// The text of one file and where each of its lines came from.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    /// Lines joined by `\n`, none blank; begins with the header.
    pub(crate) clean: String,
    /// For each line of `clean`, its line number in the file.
    lines: Vec<u64>,
    /// Whether the file's last line is ended by a line ending.
    pub(crate) ended: bool,
}

impl Text {
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|error| not_text(path, bytes, &error, 1))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut clean = String::with_capacity(text.len());
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if !line.trim().is_empty() {
                clean.push_str(line);
                clean.push('\n');
                lines.push(number);
            }
        }
        if lines.is_empty() {
            return Err(Error::Empty { path: path.into() });
        }
        Ok(Self { path: path.into(), clean, lines, ended: text.ends_with('\n') })
    }

    /// The file's line number for a line of `clean`, both counted from 1.
    pub(crate) fn line(&self, clean_line: u64) -> u64 {
        let index = (clean_line.max(1) - 1) as usize;
        self.lines.get(index).or(self.lines.last()).copied().unwrap_or(1)
    }

    /// A CSV reader over the clean text that yields the header as its first record.
    pub(crate) fn records(&self) -> csv::Reader<&[u8]> {
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(self.clean.as_bytes())
    }
}

/// The place of the first byte that is no text in `bytes`, which begin with line `first_line` of the file.
pub(super) fn not_text(path: &Path, bytes: &[u8], error: &Utf8Error, first_line: u64) -> Error {
    let before = &bytes[..error.valid_up_to()];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |p| p + 1);
    Error::NotText {
        path: path.into(),
        line: first_line + before.iter().filter(|&&b| b == b'\n').count() as u64,
        byte: before.len() - line_start + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_line_numbers_across_blank_lines_bom_and_crlf() {
        let text = Text::parse(Path::new("f"), b"\xef\xbb\xbfa,b\r\n\r\n1,2\r\n").unwrap();
        assert_eq!(text.clean, "a,b\n1,2\n");
        assert_eq!((text.line(1), text.line(2)), (1, 3));
        assert!(text.ended);
    }

    #[test]
    fn names_the_line_of_a_byte_that_is_no_text() {
        let error = Text::parse(Path::new("f"), b"a,b\n1,\xff\n").unwrap_err();
        assert_eq!(error.to_string(), "f, line 2, column byte 3: not UTF-8 text (binary or UTF-16?)");
    }
}
