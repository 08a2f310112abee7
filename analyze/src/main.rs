//! analyze: parse, call, print the error chain, set the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use analyze::cli::Cli;
use analyze::error::Error;
use analyze::interrupt::Interrupt;
use anyhow::Context;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("analyze: {error:#}");
            let interrupted = matches!(error.downcast_ref(), Some(Error::Interrupted));
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let interrupt = Interrupt::install().context("cannot handle Ctrl-C")?;
    let analyze = if cli.matrix { analyze::matrix::analyze } else { analyze::analyze };
    let done = analyze(&cli.inputs, cli.out.as_deref(), cli.pictures, &interrupt)?;
    if cli.quiet && !cli.json {
        return Ok(());
    }
    let text = if cli.json { &done.json } else { &done.report };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the report"),
    }?;
    if !cli.json {
        eprintln!("wrote {} files to {}", done.written.len(), done.directory.display());
    }
    Ok(())
}
