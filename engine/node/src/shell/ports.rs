//! The entrance for services on the same machine: streams in shared memory, one client a file, the same frames as over a
//! socket.
//!
//! What comes through it is looked for whenever the thread of the network looks at its sockets, and while that sleeps
//! every [`PATIENCE`]: an idle client waits that much longer for its first answer. Under the policy `busy` it never does.

use crate::shell::conversations::{Conversations, Wish};
use std::path::{Path, PathBuf};
use std::time::Duration;
use touchline_runtime::shm::{Channel, Peer, ShmError};

/// Bytes each way of a stream.
const STREAM_BYTES: usize = 1 << 20;
/// How long the network's thread sleeps at most while a client is attached.
pub(crate) const PATIENCE: Duration = Duration::from_micros(200);
/// How often it is looked who is at the other end, nanoseconds.
const LOOK_NS: u64 = 10_000_000;

/// All files that are served.
pub(crate) struct Ports {
    ports: Vec<Port>,
    looked_ns: u64,
    bytes: Vec<u8>,
}

struct Port {
    path: PathBuf,
    channel: Channel,
    /// Its conversation, while a client is attached.
    origin: Option<u64>,
    /// What the stream had no room for yet.
    rest: Vec<u8>,
    paused: bool,
    /// It is ended once the rest is written.
    ends: bool,
}

impl Ports {
    /// Serves some files.
    pub(crate) fn serve(paths: &[PathBuf]) -> Result<Self, (PathBuf, ShmError)> {
        let serve = |path: &PathBuf| Port::serve(path).map_err(|error| (path.clone(), error));
        let ports = paths.iter().map(serve).collect::<Result<_, _>>()?;
        Ok(Ports { ports, looked_ns: 0, bytes: Vec::new() })
    }

    /// Whether any client is attached.
    pub(crate) fn is_used(&self) -> bool {
        self.ports.iter().any(|port| port.origin.is_some())
    }

    /// Takes what clients wrote; whether there was anything.
    pub(crate) fn hear(
        &mut self,
        conversations: &mut Conversations,
        now_ns: u64,
        wishes: &mut Vec<(u64, Wish)>,
    ) -> bool {
        let look = now_ns >= self.looked_ns + LOOK_NS;
        if look {
            self.looked_ns = now_ns;
        }
        let mut heard = false;
        for port in &mut self.ports {
            if look {
                port.look(conversations, now_ns);
            }
            let Some(origin) = port.origin.filter(|_| !port.paused && !port.ends) else { continue };
            self.bytes.clear();
            match port.channel.read(&mut self.bytes) {
                Ok(0) => {}
                Ok(_) => {
                    conversations.receive(origin, &self.bytes, now_ns, wishes);
                    heard = true;
                }
                Err(error) => port.lose(conversations, &error.to_string()),
            }
        }
        heard
    }

    /// Writes on where streams had no room.
    pub(crate) fn write_on(&mut self, conversations: &mut Conversations) {
        for port in &mut self.ports {
            if port.origin.is_some() && (!port.rest.is_empty() || port.ends) {
                port.write_on(conversations);
            }
        }
    }

    /// Bytes that wait for a conversation's client; `None` where it is not one of these.
    pub(crate) fn pending(&self, origin: u64) -> Option<usize> {
        self.ports.iter().find(|port| port.origin == Some(origin)).map(|port| port.rest.len())
    }

    /// Sends bytes to a conversation's client.
    pub(crate) fn write(&mut self, origin: u64, bytes: &[u8]) {
        if let Some(port) = self.ports.iter_mut().find(|port| port.origin == Some(origin)) {
            let written = if port.rest.is_empty() { port.channel.write(bytes).unwrap_or(0) } else { 0 };
            port.rest.extend_from_slice(&bytes[written..]);
        }
    }

    /// Does what is wished for a conversation; whether it is one of these.
    pub(crate) fn fulfil(&mut self, origin: u64, wish: Wish, conversations: &mut Conversations) -> bool {
        let Some(port) = self.ports.iter_mut().find(|port| port.origin == Some(origin)) else { return false };
        match wish {
            Wish::Read(read) => port.paused = !read,
            Wish::End => port.ends = true,
            Wish::Drop => port.lose(conversations, "it does not read what it is sent"),
        }
        true
    }
}

impl Port {
    fn serve(path: &Path) -> Result<Self, ShmError> {
        let channel = Channel::serve(path, STREAM_BYTES)?;
        Ok(Port {
            path: path.to_owned(),
            channel,
            origin: None,
            rest: Vec::new(),
            paused: false,
            ends: false,
        })
    }

    /// Looks who is at the other end.
    fn look(&mut self, conversations: &mut Conversations, now_ns: u64) {
        match (self.channel.peer(), self.origin) {
            (Peer::Present, None) => self.origin = Some(conversations.open(now_ns)),
            (Peer::Absent | Peer::Gone, Some(_)) => self.lose(conversations, "its process is gone"),
            (Peer::Gone, None) => self.channel.renew(),
            _ => {}
        }
    }

    fn write_on(&mut self, conversations: &mut Conversations) {
        match self.channel.write(&self.rest) {
            Ok(written) => {
                self.rest.drain(..written);
            }
            Err(error) => return self.lose(conversations, &error.to_string()),
        }
        if self.ends && self.rest.is_empty() {
            self.lose(conversations, "it was ended");
        }
    }

    /// The client is gone, or is to be; the next one may attach.
    fn lose(&mut self, conversations: &mut Conversations, why: &str) {
        if let Some(origin) = self.origin.take() {
            tracing::info!(path = %self.path.display(), why, "a client in shared memory has left");
            conversations.close(origin);
        }
        self.rest.clear();
        (self.paused, self.ends) = (false, false);
        self.channel.renew();
    }
}
