//! A match from opening to result, as commands that are due at instants of its own clock.

use touchline_protocol::*;

/// What a model starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Quoted odds in thousandths: home, draw, away (draw 0 in tennis), and a total where there is one.
    Odds {
        /// Home, draw, away.
        winner_milli: [u32; 3],
        /// Line in quarters, over, under.
        total: Option<(i32, [u32; 2])>,
    },
    /// Expected goals of each side (or point probabilities on serve) in thousand-millionths.
    Intensities([u64; 2]),
}

/// One report of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Milliseconds since the match began, breaks included.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
    /// To whom.
    pub side: Side,
    /// The scoreboard after it.
    pub board: Scoreboard,
}

/// A whole match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The fixture.
    pub fixture: FixtureId,
    /// Its sport.
    pub sport: Sport,
    /// Its competition.
    pub competition: CompetitionId,
    /// Home side or first player.
    pub home: String,
    /// Away side or second player.
    pub away: String,
    /// Margin on its prices in millionths, 0 for the sport's own.
    pub margin_ppm: u32,
    /// Sets that decide a tennis match, 0 for other sports.
    pub best_of: u8,
    /// The markets to open.
    pub markets: Vec<MarketKey>,
    /// What its model starts from.
    pub opening: Opening,
    /// Reports in the order of their times.
    pub reports: Vec<Report>,
    /// Final goals in regular time, or sets.
    pub result: [u16; 2],
}

impl Timeline {
    /// Commands that open the match: fixture, markets, and what its model starts from.
    pub fn opening_commands(&self, source: SourceId, start_at: At) -> Vec<Body> {
        let fixture = self.fixture;
        let open = OpenFixture {
            fixture,
            sport: self.sport,
            competition: self.competition,
            tier: 1,
            source,
            start_at,
            margin_ppm: self.margin_ppm,
            best_of: self.best_of,
            home: Text::cut(&self.home),
            away: Text::cut(&self.away),
        };
        let spec = |market: &MarketKey| MarketSpec { market: *market, selections: 0 };
        let markets = List(self.markets.iter().map(spec).collect());
        let start = match self.opening {
            Opening::Odds { winner_milli: [home_milli, draw_milli, away_milli], total } => {
                let (total_line, [over_milli, under_milli]) = total.unwrap_or_default();
                let reference = SetReference {
                    fixture,
                    home_milli,
                    draw_milli,
                    away_milli,
                    total_line,
                    over_milli,
                    under_milli,
                };
                Body::from(reference)
            }
            Opening::Intensities([home_nano, away_nano]) => {
                SetIntensities { fixture, home_nano, away_nano }.into()
            }
        };
        vec![open.into(), OpenMarkets { fixture, markets }.into(), start]
    }

    /// The command that carries a report, by its position from 0.
    pub fn incident(&self, source: SourceId, position: usize) -> Option<Incident> {
        let report = self.reports.get(position)?;
        Some(Incident {
            fixture: self.fixture,
            source,
            source_seq: position as u64 + 1,
            event: report.event,
            side: report.side,
            board: report.board,
        })
    }

    /// The command that settles the match.
    pub fn settlement(&self) -> SettleFixture {
        let [home, away] = self.result;
        let (fixture, certainty, operator) = (self.fixture, Certainty::Confirmed, OperatorId(0));
        SettleFixture { fixture, home, away, certainty, operator }
    }

    /// When its last report is due, milliseconds.
    pub fn end_ms(&self) -> u64 {
        self.reports.last().map_or(0, |report| report.at_ms)
    }
}
