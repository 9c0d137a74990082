//! Results as the log gives them and takes them back.

use super::Auditor;
use crate::book::Fixture;
use crate::market::{Decided, Market};
use std::cmp::Ordering;
use touchline_protocol::*;

impl Auditor {
    /// Whether it took effect, as of the two below.
    pub(super) fn settle_fixture(&mut self, m: &SettleFixture, partitions: u16) -> bool {
        let Some(fixture) = self.book.fixtures.get(&m.fixture) else { return false };
        let to_win = fixture.sets_to_win;
        let won = (m.home.cmp(&to_win), m.away.cmp(&to_win));
        if to_win > 0 && !matches!(won, (Ordering::Equal, Ordering::Less) | (Ordering::Less, Ordering::Equal))
        {
            return false;
        }
        let [told_home, told_away] = fixture.board.score;
        if m.home < told_home || m.away < told_away || fixture.over() {
            return false;
        }
        let (home, away) = (i64::from(m.home), i64::from(m.away));
        self.close(m.fixture, MarketKey::WHOLE_FIXTURE, m.certainty, partitions, |market, selection| {
            (market.decided != Decided::ByName).then(|| market.payoff(selection, home, away))
        });
        self.live_on(m.fixture, |fixture| {
            fixture.result = Some([m.home, m.away]);
            fixture.status = FixtureStatus::Ended;
        });
        true
    }

    pub(super) fn settle_market(&mut self, m: &SettleMarket, partitions: u16) -> bool {
        let winner = usize::from(m.selection);
        self.close(m.fixture, m.market, m.certainty, partitions, |market, selection| {
            let may =
                market.decided != Decided::ByScore && market.key == m.market && winner < market.odds.len();
            may.then_some(if selection == winner { Payoff::Won } else { Payoff::Lost })
        })
    }

    pub(super) fn void(&mut self, m: &VoidMarket, partitions: u16) -> bool {
        let whole = m.market.kind == 0;
        let ends = whole && self.book.fixtures.get(&m.fixture).is_some_and(|fixture| !fixture.over());
        let any =
            self.close(m.fixture, m.market, Certainty::Confirmed, partitions, |_, _| Some(Payoff::Void));
        if whole {
            self.live_on(m.fixture, |fixture| fixture.status = FixtureStatus::Cancelled);
        }
        any || ends
    }

    /// Changes a fixture's life.
    fn live_on(&mut self, id: FixtureId, change: impl FnOnce(&mut Fixture)) {
        if let Some(fixture) = self.book.fixtures.get_mut(&id) {
            change(fixture);
            fixture.refresh();
        }
    }

    /// Closes markets; whether there were any.
    fn close(
        &mut self,
        id: FixtureId,
        wanted: MarketKey,
        certainty: Certainty,
        partitions: u16,
        result: impl Fn(&Market, usize) -> Option<Payoff>,
    ) -> bool {
        let Some(fixture) = self.book.fixtures.get_mut(&id) else { return false };
        let mut results = Vec::new();
        for market in fixture.markets.values_mut().filter(|market| market.open) {
            if wanted.kind != 0 && wanted != market.key {
                continue;
            }
            for selection in 0..market.odds.len() {
                if let Some(payoff) = result(market, selection) {
                    results.push(SelectionResult { market: market.key, selection: selection as u8, payoff });
                }
            }
        }
        results.iter().for_each(|result| fixture.set_open(result.market, false));
        let owner = id.partition(partitions);
        for part in results.chunks(2048) {
            let hop = Hop { from: owner, number: 0 };
            self.owe(owner, Settled { hop, fixture: id, certainty, results: List(part.to_vec()) });
        }
        !results.is_empty()
    }

    pub(super) fn roll_back(&mut self, m: &RollbackSettlement, seq: Seq, partitions: u16) {
        let Some(fixture) = self.book.fixtures.get(&m.fixture) else { return };
        let whole = m.market.kind == 0;
        let named = |market: &&Market| !market.open && (whole || m.market == market.key);
        let keys: Vec<MarketKey> = fixture.markets.values().filter(named).map(|market| market.key).collect();
        let idle = keys.is_empty() && !(whole && fixture.over());
        if idle || self.archived.is_leaving(m.fixture) {
            return;
        }
        self.open_again(m.fixture, keys, whole, seq, partitions);
    }
}
