//! A download that survives being cut off: what came lies in a `.part` file named by the digest the whole must have,
//! and is continued by a Range request, in this run or another. The server is asked to continue only the very
//! version it began (If-Range); if it has another one, or knows no ranges, it sends the whole and we start over.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Sha512;

use super::fetch::{Answer, FetchError, Request, ask};
use super::{ImageError, digest};
use crate::interrupt::Interrupts;
use crate::progress::{Progress, Task};

/// How often in a row a connection may bring nothing before the download fails.
const FRUITLESS_TRIES_MAX: u32 = 3;
const CHUNK_BYTES: usize = 256 << 10;

/// What is downloaded and how.
pub(super) struct Download<'a> {
    /// From where.
    pub(super) url: &'a str,
    /// The SHA-512 it must have.
    pub(super) sha512: &'a str,
    /// Where parts are kept.
    pub(super) directory: &'a Path,
    /// Longest silence of the server.
    pub(super) silence: Duration,
    pub(super) interrupts: &'a Interrupts,
    pub(super) progress: Progress,
}

/// A part and the version it is a part of.
struct Part {
    path: PathBuf,
    version_path: PathBuf,
    file: File,
    bytes: u64,
}

enum Step {
    /// All is there, as far as the server says.
    Whole,
    /// The connection ended early.
    Cut(String),
}

impl Download<'_> {
    /// Fetches what is missing and returns the path of the whole, checked file. It is the caller's to move away.
    pub(super) fn run(&self) -> Result<PathBuf, ImageError> {
        fs::create_dir_all(self.directory).map_err(ImageError::io("create", self.directory))?;
        let mut part = self.open_part()?;
        let label = format!("fetching {}", self.url.rsplit('/').next().unwrap_or(self.url));
        let task = self.progress.byte_task(&label, None);
        if part.bytes > 0 {
            task.say(&format!("continuing after {} MiB", part.bytes >> 20));
        }
        let mut fruitless = 0;
        loop {
            let had = part.bytes;
            let said = match self.step(&mut part, &task) {
                Ok(Step::Whole) => break,
                Ok(Step::Cut(said)) => said,
                Err(Failure::Fetch(FetchError::Interrupted(interrupted))) => return Err(interrupted.into()),
                Err(Failure::Fetch(e @ FetchError::Status(_))) => return Err(self.unreachable(e.to_string())),
                Err(Failure::Fetch(e)) => e.to_string(),
                Err(Failure::Image(e)) => return Err(e),
            };
            fruitless = if part.bytes > had { 0 } else { fruitless + 1 };
            if fruitless == FRUITLESS_TRIES_MAX {
                return Err(self.unreachable(format!(
                    "{said} (what came, {} MiB, is kept and continued next time)",
                    part.bytes >> 20
                )));
            }
            task.say(&format!("{said}; continuing after {} MiB", part.bytes >> 20));
        }
        drop(task);
        self.check(part)
    }

    /// One request, and all it brings.
    fn step(&self, part: &mut Part, task: &Task) -> Result<Step, Failure> {
        let version = fs::read_to_string(&part.version_path).ok();
        let request = Request { url: self.url.to_owned(), from: part.bytes, version };
        let mut answer = ask(request, self.interrupts, self.silence)?;
        if answer.head.status == 416 {
            // Nothing beyond what we have; whether that is the whole, the checksum tells.
            return Ok(Step::Whole);
        }
        if answer.head.status != 206 || answer.head.starts_at != part.bytes {
            if answer.head.starts_at != 0 {
                return Err(FetchError::Connection("the server sent another range".to_owned()).into());
            }
            part.restart()?;
        }
        if let Some(version) = &answer.head.version {
            fs::write(&part.version_path, version).map_err(ImageError::io("write", &part.version_path))?;
        }
        let total = answer.head.body_bytes.map(|more| part.bytes + more);
        task.total_bytes(total);
        self.receive(&mut answer, part, task)?;
        match total {
            Some(total) if part.bytes < total => Ok(Step::Cut("the connection was cut".to_owned())),
            _ => Ok(Step::Whole),
        }
    }

    fn receive(&self, answer: &mut Answer<'_>, part: &mut Part, task: &Task) -> Result<(), Failure> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let got = answer.read(&mut chunk)?;
            if got == 0 {
                return Ok(());
            }
            part.file.write_all(&chunk[..got]).map_err(ImageError::io("write", &part.path))?;
            part.bytes += got as u64;
            task.at_bytes(part.bytes);
        }
    }

    fn open_part(&self) -> Result<Part, ImageError> {
        let name = format!("{}.part", self.sha512.get(..16).unwrap_or(self.sha512));
        let path = self.directory.join(&name);
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let file = open.map_err(ImageError::io("open", &path))?;
        let bytes = file.metadata().map_err(ImageError::io("look at", &path))?.len();
        Ok(Part { version_path: self.directory.join(format!("{name}.version")), path, file, bytes })
    }

    fn check(&self, part: Part) -> Result<PathBuf, ImageError> {
        part.file.sync_data().map_err(ImageError::io("write", &part.path))?;
        let task = self.progress.byte_task("checking what was fetched", Some(part.bytes));
        let got = digest::of_file::<Sha512>(&part.path, self.interrupts, Some(&task))?;
        let _ = fs::remove_file(&part.version_path);
        if got == self.sha512 {
            return Ok(part.path);
        }
        fs::remove_file(&part.path).map_err(ImageError::io("remove", &part.path))?;
        Err(ImageError::WrongChecksum { url: self.url.to_owned(), expected: self.sha512.to_owned(), got })
    }

    fn unreachable(&self, said: String) -> ImageError {
        ImageError::Unreachable { url: self.url.to_owned(), said }
    }
}

impl Part {
    fn restart(&mut self) -> Result<(), ImageError> {
        self.file.set_len(0).map_err(ImageError::io("empty", &self.path))?;
        self.bytes = 0;
        Ok(())
    }
}

enum Failure {
    Fetch(FetchError),
    Image(ImageError),
}

impl From<FetchError> for Failure {
    fn from(e: FetchError) -> Self {
        Self::Fetch(e)
    }
}

impl From<ImageError> for Failure {
    fn from(e: ImageError) -> Self {
        Self::Image(e)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_server::{Habit, Server};
    use super::*;
    use sha2::Digest;

    fn sha512(bytes: &[u8]) -> String {
        Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn content(seed: u8) -> Vec<u8> {
        (0..3_000_000_u32).map(|i| (i / 7) as u8 ^ seed).collect()
    }

    fn fetch(server: &Server, directory: &Path, sha512: &str) -> Result<PathBuf, ImageError> {
        Download {
            url: &server.url("disk.qcow2"),
            sha512,
            directory,
            silence: Duration::from_secs(5),
            interrupts: &Interrupts::catch().unwrap(),
            progress: Progress { quiet: true },
        }
        .run()
    }

    fn left_in(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_cut_connection_is_continued_where_it_ended() {
        let (bytes, cache) = (content(0), tempfile::tempdir().unwrap());
        let server = Server::start(&bytes, Habit { cut_after: Some(1_000_000), ..Habit::good() });
        let path = fetch(&server, cache.path(), &sha512(&bytes)).unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
        assert_eq!(server.ranges(), [None, Some(1_000_000), Some(2_000_000)]);
        assert_eq!(left_in(cache.path()), 1);
    }

    #[test]
    fn a_server_without_ranges_makes_us_start_over_and_three_times_nothing_is_enough() {
        let (bytes, cache) = (content(0), tempfile::tempdir().unwrap());
        let habit = Habit { cut_after: Some(1_000_000), cuts: 1, ranges: false, ..Habit::good() };
        let path = fetch(&Server::start(&bytes, habit), cache.path(), &sha512(&bytes)).unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
        let endless = Habit { cut_after: Some(0), ..Habit::good() };
        let fresh = tempfile::tempdir().unwrap();
        let error = fetch(&Server::start(&bytes, endless), fresh.path(), &sha512(&bytes)).unwrap_err();
        assert!(error.to_string().contains("--image mirror"), "{error}");
    }

    #[test]
    fn another_run_continues_what_an_earlier_one_left() {
        let (bytes, cache) = (content(0), tempfile::tempdir().unwrap());
        let part = cache.path().join(format!("{}.part", &sha512(&bytes)[..16]));
        fs::write(&part, &bytes[..2_500_000]).unwrap();
        let server = Server::start(&bytes, Habit::good());
        assert_eq!(fs::read(fetch(&server, cache.path(), &sha512(&bytes)).unwrap()).unwrap(), bytes);
        assert_eq!(server.ranges(), [Some(2_500_000)]);
        // Whole already, only not moved away yet.
        assert_eq!(fs::read(fetch(&server, cache.path(), &sha512(&bytes)).unwrap()).unwrap(), bytes);
        assert_eq!(server.ranges(), [Some(2_500_000), Some(3_000_000)]);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_glued_to_its_old_half() {
        let (old, new, cache) = (content(0), content(9), tempfile::tempdir().unwrap());
        let habit = Habit { cut_after: Some(1_000_000), then: Some(new.clone()), ..Habit::good() };
        let server = Server::start(&old, habit);
        let path = fetch(&server, cache.path(), &sha512(&new)).unwrap();
        assert_eq!(fs::read(path).unwrap(), new);
    }

    #[test]
    fn a_wrong_checksum_names_both_and_leaves_nothing() {
        let (bytes, cache) = (content(0), tempfile::tempdir().unwrap());
        let server = Server::start(&bytes, Habit::good());
        let error = fetch(&server, cache.path(), &"ab".repeat(64)).unwrap_err().to_string();
        assert!(error.contains(&format!("expected abababababababab..., got {}...", &sha512(&bytes)[..16])));
        assert_eq!(left_in(cache.path()), 0);
    }

    #[test]
    fn what_the_server_does_not_have_is_said_with_its_status() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(b"x", Habit { absent: true, ..Habit::good() });
        let error = fetch(&server, cache.path(), &"ab".repeat(64)).unwrap_err().to_string();
        assert!(error.contains("disk.qcow2 cannot be fetched: the server answered 404"), "{error}");
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let (bytes, cache) = (content(0), tempfile::tempdir().unwrap());
        let server = Server::start(&bytes, Habit { silent_after: Some(0), ..Habit::good() });
        let error = Download {
            url: &server.url("disk.qcow2"),
            sha512: &sha512(&bytes),
            directory: cache.path(),
            silence: Duration::from_millis(100),
            interrupts: &Interrupts::catch().unwrap(),
            progress: Progress { quiet: true },
        }
        .run()
        .unwrap_err()
        .to_string();
        // Two clocks run, the connection's and ours; whichever is first, it is said.
        assert!(error.contains("disk.qcow2 cannot be fetched: "), "{error}");
    }
}
