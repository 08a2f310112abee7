//! The rows of a latency file, block after block: numbers are read where they stand, nothing is copied.
//!
//! A row of plain digits, as this toolkit writes it, takes one pass over its bytes. Whatever is not as plain (quotes,
//! failures, mistakes) is read with care, which also finds the words for what is wrong.

use std::path::{Path, PathBuf};

use super::header::Header;
use super::kind::ColumnType;
use super::micros::Micros;
use super::status;
use super::text::not_text;
use crate::error::Error;

/// Digits that fit in 64 bits whatever they are.
const SAFE_DIGITS: usize = 19;

/// One row; a field is `None` where it is empty or its column absent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    counts: [Option<u64>; 4],
    signed: [Option<i64>; 2],
    micros: Micros,
    /// Whether its status is another than ok.
    pub(super) is_failed: bool,
}

const COUNTS: [&str; 4] = ["iteration", "latency_ns", "received_ns", "send_delay_ns"];
const SIGNED: [&str; 2] = ["to_guest_ns", "to_host_ns"];

impl Row {
    pub(super) fn iteration(self) -> Option<u64> {
        self.counts[0]
    }
    pub(super) fn processed_ns(self) -> Option<u64> {
        self.counts[1]
    }
    pub(super) fn received_ns(self) -> Option<u64> {
        self.counts[2]
    }
    pub(super) fn send_delay_ns(self) -> Option<u64> {
        self.counts[3]
    }
    /// Whether the time to PROCESSED is another in microseconds, beyond what rounding makes.
    pub(super) fn disagrees(self) -> bool {
        self.processed_ns().is_some_and(|ns| self.micros.is_other_than(ns))
    }
    pub(super) fn to_guest_ns(self) -> Option<i64> {
        self.signed[0]
    }
    pub(super) fn to_host_ns(self) -> Option<i64> {
        self.signed[1]
    }
}

/// What is wrong with a row that can be read: the column, and a sentence.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) column: &'static str,
    pub(super) sentence: String,
}

impl Problem {
    pub(super) fn new(column: &'static str, sentence: impl Into<String>) -> Self {
        Self { column, sentence: sentence.into() }
    }
}

/// What becomes of a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// Kept, at this place of [`Row::counts`].
    Count(usize),
    /// Kept, at this place of [`Row::signed`].
    Signed(usize),
    /// The time to PROCESSED again, to be compared with the other.
    Micros,
    /// A number that is checked and not kept.
    Checked(ColumnType),
    Status,
    /// Nobody contracted it.
    Foreign,
}

impl Role {
    fn of(column: &str) -> Self {
        let place = |columns: &[&str]| columns.iter().position(|name| *name == column);
        match (place(&COUNTS), place(&SIGNED), ColumnType::of(column)) {
            (Some(place), _, _) => Self::Count(place),
            (_, Some(place), _) => Self::Signed(place),
            _ if column == "status" => Self::Status,
            _ if column == "latency_us" => Self::Micros,
            (_, _, ColumnType::Text) => Self::Foreign,
            (_, _, column_type) => Self::Checked(column_type),
        }
    }

    fn column_type(self) -> ColumnType {
        match self {
            Self::Count(_) => ColumnType::Count,
            Self::Signed(_) => ColumnType::Signed,
            Self::Checked(column_type) => column_type,
            Self::Micros => ColumnType::Real,
            Self::Status | Self::Foreign => ColumnType::Text,
        }
    }
}

/// Takes rows, in the order of the file.
pub(super) trait Take {
    /// Takes a row, with the status of one that failed, or says what is wrong with it and is as before.
    fn take(&mut self, row: &Row, status: &str) -> Result<(), Problem>;
}

/// The plain rows that a block begins with.
#[derive(Debug, Default)]
pub(super) struct Part<T> {
    pub(super) taken: T,
    bytes: usize,
    lines: u64,
}

impl<T: Take + Default> Part<T> {
    /// Of `block`: up to the first row that needs care, or that is refused.
    pub(super) fn of(roles: &[Role], block: &[u8]) -> Self {
        let mut part = Self::default();
        while let Some((row, bytes)) = plain(roles, &block[part.bytes..]) {
            if part.taken.take(&row, "").is_err() {
                break;
            }
            part.bytes += bytes;
            part.lines += 1;
        }
        part
    }
}

/// Goes through a source's rows.
#[derive(Debug)]
pub(super) struct RowReader {
    path: PathBuf,
    header: Header,
    pub(super) roles: Vec<Role>,
    /// The line that comes next.
    line: u64,
    rows: u64,
    /// Status of the latest row that failed.
    status: String,
}

impl RowReader {
    pub(super) fn new(path: &Path, header: Header) -> Self {
        let roles = header.names.iter().map(|name| Role::of(name)).collect();
        let line = header.line + 1;
        Self { path: path.into(), header, roles, line, rows: 0, status: String::new() }
    }

    /// Gives the rows of `block` to `all`: those of `part` together if `join` takes them, all others one by one.
    ///
    /// # Errors
    /// On the first row that is not as it should be, by `all`'s judgement among others.
    pub(super) fn read<T: Take>(
        &mut self,
        block: &[u8],
        part: &Part<T>,
        all: &mut T,
        join: impl FnOnce(&mut T, &T) -> bool,
        is_last: bool,
    ) -> Result<(), Error> {
        let mut rest = block;
        if join(all, &part.taken) {
            rest = &block[part.bytes..];
            self.line += part.lines;
            self.rows += part.lines;
        }
        while !rest.is_empty() {
            let (row, bytes) = match plain(&self.roles, rest) {
                Some((row, bytes)) => (Some(row), bytes),
                None => self.careful(rest, is_last)?,
            };
            if let Some(row) = row {
                all.take(&row, &self.status).map_err(|p| self.value(p.column, p.sentence))?;
                self.rows += 1;
            }
            self.line += 1;
            rest = &rest[bytes..];
        }
        Ok(())
    }

    /// That there were rows.
    pub(super) fn end(self) -> Result<(), Error> {
        if self.rows == 0 {
            return Err(Error::HeaderOnly { path: self.path, line: self.header.line });
        }
        Ok(())
    }

    /// The first row of `text` and its bytes; none if that line is blank.
    fn careful(&mut self, text: &[u8], is_last: bool) -> Result<(Option<Row>, usize), Error> {
        let end = text.iter().position(|byte| *byte == b'\n');
        let (line, behind) = text.split_at(end.map_or(text.len(), |end| end + 1));
        let line =
            std::str::from_utf8(line).map_err(|error| not_text(&self.path, line, &error, self.line))?;
        if line.trim().is_empty() {
            return Ok((None, line.len()));
        }
        let record = fields(line);
        let (found, expected) = (record.len(), self.header.names.len());
        let column = |index: usize| self.header.names.get(index).map_or("beyond the last", String::as_str);
        // Where a quote stays open, what ended the line is part of its last field.
        if record.get(found - 1).is_some_and(|field| field.contains('\n')) {
            return Err(self.value(column(found - 1), "a quote that nothing closes in this line".into()));
        }
        if found != expected {
            let column = column(found).to_owned();
            let last = found < expected && is_last && behind.trim_ascii().is_empty();
            let (path, line) = (self.path.clone(), self.line);
            return Err(Error::FieldCount { path, line, column, found, expected, last });
        }
        if end.is_none() {
            let column = column(expected - 1).to_owned();
            return Err(Error::CutShort { path: self.path.clone(), line: self.line, column });
        }
        let mut row = Row::default();
        for (index, (role, field)) in self.roles.iter().zip(&record).enumerate() {
            let field = field.trim();
            if let Some(problem) = role.column_type().problem(field) {
                return Err(self.value(column(index), problem));
            }
            match role {
                Role::Count(place) => row.counts[*place] = field.parse().ok(),
                Role::Signed(place) => row.signed[*place] = field.parse().ok(),
                Role::Status => {
                    let ok = status::is_ok(Some(field).filter(|field| !field.is_empty()));
                    row.is_failed = !ok.map_err(|why| self.value("status", why.into()))?;
                    field.clone_into(&mut self.status);
                }
                Role::Micros => row.micros = Micros::of(field),
                Role::Checked(_) | Role::Foreign => {}
            }
        }
        Ok((Some(row), line.len()))
    }

    fn value(&self, column: &str, problem: String) -> Error {
        Error::Value { path: self.path.clone(), line: self.line, column: column.into(), problem }
    }
}

fn fields(line: &str) -> csv::StringRecord {
    if !line.contains('"') {
        return line.trim_end_matches(['\n', '\r']).split(',').collect::<Vec<_>>().into();
    }
    let mut record = csv::StringRecord::new();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(line.len())
        .from_reader(line.as_bytes());
    // The line is UTF-8 and in memory, so it can always be read.
    let _ = reader.read_record(&mut record);
    record
}

/// The row that `text` begins with and its bytes, if it is ok and nothing about it needs care.
#[inline]
fn plain(roles: &[Role], text: &[u8]) -> Option<(Row, usize)> {
    let mut row = Row::default();
    let mut rest = text;
    let mut roles = roles.iter();
    let mut role = roles.next()?;
    loop {
        rest = role.plain(rest, &mut row)?;
        let Some(next) = roles.next() else { break };
        role = next;
        rest = rest.strip_prefix(b",")?;
    }
    rest = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n"))?;
    Some((row, text.len() - rest.len()))
}

impl Role {
    /// Puts the field that `text` begins with into `row`; what is behind it, unless it needs care.
    #[inline]
    fn plain<'a>(self, text: &'a [u8], row: &mut Row) -> Option<&'a [u8]> {
        match self {
            Self::Count(place) => {
                let (value, rest) = whole(text)?;
                row.counts[place] = value;
                Some(rest)
            }
            Self::Signed(place) => {
                let positive = text.strip_prefix(b"-");
                let (value, rest) = whole(positive.unwrap_or(text))?;
                let value = value.map(i64::try_from).transpose().ok()?;
                if positive.is_some() && value.is_none() {
                    return None;
                }
                row.signed[place] = if positive.is_some() { value.map(|value| -value) } else { value };
                Some(rest)
            }
            Self::Micros => {
                let (micros, rest) = Micros::plain(text)?;
                row.micros = micros;
                Some(rest)
            }
            Self::Checked(ColumnType::Real) => {
                let rest = digits(text);
                let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
                let behind = digits(fraction);
                // A point without a digit is no number.
                (rest.len() < text.len() && behind.len() < fraction.len()).then_some(behind)
            }
            Self::Checked(_) => whole(text).map(|(_, rest)| rest),
            Self::Status => text.strip_prefix(b"ok"),
            Self::Foreign => {
                // Whether other bytes than these are text is not known yet.
                let is_end = |byte: &u8| matches!(byte, b',' | b'\n' | b'\r' | b'"') || !byte.is_ascii();
                Some(&text[text.iter().position(is_end)?..])
            }
        }
    }
}

/// The whole number that `text` begins with, if it has digits, and what is behind it; `None` if it may not fit, or there is no
/// text.
#[inline]
pub(super) fn whole(text: &[u8]) -> Option<(Option<u64>, &[u8])> {
    // A column that is empty in one row is so in most.
    if !text.first()?.is_ascii_digit() {
        return Some((None, text));
    }
    if let Some(eight) = text.first_chunk() {
        let (count, value) = digits_of(*eight);
        if count < eight.len() {
            return Some((Some(value), &text[count..]));
        }
    }
    let mut rest = text;
    let mut value = 0_u64;
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = behind;
    }
    let count = text.len() - rest.len();
    (count <= SAFE_DIGITS).then_some((Some(value), rest))
}

/// How many digits eight bytes begin with, and their value: all bytes at once, since a loop that ends after as many rounds as a
/// number has digits ends where no processor foresees it.
#[inline]
fn digits_of(bytes: [u8; 8]) -> (usize, u64) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Digits become 0 to 9. What is no digit has a bit in its upper half, or gets one where 6 are added; a carry out of it
    // changes only what is behind it.
    let digits = u64::from_le_bytes(bytes) ^ (EACH * 0x30);
    let others = (digits | digits.wrapping_add(EACH * 6)) & (EACH * 0xf0);
    let count = others.trailing_zeros() / 8;
    // The digits moved to the end, zeros before them; then pairs, fours and all eight become a number.
    let digits = digits.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = digits.wrapping_mul(10 * (1 << 8) + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 * (1 << 16) + 1) >> 16 & 0x0000_ffff_0000_ffff;
    (count as usize, fours.wrapping_mul(10_000 * (1 << 32) + 1) >> 32)
}

/// What is behind the digits that `text` begins with.
#[inline]
fn digits(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(eight) = rest.first_chunk() {
        let count = digits_of(*eight).0;
        rest = &rest[count..];
        if count < eight.len() {
            return rest;
        }
    }
    while let [b'0'..=b'9', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_told_from_every_other_byte() {
        assert_eq!(digits_of(*b"12345678"), (8, 12_345_678));
        assert_eq!(digits_of(*b"00000901"), (8, 901));
        for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for count in 0..8 {
                for behind in [b'9', b',', 0xff] {
                    let mut bytes = [behind; 8];
                    bytes[..count].copy_from_slice(&b"9082736"[..count]);
                    bytes[count] = other;
                    let value = [0, 9, 90, 908, 9_082, 90_827, 908_273, 9_082_736][count];
                    assert_eq!(digits_of(bytes), (count, value), "{bytes:?}");
                }
            }
        }
    }
}
