//! Markets as payoffs on final results: one definition for price, exposure and settlement.

use std::fmt;

/// What a bet gets back. Ordered from the best for the bettor to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Payoff {
    /// Odds × stake.
    Win,
    /// Half at the odds, half returned.
    HalfWin,
    /// The stake.
    Push,
    /// Half the stake.
    HalfLoss,
    /// Nothing.
    Loss,
}

/// Payoffs in order, from the view of the first of two opposite selections.
const LADDER: [Payoff; 5] = [Payoff::Win, Payoff::HalfWin, Payoff::Push, Payoff::HalfLoss, Payoff::Loss];

/// A market with a model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Market {
    /// 1: home, draw, away.
    Winner3,
    /// 18: over, under a line in quarter goals.
    Total {
        /// The line.
        quarters: i32,
    },
    /// 29: yes, no.
    BothToScore,
    /// 16: home, away, with the home side's handicap in quarter goals.
    AsianHandicap {
        /// The line.
        quarters: i32,
    },
    /// 45: 0:0 to 5:5 row by row, then any other score.
    CorrectScore,
    /// 186: first player, second player.
    TennisWinner,
}

/// Goals of each side that the correct-score market names.
const NAMED: u32 = 6;

/// A key that is no market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarketError {
    /// No model knows this number.
    Kind(u16),
    /// The line is outside the market's range (inclusive, in quarters).
    Line {
        /// The market's number.
        kind: u16,
        /// The line given.
        line: i32,
        /// Lowest line.
        from: i32,
        /// Highest line.
        to: i32,
    },
}

impl fmt::Display for MarketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MarketError::Kind(kind) => write!(f, "market {kind} has no model"),
            MarketError::Line { kind, line, from, to } => {
                write!(f, "market {kind}: line {line} is outside {from}..={to} quarters")
            }
        }
    }
}

impl std::error::Error for MarketError {}

impl Market {
    /// The most selections, and the most classes, that a market has.
    pub const MAX_SELECTIONS: usize = 40;

    /// The market with a unified-odds number and a line in quarters: totals 2 to 60 (0.5 to 15), handicaps −40
    /// to 40, 0 where the market takes none.
    pub fn from_key(kind: u16, line: i32) -> Result<Market, MarketError> {
        let within = |from: i32, to: i32, market| {
            if (from..=to).contains(&line) {
                Ok(market)
            } else {
                Err(MarketError::Line { kind, line, from, to })
            }
        };
        match kind {
            1 => within(0, 0, Market::Winner3),
            16 => within(-40, 40, Market::AsianHandicap { quarters: line }),
            18 => within(2, 60, Market::Total { quarters: line }),
            29 => within(0, 0, Market::BothToScore),
            45 => within(0, 0, Market::CorrectScore),
            186 => within(0, 0, Market::TennisWinner),
            _ => Err(MarketError::Kind(kind)),
        }
    }

    /// Unified-odds number and line in quarters.
    pub fn key(self) -> (u16, i32) {
        match self {
            Market::Winner3 => (1, 0),
            Market::AsianHandicap { quarters } => (16, quarters),
            Market::Total { quarters } => (18, quarters),
            Market::BothToScore => (29, 0),
            Market::CorrectScore => (45, 0),
            Market::TennisWinner => (186, 0),
        }
    }

    /// Number of selections.
    pub fn selections(self) -> usize {
        match self {
            Market::Winner3 => 3,
            Market::CorrectScore => (NAMED * NAMED + 1) as usize,
            _ => 2,
        }
    }

    /// Number of classes of results that pay every selection alike.
    pub fn classes(self) -> usize {
        match self {
            Market::Total { .. } | Market::AsianHandicap { .. } => LADDER.len(),
            other => other.selections(),
        }
    }

    /// The class of a final score (for tennis: of sets won).
    pub fn class_of(self, home: u32, away: u32) -> usize {
        let (h, a) = (i64::from(home), i64::from(away));
        match self {
            Market::Winner3 => match h.cmp(&a) {
                std::cmp::Ordering::Greater => 0,
                std::cmp::Ordering::Equal => 1,
                std::cmp::Ordering::Less => 2,
            },
            Market::Total { quarters } => rung(4 * (h + a) - i64::from(quarters)),
            Market::AsianHandicap { quarters } => rung(4 * (h - a) + i64::from(quarters)),
            Market::BothToScore => usize::from(home == 0 || away == 0),
            Market::CorrectScore if home < NAMED && away < NAMED => (home * NAMED + away) as usize,
            Market::CorrectScore => (NAMED * NAMED) as usize,
            Market::TennisWinner => usize::from(a > h),
        }
    }

    /// How a selection pays in a class.
    pub fn payoff(self, selection: usize, class: usize) -> Payoff {
        match self {
            Market::Total { .. } | Market::AsianHandicap { .. } => {
                LADDER[if selection == 0 { class } else { LADDER.len() - 1 - class }]
            }
            _ if selection == class => Payoff::Win,
            _ => Payoff::Loss,
        }
    }

    /// Name of a selection, with its line: "over 2.5", "home -0.25", "2:1".
    pub fn selection_name(self, selection: usize) -> String {
        let two =
            |first: &str, second: &str| if selection == 0 { first.to_owned() } else { second.to_owned() };
        match self {
            Market::Winner3 => ["home", "draw", "away"].get(selection).copied().unwrap_or("?").to_owned(),
            Market::Total { quarters } => format!("{} {}", two("over", "under"), f64::from(quarters) / 4.0),
            Market::AsianHandicap { quarters } => {
                let line = if selection == 0 { quarters } else { -quarters };
                format!("{} {:+}", two("home", "away"), f64::from(line) / 4.0)
            }
            Market::BothToScore => two("yes", "no"),
            Market::CorrectScore if selection < (NAMED * NAMED) as usize => {
                format!("{}:{}", selection / NAMED as usize, selection % NAMED as usize)
            }
            Market::CorrectScore => "other".into(),
            Market::TennisWinner => two("first", "second"),
        }
    }

    /// Name of the market.
    pub fn name(self) -> String {
        match self {
            Market::Winner3 => "1x2".into(),
            Market::Total { quarters } => format!("total {}", f64::from(quarters) / 4.0),
            Market::AsianHandicap { quarters } => format!("Asian handicap {:+}", f64::from(quarters) / 4.0),
            Market::BothToScore => "both teams to score".into(),
            Market::CorrectScore => "correct score".into(),
            Market::TennisWinner => "winner".into(),
        }
    }
}

/// Position on the ladder of payoffs for a distance from the line in quarters: half a goal or more wins whole.
fn rung(distance: i64) -> usize {
    match distance {
        2.. => 0,
        1 => 1,
        0 => 2,
        -1 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_market() -> Vec<Market> {
        let mut all = vec![Market::Winner3, Market::BothToScore, Market::CorrectScore, Market::TennisWinner];
        all.extend((2..=60).map(|quarters| Market::Total { quarters }));
        all.extend((-40..=40).map(|quarters| Market::AsianHandicap { quarters }));
        all
    }

    #[test]
    fn a_key_names_one_market() {
        for market in every_market() {
            let (kind, line) = market.key();
            assert_eq!(Market::from_key(kind, line), Ok(market));
            assert!(
                market.classes() <= Market::MAX_SELECTIONS && market.selections() <= Market::MAX_SELECTIONS
            );
        }
        assert!(
            Market::from_key(18, 1).is_err()
                && Market::from_key(1, 4).is_err()
                && Market::from_key(999, 0).is_err()
        );
    }

    #[test]
    fn in_every_class_the_selections_share_the_stakes() {
        // Win counts 1, half win ¾, push ½ … so opposite sides sum to 1, and exactly one of many wins.
        let share = |payoff: Payoff| 1.0 - payoff as usize as f64 / 4.0;
        for market in every_market() {
            for (home, away) in (0..20).flat_map(|h| (0..20).map(move |a| (h, a))) {
                let class = market.class_of(home, away);
                assert!(class < market.classes());
                let sum: f64 = (0..market.selections()).map(|s| share(market.payoff(s, class))).sum();
                assert_eq!(sum, 1.0, "{market:?} {home}:{away}");
            }
        }
    }

    #[test]
    fn quarter_lines_split() {
        let line = Market::AsianHandicap { quarters: -1 };
        assert_eq!(line.payoff(0, line.class_of(1, 1)), Payoff::HalfLoss);
        assert_eq!(line.payoff(1, line.class_of(1, 1)), Payoff::HalfWin);
        let total = Market::Total { quarters: 11 };
        assert_eq!(total.payoff(0, total.class_of(2, 1)), Payoff::HalfWin, "over 2.75 at three goals");
        assert_eq!(total.selection_name(0), "over 2.75");
        assert_eq!(line.selection_name(1), "away +0.25");
    }
}
