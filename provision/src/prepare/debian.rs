//! What a Debian guest is made of: a disk upon an image, keys, a seed. A VM that was up before keeps what it has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::boot::debian::Wish;
use crate::claim::Claim;
use crate::config::{DebianConfig, UpConfig};
use crate::disk;
use crate::guest_binary;
use crate::image::{self, ImageChoice, Origin};
use crate::interrupt::Interrupts;
use crate::keep::utc_now;
use crate::keys::KeyPair;
use crate::paths::cache_root;
use crate::port::SshPort;
use crate::qemu::args::{Boot, IOMMU_ARGUMENT, MAC, READY_PORT, debian_command_line};
use crate::report::Progress;
use crate::seed::{Seed, SeedWish, UserData};
use crate::size::Bytes;
use crate::start::Guest;
use crate::state::{DISK_SCHEMA, DiskRecord};

/// The files of a Debian guest.
#[derive(Debug)]
pub struct DebianParts {
    /// The disk and what it lies upon.
    pub disk: DiskRecord,
    /// The seed.
    pub seed: Seed,
    /// The host key the guest must show, as `ssh-ed25519 AAAA...`.
    pub host_key: String,
    /// The kernel's command line, for an image without a boot loader.
    pub append: String,
    /// A cloud-config given now: kept for later starts once the guest is ready with it.
    pub new_user_data: Option<UserData>,
    /// guest-reader.
    pub guest_reader: Vec<u8>,
    /// The host's port for SSH.
    pub ssh_port: SshPort,
    /// Whether to use and keep a snapshot.
    pub snapshot: bool,
    /// The region's inode.
    pub shm_inode: u64,
}

impl DebianParts {
    /// What a start needs of them.
    pub fn guest<'a>(&'a self, identity_file: &'a Path) -> Guest<'a> {
        let boot = self.disk.base_image.direct_boot.as_ref();
        Guest::Debian {
            boot: boot.map(|boot| Boot { kernel: &boot.kernel, initrd: &boot.initrd, append: &self.append }),
            image_sha256: &self.disk.base_image.sha256,
            seed_sha256: &self.seed.sha256,
            wish: Wish {
                ssh_port: self.ssh_port,
                restore: self.disk.snapshot.as_ref().filter(|_| self.snapshot),
                host_key: &self.host_key,
                identity_file,
                guest_reader: &self.guest_reader,
            },
        }
    }
}

/// Makes the files of a Debian guest, or takes those it has.
///
/// # Errors
/// [`Error`].
pub fn prepare(
    config: &UpConfig,
    debian: &DebianConfig,
    claim: &mut Claim,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<DebianParts, Error> {
    // First what fails quickly: an image may take minutes.
    let guest_reader = guest_binary::load(config.guest_reader.as_deref())?.image;
    let shm_inode = super::region(config, claim)?;
    let given = given_user_data(debian)?;
    if debian.fresh && claim.put_machine_aside()? {
        progress.note(&format!("the disk that VM {} has is removed once the new one is ready", config.name));
    }
    let disk = match claim.directory().read_disk()? {
        Some(kept) => {
            image::confirm(&kept.base_image, &cache_root()?, interrupts, progress)?;
            reuse(kept, config, debian, interrupts, progress)?
        }
        None => make(debian, claim, interrupts, progress)?,
    };
    let directory = claim.directory();
    let user_data = match (&given, disk.user_data_mode) {
        (Some(given), _) => Some(given.clone()),
        (None, Some(mode)) => Some(UserData::read(&directory.user_data(), mode)?),
        (None, None) => None,
    };
    let login_key = KeyPair::load_or_create(&directory.identity(), &format!("ivshmem-{}", config.name))?;
    let host_key = KeyPair::load_or_create(&directory.host_key(), &format!("root@{}", config.name))?;
    let known = directory.known_hosts();
    fs::write(&known, host_key.known_hosts_line(config.name.as_str())).map_err(writing(&known))?;
    let seed = seed(config, &disk, user_data, &login_key, &host_key)?;
    for note in &seed.notes {
        progress.note(note);
    }
    seed.write_volume(&directory.seed())?;
    let root = disk.base_image.direct_boot.as_ref().map(|boot| boot.root.as_str());
    let iommu = if config.viommu { IOMMU_ARGUMENT } else { "" };
    let unused = [("--kernel-args", debian.kernel_args.trim()), ("--viommu", iommu)];
    if let (None, Some((flag, _))) = (root, unused.into_iter().find(|(_, args)| !args.is_empty())) {
        return Err(Error::KernelArgsUnused { flag, image: disk.base_image.to_string() });
    }
    let more = format!("{iommu} {}", debian.kernel_args);
    let append = debian_command_line(root.unwrap_or_default(), &more);
    Ok(DebianParts {
        disk,
        new_user_data: given,
        seed,
        host_key: host_key.public_line().to_owned(),
        append,
        guest_reader,
        ssh_port: debian.ssh_port,
        snapshot: debian.snapshot,
        shm_inode,
    })
}

/// A new disk upon a new or cached image.
fn make(
    debian: &DebianConfig,
    claim: &mut Claim,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<DiskRecord, Error> {
    let base_image = image::obtain(&debian.image, &cache_root()?, interrupts, progress)?;
    progress.note(&format!("image: {base_image}"));
    let bytes = debian.new_disk_bytes();
    claim.create_machine()?;
    let qemu_img = Path::new(disk::QEMU_IMG);
    disk::create_overlay(qemu_img, &base_image, &claim.directory().disk(), Bytes(bytes), interrupts)?;
    let disk = DiskRecord {
        schema: DISK_SCHEMA.to_owned(),
        base_image,
        bytes,
        created_utc: utc_now(),
        user_data_mode: None,
        snapshot: None,
    };
    // From now on the image is not to be removed from the cache.
    claim.directory().write_disk(&disk)?;
    Ok(disk)
}

/// The disk that is there, if it is the one that is wanted.
fn reuse(
    kept: DiskRecord,
    config: &UpConfig,
    debian: &DebianConfig,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<DiskRecord, Error> {
    let name = &config.name;
    let image = &kept.base_image;
    let is_wanted = match &debian.image.choice {
        ImageChoice::Auto => true,
        ImageChoice::Mirror => image.origin == Origin::Mirror,
        ImageChoice::Official => image.origin == Origin::Official,
        // A file that is no image is told as such.
        ImageChoice::File(_) => {
            image::obtain(&debian.image, &cache_root()?, interrupts, progress)?.sha256 == image.sha256
        }
    };
    if !is_wanted {
        return Err(Error::OtherImage { name: name.clone(), image: kept.base_image.to_string() });
    }
    if let Some(wanted) = debian.disk_bytes.filter(|bytes| *bytes != kept.bytes) {
        return Err(Error::OtherDiskSize {
            name: name.clone(),
            is: Bytes(kept.bytes),
            wanted: Bytes(wanted),
        });
    }
    Ok(kept)
}

fn given_user_data(debian: &DebianConfig) -> Result<Option<UserData>, Error> {
    let Some((path, mode)) = &debian.user_data else { return Ok(None) };
    Ok(Some(UserData::read(path, *mode)?))
}

fn seed(
    config: &UpConfig,
    disk: &DiskRecord,
    user_data: Option<UserData>,
    login_key: &KeyPair,
    host_key: &KeyPair,
) -> Result<Seed, Error> {
    let image = &disk.base_image;
    Ok(Seed::new(&SeedWish {
        hostname: config.name.as_str(),
        login_key: login_key.public_line(),
        host_key,
        user_data,
        grow_root: image.grows_in_guest || disk.bytes > image.virtual_bytes,
        mac: MAC,
        ready_port: READY_PORT,
    })?)
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |e| Error::io(format!("write {}", path.display()), e)
}
