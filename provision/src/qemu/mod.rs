//! QEMU: its arguments, its process, its monitor, and what it says when it does not start.

pub mod args;
pub mod binary;
pub mod complaint;
pub mod monitor;
pub mod process;
