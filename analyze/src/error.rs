//! Everything that can go wrong, each as one line that names the file and, in a CSV, the line and column.

use std::io;
use std::path::PathBuf;

/// Why `analyze` could not do its work; a cause that is another error is its source. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input path does not exist.
    #[error("{}: no such file or directory", path.display())]
    Absent {
        /// The path as given.
        path: PathBuf,
    },
    /// The input could not be read.
    #[error("{}: cannot read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A gzip stream that does not come to its end.
    #[error("{}: the gzip data are cut short; copy or compress the file again", path.display())]
    GzipCutShort {
        /// The file.
        path: PathBuf,
    },
    /// A gzip stream that is not what was compressed.
    #[error("{}: the gzip data are damaged ({problem}); copy or compress the file again", path.display())]
    GzipDamaged {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        problem: String,
    },
    /// A line longer than any row.
    #[error("{}: a line of more than {bytes} bytes; not a CSV of this toolkit", path.display())]
    EndlessLine {
        /// The file.
        path: PathBuf,
        /// The longest line that is read.
        bytes: usize,
    },
    /// A run directory that holds none of the CSVs.
    #[error(
        "{}: no latency_results.csv, bandwidth_results.csv or doorbell_results.csv in this directory{}",
        path.display(),
        hint_at_runs(nested)
    )]
    NoCsv {
        /// The directory.
        path: PathBuf,
        /// Sub-directories that do hold one.
        nested: Vec<PathBuf>,
    },
    /// A file without a single byte, or with blank lines only.
    #[error("{}, line 1: the file is empty; expected a CSV header", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A header, and nothing after it.
    #[error("{}, line {}: no rows after the header; the run measured nothing", path.display(), line + 1)]
    HeaderOnly {
        /// The file.
        path: PathBuf,
        /// The header's line.
        line: u64,
    },
    /// A header of something else.
    #[error(
        "{}, line {line}, column {found}: not a file of this toolkit; a latency file begins \
         iteration,latency_ns,latency_us, a bandwidth file iteration,frame_type,width and a doorbell file \
         iteration,guest_wait,host_wait",
        path.display()
    )]
    ForeignHeader {
        /// The file.
        path: PathBuf,
        /// The header's line.
        line: u64,
        /// The first column's name, shortened.
        found: String,
    },
    /// The file of a broadcast.
    #[error(
        "{}: the rows of a broadcast, which analyze does not read: host-writer has printed their summary, and \"broadcast\" in \
         the run.json beside them holds it",
        path.display()
    )]
    Broadcast {
        /// The file.
        path: PathBuf,
    },
    /// A contracted column is absent.
    #[error("{}, line {line}, column {column}: missing from the header of this {kind} file", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The header's line.
        line: u64,
        /// The absent column.
        column: &'static str,
        /// `latency`, `bandwidth` or `doorbell`.
        kind: &'static str,
    },
    /// A column name occurs twice.
    #[error("{}, line {line}, column {column}: named twice in the header", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The header's line.
        line: u64,
        /// The name.
        column: String,
    },
    /// A row with too few or too many fields.
    #[error("{}, line {line}, column {column}: {found} fields where the header has {expected}{}",
        path.display(), if *last { "; the file is cut short" } else { "" })]
    FieldCount {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
        /// The first column without a field, or `beyond the last`.
        column: String,
        /// Fields in the row.
        found: usize,
        /// Fields in the header.
        expected: usize,
        /// Whether it is the last row.
        last: bool,
    },
    /// The last line does not end.
    #[error(
        "{}, line {line}, column {column}: the last line has no line ending, so its value may be cut short; \
         end the line if it is whole, delete it if not",
        path.display()
    )]
    CutShort {
        /// The file.
        path: PathBuf,
        /// The last line.
        line: u64,
        /// The last column present.
        column: String,
    },
    /// A value that cannot be what its column holds.
    #[error("{}, line {line}, column {column}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Bytes that are not UTF-8 text.
    #[error("{}, line {line}, column byte {byte}: not UTF-8 text (binary or UTF-16?)", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line of the first such byte.
        line: u64,
        /// Its position in that line, from 1.
        byte: usize,
    },
    /// Polars refused what passed every check of ours.
    #[error("{}: cannot load: {message}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Polars' message, in one line.
        message: String,
    },
    /// A run.json that is not JSON of the expected shape.
    #[error(
        "{}: not a valid run.json: {problem}; it was cut short or written by something else: restore it, or remove it to \
         analyze without provenance",
        path.display()
    )]
    RunJson {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        problem: serde_json::Error,
    },
    /// A run.json of another schema.
    #[error("{}: schema is {found}, this analyze reads \"{expected}\"{advice}", path.display())]
    RunJsonSchema {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What is understood.
        expected: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// Two CSVs of one kind in one directory: they would be one run with two results.
    #[error(
        "{} and {}: two {kind} files of one run; give one, or put the runs into directories of their own",
        first.display(), second.display()
    )]
    TwoOfAKind {
        /// `latency` or `bandwidth`.
        kind: &'static str,
        /// The file given first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// More runs of a role than one report can be about.
    #[error(
        "{} and {}: two {role} runs; a report is about one run, with at most one native run as its baseline, or about \
         one run under a load with an idle one of the same machine; for a verdict on two or more, analyze compare, for a \
         table of many, analyze --matrix",
        first.display(), second.display()
    )]
    TooManyRuns {
        /// `native` or `VM`.
        role: &'static str,
        /// Directory of the first.
        first: PathBuf,
        /// Directory of the second.
        second: PathBuf,
    },
    /// A directory given as the cell of a matrix that is no run's.
    #[error("{}: no run.json in this directory, so it cannot be a cell of a matrix", directory.display())]
    NoRunJson {
        /// The directory.
        directory: PathBuf,
    },
    /// An output directory that is something else.
    #[error("{}: is not a directory; name one, or a path where one can be made", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// An output could not be written; what was there before is untouched.
    #[error("{}: cannot write", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture could not be drawn.
    #[error("{picture}: cannot draw: {message}")]
    Draw {
        /// The picture's file name.
        picture: &'static str,
        /// The plotting library's message.
        message: String,
    },
    /// Runs that cannot be compared.
    #[error(transparent)]
    CompareRuns(#[from] crate::compare_runs::Problem),
    /// Runs that cannot be exported.
    #[error(transparent)]
    Export(#[from] crate::export::Problem),
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted; no unfinished file was left behind")]
    Interrupted,
}

fn hint_at_runs(nested: &[PathBuf]) -> String {
    if nested.is_empty() {
        return String::new();
    }
    let list: Vec<_> = nested.iter().map(|p| p.display().to_string()).collect();
    format!("; try: analyze {}", list.join(" "))
}
