//! Fixtures that are over leave memory, and one bet of them comes back: what that changes, and what it must not.

mod common;

use common::{BRAND, START_NS, World, customers};
use touchline_auditor::Auditor;
use touchline_core::view::Entities;
use touchline_core::{Effect, Input};
use touchline_protocol::*;

const FIXTURE: FixtureId = FixtureId(42);
const WINNER: MarketKey = MarketKey::new(1, 0);
const OPERATOR: OperatorId = OperatorId(1);
const HOUR_MS: u64 = 3_600_000;
const RETENTION_MS: u64 = 3 * HOUR_MS;

fn retain(w: &mut World, retention_ms: u64) {
    w.send(SetRetention { retention_ms, operator: OPERATOR, note: Text::default() });
}

/// Lets time pass and fires what is due.
fn pass(w: &mut World, ms: u64) {
    w.now.mono_ns += ms * 1_000_000;
    w.now.utc_ns += (ms * 1_000_000) as i64;
    w.engine.run(w.now, &mut w.log, &mut w.effects);
}

fn settle(w: &mut World, fixture: FixtureId, [home, away]: [u16; 2]) {
    w.send(SettleFixture { fixture, home, away, certainty: Certainty::Confirmed, operator: OPERATOR });
}

fn roll_back(w: &mut World, fixture: FixtureId, market: MarketKey) {
    w.send(RollbackSettlement { fixture, market, operator: OPERATOR, note: Text::default() });
}

fn entities(w: &World) -> Entities {
    w.engine.shards.iter().flat_map(|shard| shard.partitions()).map(|partition| partition.entities()).sum()
}

/// The code and effect of the last command that was answered.
fn last_done(w: &World) -> (Code, bool) {
    let done = |effect: &Effect| match &effect.body {
        Body::Done(m) => Some((m.code, m.changed)),
        _ => None,
    };
    w.effects.iter().rev().find_map(done).expect("every command is answered")
}

fn alarms(w: &World) -> usize {
    w.effects.iter().filter(|effect| matches!(effect.body, Body::Alarm(_))).count()
}

fn open_liability(w: &World, customer: CustomerId) -> i64 {
    let home = w.engine.partition(customer.partition(BRAND, 64)).expect("hosted");
    home.account_of(BRAND, customer).expect("opened").0.open_liability_minor
}

/// The last record of a ticket's bet, and of its fixture, as one command.
fn reopening(w: &World, ticket: TicketId) -> Reopen {
    let bet = w.effects.iter().rev().find_map(|effect| match &effect.body {
        Body::BetArchived(m) if m.bet.ticket == ticket => Some(m),
        _ => None,
    });
    common::reopening(w.effects.iter(), bet.expect("the bet left")).expect("the fixture left")
}

/// The naive twin says the same, and so does every replay.
fn check(w: &mut World) {
    let mut auditor = Auditor::new();
    for frame in w.log.frames() {
        auditor.frame(frame).unwrap_or_else(|error| panic!("{error}"));
    }
    let report = auditor.report();
    assert_eq!(report.breaches, Vec::<String>::new());
    assert_eq!(report.profit_minor, w.engine.profit_minor());
    let wanted = w.engine.fingerprint().expect("nothing changed unrecorded");
    for shards in [1, 3] {
        let mut again = touchline_core::Engine::new(9, 64, shards);
        w.log.frames().for_each(|frame| again.replay(&frame, &frame.body().unwrap(), &mut Vec::new()));
        assert_eq!(again.fingerprint(), Ok(wanted));
    }
}

/// Two bets on the home side, one of them at the fixture's own partition; it wins 2:0.
fn played() -> (World, Vec<SubmitTicket>) {
    let mut w = World::new(2);
    retain(&mut w, RETENTION_MS);
    w.open(FIXTURE);
    let mut tickets = Vec::new();
    for customer in customers(FIXTURE) {
        w.account(customer);
        let ticket = w.ticket(customer, FIXTURE, WINNER, 0);
        assert_eq!(w.submit(&ticket).code, Code::Accepted);
        tickets.push(ticket);
    }
    w.incident(FIXTURE, 1, Event::MatchEnd, Period::Ended, [2, 0]);
    settle(&mut w, FIXTURE, [2, 0]);
    (w, tickets)
}

fn gone() -> (World, Vec<SubmitTicket>) {
    let (mut w, tickets) = played();
    pass(&mut w, RETENTION_MS);
    (w, tickets)
}

#[test]
fn a_fixture_that_is_over_leaves_with_its_bets_after_they_are_told() {
    let (mut w, tickets) = played();
    let profit = w.engine.profit_minor();
    w.send(SetLimit {
        scope: LimitScope::Fixture,
        stage: Stage::Live,
        brand: BrandId(0),
        customer: CustomerId(0),
        fixture: FIXTURE,
        market: MarketKey::WHOLE_FIXTURE,
        selection: 255,
        value_minor: 5,
        operator: OPERATOR,
        note: Text::default(),
    });
    pass(&mut w, RETENTION_MS - 10);
    let before = entities(&w);
    assert_eq!((before.fixtures, before.markets, before.bets, before.limits), (1, 5, 2, 1));
    pass(&mut w, 10);
    let after = entities(&w);
    assert_eq!(after, Entities { accounts: 2, decisions: 2, ..Entities::default() });
    for ticket in &tickets {
        let told = reopening(&w, ticket.ticket);
        assert_eq!((told.bet.stake, told.bet.payoff), (ticket.stake, Payoff::Won));
        assert_eq!(told.markets.len(), 5);
        assert_eq!(w.submit(ticket).code, Code::Accepted, "its decision is remembered by its own window");
    }
    assert_eq!(w.engine.profit_minor(), profit);
    check(&mut w);
}

#[test]
fn a_rollback_before_the_end_of_retention_keeps_the_fixture() {
    let (mut w, _) = played();
    pass(&mut w, RETENTION_MS / 2);
    roll_back(&mut w, FIXTURE, MarketKey::WHOLE_FIXTURE);
    pass(&mut w, RETENTION_MS);
    assert_eq!(entities(&w).fixtures, 1, "it is open");
    settle(&mut w, FIXTURE, [2, 1]);
    pass(&mut w, RETENTION_MS - 10);
    assert_eq!(entities(&w).fixtures, 1, "its retention began anew");
    pass(&mut w, 10);
    assert_eq!(entities(&w).fixtures, 0);
    check(&mut w);
}

#[test]
fn what_left_is_not_opened_again_by_a_late_report() {
    let (mut w, _) = gone();
    let late = |w: &mut World| {
        w.open_with(FIXTURE, Sport::Football, &[]);
        let opened = w.effects.iter().rev().find_map(|effect| match &effect.body {
            Body::Done(m) if m.of == Kind::OpenFixture as u16 => Some(m.code),
            _ => None,
        });
        assert_eq!(opened, Some(Code::Expired));
    };
    late(&mut w);
    // Nor under a longer retention, which would not have let it leave yet, nor under none.
    retain(&mut w, 100 * HOUR_MS);
    late(&mut w);
    retain(&mut w, 0);
    late(&mut w);
    check(&mut w);
}

#[test]
fn a_fixture_called_off_before_its_start_stays_until_that_is_past() {
    let mut w = World::new(1);
    retain(&mut w, RETENTION_MS);
    w.send(OpenFixture {
        fixture: FIXTURE,
        sport: Sport::Football,
        competition: CompetitionId(1),
        tier: 1,
        source: SourceId(0),
        start_at: At(START_NS + 2 * RETENTION_MS as i64 * 1_000_000),
        margin_ppm: 0,
        best_of: 0,
        home: Text::default(),
        away: Text::default(),
    });
    let market = MarketKey::WHOLE_FIXTURE;
    w.send(VoidMarket { fixture: FIXTURE, market, operator: OPERATOR, note: Text::default() });
    pass(&mut w, 3 * RETENTION_MS - 1000);
    assert_eq!(entities(&w).fixtures, 1);
    pass(&mut w, 1000);
    assert_eq!(entities(&w).fixtures, 0);
    check(&mut w);
}

#[test]
fn fixtures_that_were_over_before_the_first_retention_leave_too() {
    let mut w = World::new(1);
    w.open(FIXTURE);
    settle(&mut w, FIXTURE, [0, 0]);
    pass(&mut w, RETENTION_MS);
    retain(&mut w, RETENTION_MS);
    pass(&mut w, RETENTION_MS - 10);
    assert_eq!(entities(&w).fixtures, 1, "it is over since the first retention");
    pass(&mut w, 10);
    assert_eq!(entities(&w).fixtures, 0);
    check(&mut w);
}

#[test]
fn a_late_correction_pays_once_what_it_would_have_paid_in_time() {
    let corrected = |mut w: World, tickets: &[SubmitTicket], late: bool| {
        if late {
            for ticket in tickets {
                let command = reopening(&w, ticket.ticket);
                w.send(command);
                assert_eq!(last_done(&w), (Code::Accepted, true));
            }
        } else {
            roll_back(&mut w, FIXTURE, WINNER);
        }
        assert_eq!(w.engine.profit_minor(), 0, "nothing is settled");
        let owed: Vec<i64> = tickets.iter().map(|ticket| open_liability(&w, ticket.customer)).collect();
        assert!(owed.iter().all(|minor| *minor > 0));
        let state = w.engine.partition(FIXTURE.partition(64)).unwrap().fixture_state(FIXTURE).unwrap();
        assert_eq!(state.suspended, 1 << Reason::RollbackEvent as u8);
        // The goals were for the other side; the board says so first.
        w.incident(FIXTURE, 5, Event::GoalCancelled, Period::Ended, [0, 0]);
        settle(&mut w, FIXTURE, [0, 2]);
        check(&mut w);
        (w.engine.profit_minor(), owed, state.worst_minor)
    };
    let ((w, tickets), (in_time, same)) = (gone(), played());
    assert_eq!(tickets, same);
    let late = corrected(w, &tickets, true);
    assert_eq!(late.0, 2000, "both lost");
    assert_eq!(late, corrected(in_time, &tickets, false));
}

#[test]
fn a_bet_comes_back_once_and_an_older_record_of_it_never() {
    let (mut w, tickets) = gone();
    let [first, second] = [0, 1].map(|n| reopening(&w, tickets[n].ticket));
    w.send(first.clone());
    let open = (w.engine.profit_minor(), open_liability(&w, tickets[0].customer));
    w.send(first.clone());
    assert_eq!(last_done(&w), (Code::Accepted, false), "it is there");
    assert_eq!((w.engine.profit_minor(), open_liability(&w, tickets[0].customer)), open);
    settle(&mut w, FIXTURE, [3, 3]);
    let settled = w.engine.profit_minor();
    w.send(first.clone());
    assert_eq!(last_done(&w), (Code::Accepted, false), "it is there, settled");
    pass(&mut w, RETENTION_MS);
    assert_eq!(entities(&w).bets, 0);
    w.send(first.clone());
    assert_eq!(last_done(&w), (Code::Expired, false), "it left again since, with another result");
    assert_eq!(w.engine.profit_minor(), settled);
    // Its newest record brings it back, and so does the other bet's first one, which was never used.
    let newest = reopening(&w, tickets[0].ticket);
    assert_eq!(newest.bet.payoff, Payoff::Lost);
    for command in [newest, second] {
        w.send(command);
        assert_eq!(last_done(&w), (Code::Accepted, true));
    }
    assert_eq!(w.engine.profit_minor(), 0);
    assert_eq!(entities(&w).reopened, 2);
    check(&mut w);
}

#[test]
fn a_forged_record_brings_nothing_back() {
    let (mut w, tickets) = gone();
    let genuine = reopening(&w, tickets[0].ticket);
    let forge = |change: &dyn Fn(&mut Reopen)| {
        let mut forged = genuine.clone();
        change(&mut forged);
        forged
    };
    let other = reopening(&w, tickets[1].ticket);
    let forgeries: Vec<Reopen> = vec![
        forge(&|m| m.bet.stake = Stake(m.bet.stake.0 + 1)),
        forge(&|m| m.bet.payoff = Payoff::Lost),
        forge(&|m| m.bet.archived = Seq(m.bet.archived.0 + 1)),
        forge(&|m| m.bet.ticket = TicketId(m.bet.ticket.0 ^ 1)),
        forge(&|m| m.bet.tag ^= 1),
        forge(&|m| m.bet.tag = other.bet.tag),
        forge(&|m| m.record.home += 1),
        forge(&|m| m.record.start_at = At(0)),
        forge(&|m| m.markets.0.truncate(1)),
        forge(&|m| m.markets.0[0].status = MarketStatus::Cancelled),
        forge(&|m| m.home = Text::cut("Other")),
        forge(&|m| (m.home, m.away) = (Text::cut("HomeA"), Text::cut("way"))),
        forge(&|m| m.record.tag = m.bet.tag),
    ];
    let before = (entities(&w), w.engine.profit_minor(), open_liability(&w, tickets[0].customer));
    for (n, forged) in forgeries.into_iter().enumerate() {
        let told = alarms(&w);
        w.send(forged);
        assert_eq!(last_done(&w), (Code::FieldRange, false), "forgery {n}");
        assert_eq!(alarms(&w), told + 1, "and somebody hears of it");
        assert_eq!((entities(&w), w.engine.profit_minor(), open_liability(&w, tickets[0].customer)), before);
    }
    w.send(genuine);
    assert_eq!(last_done(&w), (Code::Accepted, true));
    check(&mut w);
}

#[test]
fn a_reopening_while_the_fixture_is_leaving_again_waits_for_it() {
    let (mut w, tickets) = gone();
    let [first, second] = [0, 1].map(|n| reopening(&w, tickets[n].ticket));
    w.send(first);
    settle(&mut w, FIXTURE, [2, 2]);
    // Frame by frame, so that the second bet comes back in the middle of the fixture's leave.
    w.now.mono_ns += RETENTION_MS * 1_000_000;
    w.now.utc_ns += RETENTION_MS as i64 * 1_000_000;
    let mut sent = Some(second);
    let mut recalls = 0;
    for step in 0..400 {
        let offers: Vec<Body> = w.engine.shards.iter_mut().flat_map(|shard| shard.offers()).collect();
        recalls += offers.iter().filter(|body| matches!(body, Body::Recall(_))).count();
        offers.into_iter().for_each(|body| w.engine.sequencer.offer(Input::Internal(body)));
        if step == 9
            && let Some(command) = sent.take()
        {
            let mut frame = Vec::new();
            frame::encode(&Envelope::session(9, Epoch(1), 5), &command.into(), &mut frame);
            w.engine.sequencer.offer(Input::Client { origin: 77, role: Role::Operator, frame });
        }
        let mut batch = touchline_core::Batch::default();
        w.engine.sequencer.step(w.now, 1, &mut batch, &mut Vec::new());
        for frame in batch.frames() {
            let body = frame.body().unwrap();
            w.engine.shards.iter_mut().for_each(|shard| shard.apply(&frame, &body, &mut w.effects));
        }
        w.log.bytes.extend_from_slice(&batch.bytes);
        w.log.count += batch.count;
    }
    assert!(recalls > 10, "{recalls}: it asked until the fixture had left");
    assert_eq!((entities(&w).fixtures, entities(&w).bets), (1, 1));
    assert_eq!(entities(&w).moving, 0);
    settle(&mut w, FIXTURE, [2, 0]);
    assert_eq!(entities(&w).bets, 1);
    check(&mut w);
}

#[test]
fn more_bets_than_one_frame_takes_leave_in_several() {
    let mut w = World::new(1);
    retain(&mut w, RETENTION_MS);
    w.open(FIXTURE);
    let [customer, _] = customers(FIXTURE);
    w.account(customer);
    let count = 2 * touchline_core::chores::BETS_PER_PIECE + 1;
    for _ in 0..count {
        let ticket = SubmitTicket { stake: Stake(100), ..w.ticket(customer, FIXTURE, WINNER, 1) };
        assert_eq!(w.submit(&ticket).code, Code::Accepted);
    }
    settle(&mut w, FIXTURE, [0, 0]);
    pass(&mut w, RETENTION_MS);
    assert_eq!(entities(&w).bets, 0);
    let archived = |effect: &&Effect| matches!(effect.body, Body::BetArchived(_));
    let mut of_frame = std::collections::BTreeMap::<Seq, usize>::new();
    w.effects.iter().filter(archived).for_each(|effect| *of_frame.entry(effect.seq).or_default() += 1);
    assert_eq!(Vec::from_iter(of_frame.into_values()), [16, 16, 1]);
    check(&mut w);
}

/// A run of matches, one an hour, each bet on, settled, now and then settled again, and left alone.
struct Season {
    worlds: Vec<World>,
    state: u64,
    hour: u64,
    answers: Vec<Vec<(TicketId, Code, Odds, Money)>>,
}

/// Hours that a match is bet on.
const PLAYED: u64 = 3;

impl Season {
    /// In as many worlds as there are retentions, 0 for none.
    fn new(seed: u64, retentions: &[u64]) -> Self {
        let worlds = Vec::from_iter(retentions.iter().map(|ms| {
            let mut w = World::new(2);
            (1..=20).for_each(|customer| w.account(CustomerId(customer)));
            retain(&mut w, *ms);
            w
        }));
        Season { answers: vec![Vec::new(); worlds.len()], worlds, state: seed, hour: 0 }
    }

    /// A generator of fixed numbers; any would do.
    fn below(&mut self, n: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % n
    }

    fn each(&mut self, mut act: impl FnMut(&mut World)) {
        self.worlds.iter_mut().for_each(&mut act);
    }

    fn bet(&mut self) {
        let fixture = FixtureId(1 + self.hour.saturating_sub(self.below(PLAYED)));
        let (customer, selection) = (CustomerId(1 + self.below(20)), self.below(3) as u8);
        let stake = Stake(100 * (1 + self.below(100)) as i64);
        for (w, answers) in self.worlds.iter_mut().zip(&mut self.answers) {
            let ticket = SubmitTicket { stake, ..w.ticket(customer, fixture, WINNER, selection) };
            let d = w.submit(&ticket);
            answers.push((d.ticket, d.code, d.odds, d.returned_minor));
        }
    }

    fn an_hour(&mut self, bets: u64) {
        let hour = self.hour;
        let fixture = FixtureId(1 + hour);
        let limit = 100_000 * (1 + self.below(4)) as i64;
        self.each(|w| {
            // Only the last hours are looked up here: what is told is not what is held.
            let told = w.effects.len().saturating_sub(20_000);
            w.effects.drain(..told);
            let alive_until = At(w.now.utc_ns + 89_000_000_000);
            w.send(SourceFresh { source: SourceId(1), alive_until });
            w.send(OpenFixture {
                fixture,
                sport: Sport::Football,
                competition: CompetitionId(1),
                tier: 1,
                source: SourceId(0),
                start_at: At(w.now.utc_ns),
                margin_ppm: 0,
                best_of: 0,
                home: Text::cut("Home"),
                away: Text::cut("Away"),
            });
            let spec = |(kind, line)| MarketSpec { market: MarketKey::new(kind, line), selections: 0 };
            w.send(OpenMarkets { fixture, markets: List([(1, 0), (18, 10), (29, 0)].map(spec).to_vec()) });
            w.send(SetIntensities { fixture, home_nano: 1_500_000_000, away_nano: 1_200_000_000 });
            w.send(SetLimit {
                scope: LimitScope::Fixture,
                stage: Stage::PreMatch,
                brand: BrandId(0),
                customer: CustomerId(0),
                fixture,
                market: MarketKey::WHOLE_FIXTURE,
                selection: 255,
                value_minor: limit,
                operator: OPERATOR,
                note: Text::default(),
            });
        });
        (0..bets).for_each(|_| self.bet());
        if hour >= PLAYED {
            let (over, score) = (FixtureId(1 + hour - PLAYED), [self.below(4) as u16, self.below(4) as u16]);
            let (void, again) = (self.below(10) == 0, self.below(4) == 0);
            let market = MarketKey::WHOLE_FIXTURE;
            self.each(|w| {
                if void {
                    w.send(VoidMarket { fixture: over, market, operator: OPERATOR, note: Text::default() });
                } else {
                    settle(w, over, score);
                }
                if again {
                    pass(w, HOUR_MS / 2);
                    roll_back(w, over, market);
                    settle(w, over, [1, 1]);
                }
            });
        }
        self.each(|w| pass(w, HOUR_MS));
        self.hour += 1;
    }
}

#[test]
fn archiving_changes_no_decision_on_other_fixtures_and_no_balance() {
    for seed in 0..6 {
        let mut season = Season::new(seed, &[RETENTION_MS, 0, 40 * HOUR_MS]);
        for hour in 0..60 {
            season.an_hour(6);
            let [short, none, long] = [0, 1, 2].map(|n| &season.worlds[n]);
            for other in [none, long] {
                assert_eq!(
                    short.engine.profit_minor(),
                    other.engine.profit_minor(),
                    "seed {seed}, hour {hour}"
                );
                for customer in (1..=20).map(CustomerId) {
                    assert_eq!(open_liability(short, customer), open_liability(other, customer));
                }
            }
        }
        let [short, none, _] = &season.answers[..] else { panic!("three worlds") };
        assert_eq!(short, none, "seed {seed}");
        assert_eq!(season.answers[0], season.answers[2]);
        assert!(short.iter().filter(|(_, code, ..)| *code == Code::Accepted).count() > 200);
        let [short, none, long] = [0, 1, 2].map(|n| entities(&season.worlds[n]));
        assert_eq!(none.fixtures, 60);
        assert!(
            short.fixtures < 12 && long.fixtures < 50 && short.bets * 3 < none.bets,
            "{short:?} {long:?}"
        );
        season.worlds.iter_mut().for_each(check);
    }
}

#[test]
fn memory_is_flat_over_a_month_of_matches() {
    let mut season = Season::new(7, &[24 * HOUR_MS]);
    let mut peaks = Vec::new();
    for _week in 0..4 {
        let mut peak = Entities::default();
        for _ in 0..7 * 24 {
            season.an_hour(4);
            let now = entities(&season.worlds[0]);
            peak = Entities {
                accounts: peak.accounts.max(now.accounts),
                decisions: peak.decisions.max(now.decisions),
                moving: peak.moving.max(now.moving),
                fixtures: peak.fixtures.max(now.fixtures),
                markets: peak.markets.max(now.markets),
                limits: peak.limits.max(now.limits),
                bets: peak.bets.max(now.bets),
                closings: peak.closings.max(now.closings),
                reopened: peak.reopened.max(now.reopened),
            };
        }
        peaks.push(peak);
    }
    println!("{peaks:#?}");
    let (second, last) = (peaks[1], peaks[3]);
    assert!(last.fixtures <= second.fixtures + 1 && last.markets <= second.markets + 3, "{peaks:?}");
    assert!(last.closings <= second.closings + 1 && last.limits <= second.limits + 1, "{peaks:?}");
    assert!(last.bets * 10 <= second.bets * 11 && last.decisions * 10 <= second.decisions * 11, "{peaks:?}");
    assert_eq!((last.moving, last.reopened, last.accounts), (0, 0, 20));
}
