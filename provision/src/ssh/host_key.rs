//! Whether the server that answers is the VM that was started: its host key is the one it was given.

use ssh_key::{HashAlg, PublicKey};

use super::SshError;

/// The key a server must show.
#[derive(Debug)]
pub(super) struct Expected {
    /// As it goes over the wire (RFC 4253, section 6.6).
    wire: Vec<u8>,
    fingerprint: String,
}

impl Expected {
    /// Out of `ssh-ed25519 AAAA...`, with or without a comment.
    pub(super) fn parse(text: &str) -> Result<Self, SshError> {
        let bad = |why: ssh_key::Error| SshError::BadHostKey { text: text.to_owned(), why: why.to_string() };
        let key = PublicKey::from_openssh(text.trim()).map_err(bad)?;
        if key.algorithm() != ssh_key::Algorithm::Ed25519 {
            return Err(bad(ssh_key::Error::AlgorithmUnknown));
        }
        Ok(Self { wire: key.to_bytes().map_err(bad)?, fingerprint: fingerprint(&key) })
    }

    /// `Err` unless the server showed this key.
    pub(super) fn check(self, port: u16, shown: &[u8]) -> Result<(), SshError> {
        if shown == self.wire {
            return Ok(());
        }
        let got = PublicKey::from_bytes(shown)
            .map_or_else(|_| "of an unknown kind".to_owned(), |key| fingerprint(&key));
        Err(SshError::WrongHostKey { port, expected: self.fingerprint, got })
    }
}

/// As ssh-keygen -l prints it.
fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ vm";

    #[test]
    fn the_same_key_passes_and_another_is_named_with_both_fingerprints() {
        let wire = PublicKey::from_openssh(KEY).unwrap().to_bytes().unwrap();
        Expected::parse(KEY).unwrap().check(2222, &wire).unwrap();
        let mut other = wire;
        *other.last_mut().unwrap() ^= 1;
        let error = Expected::parse(KEY).unwrap().check(2222, &other).unwrap_err().to_string();
        assert_eq!(error.matches("SHA256:").count(), 2, "{error}");
        let odd = Expected::parse(KEY).unwrap().check(2222, b"odd").unwrap_err().to_string();
        assert!(odd.contains("its host key is of an unknown kind"), "{odd}");
    }

    #[test]
    fn a_record_that_is_no_key_is_quoted() {
        for text in ["", "ssh-ed25519", "ssh-rsa AAAA", "ssh-ed25519 !!!!"] {
            assert!(matches!(Expected::parse(text), Err(SshError::BadHostKey { .. })), "{text}");
        }
    }
}
