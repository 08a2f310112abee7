//! host-writer: parse, call, print the error chain, set the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use host_writer::{cli::Args, config::Config, run::run};

fn main() -> ExitCode {
    match Config::try_from(Args::parse()).and_then(|config| run(&config)) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            eprintln!("host-writer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
