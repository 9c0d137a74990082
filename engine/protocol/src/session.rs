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

message! {
    /// Who leads, as the sender knows it: sent behind each `Welcome` of a node of a cluster, and whenever it changes. What
    /// comes from an epoch below the highest that a client has heard of is to be dropped.
    Leader {
        /// The epoch.
        epoch: Epoch,
        /// Whether the sender itself leads; where it does not, it refuses every command with NOT_PRIMARY.
        leads: bool,
    } then {
        /// Where the one that leads serves clients, `host:port`; empty where the sender does not know, or leads itself.
        address: Text<64>,
    }
}

message! {
    /// The sender leads, but may not be able to tell how the matches stand: while `held`, every market counts as
    /// suspended, and tickets get no answer yet.
    Hold {
        /// The epoch.
        epoch: Epoch,
        /// Whether it holds, or goes on.
        held: bool,
    }
}
