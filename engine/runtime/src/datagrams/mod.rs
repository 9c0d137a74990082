//! UDP datagrams of one thread: many receives under way, sends in batches.
//!
//! A [`Datagrams`] belongs to the thread that made it. What is sent is copied to a slot and goes to the system when the
//! next step begins or at [`Datagrams::flush`], all of it in one go; a step hands out what arrived. A datagram that finds
//! no free slot, or no room in the system, is lost as datagrams are: the caller is told of the first, nobody of the second.
//!
//! Two drivers give the same behaviour: `io_uring` (Linux 6.1 or later, where the system allows it), and `poll`. Sockets
//! that are sent through are connected to their receiver, so that no address is looked up and no route searched for each
//! datagram; whoever sent a datagram that arrives is not told, since only its content can say so for certain.

mod portable;
mod uring;

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;

use crate::sockets::{Driver, Wait};

/// Bounds of memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the largest datagram; a larger one arrives cut.
    pub datagram_bytes: usize,
    /// Datagrams that may have arrived and not been handed out: a power of two, at most 32768.
    pub receives: u16,
    /// Datagrams that may be on their way out.
    pub sends: u16,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A datagram arrived.
    Datagram {
        /// Index of the socket that it came through.
        input: usize,
        /// Its bytes, which are gone after the event.
        data: &'a [u8],
    },
    /// Another thread wrote to the wake descriptor, once or more often.
    Woken,
}

/// Receives events; any closure of this shape.
pub type Handler<'a> = dyn FnMut(Event<'_>) + 'a;

/// The sockets of one thread.
pub struct Datagrams(Inner);

enum Inner {
    Uring(Box<uring::Uring>),
    Portable(portable::Portable),
}

impl Datagrams {
    /// Receives through `inputs`, sends through `outputs`, each of which is connected to its receiver. `wake` is a
    /// non-blocking eventfd that other threads write to; it is emptied here.
    ///
    /// # Errors
    ///
    /// Limits out of range, a system that is out of descriptors or memory; with [`Driver::Uring`] also a system without
    /// it.
    pub fn new(
        driver: Driver,
        inputs: Vec<UdpSocket>,
        outputs: Vec<UdpSocket>,
        limits: &Limits,
        wake: Option<OwnedFd>,
    ) -> io::Result<Datagrams> {
        if !limits.receives.is_power_of_two()
            || limits.receives > 1 << 15
            || limits.sends == 0
            || !(1..=1 << 16).contains(&limits.datagram_bytes)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "limits of datagrams out of range"));
        }
        if driver != Driver::Portable {
            match uring::ring(limits) {
                Ok(ring) => {
                    let uring = uring::Uring::new(ring, inputs, outputs, limits, wake)?;
                    return Ok(Datagrams(Inner::Uring(Box::new(uring))));
                }
                Err(error) if driver == Driver::Uring => return Err(error),
                Err(error) => tracing::warn!(
                    %error,
                    "io_uring cannot be had: datagrams go with a system call each, at a higher latency"
                ),
            }
        }
        Ok(Datagrams(Inner::Portable(portable::Portable::new(inputs, outputs, limits, wake)?)))
    }

    /// The driver in use; never [`Driver::Best`].
    pub fn driver(&self) -> Driver {
        match &self.0 {
            Inner::Uring(_) => Driver::Uring,
            Inner::Portable(_) => Driver::Portable,
        }
    }

    /// Takes a datagram for all of these outputs; false where there is no slot for it.
    pub fn send(&mut self, outputs: &[usize], datagram: &[u8]) -> bool {
        match &mut self.0 {
            Inner::Uring(uring) => uring.send(outputs, datagram),
            Inner::Portable(portable) => portable.send(outputs, datagram),
        }
    }

    /// Gives the system what was sent.
    ///
    /// # Errors
    ///
    /// Only where the system refuses the ring as a whole.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Uring(uring) => uring.flush(),
            Inner::Portable(portable) => {
                portable.flush();
                Ok(())
            }
        }
    }

    /// Gives the system what was sent, waits for something to happen, and hands it out. Returns the number of events;
    /// zero is common, also after waiting.
    ///
    /// # Errors
    ///
    /// Only where the system refuses the ring, or to poll, as a whole.
    pub fn step(&mut self, wait: Wait, handler: &mut Handler<'_>) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Uring(uring) => uring.step(wait, handler),
            Inner::Portable(portable) => portable.step(wait, handler),
        }
    }
}
