//! A market of a fixture: prices, mark, suspension, and what is at stake on it.

use crate::exposure::{Position, ScoreMap};
use crate::fingerprint::{Reader, put};
use crate::table::Entity;
use std::ops::Range;
use std::sync::Arc;
use touchline_pricing::markets::{Market as Shape, Payoff as ShapePayoff};
use touchline_protocol::wire::{Block, Fault};
use touchline_protocol::{Code, MarketKey, MarketStatus, Payoff, Price, Reason, Seq};

/// How a market's results come about.
#[derive(Clone)]
pub enum Results {
    /// By the final score; its bets are on the fixture's score states.
    Score(Shape, Arc<ScoreMap>),
    /// By sets won: tennis winner.
    Sets(Shape),
    /// By the selection that an operator names.
    Named,
}

/// Whether a market is open, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Not settled.
    Open,
    /// Settled.
    Settled,
    /// Void.
    Cancelled,
}

/// A market.
#[derive(Clone)]
pub struct Market {
    /// How its results come about; follows from its key.
    pub results: Results,
    /// Whether it is open.
    pub life: Life,
    /// Reasons for its own suspension, one bit each.
    pub suspended: u32,
    /// Prices in force.
    pub odds: Vec<Price>,
    /// Version of these prices; 0 where none were ever published.
    pub version: Seq,
    /// Whether an operator sets the prices.
    pub by_hand: bool,
    /// Last material change; tickets on older prices are rejected.
    pub mark: Seq,
    /// The code they get.
    pub mark_code: Code,
    /// Prices last sent to be published, so that equal ones are not sent again.
    pub offered: Vec<u32>,
    /// The input those were computed from.
    pub offered_basis: Seq,
    /// Bets, held ones included, by selection.
    pub positions: Vec<Position>,
}

impl Market {
    /// A market without prices.
    pub fn new(results: Results, selections: usize) -> Self {
        Market {
            results,
            life: Life::Open,
            suspended: 0,
            odds: vec![Price::NONE; selections],
            version: Seq(0),
            by_hand: false,
            mark: Seq(0),
            mark_code: Code::MaterialChange,
            offered: vec![0; selections],
            offered_basis: Seq(0),
            positions: vec![Position::default(); selections],
        }
    }

    /// Reads what [`Entity::bytes`] wrote of a market whose results come about so.
    pub(crate) fn read(results: Results, from: &mut Reader<'_>) -> Result<Self, Fault> {
        let mut market = Market::new(results, 0);
        market.life = match from.field::<u8>()? {
            0 => Life::Open,
            1 => Life::Settled,
            2 => Life::Cancelled,
            _ => return Err(Fault::Range("a known life")),
        };
        market.suspended = from.field()?;
        market.version = from.field()?;
        market.by_hand = from.field()?;
        market.mark = from.field()?;
        market.mark_code = from.field()?;
        market.offered_basis = from.field()?;
        let selections = from.field::<u16>()?;
        for _ in 0..selections {
            market.odds.push(from.block()?);
        }
        for _ in 0..selections {
            market.offered.push(from.field()?);
        }
        for _ in 0..selections {
            let [stake, won, half_won, half_lost] =
                [from.field()?, from.field()?, from.field()?, from.field()?];
            market.positions.push(Position { stake, won, half_won, half_lost });
        }
        Ok(market)
    }

    /// The status that subscribers see; the fixture's own suspension comes on top.
    pub fn status(&self) -> MarketStatus {
        match self.life {
            Life::Settled => MarketStatus::Settled,
            Life::Cancelled => MarketStatus::Cancelled,
            Life::Open if self.suspended != 0 => MarketStatus::Suspended,
            Life::Open if !self.has_prices() => MarketStatus::Inactive,
            Life::Open => MarketStatus::Active,
        }
    }

    /// Whether prices are in force.
    pub fn has_prices(&self) -> bool {
        self.version != Seq(0) && self.odds.iter().any(|price| *price != Price::NONE)
    }

    /// The model's own description, where there is one.
    pub fn shape(&self) -> Option<Shape> {
        match &self.results {
            Results::Score(shape, _) | Results::Sets(shape) => Some(*shape),
            Results::Named => None,
        }
    }

    /// Number of selections.
    pub fn selections(&self) -> usize {
        self.odds.len()
    }

    /// Whether the result is already known from the score.
    pub fn decided(&self, score: [u16; 2], is_final: bool) -> bool {
        match &self.results {
            Results::Score(_, map) => map.possible(score, is_final).count_ones() == 1,
            Results::Sets(_) | Results::Named => false,
        }
    }

    /// The largest loss over the results still possible, with another position added to a selection.
    pub fn worst_loss(&self, score: [u16; 2], is_final: bool, extra: Option<(usize, &Position)>) -> i64 {
        let staked: i64 = self.positions.iter().chain(extra.map(|(_, more)| more)).map(|p| p.stake).sum();
        let returned = |class: usize| -> i64 {
            let of = |selection, p: &Position| p.returned(self.payoff(selection, class));
            let more = extra.map_or(0, |(selection, more)| of(selection, more));
            self.paid(class).map(|selection| of(selection, &self.positions[selection])).sum::<i64>() + more
        };
        let mut possible = match &self.results {
            Results::Score(_, map) => map.possible(score, is_final),
            Results::Sets(_) | Results::Named => (1 << self.selections()) - 1,
        };
        let mut most = None;
        while possible != 0 {
            most = most.max(Some(returned(possible.trailing_zeros() as usize)));
            possible &= possible - 1;
        }
        most.map_or(0, |returned| returned - staked)
    }

    /// Selections that may get something back in a class; the others lose.
    fn paid(&self, class: usize) -> Range<usize> {
        match &self.results {
            Results::Score(Shape::Total { .. } | Shape::AsianHandicap { .. }, _) => 0..self.selections(),
            _ => class..class + 1,
        }
    }

    /// How a selection pays in a class. Classes of markets without score states are "that selection wins".
    pub fn payoff(&self, selection: usize, class: usize) -> ShapePayoff {
        match &self.results {
            Results::Score(shape, _) => shape.payoff(selection, class),
            Results::Sets(_) | Results::Named if selection == class => ShapePayoff::Win,
            Results::Sets(_) | Results::Named => ShapePayoff::Loss,
        }
    }

    /// Results of all selections in a class, as the wire names them.
    pub fn outcomes(&self, class: usize) -> Vec<Payoff> {
        (0..self.selections()).map(|selection| wire_payoff(self.payoff(selection, class))).collect()
    }
}

/// The wire's name of a payoff.
fn wire_payoff(payoff: ShapePayoff) -> Payoff {
    match payoff {
        ShapePayoff::Win => Payoff::Won,
        ShapePayoff::HalfWin => Payoff::HalfWon,
        ShapePayoff::Push => Payoff::Void,
        ShapePayoff::HalfLoss => Payoff::HalfLost,
        ShapePayoff::Loss => Payoff::Lost,
    }
}

/// The bit of a reason in a set of reasons.
pub fn bit(reason: Reason) -> u32 {
    1 << reason as u8
}

/// Whether a command that names `wanted` means this market; kind 0 means all.
pub fn selects(wanted: MarketKey, market: MarketKey) -> bool {
    wanted.kind == 0 || wanted == market
}

impl Entity for Market {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&(self.life as u8), out);
        put(&self.suspended, out);
        put(&self.version, out);
        put(&self.by_hand, out);
        put(&self.mark, out);
        put(&self.mark_code, out);
        put(&self.offered_basis, out);
        put(&(self.selections() as u16), out);
        self.odds.iter().for_each(|price| price.put_block(out));
        self.offered.iter().for_each(|milli| put(milli, out));
        for position in &self.positions {
            for sum in [position.stake, position.won, position.half_won, position.half_lost] {
                put(&sum, out);
            }
        }
    }
}
