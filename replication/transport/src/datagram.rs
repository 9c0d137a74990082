//! The bytes of a datagram: a header in the clear, then sealed items, then the seal's tag.
//!
//! | offset | field |
//! |---|---|
//! | 0 | `TLD` and a version |
//! | 4 | place of the sender, place of the receiver |
//! | 6 | generation of the cluster's key, u16 |
//! | 8 | cluster, u64 |
//! | 16 | the sender's boot, u128 |
//! | 32 | counter, u64: the number of this datagram among all that this boot has sealed |
//! | 40 | items, sealed; the header is what the seal vouches for besides |
//!
//! An item is a kind (u8), a length (u16) and that many bytes; a datagram holds as many as fit.

use crate::drops::Reason;
use crate::wire::{party, place};
use touchline_lockstep::Cluster;
use touchline_lockstep::message::Party;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 40;
/// Bytes that the seal adds.
pub const TAG_BYTES: usize = 16;
/// Bytes before an item's content.
pub const ITEM_BYTES: usize = 3;
/// Bytes before the part of a message in a fragment: its number (u64), offset and total length (u32 each).
pub const FRAGMENT_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"TLD\x01";
/// The receiver's place where all are meant.
const EVERYONE: u8 = 254;

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// One party.
    One(Party),
    /// Whoever hears it.
    Everyone,
}

/// What stands in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub from: Party,
    /// The receiver.
    pub to: To,
    /// Which of the cluster's keys seals it.
    pub generation: u16,
    /// The cluster.
    pub cluster: Cluster,
    /// The sender's boot, as the transport numbers them.
    pub boot: u128,
    /// Its number.
    pub counter: u64,
}

impl Header {
    /// Its bytes.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = place(self.from);
        bytes[5] = match self.to {
            To::One(party) => place(party),
            To::Everyone => EVERYONE,
        };
        bytes[6..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.cluster.0.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.boot.to_le_bytes());
        bytes[32..].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }

    /// Reads a header, and gives what stands behind it: at least a tag.
    pub fn parse(datagram: &[u8]) -> Result<(Header, &[u8]), Reason> {
        let (bytes, sealed) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(Reason::Short)?;
        if sealed.len() < TAG_BYTES {
            return Err(Reason::Short);
        }
        if bytes[..4] != MAGIC {
            return Err(Reason::Version);
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let header = Header {
            from: party(bytes[4]).ok_or(Reason::Unknown)?,
            to: match bytes[5] {
                EVERYONE => To::Everyone,
                one => To::One(party(one).ok_or(Reason::Unknown)?),
            },
            generation: u16::from_le_bytes([bytes[6], bytes[7]]),
            cluster: Cluster(word(8)),
            boot: u128::from(word(16)) | u128::from(word(24)) << 64,
            counter: word(32),
        };
        Ok((header, sealed))
    }
}

/// What an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A message.
    Whole = 1,
    /// A part of one.
    Fragment = 2,
    /// A receiver that does not know the sender's boot asks whether it lives.
    Challenge = 3,
    /// It does.
    Answer = 4,
}

/// Appends an item.
pub(crate) fn put_item(kind: Kind, content: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = content.iter().map(|part| part.len()).sum();
    out.push(kind as u8);
    out.extend_from_slice(&u16::try_from(length).expect("an item fits a datagram").to_le_bytes());
    content.iter().for_each(|part| out.extend_from_slice(part));
}

/// The next item; `None` at the end.
pub(crate) fn take_item<'a>(rest: &mut &'a [u8]) -> Result<Option<(Kind, &'a [u8])>, Reason> {
    if rest.is_empty() {
        return Ok(None);
    }
    let ([kind, low, high], behind) = rest.split_first_chunk::<ITEM_BYTES>().ok_or(Reason::Malformed)?;
    let kind = match kind {
        1 => Kind::Whole,
        2 => Kind::Fragment,
        3 => Kind::Challenge,
        4 => Kind::Answer,
        _ => return Err(Reason::Malformed),
    };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let (content, behind) = behind.split_at_checked(length).ok_or(Reason::Malformed)?;
    *rest = behind;
    Ok(Some((kind, content)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_lockstep::NodeId;

    #[test]
    fn a_header_is_what_it_was_and_every_byte_of_it_means_something() {
        let header = Header {
            from: Party::Node(NodeId(1)),
            to: To::Everyone,
            generation: 0x0102,
            cluster: Cluster(3),
            boot: 1 << 100 | 4,
            counter: 5,
        };
        let mut datagram = header.bytes().to_vec();
        assert_eq!(Header::parse(&datagram), Err(Reason::Short));
        datagram.extend_from_slice(&[0; TAG_BYTES]);
        assert_eq!(Header::parse(&datagram).unwrap().0, header);
        for byte in 0..HEADER_BYTES {
            datagram[byte] ^= 0x10;
            assert!(Header::parse(&datagram).map(|(other, _)| other) != Ok(header), "byte {byte}");
            datagram[byte] ^= 0x10;
        }
    }

    #[test]
    fn items_follow_each_other_and_a_cut_one_is_refused() {
        let mut bytes = Vec::new();
        put_item(Kind::Whole, &[b"ab", b"c"], &mut bytes);
        put_item(Kind::Answer, &[], &mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(take_item(&mut rest), Ok(Some((Kind::Whole, &b"abc"[..]))));
        assert_eq!(take_item(&mut rest), Ok(Some((Kind::Answer, &b""[..]))));
        assert_eq!(take_item(&mut rest), Ok(None));
        assert_eq!(take_item(&mut &bytes[..5]), Err(Reason::Malformed));
        assert_eq!(take_item(&mut &[9, 0, 0][..]), Err(Reason::Malformed));
    }
}
