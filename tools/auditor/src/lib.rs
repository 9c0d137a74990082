//! The naive twin of the core: every decision and balance recomputed from the log's frames.
//!
//! Written from `engine/core/RULES.md` alone and as literally as that page; it shares no code with the core or the
//! models. Prices are taken from the log, where they stand in publications; everything else is computed again:
//! what a partition told another must be exactly what it should have told.
//!
//! **Never:** this crate uses `touchline-core` or `touchline-pricing`.

pub mod book;
pub mod market;
pub mod report;
pub mod tickets;

mod audit;

pub use audit::{AuditError, Auditor};
pub use report::{Report, Ruling};
