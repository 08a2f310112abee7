//! Building an image from the package mirror: mmdebstrap installs Debian into a directory, `mke2fs -d` makes a file
//! system image of it. No loop device, and no rights: an ordinary user does it in a user namespace.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::Sha256;

use super::sources::{self, RELEASE, Sources};
use super::store::{self, DISK, INITRD, KERNEL, Made, Stored};
use super::wish::{Wish, trimmed};
use super::workshop::{self, Workshop};
use super::{BaseImage, DirectBoot, ImageError, Origin, complaint, digest, qemu_img};
use crate::disk::{QEMU_IMG, QEMU_IMG_PACKAGE};
use crate::helper::{HelperError, run_watched};
use crate::interrupt::Interrupts;
use crate::kernel;
use crate::progress::Progress;

/// The size of the disk in the image. The file is sparse, so size costs nothing, and made at its full size it needs
/// no growing in the guest, which takes seconds where every instruction is emulated.
const DISK_BYTES: u64 = 20 << 30;
/// Longest a build may take. It takes a minute where the mirror is near.
const PATIENCE: Duration = Duration::from_secs(3600);

const PACKAGES: &[&str] = &[
    "systemd-sysv",
    "udev",
    "dbus",
    "cloud-init",
    "openssh-server",
    "sudo",
    "pciutils",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "iproute2",
    "ca-certificates",
    "e2fsprogs",
    "kmod",
    "procps",
    // The load of `run --guest-load`: with what it depends on 31 MB of the image's 511.
    "stress-ng",
];
const DEV_TOOLS: &[&str] = &["build-essential", "linux-headers-cloud-amd64"];

/// The scripts that mmdebstrap runs, in this order.
const HOOKS: [(&str, &str); 3] = [
    ("setup", include_str!("recipe/setup.sh")),
    ("essential", include_str!("recipe/essential.sh")),
    ("customize", include_str!("recipe/customize.sh")),
];

/// The keys Debian's archives are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The digest of all that decides what gets into an image, besides the archive.
pub(super) fn recipe(dev_tools: bool) -> String {
    let mut text = format!("{RELEASE} {DISK_BYTES} {}\n", packages(dev_tools));
    HOOKS.iter().for_each(|(_, script)| text.push_str(script));
    digest::of_text(&text)
}

fn packages(dev_tools: bool) -> String {
    let more: &[&str] = if dev_tools { DEV_TOOLS } else { &[] };
    [PACKAGES, more].concat().join(",")
}

/// Builds the image. The caller holds the lock of its origin.
pub(super) fn build(
    wish: &Wish,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<BaseImage, ImageError> {
    check_programs(workshop::is_root())?;
    let mirror = wish.mirror.as_deref().map(trimmed);
    let sources = sources::find(mirror, interrupts)?;
    let kept = cache_root.join("packages");
    fs::create_dir_all(&kept).map_err(ImageError::io("create", &kept))?;
    let shop = Workshop::open(&workshop::parent())?;
    let tools = if wish.dev_tools { "with compilers and kernel headers" } else { "lean" };
    let task = progress.task(&format!("building a Debian 12 image, {tools}"));

    let mut said: Vec<String> = Vec::new();
    let mut command = command(&shop, &kept, wish.dev_tools, &sources)?;
    let built = run_watched(&mut command, interrupts, PATIENCE, &mut |line| {
        match complaint::step(line) {
            Some(step) => task.say(step),
            None => task.detail(line),
        }
        said.push(line.to_owned());
    });
    built.map_err(|e| explain(e, &said, &shop, cache_root))?;

    task.say("making a qcow2 of it");
    let staging = store::staging(cache_root, Origin::Mirror)?;
    let (disk, out) = (staging.path().join(DISK), shop.out());
    qemu_img::to_qcow2(&out.join("root.img"), &disk, interrupts)?;
    for name in [KERNEL, INITRD] {
        fs::copy(out.join(name), staging.path().join(name)).map_err(ImageError::io("keep", &disk))?;
    }
    drop(shop);
    let boot = staging.path().join(KERNEL);
    let release = kernel::inspect(&boot).ok().and_then(|kernel| kernel.release).unwrap_or_default();
    let image = BaseImage {
        origin: Origin::Mirror,
        format: "qcow2".to_owned(),
        sha256: digest::of_file::<Sha256>(&disk, interrupts, None)?,
        virtual_bytes: DISK_BYTES,
        what: format!("Debian 12 built from the package mirror ({tools}), kernel {release}"),
        direct_boot: Some(DirectBoot {
            kernel: boot,
            initrd: staging.path().join(INITRD),
            release,
            root: "LABEL=root".to_owned(),
        }),
        path: disk,
        grows_in_guest: false,
    };
    let made = Made::Mirror {
        mirror: mirror.map(ToOwned::to_owned),
        dev_tools: wish.dev_tools,
        recipe: recipe(wish.dev_tools),
    };
    let image = store::adopt(cache_root, staging.path(), &Stored::new(image, made))?;
    let seconds = task.elapsed().as_secs_f64();
    task.done(&format!("built a Debian 12 image ({tools}) in {seconds:.0} s"));
    Ok(image)
}

/// Looks for everything a build needs before it begins.
fn check_programs(is_root: bool) -> Result<(), ImageError> {
    let always: [(&str, &'static str); 5] = [
        ("mmdebstrap", "mmdebstrap"),
        (QEMU_IMG, QEMU_IMG_PACKAGE),
        ("mke2fs", "e2fsprogs"),
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
    ];
    let user: [(&str, &'static str); 2] = [("newuidmap", "uidmap"), ("newgidmap", "uidmap")];
    let needed = always.into_iter().chain(user.into_iter().filter(|_| !is_root));
    for (program, package) in needed {
        if workshop::find_program(program).is_none() {
            return Err(ImageError::NoProgram { program: program.to_owned(), package });
        }
    }
    Ok(())
}

/// Lays out the scripts, and mmdebstrap with all it has to know.
fn command(shop: &Workshop, kept: &Path, dev_tools: bool, sources: &Sources) -> Result<Command, ImageError> {
    for (name, script) in HOOKS {
        let path = shop.hooks().join(name);
        let write = || -> std::io::Result<()> {
            let mut file = fs::File::create(&path)?;
            file.write_all(script.as_bytes())?;
            file.set_permissions(Permissions::from_mode(0o755))
        };
        write().map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => full(shop, kept),
            _ => ImageError::io("write", &path)(e),
        })?;
    }
    // setpriv ends the build when we are killed where we cannot clean up; the namespaces take all its processes and
    // mounts along when it ends. What user it is decides only whether a user namespace is needed to be root.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(workshop::namespace(workshop::is_root()))
        .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--", "mmdebstrap"])
        .args(arguments(dev_tools, sources, Path::new(KEYRING).exists()))
        .env("PATH", workshop::search_path())
        .env("TMPDIR", shop.tmp())
        .env("IVSHMEM_HOOKS", shop.hooks())
        .env("IVSHMEM_OUT", shop.out())
        .env("IVSHMEM_PACKAGES", kept)
        .env("IVSHMEM_DISK_BYTES", DISK_BYTES.to_string())
        // A home that the namespace's users cannot enter is no place to be in.
        .current_dir("/");
    Ok(command)
}

/// What mmdebstrap is told. Paths come to the scripts through the environment, which needs no quoting.
fn arguments(dev_tools: bool, sources: &Sources, keyring: bool) -> Vec<OsString> {
    let mut arguments: Vec<String> = [
        "--mode=root",
        "--variant=apt",
        "--format=null",
        "--architectures=amd64",
        // Packages kept from earlier builds are there before the first is fetched, and are kept again at the end.
        // Cleaning up comes too late for the image: the last script does it.
        "--skip=download/empty,essential/unlink,cleanup/apt,cleanup/mmdebstrap",
        // No machine will ever run on this directory: losing power in between loses nothing.
        "--dpkgopt=force-unsafe-io",
        // As in Debian's own small images; who wants manual pages has them on the host.
        "--dpkgopt=path-exclude=/usr/share/man/*",
    ]
    .map(ToOwned::to_owned)
    .into();
    arguments.push(format!("--include={}", packages(dev_tools)));
    arguments.extend(keyring.then(|| format!("--keyring={KEYRING}")));
    arguments.extend(sources.apt_settings.iter().map(|setting| format!("--aptopt={setting}")));
    arguments.extend(HOOKS.map(|(name, _)| format!("--{name}-hook=\"$IVSHMEM_HOOKS/{name}\" \"$1\"")));
    arguments.extend([RELEASE, "-"].map(ToOwned::to_owned));
    arguments.extend(sources.lines.iter().cloned());
    arguments.into_iter().map(OsString::from).collect()
}

/// Makes of a failed build the one line that says what to do.
fn explain(e: HelperError, said: &[String], shop: &Workshop, cache_root: &Path) -> ImageError {
    if !matches!(e, HelperError::Failed { .. }) {
        return ImageError::helper("util-linux")(e);
    }
    match complaint::of(said) {
        complaint::Complaint::Full => full(shop, &cache_root.join("packages")),
        complaint::Complaint::Namespace(said) => {
            let user = std::env::var("USER").unwrap_or_else(|_| "USER".to_owned());
            ImageError::NoNamespace { said, user, ids: workshop::free_ids() }
        }
        complaint::Complaint::Network(said) => ImageError::MirrorUnreachable { said },
        complaint::Complaint::Other(complaint) => {
            let log = cache_root.join("build.log");
            let _ = fs::write(&log, said.join("\n") + "\n");
            ImageError::Build { said: complaint, log }
        }
    }
}

/// Which of the two directories a build writes to is full: the one with less space left.
fn full(shop: &Workshop, kept: &Path) -> ImageError {
    let available = |path: &Path| {
        nix::sys::statvfs::statvfs(path)
            .map_or(u64::MAX, |stat| stat.blocks_available() * stat.fragment_size())
    };
    if available(kept) < available(shop.path()) {
        return ImageError::cache_full(kept.parent().unwrap_or(kept));
    }
    let parent: PathBuf = shop.path().parent().unwrap_or(shop.path()).to_owned();
    ImageError::Full { path: parent, variable: "TMPDIR" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mmdebstrap_is_told() {
        let sources = Sources {
            lines: vec!["deb http://m/debian bookworm main".into()],
            apt_settings: vec!["Acquire::http::Proxy \"http://p:1\"".into()],
        };
        let shown = |dev_tools| {
            let arguments = arguments(dev_tools, &sources, true);
            arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(shown(false));
        assert!(shown(true).contains(",stress-ng,build-essential,linux-headers-cloud-amd64\n"));
    }

    #[test]
    fn the_recipe_tells_lean_from_full() {
        assert_ne!(recipe(false), recipe(true));
    }
}
