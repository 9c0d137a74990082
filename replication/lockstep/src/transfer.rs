//! A state on its way to a node whose log ends before its peer's begins.

use crate::log::Point;
use crate::register::Boot;
use std::collections::BTreeMap;

/// A state that is being taken, part by part.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Who gives it.
    pub from: Boot,
    /// The frame that it is the state after.
    pub at: Point,
    length: usize,
    bytes: Vec<u8>,
    /// Parts that came before what lies between, by their offset: none beyond what was asked for.
    ahead: BTreeMap<usize, Vec<u8>>,
    /// What is asked for at once, bytes: the giver sends it as several parts.
    window: usize,
    /// Up to where it was asked for.
    asked: usize,
    /// When it was last asked for, or something came.
    moved_ns: Option<u64>,
}

impl Transfer {
    /// Nothing taken yet.
    pub fn new(from: Boot, at: Point, length: usize, window: usize) -> Self {
        Transfer {
            from,
            at,
            length,
            bytes: Vec::new(),
            ahead: BTreeMap::new(),
            window,
            asked: 0,
            moved_ns: None,
        }
    }

    /// From where to ask on now, if it is time to: once all that was asked for is there, and when nothing has come for
    /// `retry_ns`.
    pub fn ask(&mut self, now_ns: u64, retry_ns: u64) -> Option<u64> {
        let silent = self.moved_ns.is_none_or(|at| now_ns.saturating_sub(at) >= retry_ns);
        (silent || self.bytes.len() >= self.asked).then(|| {
            self.moved_ns = Some(now_ns);
            self.asked = self.length.min(self.bytes.len() + self.window);
            self.bytes.len() as u64
        })
    }

    /// A part, in any order; what was not asked for is of another request. The whole, once it is there.
    pub fn part(&mut self, now_ns: u64, offset: u64, part: Vec<u8>) -> Option<Vec<u8>> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(part.len())?;
        if offset < self.bytes.len() || end > self.asked {
            return None;
        }
        self.moved_ns = Some(now_ns);
        self.ahead.insert(offset, part);
        while let Some(next) = self.ahead.first_entry().filter(|next| *next.key() <= self.bytes.len()) {
            let (offset, part) = next.remove_entry();
            // Parts of two requests need not have the same borders.
            self.bytes.extend_from_slice(part.get(self.bytes.len() - offset..).unwrap_or_default());
        }
        (self.bytes.len() == self.length).then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        Transfer::new(Boot(1), Point::default(), 7, 4)
    }

    #[test]
    fn parts_come_in_any_order_and_no_part_counts_twice() {
        let mut transfer = transfer();
        assert_eq!(transfer.part(0, 0, b"ab".to_vec()), None, "nothing was asked for");
        assert_eq!(transfer.ask(0, 10), Some(0));
        assert_eq!(transfer.part(1, 2, b"cd".to_vec()), None);
        assert_eq!(transfer.part(1, 4, b"xyz".to_vec()), None, "not asked for");
        assert_eq!(transfer.ask(2, 10), None, "the rest of what was asked for is on its way");
        assert_eq!(transfer.part(3, 0, b"abc".to_vec()), None, "with other borders");
        assert_eq!(transfer.part(3, 0, b"ab".to_vec()), None);
        assert_eq!(transfer.ask(3, 10), Some(4), "at once when all of it is there");
        assert_eq!(transfer.part(4, 4, b"efg".to_vec()), Some(b"abcdefg".to_vec()));
    }

    #[test]
    fn what_was_lost_is_asked_for_again_once_nothing_comes() {
        let mut transfer = transfer();
        assert_eq!(transfer.ask(0, 10), Some(0));
        assert_eq!(transfer.ask(9, 10), None);
        assert_eq!(transfer.part(9, 0, b"a".to_vec()), None);
        assert_eq!(transfer.ask(18, 10), None);
        assert_eq!(transfer.ask(19, 10), Some(1));
        assert_eq!(transfer.part(20, u64::MAX, b"a".to_vec()), None, "an offset that cannot be");
    }
}
