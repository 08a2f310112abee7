//! analyze: parse, call, print the error chain, set the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use analyze::cli::Cli;
use analyze::error::Error;
use analyze::interrupt::Interrupt;
use analyze::report::format::Format;
use analyze::report::terminal::coloured;
use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.matrix && matches!(cli.format.format(), Format::Md | Format::Html) {
        let problem =
            "--matrix prints text, json or csv; give one of them to --format, or leave out --matrix";
        Cli::command().error(ErrorKind::ArgumentConflict, problem).exit();
    }
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
    let format = cli.format.format();
    let analyze = if cli.matrix { analyze::matrix::analyze } else { analyze::analyze };
    let done = analyze(&cli.inputs, cli.out.as_deref(), format, cli.pictures, &interrupt)?;
    if cli.quiet && cli.format.asked().is_none() {
        return Ok(());
    }
    print(&done.printed, format)?;
    if format == Format::Text {
        let page = done.written.iter().find(|path| path.ends_with("report.html"));
        let page = page.map_or_else(String::new, |path| format!("; all of it is in {}", path.display()));
        eprintln!("wrote {} files to {}{page}", done.written.len(), done.directory.display());
    }
    Ok(())
}

/// Prints a result; with colours if it is text and standard output takes them.
fn print(text: &str, format: Format) -> anyhow::Result<()> {
    let stdout = io::stdout().lock();
    let written = if format == Format::Text {
        let mut stdout = anstream::AutoStream::auto(stdout);
        stdout.write_all(coloured(text).as_bytes()).and_then(|()| stdout.flush())
    } else {
        let mut stdout = stdout;
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    };
    match written {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the report"),
    }
}
