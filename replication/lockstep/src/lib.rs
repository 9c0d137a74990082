//! The replication protocol: who is primary, what is committed, and how a standby takes over.
//!
//! A [`Replica`] is one data node's part, a [`Witness`] the third party's; both are state machines that take
//! messages and instants and give messages and [`Action`]s. `LOCKSTEP.md` beside this crate states messages,
//! states and invariants.
//!
//! **Never:** this crate reads no clock, no random number and no environment; it knows no socket, file or
//! thread; it looks into no frame beyond its header. Safety never depends on an instant: clocks only trigger
//! suspicion and bound how stale a price may be.

pub mod clocks;
pub mod follower;
pub mod gap;
pub mod lease;
pub mod log;
pub mod message;
pub mod petition;
pub mod publisher;
pub mod register;
pub mod replica;
pub mod settings;
pub mod site;
pub mod slots;
pub mod store;
pub mod suspicion;
pub mod transfer;
pub mod witness;

pub use log::{Log, Point};
pub use message::{Message, Say};
pub use register::{Boot, Change, Cluster, NodeId, Register};
pub use replica::{Action, Replica, Role};
pub use settings::{Durability, Mutation, Settings};
pub use site::{Lag, Site, SiteAction};
pub use slots::{Slots, TwoSlots};
pub use store::RegisterStore;
pub use witness::Witness;
