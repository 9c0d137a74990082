//! A real node as a child process, matches and bettors against its sockets, and the proof from its journal.
//!
//! `demo`, `replay` and `drill` differ in the matches and in what they do to the node; all else is here.

pub(crate) mod appliance;
pub(crate) mod driver;
pub(crate) mod proof;
pub(crate) mod summary;
pub(crate) mod tally;

pub(crate) use appliance::{Appliance, Setup};
pub(crate) use driver::{Driver, Plan, Speed};
