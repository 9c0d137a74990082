//! A synthetic football match: goals, red cards and possible goals by the second.

use crate::random::Random;
use touchline_feeds::{Opening, Report, Timeline};
use touchline_protocol::*;

const NAMES: [&str; 16] = [
    "Ashford",
    "Brindle",
    "Calder",
    "Dunmore",
    "Elverton",
    "Farrow",
    "Glenrock",
    "Hartwell",
    "Inverley",
    "Kestrel",
    "Lowmoor",
    "Marlow",
    "Northgate",
    "Oakham",
    "Penrose",
    "Redcliff",
];
/// Time between two reports of the clock, milliseconds.
const TICK_MS: u32 = 10_000;
/// The break, milliseconds.
const BREAK_MS: u64 = 900_000;
/// Red cards of a side in a match, on average.
const REDS: f64 = 0.1;
/// Scenes of a match that could be a goal and are none.
const SCENES: f64 = 2.0;

/// A match; its number is taken as given.
pub fn timeline(random: &mut Random, fixture: FixtureId) -> Timeline {
    let goals = [random.between(0.8, 2.4), random.between(0.6, 1.9)];
    let home = random.below(NAMES.len() as u64);
    let away = (home + 1 + random.below(NAMES.len() as u64 - 1)) % NAMES.len() as u64;
    let name = |place: u64| NAMES[place as usize].to_owned();
    let mut game = Game { reports: Vec::new(), began_ms: 0, board: Scoreboard::default(), quiet_until: 0 };
    for (period, usual_s) in [(Period::First, 45 * 60), (Period::Second, 45 * 60)] {
        let length_s = usual_s + 60 + random.below(5 * 60) as u32;
        game.half(random, period, length_s, goals);
    }
    let single = [1, 29, 45].map(|kind| MarketKey::new(kind, 0));
    let lines = [(18, 6), (18, 10), (18, 14), (16, -2), (16, 0), (16, 2)];
    Timeline {
        fixture,
        sport: Sport::Football,
        competition: CompetitionId(1),
        home: name(home),
        away: name(away),
        margin_ppm: 0,
        best_of: 0,
        markets: single.into_iter().chain(lines.map(|(kind, line)| MarketKey::new(kind, line))).collect(),
        opening: Opening::Intensities(goals.map(|goals| (goals * 1e9) as u64)),
        result: game.board.score,
        reports: game.reports,
    }
}

struct Game {
    reports: Vec<Report>,
    began_ms: u64,
    board: Scoreboard,
    /// Nothing new happens before this second of the half: a scene is being looked at.
    quiet_until: u32,
}

impl Game {
    fn half(&mut self, random: &mut Random, period: Period, length_s: u32, goals: [f64; 2]) {
        self.board.period = period;
        self.report(0, Event::PeriodStart, Side::None);
        self.quiet_until = 0;
        for second in 1..length_s {
            if second < self.quiet_until {
                continue;
            }
            if (second * 1000) % TICK_MS == 0 {
                self.report(second * 1000, Event::Clock, Side::None);
            }
            if second + 10 < length_s {
                self.second(random, second, goals);
            }
        }
        self.began_ms += u64::from(length_s) * 1000;
        if period == Period::First {
            self.board.period = Period::Break;
            self.report(0, Event::PeriodEnd, Side::None);
            self.began_ms += BREAK_MS;
        } else {
            self.board.period = Period::Ended;
            self.report(0, Event::MatchEnd, Side::None);
        }
    }

    /// What may happen in a second of about 5,700.
    fn second(&mut self, random: &mut Random, second: u32, goals: [f64; 2]) {
        let ms = second * 1000;
        for (place, side) in [Side::Home, Side::Away].into_iter().enumerate() {
            if random.chance(goals[place] / 5700.0) {
                self.report(ms, Event::PossibleGoal, side);
                self.board.score[place] += 1;
                self.report(ms + 4000, Event::Goal, side);
                self.report(ms + 6000, Event::Clear, Side::None);
            } else if random.chance(SCENES / 2.0 / 5700.0) {
                self.report(ms, Event::PossibleGoal, side);
                self.report(ms + 5000, Event::Clear, Side::None);
            } else if random.chance(REDS / 5700.0) && self.board.reds[place] < 4 {
                self.board.reds[place] += 1;
                self.report(ms, Event::RedCard, side);
            } else {
                continue;
            }
            self.quiet_until = second + 8;
            return;
        }
    }

    fn report(&mut self, clock_ms: u32, event: Event, side: Side) {
        self.board.clock_ms = clock_ms;
        let at_ms = self.began_ms + u64::from(clock_ms);
        self.reports.push(Report { at_ms, event, side, board: self.board });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_match_that_a_feed_could_tell() {
        for seed in 0..50 {
            let play = timeline(&mut Random::new(seed), FixtureId(1));
            assert_eq!(play, timeline(&mut Random::new(seed), FixtureId(1)));
            assert_ne!(play.home, play.away);
            let mut score = [0; 2];
            for pair in play.reports.windows(2) {
                assert!(pair[0].at_ms <= pair[1].at_ms);
                let board = pair[1].board;
                assert!(board.score[0] >= score[0] && board.score[1] >= score[1], "seed {seed}");
                score = board.score;
            }
            assert_eq!(play.reports.last().unwrap().event, Event::MatchEnd);
            assert_eq!(score, play.result);
        }
    }
}
