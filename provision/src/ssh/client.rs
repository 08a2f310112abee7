//! OpenSSH's client for whoever wants a shell: a terminal, its size and its modes are its trade. It is told all
//! we know of the VM, and reads no file of the user's.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::state::SshRecord;

/// Its name.
pub const PROGRAM: &str = "ssh";

/// OpenSSH's client is not there.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not installed.
    #[error(
        "there is no ssh in PATH: install it with 'apt-get install openssh-client', or run one command with 'provision ssh -- COMMAND'"
    )]
    Missing,
    /// It does not start.
    #[error("start ssh: {0}")]
    Start(io::Error),
}

impl From<io::Error> for ClientError {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Start(e) }
    }
}

/// What it is started with for a shell in the guest.
pub fn interactive_args(ssh: &SshRecord) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-F".into(), "/dev/null".into()];
    args.extend(["-p".into(), ssh.port.to_string().into()]);
    let mut option = |text: OsString| args.extend(["-o".into(), text]);
    // Not -i: the client expands % there, too, but first looks for the file as it is spelled.
    option(file_option("IdentityFile", &ssh.identity_file));
    option(file_option("UserKnownHostsFile", &ssh.known_hosts_file));
    option(format!("HostKeyAlias={}", ssh.host_alias).into());
    for fixed in [
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "IdentitiesOnly=yes",
        // An agent's keys would be tried first, and too many of them end the login.
        "IdentityAgent=none",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "LogLevel=ERROR",
    ] {
        option(fixed.into());
    }
    args.push(format!("{}@127.0.0.1", ssh.user).into());
    args
}

/// `Name="path"`. The client splits such a value at spaces like a line of its configuration, and expands `%` in it
/// (ssh_config(5), TOKENS).
fn file_option(name: &str, path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut text = format!("{name}=\"").into_bytes();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' => text.extend(b"%%"),
            b'"' | b'\\' => text.extend([b'\\', byte]),
            _ => text.push(byte),
        }
    }
    text.push(b'"');
    OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_told_all_and_reads_nothing_of_the_users() {
        let record = SshRecord {
            port: 2222,
            user: "debian".into(),
            identity_file: "/a b/50%/id_ed25519".into(),
            known_hosts_file: "/a b/50%/known_hosts".into(),
            host_key: "ssh-ed25519 AAAA".into(),
            host_alias: "debian".into(),
        };
        let args = interactive_args(&record);
        let lines: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn an_absent_client_comes_with_its_package() {
        let error = ClientError::from(io::Error::from(io::ErrorKind::NotFound)).to_string();
        assert!(error.contains("openssh-client"), "{error}");
    }
}
