//! guest-reader as a transient unit of the guest's systemd: started for one measurement, known to be ready or why
//! it is not, and gone afterwards with its log in our hands.

use crate::deploy::quote;
use crate::qemu::complaint::{last_words, printable};
use crate::ssh::{Patience, Session, SshError};

/// Where the Debian guest has guest-reader.
pub const GUEST_READER: &str = "/usr/local/bin/guest-reader";

/// Why guest-reader does not run.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// SSH failed; whether it runs is not known.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// It does not start; nothing of it is left.
    #[error("{said}")]
    Refused {
        /// Its own words, or systemd's.
        said: String,
    },
}

/// The names of the unit's files in the guest.
#[derive(Debug, Clone, Copy)]
struct Unit<'a> {
    program: &'a str,
    directory: &'a str,
}

const UNIT: Unit<'static> = Unit { program: GUEST_READER, directory: "/run" };

/// Starts guest-reader with `options` and waits for its READY. One that an earlier, cut-off run has left is ended
/// first, and so is the load that it may have left: nobody would know what is measured beside it.
///
/// # Errors
/// [`UnitError`].
pub fn start(session: &Session, options: &str, patience: &Patience<'_>) -> Result<(), UnitError> {
    let output = session.output(&UNIT.as_root(START, options), b"", patience)?;
    if output.exit.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(UnitError::Refused { said: last_words(&said) })
}

/// Ends guest-reader, if it runs, and returns what it logged.
///
/// # Errors
/// [`UnitError`].
pub fn stop(session: &Session, patience: &Patience<'_>) -> Result<Vec<u8>, UnitError> {
    let output = session.output(&UNIT.as_root(STOP, ""), b"", patience)?;
    if output.exit.success() {
        return Ok(output.stdout);
    }
    let said = printable(String::from_utf8_lossy(&output.stderr).trim());
    Err(UnitError::Refused { said: if said.is_empty() { output.exit.to_string() } else { said } })
}

impl Unit<'_> {
    fn as_root(self, script: &str, options: &str) -> String {
        format!("sudo -n {}", self.command(script, options))
    }

    fn command(self, script: &str, options: &str) -> String {
        let mut command = format!("sh -c {} run", quote(script.as_bytes()));
        for word in [self.program, self.directory].into_iter().chain(options.split_whitespace()) {
            command.push(' ');
            command.push_str(&quote(word.as_bytes()));
        }
        command
    }
}

/// The FIFO is held open for reading and writing, so that whoever writes first, guest-reader its READY or systemd the
/// news of its end, neither blocks nor is missed. The log is appended to: what systemd runs after the end opens it once more. `[ -p ]` because `<>` would create what is not there any more.
const START: &str = r#"program=$1 directory=$2
shift 2
unit=ivshmem-guest-reader.service log=$directory/ivshmem-guest-reader.log ready=$directory/ivshmem-guest-reader.ready
fail() { echo "$1" >&2; exit 1; }
[ -x "$program" ] || fail "it is not at $program in the guest: 'provision deploy' puts it there"
systemctl stop "$unit" 2>/dev/null
systemctl stop ivshmem-guest-load.service 2>/dev/null
systemctl reset-failed "$unit" 2>/dev/null
rm -f "$log" "$ready"
mkfifo -m 600 "$ready" && exec 3<>"$ready" || fail "cannot make $ready"
trap 'rm -f "$ready"' EXIT
trap 'systemctl stop "$unit"; exit 1' HUP INT TERM
systemd-run --collect -q --unit="$unit" -p Type=exec -p StandardError=append:"$log" \
    -p "ExecStopPost=/bin/sh -c \"[ ! -p $ready ] || echo ENDED 1<>$ready\"" \
    "$program" --ready-port "$ready" "$@" || exit 1
IFS= read -r line <&3
case $line in READY|"READY "*) exit 0 ;; esac
systemctl stop "$unit" 2>/dev/null
case $line in "FAILED "*) echo "${line#FAILED }" >&2 ;; *) tail -n 3 "$log" >&2 ;; esac
rm -f "$log"
exit 1
"#;

/// A log is some lines for each session; what exceeds a mebibyte is of interest only at its end.
const STOP: &str = r#"directory=$2
log=$directory/ivshmem-guest-reader.log
systemctl stop ivshmem-guest-reader.service 2>/dev/null
if [ -e "$log" ]; then tail -c 1000000 "$log"; fi
rm -f "$log" "$directory/ivshmem-guest-reader.ready"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command, Output};

    /// What stands in for systemd: it runs the program at once, to its end, and then what follows its end. The
    /// FIFO is open at our side, so that a program that only says READY does not block.
    const SYSTEMD_RUN: &str = r#"#!/bin/sh
while :; do case $1 in
    StandardError=*) log=${1#StandardError=append:}; shift ;;
    ExecStopPost=*) post=${1#ExecStopPost=/bin/sh -c }; shift ;;
    -*|Type=*) shift ;;
    *) break ;;
esac; done
"$@" 2>>"$log"
eval "sh -c $post"
"#;

    struct Guest {
        directory: tempfile::TempDir,
    }

    impl Guest {
        fn new(guest_reader: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let guest = Self { directory };
            guest.install("guest-reader", &format!("#!/bin/sh\n{guest_reader}\n"));
            guest.install("systemd-run", SYSTEMD_RUN);
            guest.install("systemctl", "#!/bin/sh\necho \"$@\" >> \"${0%/*}/asked\"\n");
            guest
        }

        fn install(&self, name: &str, text: &str) {
            // Written by another process: see ETXTBSY in execve(2).
            let path = self.path().join(name);
            let script = "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"";
            let written = Command::new("sh").args(["-c", script, "x"]).arg(&path).arg(text).status();
            assert!(written.unwrap().success());
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o755);
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn run(&self, script: &str, options: &str) -> Output {
            let path = format!("{}:{}", self.path().display(), std::env::var("PATH").unwrap());
            let program = self.path().join("guest-reader").display().to_string();
            let directory = self.path().display().to_string();
            let unit = Unit { program: &program, directory: &directory };
            let command = unit.command(script, options);
            Command::new("sh").args(["-c", &command]).env("PATH", path).output().unwrap()
        }

        fn is_clean(&self) -> bool {
            !self.path().join("ivshmem-guest-reader.ready").exists()
                && !self.path().join("ivshmem-guest-reader.log").exists()
        }
    }

    #[test]
    fn a_guest_reader_that_is_ready_leaves_its_log_to_stop() {
        let guest = Guest::new("echo \"log of $*\" >&2; echo READY version=1 > \"$2\"");
        let output = guest.run(START, "--spin  pause");
        assert!(output.status.success(), "{output:?}");
        assert!(!guest.is_clean());
        let stopped = guest.run(STOP, "");
        let log = String::from_utf8(stopped.stdout).unwrap();
        assert!(log.starts_with("log of --ready-port ") && log.ends_with(" --spin pause\n"), "{log}");
        assert!(guest.is_clean());
        let asked = fs::read_to_string(guest.path().join("asked")).unwrap();
        let first: Vec<&str> = asked.lines().take(2).collect();
        let earlier = ["stop ivshmem-guest-reader.service", "stop ivshmem-guest-load.service"];
        assert_eq!(first, earlier, "what an earlier run left ends first");
    }

    #[test]
    fn a_guest_reader_that_fails_is_quoted_and_leaves_nothing() {
        for (program, expected) in [
            ("echo FAILED no device 1af4:1110 > \"$2\"; exit 1", "no device 1af4:1110\n"),
            ("echo 'error: unexpected argument' >&2; exit 2", "error: unexpected argument\n"),
        ] {
            let guest = Guest::new(program);
            let output = guest.run(START, "");
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
            assert!(guest.is_clean());
        }
    }

    #[test]
    fn an_absent_guest_reader_comes_with_how_to_deploy_it() {
        let guest = Guest::new("");
        fs::remove_file(guest.path().join("guest-reader")).unwrap();
        let output = guest.run(START, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.ends_with("in the guest: 'provision deploy' puts it there\n"), "{said}");
    }

    #[test]
    fn stopping_what_does_not_run_is_fine() {
        let guest = Guest::new("");
        let output = guest.run(STOP, "");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}
