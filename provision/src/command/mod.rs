//! The subcommands, one module each.

mod console;
mod down;
mod status;
mod up;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::Error;
use crate::cli::{Cli, Command};
use crate::name::VmName;
use crate::paths::state_root;
use crate::state::VmDirectory;

/// Does what the command line says.
///
/// # Errors
/// [`Error`].
pub fn run(cli: Cli) -> Result<ExitCode, Error> {
    match cli.command {
        Command::Up(args) => up::run(args),
        Command::Status(args) => status::run(&args),
        Command::Down(args) => down::run(&args.name),
        Command::Console(args) => console::run(&args),
    }
}

fn directory_of(name: &VmName) -> Result<VmDirectory, Error> {
    Ok(VmDirectory::new(&state_root()?, name))
}

/// Prints to standard output. A reader who has seen enough (`| head`) is no failure.
fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write to standard output", e)),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::io("write JSON", e.into()))?;
    text.push(b'\n');
    print(&text)
}
