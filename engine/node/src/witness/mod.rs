//! The witness as a process: the register's state machine over a folder or etcd, spoken to over the transport.

mod slots;
mod store;

pub use slots::{FileSlots, SlotsError};
pub use store::StoreError;

use crate::config::Config;
use crate::seat::{Seat, SeatError};
use crate::shell::clock::Clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::Store;
use touchline_lockstep::message::Party;
use touchline_lockstep::{Boot, Message, NodeId, Register, Witness};
use touchline_runtime::sockets::Wait;
use touchline_transport::{Transport, TransportError};

/// The longest that it waits before time passes for it as well.
const TICK: Duration = Duration::from_millis(1);
/// What a witness's order counts from, seconds since 1970: the beginning of 2025.
const ORDER_FROM_S: u64 = 1_735_689_600;
/// What it counts, seconds.
const ORDER_STEP_S: u64 = 10;

/// Why there is no witness, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The configuration has no such party.
    #[error("replication.party: this file is not the witness's; say party = \"witness\" in [replication]")]
    Party,
    /// What it speaks with.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// The networks.
    #[error("replication.networks: {0}")]
    Transport(#[from] TransportError),
    /// The network, later.
    #[error("the network of the cluster failed: {0}")]
    Network(#[from] std::io::Error),
    /// The register. Whether the last change is there only the next start knows.
    #[error(transparent)]
    Register(#[from] StoreError),
    /// A cluster begins only once.
    #[error(
        "the register holds epoch {0} already: a cluster begins once, and goes on from what its register holds"
    )]
    Begun(u64),
}

/// A witness and its sockets.
pub struct WitnessProcess {
    witness: Witness<Store>,
    transport: Transport,
    clock: Clock,
    inbox: Vec<Message>,
}

impl WitnessProcess {
    /// Opens register and sockets. `incarnation` differs from start to start. With `begin` the register must be blank, and
    /// begins with that node as the primary: an operator's word, with both nodes stopped.
    pub fn start(config: &Config, incarnation: u128, begin: Option<NodeId>) -> Result<Self, WitnessError> {
        let replication =
            config.replication.as_ref().filter(|replication| replication.party.party() == Party::Witness);
        let replication = replication.ok_or(WitnessError::Party)?;
        let Seat { cluster, protocol, transport } = Seat::take(config, replication)?;
        let store = Store::open(replication, cluster)?;
        let clock = Clock::start();
        let now = clock.now();
        let utc_s = u64::try_from(now.utc_ns / 1_000_000_000).unwrap_or(0);
        let order = utc_s.saturating_sub(ORDER_FROM_S) / ORDER_STEP_S;
        let mut witness = Witness::start(cluster, (Boot(incarnation), order), protocol, store, now.mono_ns)?;
        // The sockets first: a witness that cannot serve begins nothing.
        let transport = Transport::new(transport, None)?;
        if let Some(node) = begin
            && !witness.install(Register::first(node, Boot(1)))?
        {
            return Err(WitnessError::Begun(witness.register().map_or(0, |register| register.epoch.0)));
        }
        Ok(WitnessProcess { witness, transport, clock, inbox: Vec::new() })
    }

    /// The configuration in force; `None` is blank.
    pub fn register(&self) -> Option<&Register> {
        self.witness.register()
    }

    /// Serves until told to stop, and tells every configuration that it did not tell before.
    pub fn serve(
        &mut self,
        stop: &AtomicBool,
        told: &mut dyn FnMut(Option<&Register>),
    ) -> Result<(), WitnessError> {
        let epoch = |witness: &Witness<_>| witness.register().map(|register| register.epoch);
        let mut known = epoch(&self.witness);
        while !stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            self.witness.tick(now.mono_ns, now.utc_ns);
            let inbox = &mut self.inbox;
            self.transport.step(Wait::AtMost(TICK), &mut |_, message| inbox.push(message))?;
            let now = self.clock.now();
            for message in self.inbox.drain(..) {
                self.witness.receive(now.mono_ns, &message)?;
            }
            for (to, message) in self.witness.take_messages() {
                self.transport.send(to, &message);
            }
            self.transport.flush()?;
            if epoch(&self.witness) != known {
                known = epoch(&self.witness);
                told(self.witness.register());
            }
        }
        Ok(())
    }
}
