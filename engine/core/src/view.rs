//! Read-only answers about a partition, for desks, scripts and tests. Nothing here changes state.

use crate::account::Account;
use crate::limits::{EVERY_SELECTION, in_force};
use crate::partition::Partition;
use crate::spine::SPINE;
use touchline_protocol::*;

/// What is at stake on a selection, minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectionExposure {
    /// Odds in force in thousandths, 0 where there is none.
    pub odds_milli: u32,
    /// Stakes of its open and held bets.
    pub staked_minor: i64,
    /// Loss if it wins.
    pub loss_minor: i64,
    /// Limit on that loss now.
    pub limit_minor: i64,
}

/// What is at stake on a market, minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketExposure {
    /// The market.
    pub market: MarketKey,
    /// Its status.
    pub status: MarketStatus,
    /// Reasons for its own suspension, one bit each.
    pub suspended: u32,
    /// Version of its prices.
    pub version: Seq,
    /// Loss at its worst result that is still possible.
    pub worst_minor: i64,
    /// Limit on that loss now.
    pub limit_minor: i64,
    /// Its selections.
    pub selections: Vec<SelectionExposure>,
}

/// What is at stake on a fixture, minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureExposure {
    /// Loss at the worst result that is still possible.
    pub worst_minor: i64,
    /// Whether that is a bound: a sum over markets without common states.
    pub bound: bool,
    /// Limit on that loss now.
    pub limit_minor: i64,
    /// Its markets, in the order they were opened.
    pub markets: Vec<MarketExposure>,
}

/// How much a partition holds: the numbers that must not grow for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entities {
    /// Accounts.
    pub accounts: usize,
    /// Decisions remembered.
    pub decisions: usize,
    /// Tickets that wait for another partition, liability held for others', messages on their way, and those that are not
    /// done with yet.
    pub moving: usize,
    /// Fixtures.
    pub fixtures: usize,
    /// Markets.
    pub markets: usize,
    /// Limits set.
    pub limits: usize,
    /// Bets.
    pub bets: usize,
    /// Fixtures whose retention has begun.
    pub closings: usize,
    /// Bets that ever came back.
    pub reopened: usize,
}

impl std::iter::Sum for Entities {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Entities::default(), |sum, part| Entities {
            accounts: sum.accounts + part.accounts,
            decisions: sum.decisions + part.decisions,
            moving: sum.moving + part.moving,
            fixtures: sum.fixtures + part.fixtures,
            markets: sum.markets + part.markets,
            limits: sum.limits + part.limits,
            bets: sum.bets + part.bets,
            closings: sum.closings + part.closings,
            reopened: sum.reopened + part.reopened,
        })
    }
}

impl Partition {
    /// How much it holds.
    pub fn entities(&self) -> Entities {
        let messages = self.spine.get(&SPINE).map_or(0, |spine| spine.outbox.len());
        Entities {
            accounts: self.accounts.len(),
            decisions: self.results.len(),
            moving: self.pending.len() + self.holds.len() + messages + self.chores.len(),
            fixtures: self.fixtures.len(),
            markets: self.markets.len(),
            limits: self.limits.len(),
            bets: self.bets.len(),
            closings: self.closings.len(),
            reopened: self.reopened.len(),
        }
    }

    /// An account, and the limit on its open liability now in minor units.
    pub fn account_of(&self, brand: BrandId, customer: CustomerId) -> Option<(&Account, i64)> {
        let account = self.accounts.get(&(brand, customer))?;
        Some((account, account.limit(self.rules().configure.customer_limit_minor).0))
    }

    /// The remembered decision on a ticket.
    pub fn decision(&self, brand: BrandId, ticket: TicketId) -> Option<&Decision> {
        self.results.get(&(brand, ticket)).map(|resolved| &resolved.decision)
    }

    /// How the bet of an accepted ticket was settled; `None` where there is no such bet.
    pub fn bet_result(&self, brand: BrandId, ticket: TicketId) -> Option<Option<Payoff>> {
        self.bets.get(&(brand, ticket)).map(|bet| bet.settled)
    }

    /// What is at stake on a fixture that this partition owns.
    pub fn exposure(&self, id: FixtureId) -> Option<FixtureExposure> {
        let fixture = self.fixtures.get(&id)?;
        let limit = |scope, market, selection| {
            in_force(&self.limits, self.rules(), fixture.stage(), scope, id, market, selection)
        };
        let (worst_minor, bound) = self.worst_loss(id, fixture);
        let markets = fixture.markets.iter().filter_map(|key| {
            let market = self.markets.get(&(id, *key))?;
            let selections = market.positions.iter().enumerate().map(|(selection, position)| {
                let scope = LimitScope::Selection;
                SelectionExposure {
                    odds_milli: market.odds.get(selection).map_or(0, |price| price.milli),
                    staked_minor: position.stake,
                    loss_minor: position.loss_if_won(),
                    limit_minor: limit(scope, *key, selection as u8),
                }
            });
            Some(MarketExposure {
                market: *key,
                status: market.status(),
                suspended: market.suspended,
                version: market.version,
                worst_minor: market.worst_loss(fixture.score(), fixture.is_final(), None),
                limit_minor: limit(LimitScope::Market, *key, EVERY_SELECTION),
                selections: selections.collect(),
            })
        });
        Some(FixtureExposure {
            worst_minor,
            bound,
            limit_minor: limit(LimitScope::Fixture, MarketKey::WHOLE_FIXTURE, EVERY_SELECTION),
            markets: markets.collect(),
        })
    }
}
