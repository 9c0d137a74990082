//! A recorded match as the reports that a live feed would have sent.

use super::matches::{Basis, Recorded};
use crate::timeline::{Opening, Report, Timeline};
use touchline_protocol::*;

/// Time between two reports of the clock, milliseconds.
pub const TICK_MS: u32 = 10_000;
/// The break between the halves, milliseconds.
const BREAK_MS: u64 = 15 * 60_000;

/// What a competition's matches start from where no odds were quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Expected goals of each side in thousand-millionths.
    pub goals_nano: [u64; 2],
    /// Margin in millionths, wider than usual since the prices know little.
    pub margin_ppm: u32,
}

/// The timeline of a match; `prior` serves where no odds were quoted.
pub fn timeline(recorded: &Recorded, competition: CompetitionId, prior: Prior) -> Timeline {
    let known = recorded.basis != Basis::Prior;
    let total = recorded.total_milli.map(|odds| (10, odds));
    Timeline {
        fixture: recorded.fixture,
        sport: Sport::Football,
        competition,
        home: recorded.home.clone(),
        away: recorded.away.clone(),
        margin_ppm: if known { 0 } else { prior.margin_ppm },
        best_of: 0,
        markets: markets(),
        opening: if known {
            Opening::Odds { winner_milli: recorded.winner_milli, total }
        } else {
            Opening::Intensities(prior.goals_nano)
        },
        reports: reports(recorded),
        result: recorded.result,
    }
}

/// 1x2, both to score, correct score, totals 1.5 to 3.5 and Asian handicaps −1 to 1.
fn markets() -> Vec<MarketKey> {
    let single = [1, 29, 45].map(|kind| MarketKey::new(kind, 0));
    let totals = [6, 9, 10, 11, 14].map(|line| MarketKey::new(18, line));
    let handicaps = [-4, -2, -1, 0, 1, 2, 4].map(|line| MarketKey::new(16, line));
    single.into_iter().chain(totals).chain(handicaps).collect()
}

fn reports(recorded: &Recorded) -> Vec<Report> {
    let mut player = Player { reports: Vec::new(), began_ms: 0, board: Scoreboard::default() };
    for half in 0..2 {
        player.half(recorded, half);
    }
    player.reports
}

struct Player {
    reports: Vec<Report>,
    /// When the present period began on the match's clock.
    began_ms: u64,
    board: Scoreboard,
}

impl Player {
    fn half(&mut self, recorded: &Recorded, half: usize) {
        self.enter([Period::First, Period::Second][half], Event::PeriodStart);
        let length = recorded.half_ms[half];
        let mut ticks = (1..).map(|n| n * TICK_MS).take_while(|at| *at < length).peekable();
        for happening in recorded.happenings.iter().filter(|h| h.half == half) {
            while let Some(at) = ticks.next_if(|at| *at < happening.at_ms) {
                self.report(at, Event::Clock, Side::None);
            }
            let side = usize::from(happening.side == Side::Away);
            match happening.event {
                Event::Goal => self.board.score[side] += 1,
                Event::RedCard => self.board.reds[side] = self.board.reds[side].saturating_add(1),
                _ => {}
            }
            self.report(happening.at_ms, happening.event, happening.side);
        }
        for at in ticks {
            self.report(at, Event::Clock, Side::None);
        }
        self.began_ms += u64::from(length);
        if half == 0 {
            self.enter(Period::Break, Event::PeriodEnd);
            self.began_ms += BREAK_MS;
        } else {
            self.enter(Period::Ended, Event::MatchEnd);
        }
    }

    fn enter(&mut self, period: Period, event: Event) {
        self.board.period = period;
        self.report(0, event, Side::None);
    }

    fn report(&mut self, clock_ms: u32, event: Event, side: Side) {
        self.board.clock_ms = clock_ms;
        let at_ms = self.began_ms + u64::from(clock_ms);
        self.reports.push(Report { at_ms, event, side, board: self.board });
    }
}
