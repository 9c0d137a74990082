//! What operators and intake services set: accounts, books, fixtures, markets, suspensions, limits, prices by
//! hand, rules.

use crate::account::Account;
use crate::delta::{Change, Context, Delta};
use crate::effect::Audience;
use crate::fixture::Fixture;
use crate::limits::{EVERY_SELECTION, Limit, LimitKey};
use crate::market::{Life, Market, Results, bit, selects};
use crate::partition::Partition;
use crate::rules::{LOGIC_VERSION, Rules};
use touchline_pricing::markets::Market as Shape;
use touchline_protocol::*;

/// Answers the sender of a command.
pub(crate) fn done(delta: &mut Delta, ctx: &Context, of: Kind, code: Code, changed: bool) {
    let to = Audience::Asker { origin: ctx.origin, request: ctx.request };
    delta.effects.push((to, Done { of: of as u16, code, changed, applied: ctx.seq }.into()));
}

/// Something that a person should look at.
pub(crate) fn warn(delta: &mut Delta, fixture: FixtureId, why: &str) {
    delta.event(Alarm { event: 0, severity: Severity::Warning, fixture, note: Text::cut(why) });
}

/// A command that the state of its fixture forbids: FIELD_RANGE for the sender, and why for whoever watches.
pub(crate) fn refused(delta: &mut Delta, ctx: &Context, of: Kind, fixture: FixtureId, why: &str) {
    warn(delta, fixture, &format!("{} refused: {why}", of.name()));
    done(delta, ctx, of, Code::FieldRange, false);
}

/// The configuration before the first `Configure`: no brand, so no bet.
pub(crate) fn nothing_configured() -> Configure {
    Configure {
        operator: OperatorId(0),
        min_stake_minor: 1,
        max_stake_minor: 1,
        max_payout_minor: 0,
        max_odds_milli: Odds::MIN_MILLI,
        football_margin_ppm: 0,
        tennis_margin_ppm: 0,
        customer_limit_minor: 0,
        selection_limit_pre_minor: 0,
        selection_limit_live_minor: 0,
        market_limit_pre_minor: 0,
        market_limit_live_minor: 0,
        fixture_limit_pre_minor: 0,
        fixture_limit_live_minor: 0,
        source_horizon_ms: 0,
        brands: List::default(),
        material: List::default(),
    }
}

/// New rules for every partition.
pub(crate) fn configure(p: &Partition, ctx: &Context, m: &Configure) -> Delta {
    let mut delta = Delta::default();
    let changed = p.rules().configure != *m;
    if changed {
        delta.change(Change::Rules(Box::new(Rules { configure: m.clone(), ..p.rules().clone() })));
    }
    done_once(p, &mut delta, ctx, Kind::Configure, Code::Accepted, changed);
    delta
}

/// Another version of the rules, where this program has it.
pub(crate) fn activate(p: &Partition, ctx: &Context, m: &Activate) -> Delta {
    let mut delta = Delta::default();
    let known = m.logic_version == LOGIC_VERSION;
    let code = if known { Code::Accepted } else { Code::FieldRange };
    let changed = known && p.rules().logic_version != m.logic_version;
    if changed {
        delta.change(Change::Rules(Box::new(Rules { logic_version: m.logic_version, ..p.rules().clone() })));
    }
    done_once(p, &mut delta, ctx, Kind::Activate, code, changed);
    delta
}

/// One answer for a frame that every partition applies.
pub(crate) fn done_once(
    p: &Partition,
    delta: &mut Delta,
    ctx: &Context,
    of: Kind,
    code: Code,
    changed: bool,
) {
    if p.id == PartitionId(0) {
        done(delta, ctx, of, code, changed);
    }
}

/// Opens or closes a brand's book.
pub(crate) fn set_book(p: &Partition, ctx: &Context, m: &SetBook) -> Delta {
    let mut delta = Delta::default();
    let known = p.rules().currency(m.brand).is_some();
    let changed = known && p.book_open(m.brand) != m.open;
    if changed {
        delta.change(Change::Book(m.brand, m.open));
    }
    let code = if known { Code::Accepted } else { Code::BettingClosed };
    done_once(p, &mut delta, ctx, Kind::SetBook, code, changed);
    delta
}

/// Opens an account.
pub(crate) fn open_account(p: &Partition, ctx: &Context, m: &OpenAccount) -> Delta {
    let mut delta = Delta::default();
    let key = (m.brand, m.customer);
    let full = p.accounts.len() >= p.rules().genesis.accounts_max as usize;
    let (code, changed) = if p.accounts.contains(&key) {
        (Code::Accepted, false)
    } else if p.rules().currency(m.brand) != Some(m.currency) {
        (Code::CurrencyUnsupported, false)
    } else if full {
        (Code::Overloaded, false)
    } else {
        delta.change(Change::Account(key, Account::new(m.factor_permille)));
        (Code::Accepted, true)
    };
    done(&mut delta, ctx, Kind::OpenAccount, code, changed);
    delta
}

/// Changes who may bet.
pub(crate) fn set_account_status(p: &Partition, ctx: &Context, m: &SetAccountStatus) -> Delta {
    let mut delta = Delta::default();
    let key = (m.brand, m.customer);
    let (code, changed) = match p.accounts.get(&key) {
        None => (Code::AccountNotFound, false),
        Some(account) if account.status == m.status => (Code::Accepted, false),
        Some(account) => {
            delta.change(Change::Account(key, Account { status: m.status, ..*account }));
            (Code::Accepted, true)
        }
    };
    done(&mut delta, ctx, Kind::SetAccountStatus, code, changed);
    delta
}

/// Opens a fixture.
pub(crate) fn open_fixture(p: &Partition, ctx: &Context, m: &OpenFixture) -> Delta {
    let mut delta = Delta::default();
    let full = p.fixtures.len() >= p.rules().genesis.fixtures_max as usize;
    let (code, changed) = if p.fixtures.contains(&m.fixture) {
        (Code::Accepted, false)
    } else if p.retention().is_some_and(|retention| m.start_at <= retention.horizon(ctx.at)) {
        // It may have been open before, and have left.
        (Code::Expired, false)
    } else if full {
        (Code::Overloaded, false)
    } else {
        let suspended = if p.is_fresh(m.source, ctx.at) { 0 } else { bit(Reason::FeedStale) };
        delta.change(Change::Open(m.fixture, Box::new(Fixture::new(m.clone(), suspended))));
        delta.shown_fixtures.push(m.fixture);
        (Code::Accepted, true)
    };
    done(&mut delta, ctx, Kind::OpenFixture, code, changed);
    delta
}

/// Opens markets; the fixture's model prices them at once.
pub(crate) fn open_markets(p: &Partition, ctx: &Context, m: &OpenMarkets) -> Delta {
    let mut delta = Delta::default();
    let fixture = p.fixtures.get(&m.fixture);
    let code = match fixture {
        None => Code::FixtureNotFound,
        Some(fixture) if !fixture.is_open() => Code::FixtureClosed,
        Some(_) => Code::Accepted,
    };
    let Some(fixture) = fixture.filter(|_| code == Code::Accepted) else {
        done(&mut delta, ctx, Kind::OpenMarkets, code, false);
        return delta;
    };
    let mut after = fixture.clone();
    let mut opened = Vec::new();
    for spec in m.markets.iter() {
        if after.markets.contains(&spec.market) {
            continue;
        }
        let Some(market) = new_market(p, fixture.opened.sport, spec) else {
            done(&mut delta, ctx, Kind::OpenMarkets, Code::FieldRange, false);
            return Delta { changes: Vec::new(), ..delta };
        };
        after.markets.push(spec.market);
        opened.push((spec.market, market));
    }
    if after.markets.len() > p.rules().genesis.markets_max as usize {
        done(&mut delta, ctx, Kind::OpenMarkets, Code::Overloaded, false);
        return delta;
    }
    let changed = !opened.is_empty();
    let mut fresh = Vec::new();
    if let Ok(Some(quotes)) = crate::quote::Quoter::new(&after, p.rules()) {
        fresh.extend(opened.iter().filter_map(|(key, market)| Some((*key, quotes.quote(market)?))));
    }
    for (key, market) in opened {
        delta.change(Change::OpenMarket(m.fixture, key, Box::new(market)));
        delta.shown_markets.push((m.fixture, key));
    }
    crate::feed::offer(p.id, m.fixture, ctx.seq, fresh, &mut delta);
    done(&mut delta, ctx, Kind::OpenMarkets, Code::Accepted, changed);
    delta
}

/// A market from its specification; `None` where the kind needs a number of selections, or a line, that is
/// not there.
pub(crate) fn new_market(p: &Partition, sport: Sport, spec: &MarketSpec) -> Option<Market> {
    let key = spec.market;
    match (sport, Shape::from_key(key.kind, key.line)) {
        (Sport::Tennis, Ok(shape @ Shape::TennisWinner)) => {
            Some(Market::new(Results::Sets(shape), shape.selections()))
        }
        (Sport::Football, Ok(shape)) if shape != Shape::TennisWinner => {
            Some(Market::new(p.results_of(key, shape), shape.selections()))
        }
        // Kinds that have a model elsewhere, but a line that it refuses, are mistakes rather than new kinds.
        (Sport::Football, Err(_)) if [1, 16, 18, 29, 45].contains(&key.kind) => None,
        _ if spec.selections >= 2 => Some(Market::new(Results::Named, spec.selections.into())),
        _ => None,
    }
}

/// Suspends or releases a fixture or market.
pub(crate) fn suspend(p: &Partition, ctx: &Context, m: &Suspend) -> Delta {
    let mut delta = Delta::default();
    let set = |reasons: u32| if m.on { reasons | bit(m.reason) } else { reasons & !bit(m.reason) };
    let (code, changed) = match p.fixtures.get(&m.fixture) {
        None => (Code::FixtureNotFound, false),
        Some(fixture) if m.market.kind == 0 => {
            let after = set(fixture.suspended);
            delta.change(Change::Suspended(m.fixture, after));
            if m.reason == Reason::PriceSanity && !m.on {
                delta.change(Change::ModelRefused(m.fixture, false));
            }
            delta.shown_fixtures.push(m.fixture);
            (Code::Accepted, after != fixture.suspended)
        }
        Some(_) => match p.markets.get(&(m.fixture, m.market)) {
            None => (Code::MarketNotFound, false),
            Some(market) => {
                let after = set(market.suspended);
                delta.change(Change::MarketSuspended(m.fixture, m.market, after));
                delta.shown_markets.push((m.fixture, m.market));
                (Code::Accepted, after != market.suspended)
            }
        },
    };
    done(&mut delta, ctx, Kind::Suspend, code, changed);
    delta
}

/// Sets or removes a limit; the change is an event with the values before and after.
pub(crate) fn set_limit(p: &Partition, ctx: &Context, m: &SetLimit) -> Delta {
    let mut delta = Delta::default();
    let before = if m.scope == LimitScope::Customer {
        let key = (m.brand, m.customer);
        let Some(account) = p.accounts.get(&key) else {
            done(&mut delta, ctx, Kind::SetLimit, Code::AccountNotFound, false);
            return delta;
        };
        delta.change(Change::Account(key, Account { limit_minor: m.value_minor, ..*account }));
        account.limit_minor
    } else {
        let key = limit_key(m);
        delta.change(Change::Limit(key, (m.value_minor >= 0).then_some(m.value_minor)));
        p.limits.get(&key).map_or(-1, |limit| limit.0)
    };
    let changed = before != m.value_minor;
    if changed {
        delta.event(LimitChanged {
            event: 0,
            scope: m.scope,
            stage: m.stage,
            brand: m.brand,
            customer: m.customer,
            fixture: m.fixture,
            market: m.market,
            selection: m.selection,
            before_minor: before,
            after_minor: m.value_minor,
            operator: m.operator,
            note: m.note.clone(),
        });
    }
    done(&mut delta, ctx, Kind::SetLimit, Code::Accepted, changed);
    delta
}

impl Partition {
    /// Stores a limit, or removes it, and what finds it by its fixture.
    pub(crate) fn set_limit(&mut self, key: LimitKey, limit: Option<i64>) {
        let of_fixture = self.limits_by_fixture.entry(key.fixture).or_default();
        match limit {
            Some(limit) => {
                of_fixture.insert(key);
                self.limits.put(key, Limit(limit));
            }
            None => {
                of_fixture.remove(&key);
                self.limits.remove(&key);
            }
        }
        if of_fixture.is_empty() {
            self.limits_by_fixture.remove(&key.fixture);
        }
    }
}

/// Where a setting is kept: what its scope does not need is left out.
fn limit_key(m: &SetLimit) -> LimitKey {
    let (market, selection) = match m.scope {
        LimitScope::Selection => (m.market, m.selection),
        LimitScope::Market => (m.market, EVERY_SELECTION),
        LimitScope::Fixture | LimitScope::Customer => (MarketKey::WHOLE_FIXTURE, EVERY_SELECTION),
    };
    LimitKey { scope: m.scope, stage: m.stage, fixture: m.fixture, market, selection }
}

/// Prices by hand, or back to the model.
pub(crate) fn set_prices(p: &Partition, ctx: &Context, m: &SetPrices) -> Delta {
    let mut delta = Delta::default();
    let Some(fixture) = p.fixtures.get(&m.fixture) else {
        done(&mut delta, ctx, Kind::SetPrices, Code::FixtureNotFound, false);
        return delta;
    };
    let code = match p.markets.get(&(m.fixture, m.market)) {
        None => Code::MarketNotFound,
        Some(market) if market.life != Life::Open => Code::MarketNotOpen,
        Some(market) if !m.prices.is_empty() && m.prices.len() != market.selections() => Code::FieldRange,
        // What takes prices away is right whatever its sender had seen.
        Some(market) if m.basis < market.mark && m.prices.iter().any(|price| *price != Price::NONE) => {
            market.mark_code
        }
        Some(market) => {
            let by_hand = !m.prices.is_empty();
            let odds = if by_hand { m.prices.0.clone() } else { vec![Price::NONE; market.selections()] };
            delta.change(Change::Odds(m.fixture, m.market, odds));
            delta.change(Change::ByHand(m.fixture, m.market, by_hand));
            delta.shown_markets.push((m.fixture, m.market));
            if !by_hand && let Ok(Some(quotes)) = crate::quote::Quoter::new(fixture, p.rules()) {
                let fresh = quotes.quote(market).map(|odds| (m.market, odds));
                crate::feed::offer(p.id, m.fixture, ctx.seq, Vec::from_iter(fresh), &mut delta);
            }
            Code::Accepted
        }
    };
    done(&mut delta, ctx, Kind::SetPrices, code, code == Code::Accepted);
    delta
}

/// Markets of a fixture that a command names, with their state.
pub(crate) fn named_markets(
    p: &Partition,
    id: FixtureId,
    wanted: MarketKey,
) -> impl Iterator<Item = (MarketKey, &Market)> {
    let markets = p.fixtures.get(&id).map(|fixture| fixture.markets.as_slice()).unwrap_or_default();
    let named = markets.iter().filter(move |key| selects(wanted, **key));
    named.filter_map(move |key| p.markets.get(&(id, *key)).map(|market| (*key, market)))
}
