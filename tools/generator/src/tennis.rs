//! A synthetic tennis match, point by point.

use crate::random::Random;
use touchline_feeds::{Opening, Report, Timeline};
use touchline_protocol::*;

const NAMES: [&str; 10] =
    ["Adler", "Bianchi", "Castell", "Dvorak", "Eklund", "Ferro", "Grant", "Horvat", "Ito", "Jansen"];

/// A match, best of three sets; its number is taken as given.
pub fn timeline(random: &mut Random, fixture: FixtureId) -> Timeline {
    let serve = [random.between(0.58, 0.70), random.between(0.58, 0.70)];
    let first = random.below(NAMES.len() as u64);
    let second = (first + 1 + random.below(NAMES.len() as u64 - 1)) % NAMES.len() as u64;
    let mut play = Play { reports: Vec::new(), now_ms: 0, board: Scoreboard::default() };
    play.board.server = Side::Home;
    play.board.period = Period::First;
    play.report(Event::PeriodStart, Side::None);
    while play.board.score.iter().all(|sets| *sets < 2) {
        play.point(random, serve);
    }
    play.board.period = Period::Ended;
    play.now_ms += 1000;
    play.report(Event::MatchEnd, Side::None);
    Timeline {
        fixture,
        sport: Sport::Tennis,
        competition: CompetitionId(2),
        home: NAMES[first as usize].into(),
        away: NAMES[second as usize].into(),
        margin_ppm: 0,
        best_of: 3,
        markets: vec![MarketKey::new(186, 0)],
        opening: Opening::Intensities(serve.map(|p| (p * 1e9) as u64)),
        result: play.board.score,
        reports: play.reports,
    }
}

struct Play {
    reports: Vec<Report>,
    now_ms: u64,
    board: Scoreboard,
}

impl Play {
    fn point(&mut self, random: &mut Random, serve: [f64; 2]) {
        self.now_ms += 25_000 + random.below(20_000);
        let server = self.server();
        let winner = if random.chance(serve[server]) { server } else { 1 - server };
        self.win_point(winner);
        self.report(Event::Point, [Side::Home, Side::Away][winner]);
    }

    /// Who serves the next point: in a tiebreak the first point is the opener's, then both serve two in turn.
    fn server(&self) -> usize {
        let opener = usize::from(self.board.server == Side::Away);
        let played = u32::from(self.board.points[0]) + u32::from(self.board.points[1]);
        let turned = self.in_tiebreak() && played.div_ceil(2) % 2 == 1;
        if turned { 1 - opener } else { opener }
    }

    fn in_tiebreak(&self) -> bool {
        self.board.games == [6, 6]
    }

    fn win_point(&mut self, winner: usize) {
        let tiebreak = self.in_tiebreak();
        let points = &mut self.board.points;
        points[winner] += 1;
        let (own, other) = (points[winner], points[1 - winner]);
        if !tiebreak && own == 4 && other == 4 {
            *points = [3, 3];
        } else if own >= (if tiebreak { 7 } else { 4 }) && own >= other + 2 {
            self.win_game(winner);
        }
    }

    fn win_game(&mut self, winner: usize) {
        let tiebreak = self.in_tiebreak();
        let board = &mut self.board;
        board.points = [0; 2];
        board.games[winner] += 1;
        // After a tiebreak too the other player serves next, since its opener counts as its server.
        board.server = if board.server == Side::Home { Side::Away } else { Side::Home };
        let (own, other) = (board.games[winner], board.games[1 - winner]);
        if tiebreak || (own >= 6 && own >= other + 2) {
            board.games = [0; 2];
            board.score[winner] += 1;
        }
    }

    fn report(&mut self, event: Event, side: Side) {
        self.board.clock_ms = self.now_ms as u32;
        self.reports.push(Report { at_ms: self.now_ms, event, side, board: self.board });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_match_by_the_rules_of_scoring() {
        let mut tiebreaks = 0;
        for seed in 0..200 {
            let play = timeline(&mut Random::new(seed), FixtureId(1));
            assert_eq!(play.result.iter().max(), Some(&2));
            for report in &play.reports {
                let Scoreboard { games: [a, b], points: [p, q], .. } = report.board;
                assert!(a.max(b) <= 6 && (a.max(b) < 6 || a.min(b) >= 5), "seed {seed}: {a}:{b}");
                if [a, b] == [6, 6] {
                    tiebreaks += 1;
                    assert!(p.max(q) < 7 || p.abs_diff(q) < 2);
                } else {
                    assert!(p.max(q) <= 3 || [p.max(q), p.min(q)] == [4, 3], "seed {seed}: {p}:{q}");
                }
            }
        }
        assert!(tiebreaks > 0);
    }
}
