//! guest-reader: parse, call, print the error chain, set the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use guest_reader::{cli::Args, init, run::run};

fn main() -> ExitCode {
    let is_init = init::is_init();
    if is_init && let Err(error) = init::mount_all() {
        eprintln!("guest-reader: {error:#}");
        init::power_off();
    }
    let args = Args::parse();
    let result = run(&args);
    if let Err(error) = &result {
        eprintln!("guest-reader: {error:#}");
        if let Some(port) = &args.ready_port {
            init::tell(port, &format!("FAILED {error:#}"));
        }
    }
    if is_init {
        init::power_off();
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
