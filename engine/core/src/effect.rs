//! What a frame causes outside: an answer, a price, an event. It leaves only through the commit gate.

use touchline_protocol::{Body, PartitionId, Seq};

/// Who an effect is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The connection that asked.
    Asker {
        /// The connection.
        origin: u64,
        /// Its number for the request.
        request: u64,
    },
    /// Subscribers of prices and statuses; may be conflated.
    Odds,
    /// The partition's event stream; every event is delivered.
    Events,
}

/// An effect and the frame that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The frame that caused it; it leaves when this is committed.
    pub seq: Seq,
    /// The partition that caused it.
    pub partition: PartitionId,
    /// Who it is for.
    pub to: Audience,
    /// What it says.
    pub body: Body,
}
