//! host-writer: parse, call, print the error chain, set the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use host_writer::config::{Config, Unmet};
use host_writer::{cli::Args, run::run};

fn main() -> ExitCode {
    let config = match Config::try_from(Args::parse()) {
        Ok(config) => config,
        Err(error) => return complain(&error, USAGE),
    };
    match run(&config) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) if error.is::<Unmet>() => complain(&error, USAGE),
        Err(error) => complain(&error, FAILED),
    }
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;

fn complain(error: &anyhow::Error, status: u8) -> ExitCode {
    // Where standard error cannot be written, the status still says how it ended.
    let _ = writeln!(std::io::stderr(), "host-writer: {error:#}");
    ExitCode::from(status)
}
