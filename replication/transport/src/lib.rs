//! The transport.

mod assembly;
pub mod datagram;
pub mod drops;
pub mod keys;
mod outgoing;
pub mod pace;
pub mod session;
pub mod window;
pub mod wire;
