//! A node without threads: its stages, and the queues between them as the threaded pipeline has them.

pub(crate) mod snapshots;

use crate::Mutation;
use crate::disk::Disk;
use snapshots::Snapshots;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use touchline_core::sequencer::Refusal;
use touchline_core::{Audience, Batch, Effect, Engine, Input, Now, Sequencer, Shard};
use touchline_journal::{Base, Recovered, Storage};
use touchline_lockstep::{Point, Register};
use touchline_node::recovery::{self, Loaded, Started, newest_snapshot};
use touchline_node::stage::admission::{Admission, Closed};
use touchline_node::stage::commit::Committer;
use touchline_node::stage::egress::{Board, Outbound};
use touchline_node::stage::gate::Gate;
use touchline_node::stage::ingress::{Inbound, Ingress, PROTOCOL_VERSION, refused};
use touchline_node::{Config, History};
use touchline_protocol::*;

/// Places for tickets and other commands: few, so that refusals happen.
const PLACES: (usize, usize) = (24, 8);
/// Largest group of the journal: small, so that there are many.
const GROUP_BYTES: usize = 8 * 1024;
/// Answers and events that may wait for a connection, bytes: little, so that slow readers are given up.
const OUTBOUND_BYTES: usize = 16 * 1024;
/// What a mutation loses: one event of so many, or every message after so many.
const LOST_AFTER: u64 = 40;

/// A connection as the node sees it.
struct Connection {
    ingress: Ingress,
    /// Commands read that found no place yet.
    held: VecDeque<Inbound>,
    outbound: Outbound,
    /// It does not take what it is sent: to be ended.
    overrun: bool,
}

impl Connection {
    fn send(&mut self, seq: Seq, partition: PartitionId, request: u64, body: &Body) {
        self.overrun |= self.outbound.send(seq, partition, request, body).is_err();
    }
}

/// A running node.
pub(crate) struct Node {
    cluster: u64,
    /// The epoch in which it began to lead; connections are numbered in it.
    epoch: Epoch,
    /// Whether it sequences. One that does not follows: it applies, and nothing leaves it.
    leading: bool,
    paused: bool,
    /// The log in memory, for its peer; a node that stands alone needs none.
    history: Option<History>,
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
    /// Last frame of each batch on its way to the journal, with the hash of the log up to it.
    links: VecDeque<(Seq, ChainHash)>,
    durable: (Seq, ChainHash),
    /// Last frame of what this start wrote.
    opened: Seq,
    overruns: u64,
    /// Fingerprints are taken after every so many frames; 0 is never.
    fingerprint_every: u64,
    /// Of such frames: the shards' parts so far, and how many shards are still to come.
    parts: BTreeMap<Seq, (u128, usize)>,
    snapshots: Snapshots,
    mutation: Option<Mutation>,
    /// What a mutation counts, and what the journal stage keeps back under one.
    counted: u64,
    unwritten: Vec<Rc<Batch>>,
}

impl Node {
    /// Recovers the disk and opens an epoch; also what recovery found.
    pub(crate) fn start(
        disk: Disk,
        config: &Config,
        now: Now,
        boot: u128,
        mutation: Option<Mutation>,
    ) -> Result<(Self, Recovered), String> {
        let Started { engine, writer, first, effects, recovered, .. } =
            recovery::start(disk, config, now, boot).map_err(|error| error.to_string())?;
        let durable = writer.position().seq;
        let epoch = engine.sequencer.epoch();
        let mut node = Node::with(engine, effects, Committer::new(writer, durable, GROUP_BYTES), mutation);
        node.durable.1 = recovered.position.chain;
        node.gate.commit(durable);
        node.begin_to_lead(epoch);
        node.log(Rc::new(first));
        Ok((node, recovered))
    }

    /// Recovers the disk, as a node of a cluster that does not know its role yet; also what recovery found, and
    /// whether the journal is damaged and only its front was read.
    pub(crate) fn load(
        disk: Disk,
        config: &Config,
        mutation: Option<Mutation>,
    ) -> Result<(Self, Recovered, bool), String> {
        let newest = newest_snapshot(&disk, 1).map_err(|error| error.to_string())?;
        let mut history = match newest {
            None => History::default(),
            Some((base, _)) => {
                let bytes = disk.read_snapshot(base.seq.0).map_err(|error| error.to_string())?;
                History::behind(point_of(&base), bytes.into())
            }
        };
        let loaded = recovery::load_front(disk, config, &mut |frame| history.push(frame));
        let Loaded { engine, writer, recovered, damage, .. } = loaded.map_err(|error| error.to_string())?;
        let durable = recovered.position.seq;
        let engine = engine
            .unwrap_or_else(|| Engine::new(config.cluster.id, config.cluster.partitions, config.node.shards));
        let seen = recovery::showcase(&engine);
        let mut node = Node::with(engine, seen, Committer::new(writer, durable, GROUP_BYTES), mutation);
        node.durable.1 = recovered.position.chain;
        node.history = Some(history);
        Ok((node, recovered, damage.is_some()))
    }

    fn with(
        engine: Engine,
        effects: Vec<Effect>,
        committer: Committer<Disk>,
        mutation: Option<Mutation>,
    ) -> Self {
        let durable = committer.durable();
        let shards = engine.shards.len();
        let mut gate = Gate::new(shards, Seq(0));
        gate.hold(0, effects);
        Node {
            opened: engine.sequencer.last(),
            cluster: engine.sequencer.cluster(),
            epoch: Epoch(0),
            leading: false,
            paused: false,
            history: None,
            sequencer: engine.sequencer,
            shards: engine.shards,
            committer,
            gate,
            board: Board::default(),
            admission: Admission::new(PLACES.0, PLACES.1),
            connections: BTreeMap::new(),
            next_connection: 0,
            to_journal: VecDeque::new(),
            to_shards: vec![VecDeque::new(); shards],
            offers: VecDeque::new(),
            effects: vec![VecDeque::new(); shards],
            links: VecDeque::new(),
            durable: (durable, ChainHash(0)),
            overruns: 0,
            fingerprint_every: 0,
            parts: BTreeMap::new(),
            snapshots: Snapshots::default(),
            mutation,
            counted: 0,
            unwritten: Vec::new(),
        }
    }

    fn begin_to_lead(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.leading = true;
        self.paused = false;
        self.next_connection = epoch.0 << 32;
        self.admission = Admission::new(PLACES.0, PLACES.1);
    }

    /// The epoch in which it began to lead.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether it sequences.
    pub(crate) fn leads(&self) -> bool {
        self.leading
    }

    /// Whether it sequences now, and is not about to hand over.
    pub(crate) fn sequences(&self) -> bool {
        self.leading && !self.paused
    }

    /// The log, of a node of a cluster.
    pub(crate) fn history(&self) -> &History {
        self.history.as_ref().expect("a node of a cluster keeps its log")
    }

    /// Frames of the primary come into the log.
    pub(crate) fn append(&mut self, bytes: Vec<u8>) {
        let mut batch = Batch { bytes, count: 0, last: Seq(0) };
        for frame in touchline_lockstep::log::frames(&batch.bytes) {
            let body = frame.body().expect("the primary's sequencer wrote it");
            self.sequencer.follow(&frame, &body);
            batch.count += 1;
            batch.last = frame.seq();
        }
        self.hand_out(batch);
    }

    /// Leads from now on: opens the epoch in the log, and the log itself where there is none. The first frame.
    pub(crate) fn lead(
        &mut self,
        now: Now,
        register: &Register,
        new_epoch: NewEpoch,
        config: &Config,
    ) -> Result<Seq, String> {
        let first = Seq(self.sequencer.last().0 + 1);
        self.begin_to_lead(register.epoch);
        if first == Seq(1) {
            self.sequencer.enter(register.epoch);
            let (genesis, configure, retention) =
                recovery::rules::<std::io::Error>(config).map_err(|error| error.to_string())?;
            let mut batch = Batch::default();
            self.sequencer.write_next(now, &genesis.into(), &mut batch);
            self.sequencer.open_epoch(now, register.epoch, new_epoch, &mut batch);
            self.sequencer.write_next(now, &configure.into(), &mut batch);
            self.sequencer.write_next(now, &retention.into(), &mut batch);
            self.hand_out(batch);
        } else {
            self.open_epoch(now, register.epoch, new_epoch);
        }
        for index in 0..self.shards.len() {
            self.offer_again(index);
        }
        Ok(first)
    }

    /// Opens an epoch in the log; the frame's sequence.
    pub(crate) fn open_epoch(&mut self, now: Now, epoch: Epoch, new_epoch: NewEpoch) -> Seq {
        let mut batch = Batch::default();
        self.sequencer.open_epoch(now, epoch, new_epoch, &mut batch);
        self.hand_out(batch);
        self.sequencer.last()
    }

    /// Sequences nothing, or goes on.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Leads no longer: what clients sent is forgotten, their connections end.
    pub(crate) fn follow(&mut self) {
        self.leading = false;
        self.paused = false;
        self.connections.clear();
        self.offers.clear();
        self.sequencer.forget_waiting();
    }

    /// Everything up to here is committed.
    pub(crate) fn commit(&mut self, seq: Seq) {
        self.gate.commit(seq);
    }

    /// Logical time.
    pub(crate) fn at(&self) -> At {
        self.sequencer.at()
    }

    /// Last frame of the log.
    pub(crate) fn last(&self) -> Seq {
        self.sequencer.last()
    }

    /// Writes what waits and cuts the journal behind a frame.
    pub(crate) fn cut(mut self, mut disk: Disk, to: Seq, chain: ChainHash) -> Result<(), String> {
        self.write(usize::MAX)?;
        snapshots::forget_behind(&mut disk, to)?;
        self.committer.into_writer().cut(to, chain).map_err(|error| error.to_string())
    }

    /// Last frame of what this start wrote: genesis, epoch and what follows.
    pub(crate) fn opened(&self) -> Seq {
        self.opened
    }

    /// Up to where the journal stage said that all is durable, and the hash of the log there.
    pub(crate) fn durable(&self) -> (Seq, ChainHash) {
        self.durable
    }

    /// Places that tickets and other commands hold.
    pub(crate) fn inside(&self) -> (usize, usize) {
        self.admission.inside()
    }

    /// Connections ended for not reading since this was last called.
    pub(crate) fn take_overruns(&mut self) -> u64 {
        std::mem::take(&mut self.overruns)
    }

    /// Number of partitions.
    fn partitions(&self) -> u16 {
        self.shards.iter().map(|shard| shard.partitions().len() as u16).sum()
    }

    /// Number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Accepts a connection.
    pub(crate) fn accept(&mut self) -> u64 {
        self.next_connection += 1;
        let outbound = Outbound::new(self.cluster, self.epoch, OUTBOUND_BYTES);
        let connection =
            Connection { ingress: Ingress::new(), held: VecDeque::new(), outbound, overrun: false };
        self.connections.insert(self.next_connection, connection);
        self.next_connection
    }

    /// Whether a connection is still there.
    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.connections.contains_key(&id)
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
            let mut answer = |request, body: Body| connection.send(Seq(0), PartitionId::NONE, request, &body);
            match inbound {
                Inbound::Hello(_) => {
                    let partitions = self.shards.iter().map(|shard| shard.partitions().len() as u16).sum();
                    let frame_bytes_max = MAX_FRAME_BYTES as u32;
                    answer(
                        0,
                        Welcome { version: PROTOCOL_VERSION, partitions, committed, frame_bytes_max }.into(),
                    );
                }
                Inbound::Ping(number) => answer(0, Pong { number, committed }.into()),
                Inbound::Subscribe(wants) => connection.outbound.subscribe(wants, &self.board),
                Inbound::Refuse(request, why) => answer(request, why.into()),
                Inbound::Command { frame, kind, role, request, ticket: Some(ticket) } => {
                    match self.admission.ticket(0, 1) {
                        Ok(()) => self.sequencer.offer(Input::Client { origin: id, role, frame }),
                        Err(closed) => {
                            let code = match closed {
                                Closed::Overloaded => Code::Overloaded,
                                Closed::DiskFull => Code::DiskFull,
                            };
                            answer(request, refused(kind as u16, code, Some(ticket), "later").into());
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

    /// Stage 2; whether it wrote frames.
    pub(crate) fn sequence(&mut self, now: Now, frames_max: usize) -> bool {
        if !self.leading || self.paused {
            return false;
        }
        while let Some(bodies) = self.offers.pop_front() {
            bodies.into_iter().for_each(|body| self.sequencer.offer(Input::Internal(body)));
        }
        let mut batch = Batch::default();
        let mut refusals = Vec::new();
        self.sequencer.step(now, frames_max, &mut batch, &mut refusals);
        // The shell warns of it; it changes nothing.
        let _ = self.sequencer.take_clock_step();
        refusals.into_iter().for_each(|refusal| self.refuse(refusal));
        if batch.count == 0 {
            return false;
        }
        self.hand_out(batch);
        true
    }

    /// New frames go to the journal and to every shard.
    fn hand_out(&mut self, batch: Batch) {
        let batch = Rc::new(batch);
        self.to_shards.iter_mut().for_each(|queue| queue.push_back(Rc::clone(&batch)));
        self.log(batch);
    }

    fn log(&mut self, batch: Rc<Batch>) {
        if let Some(history) = &mut self.history {
            batch.frames().for_each(|frame| history.push(&frame));
        }
        self.links.extend(batch.frames().last().map(|frame| (frame.seq(), frame.chain())));
        self.to_journal.push_back(batch);
    }

    /// Stage 3: one batch of one shard.
    pub(crate) fn apply(&mut self, index: usize) {
        let Some(batch) = self.to_shards[index].pop_front() else { return };
        let shards = self.shards.len();
        let mut effects = Vec::new();
        for frame in batch.frames() {
            let shard = &mut self.shards[index];
            if shard.may_concern(&frame) {
                shard.apply(&frame, &frame.body().expect("the sequencer wrote it"), &mut effects);
            }
            if self.fingerprint_every > 0 && frame.seq().0.is_multiple_of(self.fingerprint_every) {
                let part = self.parts.entry(frame.seq()).or_insert((0, shards));
                *part = (part.0 ^ shard.fingerprint(), part.1 - 1);
            }
            self.save_shard(index, &frame);
        }
        if self.leading {
            let offers = self.shards[index].offers();
            self.offer(offers);
        }
        self.effects[index].push_back(effects);
    }

    /// Takes fingerprints from now on, and a snapshot with every second of them.
    pub(crate) fn fingerprint_every(&mut self, frames: u64) {
        self.fingerprint_every = frames;
        self.snapshots.every = 2 * frames;
    }

    /// Fingerprints that every shard has added to since this was last called.
    pub(crate) fn take_fingerprints(&mut self) -> Vec<(Seq, u128)> {
        let mut whole = Vec::new();
        while let Some(first) = self.parts.first_entry().filter(|first| first.get().1 == 0) {
            let (seq, (value, _)) = first.remove_entry();
            whole.push((seq, value));
        }
        whole
    }

    /// A bit of the state in memory flips, where there is a state yet.
    pub(crate) fn spoil(&mut self, partition: PartitionId, bit: u32) -> bool {
        let partition = self.shards.iter_mut().find_map(|shard| shard.get_mut(partition));
        partition.is_some_and(|partition| partition.spoil_profit(bit))
    }

    /// Whether something in the state was found that no frame changed.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.snapshots.spoilt
    }

    fn offer(&mut self, offers: Vec<Body>) {
        if offers.is_empty() {
            return;
        }
        self.counted += u64::from(self.mutation == Some(Mutation::LoseMessages));
        // From then on all are lost: a message after a lost one would be a log that no sequencer writes.
        if self.counted <= LOST_AFTER {
            self.offers.push_back(offers);
        }
    }

    /// A shard offers everything again that it has not seen in the log, as after a hand-over: what is there
    /// already changes nothing.
    pub(crate) fn offer_again(&mut self, index: usize) {
        self.shards[index].offer_again();
        let offers = self.shards[index].offers();
        self.offer(offers);
    }

    /// Stage 4: writes at most so many of the batches that have come. An error ends the node.
    pub(crate) fn write(&mut self, batches_max: usize) -> Result<(), String> {
        let count = self.to_journal.len().min(batches_max);
        if count == 0 {
            self.committer.look_for_room();
        }
        let mut batches: Vec<Rc<Batch>> = self.to_journal.drain(..count).collect();
        let newest = batches.last().map_or(self.durable.0, |batch| batch.last);
        let early = self.mutation == Some(Mutation::AcknowledgeBeforeWrite);
        if early {
            batches = std::mem::replace(&mut self.unwritten, batches);
        }
        batches.iter().for_each(|batch| self.committer.add(&batch.bytes));
        let written = self.committer.write().map_err(|error| error.to_string())?;
        self.admission.set_disk_full(self.committer.cannot_grow());
        let durable = if early { newest } else { written };
        while let Some(link) = self.links.pop_front_if(|link| link.0 <= durable) {
            self.durable = link;
        }
        if self.history.is_none() {
            self.gate.commit(durable);
        }
        Ok(())
    }

    /// Stage 5: effects that have come; those that leave go to their connections and are given back.
    pub(crate) fn release(&mut self) -> Vec<Effect> {
        for (index, queue) in self.effects.iter_mut().enumerate() {
            self.gate.hold(index, queue.drain(..).flatten());
        }
        if self.mutation == Some(Mutation::ReleaseBeforeDurable) {
            self.gate.commit(self.sequencer.last());
        }
        let mut left = Vec::new();
        self.gate.step(&mut left);
        if !self.leading {
            // The primary sends them; here they only show what a new subscriber would see.
            left.iter().for_each(|effect| self.board.note(effect));
            return Vec::new();
        }
        for effect in &mut left {
            self.change(effect);
            match effect.to {
                Audience::Asker { origin, request } => {
                    self.leave(origin, &effect.body);
                    self.answer(origin, request, effect.seq, effect.partition, &effect.body);
                }
                Audience::Odds | Audience::Events => self.tell(effect),
            }
        }
        self.end_overrun();
        left
    }

    fn tell(&mut self, effect: &Effect) {
        self.board.note(effect);
        if effect.to == Audience::Events && self.mutation == Some(Mutation::LoseEvents) {
            self.counted += 1;
            if self.counted.is_multiple_of(LOST_AFTER) {
                return;
            }
        }
        for connection in self.connections.values_mut() {
            connection.overrun |= connection.outbound.offer(effect).is_err();
        }
    }

    /// Ends the connections that do not read what they are sent.
    fn end_overrun(&mut self) {
        let before = self.connections.len();
        self.connections.retain(|_, connection| !connection.overrun);
        self.overruns += (before - self.connections.len()) as u64;
    }

    /// Under its mutation an answer that is given again differs from the first.
    fn change(&mut self, effect: &mut Effect) {
        let seq = effect.seq;
        match &mut effect.body {
            Body::Decision(m) if m.decided < seq && self.mutation == Some(Mutation::ChangeRepeatedAnswer) => {
                m.decided_at.0 += 1;
            }
            _ => {}
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

    /// Whether frames still wait to be written.
    pub(crate) fn owes_the_journal(&self) -> bool {
        !self.to_journal.is_empty()
    }

    /// Whether nothing moves inside.
    pub(crate) fn is_quiet(&self) -> bool {
        (!self.leading || self.sequencer.waiting() == 0)
            && self.offers.is_empty()
            && self.to_journal.is_empty()
            && self.to_shards.iter().all(VecDeque::is_empty)
            && self.effects.iter().all(VecDeque::is_empty)
            && self.gate.waiting() == 0
    }

    /// Runs sequencer and shards until nothing moves, and logs what the state then is, as before a stop.
    pub(crate) fn attest(&mut self, now: Now) -> Result<(), String> {
        loop {
            while self.sequence(now, usize::MAX) || self.sequencer.waiting() > 0 {}
            for index in 0..self.shards.len() {
                while !self.to_shards[index].is_empty() {
                    self.apply(index);
                }
            }
            if self.offers.is_empty() {
                break;
            }
        }
        let mut whole = self.state()?;
        if let (Some(Mutation::WrongAttestation), Some(entry)) =
            (self.mutation, whole.fingerprints.0.first_mut())
        {
            entry.fingerprint ^= 1;
        }
        self.sequencer.offer(Input::Node(whole.into()));
        self.sequence(now, usize::MAX);
        Ok(())
    }

    /// The fingerprint of all partitions, re-hashed and combined, and the profit.
    pub(crate) fn fingerprint(&mut self) -> Result<(u128, i64), String> {
        let partitions = self.shards.iter().flat_map(Shard::partitions);
        let profit = partitions.map(touchline_core::Partition::profit_minor).sum();
        Ok((touchline_core::engine::combine(&self.state()?), profit))
    }

    fn state(&mut self) -> Result<Attest, String> {
        touchline_core::engine::attest(self.sequencer.last(), self.shards.iter_mut())
            .map_err(|odd| format!("{odd} entities differ from their own hash"))
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
            connection.send(seq, partition, request, body);
        }
    }
}

/// The place of a snapshot, as the protocol names it.
pub(crate) fn point_of(base: &Base) -> Point {
    Point { epoch: base.epoch, seq: base.seq, chain: base.chain }
}
