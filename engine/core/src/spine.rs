//! What a partition has once: the rules in force, its counters, its outbox; and the smallest of its entities.

use crate::fingerprint::{Reader, put};
use crate::rules::Rules;
use crate::table::{Entity, Stored};
use std::collections::VecDeque;
use touchline_protocol::wire::Fault;
use touchline_protocol::{At, Body, Kind};

/// The key of the one spine.
pub(crate) const SPINE: u8 = 0;

/// A flag of an entity table.
pub(crate) struct Flag(pub(crate) bool);

impl Entity for Flag {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
    }
}

pub(crate) struct Promise(pub(crate) At);

impl Entity for Promise {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
    }
}

/// What a partition counts: numbers of messages and events, profit, the outbox.
pub(crate) struct Spine {
    pub(crate) rules: Rules,
    /// Next number of a message to each partition; the last place is `ALL`.
    pub(crate) sent: Vec<u64>,
    /// Next number expected from each partition for this one, and for `ALL`.
    pub(crate) received: Vec<[u64; 2]>,
    pub(crate) outbox: VecDeque<Body>,
    pub(crate) next_event: u64,
    pub(crate) profit_minor: i64,
}

impl Entity for Spine {
    fn bytes(&self, out: &mut Vec<u8>) {
        self.rules.bytes(out);
        put(&(self.received.len() as u16), out);
        self.sent.iter().for_each(|n| put(n, out));
        self.received.iter().flatten().for_each(|n| put(n, out));
        put(&(self.outbox.len() as u32), out);
        self.outbox.iter().for_each(|message| put_message(message, out));
        put(&self.next_event, out);
        put(&self.profit_minor, out);
    }
}

impl<K> Stored<K> for Flag {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        from.field().map(Flag)
    }
}

impl<K> Stored<K> for Promise {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        from.field().map(Promise)
    }
}

impl<K> Stored<K> for Spine {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        let rules = Rules::read(from)?;
        let partitions = from.field::<u16>()?;
        let sent = (0..=partitions).map(|_| from.field()).collect::<Result<_, _>>()?;
        let received =
            (0..partitions).map(|_| Ok([from.field()?, from.field()?])).collect::<Result<_, Fault>>()?;
        let waiting = from.field::<u32>()?;
        let outbox = (0..waiting).map(|_| message(from)).collect::<Result<_, _>>()?;
        Ok(Spine { rules, sent, received, outbox, next_event: from.field()?, profit_minor: from.field()? })
    }
}

/// Appends a message: kind, length, body.
pub(crate) fn put_message(message: &Body, out: &mut Vec<u8>) {
    put(&(message.kind() as u16), out);
    let start = out.len();
    put(&0u32, out);
    message.put(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads a message.
pub(crate) fn message(from: &mut Reader<'_>) -> Result<Body, Fault> {
    let kind = Kind::from_number(from.field()?).ok_or(Fault::Range("a known message"))?;
    let length = from.field::<u32>()? as usize;
    Body::decode(kind as u16, kind.block_bytes(), from.bytes(length)?)
        .map_err(|_| Fault::Range("a whole message"))
}
