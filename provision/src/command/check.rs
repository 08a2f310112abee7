//! `provision check`: what this machine can do for the main job, and how to mend what it cannot.

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use super::{print, print_json};
use crate::Error;
use crate::check::{Host, Paint, Report, probe, text};
use crate::cli::CheckArgs;
use crate::interrupt::Interrupts;

/// The exit code of a machine that cannot do it.
const CANNOT_RUN: u8 = 3;

/// Tells about this machine.
///
/// # Errors
/// Ctrl-C, or standard output cannot be written.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Error> {
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let host = Host { root: "/".into(), interrupts: &interrupts };
    let report = Report::of(&probe(&host, &args.qemu, &args.kvm_device)?);
    if args.json {
        print_json(&report)?;
    } else {
        print(text(&report, paint()).as_bytes())?;
    }
    Ok(if report.can_run { ExitCode::SUCCESS } else { ExitCode::from(CANNOT_RUN) })
}

/// Colours for a terminal, unless the user wants none (no-color.org).
fn paint() -> Paint {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !unwanted { Paint::Colours } else { Paint::Plain }
}
