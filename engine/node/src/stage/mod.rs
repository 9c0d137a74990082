//! The stages of a node that are not the core's: each takes what came in and says what goes out.
//!
//! **Never:** nothing here reads a clock, opens a socket or a file by itself, or starts a thread.

pub mod admission;
pub mod commit;
pub mod egress;
pub mod gate;
pub mod ingress;
pub mod shedding;
