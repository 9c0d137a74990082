//! Messages of one sender that come in parts.
//!
//! Every datagram is taken once and a part is sent once, so it is enough to count bytes. Parts of two messages never mix:
//! each message has a number of its own.

use std::collections::BTreeMap;

/// Messages under way at a time; the oldest gives way, for what it lacks is most likely lost.
pub(crate) const PARTIAL_MAX: usize = 16;

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Others are missing.
    Kept,
    /// Others are missing, and an older message was given up for this one.
    Displaced,
    /// The last: the whole message.
    Whole(Vec<u8>),
    /// It does not fit what it claims to be a part of.
    Wrong,
}

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    lacks: usize,
}

/// Messages under way.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    partial: BTreeMap<u64, Partial>,
    /// Numbers below were given up.
    floor: u64,
}

impl Assembly {
    /// Takes a part of message `number`, which has `total` bytes, at most `total_max`.
    pub(crate) fn take(
        &mut self,
        number: u64,
        offset: usize,
        total: usize,
        total_max: usize,
        part: &[u8],
    ) -> Part {
        let end = offset.saturating_add(part.len());
        if part.is_empty() || part.len() >= total || end > total || total > total_max {
            return Part::Wrong;
        }
        if number < self.floor {
            return Part::Kept;
        }
        let partial =
            self.partial.entry(number).or_insert_with(|| Partial { bytes: vec![0; total], lacks: total });
        if partial.bytes.len() != total || partial.lacks < part.len() {
            self.partial.remove(&number);
            return Part::Wrong;
        }
        partial.bytes[offset..end].copy_from_slice(part);
        partial.lacks -= part.len();
        if partial.lacks == 0 {
            return self.partial.remove(&number).map_or(Part::Wrong, |whole| Part::Whole(whole.bytes));
        }
        if self.partial.len() > PARTIAL_MAX {
            self.partial.pop_first();
            self.floor = self.partial.first_key_value().map_or(0, |(first, _)| *first);
            return Part::Displaced;
        }
        Part::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_that_lacks_a_part_makes_room_for_newer_ones() {
        let mut assembly = Assembly::default();
        for number in 0..PARTIAL_MAX as u64 {
            assert_eq!(assembly.take(number, 0, 4, 9, b"ab"), Part::Kept);
        }
        assert_eq!(assembly.take(PARTIAL_MAX as u64, 0, 4, 9, b"ab"), Part::Displaced);
        assert_eq!(assembly.take(0, 2, 4, 9, b"cd"), Part::Kept, "given up");
        assert_eq!(assembly.take(1, 2, 4, 9, b"cd"), Part::Whole(b"abcd".to_vec()));
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(1, 0, 10, 9, b"ab"), Part::Wrong, "larger than allowed");
        assert_eq!(assembly.take(1, 8, 9, 9, b"ab"), Part::Wrong, "beyond its end");
        assert_eq!(assembly.take(1, usize::MAX, 9, 9, b"ab"), Part::Wrong);
        assert_eq!(assembly.take(1, 0, 9, 9, b""), Part::Wrong);
        assert_eq!(assembly.take(1, 0, 8, 9, b"ab"), Part::Kept);
        assert_eq!(assembly.take(1, 0, 9, 9, b"ab"), Part::Wrong, "of another length");
    }

    proptest! {
        /// Parts of several messages in any order give those messages.
        #[test]
        fn parts_in_any_order_give_the_messages(
            lengths in proptest::collection::vec(20usize..300, 1..PARTIAL_MAX),
            size in 1usize..20,
            order in any::<u64>(),
        ) {
            let message = |number: usize| vec![number as u8 + 1; lengths[number]];
            let mut parts = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                parts.extend((0..*length).step_by(size).map(|offset| (number, offset)));
            }
            parts.sort_by_key(|(number, offset)| {
                (*number as u64 * 1009 + *offset as u64 + 1).wrapping_mul(order | 1)
            });
            let mut assembly = Assembly::default();
            let mut whole = Vec::new();
            for (number, offset) in parts {
                let bytes = message(number);
                let end = (offset + size).min(bytes.len());
                match assembly.take(number as u64, offset, bytes.len(), 300, &bytes[offset..end]) {
                    Part::Whole(bytes) => {
                        prop_assert_eq!(&bytes, &message(number));
                        whole.push(number);
                    }
                    other => prop_assert_eq!(other, Part::Kept),
                }
            }
            whole.sort_unstable();
            prop_assert_eq!(whole, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
