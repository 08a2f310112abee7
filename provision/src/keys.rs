//! Ed25519 key pairs: the one that logs in, and the one by which the guest is known. Ed25519 because a guest under
//! TCG would take half a minute to make an RSA key, and because every OpenSSH in use reads it.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

/// Longest private key file looked at: one of ours has some 400 bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// Why there is no key pair.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system refuses.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is there but is no key of ours.
    #[error(
        "{path} is not an unencrypted ed25519 private key ({why}): put the right one back, or remove it and \
             {path}.pub to have a new pair made"
    )]
    Damaged {
        /// The private key's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A new pair could not be made.
    #[error("cannot make an ed25519 key pair ({0}): see that /dev/urandom is readable")]
    Generate(ssh_key::Error),
}

/// An ed25519 key pair in OpenSSH's formats.
#[derive(Clone)]
pub struct KeyPair {
    private_text: String,
    public_line: String,
    fingerprint: String,
}

impl KeyPair {
    /// A new pair.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(KeyError::Generate)?;
        key.set_comment(comment);
        let text = key.to_openssh(LineEnding::LF).map_err(KeyError::Generate)?;
        Self::read_text(text.as_str()).map_err(|_| KeyError::Generate(ssh_key::Error::FormatEncoding))
    }

    /// The pair in `path` and `path`.pub, which is made when there is none.
    ///
    /// The private file is what counts: a public one that is lost or altered is written anew from it.
    ///
    /// # Errors
    /// The private file is there but unusable, or the operating system refuses.
    pub fn load_or_create(path: &Path, comment: &str) -> Result<Self, KeyError> {
        let pair = match read_bounded(path) {
            Ok(text) => {
                let pair =
                    Self::read_text(&text).map_err(|why| KeyError::Damaged { path: path.to_owned(), why })?;
                // ssh(1) refuses a private key that others can read.
                fs::set_permissions(path, Permissions::from_mode(0o600))
                    .map_err(io_error("change the mode of", path))?;
                pair
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let pair = Self::generate(comment)?;
                write_aside(path, &pair.private_text, 0o600)?;
                pair
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(KeyError::Damaged { path: path.to_owned(), why: e.to_string() });
            }
            Err(e) => return Err(io_error("read", path)(e)),
        };
        let public = public_path(path);
        let line = format!("{}\n", pair.public_line);
        if fs::read_to_string(&public).ok().as_ref() != Some(&line) {
            write_aside(&public, &line, 0o644)?;
        }
        Ok(pair)
    }

    /// The private key as OpenSSH keeps it in a file.
    pub fn private_text(&self) -> &str {
        &self.private_text
    }

    /// The public key as a line of `authorized_keys`: `ssh-ed25519 AAAA... comment`.
    pub fn public_line(&self) -> &str {
        &self.public_line
    }

    /// Its fingerprint, `SHA256:...`, as ssh(1) shows it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A line of `known_hosts` by which ssh(1) knows this host key as `alias` (its `HostKeyAlias`).
    pub fn known_hosts_line(&self, alias: &str) -> String {
        let key: Vec<&str> = self.public_line.split(' ').take(2).collect();
        format!("{alias} {}", key.join(" "))
    }

    fn read_text(text: &str) -> Result<Self, String> {
        let key = PrivateKey::from_openssh(text).map_err(|e| e.to_string())?;
        if key.is_encrypted() {
            return Err("it has a passphrase".to_owned());
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(format!("it is {}", key.algorithm()));
        }
        let public = key.public_key();
        Ok(Self {
            private_text: text.to_owned(),
            public_line: public.to_openssh().map_err(|e| e.to_string())?.trim_end().to_owned(),
            fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        })
    }
}

/// The private half stays out of logs.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public_line", &self.public_line).finish_non_exhaustive()
    }
}

/// Where the public half of `path` lies, as ssh-keygen(1) names it.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Io { action, path: path.to_owned(), source }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, FILE_BYTES_MAX), &mut text)?;
    Ok(text)
}

/// Written beside its place and renamed: a half-written key never has the name.
fn write_aside(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        // Created with mode 0600: at no moment can others read a private key.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(io_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_pair_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("login");
        let made = KeyPair::load_or_create(&path, "provision debian").unwrap();
        assert_eq!((mode(&path), mode(&public_path(&path))), (0o600, 0o644));
        assert!(made.public_line().starts_with("ssh-ed25519 AAAA"));
        assert!(made.public_line().ends_with(" provision debian"));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(public_path(&path)).unwrap();
        let found = KeyPair::load_or_create(&path, "another comment").unwrap();
        assert_eq!(found.private_text(), made.private_text());
        assert_eq!(fs::read_to_string(public_path(&path)).unwrap().trim_end(), made.public_line());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_damaged_pair_is_reported_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("login");
        for damage in [b"".as_slice(), b"not a key\n", b"\xff\xfe", &vec![b'x'; 1 << 20]] {
            fs::write(&path, damage).unwrap();
            let error = KeyPair::load_or_create(&path, "").unwrap_err().to_string();
            assert!(error.contains("is not an unencrypted ed25519 private key"), "{error}");
            assert!(error.contains("remove it") && !error.contains('\n'), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damage);
        }
    }

    #[test]
    fn a_known_hosts_line_has_the_alias_and_no_comment() {
        let pair = KeyPair::generate("two words").unwrap();
        let line = pair.known_hosts_line("ivshmem-debian");
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!((fields.len(), fields[0], fields[1]), (3, "ivshmem-debian", "ssh-ed25519"));
    }

    #[test]
    fn ssh_keygen_reads_what_we_write() {
        if Command::new("ssh-keygen").arg("-?").output().is_err() {
            eprintln!("not checked against ssh-keygen: 'apt-get install openssh-client' to have it checked");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let pair = KeyPair::load_or_create(&path, "a comment").unwrap();
        let said = |argument: &str| {
            let output = Command::new("ssh-keygen").arg(argument).arg(&path).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(said("-yf").trim_end(), pair.public_line());
        assert!(said("-lf").starts_with(&format!("256 {} a comment", pair.fingerprint())));
    }
}
