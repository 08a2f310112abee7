//! Uncompressed RGB24 video frames: the payloads a user pictures when reading a bandwidth.

/// Bits per pixel of every format here.
pub const BITS_PER_PIXEL: u32 = 24;

/// A frame size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameFormat {
    /// 1920 × 1080.
    Hd1080,
    /// 2560 × 1440.
    Qhd1440,
    /// 3840 × 2160.
    Uhd4k,
}

impl FrameFormat {
    /// Every format, smallest first.
    pub const ALL: &'static [Self] = &[Self::Hd1080, Self::Qhd1440, Self::Uhd4k];

    /// The name used on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hd1080 => "1080p",
            Self::Qhd1440 => "1440p",
            Self::Uhd4k => "4k",
        }
    }

    /// The format called `name`, in any letter case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.name().eq_ignore_ascii_case(name))
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(self) -> u32 {
        match self {
            Self::Hd1080 => 1920,
            Self::Qhd1440 => 2560,
            Self::Uhd4k => 3840,
        }
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(self) -> u32 {
        match self {
            Self::Hd1080 => 1080,
            Self::Qhd1440 => 1440,
            Self::Uhd4k => 2160,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.width() as u64 * self.height() as u64 * (BITS_PER_PIXEL as u64 / 8)
    }
}

const _: () = assert!(FrameFormat::Hd1080.bytes() == 6_220_800);
const _: () = assert!(FrameFormat::Qhd1440.bytes() == 11_059_200);
const _: () = assert!(FrameFormat::Uhd4k.bytes() == 24_883_200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_in_any_case() {
        for &format in FrameFormat::ALL {
            assert_eq!(FrameFormat::from_name(&format.name().to_uppercase()), Some(format));
        }
        assert_eq!(FrameFormat::from_name("8k"), None);
    }
}
