//! Limits on liability: which one is in force where, and whether a bet passes.

use crate::fingerprint::{Reader, put};
use crate::rules::Rules;
use crate::table::{Entity, Key, Stored, Table};
use touchline_protocol::wire::Fault;
use touchline_protocol::{FixtureId, LimitScope, MarketKey, SetLimit, Stage};

/// Every selection of a market, where a setting names a selection.
pub const EVERY_SELECTION: u8 = SetLimit::EVERY_SELECTION;

/// Where a limit was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitKey {
    /// What it bounds.
    pub scope: LimitScope,
    /// When.
    pub stage: Stage,
    /// The fixture.
    pub fixture: FixtureId,
    /// The market; kind 0 is every one.
    pub market: MarketKey,
    /// The selection; 255 is every one.
    pub selection: u8,
}

impl Key for LimitKey {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.scope, out);
        put(&self.stage, out);
        put(&self.fixture, out);
        put(&self.market, out);
        put(&self.selection, out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(LimitKey {
            scope: from.field()?,
            stage: from.field()?,
            fixture: from.field()?,
            market: from.field()?,
            selection: from.field()?,
        })
    }
}

/// A limit in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub i64);

impl Entity for Limit {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
    }
}

impl<K> Stored<K> for Limit {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        from.field().map(Limit)
    }
}

/// The limit in force: the most specific setting, else the default.
pub fn in_force(
    set: &Table<LimitKey, Limit>,
    rules: &Rules,
    stage: Stage,
    scope: LimitScope,
    fixture: FixtureId,
    market: MarketKey,
    selection: u8,
) -> i64 {
    let at = |market, selection| {
        let key = LimitKey { scope, stage, fixture, market, selection };
        set.get(&key).map(|limit| limit.0)
    };
    let whole = MarketKey::WHOLE_FIXTURE;
    let specific = match scope {
        LimitScope::Selection => at(market, selection)
            .or_else(|| at(market, EVERY_SELECTION))
            .or_else(|| at(whole, EVERY_SELECTION)),
        LimitScope::Market => at(market, EVERY_SELECTION).or_else(|| at(whole, EVERY_SELECTION)),
        LimitScope::Fixture | LimitScope::Customer => at(whole, EVERY_SELECTION),
    };
    let c = &rules.configure;
    specific.unwrap_or(match (scope, stage) {
        (LimitScope::Selection, Stage::PreMatch) => c.selection_limit_pre_minor,
        (LimitScope::Selection, Stage::Live) => c.selection_limit_live_minor,
        (LimitScope::Market, Stage::PreMatch) => c.market_limit_pre_minor,
        (LimitScope::Market, Stage::Live) => c.market_limit_live_minor,
        (LimitScope::Fixture, Stage::PreMatch) => c.fixture_limit_pre_minor,
        (LimitScope::Fixture, Stage::Live) => c.fixture_limit_live_minor,
        (LimitScope::Customer, _) => c.customer_limit_minor,
    })
}

/// Whether a worst loss may go from `before` to `after`: within the limit, or, where the limit is not 0, no
/// worse than before. So a bet that reduces risk passes a scope that is already over its limit. Most bets end
/// within it, and what was before need not be known.
pub fn passes(limit: i64, before: impl FnOnce() -> i64, after: i64) -> bool {
    after <= limit || (limit > 0 && after <= before())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_risk_reducing_bet_passes_unless_the_limit_is_zero() {
        assert!(passes(100, || 0, 100));
        assert!(!passes(100, || 0, 101));
        assert!(passes(100, || 500, 500) && passes(100, || 500, 400));
        assert!(!passes(100, || 500, 501));
        assert!(!passes(0, || 500, 400));
        assert!(passes(0, || 10, -5), "no loss is possible at all");
    }
}
