//! Faults on request: the host's error paths are proven against a guest that really misbehaves.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::Ordering;

use ivshmem_proto::guest::{Done, Guest};
use ivshmem_proto::layout::{RING_ENTRIES, host_words};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;
use ivshmem_proto::wire::Verdict;
use ivshmem_proto::word::sequence_of;

/// What can be done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    DropAck,
    Corrupt,
    Torn,
    Reorder,
    FutureAck,
    FlipVerdict,
    Scribble,
    Stale,
}

const FAULTS: [(&str, Fault); 8] = [
    ("drop-ack", Fault::DropAck),
    ("corrupt", Fault::Corrupt),
    ("torn", Fault::Torn),
    ("reorder", Fault::Reorder),
    ("future-ack", Fault::FutureAck),
    ("flip-verdict", Fault::FlipVerdict),
    ("scribble", Fault::Scribble),
    ("stale", Fault::Stale),
];

/// A fault on one message of every session. Messages count from 1, warm-up included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    fault: Fault,
    sequence: u64,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAULTS.iter().find(|(_, fault)| *fault == self.fault).map_or("", |(name, _)| name);
        write!(f, "{name}={}", self.sequence)
    }
}

impl FromStr for Injection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = FAULTS.map(|(name, _)| name).join(", ");
        let expected = || format!("expected FAULT=N, N counting messages from 1 and FAULT one of {names}");
        let (name, number) = text.split_once('=').ok_or_else(expected)?;
        let sequence = number.parse().ok().filter(|&n| n > 0).ok_or_else(expected)?;
        let &(_, fault) = FAULTS.iter().find(|&&(known, _)| known == name).ok_or_else(expected)?;
        Ok(Self { fault, sequence })
    }
}

/// Why a fault was not committed in a session of `messages` messages.
fn never(injection: Injection, messages: u64) -> String {
    let why = if injection.sequence > messages {
        format!("the session had {messages} messages")
    } else {
        format!("message {} was of a kind that it does not exist for", injection.sequence)
    };
    format!("fault {injection} was not committed: {why}")
}

/// The fault to commit, if any, and what it has under way.
#[derive(Debug, Default)]
pub struct Faults {
    injection: Option<Injection>,
    /// Whether it has been committed in this session.
    committed: bool,
    /// Whether that has been told.
    told: bool,
    /// A message processed and not acknowledged yet.
    held: Option<(u64, Done)>,
}

impl Faults {
    /// With the fault asked for.
    #[must_use]
    pub fn new(injection: Option<Injection>) -> Self {
        Self { injection, ..Self::default() }
    }

    /// Whether everything is done right.
    #[must_use]
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.injection.is_none()
    }

    fn hits(&self, fault: Fault, sequence: u64) -> bool {
        self.injection == Some(Injection { fault, sequence })
    }

    /// Whether the fault is to be committed on message `sequence`; then it is.
    fn commits(&mut self, fault: Fault, sequence: u64) -> bool {
        let hits = self.hits(fault, sequence);
        self.committed |= hits;
        hits
    }

    /// What to log of a fault that was committed since the last look.
    #[inline]
    pub fn news(&mut self) -> Option<String> {
        if self.told || !self.committed {
            return None;
        }
        self.told = true;
        self.injection.map(|injection| format!("fault {injection} was committed"))
    }

    /// What to log of a fault at the end of a session of `messages` messages, that of no session included; the next one
    /// begins.
    pub fn end_session(&mut self, messages: u64) -> Option<String> {
        let (news, committed) = (self.news(), std::mem::take(&mut self.committed));
        (self.told, self.held) = (false, None);
        let injection = self.injection.filter(|_| !committed && messages > 0);
        news.or_else(|| injection.map(|injection| never(injection, messages)))
    }

    /// Whether PROCESSED must be withheld from message `sequence`.
    #[must_use]
    pub fn drops_ack(&mut self, sequence: u64) -> bool {
        self.commits(Fault::DropAck, sequence)
    }

    /// Whether the message after `sequence` is to be acknowledged instead.
    #[must_use]
    pub fn acks_the_future(&mut self, sequence: u64) -> bool {
        self.commits(Fault::FutureAck, sequence)
    }

    /// Whether the slot of the fetch `sequence` is left as it was, and acknowledged all the same.
    #[must_use]
    pub fn leaves_stale(&mut self, sequence: u64) -> bool {
        self.commits(Fault::Stale, sequence)
    }

    /// Faults around the answer to `sequence`: a word in the host's page, a verdict on the message before that changes.
    pub fn before_answer(&mut self, map: &Mapping, guest: &mut Guest<'_, Mapping>, sequence: u64) {
        if self.commits(Fault::Scribble, sequence) {
            map.store(host_words::slot_bytes, u64::MAX, Ordering::Release);
        }
        if sequence > 1 && self.commits(Fault::FlipVerdict, sequence - 1) {
            guest.change_verdict(sequence - 1, Verdict::Mismatch);
        }
    }

    /// Keeps the acknowledgement of the message back, if it is to come after those of its successors.
    pub fn holds_back(&mut self, word: u64, done: &Done) -> bool {
        let holds = self.commits(Fault::Reorder, sequence_of(word));
        if holds {
            self.held = Some((word, *done));
        }
        holds
    }

    /// What was held back, once message `sequence` is so far on that no host can be waiting for it: any sooner, and a host
    /// that does not happen to look in between sees nothing out of order.
    pub fn take_held(&mut self, sequence: u64) -> Option<(u64, Done)> {
        self.held.take_if(|(word, _)| sequence >= sequence_of(*word) + RING_ENTRIES - 1)
    }

    /// The second half of what is about to be overwritten, if it is to survive.
    #[must_use]
    pub fn stale_half(&self, sequence: u64, inbox: &[u8]) -> Option<Vec<u8>> {
        self.hits(Fault::Torn, sequence).then(|| inbox[inbox.len() / 2..].to_vec())
    }

    /// Damages the private copy of message `sequence` before it is checked.
    pub fn damage(&mut self, sequence: u64, inbox: &mut [u8], stale: Option<Vec<u8>>) {
        if let Some(stale) = stale {
            self.committed = true;
            let half = inbox.len() / 2;
            inbox[half..].copy_from_slice(&stale);
        }
        if let Some(byte) = inbox.first_mut()
            && self.commits(Fault::Corrupt, sequence)
        {
            *byte ^= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_parse_and_hit_their_message_only() {
        let faults = |text: &str| Faults::new(Some(text.parse().unwrap()));
        assert!(faults("drop-ack=7").drops_ack(7) && !faults("drop-ack=7").drops_ack(8));
        assert!(!faults("corrupt=7").drops_ack(7) && !faults("corrupt=7").acks_the_future(7));
        assert!(faults("future-ack=2").acks_the_future(2));
        assert!(faults("stale=2").leaves_stale(2) && !faults("stale=2").leaves_stale(3));
        for (name, _) in FAULTS {
            assert!(format!("{name}=3").parse::<Injection>().is_ok());
        }
        for bad in ["", "drop-ack", "drop-ack=0", "drop-ack=x", "explode=1"] {
            let error = bad.parse::<Injection>().unwrap_err();
            assert!(error.contains("drop-ack, corrupt, torn, reorder"), "{error}");
        }
    }

    #[test]
    fn what_is_held_back_comes_when_nobody_waits_for_it() {
        let mut faults = Faults::new(Some("reorder=2".parse().unwrap()));
        let done = Done { copy_ns: 7, ..Done::default() };
        assert!(!faults.holds_back(1, &done) && faults.holds_back(2, &done) && !faults.holds_back(3, &done));
        assert_eq!((faults.take_held(3), faults.take_held(16)), (None, None));
        assert_eq!((faults.take_held(17), faults.take_held(18)), (Some((2, done)), None));
    }

    #[test]
    fn what_was_committed_is_told_once_a_session_and_what_was_not_at_its_end() {
        let mut faults = Faults::new(Some("drop-ack=3".parse().unwrap()));
        assert_eq!(faults.end_session(0), None, "there was no session");
        assert!(!faults.drops_ack(2) && faults.news().is_none());
        assert!(faults.drops_ack(3));
        assert_eq!(faults.news().unwrap(), "fault drop-ack=3 was committed");
        assert_eq!((faults.news(), faults.end_session(9)), (None, None));
        assert!(faults.drops_ack(3), "in the next session, too");
        assert_eq!(faults.end_session(9).unwrap(), "fault drop-ack=3 was committed");

        let mut torn = Faults::new(Some("torn=1005".parse().unwrap()));
        let line = torn.end_session(510).unwrap();
        assert_eq!(line, "fault torn=1005 was not committed: the session had 510 messages");
        let _ = torn.stale_half(1005, &[0; 8]);
        let line = torn.end_session(2000).unwrap();
        assert!(line.ends_with("message 1005 was of a kind that it does not exist for"), "{line}");
        assert_eq!(Faults::new(None).end_session(5), None);
    }

    #[test]
    fn damage_is_what_it_says() {
        let mut inbox = vec![1u8; 8];
        let mut torn = Faults::new(Some("torn=1".parse().unwrap()));
        let stale = torn.stale_half(1, &inbox);
        inbox.fill(2);
        torn.damage(1, &mut inbox, stale);
        assert_eq!(inbox, [2, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!(torn.stale_half(2, &inbox), None);
        let mut corrupt = Faults::new(Some("corrupt=1".parse().unwrap()));
        corrupt.damage(2, &mut inbox, None);
        assert_eq!(inbox[0], 2);
        corrupt.damage(1, &mut inbox, None);
        assert_eq!(inbox[0], 3);
    }
}
