//! Stages 1, 5 and 6 with their sockets: one thread owns the connections, the gate, and what waits for each of them.

use crate::shell::clock::Clock;
use crate::shell::conversations::{Conversations, Wire, Wish};
use crate::shell::links::{Durable, Stopping};
use crate::shell::ports::{self, Ports};
use crate::shell::standing::Standing;
use crate::shell::worker::Stage;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use touchline_core::Effect;
use touchline_core::sequencer::Refusal;
use touchline_runtime::sockets::{ConnectionId, Connections, Event, Linger, Server, Wait};
use touchline_runtime::tls::Sessions;

/// How long a connection that is closed by the node may take to read what still waits for it.
const LAST_WORDS: Linger = Linger::For(Duration::from_secs(1));
/// How long a stopping node waits for all of them.
const LAST_WORDS_NS: u64 = 2_000_000_000;
/// The listener without TLS; the one with TLS follows it where there is one.
pub(crate) const PLAIN: usize = 0;
/// Batches of effects taken from each shard in one step.
const BATCHES_PER_STEP: usize = 64;

/// The network and its queues.
pub(crate) struct Net {
    pub(crate) server: Server,
    /// What connections through a TLS listener mean, and how they are answered; others pass through.
    pub(crate) sessions: Sessions,
    /// Clients in shared memory.
    pub(crate) ports: Ports,
    pub(crate) conversations: Conversations,
    /// Effects of the shards, a queue each.
    pub(crate) effects: Vec<rtrb::Consumer<Vec<Effect>>>,
    pub(crate) refusals: Receiver<Vec<Refusal>>,
    /// How far everything is committed.
    pub(crate) committed: Arc<Durable>,
    /// Where this node stands in its cluster, whenever that changes.
    pub(crate) standings: Receiver<Standing>,
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) failed: Sender<String>,
    pub(crate) clock: Clock,
    pub(crate) names: Names,
    pub(crate) wishes: Vec<(u64, Wish)>,
    /// Since when it only waits for connections to read their last words; 0 while it serves.
    pub(crate) ending_since_ns: u64,
}

/// The numbers of connections in the log, and those of the sockets.
#[derive(Default)]
pub(crate) struct Names {
    sockets: BTreeMap<u64, ConnectionId>,
    origins: BTreeMap<ConnectionId, u64>,
}

impl Stage for Net {
    fn step(&mut self) -> bool {
        let mut heard = self.hear(Wait::Poll);
        let now_ns = self.clock.now().mono_ns;
        heard |= self.ports.hear(&mut self.conversations, now_ns, &mut self.wishes);
        self.serve(now_ns) || heard
    }

    fn expects(&self) -> bool {
        self.conversations.gate.waiting() > 0
    }

    fn patience(&self) -> Duration {
        if self.ports.is_used() {
            return ports::PATIENCE;
        }
        Duration::from_millis(if self.stopping.is_set() { 1 } else { 10 })
    }

    fn sleep(&mut self, longest: Duration) -> bool {
        self.hear(Wait::AtMost(longest));
        true
    }
}

impl Net {
    /// Takes what the sockets have; whether there was anything.
    fn hear(&mut self, wait: Wait) -> bool {
        let Net { server, sessions, conversations, names, wishes, clock, .. } = self;
        let mut handler = |connections: &mut Connections, event: Event<'_>| match event {
            Event::Opened { id, surplus: true, listener, .. } => {
                // A farewell through TLS would need a handshake first: such a peer is just closed.
                if listener == PLAIN {
                    let _ = connections.send(id, &conversations.farewell());
                }
            }
            Event::Opened { id, surplus: false, listener, .. } => {
                if let Err(error) = sessions.opened(id, listener) {
                    tracing::warn!(%error, "closed: no TLS session could be begun");
                    return connections.close(id, Linger::Not);
                }
                let origin = conversations.open(clock.now().mono_ns);
                names.sockets.insert(origin, id);
                names.origins.insert(id, origin);
            }
            Event::Bytes { id, data } => {
                let Some(origin) = names.origins.get(&id) else { return };
                match sessions.received(connections, id, data, LAST_WORDS) {
                    Ok(plain) => conversations.receive(*origin, plain, clock.now().mono_ns, wishes),
                    Err(why) => tracing::info!(connection = *origin, %why, "closed: no TLS"),
                }
            }
            // What it asked for is still answered, while it reads.
            Event::Finished { id } => {
                if let Some(origin) = names.origins.get(&id) {
                    conversations.finish(*origin);
                }
            }
            Event::Closed { id, .. } => {
                sessions.closed(id);
                if let Some(origin) = names.origins.remove(&id) {
                    names.sockets.remove(&origin);
                    conversations.close(origin);
                }
            }
            Event::Woken => {}
        };
        match server.step(wait, &mut handler) {
            Ok(events) => events > 0,
            Err(error) => {
                let _ = self.failed.try_send(format!("the network failed: {error}"));
                false
            }
        }
    }

    /// Lets pass what may, and gives it to the sockets; whether there was anything.
    fn serve(&mut self, now_ns: u64) -> bool {
        // Looked at before the standing: what is committed in an epoch comes after who leads it.
        let committed = self.committed.seq();
        for standing in self.standings.try_iter() {
            self.conversations.stand(standing, &mut self.wishes);
        }
        self.conversations.tend(now_ns, &mut self.wishes);
        let mut worked = false;
        for (shard, queue) in self.effects.iter_mut().enumerate() {
            for _ in 0..BATCHES_PER_STEP {
                let Ok(effects) = queue.pop() else { break };
                self.conversations.hold(shard, effects);
                worked = true;
            }
        }
        for refusal in self.refusals.try_iter().flatten() {
            self.conversations.refuse(refusal, now_ns);
            worked = true;
        }
        if committed > self.conversations.gate.committed() {
            self.conversations.measures.gate.record(now_ns.saturating_sub(self.committed.at_ns()));
        }
        worked |= self.conversations.commit(committed, &self.clock);
        let mut sockets = Sockets {
            connections: self.server.connections(),
            sessions: &mut self.sessions,
            ports: &mut self.ports,
            names: &self.names,
        };
        worked |= self.conversations.flush(&mut sockets, &mut self.wishes);
        self.fulfil();
        self.ports.write_on(&mut self.conversations);
        self.stop(now_ns, worked);
        worked
    }

    fn fulfil(&mut self) {
        for (origin, wish) in self.wishes.drain(..) {
            if self.ports.fulfil(origin, wish, &mut self.conversations) {
                continue;
            }
            let Some(id) = self.names.sockets.get(&origin) else { continue };
            let connections = self.server.connections();
            match wish {
                Wish::Read(true) => connections.resume(*id),
                Wish::Read(false) => connections.pause(*id),
                Wish::End => self.sessions.close(connections, *id, LAST_WORDS),
                Wish::Drop => connections.close(*id, Linger::Not),
            }
        }
    }

    /// Ends step by step: first nothing more is taken in, then, once everything inside is answered, every connection is
    /// closed as soon as it has read that.
    fn stop(&mut self, now_ns: u64, worked: bool) {
        if self.stopping.is_set() && !self.conversations.draining {
            self.conversations.drain();
            self.server.connections().stop_accepting();
        }
        if self.stopping.all_answered()
            && self.ending_since_ns == 0
            && !worked
            && self.conversations.is_quiet()
        {
            self.ending_since_ns = now_ns;
            for id in self.names.sockets.values() {
                self.sessions.close(self.server.connections(), *id, LAST_WORDS);
            }
        }
        let over = self.names.sockets.is_empty() || now_ns > self.ending_since_ns + LAST_WORDS_NS;
        if self.ending_since_ns > 0 && over {
            self.stopping.end();
        }
    }
}

/// Writes to sockets by the numbers of their connections.
struct Sockets<'a> {
    connections: &'a mut Connections,
    sessions: &'a mut Sessions,
    ports: &'a mut Ports,
    names: &'a Names,
}

impl Wire for Sockets<'_> {
    fn pending(&mut self, origin: u64) -> usize {
        match self.names.sockets.get(&origin) {
            Some(id) => self.connections.pending(*id),
            None => self.ports.pending(origin).unwrap_or(0),
        }
    }

    fn write(&mut self, origin: u64, bytes: &[u8]) {
        if let Some(id) = self.names.sockets.get(&origin) {
            // A connection that is gone is told by its event.
            let _ = self.sessions.send(self.connections, *id, bytes);
        } else {
            self.ports.write(origin, bytes);
        }
    }
}
