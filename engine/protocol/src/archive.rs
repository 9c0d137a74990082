//! What leaves memory after retention, and how one bet of it comes back.
//!
//! A record is told in an event before it leaves, with a tag that only this log can have made; the same record and tag
//! are all that bringing it back takes.

use crate::codes::*;
use crate::commands::{Note, Scoreboard};
use crate::ids::*;
use crate::internal::Hop;
use crate::units::{Money, Odds, Stake};
use crate::wire::{Block, Fault, Field, List, Text, Value, block, message};

message! {
    /// Sets how long a fixture that is over stays in memory.
    SetRetention {
        /// Time from its last settlement, and from its planned start, to its leave, milliseconds; 0 keeps everything.
        retention_ms: u64,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// The retention of a fixture ran out: where it is still over, its bets and then itself leave memory.
    Archive {
        /// The fixture.
        fixture: FixtureId,
        /// When it closed, as its owner told in `Closed`.
        since: At,
    }
}

message! {
    /// A fixture's owner tells that it is over and all its markets are closed: its retention begins.
    Closed {
        /// Sender and number; the receiver is the sender.
        hop: Hop,
        /// The fixture.
        fixture: FixtureId,
        /// The later of its last settlement and its planned start.
        since: At,
    }
}

message! {
    /// Goes round all partitions: each archives its settled bets of a fixture; with the last bet the fixture itself leaves
    /// its owner.
    Retire {
        /// Sender and number.
        hop: Hop,
        /// The fixture.
        fixture: FixtureId,
        /// The receiver.
        to: PartitionId,
    }
}

block! {
    /// A settled bet as it left memory.
    ArchivedBet {
        /// The brand.
        brand: BrandId,
        /// The ticket.
        ticket: TicketId,
        /// The customer.
        customer: CustomerId,
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// The selection.
        selection: u8,
        /// Odds struck.
        odds: Odds,
        /// The stake.
        stake: Stake,
        /// Its result.
        payoff: Payoff,
        /// Sequence of the frame that archived it.
        archived: Seq,
        /// Tag of all the fields before it.
        tag: u128,
    }
}

block! {
    /// A fixture as it left memory.
    ArchivedFixture {
        /// The fixture.
        fixture: FixtureId,
        /// Its sport.
        sport: Sport,
        /// Its competition.
        competition: CompetitionId,
        /// Tier of the competition.
        tier: u8,
        /// Its source.
        source: SourceId,
        /// Planned start.
        start_at: At,
        /// Margin on its prices, millionths; 0 is the sport's.
        margin_ppm: u32,
        /// Sets that decide a tennis match; 0 for other sports.
        best_of: u8,
        /// Its life.
        status: FixtureStatus,
        /// Whether it had a result.
        has_result: bool,
        /// Goals or sets of each side in its result, else 0.
        home: u16,
        /// The same of the other side.
        away: u16,
        /// Position of the last report in its source's sequence.
        source_seq: u64,
        /// The last scoreboard.
        board: Scoreboard,
        /// Sequence of the frame that archived it.
        archived: Seq,
        /// Tag of all the fields before it, and of names and markets.
        tag: u128,
    }
}

block! {
    /// A market of an archived fixture.
    ArchivedMarket {
        /// The market.
        market: MarketKey,
        /// Number of its selections.
        selections: u8,
        /// `SETTLED` or `CANCELLED`.
        status: MarketStatus,
    }
}

/// A record is also a field of messages: its fields back to back. There it is boxed, so that no rare message makes the
/// common ones larger in memory.
macro_rules! record {
    ($($name:ident),*) => {$(
        impl Field for $name {
            const SIZE: usize = <$name as Block>::SIZE;
            const TYPE: &'static str = stringify!($name);
            fn put(&self, out: &mut Vec<u8>) {
                self.put_block(out);
            }
            fn get(bytes: &[u8]) -> Result<Self, Fault> {
                Self::get_block(bytes).map_err(|(_, fault)| fault)
            }
            fn show(&self) -> Value {
                Value::Record(self.show_block())
            }
            fn sample(number: u64) -> Self {
                Self::sample_block(number)
            }
        }
    )*};
}

record!(ArchivedBet, ArchivedFixture);

message! {
    /// A settled bet leaves memory: from here on this event is its record.
    BetArchived {
        /// Event number.
        event: u64,
        /// The bet.
        bet: Box<ArchivedBet>,
        /// What it returned.
        returned_minor: Money,
    }
}

message! {
    /// A fixture leaves memory, after all its bets.
    FixtureArchived {
        /// Event number.
        event: u64,
        /// The fixture.
        record: Box<ArchivedFixture>,
    } then {
        /// Home side or first player.
        home: Text<64>,
        /// Away side or second player.
        away: Text<64>,
        /// Its markets, in the order they were opened.
        markets: List<ArchivedMarket, 256>,
    }
}

message! {
    /// Brings an archived bet back, with its fixture and market where these are gone: its settlement is taken back, and
    /// its market is open and suspended. All but operator and note stands as the two events told it.
    Reopen {
        /// The bet.
        bet: Box<ArchivedBet>,
        /// Its fixture.
        record: Box<ArchivedFixture>,
        /// Who.
        operator: OperatorId,
    } then {
        /// Home side or first player.
        home: Text<64>,
        /// Away side or second player.
        away: Text<64>,
        /// The fixture's markets.
        markets: List<ArchivedMarket, 256>,
        /// Why.
        note: Note,
    }
}

message! {
    /// A bet is back at its home: its fixture's owner opens its market for it, and the fixture where that is gone.
    Recall {
        /// Sender and number.
        hop: Hop,
        /// The bet.
        bet: Box<ArchivedBet>,
        /// Its fixture.
        record: Box<ArchivedFixture>,
    } then {
        /// Home side or first player.
        home: Text<64>,
        /// Away side or second player.
        away: Text<64>,
        /// The fixture's markets.
        markets: List<ArchivedMarket, 256>,
    }
}
