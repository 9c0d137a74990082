//! Matches that come and go within a run: opened by hand, bet on, settled, archived, and sometimes brought back.

use crate::world::{DESK, World};
use std::collections::BTreeMap;
use touchline_protocol::*;

/// How long what is over stays in memory: shorter than a run.
const RETENTION_MS: u64 = 40;
/// Friendlies that are open at once.
const OPEN_MAX: usize = 3;
/// Records remembered to bring bets back by.
const RECORDS_MAX: usize = 100;
const OPERATOR: OperatorId = OperatorId(1);

/// Friendlies, and what left memory.
#[derive(Default)]
pub(crate) struct Friendlies {
    opened: u64,
    open: Vec<FixtureId>,
    bets: Vec<BetArchived>,
    fixtures: BTreeMap<FixtureId, FixtureArchived>,
}

impl Friendlies {
    /// Somebody is told an event.
    pub(crate) fn note(&mut self, told: &Body) {
        match told {
            Body::BetArchived(m) if self.bets.len() < RECORDS_MAX => self.bets.push(m.clone()),
            Body::FixtureArchived(m) => drop(self.fixtures.insert(m.record.fixture, m.clone())),
            _ => {}
        }
    }
}

/// How long fixtures stay in this world.
pub(crate) fn retention() -> SetRetention {
    SetRetention { retention_ms: RETENTION_MS, operator: OPERATOR, note: Text::cut("by chance") }
}

impl World {
    /// The desk opens a friendly, ends one, or brings a bet of one back.
    pub(crate) fn desk_friendly(&mut self) {
        if self.people[DESK].session.unanswered() > 10 {
            return;
        }
        let open = self.friendlies.open.len();
        let commands = match self.random.below(4) {
            0 | 1 if open < OPEN_MAX => self.open_friendly(),
            2 if open > 0 => self.end_friendly(),
            _ => self.bring_back(),
        };
        for command in commands {
            self.note(|| format!("desk: {command:?}"));
            self.people[DESK].session.send(command);
        }
    }

    fn open_friendly(&mut self) -> Vec<Body> {
        let friendlies = &mut self.friendlies;
        friendlies.opened += 1;
        let fixture = FixtureId(1_000_000 + self.seed % 1000 * 1000 + friendlies.opened);
        friendlies.open.push(fixture);
        // By score or by name, in turns: with them other things come back.
        let by_score = friendlies.opened.is_multiple_of(2);
        let sport = if by_score { Sport::Football } else { Sport::Other };
        let market = MarketKey::new(if by_score { 1 } else { 900 }, 0);
        let opening = OpenFixture {
            fixture,
            sport,
            competition: CompetitionId(9),
            tier: 3,
            source: SourceId(0),
            start_at: At(self.now.utc_ns),
            margin_ppm: 0,
            best_of: 0,
            home: Text::cut("Reds"),
            away: Text::cut("Blues"),
        };
        let markets = List(vec![MarketSpec { market, selections: 3 }]);
        let prices = List([2100, 3300, 3600].map(Price::decimal).to_vec());
        let by_hand = SetPrices { fixture, market, operator: OPERATOR, basis: Seq(0), prices };
        vec![opening.into(), OpenMarkets { fixture, markets }.into(), by_hand.into()]
    }

    /// Its one market is settled by the score or by name; the other command says nothing new.
    fn end_friendly(&mut self) -> Vec<Body> {
        let place = self.random.below(self.friendlies.open.len() as u64) as usize;
        let fixture = self.friendlies.open.remove(place);
        let [home, away, winner] = [0, 1, 2].map(|_| self.random.below(3) as u16);
        let (certainty, operator) = (Certainty::Confirmed, OPERATOR);
        let market = MarketKey::new(900, 0);
        let named = SettleMarket { fixture, market, selection: winner as u8, certainty, operator };
        vec![named.into(), SettleFixture { fixture, home, away, certainty, operator }.into()]
    }

    /// A bet of a friendly that left comes back, by whatever record of it; the friendly is to end again.
    fn bring_back(&mut self) -> Vec<Body> {
        let Some(bet) = self.random.pick(&self.friendlies.bets).cloned() else { return Vec::new() };
        let Some(fixture) = self.friendlies.fixtures.get(&bet.bet.fixture).cloned() else {
            return Vec::new();
        };
        let mut reopen = Reopen {
            bet: bet.bet,
            record: fixture.record,
            operator: OPERATOR,
            home: fixture.home,
            away: fixture.away,
            markets: fixture.markets,
            note: Text::cut("by chance"),
        };
        if self.random.chance(0.2) {
            reopen.bet.stake = Stake(reopen.bet.stake.0 + 1);
        } else if !self.friendlies.open.contains(&reopen.bet.fixture) {
            self.friendlies.open.push(reopen.bet.fixture);
        }
        vec![reopen.into()]
    }
}
