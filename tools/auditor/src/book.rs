//! Fixtures, accounts and limits as the log sets them.

use crate::market::{Decided, Market, STATES, Sums, state_of};
use std::collections::BTreeMap;
use touchline_protocol::*;

/// A fixture.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Its sport.
    pub sport: Sport,
    /// Its source.
    pub source: SourceId,
    /// Its planned start.
    pub start_at: At,
    /// Its life.
    pub status: FixtureStatus,
    /// Reasons for suspension.
    pub suspended: u32,
    /// The scoreboard.
    pub board: Scoreboard,
    /// Last position of its source.
    pub source_seq: u64,
    /// Its result, once given.
    pub result: Option<[u16; 2]>,
    /// Last frame that its model had something to judge by.
    pub input: Seq,
    /// Sets that win the match; 0 in other sports.
    pub sets_to_win: u16,
    /// Its markets.
    pub markets: BTreeMap<MarketKey, Market>,
    /// Loss in each score state, over open markets by score.
    pub losses: Vec<i64>,
    /// Whether a score that is still possible belongs to the state.
    pub possible: Vec<bool>,
    /// Score, finality and number of markets that `possible` and the markets' rows were worked out for.
    pub worked_out_for: Option<([u16; 2], bool, usize)>,
}

impl Fixture {
    /// Whether the present score is final.
    pub fn ended(&self) -> bool {
        matches!(self.status, FixtureStatus::Ended | FixtureStatus::Cancelled)
    }

    /// Whether it has its result or is called off.
    pub fn over(&self) -> bool {
        self.result.is_some() || self.status == FixtureStatus::Cancelled
    }

    /// Works out again what is still possible, after the score or life changed.
    pub fn refresh(&mut self) {
        let score = self.result.unwrap_or(self.board.score);
        let wanted = Some((score, self.ended(), self.markets.len()));
        if self.worked_out_for == wanted {
            return;
        }
        self.worked_out_for = wanted;
        let finals = Market::finals(score, self.ended());
        self.possible = vec![false; STATES];
        finals.iter().for_each(|(h, a)| self.possible[state_of(*h, *a)] = true);
        self.markets.values_mut().for_each(|market| market.refresh(&finals));
    }

    /// Puts a bet at stake (+1) or takes it away (−1).
    pub fn stake(&mut self, key: MarketKey, selection: usize, bet: &Sums, sign: i64) {
        let Some(market) = self.markets.get_mut(&key) else { return };
        market.sums[selection].add(bet, sign);
        if market.open && market.decided == Decided::ByScore {
            for (loss, payoff) in self.losses.iter_mut().zip(&market.best[selection]) {
                *loss += sign * bet.loss(*payoff);
            }
        }
    }

    /// Opens or closes a market; closed ones count nowhere.
    pub fn set_open(&mut self, key: MarketKey, open: bool) {
        let Some(market) = self.markets.get_mut(&key).filter(|market| market.open != open) else { return };
        market.open = open;
        if market.decided == Decided::ByScore {
            let sign = if open { 1 } else { -1 };
            for (sums, best) in market.sums.iter().zip(&market.best) {
                for (loss, payoff) in self.losses.iter_mut().zip(best) {
                    *loss += sign * sums.loss(*payoff);
                }
            }
        }
    }

    /// The worst loss: the largest over the possible score states, and the worst of every other open market;
    /// with one more bet on a selection.
    pub fn worst_with(&self, more: Option<(MarketKey, usize, &Sums)>) -> i64 {
        let in_market =
            |key: MarketKey| more.filter(|(of, ..)| *of == key).map(|(_, selection, bet)| (selection, bet));
        let extra: Vec<i64> = match more {
            Some((key, selection, bet)) if self.markets[&key].decided == Decided::ByScore => {
                self.markets[&key].best[selection].iter().map(|payoff| bet.loss(*payoff)).collect()
            }
            _ => vec![0; STATES],
        };
        let states = (0..STATES).filter(|state| self.possible[*state]);
        let by_score = states.map(|state| self.losses[state] + extra[state]).max().unwrap_or(0);
        let others = self.markets.values().filter(|market| market.open && market.decided != Decided::ByScore);
        by_score + others.map(|market| market.worst_with(in_market(market.key))).sum::<i64>()
    }
}

/// An account.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Who may bet.
    pub status: AccountStatus,
    /// Scale of its limits.
    pub factor_permille: u32,
    /// Its own limit, −1 for the default.
    pub limit: i64,
    /// Open liability.
    pub open: i64,
}

/// Where a limit was set: scope, stage, fixture, market, selection.
pub type LimitKey = (LimitScope, Stage, FixtureId, MarketKey, u8);

/// Everything that tickets are checked against.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The last configuration.
    pub configure: Option<Configure>,
    /// Books closed.
    pub closed: BTreeMap<BrandId, bool>,
    /// Promises of sources.
    pub promises: BTreeMap<SourceId, At>,
    /// Accounts.
    pub accounts: BTreeMap<(BrandId, CustomerId), Account>,
    /// Fixtures.
    pub fixtures: BTreeMap<FixtureId, Fixture>,
    /// Limits.
    pub limits: BTreeMap<LimitKey, i64>,
}

impl Book {
    /// A brand's currency.
    pub fn currency(&self, brand: BrandId) -> Option<Currency> {
        let brands = self.configure.iter().flat_map(|configure| configure.brands.iter());
        brands.filter(|rule| rule.brand == brand).map(|rule| rule.currency).next()
    }

    /// Whether a source is fresh.
    pub fn fresh(&self, source: SourceId, at: At) -> bool {
        source == SourceId(0) || self.promises.get(&source).is_some_and(|until| at <= *until)
    }

    /// The limit in force.
    pub fn limit(
        &self,
        scope: LimitScope,
        fixture: &Fixture,
        id: FixtureId,
        market: MarketKey,
        selection: u8,
    ) -> i64 {
        let live = fixture.status == FixtureStatus::Live;
        let stage = if live { Stage::Live } else { Stage::PreMatch };
        let whole = MarketKey::WHOLE_FIXTURE;
        let places: &[(MarketKey, u8)] = match scope {
            LimitScope::Selection => &[(market, selection), (market, 255), (whole, 255)],
            LimitScope::Market => &[(market, 255), (whole, 255)],
            _ => &[(whole, 255)],
        };
        for (market, selection) in places {
            if let Some(limit) = self.limits.get(&(scope, stage, id, *market, *selection)) {
                return *limit;
            }
        }
        let Some(c) = &self.configure else { return 0 };
        match (scope, live) {
            (LimitScope::Selection, false) => c.selection_limit_pre_minor,
            (LimitScope::Selection, true) => c.selection_limit_live_minor,
            (LimitScope::Market, false) => c.market_limit_pre_minor,
            (LimitScope::Market, true) => c.market_limit_live_minor,
            (LimitScope::Fixture, false) => c.fixture_limit_pre_minor,
            (LimitScope::Fixture, true) => c.fixture_limit_live_minor,
            (LimitScope::Customer, _) => c.customer_limit_minor,
        }
    }

    /// Whether a customer's open liability would exceed its limit with `more`.
    pub fn over_customer_limit(&self, brand: BrandId, customer: CustomerId, more: i64) -> bool {
        let Some(account) = self.accounts.get(&(brand, customer)) else { return false };
        let base = match (account.limit, &self.configure) {
            (own, _) if own >= 0 => own,
            (_, Some(configure)) => configure.customer_limit_minor,
            (_, None) => 0,
        };
        let limit = i128::from(base) * i128::from(account.factor_permille) / 1000;
        i128::from(account.open + more) > limit
    }
}
