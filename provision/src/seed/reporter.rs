//! How the guest's cloud-init is told to report to the host: three commands for `bootcmd`, which run on every boot
//! as soon as the network is up.

use serde_json::{Value, json};

/// The program in the guest.
const SCRIPT: &str = include_str!("ivshmem-report.sh");

/// Where it lies there.
const PATH: &str = "/usr/local/sbin/ivshmem-report";

/// Puts the program in place and reports for the first time: `$0` is its path, `$1` its text, `$2` the port.
///
/// `write_files` would be the usual way, but stock module lists run `bootcmd` before `write-files`, and a user's
/// list may leave it out: a command that carries what it needs works under any list that has `bootcmd`.
const INSTALL: &str = r#"mkdir -p "${0%/*}" && printf %s "$1" >"$0" && chmod 755 "$0" && "$0" "$2" network"#;

/// The commands, for the virtio-serial port named `port`.
///
/// The later reports are transient units queued into the boot under way: systemd starts each when the unit it is
/// ordered after is up (or has failed), so nothing waits, polls or reloads.
pub(super) fn commands(port: &str) -> Vec<Value> {
    vec![
        json!(["sh", "-c", INSTALL, PATH, SCRIPT, port]),
        after("ssh.service", port, "sshd"),
        after("cloud-final.service", port, "finished"),
    ]
}

fn after(unit: &str, port: &str, what: &str) -> Value {
    let order = format!("After={unit}");
    json!(["systemd-run", "--no-block", "--collect", "-q", "-p", order, PATH, port, what])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_first_command_installs_the_program_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/ivshmem-report");
        let output = Command::new("sh")
            .args(["-c", INSTALL])
            .arg(&path)
            .args([SCRIPT, "no-such-port"])
            .output()
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), SCRIPT);
        // It was run, too, and there is no such port here.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("there is no virtio-serial port named no-such-port"), "{said}");
    }
}
