//! The TLS of a server's connections, listener by listener, so that a handler sees plain bytes whatever the listener.

use super::{Acceptor, Counters, Refusal, SetUpError, TlsStream};
use crate::sockets::{ConnectionId, Connections, Linger, SendError};
use std::collections::BTreeMap;

/// Sealing adds less than this to each record of at most [`RECORD_BYTES`], and to the first the end of a handshake.
const RECORD_OVERHEAD: usize = 64;
const RECORD_BYTES: usize = 16 * 1024;

/// The streams of all connections that came through a listener with an [`Acceptor`]; for all others everything passes
/// as it is. Its sends and closes take the place of those of [`Connections`].
pub struct Sessions {
    listeners: Vec<Option<Acceptor>>,
    streams: BTreeMap<ConnectionId, TlsStream>,
    plain: Vec<u8>,
    raw: Vec<u8>,
    counters: Counters,
}

impl Sessions {
    /// An acceptor for each listener of the server that speaks TLS, in their order; listeners beyond them are plain.
    pub fn new(listeners: Vec<Option<Acceptor>>) -> Self {
        Sessions {
            listeners,
            streams: BTreeMap::new(),
            plain: Vec::new(),
            raw: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Refusals so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A connection opened. Not for surplus ones: nobody reads their handshake, and so their farewell cannot be sealed.
    ///
    /// # Errors
    ///
    /// The system gives no randomness; the connection is to be closed.
    pub fn opened(&mut self, id: ConnectionId, listener: usize) -> Result<(), SetUpError> {
        if let Some(Some(acceptor)) = self.listeners.get(listener) {
            self.streams.insert(id, acceptor.accept()?);
        }
        Ok(())
    }

    /// A connection is gone.
    pub fn closed(&mut self, id: ConnectionId) {
        self.streams.remove(&id);
    }

    /// Bytes arrived: gives what the peer meant by them, which may be nothing. Where they are no TLS, the peer gets an
    /// alert, the connection is closed within `linger`, and the refusal is for the log.
    ///
    /// # Errors
    ///
    /// [`Refusal`], which has been counted.
    pub fn received<'a>(
        &'a mut self,
        connections: &mut Connections,
        id: ConnectionId,
        data: &'a [u8],
        linger: Linger,
    ) -> Result<&'a [u8], Refusal> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(data) };
        self.plain.clear();
        self.raw.clear();
        let received = stream.receive(data, &mut self.plain, &mut self.raw);
        // What does not go out, because it is full or closing, was a handshake's or an alert: it is over either way.
        let is_sent = self.raw.is_empty() || connections.send(id, &self.raw).is_ok();
        if let Err(refusal) = received {
            self.counters.note(&refusal);
            connections.close(id, linger);
            return Err(refusal);
        }
        if !is_sent {
            connections.close(id, Linger::Not);
        }
        Ok(&self.plain)
    }

    /// As [`Connections::send`], sealed where the connection is.
    ///
    /// # Errors
    ///
    /// [`SendError`]; then none of it is sent. [`SendError::Full`] too where too much waits for the handshake.
    pub fn send(
        &mut self,
        connections: &mut Connections,
        id: ConnectionId,
        data: &[u8],
    ) -> Result<(), SendError> {
        let Some(stream) = self.streams.get_mut(&id) else { return connections.send(id, data) };
        if !connections.is_open(id) {
            return Err(SendError::Gone);
        }
        // Asked before sealing: a sealed record that is not sent would make all later ones unreadable.
        let overhead = (data.len() / RECORD_BYTES + 2) * RECORD_OVERHEAD;
        if connections.room(id) < data.len() + overhead {
            return Err(SendError::Full);
        }
        self.raw.clear();
        let sealed = stream.send(data, &mut self.raw);
        if sealed.is_err() {
            connections.close(id, Linger::Not);
            return Err(SendError::Full);
        }
        connections.send(id, &self.raw)
    }

    /// As [`Connections::close`]; the peer is told that this is all, where there is time to tell it.
    pub fn close(&mut self, connections: &mut Connections, id: ConnectionId, linger: Linger) {
        if linger != Linger::Not
            && let Some(stream) = self.streams.get_mut(&id)
        {
            self.raw.clear();
            stream.finish(&mut self.raw);
            let _ = connections.send(id, &self.raw);
        }
        connections.close(id, linger);
    }
}
