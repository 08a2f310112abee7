//! Builds and drives the virtual machine whose shared memory is measured: QEMU with an `ivshmem-plain` or
//! `ivshmem-doorbell` device, the server behind the latter, a guest that holds one static program, under KVM where that is real and TCG where it is not.
//!
//! [`command`] has one module for each subcommand; everything else is what they are made of. Errors are
//! [`Error`], each one line that says what to do next.

pub mod accel;
pub mod apt;
pub mod boot;
mod cache;
pub mod check;
pub mod claim;
pub mod cli;
pub mod command;
pub mod config;
pub mod deploy;
pub mod disk;
pub mod doorbell;
pub mod doorbell_server;
pub mod driver;
mod error;
pub mod guest_binary;
pub mod guest_load;
pub mod guest_unit;
pub mod helper;
pub mod hex;
pub mod hugepages;
pub mod image;
pub mod initramfs;
pub mod interrupt;
pub mod keep;
pub mod kernel;
pub mod keys;
pub mod load_unit;
pub mod name;
pub mod paths;
pub mod pin;
pub mod port;
pub mod prepare;
pub mod process;
pub mod progress;
pub mod qemu;
pub mod ready;
pub mod report;
pub mod seed;
pub mod settle;
pub mod size;
pub mod ssh;
pub mod start;
pub mod state;
pub mod wait;

pub use error::Error;
