//! A state on its way to a node whose log ends before its peer's begins.

use crate::log::Point;
use crate::register::Boot;

/// A state that is being taken, part by part.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Who gives it.
    pub from: Boot,
    /// The frame that it is the state after.
    pub at: Point,
    length: usize,
    bytes: Vec<u8>,
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
        Transfer { from, at, length, bytes: Vec::new(), window, asked: 0, moved_ns: None }
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

    /// A part; what does not continue the bytes so far is of another request, or comes behind a lost one. The whole, once
    /// it is there.
    pub fn part(&mut self, now_ns: u64, offset: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let room = self.length - self.bytes.len();
        if offset != self.bytes.len() as u64 || bytes.len() > room {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        self.moved_ns = Some(now_ns);
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
    fn parts_come_in_order_and_no_part_counts_twice() {
        let mut transfer = transfer();
        assert_eq!(transfer.ask(0, 10), Some(0));
        assert_eq!(transfer.part(1, 0, b"ab"), None);
        assert_eq!(transfer.part(1, 0, b"ab"), None);
        assert_eq!(transfer.part(1, 2, b"cdefgh"), None, "more than there is");
        assert_eq!(transfer.ask(2, 10), None, "the rest of what was asked for is on its way");
        assert_eq!(transfer.part(3, 2, b"cd"), None);
        assert_eq!(transfer.ask(3, 10), Some(4), "at once when all of it is there");
        assert_eq!(transfer.part(4, 4, b"efg"), Some(b"abcdefg".to_vec()));
    }

    #[test]
    fn what_was_lost_is_asked_for_again_once_nothing_comes() {
        let mut transfer = transfer();
        assert_eq!(transfer.ask(0, 10), Some(0));
        assert_eq!(transfer.ask(9, 10), None);
        assert_eq!(transfer.part(9, 0, b"a"), None);
        assert_eq!(transfer.part(9, 2, b"c"), None, "behind a lost one");
        assert_eq!(transfer.ask(18, 10), None);
        assert_eq!(transfer.ask(19, 10), Some(1));
    }
}
