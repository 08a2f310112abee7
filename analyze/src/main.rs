//! analyze: parse, call, print the error chain, set the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use analyze::answer::Answer;
use analyze::cli::{Cli, Command, ReportArgs};
use analyze::compare_runs::{self, gate};
use analyze::error::Error;
use analyze::history;
use analyze::interrupt::Interrupt;
use anyhow::Context;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("analyze: {error:#}");
            let interrupted = matches!(error.downcast_ref(), Some(Error::Interrupted));
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let interrupt = Interrupt::install().context("cannot handle Ctrl-C")?;
    let answer = match &cli.command {
        None => report(&cli.report, &interrupt)?,
        Some(Command::Compare(args)) => compare_runs::run(args, &interrupt)?,
        Some(Command::Gate(args)) => gate::run(args, &interrupt)?,
        Some(Command::History(args)) => history::run(args, &interrupt)?,
    };
    print(&answer.stdout)?;
    if let Some(note) = &answer.note {
        eprintln!("{note}");
    }
    Ok(answer.exit_code)
}

fn report(args: &ReportArgs, interrupt: &Interrupt) -> anyhow::Result<Answer> {
    let analyze = if args.matrix { analyze::matrix::analyze } else { analyze::analyze };
    let done = analyze(&args.inputs, args.out.as_deref(), args.pictures, interrupt)?;
    let stdout = match (args.json, args.quiet) {
        (true, _) => done.json,
        (false, true) => String::new(),
        (false, false) => done.report,
    };
    let note = (!args.json && !args.quiet)
        .then(|| format!("wrote {} files to {}", done.written.len(), done.directory.display()));
    Ok(Answer { stdout, note, exit_code: 0 })
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the report"),
    }
}
