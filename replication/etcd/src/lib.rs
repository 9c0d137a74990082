//! The witness's register in etcd, for those who run it: a [`RegisterStore`](touchline_lockstep::RegisterStore)
//! whose compare-and-swap is a transaction over etcd's JSON gateway.
//!
//! **Never:** this crate holds no lease, watches no key and reads nothing that a quorum has not confirmed. It
//! tells nobody that a register changed, or that it did not, before etcd has said so; what it cannot find out is
//! an error. It speaks plain HTTP without a password: etcd belongs on loopback or on a protected network.

mod error;
mod gateway;
mod store;
mod wire;

pub use error::{EtcdError, Failure};
pub use store::{EtcdConfig, EtcdStore};
