//! Where the witness keeps its register: one value that only a compare-and-swap may change.

use crate::register::Register;
use std::fmt::Debug;
use touchline_protocol::Epoch;

/// A durable register with one writer at a time.
///
/// **Durable** means that an answer given survives the loss of the process and of the power of its machine, and,
/// where the store is spread over several machines, of as many of them as it is built to lose.
///
/// **An error** means that the outcome is unknown: the change may be there, may not be there, or may still
/// arrive. No answer may rest on it, so the witness ends; the `load` of the next one settles the matter.
pub trait RegisterStore {
    /// What can go wrong; a witness that meets it stops.
    type Error: Debug;

    /// Takes the register over and gives what it holds; `None` is blank.
    ///
    /// When it returns, no `swap` that was begun before it, by this process or another, can still take effect
    /// unseen: nodes believe a new witness when it says that a petition to the old one came to nothing.
    fn load(&mut self) -> Result<Option<Register>, Self::Error>;

    /// Puts `next` in the place of the register of the epoch `expected`, `None` where it was blank.
    ///
    /// `true`: it is done and durable. `false`: another process changed the register or took it over, and this
    /// swap will never take effect, or did and is outdated already; nothing is swapped any more before another
    /// `load`.
    fn swap(&mut self, expected: Option<Epoch>, next: &Register) -> Result<bool, Self::Error>;
}
