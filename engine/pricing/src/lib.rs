//! Pure maths of prices: markets as payoffs, models of football and tennis, margin, calibration.
//!
//! A market partitions final results into classes of equal payoffs; that one definition serves price, exposure
//! and settlement. Models give probabilities of classes; [`sheet`] turns them into integer odds.
//!
//! **Never:** no clock, no randomness, no threads, no I/O, no allocation while pricing, no hash maps. Floats
//! stay inside: exponentials and logarithms come from one pinned pure-Rust implementation, sums run in a fixed
//! order, nothing is fused, so the same inputs give the same bits on every machine and in every build.

pub mod calibrate;
pub mod football;
pub mod margin;
pub mod markets;
pub mod sheet;
pub mod tennis;
