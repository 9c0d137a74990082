//! The rules in force: genesis and configuration, as every partition holds them.

use crate::fingerprint::{Reader, put};
use crate::table::Entity;
use touchline_protocol::wire::{Fault, Message};
use touchline_protocol::{
    BrandId, Code, Configure, Currency, Event, Genesis, MaterialRule, Scoreboard, Sport,
};

/// The version of the rules that this program applies.
pub const LOGIC_VERSION: u16 = 1;

/// Genesis, configuration and logic version. Before the first frames it refuses everything.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What can never change.
    pub genesis: Genesis,
    /// What `Configure` last said.
    pub configure: Configure,
    /// The version in force.
    pub logic_version: u16,
}

impl Rules {
    /// Reads what [`Entity::bytes`] wrote.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Rules { genesis: from.message()?, configure: from.message()?, logic_version: from.field()? })
    }

    /// Currency of a brand, `None` where it is not known.
    pub fn currency(&self, brand: BrandId) -> Option<Currency> {
        self.configure.brands.iter().find(|rule| rule.brand == brand).map(|rule| rule.currency)
    }

    /// What an incident makes of a market's older prices: nothing, or the code that tickets on them get.
    pub fn material(
        &self,
        sport: Sport,
        event: Event,
        before: &Scoreboard,
        after: &Scoreboard,
        market: u16,
    ) -> Option<Code> {
        let matches = |event: Event| {
            let fits = |rule: &&MaterialRule| {
                rule.sport == sport && rule.event == event && (rule.market == 0 || rule.market == market)
            };
            self.configure.material.iter().any(|rule| fits(&rule))
        };
        let scored = match sport {
            Sport::Tennis => points(before) != points(after) && matches(Event::Point),
            _ => before.score != after.score && matches(Event::Goal),
        };
        let by_score = matches!(event, Event::Goal | Event::GoalCancelled | Event::Point) && matches(event);
        if scored || by_score {
            return Some(Code::ScoreChanged);
        }
        let sent_off = before.reds != after.reds && matches(Event::RedCard);
        (sent_off || matches(event)).then_some(Code::MaterialChange)
    }

    /// Margin on prices of a fixture, millionths.
    pub fn margin_ppm(&self, sport: Sport, own_ppm: u32) -> u32 {
        match (own_ppm, sport) {
            (0, Sport::Football) => self.configure.football_margin_ppm,
            (0, _) => self.configure.tennis_margin_ppm,
            (own, _) => own,
        }
    }
}

/// All that a point of tennis may change: sets, games, points.
fn points(board: &Scoreboard) -> ([u16; 2], [u8; 2], [u8; 2]) {
    (board.score, board.games, board.points)
}

impl Entity for Rules {
    fn bytes(&self, out: &mut Vec<u8>) {
        self.genesis.put_body(out);
        self.configure.put_body(out);
        put(&self.logic_version, out);
    }
}
