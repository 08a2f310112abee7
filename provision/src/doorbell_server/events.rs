//! What happens to the server, told as it happens: lines for people on standard error, or JSON for programs on
//! standard output.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::keep::utc_now;
use crate::qemu::complaint::printable;
use crate::size::Bytes;

/// Why a peer is a peer no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Why {
    /// It closed its connection, or died.
    #[error("it closed the connection")]
    Closed,
    /// It sent something.
    #[error("disconnected: it wrote, and peers have nothing to say")]
    Spoke,
    /// It does not read.
    #[error("disconnected: it does not read, and {0} messages wait for it")]
    FellBehind(usize),
    /// Its socket failed.
    #[error("disconnected: {0}")]
    Failed(String),
}

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    /// Peers can connect.
    Listening { socket: &'a Path, shm: &'a str, size_bytes: u64, vectors: u16, max_peers: u32 },
    /// A peer has joined; its process, and how many there are now.
    Joined { peer: u16, pid: Option<i32>, program: Option<String>, peers: usize },
    /// A peer has left; why, and how many are left.
    Left { peer: u16, why: String, peers: usize },
    /// The first of some connections that cannot be taken.
    Refused { why: String },
    /// How many more were not taken, now that there is room.
    RefusedMore { connections: u64 },
    /// The server ends.
    Ended { why: String },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { socket, shm, size_bytes, vectors, max_peers } => {
                let (socket, size) = (socket.display(), Bytes(*size_bytes));
                write!(
                    f,
                    "listening on {socket}: {size} of {shm}, vectors {vectors}, at most {max_peers} peers"
                )
            }
            Self::Joined { peer, pid, program, peers } => {
                write!(f, "peer {peer} joined")?;
                if let Some(pid) = pid {
                    write!(f, " (pid {pid}, {})", program.as_deref().unwrap_or("unknown"))?;
                }
                write!(f, ", {peers} now")
            }
            Self::Left { peer, why, peers } => write!(f, "peer {peer} left, {peers} now: {why}"),
            Self::Refused { why } => write!(f, "a connection is refused: {why}"),
            Self::RefusedMore { connections } => write!(f, "{connections} more connections were refused"),
            Self::Ended { why } => write!(f, "ended: {why}"),
        }
    }
}

/// Where events go. A reader that is gone is no reason to stop serving.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events {
    pub(super) json: bool,
}

impl Events {
    pub(super) fn tell(self, event: &Event<'_>) {
        let _ = self.try_tell(event);
    }

    fn try_tell(self, event: &Event<'_>) -> io::Result<()> {
        if self.json {
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            let mut out = io::stdout().lock();
            return out.write_all(&line).and_then(|()| out.flush());
        }
        if matches!(event, Event::Listening { .. }) {
            // Whoever started the server may wait for this, and for nothing else.
            let mut out = io::stdout().lock();
            return writeln!(out, "{event}").and_then(|()| out.flush());
        }
        writeln!(io::stderr().lock(), "{} {event}", utc_now())
    }
}

/// A program's name as /proc tells it, which is the program's own choice.
pub(super) fn program(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(printable(name.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_for_people_and_for_programs() {
        let events = [
            Event::Listening {
                socket: Path::new("/run/bell.sock"),
                shm: "memfd",
                size_bytes: 64 << 20,
                vectors: 2,
                max_peers: 64,
            },
            Event::Joined { peer: 0, pid: Some(7), program: Some("qemu-system-x86".to_owned()), peers: 1 },
            Event::Left { peer: 0, why: Why::Closed.to_string(), peers: 0 },
            Event::Left { peer: 1, why: Why::Spoke.to_string(), peers: 0 },
            Event::Left { peer: 2, why: Why::FellBehind(1155).to_string(), peers: 0 },
            Event::Refused { why: "all 64 places are taken".to_owned() },
            Event::RefusedMore { connections: 936 },
            Event::Ended { why: "SIGTERM".to_owned() },
        ];
        let text: Vec<String> = events
            .iter()
            .flat_map(|event| [event.to_string(), serde_json::to_string(event).unwrap()])
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
