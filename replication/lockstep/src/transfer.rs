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
    asked_ns: Option<u64>,
}

impl Transfer {
    /// Nothing taken yet.
    pub fn new(from: Boot, at: Point, length: usize) -> Self {
        Transfer { from, at, length, bytes: Vec::new(), asked_ns: None }
    }

    /// From where to ask on now, if it is time to: at once after a part, else after `retry_ns`.
    pub fn ask(&mut self, now_ns: u64, retry_ns: u64) -> Option<u64> {
        let due = self.asked_ns.is_none_or(|at| now_ns.saturating_sub(at) >= retry_ns);
        due.then(|| {
            self.asked_ns = Some(now_ns);
            self.bytes.len() as u64
        })
    }

    /// A part; what does not continue the bytes so far is of another request. The whole, once it is there.
    pub fn part(&mut self, offset: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let room = self.length - self.bytes.len();
        if offset != self.bytes.len() as u64 || bytes.len() > room {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        self.asked_ns = None;
        (self.bytes.len() == self.length).then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_order_and_no_part_counts_twice() {
        let mut transfer = Transfer::new(Boot(1), Point::default(), 5);
        assert_eq!(transfer.ask(0, 10), Some(0));
        assert_eq!(transfer.ask(9, 10), None);
        assert_eq!(transfer.ask(10, 10), Some(0));
        assert_eq!(transfer.part(0, b"ab"), None);
        assert_eq!(transfer.ask(11, 10), Some(2), "at once after a part");
        assert_eq!(transfer.part(0, b"ab"), None);
        assert_eq!(transfer.part(2, b"cdef"), None, "more than there is");
        assert_eq!(transfer.part(2, b"cde"), Some(b"abcde".to_vec()));
    }
}
