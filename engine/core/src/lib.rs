//! The deterministic core: what the frames of the log mean.
//!
//! A [`Sequencer`] turns inputs into frames; a [`Shard`] applies frames to the [`Partition`]s it hosts; what
//! comes out are [`Effect`]s for the commit gate and messages for other partitions, which go back to the
//! sequencer. `RULES.md` beside this crate states every rule.
//!
//! **Never:** this crate reads no clock, no random number and no environment; it knows no socket, file or
//! thread; its result does not depend on the order of a hash map; it returns no errors, since everything that
//! can go wrong with a command is an answer.

pub mod account;
pub mod archive;
pub mod chores;
pub mod delta;
pub mod effect;
pub mod engine;
pub mod exposure;
pub mod feed;
pub mod fingerprint;
pub mod fixed_map;
pub mod fixture;
pub mod limits;
pub mod market;
pub mod operate;
pub mod partition;
#[doc(hidden)]
pub mod poison;
pub mod quote;
pub mod results;
pub mod retention;
pub mod rules;
pub mod sequencer;
pub mod settlement;
pub mod shard;
pub mod snapshot;
mod spine;
pub mod split_map;
pub mod table;
pub mod ticket;
pub mod view;

pub use effect::{Audience, Effect};
pub use engine::Engine;
pub use partition::Partition;
pub use sequencer::{Batch, Input, Now, Sequencer};
pub use shard::Shard;
