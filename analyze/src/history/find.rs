//! The runs of a folder: every run directory below it, that of run.sh's `results/TIME/vm` among them.

use std::fs;
use std::path::{Path, PathBuf};

use super::LeftOut;
use crate::compare_runs::one_run::OneRun;
use crate::compare_runs::sides::{self, RunPaths};
use crate::error::Error;
use crate::input;
use crate::interrupt::Interrupt;

/// Folders below this depth are somebody else's.
const DEPTH: usize = 4;

/// The runs that have a time, provenance and figures, in the order of time, and those that have not.
///
/// One damaged run among hundreds does not take the history away; it is named.
///
/// # Errors
/// When a path is absent or matches nothing, and once interrupted.
pub(super) fn find(paths: &[PathBuf], interrupt: &Interrupt) -> Result<(Vec<OneRun>, Vec<LeftOut>), Error> {
    let mut found: Vec<RunPaths> = Vec::new();
    for path in paths {
        if path.is_dir() {
            below(path, DEPTH, &mut found);
        } else {
            found.extend(sides::expand(std::slice::from_ref(path))?);
        }
    }
    let (mut runs, mut left_out): (Vec<OneRun>, Vec<LeftOut>) = (Vec::new(), Vec::new());
    let mut seen = Vec::new();
    for of_run in found {
        interrupt.check()?;
        // A link such as `latest` names a run that is there anyway.
        let path = &of_run[0];
        let canonical = fs::canonicalize(path).ok();
        if canonical.is_some() && seen.contains(&canonical) {
            continue;
        }
        seen.push(canonical);
        let mut leave_out = |why: String| left_out.push(LeftOut { run: path.display().to_string(), why });
        let run = match input::read_run(&of_run) {
            Ok(run) => OneRun::of(&run, path),
            Err(error) => {
                // The whole chain in one line, which begins with the file.
                leave_out(format!("{:#}", anyhow::Error::from(error)));
                continue;
            }
        };
        match &run {
            _ if run.provenance.is_none() => leave_out("no run.json beside it".into()),
            _ if run.started_utc.is_none() => leave_out("its run.json does not say when it began".into()),
            _ if run.figures.is_empty() => leave_out("no figure: no ok row of latency or bandwidth".into()),
            _ => match runs.iter().find(|known| known.is_same_run(&run)) {
                Some(known) => leave_out(format!("the same run as {}", known.path.display())),
                None => runs.push(run),
            },
        }
    }
    runs.sort_by(|a, b| (&a.started_utc, &a.path).cmp(&(&b.started_utc, &b.path)));
    Ok((runs, left_out))
}

fn below(directory: &Path, depth: usize, found: &mut Vec<RunPaths>) {
    if input::is_run_directory(directory) {
        found.push(vec![directory.into()]);
        return;
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut children: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    children.sort();
    for child in children.iter().filter(|_| depth > 0) {
        below(child, depth - 1, found);
    }
}
