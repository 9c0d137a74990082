//! The runtime: mechanics without domain, on which a node's threads stand.
//!
//! **Never:** this crate knows no frame, no market and no configuration file: it moves bytes, wakes threads and
//! counts. Nothing here allocates, locks or logs after start; what blocks says so in its name or its first line.

pub mod bell;
pub mod checks;
pub mod clock;
pub mod cores;
pub mod idle;
pub mod log_ring;
pub mod sockets;
pub mod stages;

mod asleep;
mod own_line;
mod sync;
