//! Follows the log frame by frame and compares what it says with what it should.

use crate::book::{Account, Book, Fixture};
use crate::market::{Market, STATES, Sums, returned};
use crate::report::{Report, Ruling};
use crate::tickets::{barred, owner_check, winnings};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use touchline_protocol::*;

mod archive;
mod chores;
mod defect;
mod settle;

/// A log that contradicts the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditError {
    /// The frame.
    pub seq: Seq,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for AuditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "frame {}: {}", self.seq, self.why)
    }
}

impl std::error::Error for AuditError {}

type Key = (BrandId, TicketId);

struct Waiting {
    ticket: SubmitTicket,
    held: i64,
}

#[derive(Clone)]
struct Bet {
    ticket: SubmitTicket,
    odds: Odds,
    settled: Option<Payoff>,
}

/// What a partition must send next to another, in order; prices and verdicts of models are not foreseen.
#[derive(Default)]
struct Owed {
    queue: VecDeque<Body>,
}

/// The audit.
#[derive(Default)]
pub struct Auditor {
    defects: Option<fn(&Body) -> bool>,
    genesis: Option<Genesis>,
    book: Book,
    decisions: BTreeMap<Key, (Ruling, SubmitTicket)>,
    waiting: BTreeMap<Key, Waiting>,
    bets: BTreeMap<Key, Bet>,
    of_fixture: BTreeMap<(FixtureId, PartitionId), BTreeSet<Key>>,
    chores: BTreeMap<(PartitionId, Seq), chores::Chore>,
    held: BTreeMap<Key, (SubmitTicket, Odds)>,
    owed: BTreeMap<PartitionId, Owed>,
    hops: BTreeMap<(PartitionId, PartitionId), u64>,
    last: (Seq, Epoch, At, ChainHash),
    rulings: Vec<Ruling>,
    profit: i64,
    archived: archive::Archived,
    report: Report,
}

impl Auditor {
    /// An audit of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// An audit of an empty log whose core is known to have a defect at these commands.
    pub fn with_defects(defects: Option<fn(&Body) -> bool>) -> Self {
        Auditor { defects, ..Self::default() }
    }

    /// Follows a frame.
    pub fn frame(&mut self, frame: FrameRef<'_>) -> Result<(), AuditError> {
        let e = frame.envelope();
        let at_fault = |why: String| AuditError { seq: e.seq, why };
        let body = frame.body().map_err(|error| at_fault(error.to_string()))?;
        let (seq, epoch, at, chain) = self.last;
        if e.seq.0 != seq.0 + 1 || e.previous != chain || e.epoch < epoch || e.at < at {
            return Err(at_fault(format!(
                "it does not follow frame {seq} in sequence, chain, epoch and time"
            )));
        }
        let partitions = match (&self.genesis, &body) {
            (None, Body::Genesis(m)) => m.partitions,
            (None, _) => return Err(at_fault("the log does not begin with genesis".into())),
            (Some(_), Body::Genesis(_)) => return Err(at_fault("a second genesis".into())),
            (Some(genesis), _) => genesis.partitions,
        };
        if body.route(partitions) != e.partition {
            return Err(at_fault(format!(
                "partition tag {:?} where {:?} is due",
                e.partition,
                body.route(partitions)
            )));
        }
        self.hop(&e, &body).map_err(at_fault)?;
        self.apply(&e, body, partitions);
        self.last = (e.seq, e.epoch, e.at, frame.chain());
        self.report.frames += 1;
        Ok(())
    }

    /// Checks the number of a message between partitions, and that it says what its sender owes.
    fn hop(&mut self, e: &Envelope, body: &Body) -> Result<(), String> {
        let Some(hop) = body.hop() else { return Ok(()) };
        let next = self.hops.entry((hop.from, e.partition)).or_insert(1);
        if hop.number != *next {
            return Err(format!("message {} from partition {} where {next} is next", hop.number, hop.from.0));
        }
        *next += 1;
        if matches!(body, Body::Publish(_) | Body::PriceVerdict(_)) {
            return Ok(());
        }
        let due = self.owed.entry(hop.from).or_default().queue.pop_front();
        let due = due.map(|due| sorted(with_hop(due, hop)));
        if due == Some(sorted(body.clone())) {
            Ok(())
        } else {
            Err(format!("partition {} sent {body:?} where {due:?} was due", hop.from.0))
        }
    }

    fn owe(&mut self, from: PartitionId, body: impl Into<Body>) {
        self.owed.entry(from).or_default().queue.push_back(body.into());
    }

    fn apply(&mut self, e: &Envelope, body: Body, partitions: u16) {
        if self.defects.is_some_and(|defects| defects(&body)) {
            return self.defect(e, body, partitions);
        }
        match body {
            Body::Genesis(m) => self.genesis = Some(m),
            Body::Configure(m) => self.book.configure = Some(m),
            Body::NewEpoch(NewEpoch {
                cause: EpochCause::Solo | EpochCause::Dual | EpochCause::Handoff,
                ..
            }) => {}
            Body::NewEpoch(_) => self.suspend_sources(None, e.at, Reason::Failover),
            Body::SourceFresh(m) => self.source_fresh(e, &m),
            Body::SourceExpired(m) if self.book.promises.get(&m.source) == Some(&m.alive_until) => {
                self.book.promises.remove(&m.source);
                self.suspend_sources(Some(m.source), e.at, Reason::FeedStale);
            }
            Body::OpenAccount(m) => self.open_account(&m, partitions),
            Body::SetAccountStatus(m) => {
                if let Some(account) = self.book.accounts.get_mut(&(m.brand, m.customer)) {
                    account.status = m.status;
                }
            }
            Body::SetBook(m) if self.book.currency(m.brand).is_some() => {
                self.book.closed.insert(m.brand, !m.open);
            }
            Body::OpenFixture(m) => self.open_fixture(e, &m, partitions),
            Body::OpenMarkets(m) => self.open_markets(&m),
            Body::Incident(m) => self.incident(e, &m),
            Body::Suspend(m) => self.suspend(&m),
            Body::SetLimit(m) => self.set_limit(&m),
            Body::SetPrices(m) => self.set_prices(e, &m),
            Body::Publish(m) => self.publish(e, &m),
            Body::PriceVerdict(m) => {
                let newest = |fixture: &&mut Fixture| fixture.input <= m.basis;
                if let Some(fixture) = self.book.fixtures.get_mut(&m.fixture).filter(newest) {
                    let bit = 1 << Reason::PriceSanity as u8;
                    fixture.suspended =
                        if m.sane { fixture.suspended & !bit } else { fixture.suspended | bit };
                }
            }
            Body::SetReference(SetReference { fixture, .. })
            | Body::SetIntensities(SetIntensities { fixture, .. }) => {
                if let Some(fixture) = self.book.fixtures.get_mut(&fixture) {
                    fixture.input = e.seq;
                }
            }
            Body::SubmitTicket(m) => self.submit(e, m, partitions),
            Body::Reserve(m) => self.reserve(e, &m),
            Body::Reserved(m) => self.reserved(e, &m),
            Body::Confirm(m) => {
                self.held.remove(&(m.brand, m.ticket));
            }
            Body::Rollback(m) => self.rollback(&m),
            Body::SettleFixture(m) if self.settle_fixture(&m, partitions) => {
                self.closed(e.at, m.fixture, partitions);
            }
            Body::SettleMarket(m) if self.settle_market(&m, partitions) => {
                self.closed(e.at, m.fixture, partitions);
            }
            Body::VoidMarket(m) if self.void(&m, partitions) => self.closed(e.at, m.fixture, partitions),
            Body::SetRetention(m) => self.set_retention(e, &m, partitions),
            Body::Archive(m) => self.archive(e, &m, partitions),
            Body::Retire(Retire { fixture, .. })
            | Body::Settled(Settled { fixture, .. })
            | Body::Unsettled(Unsettled { fixture, .. }) => self.for_all_bets(e, fixture, body, partitions),
            Body::Work(m) => self.work(e, &m, partitions),
            Body::Reopen(m) => self.reopen(e, &m, partitions),
            Body::Recall(m) => self.recall(e, &m, partitions),
            Body::RollbackSettlement(m) => self.roll_back(&m, e.seq, partitions),
            _ => {}
        }
    }

    fn suspend_sources(&mut self, source: Option<SourceId>, at: At, reason: Reason) {
        let stale: Vec<FixtureId> = self
            .book
            .fixtures
            .iter()
            .filter(|(_, fixture)| match source {
                Some(source) => fixture.source == source,
                None => !self.book.fresh(fixture.source, at),
            })
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            let fixture = self.book.fixtures.get_mut(&id).expect("just listed");
            if !fixture.ended() {
                fixture.suspended |= 1 << reason as u8;
            }
        }
    }

    fn source_fresh(&mut self, e: &Envelope, m: &SourceFresh) {
        let horizon = self.book.configure.as_ref().map_or(0, |c| i64::from(c.source_horizon_ms) * 1_000_000);
        if m.alive_until.0.saturating_sub(e.at.0) > horizon
            || self.book.promises.get(&m.source).is_some_and(|held| m.alive_until <= *held)
        {
            return;
        }
        self.book.promises.insert(m.source, m.alive_until);
        if e.at > m.alive_until {
            return;
        }
        let bits = 1 << Reason::FeedStale as u8 | 1 << Reason::Failover as u8;
        for fixture in self.book.fixtures.values_mut().filter(|fixture| fixture.source == m.source) {
            if fixture.suspended & bits != 0 {
                fixture.suspended &= !bits;
                fixture.input = e.seq;
                for market in fixture.markets.values_mut().filter(|market| market.open) {
                    market.mark = (e.seq, Code::MaterialChange);
                }
            }
        }
    }

    fn open_account(&mut self, m: &OpenAccount, partitions: u16) {
        let key = (m.brand, m.customer);
        let home = m.customer.partition(m.brand, partitions);
        let there = self
            .book
            .accounts
            .keys()
            .filter(|(brand, customer)| customer.partition(*brand, partitions) == home);
        let max = self.genesis.as_ref().map_or(0, |genesis| genesis.accounts_max as usize);
        if self.book.accounts.contains_key(&key)
            || self.book.currency(m.brand) != Some(m.currency)
            || there.count() >= max
        {
            return;
        }
        let account =
            Account { status: AccountStatus::Open, factor_permille: m.factor_permille, limit: -1, open: 0 };
        self.book.accounts.insert(key, account);
    }

    fn open_fixture(&mut self, e: &Envelope, m: &OpenFixture, partitions: u16) {
        let owner = m.fixture.partition(partitions);
        let there = self.book.fixtures.keys().filter(|id| id.partition(partitions) == owner).count();
        let max = self.genesis.as_ref().map_or(0, |genesis| genesis.fixtures_max as usize);
        if self.book.fixtures.contains_key(&m.fixture)
            || self.archived.may_have_left(m.start_at, e.at)
            || there >= max
        {
            return;
        }
        let stale = !self.book.fresh(m.source, e.at);
        let mut fixture = Fixture {
            sport: m.sport,
            source: m.source,
            start_at: m.start_at,
            status: FixtureStatus::NotStarted,
            suspended: if stale { 1 << Reason::FeedStale as u8 } else { 0 },
            board: Scoreboard::default(),
            source_seq: 0,
            result: None,
            input: Seq(0),
            sets_to_win: if m.sport == Sport::Tennis { u16::from(m.best_of) / 2 + 1 } else { 0 },
            markets: BTreeMap::new(),
            losses: vec![0; STATES],
            possible: Vec::new(),
            worked_out_for: None,
        };
        fixture.refresh();
        self.book.fixtures.insert(m.fixture, fixture);
    }

    fn open_markets(&mut self, m: &OpenMarkets) {
        let max = self.genesis.as_ref().map_or(0, |genesis| genesis.markets_max as usize);
        let Some(fixture) = self.book.fixtures.get_mut(&m.fixture).filter(|fixture| !fixture.ended()) else {
            return;
        };
        let mut markets = fixture.markets.clone();
        for spec in m.markets.iter() {
            if markets.contains_key(&spec.market) {
                continue;
            }
            let Some(market) = Market::new(fixture.sport, spec.market, spec.selections) else { return };
            markets.insert(spec.market, market);
        }
        if markets.len() <= max {
            fixture.markets = markets;
            fixture.refresh();
        }
    }

    fn incident(&mut self, e: &Envelope, m: &Incident) {
        let Some(fixture) = self.book.fixtures.get_mut(&m.fixture) else { return };
        let back = m.board.period < fixture.board.period;
        if m.source != fixture.source
            || m.source_seq <= fixture.source_seq
            || (back && m.board.period == Period::NotStarted)
        {
            return;
        }
        let rolled_back = 1 << Reason::RollbackEvent as u8;
        let anew = back || fixture.suspended & rolled_back != 0;
        fixture.suspended &= !rolled_back;
        let rules: Vec<MaterialRule> =
            self.book.configure.iter().flat_map(|configure| configure.material.iter().cloned()).collect();
        let before = fixture.board;
        for market in fixture.markets.values_mut().filter(|market| market.open) {
            let listed = |event: Event| {
                rules.iter().any(|rule| {
                    rule.sport == fixture.sport
                        && rule.event == event
                        && [0, market.key.kind].contains(&rule.market)
                })
            };
            let scoring = [Event::Goal, Event::GoalCancelled, Event::Point].contains(&m.event);
            let scored = before.score != m.board.score;
            let played = scored || before.games != m.board.games || before.points != m.board.points;
            let by_score = (scoring && listed(m.event))
                || match fixture.sport {
                    Sport::Tennis => played && listed(Event::Point),
                    _ => scored && listed(Event::Goal),
                };
            let otherwise =
                anew || listed(m.event) || (before.reds != m.board.reds && listed(Event::RedCard));
            if by_score {
                market.mark = (e.seq, Code::ScoreChanged);
            } else if otherwise {
                market.mark = (e.seq, Code::MaterialChange);
            }
        }
        fixture.board = m.board;
        fixture.source_seq = m.source_seq;
        fixture.input = e.seq;
        match m.board.period {
            _ if fixture.over() => {}
            Period::NotStarted => {}
            Period::First | Period::Break | Period::Second => fixture.status = FixtureStatus::Live,
            Period::Ended => fixture.status = FixtureStatus::Ended,
        }
        let possible = [
            (Event::PossibleGoal, Reason::PossibleGoal),
            (Event::PossibleRedCard, Reason::PossibleRedCard),
            (Event::PossiblePenalty, Reason::PossiblePenalty),
            (Event::VideoReview, Reason::VideoReview),
        ];
        for (event, reason) in possible {
            if m.event == event {
                fixture.suspended |= 1 << reason as u8;
            } else if m.event == Event::Clear {
                fixture.suspended &= !(1 << reason as u8);
            }
        }
        fixture.refresh();
    }

    fn suspend(&mut self, m: &Suspend) {
        let Some(fixture) = self.book.fixtures.get_mut(&m.fixture) else { return };
        let reasons = if m.market.kind == 0 {
            &mut fixture.suspended
        } else {
            let Some(market) = fixture.markets.get_mut(&m.market) else { return };
            &mut market.suspended
        };
        let bit = 1 << m.reason as u8;
        *reasons = if m.on { *reasons | bit } else { *reasons & !bit };
    }

    fn set_limit(&mut self, m: &SetLimit) {
        if m.scope == LimitScope::Customer {
            if let Some(account) = self.book.accounts.get_mut(&(m.brand, m.customer)) {
                account.limit = m.value_minor;
            }
            return;
        }
        let whole = MarketKey::WHOLE_FIXTURE;
        let (market, selection) = match m.scope {
            LimitScope::Selection => (m.market, m.selection),
            LimitScope::Market => (m.market, 255),
            _ => (whole, 255),
        };
        let key = (m.scope, m.stage, m.fixture, market, selection);
        if m.value_minor < 0 {
            self.book.limits.remove(&key);
        } else {
            self.book.limits.insert(key, m.value_minor);
        }
    }

    fn set_prices(&mut self, e: &Envelope, m: &SetPrices) {
        let Some(fixture) = self.book.fixtures.get_mut(&m.fixture) else { return };
        let Some(market) = fixture.markets.get_mut(&m.market).filter(|market| market.open) else { return };
        let takes_bets = m.prices.iter().any(|price| price.milli > 0);
        if takes_bets && market.mark.0 > m.basis {
            return;
        }
        if m.prices.is_empty() {
            market.odds.fill(Price::NONE);
        } else if m.prices.len() == market.odds.len() {
            market.odds = m.prices.0.clone();
        } else {
            return;
        }
        market.by_hand = !m.prices.is_empty();
        market.version = e.seq;
    }

    fn publish(&mut self, e: &Envelope, m: &Publish) {
        let Some(fixture) = self.book.fixtures.get_mut(&m.fixture) else { return };
        let mut prices = m.prices.iter();
        for entry in m.markets.iter() {
            let odds: Vec<Price> = prices.by_ref().take(entry.selections.into()).cloned().collect();
            let Some(market) = fixture.markets.get_mut(&entry.market) else { continue };
            if market.open && !market.by_hand && market.mark.0 <= m.basis && odds.len() == market.odds.len() {
                market.odds = odds;
                market.version = e.seq;
            }
        }
    }

    fn submit(&mut self, e: &Envelope, m: SubmitTicket, partitions: u16) {
        let key = (m.brand, m.ticket);
        let Some(genesis) = self.genesis.clone() else { return };
        let oldest = (e.at.0.div_euclid(1_000_000) as u64).saturating_sub(genesis.result_window_ms);
        if m.ticket.issued_ms() < oldest
            || self.decisions.contains_key(&key)
            || self.waiting.contains_key(&key)
        {
            return;
        }
        // Room is counted by the core per partition; a log in which it ran out would differ here and be reported.
        if let Some(code) = barred(&self.book, &m) {
            return self.reject(e, m, code);
        }
        let more = winnings(m.odds, m.stake);
        let over = self.book.over_customer_limit(m.brand, m.customer, more);
        let home_code = if over { Code::CustomerLimit } else { Code::Accepted };
        let home = m.customer.partition(m.brand, partitions);
        if m.fixture.partition(partitions) == home {
            match owner_check(&self.book, e.at, &m, home_code) {
                Ok(odds) if self.book.over_customer_limit(m.brand, m.customer, winnings(odds, m.stake)) => {
                    self.reject(e, m, Code::CustomerLimit);
                }
                Ok(odds) => {
                    self.stake(&m, odds, 1);
                    self.accept(e, m, odds, None);
                }
                Err(code) => self.reject(e, m, code),
            }
            return;
        }
        let held = if over { 0 } else { more };
        self.customer(&m).open += held;
        let reserve = Reserve {
            hop: Hop { from: home, number: 0 },
            brand: m.brand,
            ticket: m.ticket,
            fixture: m.fixture,
            market: m.market,
            selection: m.selection,
            odds: m.odds,
            stake: m.stake,
            policy: m.policy,
            tolerance_permille: m.tolerance_permille,
            price_version: m.price_version,
            home_code,
        };
        self.owe(home, reserve);
        self.waiting.insert(key, Waiting { ticket: m, held });
    }

    fn reserve(&mut self, e: &Envelope, m: &Reserve) {
        let key = (m.brand, m.ticket);
        let Some(ticket) = self.waiting.get(&key).map(|waiting| waiting.ticket.clone()) else { return };
        let checked = owner_check(&self.book, e.at, &ticket, m.home_code);
        if let Ok(odds) = checked {
            self.stake(&ticket, odds, 1);
            self.held.insert(key, (ticket, odds));
        }
        let reserved = Reserved {
            hop: Hop { from: e.partition, number: 0 },
            brand: m.brand,
            ticket: m.ticket,
            code: checked.err().unwrap_or(Code::Accepted),
            odds: checked.unwrap_or(m.odds),
            checked_at: e.seq,
        };
        self.owe(e.partition, reserved);
    }

    fn reserved(&mut self, e: &Envelope, m: &Reserved) {
        let Some(Waiting { ticket, held }) = self.waiting.remove(&(m.brand, m.ticket)) else { return };
        let hop = Hop { from: e.partition, number: 0 };
        let (brand, id, fixture) = (m.brand, m.ticket, ticket.fixture);
        if m.code != Code::Accepted {
            self.customer(&ticket).open -= held;
            return self.reject(e, ticket, m.code);
        }
        let more = winnings(m.odds, ticket.stake) - held;
        let over = self.book.over_customer_limit(ticket.brand, ticket.customer, more);
        match barred(&self.book, &ticket).or(over.then_some(Code::CustomerLimit)) {
            None => {
                self.owe(e.partition, Confirm { hop, brand, ticket: id, fixture });
                self.accept(e, ticket, m.odds, Some(held));
            }
            Some(code) => {
                self.owe(e.partition, Rollback { hop, brand, ticket: id, fixture });
                self.customer(&ticket).open -= held;
                self.reject(e, ticket, code);
            }
        }
    }

    fn rollback(&mut self, m: &Rollback) {
        if let Some((ticket, odds)) = self.held.remove(&(m.brand, m.ticket)) {
            self.stake(&ticket, odds, -1);
        }
    }

    fn stake(&mut self, m: &SubmitTicket, odds: Odds, sign: i64) {
        if let Some(fixture) = self.book.fixtures.get_mut(&m.fixture) {
            fixture.stake(m.market, m.selection.into(), &Sums::of(odds, m.stake), sign);
        }
    }

    fn customer(&mut self, m: &SubmitTicket) -> &mut Account {
        self.book.accounts.get_mut(&(m.brand, m.customer)).expect("barred() found the account")
    }

    /// `held` is what a ticket across partitions held while it waited; `None` where it was decided at once.
    fn accept(&mut self, e: &Envelope, m: SubmitTicket, odds: Odds, held: Option<i64>) {
        self.customer(&m).open += winnings(odds, m.stake) - held.unwrap_or(0);
        let mark = self.book.fixtures.get(&m.fixture).and_then(|fixture| fixture.markets.get(&m.market));
        // Across partitions the price was checked at the Reserve, so a later mark is no breach.
        if held.is_none() && mark.is_some_and(|market| m.price_version.min(market.version) < market.mark.0) {
            self.report.breaches.push(format!(
                "frame {}: ticket {} accepted on a price from before a material change",
                e.seq, m.ticket
            ));
        }
        let key = (m.brand, m.ticket);
        if self.bets.contains_key(&key) {
            self.report.breaches.push(format!("frame {}: ticket {} executed twice", e.seq, m.ticket));
        }
        self.report.accepted += 1;
        self.report.staked_minor += m.stake.0;
        self.is_new(e.partition, m.fixture, key);
        self.bets.insert(key, Bet { ticket: m.clone(), odds, settled: None });
        let returned_minor = returned(odds, m.stake, Payoff::Won);
        self.rule(e, m, Code::Accepted, odds, returned_minor);
    }

    fn reject(&mut self, e: &Envelope, m: SubmitTicket, code: Code) {
        *self.report.rejected.entry(code).or_insert(0) += 1;
        let odds = m.odds;
        self.rule(e, m, code, odds, 0);
    }

    fn rule(&mut self, e: &Envelope, m: SubmitTicket, code: Code, odds: Odds, returned_minor: i64) {
        let ruling = Ruling {
            brand: m.brand,
            ticket: m.ticket,
            code,
            odds,
            stake: m.stake,
            returned_minor,
            decided: e.seq,
        };
        self.report.tickets += 1;
        self.rulings.push(ruling);
        self.decisions.insert((m.brand, m.ticket), (ruling, m));
    }

    /// Decisions made since this was last called, in order.
    pub fn take_rulings(&mut self) -> Vec<Ruling> {
        std::mem::take(&mut self.rulings)
    }

    /// A ticket's decision.
    pub fn decision(&self, brand: BrandId, ticket: TicketId) -> Option<&Ruling> {
        self.decisions.get(&(brand, ticket)).map(|(ruling, _)| ruling)
    }

    /// A customer's open liability, minor units.
    pub fn open_liability(&self, brand: BrandId, customer: CustomerId) -> Option<i64> {
        self.book.accounts.get(&(brand, customer)).map(|account| account.open)
    }

    /// A fixture's worst loss, minor units.
    pub fn fixture_worst(&self, fixture: FixtureId) -> Option<i64> {
        self.book.fixtures.get(&fixture).map(|fixture| fixture.worst_with(None))
    }

    /// Totals so far.
    pub fn report(&self) -> Report {
        let settled: Vec<&Bet> = self.bets.values().filter(|bet| bet.settled.is_some()).collect();
        let archived: Vec<&Bet> = self.archived.bets().collect();
        let again: i64 = settled
            .iter()
            .chain(&archived)
            .map(|bet| {
                bet.ticket.stake.0
                    - bet.settled.map_or(0, |payoff| returned(bet.odds, bet.ticket.stake, payoff))
            })
            .sum();
        let mut report = self.report.clone();
        if again != self.profit {
            report.breaches.push(format!("profit {} is not the sum over settled bets {again}", self.profit));
        }
        report.pending = self.waiting.len() as u64;
        report.chores = self.chores.len() as u64;
        report.settled_bets = (settled.len() + archived.len()) as u64;
        report.open_bets = (self.bets.len() - settled.len()) as u64;
        report.profit_minor = self.profit;
        report
    }
}

/// The message as it stands in the log: with its sender's number.
fn with_hop(mut body: Body, hop: Hop) -> Body {
    match &mut body {
        Body::Reserve(m) => m.hop = hop,
        Body::Reserved(m) => m.hop = hop,
        Body::Confirm(m) => m.hop = hop,
        Body::Rollback(m) => m.hop = hop,
        Body::Settled(m) => m.hop = hop,
        Body::Unsettled(m) => m.hop = hop,
        Body::Closed(m) => m.hop = hop,
        Body::Retire(m) => m.hop = hop,
        Body::Recall(m) => m.hop = hop,
        _ => {}
    }
    body
}

/// The rules leave the order of a list of results open.
fn sorted(mut body: Body) -> Body {
    match &mut body {
        Body::Settled(m) => m.results.0.sort_by_key(|result| (result.market, result.selection)),
        Body::Unsettled(m) => m.markets.0.sort_by_key(|entry| entry.market),
        _ => {}
    }
    body
}
