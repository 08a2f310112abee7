//! The subcommands, one module each.

mod check;
mod clean;
mod completions;
mod console;
mod deploy;
mod doorbell_server;
mod down;
mod driver;
mod find;
mod host_writer;
mod list;
mod man;
mod run;
mod ssh;
mod status;
mod up;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::Error;
use crate::cli::{Cli, Command};
use crate::name::VmName;
use crate::paths::state_root;
use crate::state::VmDirectory;

/// What is left of a VM whose doorbell server has died.
const SERVER_IS_DEAD: &str =
    "its server is dead: who was there can still ring, but nobody can join, and QEMU cannot rejoin";

/// Does what the command line says.
///
/// # Errors
/// [`Error`].
pub fn run(cli: Cli) -> Result<ExitCode, Error> {
    match cli.command {
        Command::Up(args) => up::run(*args),
        Command::Status(args) => status::run(&args),
        Command::Down(args) => down::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Check(args) => check::run(&args),
        Command::DoorbellServer(args) => doorbell_server::run(args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Ssh(args) => ssh::run(&args),
        Command::Deploy(args) => deploy::run(&args),
        Command::Driver(args) => driver::run(&args),
        Command::Run(args) => run::run(&args),
        Command::List(args) => list::run(&args),
        Command::Clean(args) => clean::run(&args),
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
