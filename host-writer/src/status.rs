//! How a message can end. Every message becomes a row; this is the row's `status`.

use std::collections::BTreeMap;

use ivshmem_proto::wire;

/// The end of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowStatus {
    /// Acknowledged twice, content as sent (where it was checked).
    Ok,
    /// No RECEIVED before the deadline.
    TimeoutReceived,
    /// RECEIVED, but no PROCESSED before the deadline.
    TimeoutProcessed,
    /// PROCESSED, but no verdict before the deadline.
    TimeoutVerdict,
    /// The content arrived changed.
    Mismatch,
    /// The guest says it could not read the message.
    GuestError,
    /// The guest wrote a number that means nothing.
    ProtocolError,
}

impl RowStatus {
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
            Some(wire::Status::BadDescriptor | wire::Status::Superseded) => Self::GuestError,
            None => Self::ProtocolError,
        }
    }
}

/// How often each status occurred, by name.
#[must_use]
pub fn count(statuses: impl IntoIterator<Item = RowStatus>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::from([(RowStatus::Ok.name(), 0)]);
    for status in statuses {
        *counts.entry(status.name()).or_default() += 1;
    }
    counts
}
