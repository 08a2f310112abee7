//! The host's side of the measurement: publishes messages into the shared region, times their acknowledgements,
//! writes CSVs and the run's provenance.
//!
//! - [`cli`], [`config`]: the command line, and what it means once validated
//! - [`run`]: the order of it all, [`measure`]: its tests; [`region`], [`link`]: the open session and the waits on it;
//!   [`violations`]: what the guest did against its rules
//! - [`latency`], [`one_way`]: the latency test, and what the guest's clock adds to it
//! - [`broadcast`] ([`broadcast_run`], [`broadcast_csv`], [`broadcast_facts`]): messages to many guests at once
//! - [`bandwidth`], [`stream`]: the bandwidth test; [`transfer`]: one payload through the region
//! - [`calibrate`], [`kernels`], [`roofline`] (and [`median`]): which copy is fastest, and what either side's core can do
//! - [`content`], [`working_set`]: seeded payloads and how to check them
//! - [`schedule`]: when messages are due, and whether they left in time; [`sizes`]: payload sizes in words
//! - [`status`]: how a message can end; [`numbering`]: what it is called
//! - [`facts`], [`files`], [`output`], [`latency_csv`], [`doorbell_csv`], [`bandwidth_csv`], [`hgrm`], [`run_json`]
//!   ([`guest_facts`], [`percentiles`]): the files
//! - [`environment`], [`backing`], [`caches`], [`vm_info`]: where the run took place
//! - [`usage`]: CPU time and interrupts that waiting cost
//! - [`interference`] (with [`run_delay`], `frequency` and `vcpu`): what disturbed it
//! - [`load`], [`load_spec`], [`process_group`] (and `stress_ng`): what was to disturb it
//! - [`progress`], [`summary`] (of [`figures`]): what the terminal shows

pub mod backing;
pub mod bandwidth;
pub mod bandwidth_csv;
pub mod bell;
pub mod broadcast;
pub mod broadcast_csv;
pub mod broadcast_facts;
pub mod broadcast_run;
pub mod caches;
pub mod calibrate;
pub mod cli;
pub mod config;
pub mod content;
pub mod doorbell_csv;
pub mod environment;
pub mod facts;
pub mod figures;
pub mod files;
mod frequency;
pub mod guest_facts;
pub mod hgrm;
pub mod interference;
pub mod kernels;
pub mod latency;
pub mod latency_csv;
pub mod link;
pub mod load;
pub mod load_spec;
pub mod measure;
pub mod median;
pub mod native_guest;
pub mod numbering;
pub mod one_way;
pub mod output;
pub mod percentiles;
pub mod process_group;
pub mod progress;
pub mod region;
pub mod roofline;
pub mod run;
pub mod run_delay;
pub mod run_json;
pub mod schedule;
pub mod sizes;
pub mod status;
pub mod stream;
mod stress_ng;
pub mod summary;
pub mod transfer;
pub mod usage;
pub mod vcpu;
pub mod violations;
pub mod vm_info;
pub mod working_set;
