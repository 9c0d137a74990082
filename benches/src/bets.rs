//! A core with one match and two customers: one at home in the match's partition, one elsewhere.

use touchline_core::{Batch, Effect, Engine, Input, Now};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const BRAND: BrandId = BrandId(1);
const FIXTURE: FixtureId = FixtureId(42);

/// The core and the next ticket's number.
pub(crate) struct Day {
    engine: Engine,
    now: Now,
    log: Batch,
    effects: Vec<Effect>,
    tickets: u64,
    /// Near and far customer.
    customers: [CustomerId; 2],
}

impl Day {
    pub(crate) fn new() -> Self {
        let owner = FIXTURE.partition(64);
        let at_home = |customer: &CustomerId| customer.partition(BRAND, 64) == owner;
        let ids = || (1..).map(CustomerId);
        let customers = [ids().find(at_home), ids().find(|id| !at_home(id))].map(Option::unwrap_or_default);
        let now = Now { mono_ns: 0, utc_ns: 1_800_000_000_000_000_000 };
        let mut day = Day {
            engine: Engine::new(1, 64, 1),
            now,
            log: Batch::default(),
            effects: Vec::new(),
            tickets: 0,
            customers,
        };
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        day.engine.begin(now, genesis(), epoch, &mut day.log, &mut day.effects);
        day.send(rules());
        for customer in customers {
            let currency = Currency(*b"EUR");
            day.send(OpenAccount { brand: BRAND, customer, currency, factor_permille: 1000 });
        }
        day.send(OpenFixture {
            fixture: FIXTURE,
            sport: Sport::Football,
            competition: CompetitionId(1),
            tier: 1,
            source: SourceId(0),
            start_at: At(now.utc_ns),
            margin_ppm: 0,
            best_of: 0,
            home: Text::cut("Home"),
            away: Text::cut("Away"),
        });
        let markets = List(vec![MarketSpec { market: MarketKey::new(1, 0), selections: 0 }]);
        day.send(OpenMarkets { fixture: FIXTURE, markets });
        day.send(SetIntensities { fixture: FIXTURE, home_nano: 1_500_000_000, away_nano: 1_100_000_000 });
        day
    }

    /// One accepted bet, far from the match's partition or near.
    pub(crate) fn bet(&mut self, far: bool) {
        self.tickets += 1;
        let customer = self.customers[usize::from(far)];
        let issued_ms = (self.now.utc_ns / 1_000_000) as u64;
        self.send(SubmitTicket {
            brand: BRAND,
            ticket: TicketId::new(issued_ms, BRAND, customer, self.tickets),
            customer,
            currency: Currency(*b"EUR"),
            channel: 1,
            fixture: FIXTURE,
            market: MarketKey::new(1, 0),
            selection: (self.tickets % 3) as u8,
            odds: Odds::decimal(1500),
            stake: Stake(100),
            policy: OddsPolicy::Any,
            tolerance_permille: 0,
            price_version: self.engine.sequencer.last(),
        });
        let accepted = self
            .effects
            .iter()
            .any(|effect| matches!(&effect.body, Body::Decision(m) if m.code == Code::Accepted));
        assert!(accepted, "a benchmark of rejections would say nothing: {:?}", self.effects);
    }

    fn send(&mut self, body: impl Into<Body>) {
        self.effects.clear();
        self.log.bytes.clear();
        self.now.mono_ns += 1000;
        self.now.utc_ns += 1000;
        let mut frame = Vec::new();
        encode(&Envelope::session(1, Epoch(1), 1), &body.into(), &mut frame);
        let input = Input::Client { origin: 1, role: Role::Operator, frame };
        self.engine.input(self.now, input, &mut self.log, &mut self.effects);
    }
}

fn genesis() -> Genesis {
    Genesis {
        mode: ClusterMode::Standalone,
        logic_version: touchline_core::rules::LOGIC_VERSION,
        partitions: 64,
        fingerprint_key: 1,
        result_window_ms: 86_400_000,
        future_skew_ms: 60_000,
        pending_max: 1000,
        results_max: 100_000_000,
        accounts_max: 1000,
        fixtures_max: 100,
        markets_max: 200,
    }
}

/// Limits that nothing here reaches.
fn rules() -> Configure {
    let most = 1_000_000_000_000_000;
    Configure {
        operator: OperatorId(1),
        min_stake_minor: 1,
        max_stake_minor: most,
        max_payout_minor: most,
        max_odds_milli: Odds::MAX_MILLI,
        football_margin_ppm: 50_000,
        tennis_margin_ppm: 50_000,
        customer_limit_minor: most,
        selection_limit_pre_minor: most,
        selection_limit_live_minor: most,
        market_limit_pre_minor: most,
        market_limit_live_minor: most,
        fixture_limit_pre_minor: most,
        fixture_limit_live_minor: most,
        source_horizon_ms: 86_400_000,
        brands: List(vec![BrandRule { brand: BRAND, currency: Currency(*b"EUR") }]),
        material: List::default(),
    }
}
