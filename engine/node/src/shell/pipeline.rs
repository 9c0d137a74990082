//! The pipeline of a node on one screen: its stages, numbered in the order that a bet passes them, the queues between
//! them, and the threads that run them.
//!
//! ```text
//! 1 ingress     bytes → checked commands, admission                             net.rs, conversations.rs
//! 2 sequencer   stamps, orders, links → frames in the log ring                  sequence.rs
//! 3 shards      apply frames → effects for 5, messages back to 2                apply.rs
//! 4 journal     frames → durable groups → "durable up to" for 5                 durable.rs
//! 5 gate        holds effects until durable, hands them to their connections    conversations.rs
//! 6 egress      answers, events, conflated prices → bytes                       conversations.rs, net.rs
//! ```
//!
//! Every queue is bounded, and no stage waits inside of a step: one that cannot hand on what it has takes nothing new. What
//! is inside is bounded by admission at stage 1, which refuses tickets and stops reading whoever sends other commands.
//! The network never waits for a stage behind it, so what comes back always drains.

use crate::shell::apply::Apply;
use crate::shell::clock::Clock;
use crate::shell::conversations::{Conversations, Terms};
use crate::shell::durable::{Housekeeping, Journal};
use crate::shell::links::{Attested, Durable, Order, Stopping, Unattested};
use crate::shell::measures::Measures;
use crate::shell::net::{Names, Net};
use crate::shell::ports::Ports;
use crate::shell::replicate::{Ends, Member};
use crate::shell::sequence::{Rest, Sequence};
use crate::shell::twin::{self, Twin};
use crate::shell::worker::{Build, Stage, Worker};
use crate::stage::admission::Admission;
use crate::stage::commit::Committer;
use crate::stage::gate::Gate;
use crate::stage::shedding::Shedding;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use touchline_core::{Batch, Effect, Engine};
use touchline_journal::archive::Archiver;
use touchline_journal::{Storage, Writer};
use touchline_protocol::Seq;
use touchline_runtime::bell::{self, Bell};
use touchline_runtime::cores::{Plan, Role};
use touchline_runtime::idle::Policy;
use touchline_runtime::log_ring;
use touchline_runtime::sockets::{Driver, Limits, Server};
use touchline_runtime::stages::Board;
use touchline_runtime::tls::Sessions;

/// Largest payload of a group of the journal.
const GROUP_BYTES: usize = touchline_journal::layout::GROUP_PAYLOAD_MAX;
/// Batches of effects, and of messages, that may be on their way from a shard.
const BATCHES: usize = 1024;

/// How a pipeline runs: nothing here changes what it decides.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) terms: Terms,
    pub(crate) plan: Plan,
    pub(crate) policy: Policy,
    pub(crate) driver: Driver,
    pub(crate) log_bytes: usize,
    pub(crate) tickets_max: usize,
    pub(crate) commands_max: usize,
    pub(crate) ticket_stay_target_ns: u64,
}

/// Where connections come in: first the plain listener, then the one with TLS where there is one.
pub(crate) struct Entrances {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) sessions: Sessions,
    /// Clients in shared memory.
    pub(crate) ports: Ports,
}

/// What runs beside the stages.
pub(crate) struct Beside {
    /// Copies sealed segments elsewhere.
    pub(crate) archive: Option<Archiver>,
    /// The journal's folder, and after how many frames a snapshot is kept; `None` where none are.
    pub(crate) twin: Option<(PathBuf, u64)>,
    /// The cluster; `None` where the node stands alone.
    pub(crate) member: Option<Member>,
}

/// A running pipeline.
pub(crate) struct Pipeline {
    /// Replays the journal beside the stages.
    twin: Option<Twin>,
    orders: Sender<Order>,
    pub(crate) durable: Arc<Durable>,
    /// How far everything is committed; alone that is how far it is durable.
    pub(crate) committed: Arc<Durable>,
    stopping: Arc<Stopping>,
    stop: Arc<AtomicBool>,
    bells: Vec<Bell>,
    workers: Vec<JoinHandle<()>>,
    /// What the stages measure.
    pub(crate) board: Arc<Board>,
    /// Filled when a stage fails: the node must end.
    pub(crate) failure: Receiver<String>,
    /// Filled when the frames of the start are durable.
    begun: Receiver<()>,
}

impl Pipeline {
    /// Starts the stages behind a recovered state. `first` are frames that this start adds, already applied, with their
    /// `effects`.
    pub(crate) fn start<S: Storage + Send + 'static>(
        engine: Engine,
        writer: Writer<S>,
        (first, effects): (Batch, Vec<Effect>),
        Entrances { listeners, sessions, ports }: Entrances,
        setup: Setup,
        beside: Beside,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let Setup { terms, plan, policy, driver, log_bytes, .. } = setup;
        let shards = engine.shards.len();
        let Beside { archive, twin: twin_setup, member } = beside;
        let durable_before = writer.position().seq;
        let (measures, board) = Measures::new(shards);
        let mut apply_measures = measures.apply.into_iter();
        let admission = Arc::new(Admission::new(setup.tickets_max, setup.commands_max));
        let durable = Arc::new(Durable::default());
        durable.reach(durable_before, 0);
        let committed = if member.is_some() { Arc::default() } else { Arc::clone(&durable) };
        let gate_from = if member.is_some() { Seq(0) } else { durable_before };
        let (standings, standings_in) = unbounded();
        let (fail, failure) = bounded(8);
        let twin = match twin_setup {
            Some((journal, every)) => {
                let (marks, marks_in) = unbounded();
                let setup = twin::Setup {
                    journal,
                    cluster: terms.cluster,
                    every,
                    shards,
                    for_peer: member.is_some(),
                    begun: first.last,
                    shared: Arc::default(),
                    durable: Arc::clone(&durable),
                    marks: marks_in,
                    failed: fail.clone(),
                    measures: measures.twin,
                };
                Some((marks, setup))
            }
            None => None,
        };
        let keeps = twin.as_ref().map(|(_, setup)| Arc::clone(&setup.shared));
        let (to_cluster, marks_in) = unbounded();
        let mut marks: Vec<_> = twin.as_ref().map(|(marks, _)| marks.clone()).into_iter().collect();
        marks.extend(member.is_some().then_some(to_cluster));
        let kept = keeps.clone();
        let housekeeping = Housekeeping { archive, twin: keeps, tidied: None };
        let (stopping, stop) = (Arc::new(Stopping::default()), Arc::new(AtomicBool::new(false)));
        let (begin, begun) = bounded(1);
        let (orders, orders_in) = unbounded();
        let (refusals, refusals_in) = unbounded();

        // A bell a thread; whoever hands something to a role rings the bell of its thread.
        let (bells, mut sleepers): (Vec<_>, Vec<_>) =
            plan.threads.iter().map(|_| bell::new()).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let bell_of = |role: Role| bells[thread_of(&plan, role)].clone();

        // The log ring: the journal and every shard read it, each at its own place.
        let (log, mut readers) = log_ring::new(log_bytes, shards + 1);
        let journal_log = readers.pop().expect("one more than shards");
        let (to_sequencer, inputs) = rtrb::RingBuffer::new(setup.tickets_max + setup.commands_max);

        let mut build: Vec<Vec<(Role, Build)>> = plan.threads.iter().map(|_| Vec::new()).collect();
        let mut put = |role: Role, stage: Build| build[thread_of(&plan, role)].push((role, stage));

        let (mut effects_of, mut offers_of, mut barriers_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut leads_of = Vec::new();
        for ((index, shard), log) in engine.shards.into_iter().enumerate().zip(readers) {
            let (to_net, effects) = rtrb::RingBuffer::new(BATCHES);
            let (to_sequencer, offers) = rtrb::RingBuffer::new(BATCHES);
            let (barriers, barriers_in) = unbounded();
            effects_of.push(effects);
            offers_of.push(offers);
            barriers_of.push(barriers);
            let (leads, leads_in) = unbounded();
            leads_of.push(leads);
            let apply = Apply {
                shard,
                log,
                applied: first.last,
                barriers: barriers_in,
                barrier: None,
                effects: Vec::new(),
                to_net,
                offers: Vec::new(),
                to_sequencer,
                led: terms.alone.unwrap_or_default(),
                leads: leads_in,
                net: bell_of(Role::Net),
                sequencer: bell_of(Role::Sequencer),
                clock,
                marks: marks.clone(),
                measures: apply_measures.next().expect("one a shard"),
            };
            put(Role::Shard(index), Box::new(|_| Ok(Box::new(apply))));
        }
        let mut log_readers: Vec<Bell> = (0..shards).map(|index| bell_of(Role::Shard(index))).collect();
        log_readers.push(bell_of(Role::Journal));
        let shard_bells = (0..shards).map(|index| bell_of(Role::Shard(index))).collect();
        let ends = Ends {
            durable: Arc::clone(&durable),
            committed: Arc::clone(&committed),
            standings,
            net: bell_of(Role::Net),
            shards: leads_of,
            readers: shard_bells,
            marks: marks_in,
            kept,
        };
        let mut journal_bells = vec![bell_of(Role::Net)];
        journal_bells.extend(member.is_some().then(|| bell_of(Role::Sequencer)));
        let (alone, failed) = (terms.alone, fail.clone());
        let (sequencer_net, joined) = (bell_of(Role::Net), begin.clone());
        // What the network needs does not pass between threads: it is made where it runs.
        let sequence = move |replicate| Sequence {
            sequencer: engine.sequencer,
            alone,
            replicate,
            failed,
            inputs,
            offers: offers_of,
            orders: orders_in,
            log,
            readers: log_readers,
            shards: barriers_of,
            refusals,
            net: sequencer_net,
            clock,
            measures: measures.sequence,
            rest: Rest { batch: first, written: 0 },
            barrier: None,
            looked_ns: 0,
        };
        put(
            Role::Sequencer,
            Box::new(move |sleeper| {
                let Some(member) = member else { return Ok(Box::new(sequence(None)) as Box<dyn Stage>) };
                let wake = sleeper.as_fd().try_clone_to_owned()?;
                let replicate = member.open(ends, wake, &clock)?;
                let _ = joined.try_send(());
                Ok(Box::new(sequence(Some(replicate))))
            }),
        );
        let journal = Journal {
            committer: Committer::new(writer, durable_before, GROUP_BYTES),
            log: journal_log,
            durable: Arc::clone(&durable),
            bells: journal_bells,
            admission: Arc::clone(&admission),
            begun: begin,
            failed: fail.clone(),
            broken: false,
            clock,
            looked_ns: 0,
            measures: measures.journal,
            housekeeping,
        };
        put(Role::Journal, Box::new(|_| Ok(Box::new(journal))));
        let mut gate = Gate::new(shards, gate_from);
        gate.hold(0, effects);
        let shedding = Shedding::new(setup.tickets_max, setup.ticket_stay_target_ns);
        let limits = Limits {
            connections_max: terms.connections_max,
            // What is taken up to be written at once comes on top of what waits.
            send_bytes_max: 2 * terms.outbound_bytes_max + (1 << 20),
            // What was received and not looked at is a queue that nobody overtakes in: some thousand tickets.
            receive_buffers: 128,
            ..Limits::default()
        };
        let conversations = Conversations::new(terms, gate, admission, shedding, measures.net, to_sequencer);
        let (net_committed, net_stopping, failed) =
            (Arc::clone(&committed), Arc::clone(&stopping), fail.clone());
        put(
            Role::Net,
            Box::new(move |sleeper| {
                // The ring of the sockets belongs to the thread that makes it.
                let wake = sleeper.as_fd().try_clone_to_owned()?;
                let server = Server::new(driver, listeners, &limits, Some(wake))?;
                Ok(Box::new(Net {
                    server,
                    sessions,
                    ports,
                    conversations,
                    effects: effects_of,
                    refusals: refusals_in,
                    committed: net_committed,
                    standings: standings_in,
                    stopping: net_stopping,
                    failed,
                    clock,
                    names: Names::default(),
                    wishes: Vec::new(),
                    ending_since_ns: 0,
                }) as Box<dyn Stage>)
            }),
        );

        let threads = plan.threads.iter().zip(build).zip(sleepers.drain(..));
        let workers = threads.map(|((thread, mut stages), sleeper)| {
            stages.sort_by_key(|(role, _)| thread.roles.iter().position(|of| of == role));
            let worker = Worker {
                stages: stages.into_iter().map(|(_, stage)| stage).collect(),
                sleeper,
                thread: thread.clone(),
                policy,
                stop: Arc::clone(&stop),
                failed: fail.clone(),
            };
            worker.start()
        });
        let workers = workers.collect();
        let twin = twin.map(|(_, setup)| Twin::start(setup)).transpose()?;
        Ok(Pipeline {
            twin,
            orders,
            durable,
            committed,
            stopping,
            stop,
            bells,
            workers,
            board: Arc::new(board),
            failure,
            begun,
        })
    }

    /// Waits until the frames of the start are durable.
    pub(crate) fn wait_begun(&self) -> Result<(), String> {
        crossbeam_channel::select! {
            recv(self.begun) -> begun => begun.map_err(|_| "the journal has stopped".to_owned()),
            recv(self.failure) -> why => Err(why.unwrap_or_else(|_| "the journal has stopped".to_owned())),
        }
    }

    /// Logs an attestation of the state; with `end`, once nothing moves any more.
    pub(crate) fn attest(&self, end: bool) -> Result<Result<Attested, Unattested>, String> {
        let (reply, answer) = bounded(1);
        let gone = || "the node's pipeline has stopped".to_owned();
        self.orders.send(Order::Attest { end, reply }).map_err(|_| gone())?;
        self.ring();
        self.or_failure(|| answer.recv_timeout(LOOK).ok())
    }

    /// Takes nothing new, answers what is inside, attests the state, and closes every connection.
    pub(crate) fn finish(&mut self) -> Result<Result<Attested, Unattested>, String> {
        self.stopping.set();
        let attested = self.attest(true)?;
        if let Ok(attested) = &attested {
            let logged = attested.logged;
            self.or_failure(|| {
                (self.committed.seq() >= logged && self.durable.seq() >= logged).then_some(())
            })?;
        }
        self.close()?;
        if let (Ok(attested), Some(twin)) = (&attested, self.twin.take()) {
            twin.finish(attested.logged, LAST_SNAPSHOT);
        }
        Ok(attested)
    }

    /// Takes nothing new and closes every connection, once what is on its way to it is written.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        self.stopping.set();
        self.stopping.set_answered();
        self.ring();
        let begun = Instant::now();
        // Effects that are not committed yet may wait for ever.
        self.or_failure(|| (self.stopping.has_ended() || begun.elapsed() > CLOSING).then_some(()))
    }

    /// Who asks the stages something from another thread.
    pub(crate) fn asker(&self) -> Asker {
        Asker { orders: self.orders.clone(), bells: self.bells.clone() }
    }

    /// Looks until something is there, or a stage has failed.
    fn or_failure<T>(&self, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if let Ok(why) = self.failure.recv_timeout(LOOK) {
                return Err(why);
            }
        }
    }

    fn ring(&self) {
        self.bells.iter().for_each(Bell::ring);
    }
}

/// Asks the sequencer of a cluster's node, from any thread.
#[derive(Clone)]
pub(crate) struct Asker {
    orders: Sender<Order>,
    bells: Vec<Bell>,
}

impl Asker {
    /// Hands the lead over; whether that begins.
    pub(crate) fn switchover(&self) -> bool {
        self.ask(|reply| Order::Switchover { reply })
    }

    /// Gives an operator's word; whether it was needed.
    pub(crate) fn give_word(&self) -> bool {
        self.ask(|reply| Order::GiveWord { reply })
    }

    fn ask(&self, order: impl FnOnce(Sender<bool>) -> Order) -> bool {
        let (reply, answer) = bounded(1);
        let sent = self.orders.send(order(reply));
        self.bells.iter().for_each(Bell::ring);
        sent.is_ok() && answer.recv_timeout(ANSWER).unwrap_or(false)
    }
}

/// How long the sequencer may take to answer: it is in the middle of something, or ends.
const ANSWER: Duration = Duration::from_secs(5);

/// The thread that runs a role.
fn thread_of(plan: &Plan, role: Role) -> usize {
    let place = plan.threads.iter().position(|thread| thread.roles.contains(&role));
    place.expect("every role has a thread")
}

/// How long a stopping node waits for its last snapshot; without it the next start replays more.
const LAST_SNAPSHOT: Duration = Duration::from_secs(30);
/// How long closing the connections may take.
const CLOSING: Duration = Duration::from_secs(3);
/// How often a stopping node looks how far it is.
const LOOK: Duration = Duration::from_millis(1);

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
