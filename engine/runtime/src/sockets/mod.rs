//! TCP connections of one thread, many thousands of them: accept, receive, send in batches, close.
//!
//! A [`Server`] belongs to the thread that made it, which calls [`Server::step`] for ever. A step hands what happened
//! to a handler, as [`Event`]s, together with the [`Connections`], through which the handler answers. What it asked
//! for goes to the system in one go when the step ends; what is asked for between steps, when the next one begins.
//!
//! Two drivers give the same behaviour: `io_uring` (Linux 6.1 or later, where the system allows it), and epoll.
//!
//! **Fairness.** A connection with endless input is served in turns: at most 32 receive buffers of it (one with
//! epoll) are handed out before the others have had theirs, and a step hands out at most 256 completions before it
//! writes the answers. **Limits.** Everything that a peer can make grow has a bound in [`Limits`]. **Absent:** it
//! keeps no idle time-outs (the caller knows what a silent peer means), and it never blocks outside of
//! [`Server::step`]'s own wait.

pub(crate) mod buffers;
mod connections;
mod outbox;
mod portable;
mod uring;

pub use connections::{Connections, SendError};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection's name, never used again by this server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The number behind it, unique within its server.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// A silent connection, rounded up.
const CONNECTION_BYTES: u64 = 300;
const _: () = assert!(connections::CONNECTION_BYTES as u64 <= CONNECTION_BYTES);

/// What a peer can make grow, and where it ends.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections served at a time; each costs some 300 bytes while it is silent. At most 8 million.
    pub connections_max: usize,
    /// Connections beyond `connections_max` that may be hearing a farewell at a time; any further are closed unheard.
    pub farewells_max: usize,
    /// How long a connection beyond the limit may take to read its farewell.
    pub farewell_time: Duration,
    /// Receive buffers shared by all connections: a power of two, at most 32768.
    pub receive_buffers: u16,
    /// Bytes of a receive buffer, and so the most that one [`Event::Bytes`] carries.
    pub buffer_bytes: usize,
    /// Bytes that may wait to be sent on one connection, memory that its peer holds by not reading.
    pub send_bytes_max: usize,
    /// How long accepting rests where the system is out of descriptors or memory.
    pub accept_retry: Duration,
}

impl Default for Limits {
    /// 10 000 connections with 1 MiB each to wait in; 8 MiB of receive buffers.
    fn default() -> Self {
        Limits {
            connections_max: 10_000,
            farewells_max: 256,
            farewell_time: Duration::from_secs(1),
            receive_buffers: 1024,
            buffer_bytes: 8 * 1024,
            send_bytes_max: 1024 * 1024,
            accept_retry: Duration::from_millis(100),
        }
    }
}

impl Limits {
    /// The most memory that connections can make this process use, in bytes: to be told at start-up.
    pub fn memory_bytes_max(&self) -> u64 {
        let connections = (self.connections_max + self.farewells_max) as u64;
        let receive = u64::from(self.receive_buffers) * self.buffer_bytes as u64;
        // What was received when a pause was asked for is copied once.
        2 * receive + connections * (CONNECTION_BYTES + self.send_bytes_max as u64)
    }

    fn check(&self) -> io::Result<()> {
        let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if !self.receive_buffers.is_power_of_two() || self.receive_buffers > 1 << 15 {
            return refuse("receive_buffers is not a power of two of at most 32768");
        }
        if self.buffer_bytes == 0 || self.buffer_bytes > 1 << 24 {
            return refuse("buffer_bytes is not within 1 to 16 MiB");
        }
        if self.connections_max.saturating_add(self.farewells_max) > connections::SLOTS_MAX {
            return refuse("connections_max with farewells_max is more than 8388608");
        }
        Ok(())
    }
}

/// How long a step may wait for something to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all; it enters the kernel only where there is something to fetch. For spinning.
    Poll,
    /// At most so long.
    AtMost(Duration),
    /// Until something happens.
    Block,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A peer connected. Every one of these is followed by exactly one [`Event::Closed`].
    Opened {
        /// Its name from now on.
        id: ConnectionId,
        /// The other end; none where it is gone already.
        peer: Option<SocketAddr>,
        /// Index of the listener that it came through.
        listener: usize,
        /// It is beyond `connections_max`: it may be sent a farewell during this event; it is never read, and it is
        /// closed by itself.
        surplus: bool,
    },
    /// Bytes in the order in which the peer sent them; never empty.
    Bytes {
        /// From whom.
        id: ConnectionId,
        /// They are gone after the event.
        data: &'a [u8],
    },
    /// The peer sends no more, and may still be reading: a half-closed connection looks the same as a closed one until
    /// it is written to. The handler closes it once it has sent what it owes.
    Finished {
        /// Whose input ended.
        id: ConnectionId,
    },
    /// The connection is gone, and its descriptor with it.
    Closed {
        /// Which.
        id: ConnectionId,
        /// Why.
        why: Why,
    },
    /// Another thread wrote to the wake descriptor, once or more often.
    Woken,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It was asked for, and what waited was written and read as far as the peer's system tells.
    Asked,
    /// It was asked for, and the peer had not read everything in the time that it was given, or was given none.
    Cut,
    /// The peer reset it, or the network failed.
    Failed(io::ErrorKind),
}

/// How a connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linger {
    /// At once, with a reset: what waits is thrown away, and the system's own copy of it too.
    Not,
    /// After what waits is written and the peer has closed its side too, or this time has passed. What it sends
    /// meanwhile is thrown away; it is read all the same, because a system answers unread input with a reset, which
    /// would destroy the last words on their way.
    For(Duration),
}

/// Totals since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Connections accepted, those beyond the limit included.
    pub accepted: u64,
    /// Connections beyond `connections_max`.
    pub surplus: u64,
    /// Connections beyond `farewells_max` too, closed unheard.
    pub unheard: u64,
    /// Rests of accepting because the system had no descriptor or memory left.
    pub accept_rests: u64,
    /// Receives that ended because all buffers were in use; they begin again by themselves.
    pub buffers_short: u64,
    /// Bytes received, those thrown away included.
    pub bytes_in: u64,
    /// Bytes that the system took.
    pub bytes_out: u64,
}

/// Receives events; any closure of this shape.
pub type Handler<'a> = dyn FnMut(&mut Connections, Event<'_>) + 'a;

/// Which driver to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// `io_uring` where it can be had, else epoll.
    Best,
    /// `io_uring` or an error.
    Uring,
    /// epoll.
    Portable,
}

/// The connections of one thread and the listeners they come through.
pub struct Server(Inner);

enum Inner {
    Uring(Box<uring::Uring>),
    Portable(Box<portable::Portable>),
}

impl Server {
    /// Serves what comes through the listeners. `wake` is a non-blocking eventfd (or its duplicate) that other threads
    /// write to; the server empties it. The server stays in this thread.
    ///
    /// # Errors
    ///
    /// Limits out of range, a blocking `wake`, a system that is out of descriptors or memory; with [`Driver::Uring`]
    /// also a system without it.
    pub fn new(
        driver: Driver,
        listeners: Vec<TcpListener>,
        limits: &Limits,
        wake: Option<OwnedFd>,
    ) -> io::Result<Server> {
        limits.check()?;
        for listener in &listeners {
            // Inherited by what is accepted; small answers must not wait for acknowledgements of earlier ones.
            rustix::net::sockopt::set_tcp_nodelay(listener, true)?;
        }
        if let Some(wake) = &wake
            && !rustix::fs::fcntl_getfl(wake)?.contains(rustix::fs::OFlags::NONBLOCK)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the wake descriptor blocks"));
        }
        if driver != Driver::Portable {
            match uring::ring(limits) {
                Ok(ring) => {
                    let uring = uring::Uring::new(ring, listeners, limits, wake)?;
                    return Ok(Server(Inner::Uring(Box::new(uring))));
                }
                Err(error) if driver == Driver::Uring => return Err(error),
                Err(error) => tracing::warn!(
                    %error,
                    "io_uring cannot be had: sockets are served with epoll, at a higher latency"
                ),
            }
        }
        let portable = portable::Portable::new(listeners, limits, wake)?;
        Ok(Server(Inner::Portable(Box::new(portable))))
    }

    /// The driver in use; never [`Driver::Best`].
    pub fn driver(&self) -> Driver {
        match &self.0 {
            Inner::Uring(_) => Driver::Uring,
            Inner::Portable(_) => Driver::Portable,
        }
    }

    /// Carries out what was asked for, waits for something to happen, and hands it out. Returns the number of events;
    /// zero is common, also after waiting.
    ///
    /// # Errors
    ///
    /// Only where the system refuses the ring or the epoll as a whole; then nothing more can be served.
    pub fn step(&mut self, wait: Wait, handler: &mut Handler<'_>) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Uring(uring) => uring.step(wait, handler),
            Inner::Portable(portable) => portable.step(wait, handler),
        }
    }

    /// The connections, to answer between steps.
    pub fn connections(&mut self) -> &mut Connections {
        match &mut self.0 {
            Inner::Uring(uring) => &mut uring.connections,
            Inner::Portable(portable) => &mut portable.connections,
        }
    }
}
