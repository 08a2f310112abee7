//! What a host and its guest agree on to measure the memory they share through QEMU's ivshmem device.
//!
//! - [`layout`]: the region, byte by byte, pinned by compile-time assertions
//! - [`region_file`], [`mapping`]: the file on the host, the PCI BAR in the guest, and their mapping
//! - [`lane`]: dividing a region among many peers
//! - [`memory`]: the only doors through which shared memory is touched
//! - [`word`], [`wire`], [`descriptor`], [`geometry`], [`report`]: what crosses the boundary, and its validation
//! - [`host`], [`guest`]: the two halves of the two-phase acknowledgement, as state machines that do no I/O
//! - [`copy`], [`rates`], [`frame`]: moving bytes, how fast, and how many
//! - [`digest`], [`pattern`]: whether the bytes that arrived are those that were sent
//! - [`memory_note`]: what the type of the guest's mapping costs, in a sentence
//! - [`clock`], [`clock_offset`]: telling time, and the peer's clock against ours
//! - [`doorbell`]: how a peer is told instead of looking; [`adaptive`]: how long to look first; [`event`]: sleeping
//! - [`server_wire`], [`server_client`], [`descriptor_passing`]: what an ivshmem server says, and joining one as a peer
//! - [`peer_table`]: who is at a server; [`peers`]: the same, rung by number
//! - [`cpu`], [`affinity`], [`priority`], [`wait`]: the CPU and which, running undisturbed, bounded waiting
//! - [`token`], [`percentile`], [`available_memory`]: what messages are told apart by, one rule of figures, room for samples
//! - [`made_directory`]: where results go, and nothing left where none came
//!
//! The peer is another machine: whatever it writes is copied out once, validated, and only then used.

pub mod adaptive;
pub mod affinity;
pub mod available_memory;
pub mod clock;
pub mod clock_offset;
pub mod copy;
pub mod cpu;
pub mod descriptor;
pub mod descriptor_passing;
pub mod digest;
pub mod doorbell;
pub mod event;
pub mod frame;
pub mod geometry;
pub mod guest;
pub mod host;
pub mod lane;
pub mod layout;
pub mod made_directory;
pub mod mapping;
pub mod memory;
pub mod memory_note;
pub mod pattern;
pub mod peer_table;
pub mod peers;
pub mod percentile;
pub mod priority;
pub mod rates;
pub mod region_file;
pub mod report;
pub mod server_client;
pub mod server_wire;
pub mod token;
pub mod wait;
pub mod wire;
pub mod word;
