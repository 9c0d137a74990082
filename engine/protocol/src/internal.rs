//! Messages between partitions, logged like every command. Each opens with its sender and a number that is
//! dense for sender and receiver, so a repeat changes nothing.

use crate::codes::*;
use crate::commands::Price;
use crate::ids::*;
use crate::units::{Odds, Stake};
use crate::wire::{List, block, message};

block! {
    /// Which partition sends, and its next number for the receiver.
    Hop {
        /// The sender.
        from: PartitionId,
        /// Dense from 1 for each receiver, `ALL` counted as one.
        number: u64,
    }
}

impl crate::wire::Field for Hop {
    const SIZE: usize = <Hop as crate::wire::Block>::SIZE;
    const TYPE: &'static str = "hop: u16 from, u64 number";
    fn put(&self, out: &mut Vec<u8>) {
        crate::wire::Block::put_block(self, out);
    }
    fn get(bytes: &[u8]) -> Result<Self, crate::wire::Fault> {
        crate::wire::Block::get_block(bytes).map_err(|(_, fault)| fault)
    }
    fn show(&self) -> crate::wire::Value {
        crate::wire::Value::Record(crate::wire::Block::show_block(self))
    }
    fn sample(number: u64) -> Self {
        <Hop as crate::wire::Block>::sample_block(number)
    }
}

impl Copy for Hop {}

message! {
    /// The home partition asks the fixture's owner to check a ticket and hold its liability.
    Reserve {
        /// Sender and number.
        hop: Hop,
        /// The brand.
        brand: BrandId,
        /// The ticket.
        ticket: TicketId,
        /// The fixture.
        fixture: FixtureId,
        /// The market.
        market: MarketKey,
        /// The selection.
        selection: u8,
        /// The odds that the bettor saw.
        odds: Odds,
        /// The stake.
        stake: Stake,
        /// Which changes of the odds are accepted.
        policy: OddsPolicy,
        /// Tolerance for lower odds, per thousand.
        tolerance_permille: u16,
        /// The price version that the bettor saw.
        price_version: Seq,
        /// The home partition's own first failing code; `ACCEPTED` where none fails.
        home_code: Code,
    }
}

message! {
    /// The owner's answer: held, or the earliest failing code and nothing held.
    Reserved {
        /// Sender and number.
        hop: Hop,
        /// The brand.
        brand: BrandId,
        /// The ticket.
        ticket: TicketId,
        /// `ACCEPTED`, or why not.
        code: Code,
        /// The odds to be struck; those asked for where nothing is held.
        odds: Odds,
        /// The sequence at which the owner's checks were made.
        checked_at: Seq,
    }
}

message! {
    /// The home partition accepted: the held liability is a bet's.
    Confirm {
        /// Sender and number.
        hop: Hop,
        /// The brand.
        brand: BrandId,
        /// The ticket.
        ticket: TicketId,
        /// The fixture.
        fixture: FixtureId,
    }
}

message! {
    /// The home partition rejected after all: the held liability is released.
    Rollback {
        /// Sender and number.
        hop: Hop,
        /// The brand.
        brand: BrandId,
        /// The ticket.
        ticket: TicketId,
        /// The fixture.
        fixture: FixtureId,
    }
}

message! {
    /// A fixture's owner publishes prices; they are in force from this frame on and its sequence is their version.
    Publish {
        /// Sender and number; the receiver is the sender.
        hop: Hop,
        /// The fixture.
        fixture: FixtureId,
        /// The sequence of the input that the prices were computed from.
        basis: Seq,
    } then {
        /// The markets, each with the number of its prices in the second list.
        markets: List<PublishedMarket, 256>,
        /// Prices of all these markets, one behind the other.
        prices: List<Price, 4096>,
    }
}

block! {
    /// A market in a publication.
    PublishedMarket {
        /// The market.
        market: MarketKey,
        /// How many of the prices are its own.
        selections: u8,
    }
}

message! {
    /// A fixture's owner says whether its model can price the present state: suspends the fixture
    /// (PRICE_SANITY) or lifts that. Verdicts enter by the log so that whoever reads it needs no model.
    PriceVerdict {
        /// Sender and number; the receiver is the sender.
        hop: Hop,
        /// The fixture.
        fixture: FixtureId,
        /// Whether it can.
        sane: bool,
        /// The sequence of the input that it was found from.
        basis: Seq,
    }
}

block! {
    /// The result of one selection of a market.
    SelectionResult {
        /// The market.
        market: MarketKey,
        /// The selection.
        selection: u8,
        /// Its result.
        payoff: Payoff,
    }
}

message! {
    /// A fixture's owner tells every partition how selections were settled; each settles the bets it holds.
    Settled {
        /// Sender and number; the receiver is `ALL`.
        hop: Hop,
        /// The fixture.
        fixture: FixtureId,
        /// How certain the result is.
        certainty: Certainty,
    } then {
        /// The selections settled.
        results: List<SelectionResult, 2048>,
    }
}

block! {
    /// A market by itself, as an entry of a list.
    MarketEntry {
        /// The market.
        market: MarketKey,
    }
}

message! {
    /// A fixture's owner tells every partition that settlements were taken back.
    Unsettled {
        /// Sender and number; the receiver is `ALL`.
        hop: Hop,
        /// The fixture.
        fixture: FixtureId,
    } then {
        /// The markets.
        markets: List<MarketEntry, 256>,
    }
}

message! {
    /// A partition does the next piece of the first message that it is not done with: a `Settled`, `Unsettled` or `Retire`
    /// of a fixture on which it has many bets. It asks for one at a time; one that is not the next does nothing.
    Work {
        /// The partition.
        to: PartitionId,
        /// The sequence of the message.
        chore: Seq,
        /// Pieces of it done before.
        piece: u64,
    }
}
