//! A log in sixteen bits: the epoch of each frame, which is all that tells one bet from another here.

use std::fmt;

/// A sequence counted from 1; 0 stands before the first frame.
pub type Seq = u8;

/// An epoch counted from 1.
pub type Epoch = u8;

/// Frames a log can hold.
pub const LOG_MAX: Seq = 4;

/// Epochs a log can name: four bits each, and 0 marks the end.
pub const EPOCH_MAX: Epoch = 15;

/// The frames of a log, each known by the epoch in which it was sequenced.
///
/// A primary gives each sequence of its epoch to one bet, so (epoch, seq) names the bet, and two logs hold the same
/// bet at a sequence if their epochs there agree.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log(u16);

impl Log {
    /// Sequence of the last frame.
    pub fn end(self) -> Seq {
        (u16::BITS - self.0.leading_zeros()).div_ceil(4) as Seq
    }

    /// Epoch of a frame; 0 where the log has none.
    pub fn epoch_at(self, seq: Seq) -> Epoch {
        debug_assert!((1..=LOG_MAX).contains(&seq), "frames are counted from 1");
        (self.0 >> (4 * (seq - 1)) & 0xf) as Epoch
    }

    /// Epoch of the last frame; 0 for an empty log.
    pub fn last_epoch(self) -> Epoch {
        if self.0 == 0 { 0 } else { self.epoch_at(self.end()) }
    }

    /// Adds a frame.
    pub fn append(&mut self, epoch: Epoch) {
        assert!(self.end() < LOG_MAX && (1..=EPOCH_MAX).contains(&epoch), "a log stays within its limits");
        self.0 |= u16::from(epoch) << (4 * self.end());
    }

    /// The log up to a sequence.
    pub fn up_to(self, seq: Seq) -> Log {
        let kept = u32::from(seq) * 4;
        if kept >= u16::BITS { self } else { Log(self.0 & ((1 << kept) - 1)) }
    }

    /// Whether `other` begins with this log: the chain hash at its end matches.
    pub fn begins(self, other: Log) -> bool {
        other.up_to(self.end()) == self
    }

    /// The last sequence up to which both logs agree.
    pub fn agrees_up_to(self, other: Log) -> Seq {
        let same = (self.0 ^ other.0).trailing_zeros() / 4;
        (same as Seq).min(self.end()).min(other.end())
    }
}

impl fmt::Display for Log {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return to.write_str("nothing");
        }
        let frames = (1..=self.end()).map(|seq| format!("{seq}@{}", self.epoch_at(seq)));
        to.write_str(&frames.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(epochs: &[Epoch]) -> Log {
        let mut log = Log::default();
        epochs.iter().for_each(|epoch| log.append(*epoch));
        log
    }

    /// Every log of up to four frames over three epochs, beside the vector it stands for.
    fn all() -> Vec<(Log, Vec<Epoch>)> {
        let mut lists: Vec<Vec<Epoch>> = vec![vec![]];
        for length in 0..LOG_MAX {
            let longer = lists.iter().filter(|list| list.len() == usize::from(length));
            let longer = longer.flat_map(|list| [1, 2, 15].map(|epoch| [&list[..], &[epoch]].concat()));
            lists.extend(longer.collect::<Vec<_>>());
        }
        lists.into_iter().map(|list| (log(&list), list)).collect()
    }

    #[test]
    fn the_bits_behave_like_the_list() {
        for (packed, list) in all() {
            assert_eq!(usize::from(packed.end()), list.len());
            assert_eq!(packed.last_epoch(), list.last().copied().unwrap_or(0));
            for keep in 0..=list.len() {
                assert_eq!(packed.up_to(keep as Seq), log(&list[..keep]));
            }
            for (other, theirs) in all() {
                let same = list.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
                assert_eq!(usize::from(packed.agrees_up_to(other)), same);
                assert_eq!(packed.begins(other), theirs.starts_with(&list));
            }
        }
    }

    #[test]
    fn a_log_reads_as_seq_at_epoch() {
        assert_eq!(log(&[1, 3]).to_string(), "1@1 2@3");
        assert_eq!(Log::default().to_string(), "nothing");
    }
}
