//! A core with some matches and customers, and the stages that a bet passes in it.

use std::time::{Duration, Instant};
use touchline_core::sequencer::Refusal;
use touchline_core::{Batch, Effect, Engine, Input, Now};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const BRAND: BrandId = BrandId(1);
const PARTITIONS: u16 = 64;
/// Markets of each match: number, line in quarters.
const MARKETS: [(u16, i32); 5] = [(1, 0), (18, 10), (29, 0), (45, 0), (16, -1)];

/// The stages that [`Day::stages`] times, in order.
pub(crate) const STAGES: [&str; 4] = ["sequence", "check and decode", "decide and evolve", "encode effects"];

/// The core and the next ticket's number.
pub(crate) struct Day {
    engine: Engine,
    now: Now,
    log: Batch,
    effects: Vec<Effect>,
    refusals: Vec<Refusal>,
    tickets: u64,
    fixtures: u64,
    /// Customers by their partition.
    customers: Vec<Vec<CustomerId>>,
}

impl Day {
    /// Opens so many matches, and as many accounts in each partition.
    pub(crate) fn new(fixtures: u64, customers: usize) -> Self {
        let now = Now { mono_ns: 0, utc_ns: 1_800_000_000_000_000_000 };
        let mut day = Day {
            engine: Engine::new(1, PARTITIONS, 1),
            now,
            log: Batch::default(),
            effects: Vec::new(),
            refusals: Vec::new(),
            tickets: 0,
            fixtures,
            customers: vec![Vec::new(); usize::from(PARTITIONS)],
        };
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        day.engine.begin(now, genesis(), epoch, &mut day.log, &mut day.effects);
        day.send(rules());
        for customer in (1..).map(CustomerId) {
            let home = &mut day.customers[usize::from(customer.partition(BRAND, PARTITIONS).0)];
            if home.len() < customers {
                home.push(customer);
                let currency = Currency(*b"EUR");
                day.send(OpenAccount { brand: BRAND, customer, currency, factor_permille: 1000 });
            } else if day.customers.iter().all(|home| home.len() == customers) {
                break;
            }
        }
        (1..=fixtures).map(FixtureId).for_each(|fixture| day.open(fixture));
        day
    }

    fn open(&mut self, fixture: FixtureId) {
        self.send(OpenFixture {
            fixture,
            sport: Sport::Football,
            competition: CompetitionId(1),
            tier: 1,
            source: SourceId(0),
            start_at: At(self.now.utc_ns),
            margin_ppm: 0,
            best_of: 0,
            home: Text::cut("Home"),
            away: Text::cut("Away"),
        });
        let market = |(kind, line)| MarketSpec { market: MarketKey::new(kind, line), selections: 0 };
        self.send(OpenMarkets { fixture, markets: List(MARKETS.map(market).to_vec()) });
        self.send(SetIntensities { fixture, home_nano: 1_500_000_000, away_nano: 1_100_000_000 });
    }

    /// One accepted bet on a match drawn evenly, its customer in another partition or in the match's.
    pub(crate) fn bet(&mut self, far: bool) {
        let ticket = self.ticket(far);
        self.send(ticket);
        self.check(1);
    }

    /// So many bets, each in its match's partition, stage by stage: the time that each stage took.
    pub(crate) fn stages(&mut self, count: usize) -> [Duration; STAGES.len()] {
        let inputs: Vec<Input> = (0..count).map(|_| self.ticket(false)).map(client).collect();
        self.effects.clear();
        self.log.bytes.clear();
        self.log.count = 0;
        self.tick();
        let mut bodies = Vec::with_capacity(count);
        let mut answers = Vec::with_capacity(count * 512);
        let times = [
            timed(|| self.sequence(inputs)),
            timed(|| self.decode(&mut bodies)),
            timed(|| self.apply(&bodies)),
            timed(|| self.answer(&mut answers)),
        ];
        self.check(count);
        times
    }

    #[inline(never)]
    fn sequence(&mut self, inputs: Vec<Input>) {
        inputs.into_iter().for_each(|input| self.engine.sequencer.offer(input));
        self.engine.sequencer.step(self.now, usize::MAX, &mut self.log, &mut self.refusals);
    }

    #[inline(never)]
    fn decode(&self, bodies: &mut Vec<Body>) {
        bodies.extend(self.log.frames().filter_map(|frame| frame.body().ok()));
    }

    #[inline(never)]
    fn apply(&mut self, bodies: &[Body]) {
        for (frame, body) in self.log.frames().zip(bodies) {
            self.engine.shards[0].apply(&frame, body, &mut self.effects);
        }
    }

    #[inline(never)]
    fn answer(&self, out: &mut Vec<u8>) {
        for effect in &self.effects {
            let envelope = Envelope { seq: effect.seq, ..Envelope::session(1, Epoch(1), 1) };
            encode(&envelope, &effect.body, out);
        }
    }

    fn check(&self, count: usize) {
        let accepted =
            |effect: &&Effect| matches!(&effect.body, Body::Decision(m) if m.code == Code::Accepted);
        // Each is an answer and an event.
        let found = self.effects.iter().filter(accepted).count();
        assert_eq!(
            found,
            2 * count,
            "a benchmark of rejections would say nothing: {:?}",
            self.effects.first()
        );
    }

    /// Log and state, to see that two builds decide alike.
    pub(crate) fn identity(&mut self) -> String {
        let fingerprint = self.engine.fingerprint().expect("memory is sound");
        format!(
            "{} frames, chain {}, fingerprint {fingerprint:032x}",
            self.engine.sequencer.last(),
            self.engine.sequencer.chain()
        )
    }

    fn ticket(&mut self, far: bool) -> SubmitTicket {
        self.tickets += 1;
        // A multiplicative walk: every draw is another match, customer and selection, the same in every run.
        let draw = self.tickets.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let fixture = FixtureId(1 + draw % self.fixtures);
        let home = (fixture.partition(PARTITIONS).0 + u16::from(far)) % PARTITIONS;
        let homes = &self.customers[usize::from(home)];
        let customer = homes[(draw >> 20) as usize % homes.len()];
        let issued_ms = (self.now.utc_ns / 1_000_000) as u64;
        let (kind, line) = MARKETS[(draw >> 8) as usize % MARKETS.len()];
        SubmitTicket {
            brand: BRAND,
            ticket: TicketId::new(issued_ms, BRAND, customer, draw),
            customer,
            currency: Currency(*b"EUR"),
            channel: 1,
            fixture,
            market: MarketKey::new(kind, line),
            selection: (self.tickets % 2) as u8,
            odds: Odds::decimal(1500),
            stake: Stake(100),
            policy: OddsPolicy::Any,
            tolerance_permille: 0,
            price_version: Seq(0),
        }
    }

    fn tick(&mut self) {
        self.now.mono_ns += 1000;
        self.now.utc_ns += 1000;
    }

    fn send(&mut self, body: impl Into<Body>) {
        self.effects.clear();
        self.log.bytes.clear();
        self.log.count = 0;
        self.tick();
        self.engine.input(self.now, client(body), &mut self.log, &mut self.effects);
    }
}

fn timed(stage: impl FnOnce()) -> Duration {
    let start = Instant::now();
    stage();
    start.elapsed()
}

fn client(body: impl Into<Body>) -> Input {
    let mut frame = Vec::new();
    encode(&Envelope::session(1, Epoch(1), 1), &body.into(), &mut frame);
    Input::Client { origin: 1, role: Role::Operator, frame }
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
        accounts_max: 1_000_000,
        fixtures_max: 100_000,
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
