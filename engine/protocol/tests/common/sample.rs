//! One message of every kind with fixed values that all differ, and the largest message of every kind.

use touchline_protocol::*;

/// A message of a kind. Its fields differ from each other, so that two of them swapped are seen; it passes
/// every check of ranges, and its lists hold two entries.
pub(crate) fn sample(kind: Kind) -> Body {
    let mut n = Next(0);
    match kind {
        Kind::Genesis | Kind::NewEpoch | Kind::Configure | Kind::Activate => rules(kind, &mut n),
        Kind::SourceFresh => SourceFresh { source: n.source(), alive_until: n.at() }.into(),
        Kind::SourceExpired => SourceExpired { source: n.source(), alive_until: n.at() }.into(),
        Kind::Attest => {
            let mut one = |partition| PartitionFingerprint {
                partition: PartitionId(partition),
                fingerprint: n.u128(),
            };
            let fingerprints = List(vec![one(0), one(63)]);
            Attest { covers: n.seq(), fingerprints }.into()
        }
        Kind::OpenAccount | Kind::SetAccountStatus | Kind::SetBook | Kind::SetLimit => people(kind, &mut n),
        Kind::OpenFixture
        | Kind::OpenMarkets
        | Kind::SetReference
        | Kind::SetIntensities
        | Kind::Incident
        | Kind::Suspend
        | Kind::SetPrices => match_of(kind, &mut n),
        Kind::SettleFixture | Kind::SettleMarket | Kind::VoidMarket | Kind::RollbackSettlement => {
            results(kind, &mut n)
        }
        Kind::SubmitTicket => submit_ticket(&mut n).into(),
        Kind::Reserve
        | Kind::Reserved
        | Kind::Confirm
        | Kind::Rollback
        | Kind::Publish
        | Kind::Settled
        | Kind::Unsettled
        | Kind::PriceVerdict => internal(kind, &mut n),
        Kind::Hello | Kind::Welcome | Kind::Refused | Kind::Subscribe | Kind::Ping | Kind::Pong => {
            session(kind, &mut n)
        }
        Kind::Decision
        | Kind::Done
        | Kind::BetSettled
        | Kind::MarketSettled
        | Kind::MarketOdds
        | Kind::FixtureState
        | Kind::LimitChanged
        | Kind::Alarm => effect(kind, &mut n),
    }
}

/// The message of a kind that takes the most bytes: every list and text full.
pub(crate) fn largest(kind: Kind) -> Body {
    match sample(kind) {
        Body::Configure(m) => {
            Configure { brands: full(&m.brands), material: full(&m.material), ..m }.into()
        }
        Body::Attest(m) => Attest { fingerprints: full(&m.fingerprints), ..m }.into(),
        Body::SetAccountStatus(m) => SetAccountStatus { note: longest(), ..m }.into(),
        Body::SetBook(m) => SetBook { note: longest(), ..m }.into(),
        Body::SetLimit(m) => SetLimit { note: longest(), ..m }.into(),
        Body::OpenFixture(m) => OpenFixture { home: longest(), away: longest(), ..m }.into(),
        Body::OpenMarkets(m) => OpenMarkets { markets: full(&m.markets), ..m }.into(),
        Body::Suspend(m) => Suspend { note: longest(), ..m }.into(),
        Body::SetPrices(m) => SetPrices { prices: full(&m.prices), ..m }.into(),
        Body::VoidMarket(m) => VoidMarket { note: longest(), ..m }.into(),
        Body::RollbackSettlement(m) => RollbackSettlement { note: longest(), ..m }.into(),
        Body::Publish(m) => Publish { markets: full(&m.markets), prices: full(&m.prices), ..m }.into(),
        Body::Settled(m) => Settled { results: full(&m.results), ..m }.into(),
        Body::Unsettled(m) => Unsettled { markets: full(&m.markets), ..m }.into(),
        Body::Hello(m) => Hello { name: longest(), ..m }.into(),
        Body::Refused(m) => Refused { note: longest(), ..m }.into(),
        Body::MarketSettled(m) => MarketSettled { outcomes: full(&m.outcomes), ..m }.into(),
        Body::MarketOdds(m) => MarketOdds { prices: full(&m.prices), ..m }.into(),
        Body::LimitChanged(m) => LimitChanged { note: longest(), ..m }.into(),
        Body::Alarm(m) => Alarm { note: longest(), ..m }.into(),
        without_tails => {
            let mut bytes = Vec::new();
            without_tails.put(&mut bytes);
            assert_eq!(bytes.len(), kind.block_bytes(), "{} has tails and needs an arm here", kind.name());
            without_tails
        }
    }
}

fn full<T: Clone, const MAX: usize>(list: &List<T, MAX>) -> List<T, MAX> {
    List(list.iter().cycle().take(MAX).cloned().collect())
}

fn longest<const MAX: usize>() -> Text<MAX> {
    Text::cut(&"x".repeat(MAX))
}

/// Values that never repeat and whose bytes show their order.
struct Next(u64);

impl Next {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
    fn u8(&mut self) -> u8 {
        self.next() as u8
    }
    fn u16(&mut self) -> u16 {
        0x1100 + self.next() as u16
    }
    fn u32(&mut self) -> u32 {
        0x3322_1100 + self.next() as u32
    }
    fn u64(&mut self) -> u64 {
        0x7766_5544_3322_1100 + self.next()
    }
    fn u128(&mut self) -> u128 {
        0xFFEE_DDCC_BBAA_9988_7766_5544_3322_1100 + u128::from(self.next())
    }
    /// An amount in minor units, below the limit of amounts.
    fn minor(&mut self) -> i64 {
        0x0003_2211_0099_8800 + self.next() as i64
    }
    /// Odds in thousandths.
    fn milli(&mut self) -> u32 {
        0x0001_2200 + self.next() as u32
    }
    fn stake(&mut self) -> Stake {
        Stake(0x0012_3456_7800 + self.next() as i64)
    }
    fn at(&mut self) -> At {
        At(self.u64() as i64)
    }
    fn seq(&mut self) -> Seq {
        Seq(self.u64())
    }
    fn brand(&mut self) -> BrandId {
        BrandId(self.u16())
    }
    fn customer(&mut self) -> CustomerId {
        CustomerId(self.u64())
    }
    fn fixture(&mut self) -> FixtureId {
        FixtureId(self.u64())
    }
    fn source(&mut self) -> SourceId {
        SourceId(self.u16())
    }
    fn operator(&mut self) -> OperatorId {
        OperatorId(self.u32())
    }
    fn ticket(&mut self) -> TicketId {
        TicketId(self.u128())
    }
    /// A market with a line below zero.
    fn market(&mut self) -> MarketKey {
        MarketKey::new(self.u16(), -(self.u32() as i32))
    }
    fn hop(&mut self) -> Hop {
        Hop { from: PartitionId(self.u8().into()), number: self.u64() }
    }
    fn board(&mut self) -> Scoreboard {
        Scoreboard {
            period: Period::Second,
            clock_ms: self.u32(),
            score: [self.u16(), self.u16()],
            reds: [self.u8(), self.u8()],
            games: [self.u8(), self.u8()],
            points: [self.u8(), self.u8()],
            server: Side::Away,
        }
    }
}

/// Odds quoted as 17/4.
fn fraction() -> Odds {
    Odds::fraction(17, 4).expect("5.25 is within the range")
}

fn note<const MAX: usize>() -> Text<MAX> {
    Text::cut("müde Füße: 90 % – 日本")
}

fn rules(kind: Kind, n: &mut Next) -> Body {
    match kind {
        Kind::Genesis => Genesis {
            mode: ClusterMode::Cluster,
            logic_version: n.u16(),
            partitions: 48,
            fingerprint_key: n.u64(),
            result_window_ms: 0x1122_3344,
            future_skew_ms: n.u32(),
            pending_max: n.u32(),
            results_max: n.u32(),
            accounts_max: n.u32(),
            fixtures_max: n.u32(),
            markets_max: 200,
        }
        .into(),
        Kind::NewEpoch => NewEpoch { cause: EpochCause::Handoff, node: n.u64(), boot: n.u128() }.into(),
        Kind::Configure => Configure {
            operator: n.operator(),
            min_stake_minor: n.minor(),
            max_stake_minor: n.minor(),
            max_payout_minor: n.minor(),
            max_odds_milli: n.milli(),
            football_margin_ppm: 0x0001_2233,
            tennis_margin_ppm: 0x0002_3344,
            customer_limit_minor: n.minor(),
            selection_limit_pre_minor: n.minor(),
            selection_limit_live_minor: n.minor(),
            market_limit_pre_minor: n.minor(),
            market_limit_live_minor: n.minor(),
            fixture_limit_pre_minor: n.minor(),
            fixture_limit_live_minor: n.minor(),
            brands: List(vec![
                BrandRule { brand: n.brand(), currency: Currency(*b"EUR") },
                BrandRule { brand: n.brand(), currency: Currency(*b"GBP") },
            ]),
            material: List(vec![
                MaterialRule { sport: Sport::Football, event: Event::RedCard, market: n.u16() },
                MaterialRule { sport: Sport::Tennis, event: Event::Point, market: n.u16() },
            ]),
        }
        .into(),
        _ => Activate { logic_version: n.u16(), operator: n.operator() }.into(),
    }
}

fn people(kind: Kind, n: &mut Next) -> Body {
    match kind {
        Kind::OpenAccount => OpenAccount {
            brand: n.brand(),
            customer: n.customer(),
            currency: Currency(*b"SEK"),
            factor_permille: 0x0001_2233,
        }
        .into(),
        Kind::SetAccountStatus => SetAccountStatus {
            brand: n.brand(),
            customer: n.customer(),
            status: AccountStatus::Blocked,
            operator: n.operator(),
            note: note(),
        }
        .into(),
        Kind::SetBook => SetBook { brand: n.brand(), open: true, operator: n.operator(), note: note() }.into(),
        _ => SetLimit {
            scope: LimitScope::Market,
            stage: Stage::PreMatch,
            brand: n.brand(),
            customer: n.customer(),
            fixture: n.fixture(),
            market: n.market(),
            selection: n.u8(),
            value_minor: -1,
            operator: n.operator(),
            note: note(),
        }
        .into(),
    }
}

fn match_of(kind: Kind, n: &mut Next) -> Body {
    match kind {
        Kind::OpenFixture => OpenFixture {
            fixture: n.fixture(),
            sport: Sport::Tennis,
            competition: CompetitionId(n.u32()),
            tier: n.u8(),
            source: n.source(),
            start_at: n.at(),
            margin_ppm: 0x0001_2233,
            best_of: 5,
            home: Text::cut("Ana Ivanović"),
            away: Text::cut("Li Na"),
        }
        .into(),
        Kind::OpenMarkets => OpenMarkets {
            fixture: n.fixture(),
            markets: List(vec![
                MarketSpec { market: n.market(), selections: 0 },
                MarketSpec { market: n.market(), selections: 40 },
            ]),
        }
        .into(),
        Kind::SetReference => SetReference {
            fixture: n.fixture(),
            home_milli: n.milli(),
            draw_milli: n.milli(),
            away_milli: n.milli(),
            total_line: -(n.u32() as i32),
            over_milli: n.milli(),
            under_milli: n.milli(),
        }
        .into(),
        Kind::SetIntensities => SetIntensities {
            fixture: n.fixture(),
            home_nano: 0x0001_2233_4455,
            away_nano: 0x0002_3344_5566,
        }
        .into(),
        Kind::Incident => Incident {
            fixture: n.fixture(),
            source: n.source(),
            source_seq: n.u64(),
            event: Event::Goal,
            side: Side::Home,
            board: n.board(),
        }
        .into(),
        Kind::Suspend => Suspend {
            fixture: n.fixture(),
            market: n.market(),
            reason: Reason::VideoReview,
            on: true,
            operator: n.operator(),
            note: note(),
        }
        .into(),
        _ => SetPrices {
            fixture: n.fixture(),
            market: n.market(),
            operator: n.operator(),
            prices: List(vec![Price { milli: n.milli() }, Price { milli: 0 }]),
        }
        .into(),
    }
}

fn results(kind: Kind, n: &mut Next) -> Body {
    match kind {
        Kind::SettleFixture => SettleFixture {
            fixture: n.fixture(),
            home: n.u16(),
            away: n.u16(),
            certainty: Certainty::Confirmed,
            operator: n.operator(),
        }
        .into(),
        Kind::SettleMarket => SettleMarket {
            fixture: n.fixture(),
            market: n.market(),
            selection: n.u8(),
            certainty: Certainty::LiveScouted,
            operator: n.operator(),
        }
        .into(),
        Kind::VoidMarket => VoidMarket {
            fixture: n.fixture(),
            market: n.market(),
            operator: n.operator(),
            note: note(),
        }
        .into(),
        _ => RollbackSettlement {
            fixture: n.fixture(),
            market: n.market(),
            operator: n.operator(),
            note: note(),
        }
        .into(),
    }
}

fn submit_ticket(n: &mut Next) -> SubmitTicket {
    let (brand, customer) = (n.brand(), n.customer());
    SubmitTicket {
        brand,
        ticket: TicketId::new(0x6655_4433_2211, brand, customer, n.u64()),
        customer,
        currency: Currency(*b"DKK"),
        channel: n.u8(),
        fixture: n.fixture(),
        market: n.market(),
        selection: n.u8(),
        odds: fraction(),
        stake: n.stake(),
        policy: OddsPolicy::Tolerance,
        tolerance_permille: 0x0123,
        price_version: n.seq(),
    }
}

fn internal(kind: Kind, n: &mut Next) -> Body {
    let hop = n.hop();
    match kind {
        Kind::Reserve => Reserve {
            hop,
            brand: n.brand(),
            ticket: n.ticket(),
            fixture: n.fixture(),
            market: n.market(),
            selection: n.u8(),
            odds: Odds::decimal(n.milli()),
            stake: n.stake(),
            policy: OddsPolicy::Any,
            tolerance_permille: n.u16(),
            price_version: n.seq(),
            home_code: Code::BelowMinStake,
        }
        .into(),
        Kind::Reserved => Reserved {
            hop,
            brand: n.brand(),
            ticket: n.ticket(),
            code: Code::FixtureLimit,
            odds: fraction(),
            checked_at: n.seq(),
        }
        .into(),
        Kind::Confirm => {
            Confirm { hop, brand: n.brand(), ticket: n.ticket(), fixture: n.fixture() }.into()
        }
        Kind::Rollback => {
            Rollback { hop, brand: n.brand(), ticket: n.ticket(), fixture: n.fixture() }.into()
        }
        Kind::Publish => Publish {
            hop,
            fixture: n.fixture(),
            basis: n.seq(),
            markets: List(vec![
                PublishedMarket { market: n.market(), selections: 1 },
                PublishedMarket { market: n.market(), selections: 1 },
            ]),
            prices: List(vec![Price { milli: n.milli() }, Price { milli: 0 }]),
        }
        .into(),
        Kind::Settled => Settled {
            hop,
            fixture: n.fixture(),
            certainty: Certainty::Confirmed,
            results: List(vec![
                SelectionResult { market: n.market(), selection: n.u8(), payoff: Payoff::HalfWon },
                SelectionResult { market: n.market(), selection: n.u8(), payoff: Payoff::Lost },
            ]),
        }
        .into(),
        Kind::Unsettled => Unsettled {
            hop,
            fixture: n.fixture(),
            markets: List(vec![MarketEntry { market: n.market() }, MarketEntry { market: n.market() }]),
        }
        .into(),
        _ => PriceVerdict { hop, fixture: n.fixture(), sane: true }.into(),
    }
}

fn session(kind: Kind, n: &mut Next) -> Body {
    match kind {
        Kind::Hello => Hello {
            role: Role::Feed,
            version: n.u16(),
            epoch: Epoch(n.u64()),
            name: Text::cut("feed-1"),
        }
        .into(),
        Kind::Welcome => Welcome {
            version: n.u16(),
            partitions: n.u16(),
            committed: n.seq(),
            frame_bytes_max: n.u32(),
        }
        .into(),
        Kind::Refused => Refused {
            of: n.u16(),
            code: Code::Overloaded,
            retry_ms: n.u32(),
            brand: n.brand(),
            ticket: n.ticket(),
            note: note(),
        }
        .into(),
        Kind::Subscribe => Subscribe { odds: true, events: false, fixture: n.fixture() }.into(),
        Kind::Ping => Ping { number: n.u64() }.into(),
        _ => Pong { number: n.u64(), committed: n.seq() }.into(),
    }
}

fn effect(kind: Kind, n: &mut Next) -> Body {
    match kind {
        Kind::Decision => Decision {
            event: n.u64(),
            brand: n.brand(),
            ticket: n.ticket(),
            code: Code::OddsChanged,
            odds: fraction(),
            stake: n.stake(),
            returned_minor: Money(n.minor()),
            decided: n.seq(),
            checked_at: n.seq(),
            decided_at: n.at(),
        }
        .into(),
        Kind::Done => {
            Done { of: n.u16(), code: Code::FixtureNotFound, changed: true, applied: n.seq() }.into()
        }
        Kind::BetSettled => BetSettled {
            event: n.u64(),
            brand: n.brand(),
            ticket: n.ticket(),
            customer: n.customer(),
            fixture: n.fixture(),
            market: n.market(),
            selection: n.u8(),
            payoff: Payoff::HalfLost,
            reopened: false,
            stake: n.stake(),
            returned_minor: Money(n.minor()),
            certainty: Certainty::LiveScouted,
        }
        .into(),
        Kind::MarketSettled => MarketSettled {
            event: n.u64(),
            fixture: n.fixture(),
            market: n.market(),
            status: MarketStatus::Settled,
            certainty: Certainty::Confirmed,
            outcomes: List(vec![Outcome { payoff: Payoff::Won }, Outcome { payoff: Payoff::Void }]),
        }
        .into(),
        Kind::MarketOdds => MarketOdds {
            fixture: n.fixture(),
            market: n.market(),
            status: MarketStatus::Suspended,
            version: n.seq(),
            prices: List(vec![Price { milli: n.milli() }, Price { milli: n.milli() }]),
        }
        .into(),
        Kind::FixtureState => FixtureState {
            fixture: n.fixture(),
            status: FixtureStatus::Ended,
            suspended: n.u32(),
            board: n.board(),
            worst_minor: Money(-n.minor()),
            bound: true,
        }
        .into(),
        Kind::LimitChanged => LimitChanged {
            event: n.u64(),
            scope: LimitScope::Fixture,
            stage: Stage::Live,
            brand: n.brand(),
            customer: n.customer(),
            fixture: n.fixture(),
            market: n.market(),
            selection: n.u8(),
            before_minor: -1,
            after_minor: n.minor(),
            operator: n.operator(),
            note: note(),
        }
        .into(),
        _ => Alarm { event: n.u64(), severity: Severity::Critical, fixture: n.fixture(), note: note() }.into(),
    }
}
