//! Settlements, rollbacks and leaves of fixtures with many bets: done in pieces, and as if they were done at once.

mod common;

use common::{BRAND, World};
use std::collections::{BTreeMap, BTreeSet};
use touchline_auditor::Auditor;
use touchline_core::chores::BETS_PER_PIECE;
use touchline_core::snapshot::Snapshot;
use touchline_core::{Audience, Batch, Engine, Input, Now, poison};
use touchline_protocol::*;

const FIXTURE: FixtureId = FixtureId(42);
const OTHER: FixtureId = FixtureId(43);
const WINNER: MarketKey = MarketKey::new(1, 0);
const BOTH_SCORE: MarketKey = MarketKey::new(29, 0);
const OPERATOR: OperatorId = OperatorId(1);
const PARTITIONS: u16 = 2;
const CUSTOMERS: u64 = 6;
const RETENTION_MS: u64 = 3_600_000;

fn settle(fixture: FixtureId, [home, away]: [u16; 2]) -> Body {
    SettleFixture { fixture, home, away, certainty: Certainty::Confirmed, operator: OPERATOR }.into()
}

fn roll_back(fixture: FixtureId, market: MarketKey) -> Body {
    RollbackSettlement { fixture, market, operator: OPERATOR, note: Text::default() }.into()
}

fn void(fixture: FixtureId, market: MarketKey) -> Body {
    VoidMarket { fixture, market, operator: OPERATOR, note: Text::default() }.into()
}

fn retain(retention_ms: u64) -> Body {
    SetRetention { retention_ms, operator: OPERATOR, note: Text::default() }.into()
}

/// A world with bets on a fixture, whose frames are written a few at a time.
struct Crowd {
    w: World,
    tickets: Vec<SubmitTicket>,
}

impl Crowd {
    fn new(bets: usize) -> Self {
        let mut w = World::of(PARTITIONS, 2);
        (1..=CUSTOMERS).for_each(|customer| w.account(CustomerId(customer)));
        let mut crowd = Crowd { w, tickets: Vec::new() };
        for fixture in [FIXTURE, OTHER] {
            crowd.w.open(fixture);
        }
        for n in 0..bets {
            let ticket = crowd.ticket(n as u64, FIXTURE, WINNER, (n % 3) as u8);
            assert_eq!(crowd.w.submit(&ticket).code, Code::Accepted);
        }
        crowd
    }

    fn ticket(
        &mut self,
        customer: u64,
        fixture: FixtureId,
        market: MarketKey,
        selection: u8,
    ) -> SubmitTicket {
        let customer = CustomerId(1 + customer % CUSTOMERS);
        let ticket = self.w.ticket(customer, fixture, market, selection);
        let ticket = SubmitTicket { stake: Stake(100), ..ticket };
        self.tickets.push(ticket.clone());
        ticket
    }

    fn offer(&mut self, body: impl Into<Body>) {
        let mut frame = Vec::new();
        frame::encode(&Envelope::session(9, Epoch(1), 5), &body.into(), &mut frame);
        let input = Input::Client { origin: 77, role: Role::Operator, frame };
        self.w.engine.sequencer.offer(input);
    }

    /// One step of the sequencer; the frames that it wrote.
    fn step(&mut self) -> Vec<Body> {
        for body in Vec::from_iter(self.w.engine.shards.iter_mut().flat_map(|shard| shard.offers())) {
            self.w.engine.sequencer.offer(Input::Internal(body));
        }
        let mut batch = Batch::default();
        self.w.engine.sequencer.step(self.w.now, 1, &mut batch, &mut Vec::new());
        for frame in batch.frames() {
            let body = frame.body().unwrap();
            self.w.engine.shards.iter_mut().for_each(|shard| shard.apply(&frame, &body, &mut self.w.effects));
        }
        self.w.log.bytes.extend_from_slice(&batch.bytes);
        self.w.log.count += batch.count;
        if batch.count > 0 {
            self.w.log.last = batch.last;
        }
        batch.frames().map(|frame| frame.body().unwrap()).collect()
    }

    /// Steps until a piece was done that was not the last.
    fn begin_work(&mut self) {
        while !self.step().iter().any(|body| body.kind() == Kind::Work) {}
        assert!(self.moving() > 0);
    }

    fn run(&mut self) {
        while !self.step().is_empty() {}
        assert_eq!(self.moving(), 0);
    }

    fn moving(&self) -> usize {
        let partitions = self.w.engine.shards.iter().flat_map(|shard| shard.partitions());
        partitions.map(|partition| partition.entities().moving).sum()
    }

    fn bets(&self) -> usize {
        let partitions = self.w.engine.shards.iter().flat_map(|shard| shard.partitions());
        partitions.map(|partition| partition.entities().bets).sum()
    }

    fn settled_bets(&self) -> usize {
        let result = |ticket: &SubmitTicket| {
            let home = self.w.engine.partition(ticket.ticket.home(PARTITIONS)).unwrap();
            home.bet_result(BRAND, ticket.ticket).flatten()
        };
        self.tickets.iter().filter(|ticket| result(ticket).is_some()).count()
    }

    fn pass(&mut self, ms: u64) {
        self.w.now.mono_ns += ms * 1_000_000;
        self.w.now.utc_ns += (ms * 1_000_000) as i64;
    }

    /// Lets a market of a fixture that was opened again take bets, at new prices.
    fn release(&mut self, fixture: FixtureId, market: MarketKey) {
        let (reason, note) = (Reason::RollbackEvent, Text::default);
        for market in [MarketKey::WHOLE_FIXTURE, market] {
            self.offer(Suspend { fixture, market, reason, on: false, operator: OPERATOR, note: note() });
        }
        let prices = List(vec![Price::decimal(2000); if market == WINNER { 3 } else { 2 }]);
        self.offer(SetPrices { fixture, market, operator: OPERATOR, basis: self.w.log.last, prices });
    }

    /// The audit of the whole log, its replay, and what a naive partition does that settles everything at once.
    fn check(&mut self) {
        let mut auditor = Auditor::new();
        for frame in self.w.log.frames() {
            auditor.frame(frame).unwrap_or_else(|error| panic!("{error}"));
        }
        let report = auditor.report();
        assert_eq!((report.breaches.clone(), report.chores), (Vec::new(), 0));
        assert_eq!(report.profit_minor, self.w.engine.profit_minor());
        let wanted = self.w.engine.fingerprint().expect("nothing changed unrecorded");
        let mut again = Engine::new(9, PARTITIONS, 1);
        self.w.log.frames().for_each(|frame| again.replay(&frame, &frame.body().unwrap(), &mut Vec::new()));
        assert_eq!(again.fingerprint(), Ok(wanted));
        self.check_naively();
    }

    fn check_naively(&self) {
        let naive = Naive::of(&self.w);
        let mut told = BTreeMap::<TicketId, Vec<(Payoff, bool, Money)>>::new();
        for effect in &self.w.effects {
            if let Body::BetSettled(m) = &effect.body {
                told.entry(m.ticket).or_default().push((m.payoff, m.reopened, m.returned_minor));
            }
        }
        assert_eq!(told, naive.told);
        assert_eq!(self.w.engine.profit_minor(), naive.profit);
        let mut open = BTreeMap::<CustomerId, i64>::new();
        for (ticket, bet) in &naive.bets {
            let home = self.w.engine.partition(ticket.home(PARTITIONS)).unwrap();
            assert_eq!(home.bet_result(BRAND, *ticket), (!bet.left).then_some(bet.settled));
            let lost =
                if bet.settled.is_none() { bet.odds.returned_won(bet.ticket.stake).0 - 100 } else { 0 };
            *open.entry(bet.ticket.customer).or_default() += lost;
        }
        for (customer, open) in open {
            let home = self.w.engine.partition(customer.partition(BRAND, PARTITIONS)).unwrap();
            assert_eq!(home.account_of(BRAND, customer).unwrap().0.open_liability_minor, open);
        }
    }
}

struct NaiveBet {
    ticket: SubmitTicket,
    odds: Odds,
    settled: Option<Payoff>,
    left: bool,
}

/// What comes out where every message is done with in its frame.
#[derive(Default)]
struct Naive {
    bets: BTreeMap<TicketId, NaiveBet>,
    told: BTreeMap<TicketId, Vec<(Payoff, bool, Money)>>,
    profit: i64,
}

impl Naive {
    fn of(w: &World) -> Self {
        let mut accepted = BTreeMap::new();
        let mut left = BTreeSet::new();
        for effect in &w.effects {
            match &effect.body {
                Body::Decision(m) if effect.to == Audience::Events && m.code == Code::Accepted => {
                    accepted.entry(effect.seq).or_insert_with(Vec::new).push(m.clone());
                }
                Body::BetArchived(m) => drop(left.insert(m.bet.ticket)),
                _ => {}
            }
        }
        let mut naive = Naive::default();
        let mut tickets = BTreeMap::new();
        for frame in w.log.frames() {
            match frame.body().unwrap() {
                Body::SubmitTicket(m) => drop(tickets.insert(m.ticket, m)),
                Body::Settled(m) => naive.settle(&m),
                Body::Unsettled(m) => naive.unsettle(&m),
                _ => {}
            }
            for decision in accepted.remove(&frame.seq()).unwrap_or_default() {
                let (ticket, odds) = (tickets[&decision.ticket].clone(), decision.odds);
                let bet = NaiveBet { ticket, odds, settled: None, left: left.contains(&decision.ticket) };
                naive.bets.insert(decision.ticket, bet);
            }
        }
        naive
    }

    fn settle(&mut self, m: &Settled) {
        for (id, bet) in self.bets.iter_mut().filter(|(_, bet)| bet.ticket.fixture == m.fixture) {
            let place = (bet.ticket.market, bet.ticket.selection);
            let result = m.results.iter().find(|result| (result.market, result.selection) == place);
            let Some(result) = result.filter(|_| bet.settled.is_none()) else { continue };
            let returned = returned(bet, result.payoff);
            bet.settled = Some(result.payoff);
            self.profit += bet.ticket.stake.0 - returned;
            self.told.entry(*id).or_default().push((result.payoff, false, Money(returned)));
        }
    }

    fn unsettle(&mut self, m: &Unsettled) {
        for (id, bet) in self.bets.iter_mut().filter(|(_, bet)| bet.ticket.fixture == m.fixture) {
            if !m.markets.iter().any(|entry| entry.market == bet.ticket.market) {
                continue;
            }
            let Some(payoff) = bet.settled.take() else { continue };
            let returned = returned(bet, payoff);
            self.profit -= bet.ticket.stake.0 - returned;
            self.told.entry(*id).or_default().push((payoff, true, Money(returned)));
        }
    }
}

fn returned(bet: &NaiveBet, payoff: Payoff) -> i64 {
    match payoff {
        Payoff::Won => bet.odds.returned_won(bet.ticket.stake).0,
        Payoff::Void => bet.ticket.stake.0,
        Payoff::Lost => 0,
        Payoff::HalfWon | Payoff::HalfLost => unreachable!("no such market here"),
    }
}

#[test]
fn a_ticket_is_decided_while_a_popular_match_is_settled() {
    let mut crowd = Crowd::new(400);
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.begin_work();
    let before = crowd.settled_bets();
    assert!(before < 200, "{before}");
    let ticket = crowd.ticket(0, OTHER, WINNER, 0);
    crowd.offer(ticket.clone());
    crowd.step();
    crowd.step();
    crowd.step();
    let home = crowd.w.engine.partition(ticket.ticket.home(PARTITIONS)).unwrap();
    assert_eq!(home.decision(BRAND, ticket.ticket).map(|decision| decision.code), Some(Code::Accepted));
    assert!(crowd.settled_bets() < 400);
    crowd.run();
    assert_eq!(crowd.settled_bets(), 400);
    let mut of_frame = BTreeMap::<(Seq, PartitionId), usize>::new();
    for effect in crowd.w.effects.iter().filter(|effect| matches!(effect.body, Body::BetSettled(_))) {
        *of_frame.entry((effect.seq, effect.partition)).or_default() += 1;
    }
    assert_eq!(of_frame.values().max(), Some(&BETS_PER_PIECE));
    crowd.check();
}

#[test]
fn a_rollback_follows_the_settlement_that_it_takes_back() {
    let mut crowd = Crowd::new(200);
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.begin_work();
    crowd.offer(roll_back(FIXTURE, MarketKey::WHOLE_FIXTURE));
    crowd.step();
    crowd.offer(settle(FIXTURE, [0, 0]));
    crowd.step();
    crowd.offer(roll_back(FIXTURE, WINNER));
    crowd.run();
    assert_eq!((crowd.settled_bets(), crowd.w.engine.profit_minor()), (0, 0));
    let told = crowd.w.effects.iter().filter(|effect| matches!(effect.body, Body::BetSettled(_))).count();
    assert_eq!(told, 4 * 200);
    crowd.check();
}

#[test]
fn a_bet_on_a_market_that_is_open_again_is_not_settled_by_what_came_before_it() {
    let mut crowd = Crowd::new(200);
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.begin_work();
    crowd.offer(roll_back(FIXTURE, MarketKey::WHOLE_FIXTURE));
    crowd.step();
    crowd.release(FIXTURE, WINNER);
    crowd.step();
    assert!(crowd.moving() > 0, "it is still being settled");
    for customer in 0..CUSTOMERS {
        let ticket = crowd.ticket(customer, FIXTURE, WINNER, 0);
        crowd.offer(ticket);
    }
    crowd.run();
    for ticket in &crowd.tickets[200..] {
        let home = crowd.w.engine.partition(ticket.ticket.home(PARTITIONS)).unwrap();
        assert_eq!(home.bet_result(BRAND, ticket.ticket), Some(None), "accepted, and open");
        let told = |body: &Body| matches!(body, Body::BetSettled(m) if m.ticket == ticket.ticket);
        assert!(!crowd.w.effects.iter().any(|effect| told(&effect.body)));
    }
    crowd.check();
}

#[test]
fn a_fixture_leaves_when_what_is_under_way_is_done() {
    let mut crowd = Crowd::new(200);
    crowd.w.send(retain(1));
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.begin_work();
    crowd.pass(10);
    crowd.step();
    assert!(crowd.settled_bets() < 200, "its retention ended while it was being settled");
    crowd.run();
    assert_eq!(crowd.bets(), 0);
    let archived = crowd.w.effects.iter().filter(|effect| matches!(effect.body, Body::BetArchived(_)));
    assert_eq!(archived.count(), 200);
    crowd.check();
}

#[test]
fn a_bet_comes_back_while_the_rest_of_its_fixture_leaves() {
    let mut crowd = Crowd::new(200);
    crowd.w.send(retain(RETENTION_MS));
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.run();
    crowd.pass(RETENTION_MS);
    crowd.run();
    assert_eq!(crowd.bets(), 0);
    // All of them come back, the match is settled again, and leaves again.
    let archived = |crowd: &Crowd| {
        let bets = crowd.w.effects.iter().filter_map(|effect| match &effect.body {
            Body::BetArchived(m) => Some(m.clone()),
            _ => None,
        });
        Vec::from_iter(bets)
    };
    let records = archived(&crowd);
    for bet in &records {
        let reopen = common::reopening(crowd.w.effects.iter(), bet).expect("the fixture left");
        crowd.w.send(reopen);
    }
    assert_eq!(crowd.bets(), 200);
    crowd.offer(settle(FIXTURE, [2, 2]));
    crowd.run();
    crowd.pass(RETENTION_MS);
    while archived(&crowd).len() == records.len() {
        crowd.step();
    }
    // The first of them again, while the others are leaving: its fixture's last record brings it.
    let first = archived(&crowd)[records.len()].clone();
    let reopen = common::reopening(crowd.w.effects.iter(), &first).expect("the fixture left");
    crowd.offer(reopen);
    crowd.step();
    assert!(crowd.bets() > 1, "the others are still leaving");
    crowd.run();
    assert_eq!(crowd.bets(), 1);
    crowd.offer(settle(FIXTURE, [2, 2]));
    crowd.run();
    let mut auditor = Auditor::new();
    crowd.w.log.frames().for_each(|frame| auditor.frame(frame).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(auditor.report().breaches, Vec::<String>::new());
    assert_eq!(auditor.report().profit_minor, crowd.w.engine.profit_minor());
}

#[test]
fn a_state_saved_in_the_middle_goes_on_as_the_one_that_was_saved() {
    let mut crowd = Crowd::new(300);
    crowd.w.send(retain(1));
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.begin_work();
    crowd.offer(roll_back(FIXTURE, WINNER));
    crowd.step();
    crowd.release(FIXTURE, WINNER);
    crowd.step();
    let ticket = crowd.ticket(0, FIXTURE, WINNER, 0);
    crowd.offer(ticket);
    crowd.step();
    assert!(crowd.moving() > 0);
    let bytes = Snapshot::of(&mut crowd.w.engine).unwrap().to_bytes();
    let written = [1, 2].map(|shards| {
        let mut read = Snapshot::read(&bytes).unwrap().engine(shards).unwrap();
        assert_eq!(Snapshot::of(&mut read).unwrap().to_bytes(), bytes, "equal states, equal bytes");
        let now = Now { mono_ns: crowd.w.now.mono_ns, utc_ns: crowd.w.now.utc_ns + 1 };
        let mut log = Batch::default();
        let epoch = NewEpoch { cause: EpochCause::Promote, node: 1, boot: 2 };
        read.open_epoch(now, epoch, &mut log, &mut Vec::new());
        assert!(log.frames().any(|frame| frame.kind() == Kind::Work as u16));
        log.bytes
    });
    let mut log = Batch::default();
    let now = Now { utc_ns: crowd.w.now.utc_ns + 1, ..crowd.w.now };
    crowd.w.engine.sequencer.forget_waiting();
    let epoch = NewEpoch { cause: EpochCause::Promote, node: 1, boot: 2 };
    crowd.w.engine.open_epoch(now, epoch, &mut log, &mut crowd.w.effects);
    assert!(written.iter().all(|bytes| *bytes == log.bytes));
    crowd.w.log.bytes.extend_from_slice(&log.bytes);
    assert_eq!(crowd.moving(), 0);
    crowd.check();
}

#[test]
fn a_piece_that_is_asked_for_twice_is_done_once() {
    let mut crowd = Crowd::new(200);
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.begin_work();
    for _ in 0..20 {
        crowd.w.engine.shards.iter_mut().for_each(|shard| shard.offer_again());
        crowd.step();
    }
    crowd.run();
    assert_eq!(crowd.settled_bets(), 200);
    let told = crowd.w.effects.iter().filter(|effect| matches!(effect.body, Body::BetSettled(_))).count();
    assert_eq!(told, 200);
    crowd.check();
}

#[test]
fn a_defect_in_a_piece_leaves_its_bets_and_the_rest_goes_on() {
    let mut crowd = Crowd::new(400);
    let is_poison: fn(&Body) -> bool = |body| matches!(body, Body::Work(m) if m.piece == 3);
    poison::set(Some(is_poison));
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.run();
    // In each of the two partitions a piece in the middle.
    assert_eq!(crowd.settled_bets(), 400 - 2 * BETS_PER_PIECE);
    let alarms = crowd.w.effects.iter().filter(|effect| matches!(effect.body, Body::Alarm(_)));
    assert_eq!(alarms.count(), 2);
    let mut auditor = Auditor::with_defects(Some(is_poison));
    crowd.w.log.frames().for_each(|frame| auditor.frame(frame).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(auditor.report().settled_bets, crowd.settled_bets() as u64);
    assert_eq!(auditor.report().profit_minor, crowd.w.engine.profit_minor());
    // The bets that stayed are settled once it is done again.
    poison::set(None);
    crowd.offer(roll_back(FIXTURE, MarketKey::WHOLE_FIXTURE));
    crowd.run();
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.run();
    assert_eq!(crowd.settled_bets(), 400);
}

#[test]
fn a_defect_where_a_settlement_comes_costs_no_bet_its_result() {
    let mut crowd = Crowd::new(100);
    let is_poison: fn(&Body) -> bool = |body| body.kind() == Kind::Settled;
    poison::set(Some(is_poison));
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.run();
    poison::set(None);
    assert_eq!(crowd.settled_bets(), 100);
    let mut auditor = Auditor::with_defects(Some(is_poison));
    crowd.w.log.frames().for_each(|frame| auditor.frame(frame).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!((auditor.report().settled_bets, auditor.report().chores), (100, 0));
}

#[test]
fn a_defect_while_bets_leave_passes_the_round_on() {
    let mut crowd = Crowd::new(400);
    crowd.w.send(retain(RETENTION_MS));
    crowd.offer(settle(FIXTURE, [1, 0]));
    crowd.run();
    let is_poison: fn(&Body) -> bool = |body| matches!(body, Body::Work(m) if m.piece == 3);
    poison::set(Some(is_poison));
    crowd.pass(RETENTION_MS);
    crowd.run();
    poison::set(None);
    let owner = crowd.w.engine.partition(FIXTURE.partition(PARTITIONS)).unwrap();
    assert!(owner.fixture_state(FIXTURE).is_some(), "its own partition failed, too: it stays");
    assert_eq!(crowd.bets(), 400 - 2 * 3 * BETS_PER_PIECE);
    let mut auditor = Auditor::with_defects(Some(is_poison));
    crowd.w.log.frames().for_each(|frame| auditor.frame(frame).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(auditor.report().chores, 0);
}

#[test]
fn pieces_come_to_what_the_whole_would() {
    let cases: u64 = option_env!("TOUCHLINE_CASES").map_or(40, |cases| cases.parse().expect("a number"));
    let mut pieces = 0;
    for seed in 0..cases {
        // A generator of fixed numbers; any would do.
        let mut state = seed;
        let mut below = move |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut crowd = Crowd::new(40 + below(100) as usize);
        if below(2) == 0 {
            crowd.w.send(retain(RETENTION_MS));
        }
        for _ in 0..60 {
            let market = [WINNER, BOTH_SCORE, MarketKey::WHOLE_FIXTURE][below(3) as usize];
            match below(10) {
                0 | 1 => crowd.offer(settle(FIXTURE, [below(3) as u16, below(3) as u16])),
                2 => crowd.offer(void(FIXTURE, market)),
                3 | 4 => crowd.offer(roll_back(FIXTURE, market)),
                5 => [WINNER, BOTH_SCORE].into_iter().for_each(|market| crowd.release(FIXTURE, market)),
                6 if below(4) == 0 => crowd.pass(RETENTION_MS),
                _ => {
                    let market = if below(4) == 0 { BOTH_SCORE } else { WINNER };
                    for _ in 0..below(20) {
                        let ticket = crowd.ticket(below(CUSTOMERS), FIXTURE, market, below(2) as u8);
                        crowd.offer(ticket);
                    }
                }
            }
            for _ in 0..below(6) {
                pieces += crowd.step().iter().filter(|body| body.kind() == Kind::Work).count();
            }
        }
        crowd.run();
        crowd.check();
    }
    assert!(pieces > 20 * cases as usize, "{pieces}");
}
