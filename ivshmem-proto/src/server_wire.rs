//! The language of ivshmem servers: what a server tells a peer through a Unix socket, and what a peer may believe.
//!
//! The protocol is QEMU's (docs/specs/ivshmem-spec.rst, "Client-Server protocol"). It goes one way, from the server to
//! the peer, in words of eight bytes, little-endian and signed, each with at most one descriptor (`SCM_RIGHTS`):
//!
//! | when | word | descriptor | means |
//! |---|---|---|---|
//! | first | 0 | | the version of the protocol |
//! | second | id | | the id of the peer that is spoken to |
//! | third | -1 | memory | what all peers map |
//! | then | another's id | eventfd | a peer that is there; once for each vector, in their order |
//! | then | own id | eventfd | what others ring to reach this peer; once for each vector |
//! | later | another's id | eventfd | a peer has joined; once for each vector |
//! | later | another's id | | that peer has left |
//!
//! Nothing here does I/O. A [`Decoder`] is generic over what a descriptor is, so that tests need none.

/// The only version there is.
pub const VERSION: i64 = 0;
/// The word that comes with the memory.
const MEMORY: i64 = -1;
/// A word on the wire.
pub const WORD_BYTES: usize = 8;
/// Vectors a peer can have: the entries of an MSI-X table (PCI 3.0, 6.8.2).
pub const VECTORS_MAX: u16 = 2048;

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The version of the protocol.
    Version,
    /// The id of the peer that is spoken to.
    OwnId(u16),
    /// Goes with the memory.
    Memory,
    /// Goes with the eventfd of the next vector of a peer: another's that is there or joins, or one's own.
    Vector(u16),
    /// A peer has left.
    Left(u16),
}

impl Message {
    /// The message on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; WORD_BYTES] {
        let word = match self {
            Self::Version => VERSION,
            Self::Memory => MEMORY,
            Self::OwnId(id) | Self::Vector(id) | Self::Left(id) => i64::from(id),
        };
        word.to_le_bytes()
    }

    /// Whether a descriptor goes with it.
    #[must_use]
    pub fn has_descriptor(self) -> bool {
        matches!(self, Self::Memory | Self::Vector(_))
    }
}

/// What a peer was told, with descriptors of type `D`.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<D> {
    /// The protocol is one that is understood.
    Version,
    /// This peer's own id.
    OwnId(u16),
    /// What all peers map.
    Memory(D),
    /// The eventfd that others write to for this peer's next vector.
    OwnVector(D),
    /// The eventfd of another peer's next vector.
    Vector {
        /// Whose it is.
        peer: u16,
        /// What is written to in order to ring it.
        eventfd: D,
    },
    /// Another peer has left: its id may be another's soon.
    Left(u16),
}

/// Why what a server sends is not the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Another version, or no ivshmem server at all.
    #[error("it speaks version {found} of the protocol, not {VERSION}: is it an ivshmem server?")]
    Version {
        /// The first word.
        found: i64,
    },
    /// A word that is no peer's id.
    #[error("it sent {found}, which is no peer's id (0 to 65535)")]
    Id {
        /// The word.
        found: i64,
    },
    /// A descriptor with a word that has none.
    #[error("it sent a descriptor with word {word} where none belongs")]
    UnexpectedDescriptor {
        /// The word.
        word: i64,
    },
    /// No descriptor with a word that needs one.
    #[error("it sent word {word} without the descriptor that belongs to it")]
    MissingDescriptor {
        /// The word.
        word: i64,
    },
    /// More than one descriptor with a word.
    #[error("it sent several descriptors with one word")]
    SeveralDescriptors,
    /// Not what comes at this point.
    #[error("it sent word {word} where {wanted} comes")]
    Order {
        /// The word.
        word: i64,
        /// What the protocol has there.
        wanted: &'static str,
    },
    /// More vectors than a peer can have.
    #[error("it gave peer {peer} more than {VECTORS_MAX} vectors")]
    TooManyVectors {
        /// The peer.
        peer: u16,
    },
    /// The end of a peer that was never there.
    #[error("it says that peer {peer} has left, which was not there")]
    UnknownPeer {
        /// The peer.
        peer: u16,
    },
    /// A piece that reaches beyond its word: a fault of the caller's.
    #[error("{bytes} bytes where a word has room for {room}")]
    Overlong {
        /// The piece's length.
        bytes: usize,
        /// What was missing of the word.
        room: usize,
    },
}

/// How far the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Version,
    OwnId,
    Memory(u16),
    Peers(u16),
}

/// A peer's ear: pieces of the byte stream go in, and what they mean comes out. After an error it is of no more use.
#[derive(Debug)]
pub struct Decoder<D> {
    stage: Stage,
    word: [u8; WORD_BYTES],
    filled: usize,
    descriptor: Option<D>,
}

impl<D> Default for Decoder<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D> Decoder<D> {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stage: Stage::Version, word: [0; WORD_BYTES], filled: 0, descriptor: None }
    }

    /// How many bytes complete the word under way, which is the most to read at once: a descriptor belongs to the word
    /// whose bytes it arrives with, and cannot be told from the next one's when a read crosses from one to the other.
    #[must_use]
    pub fn room(&self) -> usize {
        WORD_BYTES - self.filled
    }

    /// Whether the stream may end here.
    #[must_use]
    pub fn is_between_words(&self) -> bool {
        self.filled == 0
    }

    /// Takes a piece of at most [`Self::room`] bytes, with the descriptor that arrived with it, and tells what it
    /// completes.
    ///
    /// # Errors
    /// [`WireError`]: this is not the protocol.
    pub fn take(&mut self, piece: &[u8], descriptor: Option<D>) -> Result<Option<Told<D>>, WireError> {
        let room = self.room();
        let Some(place) = self.word[self.filled..].get_mut(..piece.len()) else {
            return Err(WireError::Overlong { bytes: piece.len(), room });
        };
        place.copy_from_slice(piece);
        if descriptor.is_some() && self.descriptor.is_some() {
            return Err(WireError::SeveralDescriptors);
        }
        self.descriptor = self.descriptor.take().or(descriptor);
        self.filled += piece.len();
        if self.filled < WORD_BYTES {
            return Ok(None);
        }
        self.filled = 0;
        let descriptor = self.descriptor.take();
        self.understand(i64::from_le_bytes(self.word), descriptor).map(Some)
    }

    fn understand(&mut self, word: i64, descriptor: Option<D>) -> Result<Told<D>, WireError> {
        match self.stage {
            Stage::Version => {
                if word != VERSION {
                    return Err(WireError::Version { found: word });
                }
                bare(word, descriptor.as_ref())?;
                self.stage = Stage::OwnId;
                Ok(Told::Version)
            }
            Stage::OwnId => {
                let own = id(word)?;
                bare(word, descriptor.as_ref())?;
                self.stage = Stage::Memory(own);
                Ok(Told::OwnId(own))
            }
            Stage::Memory(own) => {
                if word != MEMORY {
                    return Err(WireError::Order { word, wanted: "the memory (-1)" });
                }
                let memory = descriptor.ok_or(WireError::MissingDescriptor { word })?;
                self.stage = Stage::Peers(own);
                Ok(Told::Memory(memory))
            }
            Stage::Peers(own) => {
                if word == MEMORY {
                    return Err(WireError::Order { word, wanted: "a peer's id" });
                }
                let peer = id(word)?;
                match descriptor {
                    Some(eventfd) if peer == own => Ok(Told::OwnVector(eventfd)),
                    Some(eventfd) => Ok(Told::Vector { peer, eventfd }),
                    // That it has left itself is nothing a peer can be told.
                    None if peer == own => Err(WireError::MissingDescriptor { word }),
                    None => Ok(Told::Left(peer)),
                }
            }
        }
    }
}

fn id(word: i64) -> Result<u16, WireError> {
    u16::try_from(word).map_err(|_| WireError::Id { found: word })
}

fn bare<D>(word: i64, descriptor: Option<&D>) -> Result<(), WireError> {
    descriptor.map_or(Ok(()), |_| Err(WireError::UnexpectedDescriptor { word }))
}

#[cfg(test)]
mod tests;
