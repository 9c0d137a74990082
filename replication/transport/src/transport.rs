//! A session on its sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use thiserror::Error;
use touchline_lockstep::Message;
use touchline_lockstep::message::Party;
use touchline_runtime::clock::Ticks;
use touchline_runtime::datagrams::{Datagrams, Event, Limits};
use touchline_runtime::sockets::{Driver, Wait};

use crate::datagram::To;
use crate::drops::Counters;
use crate::keys::Keyring;
use crate::networks::{Network, Routes, open};
use crate::session::{Session, Settings, SettingsError};

/// Datagrams that may have arrived and not been looked at, on all networks together.
const RECEIVES: u16 = 1024;
/// Datagrams that may be on their way to the system.
const SENDS: u16 = 512;

/// Everything that a transport is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The party and its limits.
    pub settings: Settings,
    /// The cluster's secrets.
    pub keyring: Keyring,
    /// One network, or two for redundancy.
    pub networks: Vec<Network>,
    /// How to speak to the system.
    pub driver: Driver,
}

/// Why there is no transport.
#[derive(Debug, Error)]
pub enum TransportError {
    /// Settings out of their ranges.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The system refuses a socket, an address or a group.
    #[error("the network of the cluster: {0}")]
    Network(#[from] io::Error),
}

/// What a step brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// Messages handed out.
    pub messages: usize,
    /// Whether another thread wrote to the wake descriptor.
    pub woken: bool,
}

/// The transport of one party. It belongs to the thread that made it.
pub struct Transport {
    session: Session,
    datagrams: Datagrams,
    routes: Routes,
}

impl Transport {
    /// Opens the sockets, in a boot of its own. `wake` is a non-blocking eventfd that ends a wait.
    ///
    /// # Errors
    ///
    /// What is configured cannot be.
    pub fn new(config: Config, wake: Option<OwnedFd>) -> Result<Transport, TransportError> {
        let Config { settings, keyring, networks, driver } = config;
        let limits = Limits { datagram_bytes: settings.mtu, receives: RECEIVES, sends: SENDS };
        let session = Session::new(settings, keyring, now_ns())?;
        let sockets = open(&networks)?;
        let datagrams = Datagrams::new(driver, sockets.inputs, sockets.outputs, &limits, wake)?;
        Ok(Transport { session, datagrams, routes: sockets.routes })
    }

    /// The driver in use.
    pub fn driver(&self) -> Driver {
        self.datagrams.driver()
    }

    /// Totals since the start.
    pub fn counters(&self) -> &Counters {
        self.session.counters()
    }

    /// Accepts these secrets from now on, and uses one of them.
    pub fn rotate(&mut self, keyring: Keyring) {
        self.session.rotate(keyring);
    }

    /// Takes a message for one party. It leaves with the next step, or at [`Transport::flush`].
    pub fn send(&mut self, to: Party, message: &Message) {
        self.session.send(To::One(to), message);
    }

    /// Takes a message for whoever hears it.
    pub fn send_everyone(&mut self, message: &Message) {
        self.session.send(To::Everyone, message);
    }

    /// Sends what the pace allows.
    ///
    /// # Errors
    ///
    /// Only where the system refuses to serve sockets as a whole.
    pub fn flush(&mut self) -> io::Result<()> {
        self.transmit();
        self.datagrams.flush()
    }

    /// Sends what waits, waits for something to happen, hands out the messages that arrived, and sends what the session
    /// itself has to say to them.
    ///
    /// # Errors
    ///
    /// Only where the system refuses to serve sockets as a whole; then nothing more can be said or heard.
    pub fn step(&mut self, wait: Wait, out: &mut dyn FnMut(Party, Message)) -> io::Result<Stepped> {
        self.transmit();
        let wait = match (wait, self.session.held_ns()) {
            (Wait::Poll, _) | (_, None) => wait,
            (Wait::Block, Some(held_ns)) => Wait::AtMost(Duration::from_nanos(held_ns)),
            (Wait::AtMost(time), Some(held_ns)) => Wait::AtMost(time.min(Duration::from_nanos(held_ns))),
        };
        let mut stepped = Stepped::default();
        let Transport { session, datagrams, .. } = self;
        let mut now = None;
        datagrams.step(wait, &mut |event| match event {
            Event::Woken => stepped.woken = true,
            Event::Datagram { data, .. } => {
                let now_ns = *now.get_or_insert_with(now_ns);
                session.receive(now_ns, data, &mut |from, message| {
                    stepped.messages += 1;
                    out(from, message);
                });
            }
        })?;
        self.flush()?;
        Ok(stepped)
    }

    fn transmit(&mut self) {
        let Transport { session, datagrams, routes } = self;
        if session.held_ns().is_none() {
            return;
        }
        let now_ns = now_ns();
        let mut lost = 0;
        while let Some((to, datagram)) = session.transmit(now_ns) {
            let outputs = routes.to(to);
            if outputs.is_empty() || !datagrams.send(outputs, datagram) {
                lost += 1;
            }
        }
        (0..lost).for_each(|_| session.socket_full());
    }
}

fn now_ns() -> u64 {
    Ticks::now().ns()
}
