//! The tennis model against a twin that plays every point with its real server and knows no closed form.

use proptest::prelude::*;
use std::collections::BTreeMap;
use touchline_pricing::tennis::{Player, Rules, Tennis, TennisState};

/// Points of a side after which the twin stops counting and calls it even. From deuce so far on a game is
/// still open with probability (2pq)^98, which is below 1e-29.
const POINTS_MAX: usize = 200;

/// A match as its rules read: who serves, what ends a game, a set and the match.
struct Twin {
    serve: [f64; 2],
    sets_to_win: u8,
    /// The first player's probability of the match before a game: sets, games, who serves it.
    known: BTreeMap<([u8; 2], [u8; 2], usize), f64>,
}

impl Twin {
    /// The first player's probability to win a point that `server` (0 or 1) serves.
    fn point(&self, server: usize) -> f64 {
        if server == 0 { self.serve[0] } else { 1.0 - self.serve[1] }
    }

    /// The first player's probability of a game or tiebreak to `target` points and two clear, filled from its
    /// far end. In a tiebreak the server changes after the first point and then after every second one.
    fn race(&self, target: usize, server: usize, points: [u8; 2]) -> f64 {
        let mut win = vec![vec![0.5; POINTS_MAX + 1]; POINTS_MAX + 1];
        for a in (0..POINTS_MAX).rev() {
            for b in (0..POINTS_MAX).rev() {
                let serving = if target == 7 && (a + b) % 4 % 3 != 0 { 1 - server } else { server };
                let p = self.point(serving);
                win[a][b] = if a >= target && a >= b + 2 {
                    1.0
                } else if b >= target && b >= a + 2 {
                    0.0
                } else {
                    p * win[a + 1][b] + (1.0 - p) * win[a][b + 1]
                };
            }
        }
        win[usize::from(points[0])][usize::from(points[1])]
    }

    fn game(&self, games: [u8; 2], server: usize, points: [u8; 2]) -> f64 {
        self.race(if games == [6, 6] { 7 } else { 4 }, server, points)
    }

    /// The first player's probability of the match before a game.
    fn before_game(&mut self, sets: [u8; 2], games: [u8; 2], server: usize) -> f64 {
        if let Some(decided) = sets.iter().position(|won| *won == self.sets_to_win) {
            return if decided == 0 { 1.0 } else { 0.0 };
        }
        if let Some(known) = self.known.get(&(sets, games, server)) {
            return *known;
        }
        let found = self.at(sets, games, server, [0; 2]);
        self.known.insert((sets, games, server), found);
        found
    }

    /// The first player's probability of the match within a game.
    fn at(&mut self, sets: [u8; 2], games: [u8; 2], server: usize, points: [u8; 2]) -> f64 {
        let game = self.game(games, server, points);
        let mut after = |winner: usize| {
            let (mut sets, mut games) = (sets, games);
            games[winner] += 1;
            let (own, other) = (games[winner], games[1 - winner]);
            if own == 7 || (own == 6 && other <= 4) {
                sets[winner] += 1;
                games = [0; 2];
            }
            // The server alternates from game to game, through tiebreaks and into the next set.
            self.before_game(sets, games, 1 - server)
        };
        game * after(0) + (1.0 - game) * after(1)
    }
}

/// Scores of games and points that a set in play can have, tiebreaks as often as games.
fn score() -> impl Strategy<Value = ([u8; 2], [u8; 2])> {
    let game = ((0u8..7, 0u8..7), (0u8..5, 0u8..5)).prop_map(|(g, p)| ([g.0, g.1], [p.0, p.1]));
    let tiebreak = (0u8..14, 0u8..14).prop_map(|p| ([6, 6], [p.0, p.1]));
    prop_oneof![game, tiebreak]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_score_is_worth_what_its_points_make_it(
        serve in (0.35f64..0.9, 0.35f64..0.9),
        sets in (0u8..3, 0u8..3),
        (games, points) in score(),
        best_of in prop_oneof![Just(3u8), Just(5)],
        first_serves in any::<bool>(),
    ) {
        let rules = Rules::best_of(best_of).expect("both are played");
        let (player, server) = if first_serves { (Player::A, 0) } else { (Player::B, 1) };
        let sets = [sets.0, sets.1];
        let Ok(state) = TennisState::new(sets, games, points, player, rules) else {
            return Err(TestCaseError::reject("no score of a match in play"));
        };
        let model = Tennis::new(serve.0, serve.1, rules).expect("within the range");
        let mut twin =
            Twin { serve: [serve.0, serve.1], sets_to_win: best_of / 2 + 1, known: BTreeMap::new() };
        let due = twin.at(sets, games, server, points);
        let found = model.match_winner(&state);
        prop_assert!((found - due).abs() < 1e-11, "{state:?}: {found}, by its points {due}");
    }
}
