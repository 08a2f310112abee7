//! The guest's side of the measurement: finds the ivshmem device, maps its BAR2, answers the host.
//!
//! - [`cli`]: the command line
//! - [`device`]: the PCI device in sysfs; [`memory_type`]: what the kernel made of its mapping
//! - [`rates`]: which copy kernel is fastest here; [`choice`]: which one is taken for which size
//! - [`rival`]: whether another guest serves the same region
//! - [`source`]: what to map and how to be rung: a file, sysfs, [`uio`], [`vfio`] (with [`binding`]), or a server
//! - [`waiting`]: looking, or being told through a [`doorbell`]
//! - [`serve`]: the loop that answers; [`verify`]: checks of content; [`inject`]: faults on request, to prove that the
//!   host notices
//! - [`initiate`]: asking instead of answering, as another guest's peer; [`outcome`]: what came of it
//! - [`init`]: what a process must do when it is the whole userland of a virtual machine; [`modules`]: loading the drivers
//!   that lie beside it there
//! - [`run`]: the order of it all

pub mod binding;
pub mod choice;
pub mod cli;
pub mod device;
pub mod doorbell;
pub mod init;
pub mod initiate;
pub mod inject;
pub mod memory_type;
pub mod modules;
pub mod outcome;
pub mod rates;
pub mod rival;
pub mod run;
pub mod serve;
pub mod source;
pub mod uio;
pub mod verify;
pub mod vfio;
pub mod waiting;
