//! A CSV of any contracted kind as polars frames of some hundred thousand rows, with every column and every row it has.

use std::path::Path;

use polars::prelude::DataFrame;

use super::header::Header;
use super::kind::Kind;
use super::source::Source;
use super::table::Table;
use super::text::Text;
use crate::error::Error;

/// Bytes of text that become a frame.
const FRAME_BYTES: usize = 16 << 20;

/// The rows of a file that was read before, so that nothing is wrong with them.
#[derive(Debug)]
pub(crate) struct Frames {
    source: Source,
    header: Header,
    /// What precedes the rows, and so every frame's text.
    begin: Vec<u8>,
    kind: Kind,
    /// Rows that were read and are in no frame yet.
    pending: Vec<u8>,
}

impl Frames {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut source = Source::open(path)?;
        let header = Header::peek(&mut source)?;
        let kind = header.kind(path)?;
        let mut begin = source.next()?.unwrap_or_default();
        let pending = begin.split_off(header.bytes);
        Ok(Self { source, header, begin, kind, pending })
    }

    /// `latency`, `bandwidth` or `doorbell`.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// The next rows; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<DataFrame>, Error> {
        let mut rows = std::mem::take(&mut self.pending);
        while rows.len() < FRAME_BYTES
            && let Some(block) = self.source.next()?
        {
            rows.extend_from_slice(&block);
        }
        if rows.trim_ascii().is_empty() {
            return Ok(None);
        }
        let text = Text::parse(&self.source.path, &[self.begin.as_slice(), &rows].concat())?;
        Ok(Some(Table::load(text, &self.header)?.into_frame()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn frames_together_are_the_file_and_no_frame_is_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.csv");
        let mut text = "\u{feff}iteration,latency_ns,latency_us,status,note\r\n".to_owned();
        let rows = 600_000;
        for i in 1..=rows {
            writeln!(text, "{i},130,0.13,{},\"x, y\"", if i % 2 == 0 { "ok" } else { "timeout_received" })
                .unwrap();
        }
        std::fs::write(&path, text).unwrap();
        let mut frames = Frames::open(&path).unwrap();
        assert_eq!(frames.kind(), "latency");
        let mut heights = Vec::new();
        let mut next = 1;
        while let Some(frame) = frames.next().unwrap() {
            assert_eq!(frame.width(), 5);
            assert_eq!(frame.column("iteration").unwrap().u64().unwrap().get(0), Some(next));
            next += frame.height() as u64;
            heights.push(frame.height());
        }
        assert_eq!(heights.iter().sum::<usize>(), rows);
        assert!(heights.len() > 1);
    }
}
