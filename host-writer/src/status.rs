//! How a message can end. Every message becomes a row; this is the row's `status`.

use std::collections::BTreeMap;

use ivshmem_proto::wire;

/// The end of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowStatus {
    /// Acknowledged twice, content as sent (where it was checked).
    Ok,
    /// No RECEIVED before the deadline, or before the guest left.
    TimeoutReceived,
    /// RECEIVED, but no PROCESSED before that.
    TimeoutProcessed,
    /// PROCESSED, but no verdict before the deadline.
    TimeoutVerdict,
    /// The content arrived changed.
    Mismatch,
    /// The guest says it could not read the message.
    GuestError,
    /// The guest broke the protocol.
    ProtocolError,
    /// No slot was free when it was due.
    Dropped,
}

impl RowStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::TimeoutReceived,
        Self::TimeoutProcessed,
        Self::TimeoutVerdict,
        Self::Mismatch,
        Self::GuestError,
        Self::ProtocolError,
        Self::Dropped,
    ];

    /// The word in the CSV.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TimeoutReceived => "timeout_received",
            Self::TimeoutProcessed => "timeout_processed",
            Self::TimeoutVerdict => "timeout_verdict",
            Self::Mismatch => "mismatch",
            Self::GuestError => "guest_error",
            Self::ProtocolError => "protocol_error",
            Self::Dropped => "dropped",
        }
    }

    /// Whether an acknowledgement did not come in time.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::TimeoutReceived | Self::TimeoutProcessed | Self::TimeoutVerdict)
    }

    /// What the guest's status word amounts to.
    #[must_use]
    pub const fn of_guest(status: Option<wire::Status>) -> Self {
        match status {
            Some(wire::Status::Ok) => Self::Ok,
            Some(_) => Self::GuestError,
            None => Self::ProtocolError,
        }
    }
}

/// How often each status occurred: counted in a loop that does not allocate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; RowStatus::ALL.len()]);

impl Counts {
    /// One more.
    #[inline(always)]
    pub fn add(&mut self, status: RowStatus) {
        self.0[status as usize] += 1;
    }

    /// How many of one.
    #[must_use]
    pub fn of(&self, status: RowStatus) -> u64 {
        self.0[status as usize]
    }

    /// How many at all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// By name; those that did not occur are left out, except `ok`.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&'static str, u64> {
        let named = RowStatus::ALL.iter().map(|&status| (status.name(), self.of(status)));
        named.filter(|&(name, count)| count > 0 || name == RowStatus::Ok.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_counted_under_its_own_name() {
        let mut counts = Counts::default();
        assert_eq!(counts.by_name(), BTreeMap::from([("ok", 0)]));
        for (times, &status) in RowStatus::ALL.iter().enumerate() {
            (0..times).for_each(|_| counts.add(status));
        }
        assert_eq!((counts.of(RowStatus::Dropped), counts.total()), (7, 28));
        assert_eq!(counts.by_name().len(), 8);
    }
}
