//! Messages of a connection: greeting, answers without state, subscriptions. They are never logged.

use crate::codes::*;
use crate::ids::*;
use crate::wire::{Text, message};

message! {
    /// The first frame from a client.
    Hello {
        /// What it wants to do.
        role: Role,
        /// Protocol version it speaks.
        version: u16,
        /// The highest epoch it has seen, 0 at first.
        epoch: Epoch,
    } then {
        /// Its name, for logs.
        name: Text<64>,
    }
}

message! {
    /// The node's answer to a greeting.
    Welcome {
        /// Protocol version in use.
        version: u16,
        /// Number of partitions.
        partitions: u16,
        /// Last committed sequence.
        committed: Seq,
        /// Largest frame that the node accepts, bytes.
        frame_bytes_max: u32,
    }
}

message! {
    /// A message was refused: nothing was recorded, and this says nothing about earlier attempts.
    Refused {
        /// Kind of the refused message, 0 where it had none.
        of: u16,
        /// Why.
        code: Code,
        /// When to try again, milliseconds; 0 where it makes no sense.
        retry_ms: u32,
        /// The brand of a refused ticket, else 0.
        brand: BrandId,
        /// The id of a refused ticket, else zeros.
        ticket: TicketId,
    } then {
        /// What is wrong, where, and what to do.
        note: Text<160>,
    }
}

message! {
    /// Asks for streams; a second one replaces the first.
    Subscribe {
        /// Prices and statuses, conflated for slow readers.
        odds: bool,
        /// Events: settlements, limit changes, alarms.
        events: bool,
        /// Only this fixture; 0 is all.
        fixture: FixtureId,
    }
}

message! {
    /// Asks for a sign of life; `number` comes back in a `Pong`.
    Ping {
        /// Any number.
        number: u64,
    }
}

message! {
    /// A sign of life.
    Pong {
        /// The number of the `Ping`.
        number: u64,
        /// Last committed sequence.
        committed: Seq,
    }
}
