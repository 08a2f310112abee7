//! From what was written on the command line to the runs of one side.
//!
//! A path is a CSV, a run directory, a directory that holds run directories, or a glob of any of these.

use std::fs;
use std::path::{Path, PathBuf};

use super::Problem;
use crate::error::Error;
use crate::input;

/// The files or the directory of one run.
pub(crate) type RunPaths = Vec<PathBuf>;

/// The runs that `paths` stand for, each once, in the order given; those of a directory or a glob by name.
///
/// # Errors
/// When a path is absent, a glob is none or matches no run, or a directory holds no run.
pub(crate) fn expand(paths: &[PathBuf]) -> Result<Vec<RunPaths>, Error> {
    let mut runs: Vec<RunPaths> = Vec::new();
    let mut seen = Vec::new();
    for path in paths {
        for found in expand_one(path)? {
            let canonical = fs::canonicalize(&found).map_err(|_| Error::Absent { path: found.clone() })?;
            if seen.contains(&canonical) {
                continue;
            }
            seen.push(canonical);
            // The contracted files of one directory are one run; files of other names are runs of their own.
            let beside = |run: &&mut RunPaths| run[0].parent() == found.parent() && is_contracted(&run[0]);
            match runs.iter_mut().find(beside) {
                Some(run) if is_contracted(&found) => run.push(found),
                _ => runs.push(vec![found]),
            }
        }
    }
    Ok(runs)
}

fn expand_one(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_dir() {
        let runs = runs_at(path);
        return if runs.is_empty() { Err(no_runs(path)) } else { Ok(runs) };
    }
    if path.exists() {
        return Ok(vec![path.into()]);
    }
    let Some(pattern) = path.to_str().filter(|text| text.contains(['*', '?', '['])) else {
        return Err(Error::Absent { path: path.into() });
    };
    let matches = glob::glob(pattern)
        .map_err(|error| Problem::Pattern { pattern: pattern.into(), message: error.msg.into() })?;
    let mut runs = Vec::new();
    for found in matches {
        let found = found.map_err(|error| Error::Read { path: error.path().into(), source: error.into() })?;
        if found.is_dir() {
            runs.extend(runs_at(&found));
        } else if is_csv(&found) {
            // Whatever else lies beside the CSVs of a run, such as its run.json, is no run.
            runs.push(found);
        }
    }
    if runs.is_empty() { Err(Problem::NoMatch { pattern: pattern.into() }.into()) } else { Ok(runs) }
}

/// The directory itself if it is a run's, or the run directories in it.
fn runs_at(directory: &Path) -> Vec<PathBuf> {
    if input::is_run_directory(directory) {
        return vec![directory.into()];
    }
    let mut runs: Vec<_> = children(directory).filter(|child| input::is_run_directory(child)).collect();
    runs.sort();
    runs
}

fn children(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Names a glob of the runs one level further down, if that is where they are: `results/*/vm`.
fn no_runs(directory: &Path) -> Error {
    let mut below: Vec<_> = children(directory).flat_map(|child| runs_at(&child)).collect();
    below.sort();
    let glob = below.first().and_then(|run| run.file_name()).map(|name| directory.join("*").join(name));
    Problem::NoRuns { path: directory.into(), glob }.into()
}

fn is_contracted(path: &Path) -> bool {
    path.file_name().is_some_and(input::is_contracted)
}

/// Whether a file's name is a CSV's, plain or compressed; of one that is there as both, the plain one's.
fn is_csv(path: &Path) -> bool {
    let ends = |path: &Path, with: &str| path.extension().is_some_and(|extension| extension == with);
    let plain = path.with_extension("");
    ends(path, "csv") || ends(path, "gz") && ends(&plain, "csv") && !plain.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    /// What `inputs` stand for, relative to the tree.
    fn expanded(dir: &Path, inputs: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let paths: Vec<_> = inputs.iter().map(|input| dir.join(input)).collect();
        let name = |path: PathBuf| path.strip_prefix(dir).unwrap().display().to_string();
        match expand(&paths) {
            Ok(runs) => Ok(runs.into_iter().map(|run| run.into_iter().map(name).collect()).collect()),
            Err(error) => Err(error.to_string().replace(&format!("{}/", dir.display()), "")),
        }
    }

    #[test]
    fn a_directory_of_runs_and_a_glob_of_them_are_the_same_runs() {
        let dir = tree(&["old/b/run.json", "old/a/latency_results.csv", "old/notes/readme.txt", "old/log"]);
        let runs = vec![vec!["old/a".to_owned()], vec!["old/b".to_owned()]];
        for inputs in [&["old"][..], &["old/*"], &["old/[ab]"], &["old/a", "old/b", "old/?"], &["o*"]] {
            assert_eq!(expanded(dir.path(), inputs), Ok(runs.clone()), "{inputs:?}");
        }
    }

    #[test]
    fn the_contracted_files_of_a_directory_are_one_run_and_others_are_runs_each() {
        let dir =
            tree(&["r/latency_results.csv", "r/bandwidth_results.csv", "r/run.json", "one.csv", "two.csv"]);
        let expected = vec![vec!["r/bandwidth_results.csv".to_owned(), "r/latency_results.csv".into()]];
        assert_eq!(expanded(dir.path(), &["r/*"]), Ok(expected));
        assert_eq!(expanded(dir.path(), &["one.csv", "two.csv"]).unwrap().len(), 2);
    }

    #[test]
    fn compressed_files_are_those_of_their_names() {
        let dir = tree(&[
            "r/latency_results.csv.gz",
            "r/bandwidth_results.csv",
            "r/log.gz",
            "r/run.json",
            "x.csv.gz",
        ]);
        let both = vec![vec!["r/bandwidth_results.csv".to_owned(), "r/latency_results.csv.gz".into()]];
        for inputs in [&["r/*"][..], &["r/*.csv*"], &["r/bandwidth_results.csv", "r/latency_results.csv.gz"]]
        {
            assert_eq!(expanded(dir.path(), inputs), Ok(both.clone()), "{inputs:?}");
        }
        assert_eq!(expanded(dir.path(), &["*.gz"]), Ok(vec![vec!["x.csv.gz".to_owned()]]));
        // Of one that is there as both, the plain one is read, as in a directory.
        let dir = tree(&["r/latency_results.csv.gz", "r/latency_results.csv"]);
        assert_eq!(expanded(dir.path(), &["r/*"]), Ok(vec![vec!["r/latency_results.csv".to_owned()]]));
    }

    #[test]
    fn what_stands_for_no_run_says_why() {
        let dir =
            tree(&["results/1/vm/run.json", "results/1/native/run.json", "results/2/vm/run.json", "empty/x"]);
        let error = |input| expanded(dir.path(), &[input]).unwrap_err();
        assert_eq!(error("gone"), "gone: no such file or directory");
        assert_eq!(error("gone-*"), "gone-*: matches no run directory and no CSV");
        assert!(error("gone-[").starts_with("gone-[: not a pattern: "), "{}", error("gone-["));
        assert_eq!(error("results"), "results: holds no run directory; try 'results/*/native'");
        assert_eq!(error("empty"), "empty: holds no run directory");
    }
}
