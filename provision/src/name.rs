//! The name of a VM: it becomes a directory, a socket path and a QEMU argument, so it is checked once, here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name accepted, so that the socket path below the state root stays short.
pub const NAME_CHARS_MAX: usize = 31;

/// A VM name: `[a-z0-9][a-z0-9-]*`, at most [`NAME_CHARS_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmName(String);

/// A name that cannot be a VM's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "VM name {0:?} is not usable: take 1 to {NAME_CHARS_MAX} of a-z, 0-9 and '-', beginning with a letter or digit"
)]
pub struct BadName(pub String);

impl VmName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty()
            || text.len() > NAME_CHARS_MAX
            || text.starts_with('-')
            || !text.chars().all(allowed)
        {
            return Err(BadName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for VmName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<VmName> for String {
    fn from(name: VmName) -> Self {
        name.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["micro", "a", "0", "vm-2", "a--b", &"x".repeat(NAME_CHARS_MAX)] {
            assert_eq!(name.parse::<VmName>().map(String::from), Ok(name.to_owned()));
        }
    }

    #[test]
    fn names_that_could_leave_the_state_root_or_break_an_argument_are_refused() {
        for name in ["", "-a", "A", "a/b", "..", ".lock", "a,b", "a b", "ä", &"x".repeat(NAME_CHARS_MAX + 1)]
        {
            assert_eq!(name.parse::<VmName>(), Err(BadName(name.to_owned())), "{name:?}");
        }
    }
}
