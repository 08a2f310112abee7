//! `provision doorbell-server`: serves until it is told to end, which is how it ends well.

use std::process::ExitCode;

use crate::Error;
use crate::cli::DoorbellServerArgs;
use crate::doorbell_server::{ServerConfig, serve};
use crate::interrupt::Interrupts;

/// Serves.
///
/// # Errors
/// It cannot start; nothing is left behind.
pub(super) fn run(args: DoorbellServerArgs) -> Result<ExitCode, Error> {
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let DoorbellServerArgs { socket, shm, size, vectors, max_peers, json } = args;
    serve(&ServerConfig { socket, shm, size_bytes: size.0, vectors, max_peers, json }, &interrupts)?;
    Ok(ExitCode::SUCCESS)
}
