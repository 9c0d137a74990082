//! What a bettor sees: the last prices and statuses that a node told.

use crate::random::Random;
use std::collections::BTreeMap;
use touchline_protocol::*;

/// A market as it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The fixture.
    pub fixture: FixtureId,
    /// The market.
    pub market: MarketKey,
    /// Its status.
    pub status: MarketStatus,
    /// Odds in thousandths, 0 where there is none.
    pub prices: Vec<u32>,
    /// Their version.
    pub version: Seq,
}

/// Everything that was told.
#[derive(Clone, Debug, Default)]
pub struct PriceBoard {
    markets: Vec<Seen>,
    places: BTreeMap<(FixtureId, MarketKey), usize>,
    fixtures: BTreeMap<FixtureId, FixtureState>,
}

impl PriceBoard {
    /// Notes what a node told; anything but prices and states of fixtures is passed over.
    pub fn note(&mut self, told: &Body) {
        match told {
            Body::MarketOdds(m) => self.note_odds(m),
            Body::FixtureState(m) => {
                self.fixtures.insert(m.fixture, m.clone());
            }
            _ => {}
        }
    }

    /// Conflation keeps the order of one market's updates, so the last one told is the newest.
    fn note_odds(&mut self, m: &MarketOdds) {
        let seen = Seen {
            fixture: m.fixture,
            market: m.market,
            status: m.status,
            prices: m.prices.iter().map(|price| price.milli).collect(),
            version: m.version,
        };
        match self.places.get(&(m.fixture, m.market)) {
            Some(place) => self.markets[*place] = seen,
            None => {
                self.places.insert((m.fixture, m.market), self.markets.len());
                self.markets.push(seen);
            }
        }
    }

    /// A market.
    pub fn market(&self, fixture: FixtureId, market: MarketKey) -> Option<&Seen> {
        self.places.get(&(fixture, market)).map(|place| &self.markets[*place])
    }

    /// The state of a fixture.
    pub fn fixture(&self, fixture: FixtureId) -> Option<&FixtureState> {
        self.fixtures.get(&fixture)
    }

    /// Every fixture that was told.
    pub fn fixtures(&self) -> impl Iterator<Item = &FixtureState> {
        self.fixtures.values()
    }

    /// A priced selection of any open market, by chance: the market, the selection, its odds. Tries a few times.
    pub fn pick(&self, random: &mut Random) -> Option<(&Seen, u8, u32)> {
        for _ in 0..16 {
            let seen = random.pick(&self.markets)?;
            let selection = random.below(seen.prices.len() as u64) as u8;
            let milli = seen.prices.get(usize::from(selection)).copied().unwrap_or(0);
            if seen.status == MarketStatus::Active && milli != 0 && self.is_open(seen.fixture) {
                return Some((seen, selection, milli));
            }
        }
        None
    }

    fn is_open(&self, fixture: FixtureId) -> bool {
        let open = |state: &FixtureState| {
            matches!(state.status, FixtureStatus::NotStarted | FixtureStatus::Live) && state.suspended == 0
        };
        self.fixtures.get(&fixture).is_none_or(open)
    }
}
