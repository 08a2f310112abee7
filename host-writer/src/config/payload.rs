//! Payloads: how large they are, and how they travel.

use ivshmem_proto::frame::{BITS_PER_PIXEL, FrameFormat};

use crate::sizes;

/// A payload's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSize {
    /// A video frame.
    Frame(FrameFormat),
    /// So many bytes.
    Bytes(u64),
}

impl PayloadSize {
    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Frame(format) => format.bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The name used in files.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Frame(format) => format.name().to_owned(),
            Self::Bytes(bytes) => sizes::format_size(bytes),
        }
    }

    /// The name shown to people: `4K frame`, beside which `4KiB` is no frame.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Frame(FrameFormat::Uhd4k) => "4K frame".to_owned(),
            Self::Frame(format) => format!("{} frame", format.name()),
            Self::Bytes(_) => self.name(),
        }
    }

    /// Width and height in pixels and bits a pixel; zeros for what is no picture.
    #[must_use]
    pub const fn picture(self) -> (u32, u32, u32) {
        match self {
            Self::Frame(format) => (format.width(), format.height(), BITS_PER_PIXEL),
            Self::Bytes(_) => (0, 0, 0),
        }
    }
}

/// How payloads travel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Write all, then publish.
    Whole,
    /// Publish and advance a watermark.
    Chunked {
        /// How often, in bytes.
        chunk_bytes: u64,
    },
    /// Several in flight.
    Stream {
        /// How many at most; `None`: as many as fit, at most `SLOTS_DEFAULT`.
        slots: Option<u64>,
        /// Frames a second; `None`: as fast as they go.
        fps: Option<f64>,
    },
}

/// Slots of a stream unless asked otherwise.
pub(super) const SLOTS_DEFAULT: u64 = 4;

impl Mode {
    /// Whether the reader reads while the writer writes; else the two take turns.
    #[must_use]
    pub const fn overlaps(self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// The name used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Chunked { .. } => "chunked",
            Self::Stream { .. } => "stream",
        }
    }

    /// How often the watermark advances in bytes; `None` where payloads go whole.
    #[must_use]
    pub const fn chunk_bytes(self) -> Option<u64> {
        match self {
            Self::Chunked { chunk_bytes } => Some(chunk_bytes),
            Self::Whole | Self::Stream { .. } => None,
        }
    }

    /// Frames a second of an open loop.
    #[must_use]
    pub const fn fps(self) -> Option<f64> {
        match self {
            Self::Stream { fps, .. } => fps,
            Self::Whole | Self::Chunked { .. } => None,
        }
    }
}
