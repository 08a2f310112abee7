//! The user's cloud-config: read from a file, and refused in one line when it is something else.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{SeedError, yaml};
use crate::cli::UserDataMode;

/// Largest file taken. cloud providers take 16 to 64 KiB; more than this is a mistake.
const BYTES_MAX: u64 = 1 << 20;

/// First words by which cloud-init tells its other kinds of user-data, and what they are.
const OTHER_KINDS: [(&str, &str); 9] = [
    ("#!", "a script"),
    ("#include", "a list of addresses"),
    ("#part-handler", "a part handler"),
    ("#cloud-boothook", "a boot hook"),
    ("#cloud-config-archive", "an archive of parts"),
    ("#cloud-config-jsonp", "a JSON patch"),
    ("## template:", "a template"),
    ("content-type:", "a MIME message"),
    ("mime-version:", "a MIME message"),
];

/// A cloud-config of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    /// Where it comes from, for errors.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What becomes of ours.
    pub mode: UserDataMode,
}

impl UserData {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not text.
    pub fn read(path: &Path, mode: UserDataMode) -> Result<Self, SeedError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|source| SeedError::Io { action: "read", path: path.to_owned(), source })?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(SeedError::TooLarge { path: path.to_owned() });
        }
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Err(SeedError::OtherKind { path: path.to_owned(), kind: "compressed" });
        }
        let text = String::from_utf8(bytes).map_err(|_| SeedError::NotText { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), text, mode })
    }

    /// What it says. An empty file says nothing.
    pub(super) fn parse(&self) -> Result<Map<String, Value>, SeedError> {
        let path = || self.path.clone();
        if let Some(kind) = other_kind(&self.text) {
            return Err(SeedError::OtherKind { path: path(), kind });
        }
        match yaml::read(&self.text) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(Value::Null) => Ok(Map::new()),
            Ok(other) => Err(SeedError::NotMapping { path: path(), found: kind_of(&other) }),
            Err(error) => {
                let at =
                    error.line_and_column.map(|(line, column)| format!(" at line {line}, column {column}"));
                Err(SeedError::NotYaml { path: path(), at: at.unwrap_or_default(), why: error.why })
            }
        }
    }
}

fn other_kind(text: &str) -> Option<&'static str> {
    let first = text.trim_start_matches('\u{feff}').trim_start().lines().next()?.to_ascii_lowercase();
    // Longest first: '#cloud-config-archive' also starts like the kind that is wanted.
    OTHER_KINDS.iter().find(|(word, _)| first.starts_with(word)).map(|&(_, kind)| kind)
}

/// What a value is, in a user's words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Map<String, Value>, SeedError> {
        UserData { path: "my.yaml".into(), text: text.to_owned(), mode: UserDataMode::Merge }.parse()
    }

    #[test]
    fn a_cloud_config_needs_no_first_line_and_may_be_empty() {
        assert_eq!(parse("#cloud-config\npackages: [git]\n").unwrap(), parse("packages: [git]").unwrap());
        assert!(parse("#cloud-config\n").unwrap().is_empty() && parse("").unwrap().is_empty());
        assert_eq!(parse("\u{feff}a: 1\r\nb: 2\r\n").unwrap().len(), 2);
    }

    #[test]
    fn everything_else_is_refused_in_one_line() {
        let texts = [
            "#!/bin/sh\necho\n",
            "#include\nhttp://example.org\n",
            "## template: jinja\n#cloud-config\n",
            "#cloud-config-archive\n- type: text/cloud-config\n",
            "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n",
            "#cloud-config\n- a\n",
            "just words",
            "packages: [git\nruncmd:\n",
            "a:\n\tb: 1\n",
            "a: 1\na: 2\n",
            "a: 1\n---\nb: 1\n",
            "a: *nowhere\n",
        ];
        let lines: Vec<String> = texts.iter().map(|text| parse(text).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_file_that_is_too_large_or_not_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("u");
        let refusal = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            UserData::read(&path, UserDataMode::Merge).unwrap_err().to_string()
        };
        assert!(refusal(&vec![b'#'; (BYTES_MAX + 1) as usize]).contains("larger than 1 MiB"));
        assert!(refusal(b"\x1f\x8b\x08").contains("only a cloud-config can be merged"));
        assert!(refusal(b"a: \xff").contains("UTF-8"));
        assert!(UserData::read(directory.path(), UserDataMode::Merge).is_err());
    }
}
