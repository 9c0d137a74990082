//! A hash map that grows a little at a time: no insertion ever moves more than [`SEGMENT_MAX`] entries.
//!
//! A common hash map doubles at once, and the sixty-four partitions of a node, each as full as the others, do so within
//! the same second: a gigabyte is moved while nobody gets an answer. Here the entries lie in segments of bounded size, and
//! a full one is split in two (extendible hashing: Fagin, Nievergelt, Pippenger, Strong, 1979). The directory that finds a
//! key's segment by bits of its hash doubles as well, but has only four bytes for some hundreds of entries.

use crate::fixed_map::FoldHasher;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hash};

/// Entries of a segment before it is split: as many as 512 places hold at most.
pub const SEGMENT_MAX: usize = 448;
/// The first bit of a hash that the directory looks at: those below place an entry within its segment, and so do the last
/// seven.
const FIRST_BIT: u32 = 24;
/// Bits that it looks at at most: a directory of 4 MiB. Keys that agree in all of them share a segment, however large.
const BITS_MAX: u32 = 20;

/// Entries by key, in no order.
pub struct SplitMap<K, V> {
    /// Which segment holds the hashes with these bits; a power of two long.
    directory: Vec<u32>,
    segments: Vec<Segment<K, V>>,
    len: usize,
}

struct Segment<K, V> {
    /// Bits that all its hashes share.
    bits: u32,
    entries: HashTable<(K, V)>,
}

impl<K, V> Segment<K, V> {
    /// Whether it is to be split before another entry comes.
    fn is_full(&self) -> bool {
        self.entries.len() >= SEGMENT_MAX && self.bits < BITS_MAX
    }
}

impl<K, V> Default for SplitMap<K, V> {
    fn default() -> Self {
        SplitMap {
            directory: vec![0],
            segments: vec![Segment { bits: 0, entries: HashTable::new() }],
            len: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> SplitMap<K, V> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        let hash = hash(key);
        let segment = &self.segments[self.segment_of(hash)];
        segment.entries.find(hash, |(held, _)| held == key).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let hash = hash(key);
        let segment = self.segment_of(hash);
        self.segments[segment].entries.find_mut(hash, |(held, _)| held == key).map(|(_, value)| value)
    }

    /// Adds an entry where there is none of the key, else gives `held` what is there and the value; whether it added one.
    #[inline]
    pub fn insert_or(&mut self, key: K, value: V, held: impl FnOnce(&mut V, V)) -> bool {
        let hash = hash(&key);
        let mut segment = self.segment_of(hash);
        if self.segments[segment].is_full() && self.get(&key).is_none() {
            while self.segments[segment].is_full() {
                self.split(segment);
                segment = self.segment_of(hash);
            }
        }
        let entries = &mut self.segments[segment].entries;
        match entries.entry(hash, |(held, _)| *held == key, |(key, _)| self::hash(key)) {
            Entry::Occupied(mut entry) => {
                held(&mut entry.get_mut().1, value);
                false
            }
            Entry::Vacant(place) => {
                place.insert((key, value));
                self.len += 1;
                true
            }
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let hash = hash(key);
        let segment = self.segment_of(hash);
        let found = self.segments[segment].entries.find_entry(hash, |(held, _)| held == key).ok()?;
        self.len -= 1;
        let ((_, value), _) = found.remove();
        Some(value)
    }

    /// Every entry, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.segments.iter().flat_map(|segment| segment.entries.iter());
        entries.map(|(key, value)| (key, value))
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        let place = (hash >> FIRST_BIT) as usize & (self.directory.len() - 1);
        self.directory[place] as usize
    }

    /// Splits a segment by the next bit of its hashes; where the directory looks at no more than it shares, that doubles
    /// first.
    fn split(&mut self, of: usize) {
        let bits = self.segments[of].bits;
        if self.directory.len() == 1 << bits {
            self.directory.extend_from_within(..);
        }
        let bit = 1u64 << (FIRST_BIT + bits);
        let moves = |(key, _): &mut (K, V)| hash(key) & bit != 0;
        let whole = &mut self.segments[of];
        whole.bits += 1;
        let mut entries = HashTable::with_capacity(SEGMENT_MAX);
        for entry in whole.entries.extract_if(moves) {
            entries.insert_unique(hash(&entry.0), entry, |(key, _)| hash(key));
        }
        let new = self.segments.len() as u32;
        self.segments.push(Segment { bits: bits + 1, entries });
        // The places whose hashes the segment held lie this far apart; every second is the new one's.
        let first =
            self.directory.iter().position(|held| *held as usize == of).expect("every segment has a place");
        let apart = 1 << bits;
        for place in (first & (apart - 1)..self.directory.len()).step_by(apart) {
            if place & apart != 0 {
                self.directory[place] = new;
            }
        }
    }
}

#[inline]
fn hash<K: Hash>(key: &K) -> u64 {
    BuildHasherDefault::<FoldHasher>::default().hash_one(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Numbers that look random.
    fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        })
    }

    #[test]
    fn it_is_the_map_that_a_tree_is() {
        let mut map = SplitMap::default();
        let mut tree = BTreeMap::new();
        let mut random = numbers(7);
        for step in 0..60_000u64 {
            let key = random.next().unwrap() % 20_000;
            match random.next().unwrap() % 4 {
                0 => assert_eq!(map.remove(&key), tree.remove(&key)),
                1 => assert_eq!(map.get_mut(&key), tree.get_mut(&key)),
                _ => {
                    let mut before = None;
                    let is_new =
                        map.insert_or(key, step, |held, new| before = Some(std::mem::replace(held, new)));
                    assert_eq!((before, is_new), (tree.insert(key, step), before.is_none()));
                }
            }
            assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
            assert_eq!(map.get(&key), tree.get(&key));
        }
        assert!(map.segments.len() > 16, "it was split often");
        let mut entries: Vec<(u64, u64)> = map.iter().map(|(key, value)| (*key, *value)).collect();
        entries.sort_unstable();
        assert_eq!(entries, tree.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn no_segment_grows_beyond_its_bound_and_each_has_its_places() {
        let mut map = SplitMap::default();
        (0..100_000u64).for_each(|key| assert!(map.insert_or(key, (), |_, ()| ())));
        for (index, segment) in map.segments.iter().enumerate() {
            assert!(segment.entries.len() <= SEGMENT_MAX);
            let places = map.directory.iter().filter(|held| **held as usize == index).count();
            assert_eq!(places << segment.bits, map.directory.len());
        }
        let mean = map.len() / map.segments.len();
        assert!(mean > SEGMENT_MAX / 2, "{mean} entries a segment: half of the places are in use at least");
    }

    #[test]
    fn keys_of_one_hash_share_a_segment_that_is_not_split_for_ever() {
        #[derive(Clone, Copy, PartialEq, Eq)]
        struct Same(u64);
        impl Hash for Same {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                state.write_u64(1);
            }
        }
        let mut map = SplitMap::default();
        // Without a bound the directory would double for ever.
        (0..2 * SEGMENT_MAX as u64).for_each(|key| assert!(map.insert_or(Same(key), key, |_, _| ())));
        assert_eq!(map.get(&Same(700)), Some(&700));
    }
}
