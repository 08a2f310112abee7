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
}

fn hint(glob: Option<&PathBuf>) -> String {
    glob.map_or_else(String::new, |glob| format!("; try '{}'", glob.display()))
}
