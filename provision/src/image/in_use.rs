//! Which images lie below a VM's disk, and so must not be removed.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::BaseImage;
use crate::state::Lock;

/// Where, in a VM's directory, its disk is described.
pub const DISK_RECORD: &str = "machine/disk.json";

/// A VM whose disk lies upon an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUse {
    /// The VM.
    pub vm: String,
    /// The image.
    pub base: BaseImage,
}

/// What is known of the images in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasesInUse {
    /// Those that are known.
    pub uses: Vec<BaseUse>,
    /// Why there may be others. When this is not empty, every image has to be taken for used.
    pub doubts: Vec<String>,
}

#[derive(Deserialize)]
struct DiskRecord {
    base_image: BaseImage,
}

/// Asks the directories of all VMs below `state_root`.
pub fn bases_in_use(state_root: &Path) -> BasesInUse {
    let mut found = BasesInUse::default();
    let entries = match fs::read_dir(state_root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return found,
        Err(e) => {
            found.doubts.push(format!("{} cannot be read ({e})", state_root.display()));
            return found;
        }
    };
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let vm = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path().join(DISK_RECORD);
        match fs::read(&path).map(|bytes| serde_json::from_slice::<DiskRecord>(&bytes)) {
            Ok(Ok(record)) => found.uses.push(BaseUse { vm, base: record.base_image }),
            Ok(Err(e)) => found.doubts.push(format!("{} is not understood ({e})", path.display())),
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                found.doubts.push(format!("{} cannot be read ({e})", path.display()));
            }
            // Between choosing an image and writing down that it did, `up` holds this lock.
            Err(_) if Lock::is_held(&entry.path().join("lock")) => {
                found.doubts.push(format!("another command works on VM {vm} right now"));
            }
            Err(_) => {}
        }
    }
    found.uses.sort_by(|a, b| a.vm.cmp(&b.vm));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Made;
    use crate::image::store::tests::example;

    fn base() -> BaseImage {
        let made = Made::Mirror { mirror: None, dev_tools: false, recipe: "r".into() };
        example("ab", "2026-01-01T00:00:00Z", made).image
    }

    fn write(root: &Path, vm: &str, text: &str) {
        fs::create_dir_all(root.join(vm).join("machine")).unwrap();
        fs::write(root.join(vm).join(DISK_RECORD), text).unwrap();
    }

    #[test]
    fn each_vms_disk_names_its_image() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(bases_in_use(&root.path().join("absent")), BasesInUse::default());
        fs::create_dir(root.path().join("micro")).unwrap();
        let text = serde_json::json!({ "base_image": base(), "bytes": 7 }).to_string();
        write(root.path(), "b", &text);
        write(root.path(), "a", &text);
        let found = bases_in_use(root.path());
        assert_eq!(found.uses.iter().map(|u| u.vm.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((found.uses[0].base.clone(), found.doubts.len()), (base(), 0));
    }

    #[test]
    fn what_cannot_be_known_is_a_doubt() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a", "{}");
        fs::create_dir(root.path().join("b")).unwrap();
        let _lock = Lock::acquire(&root.path().join("b/lock")).unwrap();
        let doubts = bases_in_use(root.path()).doubts;
        assert_eq!(doubts.len(), 2, "{doubts:?}");
    }
}
