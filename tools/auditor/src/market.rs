//! Markets and their payoffs by final score, as the rules' table has them.

use touchline_protocol::{Code, MarketKey, Odds, Payoff, Price, Seq, Sport, Stake};

/// The highest score of a side that counts.
pub const GOALS_MAX: i64 = 31;

/// How results come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// By the final score.
    ByScore,
    /// By sets won.
    BySets,
    /// By name.
    ByName,
}

/// One bet's part in a market: what it may return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Stakes.
    pub stake: i64,
    /// Returns for each payoff: won, half won, void, half lost, lost.
    pub returns: [i64; 5],
}

impl Sums {
    /// Of one bet.
    pub fn of(odds: Odds, stake: Stake) -> Self {
        let returns = [Payoff::Won, Payoff::HalfWon, Payoff::Void, Payoff::HalfLost, Payoff::Lost];
        Sums { stake: stake.0, returns: returns.map(|payoff| returned(odds, stake, payoff)) }
    }

    /// Adds or takes away.
    pub fn add(&mut self, other: &Sums, sign: i64) {
        self.stake += sign * other.stake;
        for (sum, more) in self.returns.iter_mut().zip(other.returns) {
            *sum += sign * more;
        }
    }

    /// The loss at a payoff.
    pub fn loss(&self, payoff: Payoff) -> i64 {
        self.returns[payoff as usize - 1] - self.stake
    }
}

/// What a bet returns, rounded down.
pub fn returned(odds: Odds, stake: Stake, payoff: Payoff) -> i64 {
    let (num, den) = match odds.den {
        0 => (i128::from(odds.milli), 1000),
        den => (i128::from(odds.num) + i128::from(den), i128::from(den)),
    };
    let stake = i128::from(stake.0);
    let exact = match payoff {
        Payoff::Won => stake * num / den,
        Payoff::HalfWon => stake * (num + den) / (2 * den),
        Payoff::Void => stake,
        Payoff::HalfLost => stake / 2,
        Payoff::Lost => 0,
    };
    i64::try_from(exact).unwrap_or(i64::MAX)
}

/// A market.
#[derive(Clone, Debug)]
pub struct Market {
    /// Its key.
    pub key: MarketKey,
    /// How results come about.
    pub decided: Decided,
    /// Whether it is open.
    pub open: bool,
    /// Reasons for suspension.
    pub suspended: u32,
    /// Prices in force.
    pub odds: Vec<Price>,
    /// Their version.
    pub version: Seq,
    /// Whether they are set by hand.
    pub by_hand: bool,
    /// Last material change and the code for tickets from before.
    pub mark: (Seq, Code),
    /// At stake on each selection.
    pub sums: Vec<Sums>,
    /// The different ways in which the results still possible pay all selections.
    pub rows: Vec<Vec<Payoff>>,
    /// For markets by score, the best payoff for the bettor of each selection in each state.
    pub best: Vec<Vec<Payoff>>,
}

impl Market {
    /// A new market; `None` where the rules know none like it.
    pub fn new(sport: Sport, key: MarketKey, selections: u8) -> Option<Self> {
        let score_count = match key.kind {
            1 if key.line == 0 => Some(3),
            29 if key.line == 0 => Some(2),
            45 if key.line == 0 => Some(37),
            16 if (-40..=40).contains(&key.line) => Some(2),
            18 if (2..=60).contains(&key.line) => Some(2),
            _ => None,
        };
        let by_score = [1, 16, 18, 29, 45].contains(&key.kind);
        let (decided, count) = match (sport, score_count) {
            (Sport::Football, Some(count)) => (Decided::ByScore, count),
            (Sport::Football, None) if by_score => return None,
            (Sport::Tennis, _) if key == MarketKey::new(186, 0) => (Decided::BySets, 2),
            _ if selections >= 2 => (Decided::ByName, usize::from(selections)),
            _ => return None,
        };
        let mut market = Market {
            key,
            decided,
            open: true,
            suspended: 0,
            odds: vec![Price::NONE; count],
            version: Seq(0),
            by_hand: false,
            mark: (Seq(0), Code::MaterialChange),
            sums: vec![Sums::default(); count],
            rows: Vec::new(),
            best: Vec::new(),
        };
        if decided == Decided::ByScore {
            market.best = (0..count).map(|selection| market.best_by_state(selection)).collect();
        }
        Some(market)
    }

    /// Payoffs are numbered from the best for the bettor downwards.
    fn best_by_state(&self, selection: usize) -> Vec<Payoff> {
        let mut best = vec![Payoff::Lost; STATES];
        for (h, a) in Market::finals([0, 0], false) {
            let place = &mut best[state_of(h, a)];
            *place = self.payoff(selection, h, a).min(*place);
        }
        best
    }

    /// Collects the rows of the results still possible.
    pub fn refresh(&mut self, finals: &[(i64, i64)]) {
        let count = self.odds.len();
        let rows: std::collections::BTreeSet<Vec<Payoff>> = match self.decided {
            Decided::ByScore => {
                finals.iter().map(|(h, a)| (0..count).map(|s| self.payoff(s, *h, *a)).collect()).collect()
            }
            Decided::BySets | Decided::ByName => {
                let won = |winner| {
                    (0..count).map(|s| if s == winner { Payoff::Won } else { Payoff::Lost }).collect()
                };
                (0..count).map(won).collect()
            }
        };
        self.rows = rows.into_iter().collect();
    }

    /// Whether there are prices.
    pub fn priced(&self) -> bool {
        self.version != Seq(0) && self.odds.iter().any(|price| price.milli > 0)
    }

    /// Result of a selection at a final score (or sets).
    pub fn payoff(&self, selection: usize, home: i64, away: i64) -> Payoff {
        let won = |yes: bool| if yes { Payoff::Won } else { Payoff::Lost };
        let line = i64::from(self.key.line);
        match (self.key.kind, selection) {
            (1, 0) => won(home > away),
            (1, 1) => won(home == away),
            (1, _) => won(home < away),
            (18, 0) => by_distance(4 * (home + away) - line),
            (18, _) => by_distance(line - 4 * (home + away)),
            (16, 0) => by_distance(4 * (home - away) + line),
            (16, _) => by_distance(-(4 * (home - away) + line)),
            (29, side) => won((home > 0 && away > 0) == (side == 0)),
            (45, 36) => won(home > 5 || away > 5),
            (45, named) => won(home == named as i64 / 6 && away == named as i64 % 6),
            (_, side) => won((home > away) == (side == 0)),
        }
    }

    /// Final scores that are possible from a present score.
    pub fn finals(score: [u16; 2], ended: bool) -> Vec<(i64, i64)> {
        let [home, away] = score.map(|goals| i64::from(goals).min(GOALS_MAX));
        if ended {
            return vec![(home, away)];
        }
        (home..=GOALS_MAX).flat_map(|h| (away..=GOALS_MAX).map(move |a| (h, a))).collect()
    }

    /// Whether every possible final score pays each selection alike.
    pub fn is_decided(&self) -> bool {
        self.decided == Decided::ByScore && self.rows.len() == 1
    }

    /// The largest loss over the possible results, with one more bet on a selection.
    pub fn worst_with(&self, more: Option<(usize, &Sums)>) -> i64 {
        let loss = |row: &Vec<Payoff>| -> i64 {
            let all: i64 = self.sums.iter().zip(row).map(|(sums, payoff)| sums.loss(*payoff)).sum();
            all + more.map_or(0, |(selection, sums)| sums.loss(row[selection]))
        };
        self.rows.iter().map(loss).max().unwrap_or(0)
    }
}

/// Result by the distance from the line in quarters.
fn by_distance(distance: i64) -> Payoff {
    match distance {
        2.. => Payoff::Won,
        1 => Payoff::HalfWon,
        0 => Payoff::Void,
        -1 => Payoff::HalfLost,
        _ => Payoff::Lost,
    }
}

/// Number of score states: 15 × 15 scores and 31 differences.
pub const STATES: usize = 225 + 31;

/// The state that a final score belongs to: each score up to 14:14 by itself, beyond that the difference.
pub fn state_of(home: i64, away: i64) -> usize {
    let state =
        if home <= 14 && away <= 14 { home * 15 + away } else { 225 + (home - away).clamp(-15, 15) + 15 };
    state as usize
}
