//! One Parquet file, written aside row group by row group and named when it is whole.

use std::fmt::Debug;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::io::parquet::write::{BatchedWriter, ParquetCompression, ParquetWriter};
use polars::prelude::{Column, DataFrame, DataType, PolarsError};
use tempfile::NamedTempFile;

use super::provenance::Constant;
use super::{Problem, sync};
use crate::error::Error;
use crate::output;

/// A file in the making; dropped, it leaves nothing behind.
pub(super) struct ParquetFile {
    path: PathBuf,
    aside: NamedTempFile,
    /// Made with the first rows, which tell the columns.
    writer: Option<BatchedWriter<File>>,
}

impl Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// Begins what is to become `path`, below `out`, which is there.
    pub(super) fn create(out: &Path, path: &Path) -> Result<Self, Error> {
        let aside = output::aside(out).map_err(|source| Error::Write { path: path.into(), source })?;
        Ok(Self { path: path.into(), aside, writer: None })
    }

    /// Adds rows of `csv` as one row group, each with `constants` behind its own columns.
    pub(super) fn add(&mut self, csv: &Path, frame: DataFrame, constants: &[Constant]) -> Result<(), Error> {
        let rows = frame.height();
        let mut columns = Vec::with_capacity(frame.width() + constants.len());
        for column in frame.into_columns() {
            columns.push(signed(csv, column)?);
        }
        columns.extend(constants.iter().map(|constant| constant.column(rows)));
        let mut frame = DataFrame::new(rows, columns).map_err(|error| self.failed(&error))?;
        // A row group is one chunk of every column.
        frame.rechunk_mut();
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let file = self.aside.as_file().try_clone();
                let file = file.map_err(|source| Error::Write { path: self.path.clone(), source })?;
                ParquetWriter::new(file)
                    .with_compression(ParquetCompression::Zstd(None))
                    .batched(frame.schema())
                    .map_err(|error| self.failed(&error))?
            }
        };
        writer.write_batch(&frame).map_err(|error| self.failed(&error))?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Ends the file and gives it its name, in the place of an older one.
    pub(super) fn persist(mut self) -> Result<PathBuf, Error> {
        if let Some(writer) = self.writer.take() {
            writer.finish().map_err(|error| self.failed(&error))?;
        }
        let path = self.path;
        let directory = path.parent().unwrap_or(Path::new("."));
        let failed = |source| Error::Write { path: path.clone(), source };
        self.aside.as_file().sync_all().map_err(failed)?;
        fs::create_dir_all(directory).map_err(failed)?;
        self.aside.persist(&path).map_err(|error| failed(error.error))?;
        sync(directory)?;
        Ok(path)
    }

    fn failed(&self, error: &PolarsError) -> Error {
        if let PolarsError::IO { error, .. } = error {
            let source = std::io::Error::new(error.kind(), error.to_string());
            return Error::Write { path: self.path.clone(), source };
        }
        let message = error.to_string().lines().next().unwrap_or_default().to_owned();
        Problem::Parquet { path: self.path.clone(), message }.into()
    }
}

/// Counts as signed numbers: Spark reads unsigned ones of 64 bits as decimals.
fn signed(csv: &Path, column: Column) -> Result<Column, Error> {
    if column.dtype() != &DataType::UInt64 {
        return Ok(column);
    }
    column
        .strict_cast(&DataType::Int64)
        .map_err(|_| Problem::TooLarge { path: csv.into(), column: column.name().to_string() }.into())
}
