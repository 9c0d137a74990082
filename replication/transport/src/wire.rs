//! The bytes of a lockstep [`Message`]: fields little-endian in a fixed order, frames as they are.
//!
//! A message has exactly one encoding and any other bytes are refused, so what was decoded encodes to the bytes it came
//! from. Encoding and decoding of what is said are written once, in the table at the end: they cannot drift apart. A
//! change of any layout is a new [`VERSION`].

use thiserror::Error;
use touchline_lockstep::log::frames;
use touchline_lockstep::message::Party;
use touchline_lockstep::register::Forced;
use touchline_lockstep::{Boot, Change, Cluster, Message, NodeId, Point, Register, Say};
use touchline_protocol::{ChainHash, Epoch, Seq};

/// The first byte of every message.
pub const VERSION: u8 = 1;
/// The place of the witness among the parties; nodes and site are numbered from 0.
const WITNESS: u8 = 255;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They end before it does.
    #[error("the message is cut short")]
    Short,
    /// They go on after it.
    #[error("bytes follow the message")]
    Long,
    /// It is of another version.
    #[error("the message is of version {0}, this program speaks {VERSION}")]
    Version(u8),
    /// A field has a value that it cannot have.
    #[error("a field of the message has an unknown value")]
    Value,
}

/// Appends a message's bytes.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    VERSION.put(out);
    message.put(out);
}

/// Reads a message.
///
/// # Errors
///
/// Bytes that are not exactly one message of this version.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut rest = bytes;
    let version = u8::take(&mut rest)?;
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let message = Message::take(&mut rest)?;
    if rest.is_empty() { Ok(message) } else { Err(Malformed::Long) }
}

/// Encodes a message, where it is one of frames in pieces of at most `bytes_max` bytes, each a message of its own, so that
/// a lost one takes no other with it. A frame that is larger than that stands alone in a larger piece, and any other
/// message is one piece whatever its size. `piece` gives the empty vectors to write to.
pub fn encode_split(
    message: &Message,
    bytes_max: usize,
    mut piece: impl FnMut() -> Vec<u8>,
    mut done: impl FnMut(Vec<u8>),
) {
    let mut whole = piece();
    encode(message, &mut whole);
    let Say::Frames { first, bytes, .. } = &message.say else { return done(whole) };
    if whole.len() <= bytes_max {
        return done(whole);
    }
    // The first sequence and the bytes are what a message of frames ends with.
    let around = whole.len() - bytes.len();
    let before = &whole[..around - FRAMES_TAIL];
    let mut cut = |seq: Seq, range: &[u8]| {
        let mut out = piece();
        out.extend_from_slice(before);
        seq.put(&mut out);
        put_bytes(range, &mut out);
        done(out);
    };
    let (mut seq, mut next, mut start, mut end) = (*first, *first, 0, 0);
    for frame in frames(bytes) {
        let length = frame.bytes().len();
        if end > start && around + end - start + length > bytes_max {
            cut(seq, &bytes[start..end]);
            (seq, start) = (next, end);
        }
        end += length;
        next.0 = next.0.wrapping_add(1);
    }
    // What is behind the last whole frame is carried too: it is not for the transport to judge.
    cut(seq, &bytes[start..]);
}

/// Bytes of a sequence and a length.
const FRAMES_TAIL: usize = 12;

/// The place of a party in one byte.
pub(crate) fn place(party: Party) -> u8 {
    match party {
        Party::Node(NodeId(place)) => place,
        Party::Witness => WITNESS,
    }
}

/// The party at a place, where there can be one.
pub(crate) fn party(place: u8) -> Option<Party> {
    match place {
        WITNESS => Some(Party::Witness),
        node if node <= NodeId::SITE.0 => Some(Party::Node(NodeId(node))),
        _ => None,
    }
}

/// A value with one encoding.
trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
                let (value, behind) = rest.split_first_chunk().ok_or(Malformed::Short)?;
                *rest = behind;
                Ok(<$number>::from_le_bytes(*value))
            }
        }
    )*};
}

macro_rules! wrapped {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
                Wire::take(rest).map($name)
            }
        }
    )*};
}

macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let $name { $($field),* } = self;
                $($field.put(out);)*
            }
            fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
                $(let $field = Wire::take(rest)?;)*
                Ok($name { $($field),* })
            }
        }
    )*};
}

/// A tag of one byte, then the fields in this order.
macro_rules! tagged {
    ($name:ident { $($tag:literal $variant:ident $({ $($field:ident),* })? $(( $inner:ident ))?,)* }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant $({ $($field),* })? $(( $inner ))? => {
                        out.push($tag);
                        $($($field.put(out);)*)?
                        $($inner.put(out);)?
                    })*
                }
            }
            fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
                match u8::take(rest)? {
                    $($tag => {
                        $($(let $field = Wire::take(rest)?;)*)?
                        $(let $inner = Wire::take(rest)?;)?
                        Ok($name::$variant $({ $($field),* })? $(( $inner ))?)
                    })*
                    _ => Err(Malformed::Value),
                }
            }
        }
    };
}

numbers!(u8, u32, u64, u128, i64);
wrapped!(Boot, ChainHash, Cluster, Epoch, Seq);
structs! {
    Message { from, cluster, boot, utc_ns, register, say }
    Point { epoch, seq, chain }
    Forced { times, from, to }
    Register { epoch, primary, in_sync, site, start, durable, forced }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::take(rest)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        bool::take(rest)?.then(|| T::take(rest)).transpose()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        Ok((A::take(rest)?, B::take(rest)?))
    }
}

impl<T: Wire> Wire for [T; 2] {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(out));
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        Ok([T::take(rest)?, T::take(rest)?])
    }
}

/// A length in 32 bits, then the points. Nothing is reserved for points that are not there.
impl Wire for Vec<Point> {
    fn put(&self, out: &mut Vec<u8>) {
        length(self.len()).put(out);
        self.iter().for_each(|value| value.put(out));
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        let count = u32::take(rest)?;
        (0..count).map(|_| Point::take(rest)).collect()
    }
}

impl Wire for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self, out);
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        let count = u32::take(rest)? as usize;
        let (bytes, behind) = rest.split_at_checked(count).ok_or(Malformed::Short)?;
        *rest = behind;
        Ok(bytes.to_vec())
    }
}

impl Wire for NodeId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        let node = NodeId(u8::take(rest)?);
        if node <= NodeId::SITE { Ok(node) } else { Err(Malformed::Value) }
    }
}

impl Wire for Party {
    fn put(&self, out: &mut Vec<u8>) {
        place(*self).put(out);
    }
    fn take(rest: &mut &[u8]) -> Result<Self, Malformed> {
        party(u8::take(rest)?).ok_or(Malformed::Value)
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    length(bytes.len()).put(out);
    out.extend_from_slice(bytes);
}

fn length(count: usize) -> u32 {
    u32::try_from(count).expect("a message is far below 4 GiB")
}

tagged! {
    Change {
        1 Promote,
        2 Solo,
        3 Dual(boot),
        4 Handoff,
        5 Recover,
        6 Cold(boot),
        7 Relocate { from, to },
        8 Force { from, to },
    }
}

tagged! {
    Say {
        1 Greeting { log, whole },
        2 Join { to, epoch, asked, common, sent_ns },
        3 Take { to, epoch, at, length },
        4 Want { to, at, offset },
        5 Part { to, at, offset, bytes },
        6 Tail { end },
        // `encode_split` builds on the order of the last two.
        7 Frames { epoch, to, committed, first, bytes },
        8 Heartbeat { epoch, sent_ns, end, committed, follower, agreed },
        9 Ack { epoch, received, durable, echo_ns, fingerprint },
        10 Missing { epoch, from },
        11 Fetch { to, log },
        12 Fetched { to, asked, common, bytes, end },
        13 Report { sent_ns, incarnation, leads, durable, end },
        14 Status { to, echo_ns },
        15 Petition { incarnation, nonce, expected, at, change },
        16 Verdict { to, nonce, made },
    }
}
