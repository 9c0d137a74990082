//! What the house wins or loses at each result: score states shared by a football fixture's markets, and the
//! classes of one market.

use std::sync::Arc;
use touchline_pricing::markets::{Market as Shape, Payoff};
use touchline_protocol::{Money, Odds, Stake, units::returned_half_lost};

/// Rows and columns of the table of score states.
pub const GOALS: usize = 16;
/// Score states of a fixture.
pub const STATES: usize = GOALS * GOALS;
/// Most goals of a side that a possible final score counts with.
pub const GOALS_MAX: usize = 31;
/// The first number of goals that states no longer tell apart.
const OPEN: usize = GOALS - 1;

/// The state of a final score.
///
/// Up to 14 goals a side each score is a state of its own, row by row. Scores with 15 or more goals of a side
/// share the last row and column, one state for each goal difference (15 and more count as 15): there every
/// market of a sensible line sees nothing but the difference, so bets still net exactly.
pub fn state_of(home: usize, away: usize) -> usize {
    if home < OPEN && away < OPEN {
        return home * GOALS + away;
    }
    let gap = home.abs_diff(away).min(OPEN);
    if home >= away { OPEN * GOALS + OPEN - gap } else { (OPEN - gap) * GOALS + OPEN }
}

/// How one market by score pays in each state and which of its classes are still possible from each score.
/// It depends on the market's key alone and is shared by all fixtures.
pub struct ScoreMap {
    shape: Shape,
    /// For each selection and state, its worst payoff for the house over the state's members.
    worst: Vec<[Payoff; STATES]>,
    /// For each score, the classes of the final scores that are not below it, as a bit set.
    possible: Vec<u64>,
}

impl ScoreMap {
    /// Tabulates a market by score.
    pub fn new(shape: Shape) -> Arc<Self> {
        let worst = (0..shape.selections()).map(|selection| worst_payoffs(shape, selection)).collect();
        let side = GOALS_MAX + 1;
        let mut possible = vec![0u64; side * side];
        for home in (0..side).rev() {
            for away in (0..side).rev() {
                let mut classes = 1 << shape.class_of(home as u32, away as u32);
                if home < GOALS_MAX {
                    classes |= possible[(home + 1) * side + away];
                }
                if away < GOALS_MAX {
                    classes |= possible[home * side + away + 1];
                }
                possible[home * side + away] = classes;
            }
        }
        Arc::new(ScoreMap { shape, worst, possible })
    }

    /// Classes still possible from a score; once it is final, only its own.
    pub fn possible(&self, score: [u16; 2], is_final: bool) -> u64 {
        let [home, away] = score.map(|goals| usize::from(goals).min(GOALS_MAX));
        if is_final {
            1 << self.shape.class_of(home as u32, away as u32)
        } else {
            self.possible[home * (GOALS_MAX + 1) + away]
        }
    }

    /// The house's worst result over the states still possible, with a position added to a selection.
    pub fn worst_with(
        &self,
        selection: usize,
        position: &Position,
        states: &[i64; STATES],
        score: [u16; 2],
        is_final: bool,
    ) -> Money {
        let (results, payoffs) = (position.house_results(), &self.worst[selection]);
        worst_of(score, is_final, |state| {
            let state = state % STATES; // Never outside, which the compiler cannot know.
            states[state] + results[payoffs[state] as usize]
        })
    }

    /// Adds a position, or takes it away with `sign` −1, to the house's result in every state. Returns the smallest
    /// result of all states then.
    pub fn add(&self, selection: usize, position: &Position, sign: i64, states: &mut [i64; STATES]) -> i64 {
        let results = position.house_results().map(|result| result * sign);
        let (rows, payoffs) =
            (states.as_chunks_mut::<GOALS>().0, self.worst[selection].as_chunks::<GOALS>().0);
        let mut least = [i64::MAX; GOALS];
        for (row, payoffs) in rows.iter_mut().zip(payoffs) {
            for ((state, payoff), least) in row.iter_mut().zip(payoffs).zip(&mut least) {
                *state += results[*payoff as usize];
                *least = (*state).min(*least);
            }
        }
        smallest(&least)
    }
}

/// The smallest of some results.
pub fn smallest(results: &[i64]) -> i64 {
    results.iter().fold(i64::MAX, |smallest, result| smallest.min(*result))
}

/// Payoffs are ordered from the best for the bettor, which is the worst for the house, downwards: the worst of a
/// state is the smallest over its members.
fn worst_payoffs(shape: Shape, selection: usize) -> [Payoff; STATES] {
    let mut worst = [Payoff::Loss; STATES];
    for home in 0..=GOALS_MAX {
        for away in 0..=GOALS_MAX {
            let payoff = shape.payoff(selection, shape.class_of(home as u32, away as u32));
            let place = &mut worst[state_of(home, away)];
            *place = payoff.min(*place);
        }
    }
    worst
}

/// The house's worst result over the states of final scores still possible: the smallest entry.
pub fn worst_state(states: &[i64; STATES], score: [u16; 2], is_final: bool) -> Money {
    worst_of(score, is_final, |state| states[state % STATES])
}

/// The smallest result over the states still possible.
fn worst_of(score: [u16; 2], is_final: bool, result: impl Fn(usize) -> i64) -> Money {
    let [home, away] = score.map(|goals| usize::from(goals).min(GOALS_MAX));
    if is_final {
        return Money(result(state_of(home, away)));
    }
    // Column by column: sixteen minima side by side do not wait for each other as one would.
    let mut least = [i64::MAX; GOALS];
    for row in home.min(OPEN)..OPEN {
        for (column, least) in least.iter_mut().enumerate() {
            *least = result(row * GOALS + column).min(*least);
        }
    }
    let mut worst = smallest(&least[away.min(OPEN)..OPEN]);
    // The open states: differences that both sides can still reach with at most GOALS_MAX goals each.
    let ahead = (GOALS_MAX - away).min(OPEN);
    let behind = (GOALS_MAX - home).min(OPEN);
    for gap in 0..=ahead {
        worst = worst.min(result(OPEN * GOALS + OPEN - gap));
    }
    for gap in 1..=behind {
        worst = worst.min(result((OPEN - gap) * GOALS + OPEN));
    }
    Money(worst)
}

/// Sums over bets on one selection: stakes, and what they return at each result, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Stakes.
    pub stake: i64,
    /// Returns when won.
    pub won: i64,
    /// Returns when half won.
    pub half_won: i64,
    /// Returns when half lost.
    pub half_lost: i64,
}

impl Position {
    /// The position of one bet.
    pub fn of(odds: Odds, stake: Stake) -> Self {
        Position {
            stake: stake.0,
            won: odds.returned_won(stake).0,
            half_won: odds.returned_half_won(stake).0,
            half_lost: returned_half_lost(stake).0,
        }
    }

    /// Adds another, or takes it away with `sign` −1.
    pub fn add(&mut self, other: &Position, sign: i64) {
        self.stake += other.stake * sign;
        self.won += other.won * sign;
        self.half_won += other.half_won * sign;
        self.half_lost += other.half_lost * sign;
    }

    /// What the bettors get back.
    pub fn returned(&self, payoff: Payoff) -> i64 {
        match payoff {
            Payoff::Win => self.won,
            Payoff::HalfWin => self.half_won,
            Payoff::Push => self.stake,
            Payoff::HalfLoss => self.half_lost,
            Payoff::Loss => 0,
        }
    }

    /// What the house wins at each payoff, in the order of [`Payoff`].
    pub fn house_results(&self) -> [i64; 5] {
        [self.stake - self.won, self.stake - self.half_won, 0, self.stake - self.half_lost, self.stake]
    }

    /// The loss if the selection wins.
    pub fn loss_if_won(&self) -> i64 {
        self.won - self.stake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::MarketKey;

    fn shape(kind: u16, line: i32) -> Shape {
        let key = MarketKey::new(kind, line);
        Shape::from_key(key.kind, key.line).unwrap()
    }

    #[test]
    fn opposite_bets_net_across_markets() {
        // Home at 1x2 and away +0.5 (which wins on draw or away) cover every state once.
        let (home, cover) = (ScoreMap::new(shape(1, 0)), ScoreMap::new(shape(16, -2)));
        let mut states = [0; STATES];
        home.add(0, &Position::of(Odds::decimal(2000), Stake(100)), 1, &mut states);
        cover.add(1, &Position::of(Odds::decimal(2000), Stake(100)), 1, &mut states);
        assert_eq!(worst_state(&states, [0, 0], false), Money(0), "one of them always loses its stake");
        home.add(0, &Position::of(Odds::decimal(2000), Stake(100)), -1, &mut states);
        assert_eq!(worst_state(&states, [0, 0], false), Money(-100));
        assert_eq!(worst_state(&states, [1, 0], false), Money(-100), "a draw is still possible");
        assert_eq!(worst_state(&states, [1, 0], true), Money(100), "home won");
    }

    #[test]
    fn every_score_has_a_state_and_the_possible_ones_are_found() {
        let mut counted = [0; STATES];
        for home in 0..=GOALS_MAX {
            for away in 0..=GOALS_MAX {
                counted[state_of(home, away)] += 1;
            }
        }
        assert!(counted.iter().all(|members| *members > 0), "no state is empty");
        for (home, away) in [(0, 0), (3, 1), (14, 0), (15, 2), (20, 0), (0, 20), (31, 31), (16, 16)] {
            for state in 0..STATES {
                let mut states = [0; STATES];
                states[state] = -1;
                let scores = || (home..=GOALS_MAX).flat_map(|h| (away..=GOALS_MAX).map(move |a| (h, a)));
                let possible = scores().any(|(h, a)| state_of(h, a) == state);
                let found = worst_state(&states, [home as u16, away as u16], false) == Money(-1);
                assert_eq!(found, possible, "state {state} from {home}:{away}");
            }
        }
    }

    #[test]
    fn an_open_state_takes_its_worst_member() {
        // 15:0 is exactly 15 goals, 16:1 is more; both are a lead of 15 in the open row.
        let map = ScoreMap::new(shape(18, 60));
        let lead = state_of(15, 0);
        assert_eq!(lead, state_of(16, 1));
        assert_eq!(map.worst[0][lead], Payoff::Win, "over 15 wins at 16:1");
        assert_eq!(map.worst[1][lead], Payoff::Push, "under 15 is returned at 15:0");
        let home = ScoreMap::new(shape(16, -6));
        assert_eq!(home.worst[0][state_of(15, 14)], Payoff::Loss, "a lead of one is known to lose -1.5");
        assert_eq!(home.worst[1][state_of(15, 14)], Payoff::Win);
    }

    #[test]
    fn classes_vanish_as_the_score_grows() {
        let over = ScoreMap::new(shape(18, 10));
        assert_eq!(over.possible([0, 0], false).count_ones(), 2);
        assert_eq!(over.possible([2, 1], false).count_ones(), 1, "over 2.5 is decided at three goals");
        assert_eq!(over.possible([1, 1], true).count_ones(), 1);
        assert_eq!(over.possible([60, 60], false).count_ones(), 1, "beyond the table nothing breaks");
    }
}
