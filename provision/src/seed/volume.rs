//! The volume itself: a FAT file system in one file, as cloud-init's NoCloud data source looks for by its label.

use std::io::{self, Cursor, Write};
use std::path::Path;

use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

/// By this cloud-init knows it; padded to the length FAT has.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// The size grows in such steps.
const STEP_BYTES: usize = 1 << 20;

/// What the file system needs for itself, with room to spare.
const OVERHEAD_BYTES: usize = 256 << 10;

/// The same seed gives the same volume, so no clock is read.
#[derive(Debug)]
struct FixedTime;

const EPOCH: DateTime = DateTime {
    date: Date { year: 1980, month: 1, day: 1 },
    time: Time { hour: 0, min: 0, sec: 0, millis: 0 },
};

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        EPOCH.date
    }

    fn get_current_date_time(&self) -> DateTime {
        EPOCH
    }
}

/// A volume with these files, as bytes.
pub(super) fn image(files: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let content_bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let size_bytes = (content_bytes + OVERHEAD_BYTES).next_multiple_of(STEP_BYTES);
    let mut disk = Cursor::new(vec![0; size_bytes]);
    let options =
        FormatVolumeOptions::new().volume_label(LABEL).volume_id(0x1f5e_ed00).bytes_per_cluster(2048);
    fatfs::format_volume(&mut disk, options)?;
    let volume = FileSystem::new(&mut disk, FsOptions::new().time_provider(&FixedTime))?;
    for (name, text) in files {
        volume.root_dir().create_file(name)?.write_all(text.as_bytes())?;
    }
    volume.unmount()?;
    Ok(disk.into_inner())
}

/// Writes it beside its place and renames it: a half-written volume never has the name. It holds a private key,
/// so it is the user's alone.
pub(super) fn write(path: &Path, image: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(image)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    fn run(program: &str, args: &[&str], path: &Path) -> Option<String> {
        let output = Command::new(program).env("LC_ALL", "C").args(args).arg(path).output().ok()?;
        assert!(output.status.success(), "{program}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    /// What mtools, which shares no code with us, finds in the file `name` of the volume.
    fn mtype(path: &Path, name: &str) -> String {
        let output = Command::new("mtype")
            .arg("-i")
            .arg(path)
            .arg(format!("::{name}"))
            .output()
            .expect("mtools is needed to check the volume: 'apt-get install mtools'");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn mtools_fsck_and_blkid_agree_with_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seed.img");
        let long = "0123456789abcde\n".repeat(100_000);
        for (user_data, size_bytes) in [("#cloud-config\n{}\n", 1 << 20), (long.as_str(), 2 << 20)] {
            let files = [("user-data", user_data), ("meta-data", "{}\n"), ("network-config", "é\n")];
            let bytes = image(&files).unwrap();
            assert_eq!((bytes.len(), &bytes), (size_bytes, &image(&files).unwrap()));
            write(&path, &bytes).unwrap();
            for (name, text) in files {
                assert!(mtype(&path, name) == text, "{name} differs");
            }
            let listing = run("mdir", &["-b", "-i"], &path).unwrap();
            assert_eq!(
                listing.lines().collect::<Vec<_>>(),
                ["::/user-data", "::/meta-data", "::/network-config"]
            );
            if let Some(label) = run("/usr/sbin/blkid", &["-p", "-o", "export"], &path) {
                assert!(label.contains("\nLABEL=CIDATA\n") && label.contains("TYPE=vfat"), "{label}");
            }
            // Fails, and so panics, when it finds anything to mend.
            run("/usr/sbin/fsck.vfat", &["-n"], &path);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
