//! The host's side of the measurement: publishes messages into the shared region, times their acknowledgements,
//! writes CSVs and the run's provenance.
//!
//! - [`cli`], [`config`]: the command line, and what it means once validated
//! - [`run`]: the order of it all; [`link`]: the open session and the waits on it
//! - [`latency`], [`bandwidth`]: the two measurements; [`transfer`]: one payload through the region
//! - [`content`]: seeded frames and their digests; [`kernels`]: which copy is fastest
//! - [`status`]: how a message can end
//! - [`output`], [`latency_csv`], [`bandwidth_csv`], [`hgrm`], [`run_json`]: the files
//! - [`environment`], [`interference`], [`vm_info`]: where the run took place and what disturbed it
//! - [`progress`], [`summary`]: what the terminal shows

pub mod bandwidth;
pub mod bandwidth_csv;
pub mod cli;
pub mod config;
pub mod content;
pub mod environment;
pub mod hgrm;
pub mod interference;
pub mod kernels;
pub mod latency;
pub mod latency_csv;
pub mod link;
pub mod output;
pub mod progress;
pub mod run;
pub mod run_json;
pub mod status;
pub mod summary;
pub mod transfer;
pub mod vm_info;
