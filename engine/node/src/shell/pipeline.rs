//! The pipeline of a node on one screen: its stages, numbered in the order that a bet passes them.
//!
//! ```text
//! 1 ingress     a thread a connection: bytes → checked commands, admission      (connection.rs)
//! 2 sequencer   stamps, orders, links → batches of frames                       (here)
//! 3 shards      apply frames → effects for 5, messages back to 2                (here)
//! 4 journal     batches → durable groups → "durable up to" for 5                (here)
//! 5 gate        holds effects until durable, hands them to connections          (here)
//! 6 egress      a thread a connection: answers, events, conflated prices out    (connection.rs)
//! ```
//!
//! Queues between threads have no bound of their own: admission at stage 1 bounds what is inside, so no stage
//! can block another.

use crate::shell::clock::Clock;
use crate::shell::connection::{Connections, Mailbox};
use crate::stage::admission::Admission;
use crate::stage::commit::Committer;
use crate::stage::egress::Board;
use crate::stage::gate::Gate;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use touchline_core::sequencer::Refusal;
use touchline_core::{Audience, Batch, Effect, Engine, Input, Sequencer, Shard};
use touchline_journal::{Storage, Writer};
use touchline_protocol::*;

/// Frames of one step of the sequencer.
const FRAMES_PER_STEP: usize = 2048;
/// Largest payload of a group of the journal.
const GROUP_BYTES: usize = touchline_journal::layout::GROUP_PAYLOAD_MAX;
/// How long a journal without room has nothing to write before it looks for room again.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// For the sequencer.
pub(crate) enum ToSequencer {
    /// An input.
    Input(Input),
    /// Messages that a shard offers.
    Offers(Vec<Body>),
    /// Wait until nothing moves, log an attestation of the state, and say what it is; then end, or go on.
    Attest { end: bool, reply: Sender<Result<Attested, usize>> },
}

/// The state at a quiet moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The last sequence that the fingerprint covers.
    pub seq: Seq,
    /// The fingerprint of all partitions.
    pub fingerprint: u128,
    /// Profit of the house over settled bets, minor units.
    pub profit_minor: i64,
}

enum ToShard {
    Batch(Arc<Batch>),
    /// Say what is offered and, where asked, the fingerprints: everything before it is applied by then.
    Barrier {
        attest: bool,
        reply: Sender<Barrier>,
    },
}

struct Barrier {
    offers: Vec<Body>,
    profit_minor: i64,
    attest: Option<Result<Attest, usize>>,
}

/// For the gate.
pub(crate) enum ToGate {
    Effects(usize, Vec<Effect>),
    Durable(Seq),
    Refusals(Vec<Refusal>),
    /// A connection wants streams.
    Subscribe(u64, Subscribe),
    /// Say when everything sent before has passed.
    Flush(Sender<()>),
}

/// What a running pipeline offers to its connections.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) sequencer: Sender<ToSequencer>,
    pub(crate) gate: Sender<ToGate>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) connections: Arc<Connections>,
}

/// A running pipeline.
pub(crate) struct Pipeline {
    pub(crate) entrance: Entrance,
    /// Sequencer, shards and journal.
    workers: Vec<JoinHandle<()>>,
    gate: JoinHandle<()>,
    /// Filled when a stage fails: the node must end.
    pub(crate) failure: Receiver<String>,
    /// Filled when the frames of the start are durable.
    pub(crate) begun: Receiver<()>,
}

impl Pipeline {
    /// Starts the stages behind a recovered state.
    pub(crate) fn start<S: Storage + Send + 'static>(
        engine: Engine,
        writer: Writer<S>,
        first: Batch,
        effects: Vec<Effect>,
        admission: Arc<Admission>,
        connections: Arc<Connections>,
        clock: Clock,
    ) -> Self {
        let (to_sequencer, sequencer_in) = unbounded();
        let (to_gate, gate_in) = unbounded();
        let (to_journal, journal_in) = unbounded();
        let (fail, failure) = bounded(8);
        let (begin, begun) = bounded(1);
        let mut workers = Vec::new();
        let durable = writer.position().seq;
        let epoch = engine.sequencer.epoch();
        let mut to_shards = Vec::new();
        let shards = engine.shards.len();
        for (index, shard) in engine.shards.into_iter().enumerate() {
            let (to_shard, shard_in) = unbounded();
            to_shards.push(to_shard);
            let (offers, effects) = (to_sequencer.clone(), to_gate.clone());
            workers.push(spawn(&format!("shard-{index}"), move || {
                run_shard(index, shard, &shard_in, &offers, &effects);
            }));
        }
        let sequencer = SequencerThread {
            sequencer: engine.sequencer,
            inbox: sequencer_in,
            journal: to_journal.clone(),
            shards: to_shards,
            gate: to_gate.clone(),
            clock,
        };
        workers.push(spawn("sequencer", move || sequencer.run()));
        let (committed, room) = (to_gate.clone(), Arc::clone(&admission));
        let committer = Committer::new(writer, durable, GROUP_BYTES);
        workers.push(spawn("journal", move || {
            run_journal(committer, &journal_in, &committed, &room, (&begin, &fail));
        }));
        let gate = GateThread {
            gate: Gate::new(shards, durable),
            board: Board::default(),
            epoch,
            admission: Arc::clone(&admission),
            connections: Arc::clone(&connections),
        };
        let gate = spawn("gate", move || gate.run(&gate_in));
        let _ = to_gate.send(ToGate::Effects(0, effects));
        let _ = to_journal.send(Arc::new(first));
        let entrance = Entrance { sequencer: to_sequencer, gate: to_gate, admission, connections };
        Pipeline { entrance, workers, gate, failure, begun }
    }

    /// Waits until the frames of the start are durable.
    pub(crate) fn wait_begun(&self) -> Result<(), String> {
        crossbeam_channel::select! {
            recv(self.begun) -> begun => begun.map_err(|_| "the journal has stopped".to_owned()),
            recv(self.failure) -> why => Err(why.unwrap_or_else(|_| "the journal has stopped".to_owned())),
        }
    }

    /// Waits for a quiet moment and logs an attestation; ends the sequencer where asked.
    pub(crate) fn attest(&self, end: bool) -> Result<Result<Attested, usize>, String> {
        let (reply, answer) = bounded(1);
        let gone = || "the node's pipeline has stopped".to_owned();
        self.entrance.sequencer.send(ToSequencer::Attest { end, reply }).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }

    /// Waits until sequencer, shards and journal have ended, and everything they caused has passed the gate.
    pub(crate) fn finish(&mut self) {
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        let (reply, passed) = bounded(1);
        if self.entrance.gate.send(ToGate::Flush(reply)).is_ok() {
            let _ = passed.recv();
        }
    }

    /// Ends the gate, after every connection is closed.
    pub(crate) fn join(self) {
        let Pipeline { entrance, gate, .. } = self;
        drop(entrance);
        let _ = gate.join();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system can start a thread")
}

/// Stage 2.
struct SequencerThread {
    sequencer: Sequencer,
    inbox: Receiver<ToSequencer>,
    journal: Sender<Arc<Batch>>,
    shards: Vec<Sender<ToShard>>,
    gate: Sender<ToGate>,
    clock: Clock,
}

impl SequencerThread {
    fn run(mut self) {
        loop {
            let message = match self.inbox.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut asked = message.and_then(|message| self.take(message));
            while asked.is_none()
                && let Ok(message) = self.inbox.try_recv()
            {
                asked = self.take(message);
            }
            self.step();
            if let Some((end, reply)) = asked {
                let _ = reply.send(self.attest());
                if end {
                    return;
                }
            }
        }
    }

    /// How long to sleep: until the next timer, or a tenth of a second.
    fn patience(&self) -> Duration {
        if self.sequencer.waiting() > 0 {
            return Duration::ZERO;
        }
        let idle = Duration::from_millis(100);
        let Some(timer) = self.sequencer.next_timer() else { return idle };
        let left_ns = timer.0.saturating_sub(self.clock.now().utc_ns).max(1_000_000);
        idle.min(Duration::from_nanos(left_ns as u64))
    }

    fn take(&mut self, message: ToSequencer) -> Option<(bool, Sender<Result<Attested, usize>>)> {
        match message {
            ToSequencer::Input(input) => self.sequencer.offer(input),
            ToSequencer::Offers(bodies) => {
                bodies.into_iter().for_each(|body| self.sequencer.offer(Input::Internal(body)));
            }
            ToSequencer::Attest { end, reply } => return Some((end, reply)),
        }
        None
    }

    /// One step; whether it wrote frames.
    fn step(&mut self) -> bool {
        let mut batch = Batch::default();
        let mut refusals = Vec::new();
        self.sequencer.step(self.clock.now(), FRAMES_PER_STEP, &mut batch, &mut refusals);
        if let Some(step_ns) = self.sequencer.take_clock_step() {
            tracing::warn!(
                step_ms = step_ns / 1_000_000,
                "UTC stepped; logical time slews towards it at 500 ppm"
            );
        }
        if !refusals.is_empty() {
            let _ = self.gate.send(ToGate::Refusals(refusals));
        }
        self.publish(batch)
    }

    /// Hands frames to journal and shards; whether there were any.
    fn publish(&self, batch: Batch) -> bool {
        if batch.count == 0 {
            return false;
        }
        let batch = Arc::new(batch);
        let _ = self.journal.send(Arc::clone(&batch));
        for shard in &self.shards {
            let _ = shard.send(ToShard::Batch(Arc::clone(&batch)));
        }
        true
    }

    /// Runs until no shard offers anything more, then logs what the state is.
    fn attest(&mut self) -> Result<Attested, usize> {
        loop {
            while self.step() || self.sequencer.waiting() > 0 {}
            let quiet = self.barrier(false).iter().all(|barrier| barrier.offers.is_empty());
            if quiet && self.sequencer.waiting() == 0 && self.inbox.is_empty() {
                break;
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
        }
        let seq = self.sequencer.last();
        let mut whole = Attest { covers: seq, fingerprints: List::default() };
        let mut profit_minor = 0;
        for barrier in self.barrier(true) {
            profit_minor += barrier.profit_minor;
            whole.fingerprints.0.extend(barrier.attest.expect("asked for")?.fingerprints.0);
        }
        whole.fingerprints.0.sort_by_key(|entry| entry.partition);
        let fingerprint = touchline_core::engine::combine(&whole);
        let mut batch = Batch::default();
        self.sequencer.write_next(self.clock.now(), &whole.into(), &mut batch);
        self.publish(batch);
        Ok(Attested { seq, fingerprint, profit_minor })
    }

    /// Waits until every shard has applied everything; what they still offer is taken.
    fn barrier(&mut self, attest: bool) -> Vec<Barrier> {
        let (reply, answers) = bounded(self.shards.len());
        for shard in &self.shards {
            let _ = shard.send(ToShard::Barrier { attest, reply: reply.clone() });
        }
        drop(reply);
        let barriers: Vec<Barrier> = answers.iter().collect();
        for body in barriers.iter().flat_map(|barrier| &barrier.offers) {
            self.sequencer.offer(Input::Internal(body.clone()));
        }
        barriers
    }
}

/// Stage 3.
fn run_shard(
    index: usize,
    mut shard: Shard,
    inbox: &Receiver<ToShard>,
    sequencer: &Sender<ToSequencer>,
    gate: &Sender<ToGate>,
) {
    for message in inbox {
        match message {
            ToShard::Batch(batch) => {
                let mut effects = Vec::new();
                for frame in batch.frames() {
                    if !shard.may_concern(&frame) {
                        continue;
                    }
                    let body = frame.body().expect("the sequencer wrote it");
                    shard.apply(&frame, &body, &mut effects);
                }
                let offers = shard.offers();
                if !offers.is_empty() {
                    let _ = sequencer.send(ToSequencer::Offers(offers));
                }
                let _ = gate.send(ToGate::Effects(index, effects));
            }
            ToShard::Barrier { attest, reply } => {
                let attest =
                    attest.then(|| touchline_core::engine::attest(Seq(0), std::iter::once(&mut shard)));
                let profit_minor =
                    shard.partitions().iter().map(touchline_core::Partition::profit_minor).sum();
                let _ = reply.send(Barrier { offers: shard.offers(), profit_minor, attest });
            }
        }
    }
}

/// Stage 4.
fn run_journal<S: Storage>(
    mut committer: Committer<S>,
    inbox: &Receiver<Arc<Batch>>,
    gate: &Sender<ToGate>,
    admission: &Admission,
    (begin, fail): (&Sender<()>, &Sender<String>),
) {
    loop {
        let batch = match inbox.recv_timeout(ROOM_PATIENCE) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => {
                committer.look_for_room();
                admission.set_disk_full(committer.cannot_grow());
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        committer.add(&batch);
        while !committer.is_full()
            && let Ok(batch) = inbox.try_recv()
        {
            committer.add(&batch);
        }
        match committer.write() {
            Ok(durable) => {
                admission.set_disk_full(committer.cannot_grow());
                let _ = gate.send(ToGate::Durable(durable));
                let _ = begin.try_send(());
            }
            Err(error) => {
                tracing::error!(%error, "the journal failed; nothing more is acknowledged");
                let _ = fail.try_send(error.to_string());
                return;
            }
        }
    }
}

/// Stage 5.
struct GateThread {
    gate: Gate,
    board: Board,
    epoch: Epoch,
    admission: Arc<Admission>,
    connections: Arc<Connections>,
}

impl GateThread {
    fn run(mut self, inbox: &Receiver<ToGate>) {
        let mut out = Vec::new();
        for message in inbox {
            match message {
                ToGate::Effects(shard, effects) => self.gate.hold(shard, effects),
                ToGate::Durable(seq) => {
                    self.gate.commit(seq);
                    self.connections.set_committed(seq);
                }
                ToGate::Flush(reply) => {
                    let _ = reply.send(());
                }
                ToGate::Refusals(refusals) => refusals.into_iter().for_each(|refusal| self.refuse(refusal)),
                ToGate::Subscribe(id, wants) => {
                    if let Some(mailbox) = self.connections.get(id) {
                        mailbox.with(|outbound| outbound.subscribe(wants, &self.board));
                    }
                }
            }
            self.gate.step(&mut out);
            out.drain(..).for_each(|effect| self.pass(effect));
        }
    }

    fn pass(&mut self, effect: Effect) {
        match effect.to {
            Audience::Asker { origin, request } => {
                self.leave(
                    origin,
                    matches!(effect.body, Body::Decision(_)) || is_ticket_refusal(&effect.body),
                );
                self.answer(origin, request, effect.seq, effect.partition, &effect.body);
            }
            Audience::Odds | Audience::Events => {
                self.board.note(&effect);
                for mailbox in self.connections.all() {
                    mailbox.offer(&effect);
                }
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let body = Body::from(refusal.refused);
        self.leave(refusal.origin, is_ticket_refusal(&body));
        self.answer(refusal.origin, refusal.request, Seq(0), PartitionId::NONE, &body);
    }

    /// A command's place is free again. Answers to connections of earlier epochs never took one.
    fn leave(&self, origin: u64, was_ticket: bool) {
        if origin >> 32 == self.epoch.0 {
            self.admission.leave(was_ticket);
        }
    }

    fn answer(&self, origin: u64, request: u64, seq: Seq, partition: PartitionId, body: &Body) {
        if let Some(mailbox) = self.connections.get(origin) {
            Mailbox::send(&mailbox, seq, partition, request, body);
        }
    }
}

fn is_ticket_refusal(body: &Body) -> bool {
    matches!(body, Body::Refused(m) if m.of == Kind::SubmitTicket as u16)
}
