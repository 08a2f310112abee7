//! `analyze export`: every row of every run, with where it comes from, as Parquet files that a query finds its way through.
//!
//! `place` says where a run's files lie, `provenance` which columns every row gets besides its own, `parquet` writes.

mod parquet;
mod place;
mod problem;
mod provenance;

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use problem::Problem;

use crate::answer::Answer;
use crate::error::Error;
use crate::input::{self, Frames, Provenance};
use crate::interrupt::Interrupt;
use crate::output::create_directory;
use crate::report::text::{grouped, plural};
use parquet::ParquetFile;
use place::Place;

const EXAMPLES: &str = "\
Examples:
  analyze export --parquet fleet results/vm results/native
  analyze export --parquet fleet results/*/*
  analyze export --parquet fleet --host rack7-node3 results/vm
  duckdb -c \"SELECT host, accelerator, quantile_disc(latency_ns, 0.5)
    FROM read_parquet('fleet/**/*.parquet', hive_partitioning = true)
    WHERE kind = 'latency' AND status = 'ok' GROUP BY ALL\"

Written: one file a run and kind of test,
  OUT/kind=latency/host=H/accelerator=A/date=YYYY-MM-DD/part-SESSION.parquet
with all columns of the CSV and, in columns that begin with run_, what run.json
says of the run. A run that is exported again replaces its files. The host is
named by its CPU's model unless --host names it; the accelerator of a run
without a VM is native; the date is that of the run's start, UTC.

Exit status: 0 done, 1 could not be done, 2 wrong usage, 130 interrupted.";

/// Every row of runs, with their provenance, as Parquet for DuckDB, Spark or
/// polars.
#[derive(Debug, clap::Args)]
#[command(term_width = 80, after_help = EXAMPLES)]
pub struct Args {
    /// Where to write; created if absent, added to if not
    #[arg(long, value_name = "OUT")]
    pub parquet: PathBuf,

    /// Name of the machine all these runs were measured on [default: its CPU's
    /// model]
    #[arg(long, value_name = "NAME", value_parser = place::host_name)]
    pub host: Option<String>,

    /// Run directories, each with its run.json
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
}

/// A file that is written and has no name yet.
struct Staged {
    file: ParquetFile,
    place: Place,
    rows: u64,
}

/// Exports all runs, or none.
///
/// # Errors
/// When a run cannot be read or says too little of itself, when a file cannot be written, and once interrupted.
pub fn run(args: &Args, interrupt: &Interrupt) -> Result<Answer, Error> {
    create_directory(&args.parquet)?;
    let mut staged = Vec::new();
    let mut stdout = String::new();
    for directory in &args.runs {
        let before = staged.len();
        stage(directory, args, &mut staged, interrupt)?;
        if staged.len() == before {
            let _ = writeln!(stdout, "{}: no rows, the run kept a histogram", directory.display());
        }
    }
    interrupt.check()?;
    let mut rows = 0;
    let files = staged.len();
    for Staged { file, place, rows: of_file } in staged {
        let path = file.persist()?;
        place.remove_elsewhere(&args.parquet)?;
        rows += of_file;
        let _ = writeln!(stdout, "{}: {}", path.display(), plural(of_file, "row"));
    }
    let note = format!(
        "wrote {} with {} to {}",
        plural(files as u64, "file"),
        grouped(rows) + " rows",
        args.parquet.display()
    );
    Ok(Answer { stdout, note: Some(note), exit_code: 0 })
}

fn stage(
    directory: &Path,
    args: &Args,
    staged: &mut Vec<Staged>,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    if !directory.exists() {
        return Err(Error::Absent { path: directory.into() });
    }
    if !directory.is_dir() {
        return Err(Problem::NoDirectory { path: directory.into() }.into());
    }
    let path = directory.join("run.json");
    let Some(provenance) = Provenance::read(&path)? else {
        return Err(Problem::NoProvenance { directory: directory.into() }.into());
    };
    // Read as a report would: what a report refuses is not exported.
    drop(input::read_run(&[directory.to_path_buf()])?);
    let columns = provenance::columns(directory, &provenance.run);
    for csv in input::contracted(directory) {
        let mut frames = Frames::open(&csv)?;
        let place = Place::of(frames.kind(), &path, &provenance.run, args.host.as_deref())?;
        if let Some(other) = staged.iter().find(|other| other.place == place) {
            return Err(Problem::SameSession {
                session: other.place.session.clone(),
                directory: directory.into(),
            }
            .into());
        }
        let mut file = ParquetFile::create(&args.parquet, &place.path(&args.parquet))?;
        let mut rows = 0;
        while let Some(frame) = frames.next()? {
            interrupt.check()?;
            rows += frame.height() as u64;
            file.add(&csv, frame, &columns)?;
        }
        staged.push(Staged { file, place, rows });
    }
    Ok(())
}

/// Makes a rename in `directory` last.
fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|source| Error::Write { path: directory.into(), source })
}
