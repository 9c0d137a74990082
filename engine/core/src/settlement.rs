//! Results: settling, voiding and taking back, at the fixture's owner and at each bet's home.

use crate::delta::{Change, Context, Delta};
use crate::fixture::status_of;
use crate::market::{Life, Market, Results, bit};
use crate::operate::{done, named_markets};
use crate::partition::Partition;
use crate::results::Bet;
use crate::ticket::no_hop;
use touchline_protocol::units::returned_half_lost;
use touchline_protocol::*;

/// Selections of one message; a fixture with more takes several.
const RESULTS_PER_MESSAGE: usize = 2048;

/// Settles every open market that the final score or sets decide.
pub(crate) fn settle_fixture(p: &Partition, ctx: &Context, m: &SettleFixture) -> Delta {
    if p.fixtures.get(&m.fixture).is_some_and(|fixture| !fixture.may_end_with(m.home, m.away)) {
        let mut delta = Delta::default();
        done(&mut delta, ctx, Kind::SettleFixture, Code::FieldRange, false);
        return delta;
    }
    let by_result = |market: &Market| match &market.results {
        Results::Score(shape, _) | Results::Sets(shape) => Some(shape.class_of(m.home.into(), m.away.into())),
        Results::Named => None,
    };
    let settled = open_markets(p, m.fixture, MarketKey::WHOLE_FIXTURE)
        .filter_map(|(key, market)| Some((key, market.outcomes(by_result(market)?))))
        .collect();
    close(p, ctx, m.fixture, Kind::SettleFixture, settled, Life::Settled, m.certainty)
}

/// Settles one market by its winner.
pub(crate) fn settle_market(p: &Partition, ctx: &Context, m: &SettleMarket) -> Delta {
    let winner = usize::from(m.selection);
    let settled: Vec<_> = open_markets(p, m.fixture, m.market)
        .filter(|(key, market)| {
            *key == m.market && matches!(market.results, Results::Named | Results::Sets(_))
        })
        .filter(|(_, market)| winner < market.selections())
        .map(|(key, market)| (key, market.outcomes(winner)))
        .collect();
    close(p, ctx, m.fixture, Kind::SettleMarket, settled, Life::Settled, m.certainty)
}

/// Voids open markets.
pub(crate) fn void(p: &Partition, ctx: &Context, m: &VoidMarket) -> Delta {
    let void = open_markets(p, m.fixture, m.market)
        .map(|(key, market)| (key, vec![Payoff::Void; market.selections()]))
        .collect();
    close(p, ctx, m.fixture, Kind::VoidMarket, void, Life::Cancelled, Certainty::Confirmed)
}

fn open_markets(
    p: &Partition,
    id: FixtureId,
    wanted: MarketKey,
) -> impl Iterator<Item = (MarketKey, &Market)> {
    named_markets(p, id, wanted).filter(|(_, market)| market.life == Life::Open)
}

/// Closes markets with the results of their selections and tells every partition.
fn close(
    p: &Partition,
    ctx: &Context,
    id: FixtureId,
    kind: Kind,
    markets: Vec<(MarketKey, Vec<Payoff>)>,
    life: Life,
    certainty: Certainty,
) -> Delta {
    let mut delta = Delta::default();
    if !p.fixtures.contains(&id) {
        done(&mut delta, ctx, kind, Code::FixtureNotFound, false);
        return delta;
    }
    if markets.is_empty() {
        done(&mut delta, ctx, kind, Code::MarketNotOpen, false);
        return delta;
    }
    let remaining = open_markets(p, id, MarketKey::WHOLE_FIXTURE).count() - markets.len();
    let mut results = Vec::new();
    for (key, outcomes) in &markets {
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
    if remaining == 0 {
        let whole_void = life == Life::Cancelled
            && named_markets(p, id, MarketKey::WHOLE_FIXTURE).all(|(_, market)| market.life != Life::Settled);
        let status = if whole_void { FixtureStatus::Cancelled } else { FixtureStatus::Closed };
        delta.change(Change::Status(id, status));
    }
    delta.shown_fixtures.push(id);
    done(&mut delta, ctx, kind, Code::Accepted, true);
    delta
}

/// Takes settlements and voids back.
pub(crate) fn roll_back(p: &Partition, ctx: &Context, m: &RollbackSettlement) -> Delta {
    let mut delta = Delta::default();
    let Some(fixture) = p.fixtures.get(&m.fixture) else {
        done(&mut delta, ctx, Kind::RollbackSettlement, Code::FixtureNotFound, false);
        return delta;
    };
    let closed = named_markets(p, m.fixture, m.market).filter(|(_, market)| market.life != Life::Open);
    let mut markets = List::default();
    for (key, market) in closed {
        markets.0.push(MarketEntry { market: key });
        delta.change(Change::Life(m.fixture, key, Life::Open));
        // While it was closed nothing marked or priced it: its old prices are void until new ones come.
        delta.change(Change::Mark(m.fixture, key, Code::MaterialChange));
        delta.change(Change::MarketSuspended(m.fixture, key, market.suspended | bit(Reason::RollbackEvent)));
        delta.shown_markets.push((m.fixture, key));
        delta.event(MarketSettled {
            event: 0,
            fixture: m.fixture,
            market: key,
            status: MarketStatus::Suspended,
            certainty: Certainty::Confirmed,
            outcomes: List::default(),
        });
    }
    let changed = !markets.is_empty();
    if changed {
        delta.change(Change::Status(m.fixture, status_of(&fixture.board)));
        delta.send(PartitionId::ALL, Unsettled { hop: no_hop(), fixture: m.fixture, markets });
        delta.shown_fixtures.push(m.fixture);
    }
    done(&mut delta, ctx, Kind::RollbackSettlement, Code::Accepted, changed);
    delta
}

/// Settles the bets that this partition holds.
pub(crate) fn settled(p: &Partition, m: &Settled) -> Delta {
    let mut delta = Delta::default();
    for key in p.bets_by_fixture.get(&m.fixture).into_iter().flatten() {
        let Some(bet) = p.bets.get(key).filter(|bet| bet.settled.is_none()) else { continue };
        let of_bet =
            |result: &&SelectionResult| result.market == bet.market && result.selection == bet.selection;
        let Some(result) = m.results.iter().find(of_bet) else { continue };
        let returned = returned(bet, result.payoff);
        delta.change(Change::Settle(*key, Some(result.payoff), bet.stake.0 - returned.0));
        delta.change(Change::Liability((key.0, bet.customer), -bet.liability()));
        delta.event(bet_settled(key, bet, result.payoff, returned, false, m.certainty));
    }
    delta
}

/// Opens the bets of reopened markets again.
pub(crate) fn unsettled(p: &Partition, m: &Unsettled) -> Delta {
    let mut delta = Delta::default();
    for key in p.bets_by_fixture.get(&m.fixture).into_iter().flatten() {
        let Some(bet) = p.bets.get(key) else { continue };
        let Some(payoff) = bet.settled else { continue };
        if !m.markets.iter().any(|entry| entry.market == bet.market) {
            continue;
        }
        let returned = returned(bet, payoff);
        delta.change(Change::Settle(*key, None, returned.0 - bet.stake.0));
        delta.change(Change::Liability((key.0, bet.customer), bet.liability()));
        delta.event(bet_settled(key, bet, payoff, returned, true, Certainty::Confirmed));
    }
    delta
}

/// What a bet returns, rounded down to the minor unit.
fn returned(bet: &Bet, payoff: Payoff) -> Money {
    match payoff {
        Payoff::Won => bet.odds.returned_won(bet.stake),
        Payoff::HalfWon => bet.odds.returned_half_won(bet.stake),
        Payoff::Void => Money(bet.stake.0),
        Payoff::HalfLost => returned_half_lost(bet.stake),
        Payoff::Lost => Money(0),
    }
}

fn bet_settled(
    key: &crate::results::TicketKey,
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
