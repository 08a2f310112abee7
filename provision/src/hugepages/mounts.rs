//! hugetlbfs, the file system whose files are huge pages: where it is mounted, and mounting one of our own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::HugePage;

/// What `/proc/self/mounts` shows as the source of a mount of ours.
const SOURCE: &str = "ivshmem-vm";

/// A hugetlbfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub directory: PathBuf,
    /// Its pages; `None` for a size that is not x86's.
    pub page: Option<HugePage>,
}

/// What is mounted on this machine.
pub fn mounts() -> Vec<Mount> {
    read(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

/// The hugetlbfs mounts among the lines of `/proc/self/mounts` (fstab(5)), whose options always name the page size. Those
/// of our own are left out: each belongs to one VM and goes with it.
pub fn read(text: &str) -> Vec<Mount> {
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter_map(|fields| match fields.as_slice() {
            [source, directory, "hugetlbfs", options, ..] if *source != SOURCE => {
                let size = options.split(',').find_map(|option| option.strip_prefix("pagesize="));
                let page = HugePage::ALL.into_iter().find(|page| size.is_some_and(|size| is(*page, size)));
                Some(Mount { directory: unescaped(directory).into(), page })
            }
            _ => None,
        })
        .collect()
}

/// The kernel writes `1024M` for a gibibyte.
fn is(page: HugePage, size: &str) -> bool {
    size.parse::<crate::size::Bytes>().is_ok_and(|bytes| bytes.0 == page.bytes())
}

/// Blanks, tabs, newlines and backslashes of a path are written as `\` and three octal digits.
fn unescaped(path: &str) -> String {
    let escapes = [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")];
    escapes.iter().fold(path.to_owned(), |path, (escape, plain)| path.replace(escape, plain))
}

/// Mounts a hugetlbfs at a directory that is there, private to the user.
///
/// # Errors
/// The kernel refuses.
pub fn mount_at(directory: &Path, page: HugePage) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("pagesize={},mode=0700", page.as_str());
    Ok(mount(Some(SOURCE), directory, Some("hugetlbfs"), flags, Some(options.as_str()))?)
}

/// Takes such a mount away; whoever has its files mapped keeps them. That nothing is mounted there is fine.
///
/// # Errors
/// The kernel refuses.
pub fn unmount(directory: &Path) -> io::Result<()> {
    match umount2(directory, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not a mount point, not there, or not a user who could have mounted anything.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT | nix::errno::Errno::EPERM) => {
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_with_their_page_size() {
        let text = "proc /proc proc rw 0 0\n\
                    hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n\
                    none /mnt/a\\040b hugetlbfs rw,pagesize=1024M,size=2G 0 0\n\
                    ivshmem-vm /state/vm/hugepages hugetlbfs rw,mode=700,pagesize=2M 0 0\n\
                    none /odd hugetlbfs rw,pagesize=64K 0 0\nbroken\n";
        let found = read(text);
        let expected = [
            ("/dev/hugepages", Some(HugePage::Size2M)),
            ("/mnt/a b", Some(HugePage::Size1G)),
            ("/odd", None),
        ];
        assert_eq!(found, expected.map(|(directory, page)| Mount { directory: directory.into(), page }));
    }

    #[test]
    fn unmounting_what_is_not_mounted_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        unmount(directory.path()).unwrap();
        unmount(&directory.path().join("absent")).unwrap();
    }
}
