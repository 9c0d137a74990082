//! The files with their orderings as declared.

#[path = "../../../src/asleep.rs"]
mod asleep;
#[path = "../../../src/log_ring.rs"]
mod log_ring;
#[path = "../models.rs"]
pub mod models;
#[path = "../../../src/own_line.rs"]
mod own_line;

mod sync {
    pub(crate) use crate::loomed::{Arc, AtomicBool, AtomicU64, Ordering, Words, fence};
}
