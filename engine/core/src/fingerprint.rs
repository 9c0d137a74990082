//! Canonical bytes of keys and plain values, and the fingerprint of a whole partition.

use crate::table::Key;
use touchline_protocol::wire::Field;
use touchline_protocol::{BrandId, CustomerId, FixtureId, MarketKey, SourceId, TicketId};

/// Appends a protocol field: canonical bytes of ids, codes and amounts are their wire bytes.
pub(crate) fn put(field: &impl Field, out: &mut Vec<u8>) {
    field.put(out);
}

macro_rules! field_keys {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn bytes(&self, out: &mut Vec<u8>) {
                put(self, out);
            }
        }
    )*};
}

field_keys!(BrandId, FixtureId, SourceId, u8);

impl Key for (BrandId, CustomerId) {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
        put(&self.1, out);
    }
}

impl Key for (BrandId, TicketId) {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
        put(&self.1, out);
    }
}

impl Key for (FixtureId, MarketKey) {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
        put(&self.1, out);
    }
}
