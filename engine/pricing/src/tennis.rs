//! Tennis: point → game → tiebreak → set → match as one hierarchy, from any score.
//!
//! Each player wins a point on their own serve with a fixed probability, independently. Sources: Newton & Keller,
//! Studies in Applied Mathematics 114 (2005); O'Malley, Journal of Quantitative Analysis in Sports 4 (2008).

use std::fmt;

/// One of the two players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// The first.
    A,
    /// The second.
    B,
}

/// Sets that decide the match. Every set ends with a tiebreak to seven at six games all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    sets_to_win: u8,
}

impl Rules {
    /// Best of 3 or 5.
    pub fn best_of(sets: u8) -> Result<Self, TennisError> {
        match sets {
            3 => Ok(Rules { sets_to_win: 2 }),
            5 => Ok(Rules { sets_to_win: 3 }),
            other => Err(TennisError::BestOf(other)),
        }
    }
}

/// A score or parameter that no match can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TennisError {
    /// Neither best of 3 nor of 5.
    BestOf(u8),
    /// A probability outside 0.01 to 0.99.
    Serve(f64),
    /// Sets that no match in play has.
    Sets([u8; 2]),
    /// Games that no set in play has.
    Games([u8; 2]),
    /// Points that no game in play has.
    Points([u8; 2]),
}

impl fmt::Display for TennisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TennisError::BestOf(sets) => write!(f, "best of {sets} sets is not played; use 3 or 5"),
            TennisError::Serve(p) => write!(f, "a serve probability of {p} is outside 0.01 to 0.99"),
            TennisError::Sets([a, b]) => write!(f, "{a}:{b} sets is no score of a match in play"),
            TennisError::Games([a, b]) => write!(f, "{a}:{b} games is no score of a set in play"),
            TennisError::Points([a, b]) => write!(f, "{a}:{b} points is no score of a game in play"),
        }
    }
}

impl std::error::Error for TennisError {}

/// Score of a match in play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TennisState {
    sets: [u8; 2],
    games: [u8; 2],
    points: [u8; 2],
    /// Who serves the open game; in a tiebreak, who served its first point.
    server: Player,
}

impl TennisState {
    /// Checks a score. Points count 0, 1, 2, 3 for 0, 15, 30, 40 and 4 for advantage; a tiebreak counts on.
    pub fn new(
        sets: [u8; 2],
        games: [u8; 2],
        points: [u8; 2],
        server: Player,
        rules: Rules,
    ) -> Result<Self, TennisError> {
        if sets.iter().any(|won| *won >= rules.sets_to_win) {
            return Err(TennisError::Sets(sets));
        }
        let [most, least] = ordered(games);
        if most > 6 || (most == 6 && least < 5) {
            return Err(TennisError::Games(games));
        }
        let [most, least] = ordered(points);
        let fits = if games == [6, 6] {
            most < 7 || most - least < 2
        } else {
            most <= 3 || (most == 4 && least == 3)
        };
        if !fits {
            return Err(TennisError::Points(points));
        }
        Ok(TennisState { sets, games, points, server })
    }

    /// The first point, with the first player to serve.
    pub fn start() -> Self {
        TennisState { sets: [0; 2], games: [0; 2], points: [0; 2], server: Player::A }
    }
}

fn ordered([a, b]: [u8; 2]) -> [u8; 2] {
    [a.max(b), a.min(b)]
}

/// A match between two players.
#[derive(Clone, Copy, Debug)]
pub struct Tennis {
    serve: [f64; 2],
    rules: Rules,
    /// The first player's probability to win a game, by server.
    game: [f64; 2],
    /// … a set, by who serves first in it.
    set: [f64; 2],
}

impl Tennis {
    /// A match with probabilities of each player to win a point on serve.
    pub fn new(a: f64, b: f64, rules: Rules) -> Result<Self, TennisError> {
        if let Some(p) = [a, b].into_iter().find(|p| !(0.01..=0.99).contains(p)) {
            return Err(TennisError::Serve(p));
        }
        let game = [hold(a, [0; 2]), 1.0 - hold(b, [0; 2])];
        let mut model = Tennis { serve: [a, b], rules, game, set: [0.0; 2] };
        model.set = [model.set_from([0; 2], Player::A, None), model.set_from([0; 2], Player::B, None)];
        Ok(model)
    }

    /// Probability that the first player wins from the first point. Who serves first hardly matters: a set is won
    /// with the same probability either way, because service alternates.
    pub fn match_winner_from_start(&self) -> f64 {
        self.match_from([0; 2], self.set[0])
    }

    /// Probability that the first player wins the match from a score.
    pub fn match_winner(&self, state: &TennisState) -> f64 {
        let open = if state.games == [6, 6] {
            self.tiebreak(state.points, state.server)
        } else {
            let game = match state.server {
                Player::A => hold(self.serve[0], state.points),
                Player::B => 1.0 - hold(self.serve[1], [state.points[1], state.points[0]]),
            };
            self.set_from(state.games, state.server, Some(game))
        };
        let [a, b] = state.sets;
        open * self.match_from([a + 1, b], self.set[0])
            + (1.0 - open) * self.match_from([a, b + 1], self.set[0])
    }

    fn match_from(&self, [a, b]: [u8; 2], set: f64) -> f64 {
        if a >= self.rules.sets_to_win {
            1.0
        } else if b >= self.rules.sets_to_win {
            0.0
        } else {
            set * self.match_from([a + 1, b], set) + (1.0 - set) * self.match_from([a, b + 1], set)
        }
    }

    /// The first player's probability to win the set from a score in games; `open` replaces the probability of
    /// the game being played.
    fn set_from(&self, games: [u8; 2], server: Player, open: Option<f64>) -> f64 {
        let [a, b] = games.map(usize::from);
        let mut win = [[0.0; 8]; 8];
        let first = server == Player::A;
        for i in (a..=7).rev() {
            for j in (b..=7).rev() {
                win[i][j] = if won(i, j) {
                    1.0
                } else if won(j, i) || i == 7 || j == 7 {
                    0.0
                } else {
                    let a_serves = ((i + j - a - b) % 2 == 0) == first;
                    let game = if i == 6 && j == 6 {
                        self.tiebreak([0; 2], if a_serves { Player::A } else { Player::B })
                    } else {
                        open.filter(|_| (i, j) == (a, b)).unwrap_or(self.game[usize::from(!a_serves)])
                    };
                    game * win[i + 1][j] + (1.0 - game) * win[i][j + 1]
                };
            }
        }
        win[a][b]
    }

    /// The first player's probability to win a tiebreak to seven from a score. The first server serves one
    /// point, then each serves two.
    fn tiebreak(&self, points: [u8; 2], first: Player) -> f64 {
        let on_own = self.serve[0];
        let on_return = 1.0 - self.serve[1];
        // From an even score at six or more each serves one of the next two points, whatever came before.
        let ahead = on_own * on_return;
        let behind = (1.0 - on_own) * (1.0 - on_return);
        let level = ahead / (ahead + behind);
        let point = |played: usize| {
            let first_serves = played.div_ceil(2).is_multiple_of(2);
            if first_serves == (first == Player::A) { on_own } else { on_return }
        };
        let mut score = points.map(usize::from);
        // Counting on from six all repeats with period four: scores above are brought down keeping the turn.
        while score[0] > 7 && score[1] > 7 || score[0].min(score[1]) > 6 {
            score = [score[0] - 2, score[1] - 2];
        }
        let [a, b] = score;
        let mut win = [[0.0; 9]; 9];
        for i in (a..=8).rev() {
            for j in (b..=8).rev() {
                win[i][j] = if i >= 7 && i >= j + 2 {
                    1.0
                } else if j >= 7 && j >= i + 2 {
                    0.0
                } else if i == j && i >= 6 {
                    level
                } else if i == 8 || j == 8 {
                    // Not reached from any score that stops at two clear points; 8:7 and 7:8 are 7:6 and 6:7.
                    0.0
                } else {
                    let p = point(i + j);
                    p * win[i + 1][j] + (1.0 - p) * win[i][j + 1]
                };
            }
        }
        win[a][b]
    }
}

/// Whether `games` win a set against `others`.
fn won(games: usize, others: usize) -> bool {
    (games >= 6 && games >= others + 2) || (games == 7 && others <= 6)
}

/// The server's probability to win a game from a score (server first), with p the probability of a point.
fn hold(p: f64, [own, other]: [u8; 2]) -> f64 {
    let q = 1.0 - p;
    let deuce = p * p / (p * p + q * q);
    // From here on 40:40 is 3:3, advantage 4:3.
    match (own, other) {
        (3, 3) => deuce,
        (4, 3) => p + q * deuce,
        (3, 4) => p * deuce,
        (4.., _) => 1.0,
        (_, 4..) => 0.0,
        _ => p * hold(p, [own + 1, other]) + q * hold(p, [own, other + 1]),
    }
}
