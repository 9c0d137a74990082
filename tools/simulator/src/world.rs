//! One run: what happens next, by chance, and what the clients are told.

use crate::disk::Disk;
use crate::judge;
use crate::ledger::Ledger;
use crate::node::Node;
use crate::people::Person;
use crate::streams::Streams;
use crate::workload::Workload;
use crate::{Failure, Options, Outcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use touchline_client::Event as Told;
use touchline_core::Now;
use touchline_generator::{PriceBoard, Random};
use touchline_node::Config;
use touchline_protocol::*;

/// When a run begins.
const START_NS: i64 = 1_900_000_000_000_000_000;
/// Lines of history kept.
const HISTORY: usize = 200;
/// Steps of the calm end after which a run counts as stuck: several times what the longest takes.
const CALM_STEPS: u64 = 100_000;

/// Clients by their place.
pub(crate) const FEED: usize = 0;
pub(crate) const DESK: usize = 1;
pub(crate) const INTAKES: std::ops::Range<usize> = 2..5;
pub(crate) const SUBSCRIBER: usize = 5;

/// A run.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) options: Options,
    pub(crate) random: Random,
    /// True time; the node's clocks are off.
    pub(crate) now: Now,
    /// What the node's UTC is ahead of the true one, nanoseconds.
    pub(crate) clock_error_ns: i64,
    /// True time of the machine's last start, from which its monotonic clock counts.
    pub(crate) booted_ns: u64,
    pub(crate) config: Config,
    pub(crate) disk: Disk,
    pub(crate) node: Option<Node>,
    pub(crate) people: Vec<Person>,
    pub(crate) workload: Workload,
    pub(crate) board: PriceBoard,
    /// First answers of tickets.
    pub(crate) answers: BTreeMap<TicketId, Decision>,
    /// Ids that were sent again with other content.
    pub(crate) conflicting: BTreeSet<TicketId>,
    pub(crate) ledger: Ledger,
    streams: Streams,
    pub(crate) boot: u128,
    /// No more faults, no more bets.
    pub(crate) calm: bool,
    pub(crate) out: Outcome,
    history: VecDeque<String>,
}

impl World {
    /// A world before its first step.
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(seed);
        let mut config = Config::standard();
        // Small, so that a run fills several.
        config.node.segment_mib = 1;
        config.cluster.capacity.pending = 16;
        let workload = Workload::new(seed, &mut random);
        let mut people = vec![Person::new(Role::Feed), Person::new(Role::Operator)];
        people.extend(INTAKES.map(|_| Person::new(Role::Intake)));
        people.push(Person::new(Role::Observer));
        let mut world = World {
            seed,
            options,
            random,
            now: Now { mono_ns: 0, utc_ns: START_NS },
            clock_error_ns: 0,
            booted_ns: 0,
            config,
            disk: Disk::default(),
            node: None,
            people,
            workload,
            board: PriceBoard::default(),
            answers: BTreeMap::new(),
            conflicting: BTreeSet::new(),
            ledger: Ledger::default(),
            streams: Streams::default(),
            boot: 0,
            calm: false,
            out: Outcome::default(),
            history: VecDeque::new(),
        };
        world.set_up();
        world
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Result<Outcome, Box<Failure>> {
        match self.play() {
            Ok(()) => Ok(self.out),
            Err(why) => Err(Box::new(Failure { seed: self.seed, why, history: self.history.into() })),
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..self.options.steps {
            self.step()?;
        }
        self.settle_down()?;
        self.out.tickets = self.answers.len() as u64;
        self.out.accepted = self.answers.values().filter(|d| d.code == Code::Accepted).count() as u64;
        self.out.events_told = self.streams.count();
        let node = self.node.as_mut().ok_or("the node is down at the end")?;
        judge::journal(&self.disk, &self.answers, &mut self.ledger, &self.streams, node, &mut self.out)
    }

    /// No more faults and no more bets: everything must be answered, every match settled.
    fn settle_down(&mut self) -> Result<(), String> {
        self.calm = true;
        self.disk.get().crash_in = None;
        self.disk.get().room = None;
        self.disk.get().broken = false;
        self.note(|| "calm".into());
        for _ in 0..CALM_STEPS {
            self.step()?;
            let node_quiet = self.node.as_ref().is_some_and(Node::is_quiet);
            if node_quiet && self.people.iter().all(Person::is_quiet) && self.workload.is_over() {
                return Ok(());
            }
        }
        let waiting: Vec<usize> = self.people.iter().map(|p| p.session.unanswered()).collect();
        Err(format!("still unanswered after {CALM_STEPS} calm steps: {waiting:?}"))
    }

    fn step(&mut self) -> Result<(), String> {
        self.out.events += 1;
        let passed = self.random.below(2_000_000);
        self.now.mono_ns += passed;
        self.now.utc_ns += passed as i64;
        if self.node.is_none() {
            return self.start();
        }
        match self.random.below(100) {
            0..40 => self.stage()?,
            40..75 => self.exchange()?,
            75..87 if !self.calm => self.bet(),
            87..94 => self.report(),
            94..96 if !self.calm => self.desk(),
            96..100 if !self.calm => self.fault()?,
            _ => {}
        }
        Ok(())
    }

    /// What the node's clocks say.
    pub(crate) fn node_now(&self) -> Now {
        let mono_ns = self.now.mono_ns - self.booted_ns;
        Now { mono_ns, utc_ns: self.now.utc_ns + self.clock_error_ns }
    }

    /// One step of one stage.
    fn stage(&mut self) -> Result<(), String> {
        let now = self.node_now();
        let Some(node) = &mut self.node else { return Ok(()) };
        match self.random.below(5) {
            0 => {
                node.sequence(now, 1 + self.random.below(40) as usize);
            }
            1 => {
                let batches_max = 1 + self.random.below(12) as usize;
                return self.write(batches_max);
            }
            2 => return self.release(),
            shard => {
                let place = (self.random.below(node.shards() as u64) + shard) as usize % node.shards();
                node.apply(place);
            }
        }
        Ok(())
    }

    /// The journal stage writes; the machine may go down in it.
    pub(crate) fn write(&mut self, batches_max: usize) -> Result<(), String> {
        let Some(node) = &mut self.node else { return Ok(()) };
        let result = node.write(batches_max);
        if self.disk.went_down() {
            self.out.crashes_in_writes += 1;
            self.crash("in a disk operation");
            return Ok(());
        }
        match result {
            Ok(()) => {
                let durable = node.durable();
                self.ledger.note(Vec::new(), durable)
            }
            Err(why) => {
                self.out.device_errors += u64::from(self.disk.get().broken);
                self.crash(&why);
                Ok(())
            }
        }
    }

    /// The gate lets pass what may; the ledger keeps it.
    pub(crate) fn release(&mut self) -> Result<(), String> {
        let Some(node) = &mut self.node else { return Ok(()) };
        let left = node.release();
        let durable = node.durable();
        self.ledger.note(left, durable)
    }

    fn exchange(&mut self) -> Result<(), String> {
        let place = self.random.below(self.people.len() as u64) as usize;
        // The subscriber reads slowly while faults last, and now and then too slowly.
        let most = if place == SUBSCRIBER && !self.calm { 900 } else { 4000 };
        let Some(node) = &mut self.node else { return Ok(()) };
        let person = &mut self.people[place];
        if person.connection.is_some_and(|id| !node.is_open(id)) {
            person.disconnect(None);
        }
        if person.connection.is_none() {
            person.connect(node);
            if place == SUBSCRIBER {
                self.streams.connected();
            }
        }
        let now_ms = self.now.mono_ns / 1_000_000;
        let events = person.exchange(node, &mut self.random, now_ms, most)?;
        self.out.overruns += node.take_overruns();
        events.into_iter().try_for_each(|event| self.told(place, event))
    }

    /// A client is told something.
    fn told(&mut self, place: usize, event: Told) -> Result<(), String> {
        match event {
            Told::Decision(decision) => self.answered(place, decision),
            Told::Postponed(_, m) => {
                self.out.refused += 1;
                self.out.refused_disk_full += u64::from(m.code == Code::DiskFull);
                Ok(())
            }
            Told::Refused(_, m) => Err(format!("refused for good with {}: {}", m.code, m.note.as_str())),
            Told::Told(partition, _, body) => {
                self.board.note(&body);
                if place == SUBSCRIBER { self.streams.told(partition, &body) } else { Ok(()) }
            }
            Told::Welcome(_) | Told::Done(..) => Ok(()),
        }
    }

    fn answered(&mut self, place: usize, decision: Decision) -> Result<(), String> {
        let ticket = decision.ticket;
        self.note(|| format!("client {place}: {ticket} {} at frame {}", decision.code, decision.decided));
        if decision.code == Code::DuplicateConflict {
            self.out.conflicts += 1;
            let expected = self.conflicting.contains(&ticket);
            return expected.then_some(()).ok_or(format!("{ticket}: a conflict that nobody caused"));
        }
        self.people[place].unanswered.remove(&ticket);
        match self.answers.get(&ticket) {
            None => {
                self.answers.insert(ticket, decision);
                Ok(())
            }
            Some(first) if *first == decision => {
                self.out.answers_repeated += 1;
                Ok(())
            }
            Some(first) => Err(format!("{ticket} was answered with {first:?}, later with {decision:?}")),
        }
    }

    /// Adds a line to the history.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let (event, us) = (self.out.events, self.now.mono_ns / 1000);
        self.history.push_back(format!("{event:>7} {us:>9} µs {}", what()));
    }
}
