//! The transport: carries the messages of the replication protocol between nodes, witness and site, over UDP, sealed.
//!
//! ```text
//! Message → wire (bytes) → outgoing (items, by urgency) → session (sealed, paced) → networks (one socket a receiver)
//! Message ← wire ← assembly (parts) ← window (each once) ← session (opened) ← networks
//! ```
//!
//! Everything up to the sockets is without I/O ([`session::Session`]). A node, and a witness alike, uses it so:
//!
//! ```no_run
//! # use touchline_lockstep::{Cluster, NodeId, message::{Message, Party}};
//! # use touchline_runtime::sockets::{Driver, Wait};
//! # use touchline_transport::{*, keys::*, networks::*, session::Settings};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (hash_of_cluster_section, wake) = (0, None);
//! # struct Replica; impl Replica { fn receive(&mut self, m: Message) {} fn take_messages(&mut self) -> Vec<(Party, Message)> { vec![] } }
//! # let mut replica = Replica;
//! let keys = keyfile::parse(&std::fs::read_to_string("keys/cluster.key")?)?;
//! let me = Party::Node(NodeId(0)); // or Party::Witness, or NodeId::SITE
//! let mut settings = Settings::new(me, Cluster(5), hash_of_cluster_section);
//! settings.mtu = 1400;
//! let config = Config {
//!     settings,
//!     keyring: keys.keyring()?,
//!     networks: vec![Network {
//!         listen: "10.0.0.1:7400".parse()?,
//!         multicast: Some(Multicast { group: "239.7.0.5:7401".parse()?, ttl: 1 }),
//!         peers: vec![(Party::Node(NodeId::SITE), "10.9.0.1:7400".parse()?)],
//!     }],
//!     driver: Driver::Best,
//! };
//! // In the thread that owns it; other threads ring through `wake`, an eventfd.
//! let mut transport = Transport::new(config, wake)?;
//! loop {
//!     let step = transport.step(Wait::AtMost(std::time::Duration::from_millis(1)), &mut |_from, message| {
//!         replica.receive(message);
//!     })?;
//!     // Tick the replica, do its actions; then what it says leaves with the next step, or at once:
//!     for (to, message) in replica.take_messages() {
//!         transport.send(to, &message);
//!     }
//!     transport.flush()?;
//! #   if step.woken { break Ok(()); }
//! }
//! # }
//! ```
//!
//! Set the protocol's `message_bytes` to about [`session::Settings::whole_bytes_max`] less 300: frames are split at
//! their borders anyway, but a part of a state or a fetched log that leaves in many datagrams is lost with any of them.
//! On SIGHUP, read the file again and [`Transport::rotate`].
//!
//! **Never:** it repeats nothing and orders nothing: lost frames are asked for by the protocol above, from its log. It
//! trusts no address: whoever holds the cluster's key may speak from anywhere, as any party; nobody else is read, heard
//! or answered.

mod assembly;
pub mod datagram;
pub mod drops;
pub mod keyfile;
pub mod keys;
pub mod networks;
mod outgoing;
pub mod pace;
pub mod session;
mod transport;
pub mod window;
pub mod wire;

pub use transport::{Config, Stepped, Transport, TransportError};
