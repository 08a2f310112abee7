//! The host port that leads to the guest's SSH.

use std::fmt;
use std::str::FromStr;

/// The port taken unless the user says otherwise.
pub const DEFAULT: u16 = 2222;

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshPort {
    /// This one or none.
    Fixed(u16),
    /// [`DEFAULT`], and when that is taken any that is free.
    Auto,
}

/// Text that is no [`SshPort`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no port: write auto, or a number from 1 to 65535")]
pub struct BadPort(pub String);

impl FromStr for SshPort {
    type Err = BadPort;

    fn from_str(text: &str) -> Result<Self, BadPort> {
        match text {
            "auto" => Ok(Self::Auto),
            number => match number.parse() {
                Ok(0) | Err(_) => Err(BadPort(text.to_owned())),
                Ok(port) => Ok(Self::Fixed(port)),
            },
        }
    }
}

impl fmt::Display for SshPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(port) => port.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(SshPort::Auto));
        assert_eq!("2222".parse(), Ok(SshPort::Fixed(2222)));
        for text in ["", "0", "65536", "-1", "ssh"] {
            assert_eq!(text.parse::<SshPort>(), Err(BadPort(text.to_owned())));
        }
    }
}
