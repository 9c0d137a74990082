//! Shells around the stages: threads, sockets, files, the clock. They decide nothing.

mod admin;
mod apply;
pub mod clock;
mod conversations;
mod durable;
pub mod links;
mod measures;
mod member;
mod net;
pub mod node;
mod pipeline;
mod ports;
pub mod replicate;
mod sequence;
pub mod standing;
mod twin;
mod worker;

#[cfg(test)]
mod tests;
