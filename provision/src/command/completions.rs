//! `provision completions`: a completion script for a shell, on standard output.

use std::process::ExitCode;

use clap::CommandFactory;

use super::print;
use crate::Error;
use crate::cli::{Cli, CompletionsArgs};

/// Prints the script.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "provision", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}
