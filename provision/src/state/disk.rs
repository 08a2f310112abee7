//! `machine/disk.json`: what outlives `down`. A Debian VM keeps its disk, with the snapshot in it, its seed and its
//! keys, until `down --destroy` or `up --fresh`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::accel::Accelerator;
use crate::cli::UserDataMode;
use crate::hex::hex;
use crate::image::BaseImage;

/// The schema written and read.
pub const DISK_SCHEMA: &str = "ivshmem-disk/1";

/// A disk that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// [`DISK_SCHEMA`].
    pub schema: String,
    /// The image that the disk lies upon.
    pub base_image: BaseImage,
    /// The disk's size as the guest sees it.
    pub bytes: u64,
    /// When it was made.
    pub created_utc: String,
    /// What becomes of our cloud-config where the user brought one: that is kept beside this record.
    pub user_data_mode: Option<UserDataMode>,
    /// The snapshot in the disk.
    pub snapshot: Option<SnapshotRecord>,
}

/// A VM's state just after it became ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// What it is made of.
    pub made_of: MadeOf,
    /// The guest's READY line.
    pub ready: String,
    /// When it was saved.
    pub saved_utc: String,
}

/// All that a snapshot depends on: with anything else it does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeOf {
    /// SHA-256 of the image.
    pub image_sha256: String,
    /// SHA-256 of the seed.
    pub seed_sha256: String,
    /// QEMU's version.
    pub qemu_version: String,
    /// What ran the guest.
    pub accelerator: Accelerator,
    /// SHA-256 of QEMU's arguments.
    pub args_sha256: String,
}

impl MadeOf {
    /// The snapshot's name in the disk: a digest of all of it.
    pub fn tag(&self) -> String {
        let parts = [&self.image_sha256, &self.seed_sha256, &self.qemu_version, &self.args_sha256];
        let mut digest = Sha256::new();
        for part in parts.into_iter().chain([&self.accelerator.to_string()]) {
            digest.update(part);
            digest.update([0]);
        }
        format!("ready-{}", hex(&digest.finalize()[..8]))
    }

    /// In what `now` differs from this, in words; `None` when in nothing. QEMU's version is known only once QEMU
    /// runs, and so may be absent from `now`.
    pub fn differs_from(&self, now: &Wanted<'_>) -> Option<String> {
        let (was, is) = (self.accelerator, now.accelerator);
        let version = now.qemu_version.filter(|version| *version != self.qemu_version);
        if self.image_sha256 != now.image_sha256 {
            return Some("it was made from another image".to_owned());
        }
        if was != is {
            return Some(format!("it was made under {was}, this start is under {is}"));
        }
        if let Some(version) = version {
            return Some(format!("it was made by QEMU {}, this is {version}", self.qemu_version));
        }
        if self.seed_sha256 != now.seed_sha256 {
            return Some("the guest's configuration (seed) has changed".to_owned());
        }
        (self.args_sha256 != now.args_sha256).then(|| "QEMU's arguments have changed".to_owned())
    }
}

/// What a snapshot must fit.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// SHA-256 of the image.
    pub image_sha256: &'a str,
    /// SHA-256 of the seed.
    pub seed_sha256: &'a str,
    /// QEMU's version, once known.
    pub qemu_version: Option<&'a str>,
    /// What will run the guest.
    pub accelerator: Accelerator,
    /// SHA-256 of QEMU's arguments.
    pub args_sha256: &'a str,
}

/// The digest of a command line.
pub fn args_sha256(program: &Path, args: &[std::ffi::OsString]) -> String {
    let mut digest = Sha256::new();
    for arg in std::iter::once(program.as_os_str()).chain(args.iter().map(AsRef::as_ref)) {
        digest.update(arg.as_encoded_bytes());
        digest.update([0]);
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of() -> MadeOf {
        MadeOf {
            image_sha256: "image".to_owned(),
            seed_sha256: "seed".to_owned(),
            qemu_version: "7.2.22".to_owned(),
            accelerator: Accelerator::Tcg,
            args_sha256: "args".to_owned(),
        }
    }

    #[test]
    fn whatever_changes_is_named_and_changes_the_tag() {
        let now = Wanted {
            image_sha256: "image",
            seed_sha256: "seed",
            qemu_version: None,
            accelerator: Accelerator::Tcg,
            args_sha256: "args",
        };
        let made = made_of();
        assert_eq!(made.differs_from(&now), None);
        assert_eq!(made.differs_from(&Wanted { qemu_version: Some("7.2.22"), ..now }), None);
        let words = [
            made.differs_from(&Wanted { image_sha256: "x", ..now }),
            made.differs_from(&Wanted { seed_sha256: "x", ..now }),
            made.differs_from(&Wanted { qemu_version: Some("8.0.0"), ..now }),
            made.differs_from(&Wanted { accelerator: Accelerator::Kvm, ..now }),
            made.differs_from(&Wanted { args_sha256: "x", ..now }),
        ];
        insta::assert_snapshot!(words.map(Option::unwrap).join("\n"));
        let others = [
            MadeOf { image_sha256: "x".to_owned(), ..made_of() },
            MadeOf { seed_sha256: "x".to_owned(), ..made_of() },
            MadeOf { qemu_version: "x".to_owned(), ..made_of() },
            MadeOf { accelerator: Accelerator::Kvm, ..made_of() },
            MadeOf { args_sha256: "x".to_owned(), ..made_of() },
        ];
        assert!(others.iter().all(|other| other.tag() != made.tag()));
        assert_eq!(made.tag(), made_of().tag());
    }

    #[test]
    fn arguments_do_not_run_together() {
        let digest =
            |args: &[&str]| args_sha256(Path::new("qemu"), &args.iter().map(Into::into).collect::<Vec<_>>());
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
