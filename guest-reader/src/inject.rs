//! Faults on request: the host's error paths are proven against a guest that really misbehaves.

use std::str::FromStr;

/// A fault on one message of every session. Messages count from 1, warm-up included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection {
    /// Never send PROCESSED for this message.
    DropAck(u64),
    /// Flip one bit of the private copy of this message before hashing it.
    Corrupt(u64),
}

impl Injection {
    /// Whether PROCESSED must be withheld from message `sequence`.
    #[must_use]
    pub fn drops_ack(self, sequence: u64) -> bool {
        self == Self::DropAck(sequence)
    }

    /// Whether the private copy of message `sequence` must be damaged.
    #[must_use]
    pub fn corrupts(self, sequence: u64) -> bool {
        self == Self::Corrupt(sequence)
    }
}

impl FromStr for Injection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected drop-ack=N or corrupt=N, N counting messages from 1".to_owned();
        let (fault, number) = text.split_once('=').ok_or_else(expected)?;
        let sequence = number.parse().ok().filter(|&n| n > 0).ok_or_else(expected)?;
        match fault {
            "drop-ack" => Ok(Self::DropAck(sequence)),
            "corrupt" => Ok(Self::Corrupt(sequence)),
            _ => Err(expected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_parse_and_hit_their_message_only() {
        let drop: Injection = "drop-ack=7".parse().unwrap();
        assert!(drop.drops_ack(7) && !drop.drops_ack(8) && !drop.corrupts(7));
        let corrupt: Injection = "corrupt=2".parse().unwrap();
        assert!(corrupt.corrupts(2) && !corrupt.drops_ack(2));
        for bad in ["", "drop-ack", "drop-ack=0", "drop-ack=x", "explode=1"] {
            assert!(bad.parse::<Injection>().is_err(), "{bad}");
        }
    }
}
