//! An explicit-state model of the replication protocol: two data nodes and a witness, searched breadth-first.
//!
//! Every message may be delayed for ever, lost, overtaken or heard late; any node may suspect its peer at any time,
//! crash and come back; the witness processes requests in any order. Within [`Bounds`] *every* such run is visited,
//! and three invariants are checked in every state ([`safety`]). [`Mutation`]s leave one rule out each, and every one of
//! them loses an acknowledged bet or gives one epoch two primaries: that is how one knows that the rules are needed and
//! that the model would notice. `MODEL.md` beside this crate has the table of searches.
//!
//! **Covered:** roles, boots, epochs, PROMOTE, SOLO, DUAL, HANDOFF, RECOVER, COLD, the gate, the policies `durable` and
//! `hybrid`, what of a log survives a crash, what was sent by nodes that are gone.
//!
//! **Not covered:** liveness (a search does not say that anything ever happens), corruption of logs or frames, lost
//! disks, partitions of state and what applying a frame does, feeds, clients that retry, FORCE, standalone nodes, a
//! witness that goes blank. The simulator and the drills have those.
//!
//! **Never:** this library reads no clock and draws no random number; a search gives the same states in the same
//! order wherever it runs. It shares no code with `touchline-lockstep`: it is the protocol written a second time.

pub mod configurations;
pub mod few;
pub mod log;
pub mod model;
pub mod mutations;
pub mod rules;
pub mod safety;
pub mod search;
pub mod state;
pub mod step;
mod witness;

pub use configurations::CORRECT;
pub use model::{Bounds, Model, Policy};
pub use mutations::Mutation;
pub use safety::Violation;
pub use search::{Ending, Outcome, search};
pub use state::State;
pub use step::Step;
