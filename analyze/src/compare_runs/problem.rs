//! Why runs cannot be compared, each as one line.

use std::path::PathBuf;

/// What stands in the way of a comparison.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A directory without runs.
    #[error("{}: holds no run directory{}", path.display(), hint(glob.as_ref()))]
    NoRuns {
        /// The directory.
        path: PathBuf,
        /// A glob of the runs one level further down.
        glob: Option<PathBuf>,
    },
    /// A glob that matches nothing of use.
    #[error("{}: matches no run directory and no CSV", pattern.display())]
    NoMatch {
        /// As given.
        pattern: PathBuf,
    },
    /// A glob that is none.
    #[error("{}: not a pattern: {message}", pattern.display())]
    Pattern {
        /// As given.
        pattern: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A run with neither messages nor frames, such as a doorbell file by itself.
    #[error(
        "{}: no figure to compare: it holds no ok row of latency_results.csv or bandwidth_results.csv; of a run with \
         doorbells give the directory",
        path.display()
    )]
    NoFigures {
        /// The run.
        path: PathBuf,
    },
    /// A run without run.json.
    #[error(
        "{}: no run.json beside it, so nothing tells whether it may be compared; --despite-differences compares it anyway",
        path.display()
    )]
    NoProvenance {
        /// The run.
        path: PathBuf,
    },
    /// Runs that differ in what matters.
    #[error(
        "{}: such runs differ by more than what is compared; --despite-differences compares them anyway",
        sentences.join("; ")
    )]
    Differ {
        /// A sentence for each difference, the gravest first.
        sentences: Vec<String>,
    },
    /// A run twice, by itself or as a copy.
    #[error("{} and {}: the same run twice; each run counts once, on one side", first.display(), second.display())]
    SameRun {
        /// Where it was met first.
        first: PathBuf,
        /// Where again.
        second: PathBuf,
    },
    /// No figure that all runs have.
    #[error(
        "no figure is in every run: base has {}, new has {}; compare runs of the same test",
        base.join(", "), new.join(", ")
    )]
    NothingInCommon {
        /// Figures of the base runs.
        base: Vec<String>,
        /// Figures of the new runs.
        new: Vec<String>,
    },
    /// A figure that a gate is to watch and the runs do not have.
    #[error("--max-regression {key}: no such figure in every run; there are {}", known.join(", "))]
    NoSuchFigure {
        /// As given.
        key: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A figure that a history is to watch and no run has.
    #[error("--figure {key}: no such figure in any run; there are {}", known.join(", "))]
    NotInHistory {
        /// As given.
        key: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A history without a single run that has a time and figures.
    #[error("{}: {why}", path.display())]
    NoHistory {
        /// The first directory given.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
}

impl Problem {
    /// Whether the command line is wrong rather than the runs.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoSuchFigure { .. } | Self::NotInHistory { .. })
    }
}

fn hint(glob: Option<&PathBuf>) -> String {
    glob.map_or_else(String::new, |glob| format!("; try '{}'", glob.display()))
}
