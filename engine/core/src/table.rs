//! A map of entities that knows its own fingerprint.
//!
//! Each entity keeps the hash it had at the last mark. [`Table::mark`] re-hashes what changed since;
//! [`Table::audit`] re-hashes everything and finds entities whose contents differ from their hash although
//! nobody changed them through this table.

use crate::fingerprint::Reader;
use crate::snapshot::Entries;
use crate::split_map::SplitMap;
use std::hash::Hash;
use touchline_protocol::wire::Fault;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Something whose contents have canonical bytes.
pub trait Entity {
    /// Appends every field in a fixed order, little-endian.
    fn bytes(&self, out: &mut Vec<u8>);
}

/// An entity that can be read back from its canonical bytes.
pub trait Stored<K>: Entity + Sized {
    /// Reads every field in the order of [`Entity::bytes`].
    fn read(key: &K, from: &mut Reader<'_>) -> Result<Self, Fault>;
}

/// A key with canonical bytes.
pub trait Key: Copy + Eq + Hash {
    /// Appends the key.
    fn bytes(&self, out: &mut Vec<u8>);

    /// Reads a key.
    fn read(from: &mut Reader<'_>) -> Result<Self, Fault>;
}

struct Slot<T> {
    value: T,
    /// Its part in the sum; [`DIRTY`] from a change to the next mark.
    print: u128,
}

/// No hash in practice; an entity that had it would only stay out of the audit.
const DIRTY: u128 = 0;
/// Keys of removed entities that may wait for the next mark, beside as many as there are entities.
const DIRTY_SPARE: usize = 1024;

/// Entities by key.
pub struct Table<K, T> {
    /// Tells tables apart in the hash, so that equal contents of two tables differ.
    tag: u8,
    slots: SplitMap<K, Slot<T>>,
    /// Entities changed since the last mark, whose hashes are not in the sum.
    dirty: Vec<K>,
    sum: u128,
}

impl<K: Key, T: Entity> Table<K, T> {
    /// An empty table; `tag` differs between the tables of a partition.
    pub fn new(tag: u8) -> Self {
        Table { tag, slots: SplitMap::default(), dirty: Vec::new(), sum: 0 }
    }

    /// Number of entities.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// An entity.
    pub fn get(&self, key: &K) -> Option<&T> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// Whether there is one.
    pub fn contains(&self, key: &K) -> bool {
        self.slots.get(key).is_some()
    }

    /// An entity to be changed.
    pub fn change(&mut self, key: &K) -> Option<&mut T> {
        let slot = self.slots.get_mut(key)?;
        if slot.print != DIRTY {
            self.sum = self.sum.wrapping_sub(std::mem::replace(&mut slot.print, DIRTY));
            self.dirty.push(*key);
        }
        Some(&mut slot.value)
    }

    /// Stores an entity, in place of the one before.
    pub fn put(&mut self, key: K, value: T) {
        let (sum, dirty) = (&mut self.sum, &mut self.dirty);
        let is_new = self.slots.insert_or(key, Slot { value, print: DIRTY }, |slot, new| {
            if slot.print != DIRTY {
                *sum = sum.wrapping_sub(slot.print);
                dirty.push(key);
            }
            *slot = new;
        });
        if is_new {
            self.dirty.push(key);
            self.forget_removed();
        }
    }

    /// Keys of entities that came and went between two marks are dropped before they are more than those that stay:
    /// a core that nobody asks for its fingerprint must not remember every ticket.
    fn forget_removed(&mut self) {
        if self.dirty.len() > 2 * self.slots.len() + DIRTY_SPARE {
            self.dirty.retain(|key| self.slots.get(key).is_some_and(|slot| slot.print == DIRTY));
        }
    }

    /// Removes an entity.
    pub fn remove(&mut self, key: &K) -> Option<T> {
        let slot = self.slots.remove(key)?;
        self.sum = self.sum.wrapping_sub(slot.print);
        Some(slot.value)
    }

    /// Re-hashes what changed; returns the sum over all entities.
    pub fn mark(&mut self, seed: u64, scratch: &mut Vec<u8>) -> u128 {
        for key in std::mem::take(&mut self.dirty) {
            // A key may stand here twice, or be gone, when its entity was removed since.
            let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.print == DIRTY) else { continue };
            slot.print = print(self.tag, &key, &slot.value, seed, scratch);
            self.sum = self.sum.wrapping_add(slot.print);
        }
        self.sum
    }

    /// Re-hashes everything: the sum, and how many entities differ from the hash of their last mark although
    /// no change was recorded. Call after [`Table::mark`].
    pub fn audit(&self, seed: u64, scratch: &mut Vec<u8>) -> (u128, usize) {
        let mut sum = 0u128;
        let mut odd = 0;
        for (key, slot) in self.slots.iter() {
            let print = print(self.tag, key, &slot.value, seed, scratch);
            sum = sum.wrapping_add(print);
            odd += usize::from(slot.print != DIRTY && print != slot.print);
        }
        (sum, odd)
    }

    /// Every entity, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.value))
    }

    /// Canonical bytes of all keys and entities, in the order of the keys' bytes: equal tables give equal bytes.
    pub fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        for (key, slot) in self.slots.iter() {
            entries.push(|out| key.bytes(out), |out| slot.value.bytes(out));
        }
        entries.sorted()
    }

    /// Changes an entity behind the table's back: how tests play a flipped bit in memory.
    pub(crate) fn corrupt(&mut self, key: &K, spoil: impl FnOnce(&mut T)) {
        spoil(&mut self.slots.get_mut(key).expect("the entity exists").value);
    }
}

fn print<K: Key, T: Entity>(tag: u8, key: &K, value: &T, seed: u64, scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    scratch.push(tag);
    key.bytes(scratch);
    value.bytes(scratch);
    xxh3_128_with_seed(scratch, seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;
    use touchline_protocol::FixtureId;

    #[test]
    fn a_table_that_nobody_marks_forgets_what_came_and_went() {
        let mut table = Table::new(1);
        table.put(FixtureId(0), Limit(0));
        for n in 1..10_000 {
            table.put(FixtureId(n), Limit(n as i64));
            table.remove(&FixtureId(n));
            assert!(table.dirty.len() <= 2 * (table.len() + 1) + DIRTY_SPARE);
        }
        let mut other = Table::new(1);
        other.put(FixtureId(0), Limit(0));
        assert_eq!(table.mark(5, &mut Vec::new()), other.mark(5, &mut Vec::new()));
    }
}
