//! A whole core with a clock that the test moves.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use touchline_core::{Audience, Batch, Effect, Engine, Input, Now};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

pub const BRAND: BrandId = BrandId(1);
pub const START_NS: i64 = 1_800_000_000_000_000_000;

pub struct World {
    pub engine: Engine,
    pub log: Batch,
    pub effects: Vec<Effect>,
    pub now: Now,
    pub tickets: u64,
}

pub fn genesis() -> Genesis {
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

pub fn rules() -> Configure {
    let material = |sport, event| MaterialRule { sport, event, market: 0 };
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
        source_horizon_ms: 90_000,
        brands: List(vec![BrandRule { brand: BRAND, currency: Currency(*b"EUR") }]),
        material: List(vec![
            material(Sport::Football, Event::Goal),
            material(Sport::Football, Event::RedCard),
            material(Sport::Tennis, Event::Point),
        ]),
    }
}

impl World {
    pub fn new(shards: usize) -> Self {
        Self::of(64, shards)
    }

    /// With few partitions each has many bets.
    pub fn of(partitions: u16, shards: usize) -> Self {
        let now = Now { mono_ns: 0, utc_ns: START_NS };
        let mut world = World {
            engine: Engine::new(9, partitions, shards),
            log: Batch::default(),
            effects: Vec::new(),
            now,
            tickets: 0,
        };
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        let genesis = Genesis { partitions, ..genesis() };
        world.engine.begin(now, genesis, epoch, &mut world.log, &mut world.effects);
        world.send(rules());
        world
    }

    pub fn send(&mut self, body: impl Into<Body>) {
        self.now.mono_ns += 1_000_000;
        self.now.utc_ns += 1_000_000;
        let mut frame = Vec::new();
        encode(&Envelope::session(9, Epoch(1), 5), &body.into(), &mut frame);
        self.engine.input(
            self.now,
            Input::Client { origin: 77, role: Role::Operator, frame },
            &mut self.log,
            &mut self.effects,
        );
    }

    /// Opens a football fixture with prices and a customer whose account is open.
    pub fn open(&mut self, fixture: FixtureId) {
        self.open_with(fixture, Sport::Football, &[(1, 0), (18, 10), (29, 0), (45, 0), (16, -1)]);
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

    /// Opens a fixture and its markets, kind and line, without prices.
    pub fn open_with(&mut self, fixture: FixtureId, sport: Sport, markets: &[(u16, i32)]) {
        self.send(SourceFresh { source: SourceId(1), alive_until: At(START_NS + 60_000_000_000) });
        self.send(OpenFixture {
            fixture,
            sport,
            competition: CompetitionId(1),
            tier: 1,
            source: SourceId(1),
            start_at: At(START_NS),
            margin_ppm: 0,
            best_of: if sport == Sport::Tennis { 3 } else { 0 },
            home: Text::cut("Home"),
            away: Text::cut("Away"),
        });
        let spec =
            |(kind, line): &(u16, i32)| MarketSpec { market: MarketKey::new(*kind, *line), selections: 0 };
        self.send(OpenMarkets { fixture, markets: List(markets.iter().map(spec).collect()) });
    }

    pub fn account(&mut self, customer: CustomerId) {
        let currency = Currency(*b"EUR");
        self.send(OpenAccount { brand: BRAND, customer, currency, factor_permille: 1000 });
    }

    pub fn price(&self, fixture: FixtureId, market: MarketKey) -> (Vec<u32>, Seq) {
        let latest = self.effects.iter().rev().find_map(|effect| match &effect.body {
            Body::MarketOdds(m) if m.fixture == fixture && m.market == market => Some(m),
            _ => None,
        });
        let latest = latest.expect("the market was published");
        (latest.prices.iter().map(|price| price.milli).collect(), latest.version)
    }

    pub fn ticket(
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
    pub fn submit(&mut self, ticket: &SubmitTicket) -> Decision {
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

    pub fn incident(
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

/// A record of an archived bet, and the last one of its fixture, as one command.
pub fn reopening<'e>(
    effects: impl DoubleEndedIterator<Item = &'e Effect>,
    bet: &BetArchived,
) -> Option<Reopen> {
    let fixture = effects.rev().find_map(|effect| match &effect.body {
        Body::FixtureArchived(m) if m.record.fixture == bet.bet.fixture => Some(m.clone()),
        _ => None,
    })?;
    Some(Reopen {
        bet: bet.bet.clone(),
        record: fixture.record,
        operator: OperatorId(1),
        home: fixture.home,
        away: fixture.away,
        markets: fixture.markets,
        note: Text::default(),
    })
}

/// A customer whose home is the fixture's partition, and one whose home is not.
pub fn customers(fixture: FixtureId) -> [CustomerId; 2] {
    let owner = fixture.partition(64);
    let is_home = |customer: &CustomerId| customer.partition(BRAND, 64) == owner;
    let ids = || (1..).map(CustomerId);
    [ids().find(is_home).unwrap(), ids().find(|customer| !is_home(customer)).unwrap()]
}
