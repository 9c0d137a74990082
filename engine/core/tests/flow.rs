//! A match from opening to settlement through the whole core, and the same log on other numbers of shards.

mod common;

use common::{World, customers};
use touchline_auditor::Auditor;
use touchline_core::{Engine, Input};
use touchline_protocol::frame::encode;
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
    settle(&mut w, 2, 0);
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
        settle(&mut w, sets[0], sets[1]);
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
    roll_back(&mut w, MarketKey::WHOLE_FIXTURE);
    assert_eq!(w.engine.profit_minor(), 0);
    settle(&mut w, 2, 0);
    assert_eq!(w.engine.profit_minor(), profit);
}

fn settle(w: &mut World, home: u16, away: u16) {
    let (certainty, operator) = (Certainty::Confirmed, OperatorId(1));
    w.send(SettleFixture { fixture: FIXTURE, home, away, certainty, operator });
}

fn roll_back(w: &mut World, market: MarketKey) {
    w.send(RollbackSettlement {
        fixture: FIXTURE,
        market,
        operator: OperatorId(1),
        note: Text::cut("wrong score"),
    });
}

fn void(w: &mut World, market: MarketKey) {
    w.send(VoidMarket { fixture: FIXTURE, market, operator: OperatorId(1), note: Text::default() });
}

fn release(w: &mut World, market: MarketKey, reason: Reason) {
    let (on, operator, note) = (false, OperatorId(1), Text::default());
    w.send(Suspend { fixture: FIXTURE, market, reason, on, operator, note });
}

fn state(w: &World) -> FixtureState {
    w.engine.partition(FIXTURE.partition(64)).unwrap().fixture_state(FIXTURE).unwrap()
}

/// Names of the reasons that suspend the fixture.
fn reasons(w: &World) -> Vec<Reason> {
    let held = state(w).suspended;
    Reason::ALL.iter().copied().filter(|reason| held & 1 << *reason as u8 != 0).collect()
}

fn alarms(w: &World) -> Vec<&str> {
    let notes = w.effects.iter().filter_map(|effect| match &effect.body {
        Body::Alarm(m) => Some(m.note.as_str()),
        _ => None,
    });
    notes.collect()
}

/// A bet at whatever price is in force now; its code.
fn bet(w: &mut World, market: MarketKey, selection: u8) -> Code {
    let [customer, _] = customers(FIXTURE);
    let ticket = w.ticket(customer, FIXTURE, market, selection);
    w.submit(&ticket).code
}

/// The naive twin reads the log: it decides every ticket as the core did, and finds nothing wrong.
fn audit(w: &World) {
    let mut auditor = Auditor::new();
    w.log.frames().for_each(|frame| auditor.frame(frame).unwrap());
    for effect in &w.effects {
        if let (Body::Decision(m), touchline_core::Audience::Events) = (&effect.body, effect.to) {
            assert_eq!(auditor.decision(m.brand, m.ticket).map(|ruling| ruling.code), Some(m.code));
        }
    }
    let report = auditor.report();
    assert_eq!(report.breaches, Vec::<String>::new());
    assert_eq!(report.profit_minor, w.engine.profit_minor());
    assert_eq!(auditor.fixture_worst(FIXTURE), Some(state(w).worst_minor.0));
}

fn opened(markets: &[(u16, u8)]) -> World {
    let mut w = World::new(1);
    w.open(FIXTURE);
    let spec = |(kind, selections): &(u16, u8)| MarketSpec {
        market: MarketKey::new(*kind, 0),
        selections: *selections,
    };
    w.send(OpenMarkets { fixture: FIXTURE, markets: List(markets.iter().map(spec).collect()) });
    w.account(customers(FIXTURE)[0]);
    w
}

#[test]
fn a_goal_is_known_although_the_match_was_settled_or_called_off() {
    for called_off in [false, true] {
        let mut w = opened(&[]);
        w.incident(FIXTURE, 1, Event::PeriodStart, Period::First, [0, 0]);
        assert_eq!(bet(&mut w, WINNER, 0), Code::Accepted);
        if called_off {
            void(&mut w, MarketKey::WHOLE_FIXTURE);
        } else {
            settle(&mut w, 0, 0);
        }
        w.incident(FIXTURE, 2, Event::PossibleGoal, Period::First, [0, 0]);
        w.incident(FIXTURE, 3, Event::Goal, Period::First, [1, 0]);
        assert_eq!(last_done(&w), (Code::Accepted, true));
        assert_eq!(bet(&mut w, WINNER, 0), Code::FixtureClosed);
        roll_back(&mut w, MarketKey::WHOLE_FIXTURE);
        assert_eq!((state(&w).status, state(&w).board.score), (FixtureStatus::Live, [1, 0]));
        assert_eq!(reasons(&w), [Reason::PossibleGoal, Reason::RollbackEvent]);
        release(&mut w, WINNER, Reason::RollbackEvent);
        w.send(SetIntensities { fixture: FIXTURE, home_nano: 1_400_000_000, away_nano: 1_100_000_000 });
        let total = MarketKey::new(18, 6);
        let markets = List(vec![MarketSpec { market: total, selections: 0 }]);
        w.send(OpenMarkets { fixture: FIXTURE, markets });
        assert_eq!(bet(&mut w, total, 0), Code::MarketSuspended, "its source has not spoken yet");
        let seen = w.ticket(customers(FIXTURE)[0], FIXTURE, total, 0);
        w.incident(FIXTURE, 4, Event::Clear, Period::First, [1, 0]);
        assert_eq!(reasons(&w), []);
        assert_eq!(w.submit(&seen).code, Code::MaterialChange, "prices from before its word are void");
        assert_eq!(bet(&mut w, total, 0), Code::Accepted);
        assert_eq!(bet(&mut w, WINNER, 0), Code::Accepted);
        audit(&w);
    }
}

#[test]
fn a_match_with_its_result_is_over_although_markets_wait_for_their_winner() {
    let (scorer, corners) = (MarketKey::new(900, 0), MarketKey::new(901, 0));
    let mut w = opened(&[(900, 3), (901, 3)]);
    for market in [scorer, corners] {
        let prices = List([2000, 3500, 4000].map(Price::decimal).to_vec());
        let (fixture, operator, basis) = (FIXTURE, OperatorId(1), w.log.last);
        w.send(SetPrices { fixture, market, operator, basis, prices });
    }
    w.incident(FIXTURE, 1, Event::Goal, Period::Second, [1, 0]);
    settle(&mut w, 0, 2);
    assert_eq!(last_done(&w), (Code::FieldRange, false), "the score stands at 1:0");
    settle(&mut w, 2, 0);
    assert_eq!((state(&w).status, state(&w).board.score), (FixtureStatus::Ended, [2, 0]));
    w.incident(FIXTURE, 2, Event::Clock, Period::Second, [1, 0]);
    assert_eq!(state(&w).status, FixtureStatus::Ended, "a late report does not bring it back");
    assert_eq!(bet(&mut w, scorer, 0), Code::FixtureClosed);
    let settle_market = |w: &mut World, market, selection| {
        let (fixture, certainty, operator) = (FIXTURE, Certainty::Confirmed, OperatorId(1));
        w.send(SettleMarket { fixture, market, selection, certainty, operator });
    };
    settle_market(&mut w, scorer, 0);
    void(&mut w, corners);
    assert_eq!(state(&w).status, FixtureStatus::Closed);
    roll_back(&mut w, scorer);
    assert_eq!(state(&w).status, FixtureStatus::Ended, "its result stands");
    settle_market(&mut w, scorer, 1);
    roll_back(&mut w, MarketKey::WHOLE_FIXTURE);
    assert_eq!((state(&w).status, state(&w).board.score), (FixtureStatus::Live, [1, 0]));
    settle(&mut w, 1, 0);
    assert_eq!(last_done(&w), (Code::Accepted, true), "a wrong result can be made right");
    audit(&w);
}

#[test]
fn a_match_goes_on_when_its_last_open_market_is_closed() {
    let mut w = opened(&[]);
    w.incident(FIXTURE, 1, Event::PeriodStart, Period::First, [0, 0]);
    let all: Vec<MarketKey> = [(1, 0), (18, 10), (29, 0), (45, 0), (16, -1)]
        .map(|(kind, line)| MarketKey::new(kind, line))
        .to_vec();
    all.iter().for_each(|market| void(&mut w, *market));
    assert_eq!(state(&w).status, FixtureStatus::Live);
    w.incident(FIXTURE, 2, Event::Goal, Period::First, [1, 0]);
    let total = MarketKey::new(18, 14);
    w.send(OpenMarkets {
        fixture: FIXTURE,
        markets: List(vec![MarketSpec { market: total, selections: 0 }]),
    });
    assert_eq!(bet(&mut w, total, 0), Code::Accepted);
    void(&mut w, total);
    void(&mut w, MarketKey::WHOLE_FIXTURE);
    assert_eq!(state(&w).status, FixtureStatus::Cancelled);
    audit(&w);
}

#[test]
fn reports_that_cannot_be_right_are_told_and_not_applied() {
    let mut w = opened(&[]);
    w.incident(FIXTURE, 10, Event::PeriodStart, Period::First, [0, 0]);
    let board = Scoreboard { period: Period::First, score: [0, 0], ..Scoreboard::default() };
    let (fixture, event, side) = (FIXTURE, Event::Clock, Side::None);
    w.send(Incident { fixture, source: SourceId(2), source_seq: u64::MAX, event, side, board });
    assert_eq!(last_done(&w), (Code::FieldRange, false));
    w.incident(FIXTURE, 10, Event::PeriodStart, Period::First, [0, 0]);
    assert_eq!(alarms(&w), ["Incident refused: it comes from source 2, the fixture's is 1"]);
    w.incident(FIXTURE, 2, Event::Goal, Period::First, [1, 0]);
    assert_eq!(alarms(&w).len(), 2, "its source counts anew");
    assert_eq!(state(&w).board.score, [0, 0]);
    w.incident(FIXTURE, 11, Event::Goal, Period::First, [1, 0]);
    w.incident(FIXTURE, 12, Event::YellowCard, Period::NotStarted, [1, 0]);
    assert_eq!(last_done(&w), (Code::FieldRange, false), "a match begins once");
    assert_eq!(state(&w).board.period, Period::First);
    // A wrong end can be taken back, but what was priced before it is void.
    let seen = w.ticket(customers(FIXTURE)[0], FIXTURE, WINNER, 0);
    w.incident(FIXTURE, 13, Event::MatchEnd, Period::Ended, [1, 0]);
    w.incident(FIXTURE, 14, Event::Clock, Period::Second, [1, 0]);
    assert_eq!(state(&w).status, FixtureStatus::Live);
    let seen = SubmitTicket { policy: OddsPolicy::Any, ..seen };
    assert_eq!(w.submit(&seen).code, Code::MaterialChange);
    assert_eq!(bet(&mut w, WINNER, 0), Code::Accepted);
    audit(&w);
}

#[test]
fn a_point_of_tennis_voids_older_prices_whatever_event_tells_of_it() {
    let winner = MarketKey::new(186, 0);
    let mut w = World::new(1);
    w.open_with(FIXTURE, Sport::Tennis, &[(186, 0)]);
    w.account(customers(FIXTURE)[0]);
    w.send(SetIntensities { fixture: FIXTURE, home_nano: 640_000_000, away_nano: 640_000_000 });
    let at = |score, games, points| Scoreboard {
        period: Period::First,
        score,
        games,
        points,
        server: Side::Home,
        ..Scoreboard::default()
    };
    let boards = [
        (at([0, 0], [5, 0], [3, 0]), true),
        (at([0, 0], [5, 0], [3, 0]), false),
        (at([0, 0], [5, 0], [3, 1]), true),
        (at([0, 0], [5, 1], [0, 0]), true),
        (at([1, 0], [0, 0], [0, 0]), true),
        (at([0, 0], [0, 0], [0, 0]), true),
    ];
    for (seq, (board, is_material)) in (1..).zip(boards) {
        let seen = w.ticket(customers(FIXTURE)[0], FIXTURE, winner, 0);
        let (fixture, source, event, side) = (FIXTURE, SourceId(1), Event::Clock, Side::None);
        w.send(Incident { fixture, source, source_seq: seq, event, side, board });
        let code = w.submit(&SubmitTicket { policy: OddsPolicy::Any, ..seen }).code;
        assert_eq!(code, if is_material { Code::ScoreChanged } else { Code::Accepted }, "{board:?}");
    }
    audit(&w);
}

#[test]
fn a_refused_reference_is_not_forgotten_when_time_passes() {
    let reference = |home_milli: u32, draw_milli: u32| SetReference {
        fixture: FIXTURE,
        home_milli,
        draw_milli,
        away_milli: 3160,
        total_line: 0,
        over_milli: 0,
        under_milli: 0,
    };
    for bad in [reference(1100, 1100), reference(2350, 90_000)] {
        let mut w = opened(&[]);
        // A report comes so close behind that the model's verdict on the reference is already old.
        for body in [Body::from(bad), incident_at(1)] {
            let mut frame = Vec::new();
            encode(&Envelope::session(9, Epoch(1), 5), &body, &mut frame);
            w.engine.sequencer.offer(Input::Client { origin: 77, role: Role::Operator, frame });
        }
        w.engine.run(w.now, &mut w.log, &mut w.effects);
        assert_eq!(reasons(&w), [Reason::PriceSanity]);
        w.send(incident_at(2));
        assert_eq!(bet(&mut w, WINNER, 0), Code::MarketSuspended);
        release(&mut w, MarketKey::WHOLE_FIXTURE, Reason::PriceSanity);
        w.send(incident_at(3));
        assert_eq!(bet(&mut w, WINNER, 0), Code::Accepted, "an operator trusts the model as it was");
        w.send(reference(1100, 1100));
        assert_eq!(bet(&mut w, WINNER, 0), Code::MarketSuspended);
        w.send(reference(2350, 3520));
        assert_eq!(bet(&mut w, WINNER, 0), Code::Accepted, "a better reference is enough");
        audit(&w);
    }
}

fn incident_at(source_seq: u64) -> Body {
    let board = Scoreboard { period: Period::First, clock_ms: source_seq as u32, ..Scoreboard::default() };
    let (fixture, source, event, side) = (FIXTURE, SourceId(1), Event::Clock, Side::None);
    Incident { fixture, source, source_seq, event, side, board }.into()
}
