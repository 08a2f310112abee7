//! The roof in run.json: what plain copies of the same sizes reached on the same machine before and after the test.

use serde::Deserialize;

/// The roof of every size, and what was seen above it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Roof {
    /// By payload size.
    #[serde(default)]
    pub sizes: Vec<RoofSize>,
    /// A sentence for each figure above the roof.
    #[serde(default)]
    pub exceeded: Vec<String>,
}

/// The roof of one size.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RoofSize {
    /// Payload bytes.
    #[serde(default)]
    pub bytes: u64,
    /// What the host's core does.
    pub host: Option<RoofSide>,
    /// What the guest's core does.
    pub guest: Option<RoofSide>,
}

/// Best rates of one core, 1e9 bytes a second; `None` if not measured.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct RoofSide {
    /// Writing into the region.
    pub write_region_gb_per_s: Option<f64>,
    /// The lowest of what the measurements before and after the test reached.
    pub write_region_low_gb_per_s: Option<f64>,
    /// Copying out of the region.
    pub copy_region_gb_per_s: Option<f64>,
    /// The lowest, likewise.
    pub copy_region_low_gb_per_s: Option<f64>,
    /// Reading the region without keeping a copy.
    pub scan_region_gb_per_s: Option<f64>,
    /// The lowest, likewise.
    pub scan_region_low_gb_per_s: Option<f64>,
}

/// The copy kernels one side tried for one size.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct KernelsAtSize {
    /// Payload bytes.
    #[serde(default)]
    pub bytes: u64,
    /// `host` (into the region) or `guest` (out of it).
    pub side: Option<String>,
    /// Whether the user named the kernel of the run.
    pub forced: Option<bool>,
    /// Those measured.
    #[serde(default)]
    pub candidates: Vec<super::Candidate>,
}
