//! provision: parse, call, print the error, set the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use provision::cli::Cli;
use provision::command;

fn main() -> ExitCode {
    match command::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Each error is one whole line; its sources' words are in it already. Where standard error cannot be written,
            // the status still says how it ended.
            let _ = writeln!(std::io::stderr(), "provision: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
