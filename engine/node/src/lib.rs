//! The composition root of a node: configuration, the stages of the pipeline and the threads that run them.
//!
//! [`stage`] holds every stage as a function of its inputs, without clock, socket or thread; the simulator
//! drives the same code from one thread.

pub mod stage;
