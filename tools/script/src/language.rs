//! The commands of a script.

use crate::units::*;
use schemars::JsonSchema;
use serde::Deserialize;
use touchline_protocol as protocol;

/// One line.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// Sets the rules for bets; what is left out takes its default. Brands not named keep none.
    Configure {
        /// Smallest stake.
        #[serde(default = "min_stake")]
        min_stake: Amount,
        /// Largest stake.
        #[serde(default = "max_stake")]
        max_stake: Amount,
        /// Largest payout of one bet.
        #[serde(default = "max_payout")]
        max_payout: Amount,
        /// Highest odds.
        #[serde(default = "max_odds")]
        max_odds: Odds,
        /// Margin on football.
        #[serde(default = "margin")]
        football_margin_percent: Percent,
        /// Margin on tennis.
        #[serde(default = "margin")]
        tennis_margin_percent: Percent,
        /// Limit on a customer's open liability.
        #[serde(default = "customer_limit")]
        customer_limit: Amount,
        /// Limits on a selection, market and fixture before the start.
        #[serde(default = "pre_match")]
        pre_match: [Amount; 3],
        /// The same in play.
        #[serde(default = "live")]
        live: [Amount; 3],
        /// Longest promise of a source, milliseconds.
        #[serde(default = "source_horizon_ms")]
        source_horizon_ms: u32,
        /// The brands, each with its currency.
        #[serde(default = "brands")]
        brands: Vec<Brand>,
        /// Which events are material to which markets.
        #[serde(default = "material")]
        material: Vec<Material>,
    },
    /// Lets time pass; timers that are due fire.
    Advance {
        /// Milliseconds.
        ms: u64,
    },
    /// A source promises to be heard again.
    SourceFresh {
        /// The source, not 0.
        source: u16,
        /// How long its word holds from now, milliseconds.
        for_ms: u64,
    },
    /// Opens an account.
    OpenAccount {
        /// The customer.
        customer: u64,
        /// The brand.
        #[serde(default = "one")]
        brand: u16,
        /// The currency.
        #[serde(default = "euro")]
        currency: Currency,
        /// Scale of its limits, per thousand.
        #[serde(default = "thousand")]
        factor_permille: u32,
    },
    /// Changes who may bet.
    SetAccountStatus {
        /// The customer.
        customer: u64,
        /// The brand.
        #[serde(default = "one")]
        brand: u16,
        /// From here on.
        status: Name<protocol::AccountStatus>,
    },
    /// Opens or closes a brand's book.
    SetBook {
        /// The brand.
        #[serde(default = "one")]
        brand: u16,
        /// Whether it takes bets.
        open: bool,
    },
    /// Opens a fixture.
    OpenFixture {
        /// The fixture, not 0.
        fixture: u64,
        /// The sport.
        sport: Name<protocol::Sport>,
        /// Home side or first player.
        #[serde(default)]
        home: String,
        /// Away side or second player.
        #[serde(default)]
        away: String,
        /// The source that its prices rest on; 0 is always fresh.
        #[serde(default)]
        source: u16,
        /// Planned start, milliseconds from now.
        #[serde(default)]
        starts_in_ms: u64,
        /// Margin on its prices; 0 takes the sport's.
        #[serde(default)]
        margin_percent: Percent,
        /// Sets that decide a tennis match, 3 or 5; 0 for other sports.
        #[serde(default)]
        best_of: u8,
    },
    /// Opens markets.
    OpenMarkets {
        /// The fixture.
        fixture: u64,
        /// The markets.
        markets: Vec<MarketSpec>,
    },
    /// Quoted odds that the model is calibrated to.
    SetReference {
        /// The fixture.
        fixture: u64,
        /// Home side or first player.
        home: Odds,
        /// Draw; none in tennis.
        #[serde(default)]
        draw: Option<Odds>,
        /// Away side or second player.
        away: Odds,
        /// Line of a total.
        #[serde(default)]
        total_line: Option<crate::units::Line>,
        /// Over.
        #[serde(default)]
        over: Option<Odds>,
        /// Under.
        #[serde(default)]
        under: Option<Odds>,
    },
    /// Parameters of the model: expected goals, or probabilities of a point on serve.
    SetIntensities {
        /// The fixture.
        fixture: u64,
        /// Home side or first player.
        home: Nano,
        /// Away side or second player.
        away: Nano,
    },
    /// A feed reports an event with the scoreboard after it.
    Incident {
        /// The fixture.
        fixture: u64,
        /// What happened.
        event: Name<protocol::Event>,
        /// To whom.
        #[serde(default = "nobody")]
        side: Name<protocol::Side>,
        /// Part of the match.
        period: Name<protocol::Period>,
        /// Time since the period began, milliseconds.
        #[serde(default)]
        clock_ms: u32,
        /// Goals or sets.
        score: [u16; 2],
        /// Red cards.
        #[serde(default)]
        reds: [u8; 2],
        /// Games in the open set.
        #[serde(default)]
        games: [u8; 2],
        /// Points in the open game.
        #[serde(default)]
        points: [u8; 2],
        /// Who serves the open game.
        #[serde(default = "nobody")]
        server: Name<protocol::Side>,
        /// The source.
        #[serde(default)]
        source: u16,
        /// Position in the source's sequence; without it the line's number.
        #[serde(default)]
        source_seq: Option<u64>,
    },
    /// Suspends a fixture or market.
    Suspend {
        /// The fixture.
        fixture: u64,
        /// The market; without it the whole fixture.
        #[serde(default)]
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// Why.
        #[serde(default = "operator")]
        reason: Name<protocol::Reason>,
    },
    /// Lifts a reason for suspension.
    Release {
        /// The fixture.
        fixture: u64,
        /// The market; without it the whole fixture.
        #[serde(default)]
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// Which reason.
        #[serde(default = "operator")]
        reason: Name<protocol::Reason>,
    },
    /// Changes a limit.
    SetLimit {
        /// What it bounds.
        scope: Name<protocol::LimitScope>,
        /// When; a customer's limit always applies.
        #[serde(default = "pre_match_stage")]
        stage: Name<protocol::Stage>,
        /// The brand of a customer.
        #[serde(default = "one")]
        brand: u16,
        /// The customer.
        #[serde(default)]
        customer: u64,
        /// The fixture.
        #[serde(default)]
        fixture: u64,
        /// The market; without it every one.
        #[serde(default)]
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// The selection; without it every one.
        #[serde(default = "every")]
        selection: u8,
        /// The limit; without it the setting is removed.
        #[serde(default)]
        value: Option<Amount>,
    },
    /// Sets prices by hand, or returns the market to its model with none.
    SetPrices {
        /// The fixture.
        fixture: u64,
        /// The market.
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// One a selection; null is no price.
        prices: Vec<Option<Odds>>,
        /// The sequence of the state that they were set for; without it the present one.
        #[serde(default)]
        basis: Option<u64>,
    },
    /// Settles a fixture by its result.
    SettleFixture {
        /// The fixture.
        fixture: u64,
        /// Goals or sets of both sides.
        score: [u16; 2],
        /// How certain it is.
        #[serde(default = "confirmed")]
        certainty: Name<protocol::Certainty>,
    },
    /// Settles one market by its winner.
    SettleMarket {
        /// The fixture.
        fixture: u64,
        /// The market.
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// The winner.
        selection: u8,
        /// How certain it is.
        #[serde(default = "confirmed")]
        certainty: Name<protocol::Certainty>,
    },
    /// Voids a market, or the whole fixture.
    VoidMarket {
        /// The fixture.
        fixture: u64,
        /// The market; without it the whole fixture.
        #[serde(default)]
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
    },
    /// Takes settlements back.
    RollbackSettlement {
        /// The fixture.
        fixture: u64,
        /// The market; without it every one.
        #[serde(default)]
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
    },
    /// Sets how long fixtures that are over stay in memory.
    SetRetention {
        /// Time from their last settlement and planned start, milliseconds; 0 keeps everything.
        ms: u64,
    },
    /// Brings the bet of a named ticket back, by the records that were last told of it and of its fixture.
    Reopen {
        /// The ticket.
        name: String,
        /// Another stake, which makes the record a forgery.
        #[serde(default)]
        stake: Option<Amount>,
    },
    /// Submits a ticket.
    Ticket {
        /// Name for later lines; names are used once.
        #[serde(default)]
        name: Option<String>,
        /// Its id; without it one that follows from time, customer and line number.
        #[serde(default)]
        id: Option<TicketId>,
        /// The customer.
        customer: u64,
        /// The brand.
        #[serde(default = "one")]
        brand: u16,
        /// Currency of the stake.
        #[serde(default = "euro")]
        currency: Currency,
        /// The fixture.
        fixture: u64,
        /// The market.
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// The selection, from 0.
        selection: u8,
        /// The odds that the bettor saw; without them those in force.
        #[serde(default)]
        odds: Option<Odds>,
        /// The stake.
        stake: Amount,
        /// Which changes of the odds are accepted.
        #[serde(default = "exact")]
        policy: Name<protocol::OddsPolicy>,
        /// Tolerance under the policy TOLERANCE.
        #[serde(default)]
        tolerance_permille: u16,
        /// The price version that the bettor saw; without it the one in force.
        #[serde(default)]
        price_version: Option<u64>,
    },
    /// Submits a named ticket again, as a client that got no answer does.
    Resubmit {
        /// The ticket.
        name: String,
        /// Another stake, which makes it another content under the same id.
        #[serde(default)]
        stake: Option<Amount>,
    },
    /// Opens a new epoch, as a restart does.
    Restart {},
    /// Prints something about the state.
    Show {
        /// What.
        what: What,
        /// The fixture of an exposure, price or state.
        #[serde(default)]
        fixture: u64,
        /// The market of a price.
        #[serde(default)]
        market: u16,
        /// The market's line.
        #[serde(default)]
        line: crate::units::Line,
        /// The ticket.
        #[serde(default)]
        name: Option<String>,
        /// The brand of an account.
        #[serde(default = "one")]
        brand: u16,
        /// The customer of an account.
        #[serde(default)]
        customer: u64,
    },
}

/// What `show` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Worst losses and limits of a fixture, its markets and selections.
    Exposure,
    /// Status, scoreboard and reasons for suspension of a fixture.
    Fixture,
    /// Prices, version and status of a market.
    Price,
    /// Decision and result of a named ticket.
    Ticket,
    /// An account, its open liability and limit.
    Account,
    /// Profit of the house over settled bets.
    Profit,
    /// Hash of the whole state.
    Fingerprint,
}

/// A brand and its currency.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// The brand.
    pub id: u16,
    /// Its currency.
    pub currency: Currency,
}

/// A material event.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Material {
    /// The sport.
    pub sport: Name<protocol::Sport>,
    /// The event.
    pub event: Name<protocol::Event>,
    /// The market; 0 is every one.
    #[serde(default)]
    pub market: u16,
}

/// A market to open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarketSpec {
    /// Its number.
    pub market: u16,
    /// Its line.
    #[serde(default)]
    pub line: crate::units::Line,
    /// Number of selections where no model knows the market.
    #[serde(default)]
    pub selections: u8,
}

fn one() -> u16 {
    1
}

fn thousand() -> u32 {
    1000
}

fn every() -> u8 {
    255
}

fn euro() -> Currency {
    Currency(protocol::Currency(*b"EUR"))
}

fn nobody() -> Name<protocol::Side> {
    Name(protocol::Side::None)
}

fn operator() -> Name<protocol::Reason> {
    Name(protocol::Reason::Operator)
}

fn pre_match_stage() -> Name<protocol::Stage> {
    Name(protocol::Stage::PreMatch)
}

fn confirmed() -> Name<protocol::Certainty> {
    Name(protocol::Certainty::Confirmed)
}

fn exact() -> Name<protocol::OddsPolicy> {
    Name(protocol::OddsPolicy::Exact)
}

fn min_stake() -> Amount {
    Amount(10)
}

fn max_stake() -> Amount {
    Amount(500_000)
}

fn max_payout() -> Amount {
    Amount(10_000_000)
}

fn max_odds() -> Odds {
    Odds(protocol::Odds::decimal(1_000_000))
}

fn margin() -> Percent {
    Percent(50_000)
}

fn source_horizon_ms() -> u32 {
    300_000
}

fn customer_limit() -> Amount {
    Amount(2_000_000)
}

fn pre_match() -> [Amount; 3] {
    [5_000_000, 6_000_000, 10_000_000].map(Amount)
}

fn live() -> [Amount; 3] {
    [3_000_000, 4_000_000, 6_000_000].map(Amount)
}

fn brands() -> Vec<Brand> {
    vec![Brand { id: 1, currency: euro() }]
}

fn material() -> Vec<Material> {
    use protocol::{Event, Sport};
    let rule = |sport, event| Material { sport: Name(sport), event: Name(event), market: 0 };
    vec![
        rule(Sport::Football, Event::Goal),
        rule(Sport::Football, Event::GoalCancelled),
        rule(Sport::Football, Event::RedCard),
        rule(Sport::Tennis, Event::Point),
    ]
}
