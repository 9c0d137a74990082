//! A match from opening to settlement through the whole core, and the same log on other numbers of shards.

use touchline_core::{Audience, Batch, Effect, Engine, Input, Now};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const BRAND: BrandId = BrandId(1);
const START_NS: i64 = 1_800_000_000_000_000_000;

struct World {
    engine: Engine,
    log: Batch,
    effects: Vec<Effect>,
    now: Now,
    tickets: u64,
}

fn genesis() -> Genesis {
    Genesis {
        mode: ClusterMode::Standalone,
        logic_version: 1,
        partitions: 64,
        fingerprint_key: 7,
        result_window_ms: 86_400_000,
        future_skew_ms: 60_000,
        pending_max: 1000,
        results_max: 100_000,
        accounts_max: 1000,
        fixtures_max: 100,
        markets_max: 200,
    }
}

fn rules() -> Configure {
    let material = |event| MaterialRule { sport: Sport::Football, event, market: 0 };
    Configure {
        operator: OperatorId(1),
        min_stake_minor: 100,
        max_stake_minor: 100_000,
        max_payout_minor: 1_000_000,
        max_odds_milli: 500_000,
        football_margin_ppm: 50_000,
        tennis_margin_ppm: 50_000,
        customer_limit_minor: 200_000,
        selection_limit_pre_minor: 300_000,
        selection_limit_live_minor: 300_000,
        market_limit_pre_minor: 400_000,
        market_limit_live_minor: 400_000,
        fixture_limit_pre_minor: 500_000,
        fixture_limit_live_minor: 500_000,
        brands: List(vec![BrandRule { brand: BRAND, currency: Currency(*b"EUR") }]),
        material: List(vec![material(Event::Goal), material(Event::RedCard)]),
    }
}

impl World {
    fn new(shards: usize) -> Self {
        let now = Now { mono_ns: 0, utc_ns: START_NS };
        let mut world = World {
            engine: Engine::new(9, 64, shards),
            log: Batch::default(),
            effects: Vec::new(),
            now,
            tickets: 0,
        };
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        world.engine.begin(now, genesis(), epoch, &mut world.log, &mut world.effects);
        world.send(rules());
        world
    }

    fn send(&mut self, body: impl Into<Body>) {
        self.now.mono_ns += 1_000_000;
        self.now.utc_ns += 1_000_000;
        let mut frame = Vec::new();
        encode(&Envelope::session(9, Epoch(1), 5), &body.into(), &mut frame);
        self.engine.input(self.now, Input::Client { origin: 77, frame }, &mut self.log, &mut self.effects);
    }

    /// A football fixture with prices and a customer whose account is open.
    fn open(&mut self, fixture: FixtureId) {
        self.send(SourceFresh { source: SourceId(1), alive_until: At(START_NS + 60_000_000_000) });
        self.send(OpenFixture {
            fixture,
            sport: Sport::Football,
            competition: CompetitionId(1),
            tier: 1,
            source: SourceId(1),
            start_at: At(START_NS),
            margin_ppm: 0,
            best_of: 0,
            home: Text::cut("Home"),
            away: Text::cut("Away"),
        });
        let markets = [(1, 0), (18, 10), (29, 0), (45, 0), (16, -1)];
        let spec = |(kind, line)| MarketSpec { market: MarketKey::new(kind, line), selections: 0 };
        self.send(OpenMarkets { fixture, markets: List(markets.map(spec).to_vec()) });
        self.send(SetReference {
            fixture,
            home_milli: 2350,
            draw_milli: 3520,
            away_milli: 3160,
            total_line: 10,
            over_milli: 1860,
            under_milli: 1950,
        });
    }

    fn account(&mut self, customer: CustomerId) {
        let currency = Currency(*b"EUR");
        self.send(OpenAccount { brand: BRAND, customer, currency, factor_permille: 1000 });
    }

    fn price(&self, fixture: FixtureId, market: MarketKey) -> (Vec<u32>, Seq) {
        let latest = self.effects.iter().rev().find_map(|effect| match &effect.body {
            Body::MarketOdds(m) if m.fixture == fixture && m.market == market => Some(m),
            _ => None,
        });
        let latest = latest.expect("the market was published");
        (latest.prices.iter().map(|price| price.milli).collect(), latest.version)
    }

    fn ticket(
        &mut self,
        customer: CustomerId,
        fixture: FixtureId,
        market: MarketKey,
        selection: u8,
    ) -> SubmitTicket {
        let (prices, version) = self.price(fixture, market);
        self.tickets += 1;
        let issued_ms = (self.now.utc_ns / 1_000_000) as u64;
        SubmitTicket {
            brand: BRAND,
            ticket: TicketId::new(issued_ms, BRAND, customer, self.tickets),
            customer,
            currency: Currency(*b"EUR"),
            channel: 1,
            fixture,
            market,
            selection,
            odds: Odds::decimal(prices[usize::from(selection)].max(Odds::MIN_MILLI)),
            stake: Stake(1000),
            policy: OddsPolicy::Exact,
            tolerance_permille: 0,
            price_version: version,
        }
    }

    /// Submits a ticket and returns its answer.
    fn submit(&mut self, ticket: &SubmitTicket) -> Decision {
        let before = self.effects.len();
        self.send(ticket.clone());
        let mut answers =
            self.effects[before..].iter().filter_map(|effect| match (&effect.to, &effect.body) {
                (Audience::Asker { .. }, Body::Decision(m)) => Some(m.clone()),
                _ => None,
            });
        let answer = answers.next().expect("every ticket is answered");
        assert_eq!(answers.next(), None, "and only once");
        answer
    }

    fn incident(
        &mut self,
        fixture: FixtureId,
        source_seq: u64,
        event: Event,
        period: Period,
        score: [u16; 2],
    ) {
        let board =
            Scoreboard { period, clock_ms: source_seq as u32 * 60_000, score, ..Scoreboard::default() };
        self.send(Incident { fixture, source: SourceId(1), source_seq, event, side: Side::Home, board });
    }
}

/// A customer whose home is the fixture's partition, and one whose home is not.
fn customers(fixture: FixtureId) -> [CustomerId; 2] {
    let owner = fixture.partition(64);
    let is_home = |customer: &CustomerId| customer.partition(BRAND, 64) == owner;
    let ids = || (1..).map(CustomerId);
    [ids().find(is_home).unwrap(), ids().find(|customer| !is_home(customer)).unwrap()]
}

const FIXTURE: FixtureId = FixtureId(42);
const WINNER: MarketKey = MarketKey::new(1, 0);

fn play(shards: usize) -> World {
    let mut w = World::new(shards);
    w.open(FIXTURE);
    for customer in customers(FIXTURE) {
        w.account(customer);
    }
    for customer in customers(FIXTURE) {
        let first = w.ticket(customer, FIXTURE, WINNER, 0);
        let answer = w.submit(&first);
        assert_eq!(answer.code, Code::Accepted);
        assert_eq!(w.submit(&first), answer, "a retry gets the same answer");
        let other = SubmitTicket { stake: Stake(2000), ..first };
        assert_eq!(w.submit(&other).code, Code::DuplicateConflict);
    }
    w.incident(FIXTURE, 1, Event::PeriodStart, Period::First, [0, 0]);
    for (place, customer) in customers(FIXTURE).into_iter().enumerate() {
        let stale = w.ticket(customer, FIXTURE, WINNER, 2);
        let goals = place as u16 + 1;
        w.incident(FIXTURE, 2 + place as u64, Event::Goal, Period::First, [goals, 0]);
        assert_eq!(w.submit(&stale).code, Code::ScoreChanged);
        let fresh = w.ticket(customer, FIXTURE, WINNER, 2);
        assert_eq!(w.submit(&fresh).code, Code::Accepted, "a new publication follows the goal");
    }
    w.incident(FIXTURE, 9, Event::MatchEnd, Period::Ended, [2, 0]);
    let late = w.ticket(customers(FIXTURE)[0], FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&late).code, Code::FixtureClosed);
    w.send(SettleFixture {
        fixture: FIXTURE,
        home: 2,
        away: 0,
        certainty: Certainty::Confirmed,
        operator: OperatorId(1),
    });
    w
}

#[test]
fn a_match_is_priced_bet_on_and_settled() {
    let w = play(1);
    let settled: Vec<_> = w
        .effects
        .iter()
        .filter_map(|effect| match &effect.body {
            Body::BetSettled(m) => Some((m.payoff, m.stake.0 - m.returned_minor.0)),
            _ => None,
        })
        .collect();
    assert_eq!(settled.len(), 4);
    assert_eq!(settled.iter().filter(|(payoff, _)| *payoff == Payoff::Won).count(), 2, "home bets won");
    assert_eq!(w.engine.profit_minor(), settled.iter().map(|(_, profit)| profit).sum::<i64>());
}

#[test]
fn placement_and_shards_never_change_a_decision() {
    let mut reference = play(1);
    let wanted = reference.engine.fingerprint().unwrap();
    for shards in [1, 2, 4] {
        let mut replayed = Engine::new(9, 64, shards);
        let mut effects = Vec::new();
        for frame in reference.log.frames() {
            replayed.replay(&frame, &frame.body().unwrap(), &mut effects);
        }
        assert_eq!(replayed.fingerprint(), Ok(wanted), "{shards} shards");
        assert_eq!(replayed.profit_minor(), reference.engine.profit_minor());
        assert_eq!(effects.len(), reference.effects.len());
    }
}

#[test]
fn a_silent_source_suspends_and_its_return_needs_new_prices() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let old = w.ticket(customer, FIXTURE, WINNER, 0);
    w.now.mono_ns += 61_000_000_000;
    w.now.utc_ns += 61_000_000_000;
    assert_eq!(w.submit(&old).code, Code::MarketSuspended, "the timer fired before the ticket");
    w.send(SourceFresh { source: SourceId(1), alive_until: At(w.now.utc_ns + 60_000_000_000) });
    let again = SubmitTicket { ticket: TicketId(old.ticket.0 + 1), ..old };
    assert_eq!(w.submit(&again).code, Code::MaterialChange);
    let fresh = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&fresh).code, Code::Accepted);
}

#[test]
fn limits_hold_and_reducing_bets_pass() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let limit = |value_minor| SetLimit {
        scope: LimitScope::Fixture,
        stage: Stage::PreMatch,
        brand: BrandId(0),
        customer: CustomerId(0),
        fixture: FIXTURE,
        market: MarketKey::WHOLE_FIXTURE,
        selection: 255,
        value_minor,
        operator: OperatorId(3),
        note: Text::cut("test"),
    };
    let home = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&home).code, Code::Accepted);
    w.send(limit(100));
    let more = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&more).code, Code::FixtureLimit);
    let mut reducing = w.ticket(customer, FIXTURE, WINNER, 2);
    reducing.stake = Stake(300);
    assert_eq!(
        w.submit(&reducing).code,
        Code::Accepted,
        "the worst case shrinks although it is over the limit"
    );
    w.send(limit(0));
    let mut at_zero = w.ticket(customer, FIXTURE, WINNER, 2);
    at_zero.stake = Stake(100);
    assert_eq!(w.submit(&at_zero).code, Code::FixtureLimit);
}

#[test]
fn a_settlement_can_be_taken_back() {
    let mut w = play(2);
    let profit = w.engine.profit_minor();
    let note = Text::cut("wrong score");
    w.send(RollbackSettlement {
        fixture: FIXTURE,
        market: MarketKey::WHOLE_FIXTURE,
        operator: OperatorId(1),
        note,
    });
    assert_eq!(w.engine.profit_minor(), 0);
    w.send(SettleFixture {
        fixture: FIXTURE,
        home: 2,
        away: 0,
        certainty: Certainty::Confirmed,
        operator: OperatorId(1),
    });
    assert_eq!(w.engine.profit_minor(), profit);
}
