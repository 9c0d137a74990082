//! Shells around the stages: threads, sockets, files, the clock. They decide nothing.

mod admin;
mod apply;
pub mod clock;
mod conversations;
mod durable;
pub mod links;
mod measures;
mod net;
pub mod node;
mod pipeline;
mod ports;
mod sequence;
mod twin;
mod worker;

#[cfg(test)]
mod tests;
