//! What a bet-intake service, feed or desk links: connect, send, subscribe, and retry safely.
//!
//! [`Session`] is the protocol without a socket: it remembers everything unanswered and says what to send again
//! after a reconnect or a refusal, and what only its sender may. [`Client`] runs it over TCP.
//!
//! [`Cluster`] is the same for several nodes of which one leads, [`ClusterClient`] runs it over TCP, and [`AsyncClient`]
//! gives futures that fit any runtime.
//!
//! **Never:** an answer is handed out twice for one request, or two different ones for one ticket; a ticket is
//! never given a new id by a retry; a command that could undo somebody's later decision is never sent again unasked.

pub mod blocking;
pub mod cluster;
pub mod cluster_blocking;
pub mod futures;
mod link;
pub mod session;

pub use blocking::{Client, ClientError};
pub use cluster::{Cluster, ClusterEvent, Differs, Outcome};
pub use cluster_blocking::ClusterClient;
pub use futures::{Answer, AsyncClient, Stopped};
pub use session::{Event, Session};

use touchline_protocol::{BrandId, CustomerId, TicketId};

/// A fresh ticket id for a customer, issued at a Unix millisecond. Its random part comes from the system.
pub fn new_ticket_id(now_ms: u64, brand: BrandId, customer: CustomerId) -> Result<TicketId, ClientError> {
    let random = getrandom::u64().map_err(|_| ClientError::Random)?;
    Ok(TicketId::new(now_ms, brand, customer, random))
}
