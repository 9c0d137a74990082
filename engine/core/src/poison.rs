//! A defect on purpose: what tests and the simulator make a decision panic at, the same on every node and in every replay.
//!
//! **Never:** a node sets it.

use std::cell::Cell;
use std::panic::resume_unwind;
use touchline_protocol::Body;

/// Whether a command is poison.
pub type Poison = fn(&Body) -> bool;

thread_local! {
    static POISON: Cell<Option<Poison>> = const { Cell::new(None) };
}

/// From now on each decision of this thread about such a command is a defect; with `None` none is.
pub fn set(poison: Option<Poison>) {
    POISON.set(poison);
}

/// Panics where the command is poison; the panic hook is not told, since nobody need see it.
#[inline]
pub(crate) fn taste(body: &Body) {
    if let Some(poison) = POISON.get()
        && poison(body)
    {
        resume_unwind(Box::new("a defect on purpose"));
    }
}
