//! guest-reader: parse, call, print the error chain, set the exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use guest_reader::run::{Ended, NoSuchCpu, Usage, run};
use guest_reader::{cli::Args, init};

/// What clap exits with, too.
const USAGE: u8 = 2;
/// What host-writer exits with, too.
const SOME_NOT_OK: u8 = 3;

fn main() -> ExitCode {
    let is_init = init::is_init();
    if is_init && let Err(error) = init::mount_all() {
        tell(&format_args!("{error:#}"));
        init::power_off();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        // On the kernel's command line there is nobody to read colours and usage.
        Err(error) if is_init => {
            let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
            tell(&first_line);
            if let Some(port) = std::env::args().skip_while(|arg| arg != "--ready-port").nth(1) {
                init::tell(port.as_ref(), &format!("FAILED {first_line}; see guest-reader --help"));
            }
            init::power_off();
        }
        Err(error) => error.exit(),
    };
    let result = run(&args);
    if let Err(error) = &result {
        tell(&format_args!("{error:#}"));
        if let Some(port) = &args.ready_port {
            init::tell(port, &format!("FAILED {error:#}"));
        }
    }
    if is_init {
        init::power_off();
    }
    match result {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::SomeNotOk) => ExitCode::from(SOME_NOT_OK),
        Err(error) if error.is::<NoSuchCpu>() || error.is::<Usage>() => ExitCode::from(USAGE),
        Err(_) => ExitCode::FAILURE,
    }
}

/// A line on standard error. Where it cannot be written, the status still says how it ended.
fn tell(line: &impl Display) {
    let _ = writeln!(std::io::stderr(), "guest-reader: {line}");
}
