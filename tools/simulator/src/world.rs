//! One run: what happens next, by chance, and what the clients are told.

use crate::cluster::Cluster;
use crate::drill::Drill;
use crate::friendlies::Friendlies;
use crate::judge::{self, Told};
use crate::ledger::Ledger;
use crate::member::Member;
use crate::node::Node;
use crate::ordeal::Ordeal;
use crate::people::Person;
use crate::poison;
use crate::streams::Streams;
use crate::twin::Twin;
use crate::workload::Workload;
use crate::{Failure, Fault, Options, Outcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use touchline_client::Event as Heard;
use touchline_core::Now;
use touchline_generator::{PriceBoard, Random};
use touchline_node::Config;
use touchline_protocol::*;

/// When a run begins.
const START_NS: i64 = 1_900_000_000_000_000_000;
/// Lines of history kept.
const HISTORY: usize = 5000;
/// Steps of the calm end after which a run counts as stuck: several times what the longest takes.
const CALM_STEPS: u64 = 60_000;

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
    /// True time; the nodes' clocks are off.
    pub(crate) now: Now,
    pub(crate) config: Config,
    /// The machines: one, or the two of a cluster.
    pub(crate) members: Vec<Member>,
    /// What makes two of them a cluster.
    pub(crate) cluster: Option<Cluster>,
    /// The drill that runs.
    pub(crate) drill: Option<Drill>,
    /// What lasts long, in the runs that have it.
    pub(crate) ordeal: Option<Ordeal>,
    /// The second process of a node, from a copy of its disk.
    pub(crate) twin: Option<Twin>,
    /// Faults so far, those that were left out included, and which of them happened.
    faults: (u64, Vec<u64>),
    pub(crate) people: Vec<Person>,
    pub(crate) workload: Workload,
    pub(crate) friendlies: Friendlies,
    pub(crate) board: PriceBoard,
    /// First answers of tickets.
    pub(crate) answers: BTreeMap<TicketId, Decision>,
    /// Ids that were sent again with other content.
    pub(crate) conflicting: BTreeSet<TicketId>,
    pub(crate) ledger: Ledger,
    streams: Streams,
    /// The newest epoch of a node that clients were connected to.
    epoch_seen: Epoch,
    /// Starts so far, of any machine.
    pub(crate) boots: u128,
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
        // Everything happens on the seed's one thread; commands that are poison are poison to no other.
        config.node.replay_threads = 1;
        config.cluster.capacity.pending = 16;
        // With few partitions each has more bets on a match than it settles in one frame.
        if seed % 4 == 3 {
            config.cluster.partitions = 2;
            // Tickets that wait are counted by partition, and the audit knows of no room that runs out.
            config.cluster.capacity.pending = 512;
        }
        let workload = Workload::new(seed, &mut random);
        let mut people = vec![Person::new(Role::Feed), Person::new(Role::Operator)];
        people.extend(INTAKES.map(|_| Person::new(Role::Intake)));
        people.push(Person::new(Role::Observer));
        let mut world = World {
            seed,
            options,
            random,
            now: Now { mono_ns: 0, utc_ns: START_NS },
            config,
            members: Vec::new(),
            cluster: None,
            drill: None,
            twin: None,
            ordeal: None,
            faults: (0, Vec::new()),
            people,
            workload,
            friendlies: Friendlies::default(),
            board: PriceBoard::default(),
            answers: BTreeMap::new(),
            conflicting: BTreeSet::new(),
            ledger: Ledger::default(),
            streams: Streams::default(),
            epoch_seen: Epoch(0),
            boots: 0,
            calm: false,
            out: Outcome::default(),
            history: VecDeque::new(),
        };
        world.set_up();
        let machines = if world.options.cluster { 2 } else { 1 };
        world.members.resize_with(machines, Member::default);
        if world.options.cluster {
            world.cluster = Some(Cluster::new(&world.options, world.config.cluster.id));
        }
        world
    }

    /// Runs to the end. A panic of the code under test is a failure like any other.
    pub(crate) fn run(mut self) -> Result<Outcome, Box<Failure>> {
        let played = catch_unwind(AssertUnwindSafe(|| self.play()));
        let played = played.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
            Err(format!("a panic: {text}"))
        });
        match played {
            Ok(()) => Ok(self.out),
            Err(why) => Err(Box::new(Failure {
                seed: self.seed,
                why,
                history: self.history.into(),
                faults: self.faults.1,
            })),
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..self.options.steps {
            self.step()?;
        }
        self.endure()?;
        self.settle_down()?;
        self.out.tickets = self.answers.len() as u64;
        self.out.faults = self.faults.1.len() as u64;
        self.out.accepted = self.answers.values().filter(|d| d.code == Code::Accepted).count() as u64;
        self.out.events_told = self.streams.count();
        let leader = self.leader().ok_or("no node leads at the end")?;
        let Member { disk, node, .. } = &mut self.members[leader];
        let node = node.as_mut().ok_or("the node is down at the end")?;
        let archive = self.cluster.as_ref().map(|cluster| cluster.archive.as_slice());
        let told = Told { answers: &self.answers, streams: &self.streams };
        let poison = poison::of_run(self.seed, &self.options);
        judge::journal(disk, archive, poison, &told, &mut self.ledger, node, &mut self.out)?;
        self.compare_standby(leader)?;
        if self.cluster.is_some() && self.seed.is_multiple_of(4) { self.relocate() } else { Ok(()) }
    }

    /// No more faults and no more bets: everything must be answered, every match settled.
    fn settle_down(&mut self) -> Result<(), String> {
        self.calm = true;
        self.calm_disks();
        // What is healed before its time need not be taken over from.
        self.drill = None;
        self.note(|| "calm".into());
        self.heal();
        let mut lacks = "";
        for _ in 0..CALM_STEPS {
            self.step()?;
            let quiet =
                self.leader().and_then(|place| self.members[place].node.as_ref()).is_some_and(Node::is_quiet);
            let over = [
                ("the leader is not quiet", quiet),
                ("a clone still runs", self.twin.is_none()),
                ("somebody waits for an answer", self.people.iter().all(Person::is_quiet)),
                ("a match is not over", self.workload.is_over()),
                ("the cluster is not whole", self.is_whole()),
                // It is found before the end, however late it was.
                ("a flipped bit was not found", self.spoilt().is_none()),
            ];
            match over.into_iter().find(|(_, done)| !done) {
                None => return Ok(()),
                Some((why, _)) => lacks = why,
            }
        }
        let waiting: Vec<usize> = self.people.iter().map(|p| p.session.unanswered()).collect();
        Err(format!("after {CALM_STEPS} calm steps {lacks}; unanswered: {waiting:?}; {}", self.state()))
    }

    /// The machine that serves: the one, or the primary of a cluster as far as any client can tell.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |member: &Member| member.runs(self.now) && member.node.as_ref().is_some_and(Node::leads);
        let newest = |place: &usize| self.members[*place].node.as_ref().map(Node::epoch);
        (0..self.members.len()).filter(|place| leads(&self.members[*place])).max_by_key(newest)
    }

    pub(crate) fn step(&mut self) -> Result<(), String> {
        if self.cluster.is_some() {
            return self.step_cluster();
        }
        self.out.events += 1;
        self.pass(2_000_000);
        if self.members[0].node.is_none() {
            return self.start(0);
        }
        match self.random.below(100) {
            0..40 => self.stage(0)?,
            40..75 => self.exchange()?,
            75..87 if !self.calm => self.bet(),
            87..94 => self.report(),
            94..96 if !self.calm => self.desk(),
            96..100 if !self.calm => self.fault(0)?,
            _ => {}
        }
        Ok(())
    }

    /// Some time passes.
    pub(crate) fn pass(&mut self, most_ns: u64) {
        let passed = self.random.below(most_ns);
        self.now.mono_ns += passed;
        self.now.utc_ns += passed as i64;
    }

    /// What a machine's clocks say.
    pub(crate) fn node_now(&self, place: usize) -> Now {
        self.members[place].now(self.now)
    }

    /// One step of one stage.
    pub(crate) fn stage(&mut self, place: usize) -> Result<(), String> {
        let now = self.node_now(place);
        let Some(node) = &mut self.members[place].node else { return Ok(()) };
        match self.random.below(5) {
            0 => {
                node.sequence(now, 1 + self.random.below(40) as usize);
                self.sequenced(place);
            }
            1 => {
                let batches_max = 1 + self.random.below(12) as usize;
                return self.write(place, batches_max);
            }
            2 => return self.release(place),
            shard => {
                let index = (self.random.below(node.shards() as u64) + shard) as usize % node.shards();
                node.apply(index);
                return self.applied(place);
            }
        }
        Ok(())
    }

    /// The journal stage writes; the machine may go down in it.
    pub(crate) fn write(&mut self, place: usize, batches_max: usize) -> Result<(), String> {
        let member = &self.members[place];
        if member.node.is_none() || member.slow_until_ns > self.now.mono_ns {
            return Ok(());
        }
        let misdirect = self.may_misdirect(place);
        let member = &mut self.members[place];
        let Some(node) = &mut member.node else { return Ok(()) };
        let result = node.write(batches_max);
        if misdirect && self.misdirected(place) {
            return Ok(());
        }
        let member = &mut self.members[place];
        let Some(node) = &mut member.node else { return Ok(()) };
        if member.disk.went_down() {
            self.out.crashes_in_writes += 1;
            self.crash(place, "in a disk operation");
            return Ok(());
        }
        match result {
            Ok(()) => {
                let durable = node.durable();
                self.promise(place, durable);
                self.written(place, durable.0)
            }
            Err(why) => {
                self.out.device_errors += u64::from(member.disk.get().broken);
                self.crash(place, &why);
                Ok(())
            }
        }
    }

    /// A journal said that it holds everything up to here.
    fn promise(&mut self, place: usize, durable: (Seq, ChainHash)) {
        let member = &mut self.members[place];
        member.promise(durable);
        if let Some(cluster) = &mut self.cluster {
            cluster.said(member.boot, durable.0);
        }
    }

    /// The gate lets pass what may; the ledger keeps it.
    pub(crate) fn release(&mut self, place: usize) -> Result<(), String> {
        let member = &mut self.members[place];
        let Some(node) = &mut member.node else { return Ok(()) };
        let mut left = node.release();
        let durable = node.durable();
        let boot = member.boot;
        self.promise(place, durable);
        if self.spoilt() == Some(place) {
            // It says itself that its state is odd; the log does not cause that.
            left.retain(|effect| !matches!(&effect.body, Body::Alarm(alarm) if alarm.event == 0));
        }
        let may_leave = self.cluster.as_ref().map_or(durable.0, Cluster::committed);
        self.ledger.note(boot, left, may_leave)
    }

    pub(crate) fn exchange(&mut self) -> Result<(), String> {
        let place = self.random.below(self.people.len() as u64) as usize;
        // The subscriber reads slowly while faults last, and now and then too slowly.
        let most = if place == SUBSCRIBER && !self.calm { 900 } else { 4000 };
        // A connection stays where it is for as long as that node answers; a new one goes to who leads.
        let connected = self.people[place].connection.map(|(machine, _)| machine);
        let Some(machine) = connected.or_else(|| self.leader()) else { return Ok(()) };
        let member = &mut self.members[machine];
        let (runs, person) = (member.runs(self.now), &mut self.people[place]);
        let Some(node) = &mut member.node else {
            person.disconnect(None);
            return Ok(());
        };
        if !runs {
            return Ok(());
        }
        if person.connection.is_some_and(|(_, id)| !node.is_open(id)) {
            person.disconnect(None);
        }
        // A client has nothing to do with a node that leads in an older epoch than the last it saw: what a primary says that
        // does not know yet that it was replaced is of another time.
        if node.leads() && node.epoch() < self.epoch_seen {
            person.disconnect(Some(node));
            return Ok(());
        }
        if person.connection.is_none() {
            if !node.leads() {
                return Ok(());
            }
            self.epoch_seen = node.epoch();
            self.out.unknown += person.connect(machine, node);
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
    fn told(&mut self, place: usize, event: Heard) -> Result<(), String> {
        match event {
            Heard::Decision(decision) => self.answered(place, decision),
            Heard::Postponed(_, m) => {
                self.out.refused += 1;
                self.out.refused_disk_full += u64::from(m.code == Code::DiskFull);
                Ok(())
            }
            Heard::Refused(_, m) => Err(format!("refused for good with {}: {}", m.code, m.note.as_str())),
            Heard::Told(partition, _, body) => {
                self.board.note(&body);
                if place == SUBSCRIBER {
                    self.friendlies.note(&body);
                }
                if place == SUBSCRIBER { self.streams.told(partition, &body) } else { Ok(()) }
            }
            // These are told when a connection is made, and dealt with there.
            Heard::Welcome(_) | Heard::Done(..) | Heard::Unknown(..) => Ok(()),
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

    /// Whether a fault of a kind may happen now: each is numbered, and a run can be told to have only some.
    pub(crate) fn may(&mut self, kind: Fault) -> bool {
        self.faults.0 += 1;
        let number = self.faults.0;
        let happens = self.options.faults.contains(&kind)
            && self.options.only.as_ref().is_none_or(|only| only.contains(&number));
        if happens {
            self.faults.1.push(number);
        }
        happens
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
