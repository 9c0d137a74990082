//! The frame: one header for wire, journal, replay and simulator, and the hash chain that links frames.
//!
//! On the wire from a client `seq`, `at`, `wall` and `previous` are zero; the sequencer stamps them.

use crate::body::Body;
use crate::ids::{At, Epoch, PartitionId, Seq};
use crate::wire::{DecodeError, Field};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;
use zerocopy::little_endian::{I64, U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `TLF` and the version of the header.
pub const MAGIC: [u8; 4] = *b"TLF\x01";
/// Version of the body schemas that this program writes.
pub const SCHEMA_VERSION: u16 = 1;
/// The oldest version of the body schemas that this program reads.
pub const SCHEMA_OLDEST: u16 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 96;
/// The largest frame, header included.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The header as it lies in memory, on the wire and on disk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    crc: U32,
    length: U32,
    kind: U16,
    block: U16,
    schema: U16,
    partition: U16,
    reserved: U32,
    cluster: U64,
    epoch: U64,
    seq: U64,
    at: I64,
    wall: I64,
    previous: U128,
    origin: U64,
    request: U64,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Where the checksum stands.
const CRC_AT: usize = 4;
/// Bytes that the checksum leaves out: magic and the checksum itself.
const CRC_FROM: usize = 8;

/// XXH3-128 over all bytes of a frame; the next frame carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChainHash(pub u128);

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Everything in the header that is not derived from the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The cluster whose log this is.
    pub cluster: u64,
    /// The epoch.
    pub epoch: Epoch,
    /// Position in the global sequence; 0 where it has none.
    pub seq: Seq,
    /// Logical time.
    pub at: At,
    /// Wall time of the sequencer, for the audit only.
    pub wall: At,
    /// Who applies it.
    pub partition: PartitionId,
    /// Chain hash of the previous frame.
    pub previous: ChainHash,
    /// The connection it came from, as its node numbers them; 0 is the node itself.
    pub origin: u64,
    /// The sender's own number for it, returned in answers.
    pub request: u64,
}

impl Envelope {
    /// The envelope of a message on a connection.
    pub fn session(cluster: u64, epoch: Epoch, request: u64) -> Self {
        Envelope {
            cluster,
            epoch,
            seq: Seq(0),
            at: At(0),
            wall: At(0),
            partition: PartitionId::NONE,
            previous: ChainHash(0),
            origin: 0,
            request,
        }
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// More bytes are needed: at least this many in all.
    Incomplete(usize),
    /// The first bytes are not those of a frame.
    Magic([u8; 4]),
    /// The header is of another version.
    Version(u8),
    /// The length is below the header's or above [`MAX_FRAME_BYTES`].
    Length(u32),
    /// The checksum does not match.
    Checksum,
    /// The partition tag is none.
    Partition(u16),
    /// A reserved field is not zero: from a later version.
    Reserved,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Incomplete(bytes) => write!(f, "incomplete frame, at least {bytes} bytes are needed"),
            FrameError::Magic(found) => {
                write!(f, "not a frame: it starts with {found:02x?} instead of {MAGIC:02x?}")
            }
            FrameError::Version(found) => {
                write!(f, "the frame's header has version {found}, this program reads version {}", MAGIC[3])
            }
            FrameError::Length(length) => {
                write!(f, "frame length {length} is outside {HEADER_BYTES}..={MAX_FRAME_BYTES} bytes")
            }
            FrameError::Checksum => write!(f, "the frame's checksum does not match its bytes"),
            FrameError::Partition(tag) => write!(f, "partition tag {tag} is none"),
            FrameError::Reserved => {
                write!(f, "a reserved header field is set: the frame is from a later version")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// A checked frame in place.
#[derive(Clone, Copy)]
pub struct FrameRef<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    partition: PartitionId,
}

impl<'a> FrameRef<'a> {
    /// Reads the frame at the front of `bytes`; [`FrameRef::bytes`] tells how long it is.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let frame = first_frame(bytes)?;
        if crc32c::crc32c(&frame[CRC_FROM..]).to_le_bytes() != frame[CRC_AT..CRC_FROM] {
            return Err(FrameError::Checksum);
        }
        FrameRef::of(frame)
    }

    /// Reads a frame that this process wrote, or parsed before: its checksum is not computed again.
    pub fn known(bytes: &'a [u8]) -> Result<Self, FrameError> {
        first_frame(bytes).and_then(FrameRef::of)
    }

    fn of(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| FrameError::Incomplete(HEADER_BYTES))?;
        if header.reserved.get() != 0 {
            return Err(FrameError::Reserved);
        }
        let tag = header.partition.get();
        let partition = PartitionId::get(&tag.to_le_bytes()).map_err(|_| FrameError::Partition(tag))?;
        Ok(FrameRef { bytes, header, partition })
    }

    /// All bytes of the frame.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of the message's kind.
    pub fn kind(&self) -> u16 {
        self.header.kind.get()
    }

    /// Length of the body's block, bytes, as its writer says.
    pub fn block_bytes(&self) -> usize {
        self.header.block.get().into()
    }

    /// The bytes behind the header.
    pub fn body_bytes(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Decodes the body.
    pub fn body(&self) -> Result<Body, DecodeError> {
        let schema = self.header.schema.get();
        if !(SCHEMA_OLDEST..=SCHEMA_VERSION).contains(&schema) {
            return Err(DecodeError::Version(schema));
        }
        Body::decode(self.kind(), self.header.block.get().into(), self.body_bytes())
    }

    /// The header's own part.
    pub fn envelope(&self) -> Envelope {
        let h = self.header;
        Envelope {
            cluster: h.cluster.get(),
            epoch: Epoch(h.epoch.get()),
            seq: Seq(h.seq.get()),
            at: At(h.at.get()),
            wall: At(h.wall.get()),
            partition: self.partition,
            previous: ChainHash(h.previous.get()),
            origin: h.origin.get(),
            request: h.request.get(),
        }
    }

    /// Position in the sequence.
    pub fn seq(&self) -> Seq {
        Seq(self.header.seq.get())
    }

    /// Who applies it.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The hash that the next frame carries.
    pub fn chain(&self) -> ChainHash {
        ChainHash(xxh3_128(self.bytes))
    }
}

/// The bytes of the frame at the front of `bytes`, all there.
fn first_frame(bytes: &[u8]) -> Result<&[u8], FrameError> {
    let length = frame_length(bytes)?;
    bytes.get(..length).ok_or(FrameError::Incomplete(length))
}

/// The length of the frame at the front of `bytes`, judged as early as its first bytes allow.
pub fn frame_length(bytes: &[u8]) -> Result<usize, FrameError> {
    let known = bytes.len().min(4);
    if bytes[..known] != MAGIC[..known] {
        if known == 4 && bytes[..3] == MAGIC[..3] {
            return Err(FrameError::Version(bytes[3]));
        }
        let mut found = [0; 4];
        found[..known].copy_from_slice(&bytes[..known]);
        return Err(FrameError::Magic(found));
    }
    let Some(length) = bytes.get(8..12) else { return Err(FrameError::Incomplete(HEADER_BYTES)) };
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    match length as usize {
        fits @ HEADER_BYTES..=MAX_FRAME_BYTES => Ok(fits),
        _ => Err(FrameError::Length(length)),
    }
}

/// Appends a frame. Panics where the body exceeds [`MAX_FRAME_BYTES`], which the limits of its lists exclude
/// for everything that a client can send.
pub fn encode(envelope: &Envelope, body: &Body, out: &mut Vec<u8>) {
    let kind = body.kind();
    let start = begin(envelope, kind as u16, kind.block_bytes() as u16, SCHEMA_VERSION, out);
    body.put(out);
    finish(start, out);
}

/// Appends a frame with the body of another: how the sequencer stamps what a client sent.
pub fn restamp(envelope: &Envelope, frame: &FrameRef<'_>, out: &mut Vec<u8>) {
    let h = frame.header;
    let start = begin(envelope, h.kind.get(), h.block.get(), h.schema.get(), out);
    out.extend_from_slice(frame.body_bytes());
    finish(start, out);
}

fn begin(envelope: &Envelope, kind: u16, block: u16, schema: u16, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let header = Header {
        magic: MAGIC,
        crc: U32::ZERO,
        length: U32::ZERO,
        kind: kind.into(),
        block: block.into(),
        schema: schema.into(),
        partition: envelope.partition.0.into(),
        reserved: U32::ZERO,
        cluster: envelope.cluster.into(),
        epoch: envelope.epoch.0.into(),
        seq: envelope.seq.0.into(),
        at: envelope.at.0.into(),
        wall: envelope.wall.0.into(),
        previous: envelope.previous.0.into(),
        origin: envelope.origin.into(),
        request: envelope.request.into(),
    };
    out.extend_from_slice(header.as_bytes());
    start
}

fn finish(start: usize, out: &mut [u8]) {
    let frame = &mut out[start..];
    assert!(frame.len() <= MAX_FRAME_BYTES, "a frame of {} bytes exceeds the limit", frame.len());
    let length = frame.len() as u32;
    frame[8..12].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&frame[CRC_FROM..]);
    frame[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
}
