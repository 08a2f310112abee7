//! What the user sees while something takes long: one line that lives on a terminal, plain lines elsewhere, nothing
//! when quiet. All of it goes to standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::state::Phase;

/// How often a bar moves when nothing else makes it.
const TICK: Duration = Duration::from_millis(100);

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Nothing.
    pub quiet: bool,
}

impl Progress {
    /// Something the user should know.
    pub fn note(self, text: &str) {
        self.line(format_args!("provision: {text}"));
    }

    /// Something that takes a while: a line with the elapsed time on a terminal, until the task is dropped.
    pub fn task(self, label: &str) -> Task {
        self.start(label, None)
    }

    /// A task of so many bytes, when that is known.
    pub fn byte_task(self, label: &str, total_bytes: Option<u64>) -> Task {
        self.start(label, Some(total_bytes.unwrap_or_default()))
    }

    fn start(self, label: &str, bytes: Option<u64>) -> Task {
        let drawn = !self.quiet && io::stderr().is_terminal();
        let bar = drawn.then(|| {
            let bar = bars().add(ProgressBar::new(bytes.unwrap_or_default()));
            bar.set_style(style(bytes));
            bar.set_prefix(label.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            self.note(label);
        }
        Task { progress: self, bar, started: Instant::now() }
    }

    fn line(self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            // A closed standard error is no reason to give up a VM.
            let write = || drop(writeln!(io::stderr().lock(), "{text}"));
            BARS.get().map_or_else(write, |bars| bars.suspend(write));
        }
    }
}

/// The bars on the terminal. There is one standard error, so there is one of these; every line written past it would
/// tear a bar apart.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

fn bars() -> &'static MultiProgress {
    BARS.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
}

fn style(bytes: Option<u64>) -> ProgressStyle {
    let template = match bytes {
        None => "{spinner} [{elapsed}] {prefix}: {wide_msg}",
        Some(0) => "{spinner} [{elapsed}] {prefix}: {bytes} ({bytes_per_sec}) {wide_msg}",
        Some(_) => {
            "{spinner} [{elapsed}] {prefix}: {bar:30} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left) {wide_msg}"
        }
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Something under way. Dropping it takes its line off the terminal.
#[derive(Debug)]
pub struct Task {
    progress: Progress,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Task {
    /// A step of the task: replaces the last one on a terminal, is a line of its own elsewhere.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            // The label was a line of its own when the task began.
            None => {
                self.progress.line(format_args!("[{:7.3} s] {text}", self.started.elapsed().as_secs_f64()));
            }
        }
    }

    /// A phase of a start, with its time since QEMU was started: replaces the last one on a terminal, is a line of
    /// its own elsewhere.
    pub fn phase(&self, phase: Phase, since: Duration) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("{phase} ({:.1} s)", since.as_secs_f64())),
            None => self.progress.line(format_args!("[{:7.3} s] {phase}", since.as_secs_f64())),
        }
    }

    /// A detail that passes: shown on a terminal only.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// How many of the task's bytes are done.
    pub fn at_bytes(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// How many bytes the task has, now that it is known.
    pub fn total_bytes(&self, total: Option<u64>) {
        if let (Some(bar), Some(total)) = (&self.bar, total) {
            bar.set_length(total);
            bar.set_style(style(Some(total)));
        }
    }

    /// Since when it runs.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the task with a line that stays.
    pub fn done(self, text: &str) {
        let progress = self.progress;
        drop(self);
        progress.note(text);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            bars().remove(bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        for bytes in [None, Some(0), Some(10)] {
            let bar = ProgressBar::hidden();
            bar.set_style(style(bytes));
            bar.tick();
        }
        assert!(ProgressStyle::with_template("{spinner} {bar:30} {bytes_per_sec} {wide_msg}").is_ok());
    }

    #[test]
    fn a_quiet_task_draws_nothing() {
        let task = Progress { quiet: true }.task("boot");
        assert!(task.bar.is_none());
        task.say("kernel");
        task.detail("more");
        task.at_bytes(7);
        task.done("ready");
    }
}
