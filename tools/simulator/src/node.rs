//! A node without threads: its stages, and the queues between them as the threaded pipeline has them.

use crate::disk::Disk;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use touchline_core::sequencer::Refusal;
use touchline_core::{Audience, Batch, Effect, Input, Now, Sequencer, Shard};
use touchline_journal::Recovered;
use touchline_node::Config;
use touchline_node::recovery::{self, Started};
use touchline_node::stage::admission::{Admission, Closed};
use touchline_node::stage::commit::Committer;
use touchline_node::stage::egress::{Board, Outbound};
use touchline_node::stage::gate::Gate;
use touchline_node::stage::ingress::{Inbound, Ingress, refused};
use touchline_protocol::*;

/// Places for tickets and other commands: few, so that refusals happen.
const PLACES: (usize, usize) = (24, 8);
/// Largest group of the journal: small, so that there are many.
const GROUP_BYTES: usize = 8 * 1024;
/// Answers and events that may wait for a connection, bytes.
const OUTBOUND_BYTES: usize = 1 << 20;

/// A connection as the node sees it.
struct Connection {
    ingress: Ingress,
    /// Commands read that found no place yet.
    held: VecDeque<Inbound>,
    outbound: Outbound,
}

/// A running node.
pub(crate) struct Node {
    cluster: u64,
    epoch: Epoch,
    sequencer: Sequencer,
    shards: Vec<Shard>,
    committer: Committer<Disk>,
    gate: Gate,
    board: Board,
    admission: Admission,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    to_journal: VecDeque<Rc<Batch>>,
    to_shards: Vec<VecDeque<Rc<Batch>>>,
    offers: VecDeque<Vec<Body>>,
    /// Effects on their way from a shard to the gate.
    effects: Vec<VecDeque<Vec<Effect>>>,
    /// Whether effects leave before they are durable: a mutation.
    early: bool,
    /// Highest sequence of which an effect left.
    pub(crate) left: Seq,
}

impl Node {
    /// Recovers the disk and opens an epoch; also what recovery found.
    pub(crate) fn start(
        disk: Disk,
        config: &Config,
        now: Now,
        boot: u128,
        early: bool,
    ) -> Result<(Self, Recovered), String> {
        let Started { engine, writer, first, effects, recovered, .. } =
            recovery::start(disk, config, now, boot).map_err(|error| error.to_string())?;
        let durable = writer.position().seq;
        let shards = engine.shards.len();
        let epoch = engine.sequencer.epoch();
        let mut gate = Gate::new(shards, durable);
        gate.hold(0, effects);
        let node = Node {
            cluster: engine.sequencer.cluster(),
            epoch,
            sequencer: engine.sequencer,
            shards: engine.shards,
            committer: Committer::new(writer, durable, GROUP_BYTES),
            gate,
            board: Board::default(),
            admission: Admission::new(PLACES.0, PLACES.1),
            connections: BTreeMap::new(),
            next_connection: epoch.0 << 32,
            to_journal: VecDeque::from([Rc::new(first)]),
            to_shards: vec![VecDeque::new(); shards],
            offers: VecDeque::new(),
            effects: vec![VecDeque::new(); shards],
            early,
            left: Seq(0),
        };
        Ok((node, recovered))
    }

    /// Number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Accepts a connection.
    pub(crate) fn accept(&mut self) -> u64 {
        self.next_connection += 1;
        let outbound = Outbound::new(self.cluster, self.epoch, OUTBOUND_BYTES);
        let connection = Connection { ingress: Ingress::new(), held: VecDeque::new(), outbound };
        self.connections.insert(self.next_connection, connection);
        self.next_connection
    }

    /// A connection ended.
    pub(crate) fn close(&mut self, id: u64) {
        self.connections.remove(&id);
    }

    /// Stage 1: bytes of a connection. Commands wait where there is no place, and with them the connection.
    pub(crate) fn receive(&mut self, id: u64, bytes: &[u8]) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let mut read = Vec::new();
        connection.ingress.receive(bytes, &mut read).map_err(|hang_up| hang_up.0.note.as_str().to_owned())?;
        connection.held.extend(read);
        self.admit(id);
        Ok(())
    }

    /// Whether a connection holds commands back.
    pub(crate) fn holds(&self, id: u64) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.held.is_empty())
    }

    /// Lets held commands in as far as there are places.
    pub(crate) fn admit(&mut self, id: u64) {
        let committed = self.gate.committed();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        while let Some(inbound) = connection.held.pop_front() {
            let answer = |request, body: Body, outbound: &mut Outbound| {
                // An overrun would end the connection; the clients here read everything.
                let _ = outbound.send(Seq(0), PartitionId::NONE, request, &body);
            };
            let outbound = &mut connection.outbound;
            match inbound {
                Inbound::Hello(_) => {
                    let partitions = self.shards.iter().map(|shard| shard.partitions().len() as u16).sum();
                    let welcome = Welcome { version: 1, partitions, committed, frame_bytes_max: 65_536 };
                    answer(0, welcome.into(), outbound);
                }
                Inbound::Ping(number) => answer(0, Pong { number, committed }.into(), outbound),
                Inbound::Subscribe(wants) => outbound.subscribe(wants, &self.board),
                Inbound::Refuse(request, why) => answer(request, why.into(), outbound),
                Inbound::Command { frame, kind, role, request, ticket: Some(ticket) } => {
                    match self.admission.ticket() {
                        Ok(()) => self.sequencer.offer(Input::Client { origin: id, role, frame }),
                        Err(closed) => {
                            let code = match closed {
                                Closed::Overloaded => Code::Overloaded,
                                Closed::DiskFull => Code::DiskFull,
                            };
                            let why = refused(kind as u16, code, Some(ticket), "later");
                            answer(request, why.into(), outbound);
                        }
                    }
                }
                Inbound::Command { frame, kind, role, request, ticket: None } => {
                    if self.admission.other().is_err() {
                        let again = Inbound::Command { frame, kind, role, request, ticket: None };
                        return connection.held.push_front(again);
                    }
                    self.sequencer.offer(Input::Client { origin: id, role, frame });
                }
            }
        }
    }

    /// Stage 2.
    pub(crate) fn sequence(&mut self, now: Now, frames_max: usize) {
        while let Some(bodies) = self.offers.pop_front() {
            bodies.into_iter().for_each(|body| self.sequencer.offer(Input::Internal(body)));
        }
        let mut batch = Batch::default();
        let mut refusals = Vec::new();
        self.sequencer.step(now, frames_max, &mut batch, &mut refusals);
        refusals.into_iter().for_each(|refusal| self.refuse(refusal));
        if batch.count > 0 {
            let batch = Rc::new(batch);
            self.to_journal.push_back(Rc::clone(&batch));
            self.to_shards.iter_mut().for_each(|queue| queue.push_back(Rc::clone(&batch)));
        }
    }

    /// Stage 3: one batch of one shard.
    pub(crate) fn apply(&mut self, index: usize) {
        let Some(batch) = self.to_shards[index].pop_front() else { return };
        let shard = &mut self.shards[index];
        let mut effects = Vec::new();
        for frame in batch.frames() {
            if shard.may_concern(&frame) {
                shard.apply(&frame, &frame.body().expect("the sequencer wrote it"), &mut effects);
            }
        }
        let offers = shard.offers();
        if !offers.is_empty() {
            self.offers.push_back(offers);
        }
        self.effects[index].push_back(effects);
    }

    /// Stage 4: writes what has come. An error ends the node.
    pub(crate) fn write(&mut self) -> Result<(), String> {
        while let Some(batch) = self.to_journal.pop_front() {
            self.committer.add(&batch);
        }
        let durable = self.committer.write().map_err(|error| error.to_string())?;
        self.admission.set_disk_full(self.committer.cannot_grow());
        self.gate.commit(durable);
        Ok(())
    }

    /// Stage 5: effects that have come, those that may leave.
    pub(crate) fn release(&mut self) {
        for (index, queue) in self.effects.iter_mut().enumerate() {
            self.gate.hold(index, queue.drain(..).flatten());
        }
        if self.early {
            self.gate.commit(self.sequencer.last());
        }
        let mut out = Vec::new();
        self.gate.step(&mut out);
        for effect in out {
            self.left = self.left.max(effect.seq);
            match effect.to {
                Audience::Asker { origin, request } => {
                    self.leave(origin, &effect.body);
                    self.answer(origin, request, effect.seq, effect.partition, &effect.body);
                }
                Audience::Odds | Audience::Events => {
                    self.board.note(&effect);
                    for connection in self.connections.values_mut() {
                        let _ = connection.outbound.offer(&effect);
                    }
                }
            }
        }
    }

    /// Stage 6: bytes for a connection.
    pub(crate) fn take(&mut self, id: u64, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.outbound.take(most, &mut bytes);
        }
        bytes
    }

    /// Whether nothing moves inside.
    pub(crate) fn is_quiet(&self) -> bool {
        self.sequencer.waiting() == 0
            && self.offers.is_empty()
            && self.to_journal.is_empty()
            && self.to_shards.iter().all(VecDeque::is_empty)
            && self.effects.iter().all(VecDeque::is_empty)
            && self.gate.waiting() == 0
    }

    /// Every partition's fingerprint re-hashed and combined, and the profit.
    pub(crate) fn attest(&mut self) -> Result<(u128, i64), String> {
        let profit =
            self.shards.iter().flat_map(Shard::partitions).map(touchline_core::Partition::profit_minor).sum();
        let attest = touchline_core::engine::attest(self.sequencer.last(), self.shards.iter_mut());
        let attest = attest.map_err(|odd| format!("{odd} entities differ from their own hash"))?;
        Ok((touchline_core::engine::combine(&attest), profit))
    }

    fn refuse(&mut self, refusal: Refusal) {
        let body = Body::from(refusal.refused);
        self.leave(refusal.origin, &body);
        self.answer(refusal.origin, refusal.request, Seq(0), PartitionId::NONE, &body);
    }

    fn leave(&mut self, origin: u64, body: &Body) {
        let of_ticket = match body {
            Body::Decision(_) => true,
            Body::Refused(m) => m.of == Kind::SubmitTicket as u16,
            _ => false,
        };
        if origin >> 32 == self.epoch.0 {
            self.admission.leave(of_ticket);
        }
    }

    fn answer(&mut self, origin: u64, request: u64, seq: Seq, partition: PartitionId, body: &Body) {
        if let Some(connection) = self.connections.get_mut(&origin) {
            let _ = connection.outbound.send(seq, partition, request, body);
        }
    }
}
