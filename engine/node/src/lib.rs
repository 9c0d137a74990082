//! The composition root of a node: configuration, the stages of the pipeline and the threads that run them.
//!
//! [`stage`] holds every stage as a function of its inputs, without clock, socket or thread; the simulator
//! drives the same code from one thread. [`shell`] holds what runs them for real: sockets, threads, files.

pub mod config;
pub mod history;
pub mod recovery;
mod replay;
mod seat;
pub mod shell;
pub mod stage;
mod utc;
pub mod witness;

pub use config::{Config, ConfigError};
pub use history::History;
pub use seat::SeatError;
pub use shell::links::Attested;
pub use shell::node::{Node, Report, StartError};
pub use shell::replicate::Again;
pub use shell::standing::Status;
