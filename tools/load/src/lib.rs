//! Load on a node: many connections, tickets at their scheduled times whatever the answers do, every answer checked.
//!
//! One thread sends and receives on all connections ([`run`]); what it sends comes from the prices that were told
//! ([`Quotes`], [`Mix`]), how it is said from a [`Dialect`], so that a peer gets the same load. A feed plays matches
//! beside it ([`Feed`]).
//!
//! **Never:** latency is not counted from the moment of sending but from the scheduled one, so that a server that
//! stalls is charged for what it kept from being sent; no answer goes unchecked; nothing is sent again by itself.

pub mod dialect;
pub mod error;
pub mod feed;
mod line;
pub mod machine;
pub mod mix;
pub mod percentiles;
pub mod plot;
pub mod quotes;
pub mod report;
pub mod run;
pub mod tally;

pub use dialect::{Dialect, Said, Touchline};
pub use error::LoadError;
pub use feed::Feed;
pub use machine::Machine;
pub use mix::Mix;
pub use quotes::Quotes;
pub use run::{Job, Pace, run};
pub use tally::Tally;
