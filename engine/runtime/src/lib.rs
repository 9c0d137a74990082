//! The runtime: mechanics without domain, on which a node's threads stand.
//!
//! **Never:** this crate knows no frame, no market and no configuration file: it moves bytes, wakes threads and
//! counts. Nothing that a frame passes allocates, locks or logs after start, and only [`bell::Sleeper::sleep`] blocks.

pub mod bell;
pub mod checks;
pub mod clock;
pub mod cores;
pub mod datagrams;
pub mod idle;
pub mod log_ring;
pub mod shm;
pub mod sockets;
pub mod stages;
pub mod tls;

mod asleep;
mod own_line;
mod ring;
mod sync;
