//! From text to typed columns: the shape is checked line by line, polars parses the values.
//!
//! Polars reports a bad value without its line, so when it refuses a file the csv crate walks it again to find the place.

use std::io::Cursor;
use std::sync::Arc;

use polars::prelude::{CsvReadOptions, DataFrame, DataType, PlSmallStr, Schema, SerReader};

use super::header::Header;
use super::kind::ColumnType;
use super::text::Text;
use crate::error::Error;

/// A loaded CSV whose rows have a field for every column.
#[derive(Debug)]
pub(crate) struct Table {
    text: Text,
    frame: DataFrame,
}

impl Table {
    pub(crate) fn load(text: Text, header: &Header) -> Result<Self, Error> {
        let header = &header.names;
        check_shape(&text, header)?;
        let schema: Schema =
            header.iter().map(|name| (PlSmallStr::from_str(name), data_type(name))).collect();
        let loaded = CsvReadOptions::default()
            .with_has_header(true)
            .with_schema(Some(Arc::new(schema)))
            .into_reader_with_file_handle(Cursor::new(text.clean.as_bytes()))
            .finish();
        let frame = match loaded {
            Ok(frame) => frame,
            Err(error) => {
                find_bad_value(&text, header)?;
                let message = error.to_string().lines().next().unwrap_or_default().to_owned();
                return Err(Error::Load { path: text.path, message });
            }
        };
        let table = Self { text, frame };
        // Polars takes NaN, infinities and negative numbers for floats; the contract has no use for them.
        let suspicious = |name: &String| {
            ColumnType::of(name) == ColumnType::Real
                && table.reals(name).iter().flatten().any(|v| !v.is_finite() || *v < 0.0)
        };
        if header.iter().any(suspicious) {
            find_bad_value(&table.text, header)?;
        }
        Ok(table)
    }

    /// The columns as they are.
    pub(crate) fn into_frame(self) -> DataFrame {
        self.frame
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.text.path
    }

    pub(crate) fn rows(&self) -> usize {
        self.frame.height()
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.frame.column(column).is_ok()
    }

    /// The values of a `Count` column, `None` where the field is empty; all `None` if there is no such column.
    pub(crate) fn counts(&self, column: &str) -> Vec<Option<u64>> {
        let values = self.frame.column(column).and_then(|c| c.u64());
        values.map_or_else(|_| vec![None; self.rows()], |v| v.iter().collect())
    }

    /// The values of a `Signed` column, as for [`Self::counts`].
    pub(crate) fn signed(&self, column: &str) -> Vec<Option<i64>> {
        let values = self.frame.column(column).and_then(|c| c.i64());
        values.map_or_else(|_| vec![None; self.rows()], |v| v.iter().collect())
    }

    /// The values of a `Real` column, as for [`Self::counts`].
    pub(crate) fn reals(&self, column: &str) -> Vec<Option<f64>> {
        let values = self.frame.column(column).and_then(|c| c.f64());
        values.map_or_else(|_| vec![None; self.rows()], |v| v.iter().collect())
    }

    /// The values of a `Text` column, trimmed, as for [`Self::counts`].
    pub(crate) fn texts(&self, column: &str) -> Vec<Option<&str>> {
        let values = self.frame.column(column).and_then(|c| c.str());
        values.map_or_else(|_| vec![None; self.rows()], |v| v.iter().map(|t| t.map(str::trim)).collect())
    }

    /// The error that says what is wrong with the value at `row`, counted from 0 below the header.
    pub(crate) fn problem(&self, row: usize, column: &str, problem: impl Into<String>) -> Error {
        Error::Value {
            path: self.text.path.clone(),
            line: self.line(row),
            column: column.into(),
            problem: problem.into(),
        }
    }

    /// The line in the file of `row`, counted from 0 below the header.
    pub(crate) fn line(&self, row: usize) -> u64 {
        self.text.line(row as u64 + 2)
    }
}

fn data_type(column: &str) -> DataType {
    match ColumnType::of(column) {
        ColumnType::Count => DataType::UInt64,
        ColumnType::Signed => DataType::Int64,
        ColumnType::Real => DataType::Float64,
        ColumnType::Text => DataType::String,
    }
}

/// Every row has as many fields as the header, there is at least one, and the last one ends.
fn check_shape(text: &Text, header: &[String]) -> Result<(), Error> {
    let mut reader = text.records();
    let mut record = csv::ByteRecord::new();
    let mut wrong: Option<(u64, usize)> = None;
    let mut rows = 0_u64;
    let mut fields_in_last = 0;
    // Reading from memory cannot fail, and uneven rows are allowed by `flexible`.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        rows += 1;
        fields_in_last = record.len();
        if fields_in_last != header.len() {
            wrong.get_or_insert((rows, fields_in_last));
        }
    }
    if let Some((row, found)) = wrong {
        return Err(Error::FieldCount {
            path: text.path.clone(),
            line: text.line(row),
            column: header.get(found).map_or_else(|| "beyond the last".into(), Clone::clone),
            found,
            expected: header.len(),
            last: row == rows && found < header.len(),
        });
    }
    if rows < 2 {
        return Err(Error::HeaderOnly { path: text.path.clone(), line: text.line(1) });
    }
    if !text.ended {
        let column = header[fields_in_last - 1].clone();
        return Err(Error::CutShort { path: text.path.clone(), line: text.line(rows), column });
    }
    Ok(())
}

/// Fails with the first value that is not of its column's type, if there is one.
fn find_bad_value(text: &Text, header: &[String]) -> Result<(), Error> {
    let types: Vec<_> = header.iter().map(|name| ColumnType::of(name)).collect();
    for (row, record) in (1..).zip(text.records().into_records()).skip(1) {
        let Ok(record) = record else { continue };
        for ((field, column_type), column) in record.iter().zip(&types).zip(header) {
            if let Some(problem) = column_type.problem(field) {
                let path = text.path.clone();
                return Err(Error::Value { path, line: text.line(row), column: column.clone(), problem });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::BAD_ROWS;
    use super::*;
    use std::path::Path;

    fn load(csv: &str) -> Result<Table, String> {
        let text = Text::parse(Path::new("f"), csv.as_bytes()).map_err(|e| e.to_string())?;
        let header = Header::find(Path::new("f"), text.clean.as_bytes()).map_err(|e| e.to_string())?;
        Table::load(text, &header).map_err(|e| e.to_string())
    }

    const HEADER: &str = "iteration,latency_ns,latency_us,received_ns,status\n";

    #[test]
    fn values_arrive_typed_and_empty_fields_as_none() {
        let table = load(&format!("{HEADER}1,130,0.130,98,ok\n\n2,,,,timeout_received\n")).unwrap();
        assert_eq!(table.counts("latency_ns"), [Some(130), None]);
        assert_eq!(table.reals("latency_us"), [Some(0.13), None]);
        assert_eq!(table.texts("status"), [Some("ok"), Some("timeout_received")]);
        assert_eq!(table.counts("read_ns"), [None, None]);
        assert_eq!((table.line(0), table.line(1)), (2, 4));
    }

    #[test]
    fn crlf_quotes_and_the_largest_number_are_read() {
        let table =
            load("\"iteration\",latency_ns,latency_us\r\n1,18446744073709551615,\"1.5\"\r\n").unwrap();
        assert_eq!(table.counts("latency_ns"), [Some(u64::MAX)]);
        assert_eq!(table.reals("latency_us"), [Some(1.5)]);
    }

    #[test]
    fn every_bad_value_is_named_by_line_and_column() {
        for (row, expected) in BAD_ROWS {
            let error = load(&format!("{HEADER}1,130,0.130,98,ok\n{row}\n3,130,0.130,98,ok\n")).unwrap_err();
            assert!(error.starts_with("f, line 3, ") && error.ends_with(expected), "{row}: {error}");
        }
    }

    #[test]
    fn a_file_that_ends_early_is_refused() {
        let whole = format!("{HEADER}1,130,0.130,98,ok\n2,140,0.140,99,ok");
        assert!(
            load(&whole).unwrap_err().contains("line 3, column status: the last line has no line ending")
        );
        let short = &whole[..whole.len() - 4];
        assert!(load(short).unwrap_err().ends_with("4 fields where the header has 5; the file is cut short"));
        assert_eq!(
            load(HEADER).unwrap_err(),
            "f, line 2: no rows after the header; the run measured nothing"
        );
        assert_eq!(load("\n \n").unwrap_err(), "f, line 1: the file is empty; expected a CSV header");
    }
}
