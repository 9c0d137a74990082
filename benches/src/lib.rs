//! Benchmarks as functions, for the command line that prints their figures.

pub mod journal;
pub mod ring;
