//! A file into the guest: whole and checked, or not at all. A small script in the guest writes it beside its
//! destination, computes the digest of what it wrote, and renames it into place.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::qemu::complaint::last_words;
use crate::ssh::{Exit, Input, OUTPUT_BYTES_MAX, Patience, Session, Sink, SshError};

/// Bytes a second that even a guest under TCG with other things to do takes, for deadlines.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// What is allowed on top, for a guest that is busy.
const PATIENCE_MIN: Duration = Duration::from_secs(60);

/// Why a file is not in the guest.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// SSH failed.
    #[error("deploy to {destination}: {source}")]
    Ssh {
        /// Where it should have gone.
        destination: String,
        /// Why.
        source: SshError,
    },
    /// The guest refused, in its own words.
    #[error("deploy to {destination}: the guest says: {said}")]
    Refused {
        /// Where it should have gone.
        destination: String,
        /// The script's last words.
        said: String,
    },
    /// The guest reports another digest than ours.
    #[error("deploy to {destination}: the guest has sha256 {got} instead of {expected}: deploy again")]
    Damaged {
        /// Where it should have gone.
        destination: String,
        /// Ours.
        expected: String,
        /// What the guest computed.
        got: String,
    },
    /// No file can be called so.
    #[error("deploy to {destination:?}: a path has a name and no zero byte: name a file")]
    BadDestination {
        /// As given.
        destination: String,
    },
}

/// Something to put into the guest.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// The file's bytes.
    pub content: &'a [u8],
    /// Where it goes: a path of any bytes but zero, relative to the home directory.
    pub destination: &'a [u8],
    /// Its permission bits.
    pub mode: u32,
    /// Whether only root may write there.
    pub sudo: bool,
    /// What the guest must find: the content's SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Puts `content` into the guest as `destination` and returns the SHA-256 that the guest computed of what it wrote.
///
/// # Errors
/// [`DeployError`]; what was at the destination is there still.
pub fn bytes(
    session: &Session,
    content: &[u8],
    destination: &[u8],
    mode: u32,
    sudo: bool,
    patience: &Patience<'_>,
) -> Result<String, DeployError> {
    Delivery::new(content, destination, mode, sudo).send(session, &mut |_| {}, patience)
}

/// How long a file of that size may take.
pub fn patience_for(content_bytes: usize) -> Duration {
    PATIENCE_MIN + Duration::from_secs(content_bytes as u64 / BYTES_PER_SECOND_MIN)
}

impl<'a> Delivery<'a> {
    /// With the content's own digest.
    pub fn new(content: &'a [u8], destination: &'a [u8], mode: u32, sudo: bool) -> Self {
        let sha256 = hex(&Sha256::digest(content));
        Self { content, destination, mode, sudo, sha256 }
    }

    /// Sends it, telling `sent` how many bytes have gone.
    ///
    /// # Errors
    /// [`DeployError`]; what was at the destination is there still.
    pub fn send(
        &self,
        session: &Session,
        sent: &mut dyn FnMut(usize),
        patience: &Patience<'_>,
    ) -> Result<String, DeployError> {
        let destination = String::from_utf8_lossy(self.destination).into_owned();
        let Some(command) = self.command() else { return Err(DeployError::BadDestination { destination }) };
        let memory = || Sink::Memory { bytes: Vec::new(), limit_bytes: OUTPUT_BYTES_MAX };
        let (mut stdout, mut stderr) = (memory(), memory());
        let input = Input::Bytes { bytes: self.content, sent };
        let exit = session
            .exec(&command, input, &mut stdout, &mut stderr, patience)
            .map_err(|source| DeployError::Ssh { destination: destination.clone(), source })?;
        if exit != Exit::Code(0) {
            let said = match text(&stderr).trim() {
                "" => exit.to_string(),
                words => last_words(words),
            };
            return Err(DeployError::Refused { destination, said });
        }
        let got = text(&stdout).trim().to_owned();
        if got != self.sha256 {
            let expected = self.sha256.clone();
            return Err(DeployError::Damaged { destination, expected, got: last_words(&got) });
        }
        Ok(got)
    }

    /// The command for the guest's shell, which is fed the content; `None` for a destination that is none.
    fn command(&self) -> Option<String> {
        if self.destination.is_empty() || self.destination.ends_with(b"/") || self.destination.contains(&0) {
            return None;
        }
        let shell = if self.sudo { "sudo -n sh" } else { "sh" };
        let (script, destination) = (quote(SCRIPT.as_bytes()), quote(self.destination));
        Some(format!("{shell} -c {script} deploy {destination} {:04o} {}", self.mode & 0o7777, self.sha256))
    }
}

/// Reads the file on standard input; its arguments are destination, mode and SHA-256. The name is cut off with the
/// shell's own means: `$(dirname)` would eat a newline.
const SCRIPT: &str = r#"set -eu
destination=$1
case $destination in /*|./*|../*) ;; *) destination=./$destination ;; esac
fail() { echo "$1" >&2; exit 1; }
[ ! -d "$destination" ] || fail "it is a directory: end it with / to put the file into it"
temporary=$(mktemp "${destination%/*}/.deploy.XXXXXXXX")
trap 'rm -f "$temporary"' EXIT
trap 'exit 1' HUP INT TERM
trap '' PIPE
cat > "$temporary"
sha256=$(sha256sum < "$temporary")
sha256=${sha256%% *}
if [ "$sha256" != "$3" ]; then rm -f "$temporary"; fail "it arrived damaged (sha256 $sha256 instead of $3): deploy again"; fi
chmod "$2" "$temporary"
sync "$temporary"
mv -fT "$temporary" "$destination"
trap - EXIT
echo "$sha256"
"#;

/// The one word that a POSIX shell takes for these bytes. What is no UTF-8 cannot travel in a command and is
/// spelled for printf(1); a newline, which `$( )` would eat at its end, is never among that.
pub fn quote(bytes: &[u8]) -> String {
    let mut word = String::new();
    for chunk in bytes.utf8_chunks() {
        if !chunk.valid().is_empty() || bytes.is_empty() {
            word.push_str(&format!("'{}'", chunk.valid().replace('\'', r"'\''")));
        }
        if !chunk.invalid().is_empty() {
            let octal: String = chunk.invalid().iter().map(|byte| format!(r"\{byte:03o}")).collect();
            word.push_str(&format!("\"$(printf '{octal}')\""));
        }
    }
    if word.is_empty() { "''".to_owned() } else { word }
}

fn text(sink: &Sink<'_>) -> String {
    match sink {
        Sink::Memory { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Sink::Descriptor(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    const ODD_NAMES: [&[u8]; 9] = [
        b"plain",
        b"with space",
        b"it's \"quoted\" $HOME `id` \\n",
        b"-rf",
        b"new\nline\n",
        b"*?[a]{b,c}~;&|<>()#!",
        b"\xff\xfe latin \xe9",
        "\u{e4}\u{1f980}".as_bytes(),
        b"\xc3\n",
    ];

    /// Runs what the guest's shell would run, here and in `home`.
    fn deliver(home: &Path, delivery: &Delivery<'_>) -> Output {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(delivery.command().unwrap()).current_dir(home);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(delivery.content);
        child.wait_with_output().unwrap()
    }

    fn listing(directory: &Path) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect()
    }

    #[test]
    fn words_of_any_bytes_pass_through_a_shell_as_they_are() {
        for name in ODD_NAMES.iter().copied().chain([&b""[..], b"'", b"\n"]) {
            let script = format!("printf %s {}", quote(name));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(output.stdout, name, "{script}");
        }
    }

    #[test]
    fn files_of_any_name_arrive_with_their_mode_and_nothing_else_does() {
        for name in ODD_NAMES {
            let home = tempfile::tempdir().unwrap();
            let delivery = Delivery::new(b"content", name, 0o4751, false);
            let output = deliver(home.path(), &delivery);
            assert!(output.status.success(), "{name:?}: {output:?}");
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), delivery.sha256);
            let file = home.path().join(OsStr::from_bytes(name));
            assert_eq!(std::fs::read(&file).unwrap(), b"content");
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o4751);
            assert_eq!(listing(home.path()), [name.to_vec()]);
        }
    }

    #[test]
    fn a_damaged_file_leaves_the_old_one_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "old").unwrap();
        let delivery = Delivery { content: b"cut of", ..Delivery::new(b"cut off", b"file", 0o644, false) };
        let output = deliver(home.path(), &delivery);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("it arrived damaged (sha256 "), "{said}");
        assert_eq!(std::fs::read(home.path().join("file")).unwrap(), b"old");
        assert_eq!(listing(home.path()), [b"file".to_vec()]);
    }

    #[test]
    fn a_directory_is_not_replaced_and_absent_parents_are_told() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("directory")).unwrap();
        let into = |destination: &[u8]| {
            let output = deliver(home.path(), &Delivery::new(b"x", destination, 0o644, false));
            assert!(!output.status.success());
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(into(b"directory").contains("it is a directory"));
        assert!(into(b"absent/file").contains("mktemp: failed to create file"));
        assert_eq!(listing(home.path()), [b"directory".to_vec()]);
    }

    #[test]
    fn sudo_is_not_asked_for_a_password_and_what_is_no_file_is_refused() {
        let command = |destination, sudo| Delivery::new(b"", destination, 0o755, sudo).command();
        assert!(command(b"/usr/local/bin/x", true).unwrap().starts_with("sudo -n sh -c '"));
        for destination in [&b""[..], b"bin/", b"a\0b"] {
            assert_eq!(command(destination, false), None);
        }
    }
}
