//! The checks of a ticket, in the order of the rules.

use crate::book::{Book, Fixture};
use crate::market::{Market, Sums};
use touchline_protocol::*;

/// Book, account, currency: rule 4.
pub fn barred(book: &Book, m: &SubmitTicket) -> Option<Code> {
    if book.currency(m.brand).is_none() || book.closed.get(&m.brand) == Some(&true) {
        return Some(Code::BettingClosed);
    }
    match book.accounts.get(&(m.brand, m.customer)).map(|account| account.status) {
        None => Some(Code::AccountNotFound),
        Some(AccountStatus::SelfExcluded) => Some(Code::SelfExcluded),
        Some(AccountStatus::Blocked) => Some(Code::BlockedCustomer),
        Some(AccountStatus::Open) if book.currency(m.brand) != Some(m.currency) => {
            Some(Code::CurrencyUnsupported)
        }
        Some(AccountStatus::Open) => None,
    }
}

/// Net winnings.
pub fn winnings(odds: Odds, stake: Stake) -> i64 {
    crate::market::returned(odds, stake, Payoff::Won) - stake.0
}

/// The owner's checks, rules 6 to 12: the odds to be struck or the first failing code.
pub fn owner_check(book: &Book, at: At, m: &SubmitTicket, home_code: Code) -> Result<Odds, Code> {
    let fixture = book.fixtures.get(&m.fixture).ok_or(Code::FixtureNotFound)?;
    if fixture.ended() {
        return Err(Code::FixtureClosed);
    }
    let market = fixture.markets.get(&m.market).ok_or(Code::MarketNotFound)?;
    if fixture.suspended != 0 || market.suspended != 0 {
        return Err(Code::MarketSuspended);
    }
    if !market.open || !market.priced() {
        return Err(Code::MarketNotOpen);
    }
    let current = market.odds.get(usize::from(m.selection)).filter(|price| price.milli > 0);
    let Some(current) = current else { return Err(Code::SelectionInactive) };
    if market.is_decided() {
        return Err(Code::PastCutoff);
    }
    if !book.fresh(fixture.source, at) {
        return Err(Code::FeedStale);
    }
    if m.price_version < market.mark.0 || market.version < market.mark.0 {
        return Err(market.mark.1);
    }
    let asked = i128::from(m.odds.milli);
    let now = i128::from(current.milli);
    // Of equal thousandths, a fraction that the ticket names may still be more, or less, than what is published.
    let beyond = if now == asked && m.odds.den > 0 {
        let (num, den) = if current.den > 0 {
            (i128::from(current.num), i128::from(current.den))
        } else {
            (now - 1000, 1000)
        };
        (i128::from(m.odds.num) * den - num * i128::from(m.odds.den)).signum()
    } else {
        (asked - now).signum()
    };
    let refused = match m.policy {
        OddsPolicy::Exact => beyond != 0,
        OddsPolicy::Higher => beyond > 0,
        OddsPolicy::Any => false,
        OddsPolicy::Tolerance => 1000 * now < asked * (1000 - i128::from(m.tolerance_permille)),
    };
    if refused {
        return Err(Code::OddsChanged);
    }
    let odds = Odds { milli: current.milli, num: current.num, den: current.den };
    let c = book.configure.as_ref().ok_or(Code::BelowMinStake)?;
    if m.stake.0 < c.min_stake_minor {
        return Err(Code::BelowMinStake);
    }
    if m.stake.0 > c.max_stake_minor {
        return Err(Code::AboveMaxStake);
    }
    if winnings(odds, m.stake) + m.stake.0 > c.max_payout_minor {
        return Err(Code::AboveMaxPayout);
    }
    if odds.milli > c.max_odds_milli {
        return Err(Code::OddsTooHigh);
    }
    if home_code != Code::Accepted {
        return Err(home_code);
    }
    limits(book, m, fixture, market, odds)?;
    Ok(odds)
}

fn limits(book: &Book, m: &SubmitTicket, fixture: &Fixture, market: &Market, odds: Odds) -> Result<(), Code> {
    let selection = usize::from(m.selection);
    let bet = Sums::of(odds, m.stake);
    let passes = |limit: i64, before: i64, after: i64| after <= limit || (limit > 0 && after <= before);
    let limit = |scope| book.limit(scope, fixture, m.fixture, m.market, m.selection);
    let lost = market.sums[selection].loss(Payoff::Won);
    if !passes(limit(LimitScope::Selection), lost, lost + bet.loss(Payoff::Won)) {
        return Err(Code::SelectionLimit);
    }
    if !passes(limit(LimitScope::Market), market.worst_with(None), market.worst_with(Some((selection, &bet))))
    {
        return Err(Code::MarketLimit);
    }
    let (before, after) = (fixture.worst_with(None), fixture.worst_with(Some((m.market, selection, &bet))));
    if !passes(limit(LimitScope::Fixture), before, after) {
        return Err(Code::FixtureLimit);
    }
    Ok(())
}
