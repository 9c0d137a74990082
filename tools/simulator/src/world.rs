//! One run: what happens next, by chance, and what must hold meanwhile.

use crate::disk::Disk;
use crate::judge;
use crate::node::Node;
use crate::people::Person;
use crate::{Failure, Mutation, Options, Outcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use touchline_client::Event as Told;
use touchline_core::Now;
use touchline_feeds::Timeline;
use touchline_generator::{Bettors, PriceBoard, Random, football};
use touchline_journal::Tail;
use touchline_node::Config;
use touchline_protocol::*;

/// When a run begins.
const START_NS: i64 = 1_900_000_000_000_000_000;
/// The feed's source.
const SOURCE: SourceId = SourceId(1);
/// Matches and customers.
const MATCHES: u64 = 4;
const CUSTOMERS: u64 = 20;
/// Lines of history kept.
const HISTORY: usize = 60;
/// Steps of the calm end after which a run counts as stuck.
const CALM_STEPS: u64 = 400_000;

/// Clients by their place.
const FEED: usize = 0;
const DESK: usize = 1;
const INTAKES: std::ops::Range<usize> = 2..5;

/// A run.
pub(crate) struct World {
    seed: u64,
    options: Options,
    random: Random,
    now: Now,
    config: Config,
    disk: Disk,
    node: Option<Node>,
    people: Vec<Person>,
    bettors: Bettors,
    board: PriceBoard,
    timelines: Vec<Timeline>,
    /// Next report of each match.
    told: Vec<usize>,
    /// First answers of tickets.
    pub(crate) answers: BTreeMap<TicketId, Decision>,
    old: VecDeque<SubmitTicket>,
    /// Ids that were sent again with other content.
    conflicting: BTreeSet<TicketId>,
    boot: u128,
    calm: bool,
    out: Outcome,
    history: VecDeque<String>,
}

impl World {
    /// A world before its first step.
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(seed);
        let mut config = Config::standard();
        config.node.segment_mib = 2;
        config.cluster.capacity.pending = 16;
        let timelines: Vec<Timeline> = (1..=MATCHES)
            .map(|n| {
                let mut timeline = football::timeline(&mut random, FixtureId(seed % 1000 * 10 + n));
                // The clock's reports say little here; most are left out so that matches end within a run.
                timeline.reports.retain(|report| report.event != Event::Clock || random.chance(0.03));
                timeline
            })
            .collect();
        let bettors = Bettors::new(random.bits(), BrandId(1), Currency(*b"EUR"), CUSTOMERS);
        let mut people = vec![Person::new(Role::Feed), Person::new(Role::Operator)];
        people.extend(INTAKES.map(|_| Person::new(Role::Intake)));
        let mut world = World {
            seed,
            options,
            random,
            now: Now { mono_ns: 0, utc_ns: START_NS },
            config,
            disk: Disk::default(),
            node: None,
            people,
            bettors,
            board: PriceBoard::default(),
            told: vec![0; timelines.len()],
            timelines,
            answers: BTreeMap::new(),
            old: VecDeque::new(),
            conflicting: BTreeSet::new(),
            boot: 0,
            calm: false,
            out: Outcome::default(),
            history: VecDeque::new(),
        };
        world.set_up();
        world
    }

    /// Everything that the feed and the desk send first.
    fn set_up(&mut self) {
        for account in self.bettors.accounts() {
            self.people[DESK].session.send(account);
        }
        self.renew(60_000);
        for timeline in &self.timelines {
            for command in timeline.opening_commands(SOURCE, At(START_NS)) {
                self.people[FEED].session.send(command);
            }
        }
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
        let node = self.node.as_mut().ok_or("the node is down at the end")?;
        let verdict = judge::journal(&self.disk, &self.answers, node)?;
        self.out.frames = verdict.frames;
        self.out.reservations = verdict.reservations;
        self.out.tickets = self.answers.len() as u64;
        self.out.accepted = self.answers.values().filter(|d| d.code == Code::Accepted).count() as u64;
        Ok(())
    }

    /// No more faults and no more bets: everything must be answered, every match settled.
    fn settle_down(&mut self) -> Result<(), String> {
        self.calm = true;
        self.disk.get().crash_in = None;
        self.disk.get().room = None;
        self.note("calm");
        for steps in 0.. {
            self.step()?;
            let node_quiet = self.node.as_ref().is_some_and(Node::is_quiet);
            if node_quiet && self.people.iter().all(Person::is_quiet) && self.all_told() {
                return Ok(());
            }
            if steps > CALM_STEPS {
                let waiting: Vec<usize> = self.people.iter().map(|p| p.session.unanswered()).collect();
                return Err(format!("still unanswered after {CALM_STEPS} calm steps: {waiting:?}"));
            }
        }
        Ok(())
    }

    fn all_told(&self) -> bool {
        self.told.iter().zip(&self.timelines).all(|(told, timeline)| *told > timeline.reports.len())
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
            75..88 if !self.calm => self.bet(),
            88..95 => self.report(),
            95..97 if !self.calm => self.desk(),
            97 if !self.calm => self.break_connection(),
            98 if !self.calm => self.disk_fault(),
            99 if !self.calm && self.random.chance(0.2) => self.crash("killed"),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        self.boot += 1;
        self.disk.restart();
        if self.options.mutation == Some(Mutation::EmptyStart) && self.boot > 1 {
            self.disk = Disk::default();
        }
        self.config.node.shards = [1, 2, 4][self.random.below(3) as usize];
        self.arm();
        let early = self.options.mutation == Some(Mutation::ReleaseBeforeDurable);
        match Node::start(self.disk.clone(), &self.config, self.now, self.boot, early) {
            Ok((node, recovered)) => {
                let torn = matches!(recovered.tail, Tail::Torn(_));
                self.out.torn_writes += u64::from(torn);
                self.note(&format!(
                    "start {} on {} shards: {} frames{}",
                    self.boot,
                    node.shards(),
                    recovered.frames,
                    if torn { ", torn end cut" } else { "" }
                ));
                let last = recovered.position.seq;
                if let Some(lost) = self.answers.values().find(|decision| decision.decided > last) {
                    return Err(format!(
                        "ticket {} was answered at frame {}, but the journal ends at {last}",
                        lost.ticket, lost.decided
                    ));
                }
                self.node = Some(node);
                Ok(())
            }
            // The machine went down while it recovered: the next start finds what that left.
            Err(_) if self.disk.get().crash_in == Some(0) => {
                self.out.crashes_in_recovery += 1;
                self.note("crashed in recovery");
                Ok(())
            }
            Err(why) => Err(format!("the node does not start: {why}")),
        }
    }

    /// Decides in which of the coming disk operations the machine crashes, and what survives of it.
    fn arm(&mut self) {
        let may_crash = !self.calm && self.out.crashes < self.options.crashes;
        // The first operations of a life are those of its recovery.
        let soon = if self.random.chance(0.2) { 2 } else { 64 };
        let crash_in = self.random.below(soon);
        let crashes = may_crash && self.random.chance(0.8);
        let mut disk = self.disk.get();
        disk.crash_in = crashes.then_some(crash_in);
        disk.surviving_sectors = self.random.bits();
    }

    /// One step of one stage.
    fn stage(&mut self) -> Result<(), String> {
        let Some(node) = &mut self.node else { return Ok(()) };
        match self.random.below(5) {
            0 => node.sequence(self.now, 1 + self.random.below(40) as usize),
            1 => {
                if let Err(why) = node.write() {
                    let in_write = self.disk.get().crash_in == Some(0);
                    self.out.crashes_in_writes += u64::from(in_write);
                    self.crash(&why);
                }
            }
            2 => node.release(),
            shard => {
                let place = (self.random.below(node.shards() as u64) + shard) as usize % node.shards();
                node.apply(place);
            }
        }
        Ok(())
    }

    fn exchange(&mut self) -> Result<(), String> {
        let place = self.random.below(self.people.len() as u64) as usize;
        let Some(node) = &mut self.node else { return Ok(()) };
        let person = &mut self.people[place];
        if person.connection.is_none() {
            person.connect(node);
        }
        let now_ms = self.now.mono_ns / 1_000_000;
        let events = person.exchange(node, &mut self.random, now_ms)?;
        events.into_iter().try_for_each(|event| self.told(place, event))
    }

    /// A client is told something.
    fn told(&mut self, place: usize, event: Told) -> Result<(), String> {
        match event {
            Told::Decision(decision) => self.answered(place, decision),
            Told::Postponed(..) => {
                self.out.refused += 1;
                Ok(())
            }
            Told::Refused(_, m) => Err(format!("refused for good with {}: {}", m.code, m.note.as_str())),
            Told::Told(_, _, body) => {
                self.board.note(&body);
                Ok(())
            }
            Told::Welcome(_) | Told::Done(..) => Ok(()),
        }
    }

    fn answered(&mut self, place: usize, decision: Decision) -> Result<(), String> {
        let ticket = decision.ticket;
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

    /// An intake sends a ticket: new, the same again, or its id with other content.
    fn bet(&mut self) {
        let place = INTAKES.start + self.random.below(INTAKES.len() as u64) as usize;
        let person = &mut self.people[place];
        if person.session.unanswered() > 30 {
            return;
        }
        let again = self.random.pick(self.old.make_contiguous()).cloned();
        if let Some(mut old) = again.filter(|_| self.random.chance(0.15)) {
            // Only what is decided conflicts for certain; before that either content may come first.
            if self.random.chance(0.3) && self.answers.contains_key(&old.ticket) {
                old.stake = Stake(old.stake.0 + 1);
                self.conflicting.insert(old.ticket);
            }
            person.session.send(old);
            return;
        }
        let now_ms = (self.now.utc_ns / 1_000_000) as u64;
        if let Some(ticket) = self.bettors.bet(now_ms, &self.board) {
            self.old.push_back(ticket.clone());
            if self.old.len() > 50 {
                self.old.pop_front();
            }
            person.submit(ticket);
        }
    }

    /// The feed says something: a renewed promise, or a match's next report.
    fn report(&mut self) {
        if self.people[FEED].session.unanswered() > 20 {
            return;
        }
        if self.calm || self.random.chance(0.3) {
            // Short promises lapse now and then.
            let ms = if self.calm { 600_000 } else { 20 + self.random.below(1000) };
            self.renew(ms);
        }
        // While faults last, matches go slowly enough not to be over before them.
        if !self.calm && self.random.chance(0.6) {
            return;
        }
        let place = self.random.below(self.timelines.len() as u64) as usize;
        let (timeline, told) = (&self.timelines[place], self.told[place]);
        let feed = &mut self.people[FEED].session;
        if let Some(incident) = timeline.incident(SOURCE, told) {
            feed.send(incident);
        } else if told == timeline.reports.len() {
            feed.send(timeline.settlement());
        } else {
            return;
        }
        self.told[place] += 1;
    }

    fn renew(&mut self, ms: u64) {
        let alive_until = At(self.now.utc_ns + (ms * 1_000_000) as i64);
        self.people[FEED].session.send(SourceFresh { source: SOURCE, alive_until });
    }

    /// An operator does something.
    fn desk(&mut self) {
        if self.people[DESK].session.unanswered() > 10 {
            return;
        }
        let Some(timeline) = self.random.pick(&self.timelines) else { return };
        let (fixture, operator, note) = (timeline.fixture, OperatorId(1), Text::cut("by chance"));
        let market = self.random.pick(&timeline.markets).copied().unwrap_or_default();
        let command = match self.random.below(4) {
            0 => {
                let on = self.random.chance(0.5);
                Body::from(Suspend { fixture, market, reason: Reason::Operator, on, operator, note })
            }
            1 => {
                let value_minor = [-1, 1000, 50_000, 5_000_000][self.random.below(4) as usize];
                let (scope, stage) = (LimitScope::Market, Stage::PreMatch);
                let (brand, customer, selection) = (BrandId(0), CustomerId(0), 255);
                SetLimit {
                    scope,
                    stage,
                    brand,
                    customer,
                    fixture,
                    market,
                    selection,
                    value_minor,
                    operator,
                    note,
                }
                .into()
            }
            2 => {
                let customer = CustomerId(1 + self.random.below(CUSTOMERS));
                let status = AccountStatus::ALL[self.random.below(6).saturating_sub(3) as usize];
                SetAccountStatus { brand: BrandId(1), customer, status, operator, note }.into()
            }
            _ => RollbackSettlement { fixture, market: MarketKey::WHOLE_FIXTURE, operator, note }.into(),
        };
        self.people[DESK].session.send(command);
    }

    fn break_connection(&mut self) {
        let place = self.random.below(self.people.len() as u64) as usize;
        let person = &mut self.people[place];
        if person.role == Role::Intake && self.random.chance(0.4) {
            let new_ids = self.options.mutation == Some(Mutation::NewIdsOnRetry);
            person.restart(self.node.as_mut(), new_ids.then_some(&mut self.random));
            self.out.client_restarts += 1;
            self.note(&format!("client {place} restarted"));
        } else if person.connection.is_some() {
            person.disconnect(self.node.as_mut());
            self.out.disconnects += 1;
            self.note(&format!("client {place} disconnected"));
        }
    }

    /// The disk has no room for a new segment for a while.
    fn disk_fault(&mut self) {
        let full = self.disk.get().room.is_none() && self.random.chance(0.3);
        self.disk.get().room = full.then_some(0);
        self.out.full_disks += u64::from(full);
        if full {
            self.note("disk full");
        }
    }

    /// Everything in memory is gone.
    fn crash(&mut self, why: &str) {
        if self.out.crashes >= self.options.crashes && why == "killed" {
            return;
        }
        self.node = None;
        self.people.iter_mut().for_each(|person| person.disconnect(None));
        // A node that finds no room stops; it starts again when somebody has made some.
        self.disk.get().room = None;
        self.out.crashes += 1;
        self.note(&format!("crash: {why}"));
    }

    fn note(&mut self, what: &str) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(format!("{:>7} {:>9} µs {what}", self.out.events, self.now.mono_ns / 1000));
    }
}
