//! What stress-ng takes and what it shows: its arguments, its version, the names of its workers and their files.

use std::io;
use std::process::Command;

use anyhow::anyhow;

use crate::load_spec::LoadSpec;
use crate::process_group::Member;

/// The program.
pub(crate) const STRESS_NG: &str = "stress-ng";
/// The cache size a memory worker is told. Its three arrays are four times that each, 192 MiB in all: beyond one CPU's
/// share of any cache, and bounded where a hypervisor reports the cache of the whole socket, of which it would
/// take twelve times.
const STREAM_CACHE: &str = "16M";
/// How much an I/O worker writes before it starts over.
const FILE_BYTES: &str = "256M";

/// What `spec` means to stress-ng (stress-ng(1)). One method of computing, and not a round of all: the load is to be
/// the same throughout the test.
pub(crate) fn arguments(spec: &LoadSpec) -> Vec<String> {
    let mut arguments = vec!["--timeout".to_owned(), "0".to_owned()];
    let mut add = |workers: u32, kind: &str, option: &str, value: &str| {
        if workers > 0 {
            arguments.extend([kind.to_owned(), workers.to_string(), option.to_owned(), value.to_owned()]);
        }
    };
    add(spec.cpu, "--cpu", "--cpu-method", "matrixprod");
    add(spec.memory, "--stream", "--stream-l3-size", STREAM_CACHE);
    add(spec.io, "--hdd", "--hdd-bytes", FILE_BYTES);
    arguments
}

/// Whether a worker is past its preparations. Those that say where they stand do so in brackets at the end of
/// their command line: `stress-ng-stream [run]`.
pub(crate) fn is_running(worker: &Member) -> bool {
    let line = worker.command_line();
    line.ends_with("[run]") || !line.contains('[')
}

/// The worker whose directory is called `name`: `tmp-stress-ng-hdd-<pid>-<instance>`.
pub(crate) fn owner_of(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix("tmp-stress-ng-")?.rsplit('-');
    parts.nth(1)?.parse().ok()
}

/// `0.15.06` of `stress-ng, version 0.15.06 (gcc 12.2.0, ...)`.
pub(crate) fn version(program: &str) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output().map_err(|error| cannot_run(&error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = text.split_once("version ").and_then(|(_, rest)| rest.split_whitespace().next());
    Ok(word.unwrap_or("unknown").to_owned())
}

/// Why it does not run, in a line.
pub(crate) fn cannot_run(error: &io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound {
        anyhow!("--load needs stress-ng, which is not in PATH; install it (Debian: apt install stress-ng)")
    } else {
        anyhow!("cannot run stress-ng: {error}")
    }
}

/// The command as it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_with_workers_are_asked_of_stress_ng() {
        let arguments = |text: &str| arguments(&text.parse().unwrap()).join(" ");
        assert_eq!(arguments("cpu=2"), "--timeout 0 --cpu 2 --cpu-method matrixprod");
        assert_eq!(
            arguments("memory=1,io=3,cpu=0"),
            "--timeout 0 --stream 1 --stream-l3-size 16M --hdd 3 --hdd-bytes 256M"
        );
    }

    #[test]
    fn a_directory_belongs_to_the_worker_it_names() {
        assert_eq!(owner_of("tmp-stress-ng-hdd-22405-0"), Some(22405));
        for name in ["tmp-stress-ng-", "tmp-stress-ng-7", "tmp-stress-ng-hdd-x-0", "results-22405-0", ""] {
            assert_eq!(owner_of(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        let mut command = Command::new("stress-ng");
        command.args(["--cpu", "2", "--temp-path", "/a b/it's", ""]);
        assert_eq!(shown(&command), r"stress-ng --cpu 2 --temp-path '/a b/it'\''s' ''");
    }
}
