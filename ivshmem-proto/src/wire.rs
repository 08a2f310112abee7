//! The small numbers that cross the boundary, each with its meaning, its name, and `None` for anything else.

use crate::digest::DigestKind;

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u64)]
        pub enum $name { $($(#[$vdoc])* $variant = $value),+ }

        impl $name {
            /// Every value, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value `wire` stands for, or `None`: a peer may write anything.
            #[must_use]
            pub const fn from_wire(wire: u64) -> Option<Self> {
                match wire { $($value => Some(Self::$variant),)+ _ => None }
            }

            /// The word that stands for this value.
            #[must_use]
            #[inline(always)]
            pub const fn to_wire(self) -> u64 { self as u64 }

            /// The name used in files and on the terminal.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.name()) }
        }
    };
}

wire_enum! {
    /// What a published message asks of the guest.
    Kind {
        /// No payload: copy the token from the descriptor into `token_echo`.
        Ping = 1 => "ping",
        /// A payload of `length` bytes in a slot: take it as the descriptor says, then check it.
        Frame = 2 => "frame",
        /// A ping with up to a page of payload: copy it into private memory and echo the token.
        Inline = 3 => "inline",
        /// Fill private memory with `length` bytes of the pattern that the token names, for a later fetch.
        Produce = 4 => "produce",
        /// Write `length` bytes of what was produced into a slot.
        Fetch = 5 => "fetch",
        /// Measure the ways to copy `length` bytes and put the rates into the report.
        Measure = 6 => "measure",
    }
}

wire_enum! {
    /// How the payload's content is checked after PROCESSED.
    Digest {
        /// Not at all.
        None = 0 => "none",
        /// SHA-256 over the receiver's private copy.
        Sha256 = 1 => "sha256",
        /// XXH3, 128 bits.
        Xxh3 = 2 => "xxh3",
        /// CRC-32C.
        Crc32c = 3 => "crc32c",
        /// Every word compared with the pattern that the token names; finds where content differs.
        Pattern = 4 => "pattern",
    }
}

impl Digest {
    /// The algorithm that computes it; `None` for [`Self::None`] and [`Self::Pattern`], which need none.
    #[must_use]
    pub const fn algorithm(self) -> Option<DigestKind> {
        match self {
            Self::Sha256 => Some(DigestKind::Sha256),
            Self::Xxh3 => Some(DigestKind::Xxh3),
            Self::Crc32c => Some(DigestKind::Crc32c),
            Self::None | Self::Pattern => None,
        }
    }
}

wire_enum! {
    /// What the receiver does with a payload before PROCESSED.
    Consume {
        /// Copies it into private memory.
        Copy = 0 => "copy",
        /// Reads every byte and keeps none.
        Scan = 1 => "scan",
        /// Nothing: the acknowledgement alone is measured.
        None = 2 => "none",
    }
}

wire_enum! {
    /// How the guest fared with a message, written beside `processed`.
    Status {
        /// All bytes are in private memory.
        Ok = 1 => "ok",
        /// The descriptor does not describe something inside the region.
        BadDescriptor = 2 => "bad_descriptor",
        /// The host gave this message up while it was being read: the bytes may be torn.
        Superseded = 3 => "superseded",
        /// The host announced a payload and stopped writing it.
        Stalled = 4 => "stalled",
        /// The guest's CPU cannot run the copy kernel asked for, or nothing was produced to fetch.
        Unsupported = 5 => "unsupported",
    }
}

wire_enum! {
    /// What the guest found when it hashed its private copy.
    Verdict {
        /// The digest matches.
        Match = 1 => "match",
        /// It does not.
        Mismatch = 2 => "mismatch",
    }
}

wire_enum! {
    /// Where a side stands.
    State {
        /// Identity being written, or nobody there.
        Absent = 0 => "absent",
        /// Host: session open. Guest: announced, no session.
        Ready = 1 => "ready",
        /// Guest: serving a session.
        Attached = 2 => "attached",
        /// Ended in good order.
        Closed = 3 => "closed",
        /// Guest: the host page is of another layout or malformed.
        Refused = 4 => "refused",
    }
}

wire_enum! {
    /// How the guest maps the region.
    MapKind {
        /// A file on the host: the native baseline.
        File = 1 => "file",
        /// sysfs `resource2`.
        Resource2 = 2 => "resource2",
        /// sysfs `resource2_wc`.
        Resource2Wc = 3 => "resource2_wc",
        /// A UIO device of the driver `ivshmem_uio`.
        Uio = 4 => "uio",
        /// A region of a VFIO device.
        Vfio = 5 => "vfio",
    }
}

wire_enum! {
    /// Effective memory type of the guest's mapping.
    MemoryType {
        /// The kernel does not say (no debugfs).
        Unknown = 0 => "unknown",
        /// Cacheable, write-back.
        WriteBack = 1 => "write-back",
        /// Write-combining: reads are uncached.
        WriteCombining = 2 => "write-combining",
        /// Uncached, may be overridden by MTRRs.
        UncachedMinus = 3 => "uncached-minus",
        /// Uncached.
        Uncached = 4 => "uncached",
        /// Write-through.
        WriteThrough = 5 => "write-through",
    }
}

wire_enum! {
    /// What tells the time.
    ClockSource {
        /// The invariant time-stamp counter.
        Tsc = 1 => "tsc",
        /// `clock_gettime(CLOCK_MONOTONIC)`.
        ClockMonotonic = 2 => "clock_monotonic",
    }
}

wire_enum! {
    /// What the guest does between two looks at the published word.
    Spin {
        /// Looks again at once.
        None = 0 => "none",
        /// One `pause` instruction.
        Pause = 1 => "pause",
        /// Sleeps, as the prototype did.
        Sleep = 2 => "sleep",
    }
}

wire_enum! {
    /// What tells a guest that sleeps of a message.
    WaitSource {
        /// Nothing: it looks.
        Poll = 1 => "poll",
        /// An interrupt through a UIO device.
        Uio = 2 => "uio",
        /// An interrupt through VFIO.
        Vfio = 3 => "vfio",
        /// An eventfd: a peer on the host.
        Doorbell = 4 => "doorbell",
    }
}

wire_enum! {
    /// How the host would have the guest wait.
    WaitWish {
        /// As it was started.
        AsSet = 0 => "as set",
        /// Looking: for exchanges of timestamps, which a wake-up would blur.
        Poll = 1 => "poll",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_the_wire_and_nothing_else_does() {
        fn check<T: Copy + PartialEq + std::fmt::Debug>(
            all: &[T],
            to: impl Fn(T) -> u64,
            from: impl Fn(u64) -> Option<T>,
        ) {
            let known: Vec<u64> = all.iter().map(|&v| to(v)).collect();
            for &value in all {
                assert_eq!(from(to(value)), Some(value));
            }
            for wire in (0..300).chain([u64::MAX, 1 << 63]).filter(|w| !known.contains(w)) {
                assert_eq!(from(wire), None, "{wire}");
            }
        }
        check(Kind::ALL, Kind::to_wire, Kind::from_wire);
        check(Digest::ALL, Digest::to_wire, Digest::from_wire);
        check(Consume::ALL, Consume::to_wire, Consume::from_wire);
        check(Status::ALL, Status::to_wire, Status::from_wire);
        check(Verdict::ALL, Verdict::to_wire, Verdict::from_wire);
        check(State::ALL, State::to_wire, State::from_wire);
        check(MapKind::ALL, MapKind::to_wire, MapKind::from_wire);
        check(MemoryType::ALL, MemoryType::to_wire, MemoryType::from_wire);
        check(ClockSource::ALL, ClockSource::to_wire, ClockSource::from_wire);
        check(Spin::ALL, Spin::to_wire, Spin::from_wire);
        check(WaitSource::ALL, WaitSource::to_wire, WaitSource::from_wire);
        check(WaitWish::ALL, WaitWish::to_wire, WaitWish::from_wire);
    }
}
