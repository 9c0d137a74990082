//! A match from opening to settlement through the whole core, and the same log on other numbers of shards.

mod common;

use common::{World, customers};
use touchline_core::Engine;
use touchline_protocol::*;

const FIXTURE: FixtureId = FixtureId(42);
const WINNER: MarketKey = MarketKey::new(1, 0);

fn play(shards: usize) -> World {
    let mut w = World::new(shards);
    w.open(FIXTURE);
    for customer in customers(FIXTURE) {
        w.account(customer);
    }
    for customer in customers(FIXTURE) {
        let first = w.ticket(customer, FIXTURE, WINNER, 0);
        let answer = w.submit(&first);
        assert_eq!(answer.code, Code::Accepted);
        assert_eq!(w.submit(&first), answer, "a retry gets the same answer");
        let other = SubmitTicket { stake: Stake(2000), ..first };
        assert_eq!(w.submit(&other).code, Code::DuplicateConflict);
    }
    w.incident(FIXTURE, 1, Event::PeriodStart, Period::First, [0, 0]);
    for (place, customer) in customers(FIXTURE).into_iter().enumerate() {
        let stale = w.ticket(customer, FIXTURE, WINNER, 2);
        let goals = place as u16 + 1;
        w.incident(FIXTURE, 2 + place as u64, Event::Goal, Period::First, [goals, 0]);
        assert_eq!(w.submit(&stale).code, Code::ScoreChanged);
        let fresh = w.ticket(customer, FIXTURE, WINNER, 2);
        assert_eq!(w.submit(&fresh).code, Code::Accepted, "a new publication follows the goal");
    }
    w.incident(FIXTURE, 9, Event::MatchEnd, Period::Ended, [2, 0]);
    let late = w.ticket(customers(FIXTURE)[0], FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&late).code, Code::FixtureClosed);
    w.send(SettleFixture {
        fixture: FIXTURE,
        home: 2,
        away: 0,
        certainty: Certainty::Confirmed,
        operator: OperatorId(1),
    });
    w
}

#[test]
fn a_match_is_priced_bet_on_and_settled() {
    let w = play(1);
    let settled: Vec<_> = w
        .effects
        .iter()
        .filter_map(|effect| match &effect.body {
            Body::BetSettled(m) => Some((m.payoff, m.stake.0 - m.returned_minor.0)),
            _ => None,
        })
        .collect();
    assert_eq!(settled.len(), 4);
    assert_eq!(settled.iter().filter(|(payoff, _)| *payoff == Payoff::Won).count(), 2, "home bets won");
    assert_eq!(w.engine.profit_minor(), settled.iter().map(|(_, profit)| profit).sum::<i64>());
}

#[test]
fn placement_and_shards_never_change_a_decision() {
    let mut reference = play(1);
    let wanted = reference.engine.fingerprint().unwrap();
    for shards in [1, 2, 4] {
        let mut replayed = Engine::new(9, 64, shards);
        let mut effects = Vec::new();
        for frame in reference.log.frames() {
            replayed.replay(&frame, &frame.body().unwrap(), &mut effects);
        }
        assert_eq!(replayed.fingerprint(), Ok(wanted), "{shards} shards");
        assert_eq!(replayed.profit_minor(), reference.engine.profit_minor());
        assert_eq!(effects.len(), reference.effects.len());
    }
}

#[test]
fn a_silent_source_suspends_and_its_return_needs_new_prices() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let old = w.ticket(customer, FIXTURE, WINNER, 0);
    w.now.mono_ns += 61_000_000_000;
    w.now.utc_ns += 61_000_000_000;
    assert_eq!(w.submit(&old).code, Code::MarketSuspended, "the timer fired before the ticket");
    w.send(SourceFresh { source: SourceId(1), alive_until: At(w.now.utc_ns + 60_000_000_000) });
    let again = SubmitTicket { ticket: TicketId(old.ticket.0 + 1), ..old };
    assert_eq!(w.submit(&again).code, Code::MaterialChange);
    let fresh = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&fresh).code, Code::Accepted);
}

fn by_hand(w: &mut World, prices: [Price; 3]) {
    by_hand_after(w, w.log.last, prices);
}

fn by_hand_after(w: &mut World, basis: Seq, prices: [Price; 3]) {
    let prices = List(prices.to_vec());
    w.send(SetPrices { fixture: FIXTURE, market: WINNER, operator: OperatorId(1), basis, prices });
}

/// The code and effect of the last command that was answered.
fn last_done(w: &World) -> (Code, bool) {
    let done = w.effects.iter().rev().find_map(|effect| match &effect.body {
        Body::Done(m) => Some((m.code, m.changed)),
        _ => None,
    });
    done.expect("every command is answered")
}

#[test]
fn hand_prices_from_before_a_goal_never_count_and_none_are_from_the_future() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let seen = w.log.last;
    w.incident(FIXTURE, 1, Event::Goal, Period::First, [1, 0]);
    let early = || [2000, 3500, 4000].map(Price::decimal);
    by_hand_after(&mut w, seen, early());
    assert_eq!(last_done(&w), (Code::ScoreChanged, false));
    assert_ne!(w.price(FIXTURE, WINNER).0, [2000, 3500, 4000]);
    by_hand_after(&mut w, seen, [Price::NONE; 3]);
    assert_eq!(last_done(&w), (Code::Accepted, true), "prices can be taken away at any time");
    by_hand(&mut w, early());
    assert_eq!(last_done(&w), (Code::Accepted, true));
    let bet = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&bet).code, Code::Accepted);
    let last = w.log.last;
    by_hand_after(&mut w, Seq(last.0 + 1), early());
    assert_eq!((w.log.last, w.engine.refusals[0].refused.code), (last, Code::FieldRange));
}

#[test]
fn struck_are_the_published_odds_whatever_fraction_a_ticket_names() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let four_to_eleven = Odds::fraction(4, 11).unwrap();
    let dear = Odds { milli: 1001, num: 1_999_999, den: 1_000_000_000 };
    assert!(dear.is_sound());
    by_hand(&mut w, [Price::decimal(1001), four_to_eleven.into(), Price::decimal(1363)]);
    let mut bet = |selection: u8, odds: Odds, policy: OddsPolicy| {
        let asked = w.ticket(customer, FIXTURE, WINNER, selection);
        let answer = w.submit(&SubmitTicket { odds, policy, stake: Stake(1100), ..asked });
        (answer.code, answer.odds, answer.returned_minor.0)
    };
    let changed = |odds| (Code::OddsChanged, odds, 0);
    assert_eq!(bet(0, dear, OddsPolicy::Exact), changed(dear));
    assert_eq!(bet(0, dear, OddsPolicy::Higher), changed(dear));
    assert_eq!(bet(0, dear, OddsPolicy::Any), (Code::Accepted, Odds::decimal(1001), 1101));
    assert_eq!(bet(2, four_to_eleven, OddsPolicy::Exact), changed(four_to_eleven));
    for asked in [four_to_eleven, Odds::decimal(1363)] {
        assert_eq!(bet(1, asked, OddsPolicy::Exact), (Code::Accepted, four_to_eleven, 1500));
    }
}

#[test]
fn a_source_promises_no_more_than_it_may() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    w.send(SourceFresh { source: SourceId(1), alive_until: At(i64::MAX) });
    assert_eq!(last_done(&w), (Code::FieldRange, false));
    w.now.mono_ns += 61_000_000_000;
    w.now.utc_ns += 61_000_000_000;
    let late = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&late).code, Code::MarketSuspended, "the promise before it ran out");
}

#[test]
fn a_tennis_match_ends_with_one_side_that_has_won_it() {
    let winner = MarketKey::new(186, 0);
    for (sets, counts) in [
        ([1, 1], false),
        ([0, 0], false),
        ([1, 0], false),
        ([2, 2], false),
        ([3, 0], false),
        ([3, 2], false),
        ([2, 0], true),
        ([2, 1], true),
        ([1, 2], true),
    ] {
        let mut w = World::new(1);
        w.open_with(FIXTURE, Sport::Tennis, &[(186, 0)]);
        w.send(SettleFixture {
            fixture: FIXTURE,
            home: sets[0],
            away: sets[1],
            certainty: Certainty::Confirmed,
            operator: OperatorId(1),
        });
        let settled = w.effects.iter().any(|effect| {
            matches!(&effect.body, Body::MarketSettled(m) if m.market == winner && m.status == MarketStatus::Settled)
        });
        assert_eq!(settled, counts, "{sets:?}");
    }
}

#[test]
fn limits_hold_and_reducing_bets_pass() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let limit = |value_minor| SetLimit {
        scope: LimitScope::Fixture,
        stage: Stage::PreMatch,
        brand: BrandId(0),
        customer: CustomerId(0),
        fixture: FIXTURE,
        market: MarketKey::WHOLE_FIXTURE,
        selection: 255,
        value_minor,
        operator: OperatorId(3),
        note: Text::cut("test"),
    };
    let home = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&home).code, Code::Accepted);
    w.send(limit(100));
    let more = w.ticket(customer, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&more).code, Code::FixtureLimit);
    let mut reducing = w.ticket(customer, FIXTURE, WINNER, 2);
    reducing.stake = Stake(300);
    assert_eq!(
        w.submit(&reducing).code,
        Code::Accepted,
        "the worst case shrinks although it is over the limit"
    );
    w.send(limit(0));
    let mut at_zero = w.ticket(customer, FIXTURE, WINNER, 2);
    at_zero.stake = Stake(100);
    assert_eq!(w.submit(&at_zero).code, Code::FixtureLimit);
}

#[test]
fn a_settlement_can_be_taken_back() {
    let mut w = play(2);
    let profit = w.engine.profit_minor();
    let note = Text::cut("wrong score");
    w.send(RollbackSettlement {
        fixture: FIXTURE,
        market: MarketKey::WHOLE_FIXTURE,
        operator: OperatorId(1),
        note,
    });
    assert_eq!(w.engine.profit_minor(), 0);
    w.send(SettleFixture {
        fixture: FIXTURE,
        home: 2,
        away: 0,
        certainty: Certainty::Confirmed,
        operator: OperatorId(1),
    });
    assert_eq!(w.engine.profit_minor(), profit);
}
