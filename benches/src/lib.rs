//! Figures of one run, for whoever prints them.

pub mod journal;
