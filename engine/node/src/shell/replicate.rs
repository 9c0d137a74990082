//! The part of stage 2 that a node of a cluster has: its replica, the log as that reads it, and the network to peer and
//! witness. It decides nothing itself: it does what the replica says.

use crate::config::Config;
use crate::history::History;
use crate::recovery;
use crate::shell::clock::Clock;
use crate::shell::links::{Durable, Mark};
use crate::shell::standing::{Standing, Status};
use crate::shell::twin;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use touchline_core::{Batch, Now, Sequencer};
use touchline_lockstep::log::frames;
use touchline_lockstep::replica::{Start, Why};
use touchline_lockstep::{Action, Boot, Cluster, Log, Message, NodeId, Point, Register, Replica, Settings};
use touchline_protocol::*;
use touchline_runtime::bell::Bell;
use touchline_runtime::sockets::Wait;
use touchline_transport::{Config as TransportConfig, Transport, TransportError};

/// How often time passes for the replica, nanoseconds.
const TICK_NS: u64 = 1_000_000;
/// Frames that wait for room in the log ring before nothing more is heard, bytes.
const REST_BYTES_MAX: usize = 8 << 20;
/// How long addresses of the cluster's network that are in use are tried again: the kernel takes the ring of an earlier boot
/// apart behind its back.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// What a node of a cluster is started with, beside the stages.
pub(crate) struct Member {
    pub(crate) start: Start,
    pub(crate) settings: Settings,
    pub(crate) transport: TransportConfig,
    /// The log, as it is on disk.
    pub(crate) history: History,
    /// For the first frames of a log, and where others serve clients.
    pub(crate) config: Config,
    /// What is told to whoever asks.
    pub(crate) status: Arc<Mutex<Status>>,
    /// Filled once, when this boot has to end for another one.
    pub(crate) again: Sender<Again>,
}

/// Why the process has to go on in another boot, and what has to be done on its disk before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// The log is cut behind a frame.
    Cut(Point),
    /// Log and state are replaced by a peer's state.
    Install(Point, Vec<u8>),
    /// It left the set.
    Left(Why),
}

/// The ends of queues that a replica speaks through.
pub(crate) struct Ends {
    /// How far the journal is.
    pub(crate) durable: Arc<Durable>,
    /// How far the gate may let pass.
    pub(crate) committed: Arc<Durable>,
    pub(crate) standings: Sender<Standing>,
    pub(crate) net: Bell,
    /// Tells the shards that their messages are wanted from now on, all those again that the log does not have.
    pub(crate) shards: Vec<Sender<Epoch>>,
    pub(crate) readers: Vec<Bell>,
    /// What each shard's part of the state is, now and then.
    pub(crate) marks: Receiver<Mark>,
    /// The replay beside the stages, where there is one.
    pub(crate) kept: Option<Arc<twin::Shared>>,
}

/// The replica and its network.
pub(crate) struct Replicate {
    replica: Replica,
    history: History,
    transport: Transport,
    start: Start,
    config: Config,
    status: Arc<Mutex<Status>>,
    again: Sender<Again>,
    ends: Ends,
    inbox: Vec<Message>,
    /// Of marks: the shards' parts so far, and how many shards are still to come.
    parts: BTreeMap<Seq, (u128, usize)>,
    /// A state up to here is committed and agreed.
    agreed: Seq,
    ticked_ns: u64,
    /// Up to where the replica knows the journal to be.
    durable: Seq,
    standing: Standing,
    /// What the connections were told last.
    told: Option<Standing>,
    paused: bool,
    /// Another boot takes over: nothing is done any more.
    gone: bool,
}

impl Member {
    /// Opens the network, in the thread that will run it. `wake` ends its waits.
    pub(crate) fn open(self, ends: Ends, wake: OwnedFd, clock: &Clock) -> io::Result<Replicate> {
        let Member { start, settings, transport, history, config, status, again } = self;
        let transport = bound(&transport, &wake)?;
        let cluster = Cluster(config.cluster.id);
        let replica = Replica::new(cluster, start, settings, &history, clock.now().mono_ns);
        Ok(Replicate {
            durable: history.end().seq,
            replica,
            history,
            transport,
            start,
            config,
            status,
            again,
            ends,
            inbox: Vec::new(),
            parts: BTreeMap::new(),
            agreed: Seq(0),
            ticked_ns: 0,
            standing: Standing::unknown(),
            told: None,
            paused: false,
            gone: false,
        })
    }
}

fn bound(config: &TransportConfig, wake: &OwnedFd) -> io::Result<Transport> {
    let begun = Instant::now();
    loop {
        match Transport::new(config.clone(), Some(wake.try_clone()?)) {
            Err(TransportError::Network(error))
                if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < BIND_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => {
                return opened.map_err(|error| io::Error::other(format!("replication.networks: {error}")));
            }
        }
    }
}

impl Replicate {
    /// The epoch in which this node began to lead, while it does.
    pub(crate) fn led(&self) -> Option<Epoch> {
        self.standing.led
    }

    /// Whether frames may be sequenced now.
    pub(crate) fn sequences(&self) -> bool {
        self.standing.led.is_some() && !self.paused && !self.gone
    }

    /// When time has to pass for it next, at the latest.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_nanos(if self.gone { 100 * TICK_NS } else { TICK_NS })
    }

    /// Waits for the network, at most so long, or for the thread's bell.
    pub(crate) fn hear(&mut self, wait: Wait) -> io::Result<()> {
        let inbox = &mut self.inbox;
        self.transport.step(wait, &mut |_, message| inbox.push(message)).map(|_| ())
    }

    /// Takes what the network and the journal have to say, lets time pass, and does what follows. Frames for the log ring go
    /// behind those in the batch. Whether there was anything.
    pub(crate) fn step(
        &mut self,
        clock: &Clock,
        sequencer: &mut Sequencer,
        batch: &mut Batch,
    ) -> io::Result<bool> {
        if self.gone {
            return Ok(false);
        }
        if batch.bytes.len() < REST_BYTES_MAX {
            self.hear(Wait::Poll)?;
        }
        let now = clock.now();
        let mut worked = !self.inbox.is_empty();
        for message in std::mem::take(&mut self.inbox) {
            self.replica.receive(now.mono_ns, message, &self.history);
            self.act(now, sequencer, batch);
        }
        let durable = self.ends.durable.seq();
        if durable > self.durable {
            self.durable = durable;
            self.replica.durable(durable, &self.history);
            worked = true;
        }
        if now.mono_ns >= self.ticked_ns + TICK_NS {
            self.ticked_ns = now.mono_ns;
            self.replica.tick(now.mono_ns, now.utc_ns, &self.history);
            self.compare();
            self.keep();
            worked = true;
        }
        self.act(now, sequencer, batch);
        if worked && !self.gone {
            if self.standing.led.is_none() {
                self.reach(self.replica.committed(), now);
            }
            self.tell();
        }
        self.transport.flush()?;
        Ok(worked)
    }

    /// The sequencer wrote frames.
    pub(crate) fn wrote(&mut self, now_ns: u64, bytes: &[u8]) {
        let first = Seq(self.history.end().seq.0 + 1);
        frames(bytes).for_each(|frame| self.history.push(&frame));
        if self.history.end().seq >= first {
            self.replica.appended(now_ns, first, &self.history);
        }
    }

    /// A planned change of roles; whether it begins.
    pub(crate) fn switchover(&mut self, now_ns: u64) -> bool {
        self.replica.switchover(now_ns)
    }

    /// An operator agrees to the log that this node has.
    pub(crate) fn give_word(&mut self) -> bool {
        let needed = self.replica.needs_word();
        self.replica.give_word();
        needed
    }

    /// Sends what the replica says and does what it wants, until it wants nothing.
    fn act(&mut self, now: Now, sequencer: &mut Sequencer, batch: &mut Batch) {
        while !self.gone {
            let (actions, messages) = (self.replica.take_actions(), self.replica.take_messages());
            if actions.is_empty() && messages.is_empty() {
                return;
            }
            messages.iter().for_each(|(to, message)| self.transport.send(*to, message));
            for action in actions {
                self.act_on(action, now, sequencer, batch);
                if self.gone {
                    return;
                }
            }
        }
    }

    fn act_on(&mut self, action: Action, now: Now, sequencer: &mut Sequencer, batch: &mut Batch) {
        match action {
            Action::Append(bytes) => self.append(&bytes, sequencer, batch),
            Action::Truncate(to) => self.end(Again::Cut(to)),
            Action::Install(at, state) => self.end(Again::Install(at, state)),
            Action::Restart(why) => self.end(Again::Left(why)),
            Action::Lead(register, cause) => self.lead(register, cause, now, sequencer, batch),
            Action::GoOn(register, cause) => {
                tracing::warn!(epoch = register.epoch.0, cause = cause.name(), "goes on");
                let from = batch.bytes.len();
                sequencer.open_epoch(now, register.epoch, self.new_epoch(cause), batch);
                self.wrote(now.mono_ns, &batch.bytes[from..]);
                self.tell();
            }
            Action::Pause => self.paused = true,
            Action::Resume => self.paused = false,
            Action::Follow(register) => {
                tracing::warn!(epoch = register.epoch.0, "follows");
                self.paused = false;
                sequencer.forget_waiting();
                self.standing.led = None;
                self.tell();
            }
            Action::Commit(seq) => self.reach(seq, now),
            Action::Hold => self.hold(true),
            Action::Release => self.hold(false),
            Action::Keep(seq) => self.agreed = seq,
            // The replay beside the stages of each node finds whose state is odd, and ends that node.
            Action::Diverged(seq) => {
                tracing::error!(seq = seq.0, "the states of both nodes differ; prices are held");
            }
        }
    }

    /// Fingerprints that every shard has added to go to the replica.
    fn compare(&mut self) {
        let shards = self.ends.shards.len();
        for Mark { seq, part } in self.ends.marks.try_iter() {
            let whole = self.parts.entry(seq).or_insert((0, shards));
            *whole = (whole.0 ^ part, whole.1 - 1);
        }
        while let Some(first) = self.parts.first_entry().filter(|first| first.get().1 == 0) {
            let (seq, (value, _)) = first.remove_entry();
            self.replica.fingerprint(seq, value);
        }
    }

    /// A snapshot of an agreed state may be given to a peer, and stands for the log before it.
    fn keep(&mut self) {
        let newest = self.ends.kept.as_ref().and_then(|kept| kept.take_newest(self.agreed));
        if let Some((at, state)) = newest.filter(|(at, _)| self.history.point(at.seq) == Some(*at)) {
            self.history.keep(at, state);
        }
    }

    /// Frames of the primary: into the log, and from there to journal and shards.
    fn append(&mut self, bytes: &[u8], sequencer: &mut Sequencer, batch: &mut Batch) {
        for frame in frames(bytes) {
            let body = frame.body().expect("the primary's sequencer wrote it");
            sequencer.follow(&frame, &body);
            self.history.push(&frame);
            batch.count += 1;
            batch.last = frame.seq();
        }
        batch.bytes.extend_from_slice(bytes);
    }

    /// Leads from now on: opens the epoch in the log, and the log itself where there is none.
    fn lead(
        &mut self,
        register: Register,
        cause: EpochCause,
        now: Now,
        sequencer: &mut Sequencer,
        batch: &mut Batch,
    ) {
        tracing::warn!(epoch = register.epoch.0, cause = cause.name(), "leads");
        let now = Now { utc_ns: self.replica.agreed_utc_ns(now.mono_ns, now.utc_ns), ..now };
        let from = batch.bytes.len();
        let begins = sequencer.last() == Seq(0);
        let rules = recovery::rules::<io::Error>(&self.config).expect("they were checked at the start");
        if begins {
            sequencer.enter(register.epoch);
            sequencer.write_next(now, &rules.0.into(), batch);
        }
        sequencer.open_epoch(now, register.epoch, self.new_epoch(cause), batch);
        if begins {
            sequencer.write_next(now, &rules.1.into(), batch);
            sequencer.write_next(now, &rules.2.into(), batch);
        }
        self.paused = false;
        self.standing.led = Some(register.epoch);
        // Connections hear of it before anything of this epoch can be committed.
        self.tell();
        for shard in &self.ends.shards {
            let _ = shard.send(register.epoch);
        }
        self.ends.readers.iter().for_each(Bell::ring);
        self.wrote(now.mono_ns, &batch.bytes[from..]);
    }

    fn new_epoch(&self, cause: EpochCause) -> NewEpoch {
        NewEpoch { cause, node: u64::from(self.start.node.0), boot: self.start.boot.0 }
    }

    /// Everything up to a frame is committed.
    fn reach(&mut self, seq: Seq, now: Now) {
        if seq > self.ends.committed.seq() {
            self.ends.committed.reach(seq, now.mono_ns);
            self.ends.net.ring();
        }
    }

    fn hold(&mut self, held: bool) {
        self.standing.held = held;
        self.tell();
    }

    fn end(&mut self, again: Again) {
        self.gone = true;
        let _ = self.again.try_send(again);
    }

    /// Tells connections and operators where this node stands.
    fn tell(&mut self) {
        let Replicate { replica, history, status, standing, ends, .. } = self;
        let register = replica.register().copied();
        let primary = register.map(|register| register.primary).filter(|_| standing.led.is_none());
        let address = primary.filter(|primary| *primary != self.start.node);
        let clients = self.config.replication.as_ref().map(|replication| &replication.clients);
        let address = address.zip(clients).and_then(|(node, clients)| clients.of(node));
        let now = Standing {
            epoch: register.map_or(Epoch(0), |register| register.epoch),
            led: standing.led,
            address: address.unwrap_or_default().to_owned(),
            held: standing.held && standing.led.is_some(),
        };
        let told = Status {
            role: replica.role(),
            register,
            committed: replica.committed(),
            durable: ends.durable.seq(),
            end: history.end(),
            leads: now.led.is_some(),
            held: now.held,
            needs_word: replica.needs_word(),
            stranded: replica.is_stranded(history),
            ..Status::new(self.start.node.0, self.start.boot.0, history.end())
        };
        // Whoever held it while it panicked left a whole one behind.
        *status.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = told;
        *standing = now;
        if self.told.as_ref() != Some(&*standing) {
            self.told = Some(standing.clone());
            let _ = ends.standings.send(standing.clone());
            ends.net.ring();
        }
    }
}

/// What a node of a cluster starts as.
pub(crate) fn start_of(node: NodeId, boot: u128, torn: bool, damaged: bool) -> Start {
    Start { node, boot: Boot(boot), needs_word: torn, damaged }
}
