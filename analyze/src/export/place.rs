//! Where the files of a run lie: hive partitions, directories named `key=value`, which queries read as columns and skip by.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Problem, sync};
use crate::error::Error;
use crate::input::RunJson;

/// The longest name of a host.
const HOST_CHARACTERS: usize = 64;

/// The partition and the name of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    kind: &'static str,
    host: String,
    accelerator: String,
    date: String,
    /// Hexadecimal digits.
    pub(super) session: String,
}

impl Place {
    /// Of the `kind` of rows of `run`, whose run.json is `path`, on a machine that is called `host`.
    pub(super) fn of(
        kind: &'static str,
        path: &Path,
        run: &RunJson,
        host: Option<&str>,
    ) -> Result<Self, Problem> {
        let unplaced = |field, found: Option<&String>, expected| Problem::Unplaced {
            path: path.into(),
            field,
            found: found.map_or_else(|| "absent".into(), |found| format!("{found:?}")),
            expected,
        };
        let started = run.started_utc.as_ref();
        let date = started.and_then(|utc| utc.get(..10)).filter(|date| is_date(date));
        let date =
            date.ok_or_else(|| unplaced("started_utc", started, "a time such as 2026-01-31T23:59:59Z"))?;
        let session = run.session.as_ref();
        let digits = session.map(|session| session.trim_start_matches("0x")).filter(|digits| {
            (1..=32).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        let digits = digits.ok_or_else(|| unplaced("session", session, "a hexadecimal number"))?;
        let model = run.host.as_ref().and_then(|host| host.cpu_model.as_deref());
        let accelerator = run.vm.as_ref().and_then(|vm| vm.accelerator.as_ref()?.effective.as_deref());
        Ok(Self {
            kind,
            host: host.map_or_else(|| slug(model.unwrap_or_default()), str::to_owned),
            accelerator: if run.is_native() {
                "native".into()
            } else {
                slug(accelerator.unwrap_or_default())
            },
            date: date.to_owned(),
            session: digits.to_ascii_lowercase(),
        })
    }

    /// The file, below `out`.
    pub(super) fn path(&self, out: &Path) -> PathBuf {
        out.join(format!("kind={}", self.kind))
            .join(format!("host={}", self.host))
            .join(format!("accelerator={}", self.accelerator))
            .join(format!("date={}", self.date))
            .join(self.name())
    }

    fn name(&self) -> String {
        format!("part-{}.parquet", self.session)
    }

    /// Removes the same run's file from other partitions, where it was put under another host's name: no row is there twice.
    pub(super) fn remove_elsewhere(&self, out: &Path) -> Result<(), Error> {
        let here = self.path(out);
        let mut directories = vec![out.join(format!("kind={}", self.kind))];
        for _ in ["host", "accelerator", "date"] {
            directories = directories.iter().flat_map(|directory| below(directory)).collect();
        }
        for directory in directories {
            let other = directory.join(self.name());
            if other != here && other.is_file() {
                fs::remove_file(&other).map_err(|source| Error::Write { path: other, source })?;
                sync(&directory)?;
            }
        }
        Ok(())
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn is_date(text: &str) -> bool {
    let shape = |(index, byte): (usize, u8)| {
        if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() }
    };
    text.bytes().enumerate().all(shape)
}

/// A name fit for a path, a shell and a query: lower case letters, digits and single dashes; `unknown` if nothing is left.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    slug.truncate(HOST_CHARACTERS);
    if slug.is_empty() { "unknown".into() } else { slug.trim_end_matches('-').to_owned() }
}

/// Takes a `--host` that is fit for a path as it is; dots alone are not.
pub(super) fn host_name(name: &str) -> Result<String, String> {
    let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_fit = (1..=HOST_CHARACTERS).contains(&name.len())
        && name.chars().all(fit)
        && name.contains(char::is_alphanumeric);
    is_fit.then(|| name.to_owned()).ok_or_else(|| {
        format!("letters, digits, '-', '_' and '.' make a host's name, {HOST_CHARACTERS} at most")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(json: serde_json::Value) -> RunJson {
        serde_json::from_value(json).unwrap()
    }

    fn place(json: serde_json::Value) -> Result<String, String> {
        let place = Place::of("latency", Path::new("r/run.json"), &run(json), None);
        place.map(|place| place.path(Path::new("o")).display().to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_place_is_named_after_what_run_json_says() {
        let vm = json!({"started_utc": "2026-11-20T20:00:00Z", "session": "0x1122AAbb",
            "host": {"cpu_model": "Intel(R) Xeon(R) CPU @ 2.60GHz"}, "vm": {"accelerator": {"effective": "tcg"}}});
        let expected = "o/kind=latency/host=intel-r-xeon-r-cpu-2-60ghz/accelerator=tcg/date=2026-11-20/part-1122aabb.parquet";
        assert_eq!(place(vm).unwrap(), expected);
        let native =
            json!({"started_utc": "2026-11-20T20:00:00Z", "session": "1", "guest": {"map_kind": "file"}});
        let expected = "o/kind=latency/host=unknown/accelerator=native/date=2026-11-20/part-1.parquet";
        assert_eq!(place(native).unwrap(), expected);
    }

    #[test]
    fn nothing_in_run_json_leads_out_of_the_directory() {
        for (started, session) in [("../../../../x", "1"), ("2026-11-20T", "../1"), ("2026-11-20", "")] {
            let error = place(json!({"started_utc": started, "session": session})).unwrap_err();
            assert!(error.contains("r/run.json: ") && error.contains("expected"), "{error}");
        }
        assert_eq!(
            place(json!({"session": "1"})).unwrap_err(),
            "r/run.json: started_utc is absent, expected a time such as 2026-01-31T23:59:59Z; the files of an export are \
             named after it"
        );
        assert_eq!(slug("../.."), "unknown");
        assert_eq!(slug(&"a/".repeat(99)).len(), HOST_CHARACTERS - 1);
        assert!(host_name("a/b").is_err() && host_name("").is_err());
        assert_eq!(host_name("Node-7.lab").unwrap(), "Node-7.lab");
    }
}
