//! Running the kernel's own build system on the driver's source.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::headers::Headers;
use super::{DriverError, FILE};
use crate::helper::{HelperError, run_watched};
use crate::image::find_program;
use crate::interrupt::Interrupts;

/// Longest that a build may take; it takes two seconds.
const PATIENCE: Duration = Duration::from_secs(600);

/// Looks for what a build needs, before anything is fetched.
pub(super) fn check_programs() -> Result<(), DriverError> {
    for (program, package) in [("make", "make"), ("gcc", "gcc"), ("ld", "binutils")] {
        if find_program(program).is_none() {
            return Err(DriverError::NoProgram { program, package });
        }
    }
    Ok(())
}

/// Builds what lies in `source`, and returns what make had to say, which for a clean build is nothing. A failed
/// build leaves all of it in `log`.
pub(super) fn build(
    headers: &Headers,
    source: &Path,
    log: &Path,
    interrupts: &Interrupts,
) -> Result<Vec<String>, DriverError> {
    let mut command = command(headers, source);
    let mut said = Vec::new();
    match run_watched(&mut command, interrupts, PATIENCE, &mut |line| said.push(line.to_owned())) {
        Ok(()) if source.join(FILE).is_file() => return Ok(said),
        Ok(()) | Err(HelperError::Failed { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    if said.iter().any(|line| line.contains("libelf.so.1")) {
        return Err(DriverError::NoProgram { program: "libelf.so.1", package: "libelf1" });
    }
    fs::write(log, said.join("\n") + "\n").map_err(DriverError::io(log))?;
    Err(DriverError::Build {
        release: headers.release.clone(),
        said: complaint(&said).to_owned(),
        log: log.to_owned(),
    })
}

fn command(headers: &Headers, source: &Path) -> Command {
    let mut command = Command::new("make");
    command.arg("--silent").arg("-C").arg(&headers.build);
    let mut module = std::ffi::OsString::from("M=");
    module.push(source);
    // Debugging information is nine tenths of a module, and type information takes a tool that few have.
    command.arg(module).args(["KCFLAGS=-g0", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]);
    // The headers name the compiler the kernel was built with. Another of the same family will do.
    let named = fs::read_to_string(headers.build.join(".kernelvariables")).unwrap_or_default();
    if compiler(&named).is_some_and(|name| find_program(name).is_none()) {
        command.arg("CC=gcc");
    }
    // A make that started us, or the user's settings for other builds, have no say in this one.
    for variable in
        ["MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "KCFLAGS", "ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT"]
    {
        command.env_remove(variable);
    }
    command
}

/// The compiler's name in `CC = $(if ...) $(CROSS_COMPILE)gcc-12`.
fn compiler(variables: &str) -> Option<&str> {
    let line = variables.lines().find(|line| line.starts_with("CC = "))?;
    line.rsplit([')', ' ']).next().filter(|name| name.starts_with("gcc"))
}

/// The line to show: the first that tells of an error, else the last.
fn complaint(said: &[String]) -> &str {
    let first = said.iter().find(|line| line.to_ascii_lowercase().contains("error"));
    first.or(said.last()).map_or("make said nothing", |line| line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_read_out_of_the_headers() {
        let debian =
            "override ARCH = x86\nCC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n";
        assert_eq!(compiler(debian), Some("gcc-12"));
        assert_eq!(compiler("CC = clang\n"), None);
        assert_eq!(compiler(""), None);
    }

    #[test]
    fn of_many_lines_the_first_error_is_shown() {
        let said = ["  CC x.o", "x.c:3:1: error: unknown type", "make[1]: *** Error 1"].map(str::to_owned);
        assert_eq!(complaint(&said), "x.c:3:1: error: unknown type");
        assert_eq!(complaint(&said[..1]), "CC x.o");
        assert_eq!(complaint(&[]), "make said nothing");
    }
}
