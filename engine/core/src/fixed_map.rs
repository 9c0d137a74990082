//! A hash map with a fixed hash of a few instructions: the same memory layout on every node and run.
//!
//! Keys are ids of some bytes, which XXH3's streaming form takes a hundred times as long for. What places entities
//! in memory is no contract: nothing that is logged, sent or stored depends on it, and it may change.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A hash map with a fixed hasher. Its iteration order is never used.
pub type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<FoldHasher>>;

/// Multiplies each word into the state and folds both halves of the product together, so that every bit of a key
/// reaches the high and the low bits, both of which the map uses.
pub struct FoldHasher(u64);

/// Digits of π, so that a key of zeros does not stay zero; and the golden ratio, which spreads steps of any size.
const START: u64 = 0x243F_6A88_85A3_08D3;
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Default for FoldHasher {
    fn default() -> Self {
        FoldHasher(START)
    }
}

impl Hasher for FoldHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hash};

    fn hash(key: impl Hash) -> u64 {
        BuildHasherDefault::<FoldHasher>::default().hash_one(key)
    }

    /// Most keys in one of 1024 buckets by the low or the high bits, where 64 are expected.
    fn fullest(keys: impl Iterator<Item = u64>) -> usize {
        let (mut low, mut high) = ([0; 1024], [0; 1024]);
        for hash in keys {
            low[(hash % 1024) as usize] += 1;
            high[(hash >> 54) as usize] += 1;
        }
        low.into_iter().chain(high).max().unwrap_or(0)
    }

    #[test]
    fn ids_as_they_are_given_out_spread_evenly() {
        let count = 1u64 << 16;
        assert!(fullest((0..count).map(hash)) < 128, "dense numbers");
        assert!(fullest((0..count).map(|n| hash(n << 32))) < 128, "high bits alone");
        assert!(
            fullest((0..count).map(|n| hash((1u16, u128::from(n) << 80)))) < 128,
            "time of a ticket alone"
        );
        assert!(fullest((0..count).map(|n| hash((1u16, u128::from(n))))) < 128, "end of a ticket alone");
        assert!(
            fullest((0..count).map(|n| hash((n / 64, (n % 64) as u16, 0i32)))) < 128,
            "markets of matches"
        );
    }
}
