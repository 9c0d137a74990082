//! What leaves the appliance once its cause is committed: answers, prices, events.
//!
//! An event carries the dense number of its partition's stream (the partition is the frame's tag); prices and
//! statuses carry their version instead and may be conflated.

use crate::codes::*;
use crate::commands::{Note, Price, Scoreboard};
use crate::ids::*;
use crate::units::{Money, Odds, Stake};
use crate::wire::{List, block, message};

message! {
    /// The final answer to a ticket; the same bytes on every retry.
    Decision {
        /// Event number, 0 for answers that are never stored.
        event: u64,
        /// The brand.
        brand: BrandId,
        /// The ticket.
        ticket: TicketId,
        /// Accepted, or why not.
        code: Code,
        /// The odds struck; those asked for where it is rejected.
        odds: Odds,
        /// The stake.
        stake: Stake,
        /// What the bet returns when won; 0 where it is rejected.
        returned_minor: Money,
        /// Sequence of the decision.
        decided: Seq,
        /// Sequence at which price and exposure were checked; 0 where they were not.
        checked_at: Seq,
        /// Logical time of the decision.
        decided_at: At,
    }
}

message! {
    /// A command other than a ticket was applied.
    Done {
        /// Kind of the command.
        of: u16,
        /// `ACCEPTED`, or why nothing changed.
        code: Code,
        /// Whether state changed.
        changed: bool,
        /// Sequence of the command.
        applied: Seq,
    }
}

message! {
    /// A bet was settled, or its settlement taken back and made again.
    BetSettled {
        /// Event number.
        event: u64,
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
        /// The result.
        payoff: Payoff,
        /// Whether this opens the bet again instead.
        reopened: bool,
        /// The stake.
        stake: Stake,
        /// What it returns.
        returned_minor: Money,
        /// How certain the result is.
        certainty: Certainty,
    }
}

block! {
    /// Result of a selection, by its position.
    Outcome {
        /// The result.
        payoff: Payoff,
    }
}

message! {
    /// A market was settled, voided or reopened.
    MarketSettled {
        /// Event number.
        event: u64,
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// Its status from here on.
        status: MarketStatus,
        /// How certain the result is.
        certainty: Certainty,
    } then {
        /// The result of each selection; empty where it was reopened.
        outcomes: List<Outcome, 40>,
    }
}

message! {
    /// Prices and status of a market.
    MarketOdds {
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// Whether it takes bets by itself; a suspended fixture suspends all its markets (see `FixtureState`).
        status: MarketStatus,
        /// The price version: the sequence of the publication.
        version: Seq,
    } then {
        /// One price a selection.
        prices: List<Price, 40>,
    }
}

message! {
    /// State of a fixture.
    FixtureState {
        /// The fixture.
        fixture: FixtureId,
        /// Life.
        status: FixtureStatus,
        /// Reasons for suspension: bit `r` is set where the reason with number `r` holds.
        suspended: u32,
        /// The scoreboard.
        board: Scoreboard,
        /// Worst loss over the reachable results, minor units (negative is a sure profit).
        worst_minor: Money,
        /// Whether the worst loss is a bound (a sum over separate markets) rather than exact.
        bound: bool,
    }
}

message! {
    /// A limit was changed: the record for the audit.
    LimitChanged {
        /// Event number.
        event: u64,
        /// What it bounds.
        scope: LimitScope,
        /// When it applies.
        stage: Stage,
        /// The customer's brand.
        brand: BrandId,
        /// The customer.
        customer: CustomerId,
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// The selection; 255 is every one.
        selection: u8,
        /// Before, minor units; −1 where it was not set here.
        before_minor: i64,
        /// From here on; −1 where it is no longer set here.
        after_minor: i64,
        /// Who.
        operator: OperatorId,
    } then {
        /// Why.
        note: Note,
    }
}

message! {
    /// Something a person should know.
    Alarm {
        /// Event number.
        event: u64,
        /// How grave.
        severity: Severity,
        /// The fixture concerned, else 0.
        fixture: FixtureId,
    } then {
        /// What happened.
        note: Note,
    }
}
