//! Bytes of segment and group headers.

use crate::aligned::{self, Block};
use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Everything starts at a multiple of this: what a disk writes at once.
pub const BLOCK: u64 = 4096;
/// The largest payload of a group.
pub const GROUP_PAYLOAD_MAX: usize = 1 << 20;
/// The smallest segment: its header and one of the largest groups.
pub const SEGMENT_BYTES_MIN: u64 = 2 << 20;
/// Length of a group header.
pub const GROUP_HEADER: usize = 64;

/// `TLS` and the version of everything in the segment but its frames.
const SEGMENT_MAGIC: [u8; 4] = *b"TLS\x01";
/// Bytes of a segment's header that its checksum covers, in every version.
const SEGMENT_CHECKED: std::ops::Range<usize> = 8..64;
const GROUP_MAGIC: [u8; 4] = *b"TLG\x01";

/// First block of a segment.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct SegmentHeader {
    magic: [u8; 4],
    crc: U32,
    /// The cluster whose log this is.
    pub cluster: U64,
    /// Rises by one from segment to segment, from 1.
    pub generation: U64,
    /// Length of the segment.
    pub bytes: U64,
    /// Number of its first group.
    pub first_group: U64,
    /// Sequence of its first frame.
    pub first_seq: U64,
    /// Chain hash before its first frame.
    pub previous: U128,
}

/// Start of a group.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct GroupHeader {
    magic: [u8; 4],
    crc: U32,
    /// Bytes of frames behind this header.
    pub payload: U32,
    /// Number of frames.
    pub frames: U32,
    /// The cluster whose log this is.
    pub cluster: U64,
    /// Generation of the segment it stands in.
    pub generation: U64,
    /// Rises by one from group to group over the journal's whole life, from 1.
    pub number: U64,
    /// Last committed sequence when it was written.
    pub committed: U64,
    /// Sequence of its first frame.
    pub first_seq: U64,
    reserved: U64,
}

const _: () = assert!(size_of::<GroupHeader>() == GROUP_HEADER);
const _: () = assert!(size_of::<SegmentHeader>() == SEGMENT_CHECKED.end);
const _: () = assert!(SEGMENT_BYTES_MIN >= 2 * BLOCK + GROUP_PAYLOAD_MAX as u64 + GROUP_HEADER as u64);

/// What a segment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentStart {
    /// The cluster.
    pub cluster: u64,
    /// The generation.
    pub generation: u64,
    /// Length of the segment.
    pub bytes: u64,
    /// Number of its first group.
    pub first_group: u64,
    /// Sequence of its first frame.
    pub first_seq: u64,
    /// Chain hash before it.
    pub previous: u128,
}

impl SegmentHeader {
    /// The first block of a segment.
    pub fn block(start: &SegmentStart) -> Vec<Block> {
        let mut header = SegmentHeader {
            magic: SEGMENT_MAGIC,
            crc: U32::ZERO,
            cluster: start.cluster.into(),
            generation: start.generation.into(),
            bytes: start.bytes.into(),
            first_group: start.first_group.into(),
            first_seq: start.first_seq.into(),
            previous: start.previous.into(),
        };
        header.crc = crc32c::crc32c(&header.as_bytes()[8..]).into();
        let mut block = aligned::zeros(BLOCK);
        block.as_mut_bytes()[..size_of::<SegmentHeader>()].copy_from_slice(header.as_bytes());
        block
    }

    /// The version of segments that this program writes and reads.
    pub const VERSION: u8 = SEGMENT_MAGIC[3];

    /// The version of a segment that this program cannot read, from its first block. What the checksum covers is the same in
    /// every version, so that no torn or rotted header is taken for one.
    pub fn other_version(block: &[u8]) -> Option<u8> {
        let header = block.get(..SEGMENT_CHECKED.end)?;
        let sum = crc32c::crc32c(&header[SEGMENT_CHECKED]).to_le_bytes();
        let other = header[..3] == SEGMENT_MAGIC[..3] && header[3] != Self::VERSION && header[4..8] == sum;
        other.then_some(header[3])
    }

    /// Reads a segment's first block; `None` where it is no whole header.
    pub fn parse(block: &[u8]) -> Option<SegmentStart> {
        let (header, _) = SegmentHeader::read_from_prefix(block).ok()?;
        let sound =
            header.magic == SEGMENT_MAGIC && crc32c::crc32c(&header.as_bytes()[8..]) == header.crc.get();
        sound.then(|| SegmentStart {
            cluster: header.cluster.get(),
            generation: header.generation.get(),
            bytes: header.bytes.get(),
            first_group: header.first_group.get(),
            first_seq: header.first_seq.get(),
            previous: header.previous.get(),
        })
    }
}

/// What a group header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupStart {
    /// The cluster.
    pub cluster: u64,
    /// Generation of its segment.
    pub generation: u64,
    /// Its number.
    pub number: u64,
    /// Last committed sequence when it was written.
    pub committed: u64,
    /// Sequence of its first frame.
    pub first_seq: u64,
    /// Number of its frames.
    pub frames: u32,
}

impl GroupHeader {
    /// A whole group: header, payload, zeros to the next block.
    pub fn group(start: &GroupStart, payload: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.resize(GROUP_HEADER, 0);
        out.extend_from_slice(payload);
        out.resize(group_bytes(payload.len()) as usize, 0);
        Self::seal(start, payload.len(), out);
    }

    /// Writes the header in front of a payload that stands in its place already.
    pub(crate) fn seal(start: &GroupStart, payload: usize, group: &mut [u8]) {
        let header = GroupHeader {
            magic: GROUP_MAGIC,
            crc: U32::ZERO,
            payload: (payload as u32).into(),
            frames: start.frames.into(),
            cluster: start.cluster.into(),
            generation: start.generation.into(),
            number: start.number.into(),
            committed: start.committed.into(),
            first_seq: start.first_seq.into(),
            reserved: U64::ZERO,
        };
        group[..GROUP_HEADER].copy_from_slice(header.as_bytes());
        let crc = crc32c::crc32c(&group[8..GROUP_HEADER + payload]);
        group[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Length of the whole group whose header these bytes start with, judged before its checksum; `None` where
    /// they are no group's.
    pub fn length(bytes: &[u8]) -> Option<u64> {
        let (header, _) = GroupHeader::read_from_prefix(bytes).ok()?;
        let payload = header.payload.get() as usize;
        (header.magic == GROUP_MAGIC && payload <= GROUP_PAYLOAD_MAX).then(|| group_bytes(payload))
    }

    /// Reads a whole group; `None` where its checksum does not match.
    pub fn parse(bytes: &[u8]) -> Option<(GroupStart, &[u8])> {
        let (header, rest) = GroupHeader::read_from_prefix(bytes).ok()?;
        let payload = rest.get(..header.payload.get() as usize)?;
        let checked = &bytes[8..GROUP_HEADER + payload.len()];
        if header.magic != GROUP_MAGIC || crc32c::crc32c(checked) != header.crc.get() {
            return None;
        }
        let start = GroupStart {
            cluster: header.cluster.get(),
            generation: header.generation.get(),
            number: header.number.get(),
            committed: header.committed.get(),
            first_seq: header.first_seq.get(),
            frames: header.frames.get(),
        };
        Some((start, payload))
    }
}

/// Bytes that a group with such a payload takes on disk.
pub fn group_bytes(payload: usize) -> u64 {
    ((GROUP_HEADER + payload) as u64).next_multiple_of(BLOCK)
}
