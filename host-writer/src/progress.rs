//! Progress bars, on a terminal only, drawn between messages and never inside a timer.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Print;

/// The bar of one test.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of `total` steps, 0 when nobody knows, called `name`; hidden unless standard error is a terminal and tables are wanted.
    #[must_use]
    pub fn new(name: &'static str, total: u64, print: Print) -> Self {
        let shown = print == Print::Tables && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target((total > 0).then_some(total), target).with_message(name);
        let template =
            if total > 0 { "{msg:>11} {bar:40} {pos}/{len} {eta}" } else { "{msg:>11} {pos} in {elapsed}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// One more step is behind us.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// `done` steps are behind us.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
