//! From a fixture's state to prices: the one place where the core talks to the models.

use crate::fixture::{Fixture, Model};
use crate::market::Market;
use crate::rules::Rules;
use touchline_pricing::calibrate::{self, FootballInput};
use touchline_pricing::football::{Clock, FootballGrid, FootballState, Intensities};
use touchline_pricing::markets::Market as Shape;
use touchline_pricing::sheet::{price_football, price_tennis};
use touchline_pricing::tennis::{Player, Rules as TennisRules, Tennis, TennisState};
use touchline_protocol::{Period, Scoreboard, SetReference, Side, Sport};

/// Prices of one state of a fixture.
pub struct Quoter {
    margin_ppm: u32,
    model: Priced,
    score: [u16; 2],
}

enum Priced {
    Football(Box<FootballGrid>),
    Tennis(Tennis, TennisState),
}

impl Quoter {
    /// `None` where there is nothing to price by: no model, or the match is over. `Err` says why a state
    /// cannot be priced.
    pub fn new(fixture: &Fixture, rules: &Rules) -> Result<Option<Self>, String> {
        if !fixture.is_open() {
            return Ok(None);
        }
        let model = match fixture.model {
            Model::None => return Ok(None),
            Model::Football(goals) => {
                let intensities = intensities(goals)?;
                let state = football_state(&fixture.board).map_err(|error| error.to_string())?;
                Priced::Football(Box::new(FootballGrid::new(&intensities, &state)))
            }
            Model::Tennis(serve) => {
                let state = tennis_state(&fixture.board, fixture.opened.best_of)?;
                Priced::Tennis(tennis(serve, fixture.opened.best_of)?, state)
            }
        };
        let margin_ppm = rules.margin_ppm(fixture.opened.sport, fixture.opened.margin_ppm);
        Ok(Some(Quoter { margin_ppm, model, score: fixture.board.score }))
    }

    /// Odds in thousandths of each selection, 0 for none; `None` where this model does not know the market.
    pub fn quote(&self, market: &Market) -> Option<Vec<u32>> {
        let shape = market.shape()?;
        if market.decided(self.score, false) {
            return Some(vec![0; market.selections()]);
        }
        let priced = match (&self.model, shape) {
            (Priced::Football(_), Shape::TennisWinner) => return None,
            (Priced::Football(grid), shape) => price_football(grid, shape, self.margin_ppm),
            (Priced::Tennis(model, state), Shape::TennisWinner) => {
                price_tennis(model, state, self.margin_ppm)
            }
            (Priced::Tennis(..), _) => return None,
        };
        Some(priced.odds_milli[..market.selections()].to_vec())
    }
}

/// The model of a fixture from reference prices.
pub fn calibrate(fixture: &Fixture, m: &SetReference) -> Result<Model, String> {
    let odds = |milli: u32| (milli != 0).then(|| f64::from(milli) / 1000.0);
    let need = |milli: u32, name: &str| odds(milli).ok_or_else(|| format!("{name} is missing"));
    match fixture.opened.sport {
        Sport::Football => {
            let winner = [
                need(m.home_milli, "home_milli")?,
                need(m.draw_milli, "draw_milli")?,
                need(m.away_milli, "away_milli")?,
            ];
            let total = match (odds(m.over_milli), odds(m.under_milli)) {
                (Some(over), Some(under)) => Some((m.total_line, [over, under])),
                _ => None,
            };
            let fitted =
                calibrate::football(&FootballInput { winner, total }).map_err(|error| error.to_string())?;
            Ok(Model::Football([fitted.intensities.home(), fitted.intensities.away()]))
        }
        Sport::Tennis => {
            let winner = [need(m.home_milli, "home_milli")?, need(m.away_milli, "away_milli")?];
            let rules = tennis_rules(fixture.opened.best_of)?;
            let fitted = calibrate::tennis(winner, rules).map_err(|error| error.to_string())?;
            Ok(Model::Tennis(fitted))
        }
        Sport::Other => Err("this sport has no model; set prices by hand".into()),
    }
}

/// The model of a fixture from parameters.
pub fn given(fixture: &Fixture, values: [f64; 2]) -> Result<Model, String> {
    match fixture.opened.sport {
        Sport::Football => intensities(values).map(|_| Model::Football(values)),
        Sport::Tennis => tennis(values, fixture.opened.best_of).map(|_| Model::Tennis(values)),
        Sport::Other => Err("this sport has no model; set prices by hand".into()),
    }
}

fn intensities([home, away]: [f64; 2]) -> Result<Intensities, String> {
    Intensities::new(home, away).map_err(|error| error.to_string())
}

fn football_state(board: &Scoreboard) -> Result<FootballState, touchline_pricing::football::StateError> {
    let seconds = f64::from(board.clock_ms) / 1000.0;
    let clock = match board.period {
        Period::NotStarted => Clock::NotStarted,
        Period::First => Clock::FirstHalf { seconds },
        Period::Break => Clock::HalfTime,
        Period::Second => Clock::SecondHalf { seconds },
        Period::Ended => Clock::Ended,
    };
    FootballState::new(board.score.map(u32::from), clock, board.reds.map(u32::from))
}

fn tennis_rules(best_of: u8) -> Result<TennisRules, String> {
    TennisRules::best_of(best_of).map_err(|error| error.to_string())
}

fn tennis([home, away]: [f64; 2], best_of: u8) -> Result<Tennis, String> {
    Tennis::new(home, away, tennis_rules(best_of)?).map_err(|error| error.to_string())
}

fn tennis_state(board: &Scoreboard, best_of: u8) -> Result<TennisState, String> {
    let server = match board.server {
        Side::Away => Player::B,
        Side::Home | Side::None => Player::A,
    };
    let sets = board.score.map(|sets| u8::try_from(sets).unwrap_or(u8::MAX));
    TennisState::new(sets, board.games, board.points, server, tennis_rules(best_of)?)
        .map_err(|error| error.to_string())
}
