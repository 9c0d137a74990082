//! Frames that came before their turn, and when to ask for those that are missing.

use std::collections::BTreeMap;
use touchline_protocol::Seq;

/// Messages of frames kept behind a gap.
#[derive(Debug, Default)]
pub struct Ahead {
    kept: BTreeMap<Seq, Vec<u8>>,
    asked_ns: Option<u64>,
    /// The last sequence that is known to exist.
    known: Seq,
}

impl Ahead {
    /// A sequence that exists.
    pub fn note(&mut self, seq: Seq) {
        self.known = self.known.max(seq);
    }

    /// Keeps a message that starts behind a gap, as far as there is room: what is dropped is asked for later.
    pub fn keep(&mut self, first: Seq, bytes: Vec<u8>, most: usize) {
        if self.kept.len() < most {
            self.kept.insert(first, bytes);
        }
    }

    /// A kept message whose first frame is at or before the next one.
    pub fn next(&mut self, next: Seq) -> Option<Vec<u8>> {
        let first = *self.kept.first_key_value()?.0;
        (first <= next).then(|| self.kept.remove(&first)).flatten()
    }

    /// Whether frames are known to exist behind `end`.
    pub fn lacks(&self, end: Seq) -> bool {
        self.known > end
    }

    /// Whether to ask for what follows `end` now; asks again after `retry_ns`.
    pub fn ask(&mut self, now_ns: u64, end: Seq, retry_ns: u64) -> bool {
        if !self.lacks(end) {
            self.asked_ns = None;
            return false;
        }
        let due = self.asked_ns.is_none_or(|asked_ns| now_ns.saturating_sub(asked_ns) >= retry_ns);
        if due {
            self.asked_ns = Some(now_ns);
        }
        due
    }

    /// Part of what was asked for has come: the rest may be asked for at once.
    pub fn progressed(&mut self) {
        self.asked_ns = None;
    }
}
