//! What the clients want: bets, reports of matches, and whatever an operator does.

use crate::world::{DESK, FEED, INTAKES, World};
use std::collections::VecDeque;
use touchline_feeds::Timeline;
use touchline_generator::{Bettors, Random, football};
use touchline_protocol::*;

/// The feed's source.
const SOURCE: SourceId = SourceId(1);
/// Matches and customers.
const MATCHES: u64 = 4;
const CUSTOMERS: u64 = 20;
/// Tickets of a run at least, those decided after the last fault included.
const TICKETS_MIN: usize = 120;
/// Steps of the calm end in which bets may still be made.
const BETTING_STEPS: u64 = 25_000;
/// Tickets remembered to be sent again.
const REMEMBERED: usize = 50;
const OPERATOR: OperatorId = OperatorId(1);
const BRAND: BrandId = BrandId(1);

/// Matches, bettors, and how far they are.
pub(crate) struct Workload {
    bettors: Bettors,
    timelines: Vec<Timeline>,
    /// Next report of each match.
    told: Vec<usize>,
    old: VecDeque<SubmitTicket>,
    /// Matches that the desk settled too early and has yet to open again.
    to_reopen: Vec<FixtureId>,
}

impl Workload {
    /// Nothing told yet.
    pub(crate) fn new(seed: u64, random: &mut Random) -> Self {
        let timelines: Vec<Timeline> = (1..=MATCHES)
            .map(|n| {
                let mut timeline = football::timeline(random, FixtureId(seed % 1000 * 10 + n));
                // The clock's reports say little here; most are left out so that matches end within a run.
                timeline.reports.retain(|report| report.event != Event::Clock || random.chance(0.03));
                timeline
            })
            .collect();
        Workload {
            bettors: Bettors::new(random.bits(), BRAND, Currency(*b"EUR"), CUSTOMERS),
            told: vec![0; timelines.len()],
            timelines,
            old: VecDeque::new(),
            to_reopen: Vec::new(),
        }
    }

    /// Whether every match is told to its end, and open for its own settlement.
    pub(crate) fn is_over(&self) -> bool {
        let told = self.told.iter().zip(&self.timelines);
        told.into_iter().all(|(told, timeline)| *told > timeline.reports.len()) && self.to_reopen.is_empty()
    }
}

impl World {
    /// Everything that the feed and the desk send first.
    pub(crate) fn set_up(&mut self) {
        for account in self.workload.bettors.accounts() {
            self.people[DESK].session.send(account);
        }
        self.people[DESK].session.send(crate::friendlies::retention());
        self.renew(1000);
        for timeline in &self.workload.timelines {
            // Planned for the day after: a match that the desk settles too early stays, to be opened again.
            for command in timeline.opening_commands(SOURCE, At(self.now.utc_ns + 86_400_000_000_000)) {
                self.people[FEED].session.send(command);
            }
        }
    }

    /// Whether bets are still made: while faults last, and until there were enough to judge by.
    pub(crate) fn goes_on_betting(&self) -> bool {
        let asked: usize = INTAKES.map(|place| self.people[place].unanswered.len()).sum();
        let few = asked + self.answers.len() < TICKETS_MIN && !self.workload.is_over();
        !self.calm || (few && self.out.events < self.options.steps + BETTING_STEPS)
    }

    /// An intake sends a ticket: new, the same again, or its id with other content.
    pub(crate) fn bet(&mut self) {
        let place = INTAKES.start + self.random.below(INTAKES.len() as u64) as usize;
        if self.people[place].session.unanswered() > 30 {
            return;
        }
        let again = self.random.pick(self.workload.old.make_contiguous()).cloned();
        if let Some(mut old) = again.filter(|_| self.random.chance(0.15)) {
            // Only what is decided conflicts for certain; before that either content may come first.
            if self.random.chance(0.3) && self.answers.contains_key(&old.ticket) {
                old.stake = Stake(old.stake.0 + 1);
                self.conflicting.insert(old.ticket);
            }
            self.note(|| format!("client {place}: {} again, stake {}", old.ticket, old.stake.0));
            self.people[place].session.send(old);
            return;
        }
        let now_ms = (self.now.utc_ns / 1_000_000) as u64;
        let Some(mut ticket) = self.workload.bettors.bet(now_ms, &self.board) else { return };
        // Some saw an older price: after a goal that alone must be enough to reject them.
        if self.random.chance(0.1) {
            ticket.price_version = Seq(ticket.price_version.0.saturating_sub(self.random.below(60)));
        }
        self.workload.old.push_back(ticket.clone());
        if self.workload.old.len() > REMEMBERED {
            self.workload.old.pop_front();
        }
        self.note(|| format!("client {place}: {} on fixture {}", ticket.ticket, ticket.fixture));
        self.people[place].submit(ticket);
    }

    /// The feed says something: a renewed promise, or a match's next report.
    pub(crate) fn report(&mut self) {
        // A feed never rests: frames follow until a state that is odd was found.
        let done = self.calm && self.workload.is_over() && self.spoilt().is_none();
        if done || self.people[FEED].session.unanswered() > 20 {
            return;
        }
        if self.calm || self.random.chance(0.3) {
            // Short promises lapse now and then. None may reach beyond the rules' horizon.
            let ms = if self.calm { 60_000 } else { 20 + self.random.below(600) };
            self.renew(ms);
        }
        if self.calm && !self.workload.to_reopen.is_empty() {
            return self.reopen();
        }
        // Nor is a match over before there were bets on it.
        if self.calm && self.goes_on_betting() && self.random.chance(0.95) {
            return;
        }
        // While faults last, matches go slowly enough not to be over before them.
        if !self.calm && self.random.chance(if self.endures() { 0.985 } else { 0.7 }) {
            return;
        }
        let place = self.random.below(self.workload.timelines.len() as u64) as usize;
        let (timeline, told) = (&self.workload.timelines[place], self.workload.told[place]);
        let fixture = timeline.fixture;
        let feed = &mut self.people[FEED].session;
        if let Some(incident) = timeline.incident(SOURCE, told) {
            let event = incident.event;
            feed.send(incident);
            self.note(|| format!("feed: {event:?} in fixture {fixture}"));
        } else if told == timeline.reports.len() {
            feed.send(timeline.settlement());
            self.note(|| format!("feed: fixture {fixture} is over"));
        } else {
            return;
        }
        self.workload.told[place] += 1;
    }

    fn renew(&mut self, ms: u64) {
        let alive_until = At(self.now.utc_ns + (ms * 1_000_000) as i64);
        self.people[FEED].session.send(SourceFresh { source: SOURCE, alive_until });
    }

    /// An operator does something.
    pub(crate) fn desk(&mut self) {
        if self.people[DESK].session.unanswered() > 10 {
            return;
        }
        let place = self.random.below(self.workload.timelines.len() as u64) as usize;
        let timeline = &self.workload.timelines[place];
        let fixture = timeline.fixture;
        let market = self.random.pick(&timeline.markets).copied().unwrap_or_default();
        if self.desk_lifts(fixture) {
            return;
        }
        let command = match self.random.below(24) {
            16.. => return self.desk_friendly(),
            0..3 => suspend(fixture, market, Reason::Operator, self.random.chance(0.4)),
            3..7 => self.limit(fixture, market),
            7..10 => {
                let customer = CustomerId(1 + self.random.below(CUSTOMERS));
                let status = AccountStatus::ALL[self.random.below(6).saturating_sub(3) as usize];
                SetAccountStatus { brand: BRAND, customer, status, operator: OPERATOR, note: note() }.into()
            }
            10 | 11 => {
                let [home, away] = [0, 1].map(|_| self.random.below(4) as u16);
                self.workload.to_reopen.push(fixture);
                let certainty = Certainty::Confirmed;
                SettleFixture { fixture, home, away, certainty, operator: OPERATOR }.into()
            }
            12 => {
                self.workload.to_reopen.push(fixture);
                VoidMarket { fixture, market, operator: OPERATOR, note: note() }.into()
            }
            _ => return self.reopen(),
        };
        self.note(|| format!("desk: {command:?}"));
        self.people[DESK].session.send(command);
    }

    fn limit(&mut self, fixture: FixtureId, market: MarketKey) -> Body {
        let value_minor = [-1, 1000, 50_000, 5_000_000][self.random.below(4) as usize];
        let stage = Stage::ALL[self.random.below(2) as usize];
        let (scope, fixture, market) = match self.random.below(3) {
            0 => (LimitScope::Market, fixture, market),
            1 => (LimitScope::Fixture, fixture, MarketKey::WHOLE_FIXTURE),
            _ => (LimitScope::Customer, FixtureId(0), MarketKey::WHOLE_FIXTURE),
        };
        let customer = match scope {
            LimitScope::Customer => CustomerId(1 + self.random.below(CUSTOMERS)),
            _ => CustomerId(0),
        };
        let brand = if scope == LimitScope::Customer { BRAND } else { BrandId(0) };
        let (selection, operator, note) = (255, OPERATOR, note());
        SetLimit { scope, stage, brand, customer, fixture, market, selection, value_minor, operator, note }
            .into()
    }

    /// What was settled too early is taken back and opened again.
    fn reopen(&mut self) {
        let Some(fixture) = self.workload.to_reopen.pop() else { return };
        let market = MarketKey::WHOLE_FIXTURE;
        let desk = &mut self.people[DESK].session;
        desk.send(RollbackSettlement { fixture, market, operator: OPERATOR, note: note() });
        for market in self.workload.timelines.iter().filter(|t| t.fixture == fixture).flat_map(|t| &t.markets)
        {
            desk.send(suspend(fixture, *market, Reason::RollbackEvent, false));
        }
        self.note(|| format!("desk: fixture {fixture} is opened again"));
    }
}

fn suspend(fixture: FixtureId, market: MarketKey, reason: Reason, on: bool) -> Body {
    Suspend { fixture, market, reason, on, operator: OPERATOR, note: note() }.into()
}

fn note<const N: usize>() -> Text<N> {
    Text::cut("by chance")
}
