//! The guest's load as a transient unit of its systemd: it runs before anything is measured, or why it does not is
//! known, and it is gone afterwards with its log in our hands.

use crate::deploy::quote;
use crate::guest_load::GuestLoad;
use crate::guest_unit::UnitError;
use crate::qemu::complaint::{last_words, printable};
use crate::ssh::{Exit, Patience, Session};

/// Where workers write that write to the guest's disk.
pub const IO_DIRECTORY: &str = "/var/tmp/ivshmem-guest-load";

/// Where the unit's files are in the guest.
const DIRECTORY: &str = "/run";
/// What `STOP` ends with when there was nothing to stop any more.
const ENDED: u8 = 3;

/// A load that was stopped.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// All it wrote.
    pub log: Vec<u8>,
    /// Whether it had run until then.
    pub ran_until_now: bool,
}

/// Starts the load and waits until its workers are being started. One that an earlier, cut-off run has left is ended
/// first.
///
/// # Errors
/// [`UnitError`].
pub fn start(session: &Session, load: &GuestLoad, patience: &Patience<'_>) -> Result<(), UnitError> {
    let command = format!("sudo -n {}", command(START, DIRECTORY, IO_DIRECTORY, &load.stress_ng_options()));
    let output = session.output(&command, b"", patience)?;
    if output.exit.success() {
        return Ok(());
    }
    Err(UnitError::Refused { said: last_words(&String::from_utf8_lossy(&output.stderr)) })
}

/// Ends the load, if it runs, removes what its workers wrote, and returns its log.
///
/// # Errors
/// [`UnitError`].
pub fn stop(session: &Session, patience: &Patience<'_>) -> Result<Stopped, UnitError> {
    let command = format!("sudo -n {}", command(STOP, DIRECTORY, IO_DIRECTORY, ""));
    let output = session.output(&command, b"", patience)?;
    match output.exit {
        Exit::Code(code @ (0 | ENDED)) => Ok(Stopped { log: output.stdout, ran_until_now: code == 0 }),
        exit => {
            let said = printable(String::from_utf8_lossy(&output.stderr).trim());
            Err(UnitError::Refused { said: if said.is_empty() { exit.to_string() } else { said } })
        }
    }
}

fn command(script: &str, directory: &str, io_directory: &str, options: &str) -> String {
    let mut command = format!("sh -c {} load", quote(script.as_bytes()));
    for word in [directory, io_directory].into_iter().chain(options.split_whitespace()) {
        command.push(' ');
        command.push_str(&quote(word.as_bytes()));
    }
    command
}

/// stress-ng says on its output when it starts its workers, which the relay passes on through the FIFO; it is a file
/// because systemd has a use of its own for every dollar sign in a command. It outlives the signal that ends
/// stress-ng, whose last words belong to the log. The FIFO is as in [`crate::guest_unit`].
const START: &str = r#"directory=$1 io=$2
shift 2
unit=ivshmem-guest-load.service base=$directory/ivshmem-guest-load
log=$base.log ready=$base.ready relay=$base.sh
fail() { echo "$1" >&2; exit 1; }
command -v stress-ng >/dev/null || fail "stress-ng is not in the guest: put it there with 'provision ssh -- \"sudo apt-get update && sudo apt-get install -y stress-ng\"', or make a VM of a new image, which has it, with 'provision up --fresh --image mirror'"
systemctl stop "$unit" 2>/dev/null
systemctl reset-failed "$unit" 2>/dev/null
rm -rf "$log" "$ready" "$relay" "$io"
mkdir -m 700 "$io" && mkfifo -m 600 "$ready" && exec 3<>"$ready" || fail "cannot make $io and $ready"
trap 'rm -f "$ready"' EXIT
trap 'systemctl stop "$unit"; exit 1' HUP INT TERM
cat > "$relay" <<'RELAY' || fail "cannot write $relay"
log=$1 ready=$2
shift 2
tell() { if [ -p "$ready" ]; then echo "$1" 1<>"$ready"; fi; }
trap : TERM
"$@" 2>&1 | {
    trap '' TERM
    while IFS= read -r line; do
        printf '%s\n' "$line" >> "$log"
        case $line in *'dispatching hogs'*) tell RUNS ;; esac
    done
}
tell ENDED
RELAY
systemd-run --collect -q --unit="$unit" -p Type=exec -p TimeoutStopSec=45 \
    /bin/sh "$relay" "$log" "$ready" stress-ng "$@" || exit 1
IFS= read -r line <&3
[ "$line" = RUNS ] && exit 0
systemctl stop "$unit" 2>/dev/null
tail -n 3 "$log" >&2
rm -rf "$log" "$relay" "$io"
exit 1
"#;

const STOP: &str = r#"base=$1/ivshmem-guest-load unit=ivshmem-guest-load.service
systemctl is-active --quiet "$unit"
ended=$?
systemctl stop "$unit" 2>/dev/null
if [ -e "$base.log" ]; then tail -c 1000000 "$base.log"; fi
rm -rf "$base.log" "$base.ready" "$base.sh" "$2"
[ $ended = 0 ] || exit 3
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    /// What stands in for systemd: it runs the unit in the background, which holds a lock while it runs.
    const SYSTEMD_RUN: &str = r#"#!/bin/sh
while :; do case $1 in
    -p) shift 2 ;;
    -*) shift ;;
    *) break ;;
esac; done
(flock 9; "$@" 3>&- 9>&-; :) 9>"${0%/*}/alive" >/dev/null </dev/null 2>&1 &
"#;

    const SYSTEMCTL: &str = r#"#!/bin/sh
here=${0%/*}
case $1 in
    is-active) if flock -n "$here/alive" true; then exit 3; fi ;;
    stop)
        if [ -e "$here/worker" ]; then kill "$(cat "$here/worker")"; fi
        flock "$here/alive" true ;;
esac
"#;

    /// Runs until told to stop.
    const RUNS: &str = r#"echo $$ > "${0%/*}/worker"
trap 'echo "successful run"; kill $!; exit 0' TERM
echo "dispatching hogs: $*"
sleep 50 >/dev/null &
wait $!"#;

    struct Guest {
        directory: tempfile::TempDir,
    }

    impl Guest {
        fn new(stress_ng: Option<&str>) -> Self {
            let guest = Self { directory: tempfile::tempdir().unwrap() };
            guest.install("systemd-run", SYSTEMD_RUN);
            guest.install("systemctl", SYSTEMCTL);
            if let Some(stress_ng) = stress_ng {
                guest.install("stress-ng", &format!("#!/bin/sh\n{stress_ng}\n"));
            }
            guest
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn install(&self, name: &str, text: &str) {
            // Written by another process: see ETXTBSY in execve(2).
            let script = "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"";
            let written =
                Command::new("sh").args(["-c", script, "x"]).arg(self.path().join(name)).arg(text).status();
            assert!(written.unwrap().success());
        }

        /// The search path holds what was installed and the named programs of this machine, whatever else it has.
        fn run(&self, script: &str, options: &str) -> Output {
            let tools = self.path().join("tools");
            if !tools.exists() {
                fs::create_dir(&tools).unwrap();
                for tool in ["cat", "flock", "mkdir", "mkfifo", "rm", "sh", "sleep", "tail", "true"] {
                    let found = crate::qemu::binary::find(Path::new(tool)).unwrap();
                    std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
                }
            }
            let path = format!("{}:{}", self.path().display(), tools.display());
            let (directory, io) = (self.path().display().to_string(), self.path().join("io"));
            let command = command(script, &directory, &io.display().to_string(), options);
            Command::new("/bin/sh").args(["-c", &command]).env("PATH", path).output().unwrap()
        }

        fn assert_clean(&self) {
            for name in ["ivshmem-guest-load.log", "ivshmem-guest-load.ready", "ivshmem-guest-load.sh", "io"]
            {
                assert!(!self.path().join(name).exists(), "{name} is left");
            }
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_load_runs_until_it_is_stopped_and_its_last_words_are_in_the_log() {
        let guest = Guest::new(Some(RUNS));
        let started = guest.run(START, "--cpu 2 --timeout 0");
        assert!(started.status.success(), "{started:?}");
        assert!(guest.path().join("io").is_dir());
        let stopped = guest.run(STOP, "");
        assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
        assert_eq!(text(&stopped.stdout), "dispatching hogs: --cpu 2 --timeout 0\nsuccessful run\n");
        guest.assert_clean();
    }

    #[test]
    fn a_load_that_fails_at_once_is_quoted_and_leaves_nothing() {
        let guest = Guest::new(Some("echo 'stress-ng: unrecognized option' >&2; exit 1"));
        let started = guest.run(START, "--cpu 1");
        assert_eq!(started.status.code(), Some(1));
        assert_eq!(text(&started.stderr), "stress-ng: unrecognized option\n");
        guest.assert_clean();
    }

    #[test]
    fn a_load_that_ended_by_itself_is_told_from_one_that_ran_until_stopped() {
        let guest = Guest::new(Some("echo 'dispatching hogs: 1 cpu'; echo 'out of memory'"));
        assert!(guest.run(START, "--cpu 1").status.success());
        let ended = Command::new("flock").arg(guest.path().join("alive")).arg("true").status();
        assert!(ended.unwrap().success());
        let stopped = guest.run(STOP, "");
        assert_eq!(stopped.status.code(), Some(ENDED.into()));
        assert_eq!(text(&stopped.stdout), "dispatching hogs: 1 cpu\nout of memory\n");
        guest.assert_clean();
    }

    #[test]
    fn an_absent_stress_ng_comes_with_how_to_get_it() {
        let guest = Guest::new(None);
        let started = guest.run(START, "--cpu 1");
        let said = text(&started.stderr);
        assert!(said.starts_with("stress-ng is not in the guest: ") && said.lines().count() == 1, "{said}");
        guest.assert_clean();
    }
}
