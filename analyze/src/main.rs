//! analyze: parse, call, print the error chain, set the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use analyze::answer::Answer;
use analyze::cli::{Cli, Command, ReportArgs};
use analyze::compare_runs::{self, gate};
use analyze::error::Error;
use analyze::interrupt::Interrupt;
use analyze::report::format::Format;
use analyze::report::terminal::coloured;
use analyze::{export, history};
use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.report.matrix && matches!(cli.report.output.format.format(), Format::Md | Format::Html) {
        let problem =
            "--matrix prints text, json or csv; give one of them to --format, or leave out --matrix";
        Cli::command().error(ErrorKind::ArgumentConflict, problem).exit();
    }
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell(&format!("analyze: {error:#}"));
            ExitCode::from(match error.downcast_ref() {
                Some(Error::Interrupted) => 130,
                Some(Error::CompareRuns(problem)) if problem.is_usage() => 2,
                _ => 1,
            })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let interrupt = Interrupt::install().context("cannot handle Ctrl-C")?;
    let (answer, format) = match &cli.command {
        None => (report(&cli.report, &interrupt)?, cli.report.output.format.format()),
        Some(Command::Compare(args)) => (compare_runs::run(args, &interrupt)?, args.output.format.format()),
        Some(Command::Gate(args)) => (gate::run(args, &interrupt)?, args.format.format()),
        Some(Command::History(args)) => (history::run(args, &interrupt)?, args.output.format.format()),
        Some(Command::Export(args)) => (export::run(args, &interrupt)?, Format::Text),
    };
    print(&answer.stdout, format)?;
    if let Some(note) = &answer.note {
        tell(note);
    }
    Ok(answer.exit_code)
}

fn report(args: &ReportArgs, interrupt: &Interrupt) -> anyhow::Result<Answer> {
    let analyze = if args.matrix { analyze::matrix::analyze } else { analyze::analyze };
    let output = &args.output;
    let format = output.format.format();
    let done = analyze(&args.inputs, output.out.as_deref(), format, output.pictures, interrupt)?;
    let is_silent = args.quiet && output.format.asked().is_none();
    let page = done.written.iter().find(|path| path.ends_with("report.html"));
    let page = page.map_or_else(String::new, |path| format!("; all of it is in {}", path.display()));
    let note = (format == Format::Text && !args.quiet)
        .then(|| format!("wrote {} files to {}{page}", done.written.len(), done.directory.display()));
    Ok(Answer { stdout: if is_silent { String::new() } else { done.printed }, note, exit_code: 0 })
}

/// A line on standard error. Nobody is left to be told that it cannot be written, and the exit status says the rest.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
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
