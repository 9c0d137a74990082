//! What a decision changes: computed by `decide` from state it only reads, stored by `evolve`.

use crate::account::Account;
use crate::chores::Chore;
use crate::effect::Audience;
use crate::exposure::Position;
use crate::fixture::{Fixture, Model};
use crate::limits::LimitKey;
use crate::market::{Life, Market};
use crate::results::{Bet, Hold, Pending, TicketKey};
use crate::retention::{Closing, Retention};
use crate::rules::Rules;
use touchline_protocol::{
    At, Body, BrandId, Code, CustomerId, Decision, FixtureId, FixtureStatus, MarketKey, PartitionId, Payoff,
    Price, Scoreboard, Seq, SourceId,
};

/// One change of state.
pub enum Change {
    /// Genesis, configuration or logic version.
    Rules(Box<Rules>),
    /// A brand's book opens or closes.
    Book(BrandId, bool),
    /// A source's promise.
    Source(SourceId, Option<At>),
    /// An account is opened or changed.
    Account((BrandId, CustomerId), Account),
    /// A customer's open liability moves by this much.
    Liability((BrandId, CustomerId), i64),
    /// A limit is set, or removed.
    Limit(LimitKey, Option<i64>),
    /// A fixture is opened.
    Open(FixtureId, Box<Fixture>),
    /// A market is opened.
    OpenMarket(FixtureId, MarketKey, Box<Market>),
    /// A new scoreboard.
    Board(FixtureId, Scoreboard, u64),
    /// The fixture's life.
    Status(FixtureId, FixtureStatus),
    /// The fixture's result is given, or taken back.
    Result(FixtureId, Option<[u16; 2]>),
    /// Reasons for suspension of the fixture.
    Suspended(FixtureId, u32),
    /// Reasons for suspension of a market.
    MarketSuspended(FixtureId, MarketKey, u32),
    /// The fixture's model.
    Model(FixtureId, Model),
    /// Whether the last word on the fixture's model was refused.
    ModelRefused(FixtureId, bool),
    /// A material change: older prices are void.
    Mark(FixtureId, MarketKey, Code),
    /// Prices were sent to be published.
    Offered(FixtureId, MarketKey, Vec<u32>),
    /// Prices are in force from this frame on.
    Odds(FixtureId, MarketKey, Vec<Price>),
    /// Whether an operator sets the prices.
    ByHand(FixtureId, MarketKey, bool),
    /// A bet or hold comes to stake on a selection (+1) or leaves it (−1).
    Position(FixtureId, MarketKey, u8, Position, i64),
    /// A market is settled, void or open again.
    Life(FixtureId, MarketKey, Life),
    /// Liability is held for a ticket.
    Hold(TicketKey, Hold),
    /// It is a bet's now, or released.
    Release(TicketKey),
    /// A fixture's model has, at this frame, something new to price.
    Input(FixtureId),
    /// A ticket waits for its fixture's owner.
    Pend(TicketKey, Box<Pending>),
    /// One more asks for a waiting ticket's answer.
    Ask(TicketKey, (u64, u64)),
    /// A ticket's decision: final, stored, given to all who asked.
    Decide(TicketKey, Box<Decision>, u64, Vec<(u64, u64)>),
    /// A bet is accepted.
    Bet(TicketKey, Bet),
    /// A bet is settled, or open again; the house's profit moves by this much.
    Settle(TicketKey, Option<Payoff>, i64),
    /// Another retention.
    Retention(Retention),
    /// A fixture's retention begins, its bets are leaving, or it goes on.
    Closing(FixtureId, Option<Closing>),
    /// A message for all bets of a fixture will take more frames than the one of this sequence that brought it.
    Chore(Seq, Box<Chore>),
    /// A piece of a chore is done, up to this bet; with `None` all of it.
    Worked(Seq, Option<TicketKey>),
    /// An archived bet leaves.
    Leave(TicketKey),
    /// A fixture leaves, with its markets and limits.
    Gone(FixtureId),
    /// An archived record, of the frame of this sequence, and all older ones of its bet are used up.
    Used(TicketKey, Seq),
    /// Decisions issued before this Unix millisecond are no longer needed.
    Expire(u64),
}

/// Everything that one frame changes and causes in a partition.
pub struct Delta {
    /// Changes, in order.
    pub changes: Vec<Change>,
    /// Messages for other partitions; their numbers are given when they enter the outbox.
    pub sends: Vec<(PartitionId, Body)>,
    /// Effects; events get their numbers when they are stored.
    pub effects: Vec<(Audience, Body)>,
    /// Markets whose prices or status subscribers should see.
    pub shown_markets: Vec<(FixtureId, MarketKey)>,
    /// Fixtures whose state subscribers should see.
    pub shown_fixtures: Vec<FixtureId>,
}

/// Changes that a ticket makes, with room to spare: a list that grows on the way costs more than storing them.
const CHANGES: usize = 8;

impl Default for Delta {
    fn default() -> Self {
        Delta {
            changes: Vec::with_capacity(CHANGES),
            sends: Vec::new(),
            effects: Vec::new(),
            shown_markets: Vec::new(),
            shown_fixtures: Vec::new(),
        }
    }
}

impl Delta {
    /// Adds a change.
    pub fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Adds a message to the owner of whatever it is about.
    pub fn send(&mut self, to: PartitionId, message: impl Into<Body>) {
        self.sends.push((to, message.into()));
    }

    /// Adds an event.
    pub fn event(&mut self, event: impl Into<Body>) {
        self.effects.push((Audience::Events, event.into()));
    }
}

/// The frame being applied, apart from its body.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Its sequence.
    pub seq: Seq,
    /// Its logical time.
    pub at: At,
    /// The connection it came from.
    pub origin: u64,
    /// The sender's number for it.
    pub request: u64,
}

impl Context {
    /// Logical time in Unix milliseconds, rounded down.
    pub fn at_ms(&self) -> u64 {
        u64::try_from(self.at.0.div_euclid(1_000_000)).unwrap_or(0)
    }
}
