//! How grave a doubt is, until doubts say so themselves.

use std::fmt;

use crate::doubt::Doubt;

/// The gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The figures are not to be relied on.
    Alarm,
    /// They are to be read with care.
    Warning,
    /// Something to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alarm => "alarm",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Stand-in.
pub trait Severe {
    /// How grave.
    fn severity(&self) -> Severity;
}

impl Severe for Doubt {
    fn severity(&self) -> Severity {
        match self.code() {
            "peer_violations" | "roof_exceeded" | "above_limit" | "zero_rtt" | "huge_rtt"
            | "out_of_order" => Severity::Alarm,
            "loaded" => Severity::Note,
            _ => Severity::Warning,
        }
    }
}
