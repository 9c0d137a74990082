//! The entities of a table in one piece of memory: canonical bytes of keys and contents back to back.

use rkyv::{Archive, Deserialize, Serialize};
use touchline_protocol::wire::Fault;

/// Entities by key. Equal tables give equal bytes once they are [sorted](Entries::sorted).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    bytes: Vec<u8>,
    /// Where each key ends, and then its contents.
    ends: Vec<u32>,
}

impl Entries {
    /// Appends an entity, whose key and contents are written by the two.
    pub fn push(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        key(&mut self.bytes);
        self.end();
        value(&mut self.bytes);
        self.end();
    }

    fn end(&mut self) {
        self.ends.push(u32::try_from(self.bytes.len()).expect("a table is below 4 GiB"));
    }

    /// Number of entities.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and contents.
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Keys and contents. What was read from outside may be cut off anywhere.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&[u8], &[u8]), Fault>> {
        let mut start = 0;
        let mut next = move |end: u32| {
            let piece = self.bytes.get(start..end as usize).ok_or(Fault::Truncated);
            start = end as usize;
            piece
        };
        self.ends.chunks(2).map(move |ends| match *ends {
            [key, value] => Ok((next(key)?, next(value)?)),
            _ => Err(Fault::Truncated),
        })
    }

    /// The same in the order of the keys' bytes.
    pub fn sorted(self) -> Self {
        let mut all: Vec<_> = self.iter().map(|entry| entry.expect("it was pushed")).collect();
        if all.is_sorted() {
            return self;
        }
        all.sort_unstable();
        let mut sorted = Entries {
            bytes: Vec::with_capacity(self.bytes.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        for (key, value) in all {
            sorted.push(|out| out.extend_from_slice(key), |out| out.extend_from_slice(value));
        }
        sorted
    }

    /// Whether the keys rise, and with that none stands there twice.
    pub fn is_strict(&self) -> bool {
        let keys = || self.iter().filter_map(|entry| entry.ok().map(|(key, _)| key));
        keys().zip(keys().skip(1)).all(|(one, next)| one < next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: &[(&str, &str)]) -> Entries {
        let mut entries = Entries::default();
        for (key, value) in of {
            entries.push(|out| out.extend(key.bytes()), |out| out.extend(value.bytes()));
        }
        entries
    }

    #[test]
    fn entities_stand_in_the_order_of_their_keys_whatever_order_they_came_in() {
        let sorted = entries(&[("b", "2"), ("", "0"), ("ab", "")]).sorted();
        assert_eq!(sorted, entries(&[("", "0"), ("ab", ""), ("b", "2")]));
        assert!(sorted.is_strict());
        assert!(!entries(&[("a", "1"), ("a", "2")]).is_strict());
        let read: Vec<_> = sorted.iter().map(Result::unwrap).collect();
        assert_eq!(read, [(&b""[..], &b"0"[..]), (b"ab", b""), (b"b", b"2")]);
    }

    #[test]
    fn ends_that_point_anywhere_are_an_error() {
        for ends in [vec![5, 6], vec![1, 0], vec![0, 3], vec![2], vec![u32::MAX, 0]] {
            let odd = Entries { bytes: b"ab".to_vec(), ends };
            assert!(odd.iter().any(|entry| entry.is_err()), "{odd:?}");
        }
    }
}
