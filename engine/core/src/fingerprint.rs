//! Canonical bytes of keys and plain values, written for fingerprints and snapshots, and read back.

use crate::table::Key;
use touchline_protocol::wire::{Block, Fault, Field, Message, Tail};
use touchline_protocol::{BrandId, CustomerId, FixtureId, MarketKey, Seq, SourceId, TicketId};

/// Appends a protocol field: canonical bytes of ids, codes and amounts are their wire bytes.
pub(crate) fn put(field: &impl Field, out: &mut Vec<u8>) {
    field.put(out);
}

/// Canonical bytes, read from the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Bytes to be read.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// So many bytes as they are.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// A field.
    pub(crate) fn field<F: Field>(&mut self) -> Result<F, Fault> {
        F::get(self.bytes(F::SIZE)?)
    }

    /// A block.
    pub(crate) fn block<B: Block>(&mut self) -> Result<B, Fault> {
        B::get_block(self.bytes(B::SIZE)?).map_err(|(_, fault)| fault)
    }

    /// A text or list.
    pub(crate) fn tail<T: Tail>(&mut self) -> Result<T, Fault> {
        T::take(&mut self.0)
    }

    /// A message: block and tails.
    pub(crate) fn message<M: Message>(&mut self) -> Result<M, Fault> {
        let mut message: M = self.block()?;
        message.take_tails(&mut self.0).map_err(|(_, fault)| fault)?;
        Ok(message)
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! field_keys {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn bytes(&self, out: &mut Vec<u8>) {
                put(self, out);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
                from.field()
            }
        }
    )*};
}

field_keys!(BrandId, FixtureId, SourceId, Seq, u8);

impl Key for (BrandId, CustomerId) {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
        put(&self.1, out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok((from.field()?, from.field()?))
    }
}

impl Key for (BrandId, TicketId) {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
        put(&self.1, out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok((from.field()?, from.field()?))
    }
}

impl Key for (FixtureId, MarketKey) {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
        put(&self.1, out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok((from.field()?, from.field()?))
    }
}
