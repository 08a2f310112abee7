//! Why runs cannot be exported.

use std::path::PathBuf;

/// What is the matter with a run, or with its values.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Nothing says where it was measured.
    #[error(
        "{}: no run.json in this directory, so nothing says where its rows were measured; give run directories",
        directory.display()
    )]
    NoProvenance {
        /// The directory.
        directory: PathBuf,
    },
    /// A file in place of a run directory.
    #[error("{}: a file; give the run directory it lies in, which is exported whole", path.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// run.json lacks what the files are named after.
    #[error("{}: {field} is {found}, expected {expected}; the files of an export are named after it", path.display())]
    Unplaced {
        /// The run.json.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// Two directories given hold one run.
    #[error("{}: session {session} was given already; give each run once", directory.display())]
    SameSession {
        /// The session.
        session: String,
        /// The directory given later.
        directory: PathBuf,
    },
    /// A number that signed 64 bits do not hold, which is what all readers of Parquet have.
    #[error("{}, column {column}: holds a number above {}, which is not exported", path.display(), i64::MAX)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// Polars could not make the file.
    #[error("{}: cannot make Parquet: {message}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Polars' message, in one line.
        message: String,
    },
}
