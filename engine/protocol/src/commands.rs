//! Commands from outside and from the node itself: everything that may change state.

use crate::codes::*;
use crate::ids::*;
use crate::units::{Odds, Stake};
use crate::wire::{Fault, Field, List, Text, Value, block, message};

/// Free text that an operator gives as reason.
pub type Note = Text<120>;

message! {
    /// The first frame of every journal: what can never change.
    Genesis {
        /// Whether this log belongs to one node or to a cluster.
        mode: ClusterMode,
        /// Version of the rules that `apply` follows.
        logic_version: u16,
        /// Number of partitions, 1 to 64.
        partitions: u16,
        /// Key of the fingerprints.
        fingerprint_key: u64,
        /// How long a decision is remembered, in milliseconds; at least 24 hours.
        result_window_ms: u64,
        /// How far ahead of `at` a ticket id may be issued, in milliseconds.
        future_skew_ms: u32,
        /// Tickets that may wait for another partition, per partition.
        pending_max: u32,
        /// Decisions remembered, per partition.
        results_max: u32,
        /// Accounts, per partition.
        accounts_max: u32,
        /// Fixtures, per partition.
        fixtures_max: u32,
        /// Markets, per fixture.
        markets_max: u32,
    }
}

message! {
    /// Opens an epoch: every start and every take-over.
    NewEpoch {
        /// Why it opens.
        cause: EpochCause,
        /// The node that is primary in it.
        node: u64,
        /// That node's boot.
        boot: u128,
    }
}

block! {
    /// A brand and its currency.
    BrandRule {
        /// The brand.
        brand: BrandId,
        /// Its ISO 4217 currency, the only one its customers bet in.
        currency: Currency,
    }
}

block! {
    /// One cell of the table of material changes.
    MaterialRule {
        /// The sport.
        sport: Sport,
        /// The event.
        event: Event,
        /// The market it makes material, by unified-odds number; 0 is every market.
        market: u16,
    }
}

message! {
    /// Sets the rules that every partition follows from here on.
    Configure {
        /// Who.
        operator: OperatorId,
        /// Smallest stake, minor units.
        min_stake_minor: i64,
        /// Largest stake, minor units.
        max_stake_minor: i64,
        /// Largest payout of one bet, minor units.
        max_payout_minor: i64,
        /// Highest odds that may be struck, thousandths.
        max_odds_milli: u32,
        /// Margin on football prices, millionths.
        football_margin_ppm: u32,
        /// Margin on tennis prices, millionths.
        tennis_margin_ppm: u32,
        /// Limit on a customer's open liability, minor units, before their factor.
        customer_limit_minor: i64,
        /// Limit on a selection before the start, minor units.
        selection_limit_pre_minor: i64,
        /// Limit on a selection in play, minor units.
        selection_limit_live_minor: i64,
        /// Limit on a market before the start, minor units.
        market_limit_pre_minor: i64,
        /// Limit on a market in play, minor units.
        market_limit_live_minor: i64,
        /// Limit on a fixture before the start, minor units.
        fixture_limit_pre_minor: i64,
        /// Limit on a fixture in play, minor units.
        fixture_limit_live_minor: i64,
        /// Longest promise of a source: how far ahead of a frame's time its `alive_until` may lie, milliseconds.
        source_horizon_ms: u32,
    } then {
        /// The brands.
        brands: List<BrandRule, 64>,
        /// Which events are material to which markets.
        material: List<MaterialRule, 64>,
    }
}

message! {
    /// Switches the rules of `apply` to another version at this sequence.
    Activate {
        /// The version from here on.
        logic_version: u16,
        /// Who.
        operator: OperatorId,
    }
}

message! {
    /// A source promises to be heard again before an instant.
    SourceFresh {
        /// The source, not 0: that stands for "no source" and is always fresh.
        source: SourceId,
        /// Until when its word holds.
        alive_until: At,
    }
}

message! {
    /// The timer of a source ran out without a newer promise.
    SourceExpired {
        /// The source.
        source: SourceId,
        /// The promise that ran out.
        alive_until: At,
    }
}

block! {
    /// The fingerprint of one partition.
    PartitionFingerprint {
        /// The partition.
        partition: PartitionId,
        /// Its keyed hash, every entity re-hashed.
        fingerprint: u128,
    }
}

message! {
    /// States what every partition's fingerprint was after a sequence; whoever applies it compares.
    Attest {
        /// The last sequence that the fingerprints cover.
        covers: Seq,
    } then {
        /// One fingerprint a partition.
        fingerprints: List<PartitionFingerprint, 64>,
    }
}

message! {
    /// Opens an account.
    OpenAccount {
        /// The brand.
        brand: BrandId,
        /// The customer.
        customer: CustomerId,
        /// The customer's currency.
        currency: Currency,
        /// Scales the customer's own limits: 1000 leaves them as they are, 0 takes no bets.
        factor_permille: u32,
    }
}

message! {
    /// Changes who may bet.
    SetAccountStatus {
        /// The brand.
        brand: BrandId,
        /// The customer.
        customer: CustomerId,
        /// From here on.
        status: AccountStatus,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// Opens or closes a brand's book.
    SetBook {
        /// The brand.
        brand: BrandId,
        /// Whether it takes bets.
        open: bool,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// Opens a fixture.
    OpenFixture {
        /// The fixture.
        fixture: FixtureId,
        /// Its sport.
        sport: Sport,
        /// Its competition.
        competition: CompetitionId,
        /// Tier of the competition, 1 the highest.
        tier: u8,
        /// The source that its prices rest on.
        source: SourceId,
        /// Planned start.
        start_at: At,
        /// Margin on its prices, millionths; 0 takes the sport's.
        margin_ppm: u32,
        /// Sets that decide a tennis match: 3 or 5; 0 for other sports.
        best_of: u8,
    } then {
        /// Home side or first player.
        home: Text<64>,
        /// Away side or second player.
        away: Text<64>,
    }
}

block! {
    /// A market to open.
    MarketSpec {
        /// The market.
        market: MarketKey,
        /// Number of selections of a market without a model, 2 to 40; 0 where the market's kind tells.
        selections: u8,
    }
}

message! {
    /// Opens markets of a fixture.
    OpenMarkets {
        /// The fixture.
        fixture: FixtureId,
    } then {
        /// The markets; those already open stay as they are.
        markets: List<MarketSpec, 256>,
    }
}

message! {
    /// Reference prices that the model of a fixture is calibrated to. Odds are thousandths, 0 is absent.
    SetReference {
        /// The fixture.
        fixture: FixtureId,
        /// Home side or first player to win.
        home_milli: u32,
        /// Draw.
        draw_milli: u32,
        /// Away side or second player to win.
        away_milli: u32,
        /// Line of the total, quarters.
        total_line: i32,
        /// Over.
        over_milli: u32,
        /// Under.
        under_milli: u32,
    }
}

message! {
    /// Parameters of a fixture's model, set directly, in thousand-millionths: expected goals of each side
    /// (football) or probability of each player to win a point on serve (tennis).
    SetIntensities {
        /// The fixture.
        fixture: FixtureId,
        /// Home side or first player.
        home_nano: u64,
        /// Away side or second player.
        away_nano: u64,
    }
}

/// The scoreboard of a match as a feed reports it, absolute, so that a repeated report changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scoreboard {
    /// Part of the match.
    pub period: Period,
    /// Time since the period began, milliseconds.
    pub clock_ms: u32,
    /// Goals or sets of each side.
    pub score: [u16; 2],
    /// Red cards of each side.
    pub reds: [u8; 2],
    /// Games of each player in the open set.
    pub games: [u8; 2],
    /// Points of each player in the open game: 0, 1, 2, 3 for 0, 15, 30, 40; 4 is advantage; a tiebreak counts on.
    pub points: [u8; 2],
    /// Who serves the open game or tiebreak first.
    pub server: Side,
}

impl Default for Scoreboard {
    fn default() -> Self {
        Scoreboard {
            period: Period::NotStarted,
            clock_ms: 0,
            score: [0; 2],
            reds: [0; 2],
            games: [0; 2],
            points: [0; 2],
            server: Side::None,
        }
    }
}

impl Field for Scoreboard {
    const SIZE: usize = 16;
    const TYPE: &'static str =
        "scoreboard: u8 period, u32 clock_ms, 2×u16 score, 2×u8 reds, 2×u8 games, 2×u8 points, u8 server";
    fn put(&self, out: &mut Vec<u8>) {
        self.period.put(out);
        self.clock_ms.put(out);
        self.score.iter().for_each(|n| n.put(out));
        for pair in [self.reds, self.games, self.points] {
            out.extend_from_slice(&pair);
        }
        self.server.put(out);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        let b: &[u8; 16] = bytes.try_into().map_err(|_| Fault::Truncated)?;
        Ok(Scoreboard {
            period: Period::get(&b[..1])?,
            clock_ms: u32::get(&b[1..5])?,
            score: [u16::get(&b[5..7])?, u16::get(&b[7..9])?],
            reds: [b[9], b[10]],
            games: [b[11], b[12]],
            points: [b[13], b[14]],
            server: Side::get(&b[15..])?,
        })
    }
    fn show(&self) -> Value {
        let pair = |pair: [u8; 2]| Value::List(pair.iter().map(Field::show).collect());
        Value::Record(vec![
            ("period", self.period.show()),
            ("clock_ms", self.clock_ms.show()),
            ("score", Value::List(self.score.iter().map(Field::show).collect())),
            ("reds", pair(self.reds)),
            ("games", pair(self.games)),
            ("points", pair(self.points)),
            ("server", self.server.show()),
        ])
    }
    fn sample(number: u64) -> Self {
        let n = number as u8;
        Scoreboard {
            period: Period::sample(number),
            clock_ms: u32::sample(number),
            score: [u16::sample(number), u16::sample(number + 1)],
            reds: [n, n.wrapping_add(1)],
            games: [n.wrapping_add(2), n.wrapping_add(3)],
            points: [n.wrapping_add(4), n.wrapping_add(5)],
            server: Side::sample(number),
        }
    }
}

message! {
    /// A feed reports an event of a match.
    Incident {
        /// The fixture.
        fixture: FixtureId,
        /// The source, which must be the one that the fixture was opened with.
        source: SourceId,
        /// Position in the source's own sequence, rising; what is not above the last is a repeat.
        source_seq: u64,
        /// What happened.
        event: Event,
        /// To whom.
        side: Side,
        /// The scoreboard after it.
        board: Scoreboard,
    }
}

message! {
    /// An operator suspends or releases a fixture or one of its markets.
    Suspend {
        /// The fixture.
        fixture: FixtureId,
        /// The market; kind 0 is the whole fixture.
        market: MarketKey,
        /// Why it is suspended, or which reason is lifted.
        reason: Reason,
        /// Suspend or release.
        on: bool,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// Changes a limit. The most specific one set wins: brand, customer, fixture, market and selection say
    /// for whom; what the scope does not need stays 0.
    SetLimit {
        /// What it bounds.
        scope: LimitScope,
        /// When it applies; a customer's limit always applies.
        stage: Stage,
        /// The customer's brand.
        brand: BrandId,
        /// The customer.
        customer: CustomerId,
        /// The fixture.
        fixture: FixtureId,
        /// The market; kind 0 is every market of the fixture.
        market: MarketKey,
        /// The selection; 255 is every selection of the market. Without a market it must be that.
        selection: u8,
        /// The limit in minor units; −1 removes this setting.
        value_minor: i64,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

block! {
    /// One price.
    Price {
        /// Odds in thousandths; 0 is no price.
        milli: u32,
        /// Numerator of a fractional quote, 0 where there is none.
        num: u32,
        /// Denominator of a fractional quote, 0 where there is none.
        den: u32,
    }
}

impl SetLimit {
    /// Every selection of a market.
    pub const EVERY_SELECTION: u8 = 255;
}

impl SourceFresh {
    /// Whether it promises no more than a source may, in a frame at `at`.
    pub fn is_within(&self, at: At, horizon_ms: u32) -> bool {
        self.alive_until.0.saturating_sub(at.0) <= i64::from(horizon_ms) * 1_000_000
    }
}

impl Price {
    /// No price.
    pub const NONE: Price = Price::decimal(0);

    /// Decimal odds in thousandths; 0 is no price.
    pub const fn decimal(milli: u32) -> Self {
        Price { milli, num: 0, den: 0 }
    }

    /// The odds that it quotes, its fraction included; `None` where it is no price.
    pub fn odds(&self) -> Option<Odds> {
        (self.milli != 0).then_some(Odds { milli: self.milli, num: self.num, den: self.den })
    }
}

impl From<Odds> for Price {
    fn from(odds: Odds) -> Self {
        Price { milli: odds.milli, num: odds.num, den: odds.den }
    }
}

message! {
    /// An operator sets prices of a market by hand, or returns it to its model with an empty list.
    SetPrices {
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// Who.
        operator: OperatorId,
        /// The sequence of the state that the operator saw: prices from before a material change do not count.
        basis: Seq,
    } then {
        /// One price a selection, in their order.
        prices: List<Price, 40>,
    }
}

message! {
    /// The result of a fixture: settles every market that it decides and ends the fixture for all others.
    SettleFixture {
        /// The fixture.
        fixture: FixtureId,
        /// Goals or sets of each side at the end of regular time.
        home: u16,
        /// The same of the other side.
        away: u16,
        /// How certain it is.
        certainty: Certainty,
        /// Who.
        operator: OperatorId,
    }
}

message! {
    /// Settles one market by naming the winning selection: for markets without a model.
    SettleMarket {
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// The winner.
        selection: u8,
        /// How certain it is.
        certainty: Certainty,
        /// Who.
        operator: OperatorId,
    }
}

message! {
    /// Voids a market, or all open markets of a fixture, which is then called off.
    VoidMarket {
        /// The fixture.
        fixture: FixtureId,
        /// The market; kind 0 is the whole fixture.
        market: MarketKey,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// Takes a settlement or a void back: its bets are open again, its markets and their fixture suspended.
    RollbackSettlement {
        /// The fixture.
        fixture: FixtureId,
        /// The market; kind 0 is every settled or void market of the fixture.
        market: MarketKey,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// A bet request: one selection.
    SubmitTicket {
        /// The brand.
        brand: BrandId,
        /// Its id, the same on every retry.
        ticket: TicketId,
        /// The customer.
        customer: CustomerId,
        /// Currency of the stake.
        currency: Currency,
        /// Where it comes from; the brand's own numbering.
        channel: u8,
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// The selection.
        selection: u8,
        /// The odds that the bettor saw.
        odds: Odds,
        /// The stake.
        stake: Stake,
        /// Which changes of the odds are accepted.
        policy: OddsPolicy,
        /// Tolerance for lower odds, per thousand, under the policy `TOLERANCE`; else 0.
        tolerance_permille: u16,
        /// The price version that the bettor saw.
        price_version: Seq,
    }
}

/// An ISO 4217 code, three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(pub [u8; 3]);

impl Currency {
    /// Parses three capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        Currency::get(text.as_bytes()).ok()
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("???"))
    }
}

impl Field for Currency {
    const SIZE: usize = 3;
    const TYPE: &'static str = "3 × ASCII capital";
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        let code: [u8; 3] = bytes.try_into().map_err(|_| Fault::Truncated)?;
        if code.iter().all(u8::is_ascii_uppercase) {
            Ok(Currency(code))
        } else {
            Err(Fault::Range("three capital letters"))
        }
    }
    fn show(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn sample(number: u64) -> Self {
        Currency([0, 5, 11].map(|shift| b'A' + ((number + shift) % 26) as u8))
    }
}
