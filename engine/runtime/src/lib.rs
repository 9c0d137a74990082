//! Mechanics without domain: what moves bytes and wakes threads. It knows no frame, no market and no configuration.

pub mod shm;
pub mod sockets;
pub mod tls;
