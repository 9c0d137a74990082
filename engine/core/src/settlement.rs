//! Results: settling, voiding and taking back, at the fixture's owner and at each bet's home.

use crate::delta::{Change, Context, Delta};
use crate::fixture::{Fixture, status_of};
use crate::market::{Life, Market, Results, bit};
use crate::operate::{done, named_markets, refused};
use crate::partition::Partition;
use crate::results::{Bet, TicketKey};
use crate::ticket::no_hop;
use touchline_protocol::units::returned_half_lost;
use touchline_protocol::*;

/// Selections of one message; a fixture with more takes several.
const RESULTS_PER_MESSAGE: usize = 2048;

/// Markets to close with the results of their selections, and what the command says of their fixture.
struct Closing {
    kind: Kind,
    markets: Vec<(MarketKey, Vec<Payoff>)>,
    life: Life,
    certainty: Certainty,
    /// The fixture's result, where the command gives it.
    result: Option<[u16; 2]>,
    /// Whether the fixture is called off.
    off: bool,
}

/// Gives a fixture its result, which settles every open market that a score or sets decide.
pub(crate) fn settle_fixture(p: &Partition, ctx: &Context, m: &SettleFixture) -> Delta {
    let result = [m.home, m.away];
    if let Some(why) = p.fixtures.get(&m.fixture).and_then(|fixture| fixture.refuses_result(result)) {
        let mut delta = Delta::default();
        refused(&mut delta, ctx, Kind::SettleFixture, m.fixture, why);
        return delta;
    }
    let by_result = |market: &Market| match &market.results {
        Results::Score(shape, _) | Results::Sets(shape) => Some(shape.class_of(m.home.into(), m.away.into())),
        Results::Named => None,
    };
    let markets = open_markets(p, m.fixture, MarketKey::WHOLE_FIXTURE)
        .filter_map(|(key, market)| Some((key, market.outcomes(by_result(market)?))))
        .collect();
    let (kind, life, result) = (Kind::SettleFixture, Life::Settled, Some(result));
    close(p, ctx, m.fixture, Closing { kind, markets, life, certainty: m.certainty, result, off: false })
}

/// Settles one market by its winner.
pub(crate) fn settle_market(p: &Partition, ctx: &Context, m: &SettleMarket) -> Delta {
    let winner = usize::from(m.selection);
    let markets = open_markets(p, m.fixture, m.market)
        .filter(|(key, market)| {
            *key == m.market && matches!(market.results, Results::Named | Results::Sets(_))
        })
        .filter(|(_, market)| winner < market.selections())
        .map(|(key, market)| (key, market.outcomes(winner)))
        .collect();
    let (kind, life) = (Kind::SettleMarket, Life::Settled);
    close(
        p,
        ctx,
        m.fixture,
        Closing { kind, markets, life, certainty: m.certainty, result: None, off: false },
    )
}

/// Voids one open market, or all of them and with them the fixture.
pub(crate) fn void(p: &Partition, ctx: &Context, m: &VoidMarket) -> Delta {
    let markets = open_markets(p, m.fixture, m.market)
        .map(|(key, market)| (key, vec![Payoff::Void; market.selections()]))
        .collect();
    let (kind, life, certainty) = (Kind::VoidMarket, Life::Cancelled, Certainty::Confirmed);
    let off = m.market.kind == 0;
    close(p, ctx, m.fixture, Closing { kind, markets, life, certainty, result: None, off })
}

fn open_markets(
    p: &Partition,
    id: FixtureId,
    wanted: MarketKey,
) -> impl Iterator<Item = (MarketKey, &Market)> {
    named_markets(p, id, wanted).filter(|(_, market)| market.life == Life::Open)
}

/// Closes markets and tells every partition.
fn close(p: &Partition, ctx: &Context, id: FixtureId, closing: Closing) -> Delta {
    let mut delta = Delta::default();
    let Some(fixture) = p.fixtures.get(&id) else {
        done(&mut delta, ctx, closing.kind, Code::FixtureNotFound, false);
        return delta;
    };
    let ends = (closing.result.is_some() || closing.off) && !fixture.is_settled();
    if closing.markets.is_empty() && !ends {
        done(&mut delta, ctx, closing.kind, Code::MarketNotOpen, false);
        return delta;
    }
    let (certainty, life) = (closing.certainty, closing.life);
    let mut results = Vec::new();
    for (key, outcomes) in &closing.markets {
        delta.change(Change::Life(id, *key, life));
        delta.shown_markets.push((id, *key));
        results.extend(outcomes.iter().enumerate().map(|(selection, payoff)| SelectionResult {
            market: *key,
            selection: selection as u8,
            payoff: *payoff,
        }));
        delta.event(MarketSettled {
            event: 0,
            fixture: id,
            market: *key,
            status: if life == Life::Settled { MarketStatus::Settled } else { MarketStatus::Cancelled },
            certainty,
            outcomes: List(outcomes.iter().map(|payoff| Outcome { payoff: *payoff }).collect()),
        });
    }
    for part in results.chunks(RESULTS_PER_MESSAGE) {
        let message = Settled { hop: no_hop(), fixture: id, certainty, results: List(part.to_vec()) };
        delta.send(PartitionId::ALL, message);
    }
    let result = fixture.result.or(closing.result);
    let status = status_after(p, id, fixture, result, &closing);
    delta.change(Change::Result(id, result));
    delta.change(Change::Status(id, status));
    if matches!(status, FixtureStatus::Closed | FixtureStatus::Cancelled) {
        crate::archive::close(p, ctx, id, fixture, &mut delta);
    }
    delta.shown_fixtures.push(id);
    done(&mut delta, ctx, closing.kind, Code::Accepted, true);
    delta
}

/// A fixture's life once markets are closed: it goes on until it has its result or is called off, however few of
/// its markets are open, and with its result it waits for those that the result does not decide.
fn status_after(
    p: &Partition,
    id: FixtureId,
    fixture: &Fixture,
    result: Option<[u16; 2]>,
    closing: &Closing,
) -> FixtureStatus {
    let whole = MarketKey::WHOLE_FIXTURE;
    let is_paid = || named_markets(p, id, whole).any(|(_, market)| market.life == Life::Settled);
    let still_open = || open_markets(p, id, whole).count() > closing.markets.len();
    match result {
        _ if closing.off && !is_paid() => FixtureStatus::Cancelled,
        _ if closing.off => FixtureStatus::Closed,
        None => fixture.status,
        Some(_) if still_open() => FixtureStatus::Ended,
        Some(_) => FixtureStatus::Closed,
    }
}

/// Takes settlements and voids back. The result of the fixture goes with the first market that it decided.
pub(crate) fn roll_back(p: &Partition, ctx: &Context, m: &RollbackSettlement) -> Delta {
    let mut delta = Delta::default();
    let Some(fixture) = p.fixtures.get(&m.fixture) else {
        done(&mut delta, ctx, Kind::RollbackSettlement, Code::FixtureNotFound, false);
        return delta;
    };
    let is_whole = m.market.kind == 0;
    let closed: Vec<_> =
        named_markets(p, m.fixture, m.market).filter(|(_, market)| market.life != Life::Open).collect();
    if closed.is_empty() && !(is_whole && fixture.is_settled()) {
        done(&mut delta, ctx, Kind::RollbackSettlement, Code::Accepted, false);
        return delta;
    }
    if p.closings.get(&m.fixture).is_some_and(|closing| closing.leaving) {
        done(&mut delta, ctx, Kind::RollbackSettlement, Code::FixtureClosed, false);
        return delta;
    }
    open_again(&mut delta, m.fixture, fixture, &closed, is_whole);
    done(&mut delta, ctx, Kind::RollbackSettlement, Code::Accepted, true);
    delta
}

/// Opens closed markets of a fixture, and with them the bets on them wherever they are; of the whole fixture, also what
/// was said of it by itself.
pub(crate) fn open_again(
    delta: &mut Delta,
    id: FixtureId,
    fixture: &Fixture,
    closed: &[(MarketKey, &Market)],
    is_whole: bool,
) {
    let mut markets = List::default();
    for (key, market) in closed {
        markets.0.push(MarketEntry { market: *key });
        delta.change(Change::Life(id, *key, Life::Open));
        // While it was closed nothing marked or priced it: its old prices are void until new ones come.
        delta.change(Change::Mark(id, *key, Code::MaterialChange));
        let reasons = market.suspended | bit(Reason::RollbackEvent);
        delta.change(Change::MarketSuspended(id, *key, reasons));
        delta.shown_markets.push((id, *key));
        delta.event(MarketSettled {
            event: 0,
            fixture: id,
            market: *key,
            status: MarketStatus::Suspended,
            certainty: Certainty::Confirmed,
            outcomes: List::default(),
        });
    }
    let by_name = closed.iter().all(|(_, market)| matches!(market.results, Results::Named));
    let result = fixture.result.filter(|_| by_name && !is_whole);
    let status = if result.is_some() { FixtureStatus::Ended } else { status_of(&fixture.board) };
    delta.change(Change::Result(id, result));
    delta.change(Change::Status(id, status));
    // The source may have been silent about a match that was over: nothing is bet on before it speaks again.
    delta.change(Change::Suspended(id, fixture.suspended | bit(Reason::RollbackEvent)));
    if !markets.is_empty() {
        delta.send(PartitionId::ALL, Unsettled { hop: no_hop(), fixture: id, markets });
    }
    delta.shown_fixtures.push(id);
}

/// Settles a bet, where it is open and its selection has a result.
pub(crate) fn settle(m: &Settled, key: TicketKey, bet: &Bet, delta: &mut Delta) -> bool {
    let of_bet = |result: &&SelectionResult| result.market == bet.market && result.selection == bet.selection;
    let result = if bet.settled.is_none() { m.results.iter().find(of_bet) } else { None };
    let Some(result) = result else { return false };
    let returned = returned(bet, result.payoff);
    delta.change(Change::Settle(key, Some(result.payoff), bet.stake.0 - returned.0));
    delta.change(Change::Liability((key.0, bet.customer), -bet.liability()));
    delta.event(bet_settled(&key, bet, result.payoff, returned, false, m.certainty));
    true
}

/// Opens a bet of a reopened market again, where it is settled.
pub(crate) fn open_bet(m: &Unsettled, key: TicketKey, bet: &Bet, delta: &mut Delta) -> bool {
    let is_of = |entry: &MarketEntry| entry.market == bet.market;
    let Some(payoff) = bet.settled.filter(|_| m.markets.iter().any(is_of)) else { return false };
    let returned = returned(bet, payoff);
    delta.change(Change::Settle(key, None, returned.0 - bet.stake.0));
    delta.change(Change::Liability((key.0, bet.customer), bet.liability()));
    delta.event(bet_settled(&key, bet, payoff, returned, true, Certainty::Confirmed));
    true
}

/// What a bet returns, rounded down to the minor unit.
pub(crate) fn returned(bet: &Bet, payoff: Payoff) -> Money {
    match payoff {
        Payoff::Won => bet.odds.returned_won(bet.stake),
        Payoff::HalfWon => bet.odds.returned_half_won(bet.stake),
        Payoff::Void => Money(bet.stake.0),
        Payoff::HalfLost => returned_half_lost(bet.stake),
        Payoff::Lost => Money(0),
    }
}

/// The event of a settlement, or of its taking back.
pub(crate) fn bet_settled(
    key: &TicketKey,
    bet: &Bet,
    payoff: Payoff,
    returned: Money,
    reopened: bool,
    certainty: Certainty,
) -> BetSettled {
    BetSettled {
        event: 0,
        brand: key.0,
        ticket: key.1,
        customer: bet.customer,
        fixture: bet.fixture,
        market: bet.market,
        selection: bet.selection,
        payoff,
        reopened,
        stake: bet.stake,
        returned_minor: returned,
        certainty,
    }
}
