//! Where a region in huge pages lies: in the file the user named, else on a hugetlbfs that is mounted, else on one that
//! root mounts for this VM alone.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::{HugePage, HugePageError, Mount};
use crate::name::VmName;

/// The region's file, and what has to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its pages; `None` for ordinary ones.
    pub page: Option<HugePage>,
    /// Where a hugetlbfs has to be mounted first.
    pub mount_at: Option<PathBuf>,
}

/// Where a hugetlbfs with such pages usually is: systemd mounts that of the default size.
pub(super) fn usual_directory(page: HugePage) -> &'static str {
    match page {
        HugePage::Size2M => "/dev/hugepages",
        HugePage::Size1G => "/dev/hugepages1G",
    }
}

/// Chooses. `mount_point` is where a hugetlbfs of our own would go; `None` for who may not mount one. A file the user
/// names on a hugetlbfs lies in its pages, asked for or not.
///
/// # Errors
/// [`HugePageError`].
pub fn place(
    wanted: Option<HugePage>,
    named: Option<PathBuf>,
    vm: &VmName,
    mounts: &[Mount],
    mount_point: Option<PathBuf>,
) -> Result<Place, HugePageError> {
    if let Some(path) = named {
        let found = HugePage::of(path.parent().unwrap_or(Path::new("/")));
        return match wanted {
            Some(page) if found != wanted => Err(HugePageError::Elsewhere { path, page }),
            _ => Ok(Place { path, page: found, mount_at: None }),
        };
    }
    let Some(page) = wanted else {
        return Ok(Place { path: "/dev/shm/ivshmem".into(), page: None, mount_at: None });
    };
    let file = format!("ivshmem-{vm}");
    // One whose name is taken by another mount upon it is not the one that a path leads to.
    let fitting = |mount: &&Mount| mount.page == wanted && HugePage::of(&mount.directory) == wanted;
    let mut fitting: Vec<&Path> =
        mounts.iter().filter(fitting).map(|mount| mount.directory.as_path()).collect();
    fitting.sort_by_key(|directory| *directory != Path::new(usual_directory(page)));
    let writable = |directory: &&&Path| access(**directory, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    match (fitting.iter().find(writable), mount_point, fitting.first()) {
        (Some(directory), ..) => Ok(Place { path: directory.join(file), page: wanted, mount_at: None }),
        (None, Some(directory), _) => {
            Ok(Place { path: directory.join(file), page: wanted, mount_at: Some(directory) })
        }
        (None, None, Some(directory)) => Err(HugePageError::NotWritable { path: (*directory).to_owned() }),
        (None, None, None) => Err(HugePageError::NotMounted { page }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm() -> VmName {
        "a".parse().unwrap()
    }

    #[test]
    fn without_huge_pages_the_region_is_where_it_always_was() {
        let place = |named| place(None, named, &vm(), &[], None).unwrap();
        assert_eq!(place(None).path, Path::new("/dev/shm/ivshmem"));
        let named = place(Some("/dev/shm/b".into()));
        assert_eq!(named, Place { path: "/dev/shm/b".into(), page: None, mount_at: None });
    }

    #[test]
    fn a_file_elsewhere_is_refused() {
        let elsewhere = place(Some(HugePage::Size2M), Some("/dev/shm/b".into()), &vm(), &[], None);
        assert!(matches!(elsewhere, Err(HugePageError::Elsewhere { .. })));
    }

    #[test]
    fn root_mounts_one_where_none_is_and_others_are_told() {
        // What is said to be mounted there, but is not, is of no use.
        let gone = [Mount { directory: "/".into(), page: Some(HugePage::Size2M) }];
        let mine = place(Some(HugePage::Size2M), None, &vm(), &gone, Some("/state/a/hugepages".into()));
        let expected = Place {
            path: "/state/a/hugepages/ivshmem-a".into(),
            page: Some(HugePage::Size2M),
            mount_at: Some("/state/a/hugepages".into()),
        };
        assert_eq!(mine.unwrap(), expected);
        let told = place(Some(HugePage::Size1G), None, &vm(), &gone, None);
        assert!(matches!(told, Err(HugePageError::NotMounted { page: HugePage::Size1G })));
    }
}
