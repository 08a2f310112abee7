//! `provision man`: a page for the program and one for each subcommand, whole or not at all.
//!
//! Examples, exit codes and places are what `--help` prints below the options. There they are blocks of lines; here
//! each becomes a section: the lines of examples are kept as they are, the rest is filled.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::print;
use crate::Error;
use crate::cli::{Cli, ManArgs};

const EXAMPLES: &str = "EXAMPLES";
const EXIT_STATUS: &str = "EXIT STATUS";

/// Writes the pages and prints their paths.
///
/// # Errors
/// The directory cannot be written.
pub(super) fn run(args: &ManArgs) -> Result<ExitCode, Error> {
    let failed = |e| Error::io(format!("write man pages to {}", args.directory.display()), e);
    fs::create_dir_all(&args.directory).map_err(failed)?;
    let mut written = String::new();
    for (name, page) in pages().map_err(failed)? {
        let path = write_page(&args.directory, &name, &page).map_err(failed)?;
        written.push_str(&format!("{}\n", path.display()));
    }
    print(written.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes aside and renames, so that `man` never reads half a page.
fn write_page(directory: &Path, name: &str, page: &[u8]) -> io::Result<PathBuf> {
    let path = directory.join(name);
    // The user's umask takes from these, as it does from those of any file.
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
    file.write_all(page)?;
    file.persist(&path)?;
    Ok(path)
}

/// Every page and its file name.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let subcommands: Vec<&clap::Command> =
        program.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    let others: Vec<String> = subcommands.iter().map(|sub| format!("provision-{}", sub.get_name())).collect();
    let common = blocks(&program);
    let source = format!("provision {}", program.get_version().unwrap_or_default());
    let mut pages = vec![page(&program, &source, &common, &others)?];
    for subcommand in subcommands {
        let own: Vec<Block> = blocks(subcommand).into_iter().chain(common.clone()).collect();
        pages.push(page(subcommand, &source, &own, &["provision".to_owned()])?);
    }
    Ok(pages)
}

fn page(
    command: &clap::Command,
    source: &str,
    below: &[Block],
    see_also: &[String],
) -> io::Result<(String, Vec<u8>)> {
    let man = Man::new(command.clone()).source(source).manual("ivshmem toolkit");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut out)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut roff = Roff::default();
    for block in below {
        block.render(&mut roff);
    }
    roff.control("SH", ["SEE ALSO"]);
    for (index, name) in see_also.iter().enumerate() {
        let comma = if index + 1 < see_also.len() { "(1)," } else { "(1)" };
        roff.text([bold(name), roman(comma)]);
    }
    roff.to_writer(&mut out)?;
    Ok((man.get_filename(), out))
}

/// What `--help` prints below the options, one block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    heading: String,
    lines: Vec<String>,
}

impl Block {
    fn render(&self, roff: &mut Roff) {
        roff.control("SH", [self.heading.as_str()]);
        match self.heading.as_str() {
            EXAMPLES => {
                roff.control("nf", []);
                for line in &self.lines {
                    roff.text([roman(line)]);
                }
                roff.control("fi", []);
            }
            EXIT_STATUS => self.lines.iter().for_each(|line| render_code(roff, line)),
            _ => self.lines.iter().for_each(|line| {
                roff.text([roman(line)]);
            }),
        }
    }
}

/// `3    the VM does not run` as a code and its meaning, any other line as a paragraph.
fn render_code(roff: &mut Roff, line: &str) {
    match line.split_once("  ").filter(|(code, _)| code.parse::<u8>().is_ok()) {
        Some((code, meaning)) => {
            roff.control("TP", []);
            roff.text([bold(code)]);
            roff.text([roman(meaning.trim_start())]);
        }
        None => {
            roff.control("PP", []);
            roff.text([roman(line)]);
        }
    }
}

fn blocks(command: &clap::Command) -> Vec<Block> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    text.split("\n\n").filter(|block| !block.trim().is_empty()).map(block).collect()
}

/// A block that begins with `Something:` has that as its heading; the one that has none says where files are.
fn block(text: &str) -> Block {
    let strip = |line: &str| line.strip_prefix("  ").unwrap_or(line).to_owned();
    match text.split_once('\n') {
        Some((first, rest)) if first.ends_with(':') => {
            let heading = match first {
                "Exit codes:" => EXIT_STATUS.to_owned(),
                other => other.trim_end_matches(':').to_uppercase(),
            };
            Block { heading, lines: rest.lines().map(strip).collect() }
        }
        _ => Block { heading: "FILES".to_owned(), lines: text.lines().map(strip).collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_sections() {
        let examples = block("Examples:\n  provision up      a VM\n  provision down    none");
        assert_eq!(examples.heading, "EXAMPLES");
        assert_eq!(examples.lines, ["provision up      a VM", "provision down    none"]);
        assert_eq!(block("Exit codes:\n  0  done").heading, "EXIT STATUS");
        assert_eq!(block("State is kept here.").heading, "FILES");
    }

    #[test]
    fn codes_are_tagged_and_may_be_wrapped() {
        let mut roff = Roff::default();
        block("Exit codes:\n  130  interrupted by Ctrl-C\n  run ends with 1").render(&mut roff);
        let page = roff.render();
        let expected =
            ".SH \"EXIT STATUS\"\n.TP\n\\fB130\\fR\ninterrupted by Ctrl\\-C\n.PP\nrun ends with 1\n";
        assert!(page.ends_with(expected), "{page}");
    }

    #[test]
    fn each_subcommand_has_a_page() {
        let names: Vec<String> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 1 + Cli::command().get_subcommands().count());
        assert_eq!((names[0].as_str(), names[1].as_str()), ("provision.1", "provision-up.1"));
    }
}
