//! `provision clean`: what the cache holds, and away with what no VM needs.

mod inventory;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use self::inventory::{Fate, Item};
use super::{print, print_json};
use crate::Error;
use crate::cli::CleanArgs;
use crate::image::{Origin, bases_in_use, lock};
use crate::paths::{cache_root, state_root};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Cleaning {
    schema: &'static str,
    cache: String,
    dry_run: bool,
    items: Vec<Item>,
    freed_bytes: u64,
    /// Why images that no VM is known to use stay all the same.
    doubts: Vec<String>,
}

/// Shows the cache and removes what no VM needs.
///
/// # Errors
/// Something cannot be removed.
pub(super) fn run(args: &CleanArgs) -> Result<ExitCode, Error> {
    let cleaning = clean(&cache_root()?, &state_root()?, args.dry_run)?;
    if args.json {
        print_json(&cleaning)?;
    } else {
        print(text(&cleaning).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn clean(cache: &Path, state: &Path, dry_run: bool) -> Result<Cleaning, Error> {
    // Held to the end: nothing is being made while it is removed. What is being made now is not touched.
    let locks = [Origin::Mirror, Origin::Official].map(|origin| lock(cache, origin));
    let busy = |origin: Origin| {
        let lock = if origin == Origin::Mirror { &locks[0] } else { &locks[1] };
        lock.is_none().then(|| "an image is being made".to_owned())
    };
    let found = bases_in_use(state);
    let mut items = inventory::take(cache, state, &found, &busy);
    let mut freed_bytes = 0;
    for item in items.iter_mut().filter(|item| item.fate == Fate::Unused) {
        if !dry_run {
            remove(&item.path)?;
            item.fate = Fate::Removed;
        }
        freed_bytes += item.bytes;
    }
    let cache = cache.display().to_string();
    Ok(Cleaning { schema: "ivshmem-clean/1", cache, dry_run, items, freed_bytes, doubts: found.doubts })
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|e| Error::io(format!("remove {}", path.display()), e))
}

fn text(cleaning: &Cleaning) -> String {
    if cleaning.items.is_empty() {
        return format!("{} holds nothing\n", cleaning.cache);
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["KIND", "NAME", "SIZE", "STATE"]);
    for item in &cleaning.items {
        let state = match &item.fate {
            Fate::Used(by) => format!("used by {}", by.join(", ")),
            Fate::Kept(why) => format!("kept: {why}"),
            Fate::Unused => "would be removed".to_owned(),
            Fate::Removed => "removed".to_owned(),
        };
        table.add_row([item.kind.to_owned(), item.name(), size(item.bytes), state]);
    }
    let freed = size(cleaning.freed_bytes);
    let last = match (cleaning.freed_bytes, cleaning.dry_run) {
        (0, _) => "nothing to remove".to_owned(),
        (_, true) => format!("{freed} would be freed: 'provision clean' does it"),
        (_, false) => format!("{freed} freed"),
    };
    let rows: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    format!("{}\n{last} in {}\n", rows.join("\n"), cleaning.cache)
}

/// A size for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(path: &Path, bytes: usize) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; bytes]).unwrap();
    }

    fn image(cache: &Path, sha256: &str) -> serde_json::Value {
        let directory = cache.join(format!("images/mirror-{}", &sha256[..16]));
        let image = json!({
            "origin": "mirror", "path": directory.join("disk.qcow2"), "format": "qcow2", "sha256": sha256,
            "virtual_bytes": 1, "direct_boot": null, "grows_in_guest": false, "what": "example",
        });
        let made = json!({"mirror": {"mirror": null, "dev_tools": true, "recipe": "r"}});
        let record = json!({"schema": "ivshmem-image/1", "image": image, "made": made, "made_utc": "2026-01-01T00:00:00Z"});
        file(&directory.join("disk.qcow2"), 2 << 20);
        fs::write(directory.join("image.json"), record.to_string()).unwrap();
        image
    }

    fn place() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (cache, state) = (root.path().join("cache"), root.path().join("state"));
        let used = image(&cache, &"a".repeat(64));
        image(&cache, &"b".repeat(64));
        file(&cache.join("images/.new-mirror-xyz/disk.qcow2"), 1 << 20);
        file(&cache.join("kernels/linux-image-6.1_amd64/vmlinuz"), 1 << 20);
        file(&cache.join("headers/6.1.0-1/usr/src/Makefile"), 4096);
        file(&cache.join("drivers/6.1.0-1-0123456789abcdef/ivshmem_uio.ko"), 4096);
        file(&cache.join("packages/a_1_amd64.deb"), 4096);
        file(&cache.join("packages/b_1_amd64.deb"), 4096);
        file(&cache.join("downloads/abc.part"), 4096);
        file(&state.join("debian/machine/disk.json"), 1);
        fs::write(state.join("debian/machine/disk.json"), json!({"base_image": used}).to_string()).unwrap();
        (root, cache, state)
    }

    #[test]
    fn what_a_disk_lies_upon_stays_and_the_rest_goes() {
        let (_root, cache, state) = place();
        let before =
            text(&clean(&cache, &state, true).unwrap()).replace(&cache.display().to_string(), "CACHE");
        insta::assert_snapshot!(before);
        let cleaning = clean(&cache, &state, false).unwrap();
        assert_eq!(cleaning.items.iter().filter(|item| item.fate == Fate::Removed).count(), 7);
        assert!(cache.join(format!("images/mirror-{}/disk.qcow2", "a".repeat(16))).exists());
        assert!(!cache.join(format!("images/mirror-{}", "b".repeat(16))).exists());
        let again = clean(&cache, &state, false).unwrap();
        assert_eq!((again.items.len(), again.freed_bytes), (1, 0));
        assert!(text(&again).contains("nothing to remove"));
    }

    #[test]
    fn what_is_being_made_and_what_is_in_doubt_stays() {
        let (_root, cache, state) = place();
        let _building = lock(&cache, Origin::Mirror).unwrap();
        fs::write(state.join("debian/machine/disk.json"), "damaged").unwrap();
        let cleaning = clean(&cache, &state, false).unwrap();
        assert_eq!(cleaning.doubts.len(), 1);
        let removed: Vec<_> = cleaning.items.iter().filter(|item| item.fate == Fate::Removed).collect();
        let kinds: Vec<_> = removed.iter().map(|item| item.kind).collect();
        assert_eq!(kinds, ["kernel", "kernel headers", "driver", "partial download"]);
        assert!(cache.join("images/.new-mirror-xyz").exists() && cache.join("packages").exists());
    }

    #[test]
    fn an_empty_cache_is_no_failure() {
        let root = tempfile::tempdir().unwrap();
        let cleaning = clean(&root.path().join("cache"), &root.path().join("state"), false).unwrap();
        assert!(text(&cleaning).ends_with("holds nothing\n"));
        assert!(!root.path().join("cache").exists());
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([size(0), size(5000), size(3 << 20)], ["0 KiB", "5 KiB", "3 MiB"]);
        assert_eq!(size(3 << 29), "1.5 GiB");
    }
}
