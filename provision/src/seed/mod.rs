//! The seed: a small volume that tells a stock Debian image, through cloud-init, who it is.
//!
//! It is a FAT file system labelled `CIDATA`, which cloud-init's NoCloud data source finds by that label, and
//! holds three files. Each is JSON, which is YAML without its traps.
//!
//! - `user-data`, a cloud-config: user `debian` with our login key, a host key that we know, the host's name, the
//!   commands that report to the host, and the lists of the modules needed for just that. The user's own
//!   cloud-config is merged into it, or takes its place.
//! - `meta-data`: the name, and an instance id made from the other two files. When they change, so does the id,
//!   and cloud-init takes the disk for a new instance and applies them; when not, it leaves the disk as it is.
//! - `network-config`: the fixed addresses of QEMU's user-mode network.
//!
//! The guest answers on a virtio-serial port of its own, on every boot, in the lines that [`report`] reads.

mod config;
mod merge;
mod module_table;
mod modules;
mod network;
pub mod report;
mod reporter;
mod user_data;
mod volume;
mod yaml;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use config::LOGIN_USER;
pub use user_data::UserData;

use crate::cli::UserDataMode;
use crate::hex::hex;
use crate::keys::KeyPair;

/// Why there is no seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
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
    /// More than anyone writes.
    #[error("--user-data {path} is larger than 1 MiB: name a cloud-config, and let it fetch what is large")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not even text.
    #[error("--user-data {path} is not UTF-8 text: name a cloud-config (YAML)")]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Something else that cloud-init takes.
    #[error(
        "--user-data {path} is {kind}: only a cloud-config can be merged; a script goes under its runcmd"
    )]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It does not parse.
    #[error("--user-data {path} is not YAML{at}: {why}; mend it there")]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// Where, with a space before it.
        at: String,
        /// What the parser said.
        why: String,
    },
    /// It parses into something else.
    #[error("--user-data {path} holds {found}: a cloud-config is a mapping such as 'packages: [git]'")]
    NotMapping {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A key that must be a list is not.
    #[error(
        "--user-data {path}: {key} is {found}, but must be a list: write '{key}:' and each entry below it after '- '"
    )]
    NotAList {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it is.
        found: &'static str,
    },
}

/// What goes into a seed.
#[derive(Debug)]
pub struct SeedWish<'a> {
    /// The guest's name.
    pub hostname: &'a str,
    /// The public key that logs in, as a line of `authorized_keys`.
    pub login_key: &'a str,
    /// The key the guest is known by.
    pub host_key: &'a KeyPair,
    /// The user's cloud-config.
    pub user_data: Option<UserData>,
    /// Whether the guest is to grow partition and root file system to the disk's size.
    pub grow_root: bool,
    /// The network card's address.
    pub mac: &'a str,
    /// The name of the virtio-serial port for reports.
    pub ready_port: &'a str,
}

/// A seed: the texts of its files.
#[derive(Clone)]
pub struct Seed {
    /// The cloud-config, with its first line.
    pub user_data: String,
    /// Name and instance id.
    pub meta_data: String,
    /// Addresses.
    pub network_config: String,
    /// `ivshmem-` and 16 hexadecimal digits: the same for the same user-data and network.
    pub instance_id: String,
    /// SHA-256 of all three files, in hexadecimal digits.
    pub sha256: String,
    /// What the user should be told about it.
    pub notes: Vec<String>,
}

impl Seed {
    /// Makes the texts: the same wish, the same texts.
    ///
    /// # Errors
    /// The user's cloud-config is not one.
    pub fn new(wish: &SeedWish<'_>) -> Result<Self, SeedError> {
        let mut notes = Vec::new();
        let mut config = match &wish.user_data {
            None => config::ours(wish),
            Some(user) if user.mode == UserDataMode::Merge => {
                config::merged(wish, user.parse()?, &mut notes)?
            }
            Some(user) => config::replaced(wish, user.parse()?, &mut notes)?,
        };
        if wish.user_data.as_ref().is_none_or(|user| user.mode == UserDataMode::Merge) {
            modules::trim(&mut config, &mut notes);
        }
        let user_data = format!("#cloud-config\n{}", yaml::write(Value::Object(config)));
        let network_config = yaml::write(network::config(wish.mac));
        let instance_id = format!("ivshmem-{}", &digest(&[&user_data, &network_config])[..16]);
        let meta_data = yaml::write(json!({ "instance-id": instance_id, "local-hostname": wish.hostname }));
        let sha256 = digest(&[&user_data, &meta_data, &network_config]);
        Ok(Self { user_data, meta_data, network_config, instance_id, sha256, notes })
    }

    /// Writes the volume, readable by the user alone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn write_volume(&self, path: &Path) -> Result<(), SeedError> {
        let files = [
            ("user-data", self.user_data.as_str()),
            ("meta-data", self.meta_data.as_str()),
            ("network-config", self.network_config.as_str()),
        ];
        volume::image(&files).and_then(|image| volume::write(path, &image)).map_err(|source| SeedError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

/// The user-data holds a private key, which stays out of logs.
impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("instance_id", &self.instance_id).finish_non_exhaustive()
    }
}

/// Each text with its length before it, so that moving a border between two changes the digest.
fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests;
