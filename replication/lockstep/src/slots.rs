//! The register on disk: two checksummed slots, written one after the other, each repairing the other.

use crate::log::Point;
use crate::register::{Boot, Forced, NodeId, Register};
use crate::settings::Mutation;
use crate::store::RegisterStore;
use touchline_protocol::{ChainHash, Epoch, Seq};

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 144;
const MAGIC: [u8; 4] = *b"TLW\x01";

/// Where a register is kept. Every write is durable when it returns.
pub trait Slots {
    /// What can go wrong; a witness that meets it stops.
    type Error: std::fmt::Debug;

    /// Reads slot 0 or 1; anything, where nothing was written.
    fn read(&self, slot: usize) -> Result<Vec<u8>, Self::Error>;

    /// Writes slot 0 or 1.
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// A register in two slots. Whoever holds the slots is their only process, so an old swap ends with its process,
/// and only a torn write is left of it.
#[derive(Debug)]
pub struct TwoSlots<S> {
    slots: S,
    /// The epoch in the slots.
    held: Option<Epoch>,
    mutation: Option<Mutation>,
}

impl<S: Slots> TwoSlots<S> {
    /// Over these slots; a mutation breaks a rule on purpose.
    pub fn new(slots: S, mutation: Option<Mutation>) -> Self {
        TwoSlots { slots, held: None, mutation }
    }
}

impl<S: Slots> RegisterStore for TwoSlots<S> {
    type Error = S::Error;

    /// One valid slot repairs the other.
    fn load(&mut self) -> Result<Option<Register>, S::Error> {
        let (register, stale) = newest(&self.slots)?;
        if let Some(register) = &register {
            stale.into_iter().try_for_each(|slot| self.slots.write(slot, &encode(register)))?;
        }
        self.held = register.map(|register| register.epoch);
        Ok(register)
    }

    /// Slot 0, then slot 1, and only then does anybody learn of it.
    fn swap(&mut self, expected: Option<Epoch>, next: &Register) -> Result<bool, S::Error> {
        if expected != self.held {
            return Ok(false);
        }
        let bytes = encode(next);
        self.slots.write(0, &bytes)?;
        if self.mutation != Some(Mutation::ForgetNewestSlot) {
            self.slots.write(1, &bytes)?;
        }
        self.held = Some(next.epoch);
        Ok(true)
    }
}

/// The newest register in the slots, and which slots must be written again to hold it.
fn newest<S: Slots>(slots: &S) -> Result<(Option<Register>, Vec<usize>), S::Error> {
    let found = [decode(&slots.read(0)?), decode(&slots.read(1)?)];
    let newest = found.iter().flatten().max_by_key(|register| register.epoch).copied();
    let stale = (0..2).filter(|slot| newest.is_some() && found[*slot] != newest).collect();
    Ok((newest, stale))
}

/// The bytes of a slot: magic, CRC32C of everything behind it, fields little-endian in the order of the type.
pub fn encode(register: &Register) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&register.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&u64::from(register.primary.0).to_le_bytes());
    for boot in register.in_sync {
        bytes.extend_from_slice(&boot.map_or(0, |boot| boot.0).to_le_bytes());
    }
    bytes.extend_from_slice(&register.start.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&register.start.seq.0.to_le_bytes());
    bytes.extend_from_slice(&register.start.chain.0.to_le_bytes());
    bytes.extend_from_slice(&register.durable.0.to_le_bytes());
    bytes.extend_from_slice(&u64::from(register.forced.times).to_le_bytes());
    bytes.extend_from_slice(&register.forced.from.0.to_le_bytes());
    bytes.extend_from_slice(&register.forced.to.0.to_le_bytes());
    bytes.extend_from_slice(&register.site.map_or(0, |boot| boot.0).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a slot; `None` where it does not hold a whole register.
pub fn decode(bytes: &[u8]) -> Option<Register> {
    let bytes: &[u8; SLOT_BYTES] = bytes.try_into().ok()?;
    let crc = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if bytes[..4] != MAGIC || crc32c::crc32c(&bytes[8..]) != crc {
        return None;
    }
    let mut at = 8;
    let mut next = |length: usize| {
        let mut wide = [0; 16];
        wide[..length].copy_from_slice(&bytes[at..at + length]);
        at += length;
        u128::from_le_bytes(wide)
    };
    let mut word = |length| next(length);
    let epoch = Epoch(word(8) as u64);
    let primary = NodeId(u8::try_from(word(8)).ok().filter(|place| *place < 3)?);
    let in_sync = [word(16), word(16)].map(|boot| (boot != 0).then_some(Boot(boot)));
    let start = Point { epoch: Epoch(word(8) as u64), seq: Seq(word(8) as u64), chain: ChainHash(word(16)) };
    let durable = Seq(word(8) as u64);
    let times = u32::try_from(word(8)).ok()?;
    let forced = Forced { times, from: Seq(word(8) as u64), to: Seq(word(8) as u64) };
    let site = Some(Boot(word(16))).filter(|boot| boot.0 != 0);
    // Nothing but the site's own boot makes it the primary.
    (site.is_some() == (primary == NodeId::SITE)).then_some(Register {
        epoch,
        primary,
        in_sync,
        site,
        start,
        durable,
        forced,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn register(epoch: u64) -> Register {
        let mut register = Register::first(NodeId(1), Boot(77));
        register.epoch = Epoch(epoch);
        register.start = Point { epoch: Epoch(epoch), seq: Seq(9), chain: ChainHash(1 << 100) };
        register.durable = Seq(12);
        register.forced = Forced { times: 2, from: Seq(3), to: Seq(5) };
        register
    }

    struct Two([Vec<u8>; 2]);

    impl Slots for Two {
        type Error = ();
        fn read(&self, slot: usize) -> Result<Vec<u8>, ()> {
            Ok(self.0[slot].clone())
        }
        fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), ()> {
            self.0[slot] = bytes.to_vec();
            Ok(())
        }
    }

    #[test]
    fn a_slot_holds_a_register_and_one_valid_slot_repairs_the_other() {
        let (old, new) = (register(4), register(5));
        assert_eq!(encode(&new).len(), SLOT_BYTES);
        assert_eq!(decode(&encode(&new)), Some(new));
        assert_eq!(newest(&Two([encode(&new), encode(&new)])).unwrap(), (Some(new), vec![]));
        assert_eq!(newest(&Two([encode(&new), encode(&old)])).unwrap(), (Some(new), vec![1]));
        assert_eq!(newest(&Two([vec![0; SLOT_BYTES], encode(&old)])).unwrap(), (Some(old), vec![0]));
        assert_eq!(newest(&Two([vec![], vec![0; SLOT_BYTES]])).unwrap(), (None, vec![]));
    }

    #[test]
    fn a_swap_writes_both_slots_and_only_in_the_epoch_it_expects() {
        let mut store = TwoSlots::new(Two([encode(&register(4)), vec![]]), None);
        assert_eq!(store.load(), Ok(Some(register(4))));
        assert_eq!(store.slots.0, [encode(&register(4)), encode(&register(4))], "slot 1 is repaired");
        assert_eq!(store.swap(None, &register(5)), Ok(false));
        assert_eq!(store.swap(Some(Epoch(3)), &register(5)), Ok(false));
        assert_eq!(store.swap(Some(Epoch(4)), &register(5)), Ok(true));
        assert_eq!(store.slots.0, [encode(&register(5)), encode(&register(5))]);
        assert_eq!(store.swap(Some(Epoch(4)), &register(6)), Ok(false));
        assert_eq!(store.load(), Ok(Some(register(5))));
    }

    proptest! {
        #[test]
        fn a_slot_with_any_flipped_bit_is_no_register(place in 0..SLOT_BYTES, bit in 0..8) {
            let mut bytes = encode(&register(5));
            bytes[place] ^= 1u8 << bit;
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn hostile_slots_are_no_register(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
