//! What is on sale, as it was last told, laid out for a quick choice.

use crate::mix::zipf;
use std::collections::BTreeMap;
use touchline_generator::Random;
use touchline_protocol::*;

/// Tries before nothing is found to bet on.
const TRIES: usize = 16;

/// A market's prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The market.
    pub market: MarketKey,
    /// Whether it takes bets by itself.
    pub active: bool,
    /// Version of the prices.
    pub version: Seq,
    /// Odds in thousandths, 0 where there is none.
    pub odds: Vec<u32>,
}

/// A fixture on sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnSale {
    /// The fixture.
    pub fixture: FixtureId,
    /// Whether it takes bets.
    pub open: bool,
    /// Its markets, in the order of their first price.
    pub quotes: Vec<Quote>,
}

/// Everything on sale. A fixture that ends leaves its place, and with it its popularity, to the next one that opens.
#[derive(Clone, Debug, Default)]
pub struct Quotes {
    first: FixtureId,
    sale: Vec<OnSale>,
    places: BTreeMap<FixtureId, usize>,
    free: Vec<usize>,
}

impl Quotes {
    /// Nothing yet; fixtures below `first` are somebody else's and not bet on.
    pub fn new(first: FixtureId) -> Self {
        Quotes { first, ..Quotes::default() }
    }

    /// Fixtures on sale, in the order of their popularity.
    pub fn sale(&self) -> &[OnSale] {
        &self.sale
    }

    /// Markets with prices.
    pub fn markets(&self) -> usize {
        self.places.values().map(|place| self.sale[*place].quotes.len()).sum()
    }

    /// Notes what a node told; anything but prices and states of fixtures is passed over.
    pub fn note(&mut self, told: &Body) {
        match told {
            Body::MarketOdds(m) if m.fixture >= self.first => self.note_odds(m),
            Body::FixtureState(m) if m.fixture >= self.first => self.note_state(m),
            _ => {}
        }
    }

    fn note_odds(&mut self, m: &MarketOdds) {
        let quote = Quote {
            market: m.market,
            active: m.status == MarketStatus::Active,
            version: m.version,
            odds: m.prices.iter().map(|price| price.milli).collect(),
        };
        // Prices of a settled market come after its fixture's end: they open no place again.
        if !quote.active && !self.places.contains_key(&m.fixture) {
            return;
        }
        let place = self.place(m.fixture);
        let quotes = &mut self.sale[place].quotes;
        match quotes.iter_mut().find(|known| known.market == m.market) {
            Some(known) => *known = quote,
            None => quotes.push(quote),
        }
    }

    fn note_state(&mut self, m: &FixtureState) {
        if matches!(m.status, FixtureStatus::NotStarted | FixtureStatus::Live) {
            let place = self.place(m.fixture);
            self.sale[place].open = m.suspended == 0;
        } else if let Some(place) = self.places.remove(&m.fixture) {
            self.sale[place].open = false;
            self.free.push(place);
        }
    }

    fn place(&mut self, fixture: FixtureId) -> usize {
        if let Some(place) = self.places.get(&fixture) {
            return *place;
        }
        let fresh = OnSale { fixture, open: true, quotes: Vec::new() };
        let place = match self.free.pop() {
            Some(place) => {
                self.sale[place] = fresh;
                place
            }
            None => {
                self.sale.push(fresh);
                self.sale.len() - 1
            }
        };
        self.places.insert(fixture, place);
        place
    }

    /// A priced selection that takes bets: fixtures by Zipf's law, markets and selections evenly. `None` where a few
    /// tries find nothing.
    pub fn pick(&self, random: &mut Random) -> Option<(FixtureId, &Quote, u8)> {
        for _ in 0..TRIES {
            let sale = self.sale.get(zipf(random, self.sale.len() as u64) as usize)?;
            let Some(quote) = random.pick(&sale.quotes) else { continue };
            let selection = random.below(quote.odds.len() as u64) as usize;
            if sale.open && quote.active && quote.odds.get(selection).is_some_and(|odds| *odds > 0) {
                return Some((sale.fixture, quote, selection as u8));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(fixture: u64, market: u16, version: u64) -> Body {
        let (fixture, market) = (FixtureId(fixture), MarketKey::new(market, 0));
        let prices = List(vec![Price::decimal(2000), Price::decimal(0)]);
        MarketOdds { fixture, market, status: MarketStatus::Active, version: Seq(version), prices }.into()
    }

    fn state(fixture: u64, status: FixtureStatus, suspended: u32) -> Body {
        let (fixture, board) = (FixtureId(fixture), Scoreboard::default());
        FixtureState { fixture, status, suspended, board, worst_minor: Money(0), bound: false }.into()
    }

    #[test]
    fn only_what_is_priced_and_open_is_picked_at_its_last_version() {
        let mut quotes = Quotes::new(FixtureId(10));
        let mut random = Random::new(1);
        assert!(quotes.pick(&mut random).is_none());
        [odds(9, 1, 1), odds(10, 1, 2), odds(10, 1, 3), odds(11, 1, 4)]
            .iter()
            .for_each(|told| quotes.note(told));
        quotes.note(&state(11, FixtureStatus::Live, 1));
        assert_eq!(quotes.markets(), 2);
        let picked: Vec<_> = (0..100).filter_map(|_| quotes.pick(&mut random)).collect();
        assert!(picked.len() > 50);
        assert!(picked.iter().all(|(f, q, s)| (*f, q.version, *s) == (FixtureId(10), Seq(3), 0)));
    }

    #[test]
    fn a_fixture_that_ends_leaves_its_place_to_the_next() {
        let mut quotes = Quotes::new(FixtureId(1));
        quotes.note(&odds(1, 1, 1));
        quotes.note(&odds(2, 1, 2));
        quotes.note(&state(1, FixtureStatus::Closed, 0));
        quotes.note(&odds(3, 1, 3));
        let fixtures: Vec<_> = quotes.sale().iter().map(|sale| sale.fixture.0).collect();
        assert_eq!(fixtures, [3, 2]);
    }
}
