//! Shells around the stages: threads, sockets, files, the clock. They decide nothing.

pub mod clock;
pub mod connection;
pub mod node;
pub mod pipeline;
