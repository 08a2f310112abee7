//! Which message something happened at, in numbers that a user can find.
//!
//! A session counts its messages from the first, a CSV its rows from the first that counts, so that the warm-up lies between
//! the two. Frames and what is asked beside the test have numbers of the session only.

use std::fmt;

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// By its number in the session.
    Session(u64),
    /// So many messages into the warm-up.
    WarmUp(u64),
    /// By the `iteration` of its row.
    Row(u64),
}

impl At {
    /// What becomes of the rows when a run ends here.
    #[must_use]
    pub const fn kept(self) -> &'static str {
        match self {
            Self::WarmUp(_) => "there are no rows yet",
            Self::Session(_) | Self::Row(_) => "the rows so far are kept",
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(number) => write!(f, "message {number} of the session (warm-up included)"),
            Self::WarmUp(number) => write!(f, "warm-up message {number}"),
            Self::Row(number) => write!(f, "message {number}"),
        }
    }
}

/// Where in a session the warm-up begins and where the rows; by default nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    warm_up_after: u64,
    rows_after: u64,
}

impl Default for Numbering {
    fn default() -> Self {
        Self::rows_after_warmup(u64::MAX, 0)
    }
}

impl Numbering {
    /// After message `sequence` of the session come `warmup` messages that do not count, and then rows.
    #[must_use]
    pub const fn rows_after_warmup(sequence: u64, warmup: u64) -> Self {
        Self { warm_up_after: sequence, rows_after: sequence.saturating_add(warmup) }
    }

    /// Message `sequence` of the session.
    #[must_use]
    pub const fn at(self, sequence: u64) -> At {
        if sequence > self.rows_after {
            At::Row(sequence - self.rows_after)
        } else if sequence > self.warm_up_after {
            At::WarmUp(sequence - self.warm_up_after)
        } else {
            At::Session(sequence)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_session_has_numbers_of_its_own() {
        let numbering = Numbering::rows_after_warmup(1000, 100);
        let names = [1000, 1001, 1100, 1101].map(|sequence| numbering.at(sequence).to_string());
        let expected = [
            "message 1000 of the session (warm-up included)",
            "warm-up message 1",
            "warm-up message 100",
            "message 1",
        ];
        assert_eq!(names, expected);
        assert_eq!(Numbering::rows_after_warmup(0, 0).at(1), At::Row(1));
        assert_eq!(Numbering::rows_after_warmup(7, u64::MAX).at(u64::MAX), At::WarmUp(u64::MAX - 7));
        assert_eq!(Numbering::default().at(12), At::Session(12));
    }
}
