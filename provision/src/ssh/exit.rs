//! How a command in the guest ended, and what a shell would make of it.

use std::fmt;

use nix::sys::signal::Signal;

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It exited with a code.
    Code(u8),
    /// A signal killed it: its name without `SIG`, as it comes over the wire (RFC 4254, section 6.10).
    Signal(String),
}

/// What OpenSSH's client ends with when it cannot tell.
const UNKNOWN: u8 = 255;

impl Exit {
    /// Whether all went well.
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// The shell's convention: the code, or 128 and the signal's number.
    pub fn code(&self) -> u8 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(name) => format!("SIG{name}")
                .parse::<Signal>()
                .ok()
                .and_then(|signal| u8::try_from(128 + signal as i32).ok())
                .unwrap_or(UNKNOWN),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(name) => write!(f, "killed by SIG{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_shell() {
        assert_eq!(Exit::Code(7).code(), 7);
        assert_eq!(Exit::Signal("KILL".to_owned()).code(), 137);
        assert_eq!(Exit::Signal("TERM".to_owned()).code(), 143);
        assert_eq!(Exit::Signal("no-such@example.com".to_owned()).code(), 255);
    }
}
