//! A fixture: its life, scoreboard, model and score states.

use crate::exposure::{STATES, smallest};
use crate::fingerprint::{Reader, put};
use crate::table::{Entity, Stored};
use touchline_protocol::wire::{Fault, Tail};
use touchline_protocol::{
    FixtureId, FixtureStatus, MarketKey, OpenFixture, Period, Reason, Scoreboard, Seq, Sport, Stage,
};

/// Parameters of the model that prices a fixture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Model {
    /// None yet: prices come by hand only.
    None,
    /// Expected goals of each side over the whole match.
    Football([f64; 2]),
    /// Probability of each player to win a point on serve.
    Tennis([f64; 2]),
}

/// A fixture.
#[derive(Clone)]
pub struct Fixture {
    /// As it was opened.
    pub opened: OpenFixture,
    /// Its life.
    pub status: FixtureStatus,
    /// Reasons for suspension, one bit each.
    pub suspended: u32,
    /// The last scoreboard.
    pub board: Scoreboard,
    /// Position of the last incident in its source's sequence.
    pub source_seq: u64,
    /// The result that `SettleFixture` gave. While it stands, reports change the scoreboard but not the life.
    pub result: Option<[u16; 2]>,
    /// The last frame that gave its model something to price, or to refuse: verdicts found from earlier ones
    /// are void.
    pub input: Seq,
    /// What prices it.
    pub model: Model,
    /// Whether the last word on its model, a reference or parameters, was refused: the model stands as it was
    /// before, and is not trusted until a better word, or an operator, says so.
    pub model_refused: bool,
    /// Its markets, in the order they were opened.
    pub markets: Vec<MarketKey>,
    /// Those of them whose bets are not on the score states. Derived from the markets, never hashed.
    pub without_states: Vec<MarketKey>,
    /// The house's result in every score state, over its open markets by score.
    pub states: Box<[i64; STATES]>,
    /// The smallest of these, whether its scores are still possible or not. Derived from them, never hashed.
    pub least_state: i64,
}

impl Fixture {
    /// A fixture without markets.
    pub fn new(opened: OpenFixture, suspended: u32) -> Self {
        Fixture {
            opened,
            status: FixtureStatus::NotStarted,
            suspended,
            board: Scoreboard::default(),
            source_seq: 0,
            result: None,
            input: Seq(0),
            model: Model::None,
            model_refused: false,
            markets: Vec::new(),
            without_states: Vec::new(),
            states: Box::new([0; STATES]),
            least_state: 0,
        }
    }

    /// Whether the present score is the final one.
    pub fn is_final(&self) -> bool {
        matches!(self.status, FixtureStatus::Ended | FixtureStatus::Closed | FixtureStatus::Cancelled)
    }

    /// Whether it takes bets, suspension apart.
    pub fn is_open(&self) -> bool {
        matches!(self.status, FixtureStatus::NotStarted | FixtureStatus::Live)
    }

    /// Whether it has its result or is called off: nothing but taking that back brings it to life again.
    pub fn is_settled(&self) -> bool {
        self.result.is_some() || matches!(self.status, FixtureStatus::Closed | FixtureStatus::Cancelled)
    }

    /// The score that counts: the result, else what the source last told.
    pub fn score(&self) -> [u16; 2] {
        self.result.unwrap_or(self.board.score)
    }

    /// Why this cannot be its result, if so.
    pub fn refuses_result(&self, [home, away]: [u16; 2]) -> Option<&'static str> {
        let to_win = u16::from(self.opened.best_of) / 2 + 1;
        let is_won = home.max(away) == to_win && home != away;
        if self.opened.sport == Sport::Tennis && !is_won {
            return Some("in tennis one side has the sets that win the match, and only one");
        }
        let [least_home, least_away] = self.board.score;
        (home < least_home || away < least_away)
            .then_some("the score stands higher; a report that corrects it comes first")
    }

    /// Which limits apply.
    pub fn stage(&self) -> Stage {
        if self.status == FixtureStatus::Live { Stage::Live } else { Stage::PreMatch }
    }
}

/// The life that a scoreboard tells.
pub fn status_of(board: &Scoreboard) -> FixtureStatus {
    match board.period {
        Period::NotStarted => FixtureStatus::NotStarted,
        Period::First | Period::Break | Period::Second => FixtureStatus::Live,
        Period::Ended => FixtureStatus::Ended,
    }
}

/// The reason for suspension that an event gives, if any.
pub fn reason_of(event: touchline_protocol::Event) -> Option<Reason> {
    use touchline_protocol::Event;
    match event {
        Event::PossibleGoal => Some(Reason::PossibleGoal),
        Event::PossibleRedCard => Some(Reason::PossibleRedCard),
        Event::PossiblePenalty => Some(Reason::PossiblePenalty),
        Event::VideoReview => Some(Reason::VideoReview),
        _ => None,
    }
}

impl Entity for Fixture {
    fn bytes(&self, out: &mut Vec<u8>) {
        let o = &self.opened;
        put(&o.sport, out);
        put(&o.competition, out);
        put(&o.tier, out);
        put(&o.source, out);
        put(&o.start_at, out);
        put(&o.margin_ppm, out);
        put(&o.best_of, out);
        o.home.put(out);
        o.away.put(out);
        put(&self.status, out);
        put(&self.suspended, out);
        put(&self.board, out);
        put(&self.source_seq, out);
        put(&self.input, out);
        put(&self.result.is_some(), out);
        self.result.unwrap_or_default().iter().for_each(|score| put(score, out));
        let (tag, parameters) = match self.model {
            Model::None => (0u8, [0.0; 2]),
            Model::Football(goals) => (1, goals),
            Model::Tennis(serve) => (2, serve),
        };
        put(&tag, out);
        parameters.iter().for_each(|parameter| put(&parameter.to_bits(), out));
        put(&self.model_refused, out);
        put(&(self.markets.len() as u16), out);
        self.markets.iter().for_each(|market| put(market, out));
        self.states.iter().for_each(|result| put(result, out));
    }
}

impl Stored<FixtureId> for Fixture {
    fn read(key: &FixtureId, from: &mut Reader<'_>) -> Result<Self, Fault> {
        let opened = OpenFixture {
            fixture: *key,
            sport: from.field()?,
            competition: from.field()?,
            tier: from.field()?,
            source: from.field()?,
            start_at: from.field()?,
            margin_ppm: from.field()?,
            best_of: from.field()?,
            home: from.tail()?,
            away: from.tail()?,
        };
        let mut fixture = Fixture::new(opened, 0);
        fixture.status = from.field()?;
        fixture.suspended = from.field()?;
        fixture.board = from.field()?;
        fixture.source_seq = from.field()?;
        fixture.input = from.field()?;
        let (is_given, result) = (from.field()?, [from.field()?, from.field()?]);
        fixture.result = Some(result).filter(|_| is_given);
        let (tag, parameters) = (from.field::<u8>()?, [from.field::<u64>()?, from.field::<u64>()?]);
        let parameters = parameters.map(f64::from_bits);
        fixture.model = match tag {
            0 => Model::None,
            1 => Model::Football(parameters),
            2 => Model::Tennis(parameters),
            _ => return Err(Fault::Range("a known model")),
        };
        fixture.model_refused = from.field()?;
        for _ in 0..from.field::<u16>()? {
            fixture.markets.push(from.field()?);
        }
        for result in fixture.states.iter_mut() {
            *result = from.field()?;
        }
        fixture.least_state = smallest(fixture.states.as_slice());
        Ok(fixture)
    }
}
