//! The integer edge: odds in thousandths from a model's state, with the margin put in and rounded down.

use crate::football::FootballGrid;
use crate::margin::{PayoffMass, quote};
use crate::markets::{Market, Payoff};
use crate::tennis::{Tennis, TennisState};

/// Odds of one market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Thousandths, one a selection; 0 is no price.
    pub odds_milli: [u32; Market::MAX_SELECTIONS],
    /// Number of selections.
    pub n: usize,
}

/// Prices a market by score.
pub fn price_football(grid: &FootballGrid, market: Market, margin_ppm: u32) -> Priced {
    let classes = grid.class_probabilities(market);
    let mut priced = Priced { odds_milli: [0; Market::MAX_SELECTIONS], n: market.selections() };
    for selection in 0..priced.n {
        priced.odds_milli[selection] = quote(&mass(market, selection, &classes), margin_ppm);
    }
    priced
}

/// Probability of each payoff of a selection.
pub fn mass(market: Market, selection: usize, classes: &[f64; Market::MAX_SELECTIONS]) -> PayoffMass {
    let mut mass = PayoffMass::default();
    for (class, probability) in classes[..market.classes()].iter().enumerate() {
        mass.add(market.payoff(selection, class), *probability);
    }
    mass
}

/// Prices the winner of a tennis match.
pub fn price_tennis(model: &Tennis, state: &TennisState, margin_ppm: u32) -> Priced {
    let first = model.match_winner(state);
    let mut priced = Priced { odds_milli: [0; Market::MAX_SELECTIONS], n: 2 };
    for (place, probability) in priced.odds_milli.iter_mut().zip([first, 1.0 - first]) {
        let mut mass = PayoffMass::default();
        mass.add(Payoff::Win, probability);
        mass.add(Payoff::Loss, 1.0 - probability);
        *place = quote(&mass, margin_ppm);
    }
    priced
}
