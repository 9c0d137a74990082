//! The writer: one group collected and one in flight at a time, the next segment allocated ahead.

use crate::aligned;
use crate::base::{self, Base};
use crate::group::GroupBuffer;
use crate::layout::{BLOCK, GROUP_PAYLOAD_MAX, GroupStart, SegmentHeader, SegmentStart, group_bytes};
use crate::storage::Storage;
use touchline_protocol::{ChainHash, FrameRef, Seq};

/// Groups from one failure to allocate ahead to the next attempt. An attempt writes zeros until the disk is full again,
/// as long as many groups take, and the group before it is not acknowledged meanwhile: with one in 256 that is
/// paid seldom, while a disk with room again is still found within seconds of feed traffic.
pub const RETRY_GROUPS: u64 = 256;

/// Where the journal ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The cluster.
    pub cluster: u64,
    /// Generation of the segment being written; 0 where there is none.
    pub generation: u64,
    /// Offset of the next group in it.
    pub offset: u64,
    /// Number of the last group.
    pub group: u64,
    /// Sequence of the last frame.
    pub seq: Seq,
    /// Chain hash of the last frame.
    pub chain: ChainHash,
}

/// Why frames were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E: std::error::Error + 'static> {
    /// The disk refused. What is durable is known only by recovery: the process must end.
    #[error("writing the journal failed: {0}; stop this node, repair the disk and start it again")]
    Storage(#[source] E),
    /// An earlier write failed.
    #[error("an earlier write of the journal failed; nothing is written after that")]
    Poisoned,
    /// The frames do not follow the last one.
    #[error("frame {found} does not follow {last} in the journal")]
    Order {
        /// Last sequence written.
        last: Seq,
        /// Sequence offered.
        found: Seq,
    },
}

/// Appends groups to a journal.
pub struct Writer<S: Storage> {
    storage: S,
    segment_bytes: u64,
    at: Position,
    spare: Spare,
    /// Number of the last group when allocating ahead last failed; `None` where it has not.
    spare_failed: Option<u64>,
    poisoned: bool,
    group: GroupBuffer,
    /// Where the log ends with the frames in `group`.
    end: End,
}

/// The segment behind the one being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    Absent,
    /// The storage is making it.
    Underway,
    Ready,
}

/// An end of the log, and how many frames of the open group lead to it.
#[derive(Clone, Copy)]
struct End {
    frames: u32,
    seq: Seq,
    chain: ChainHash,
}

impl<S: Storage> Writer<S> {
    /// A writer at a journal's end; `spare` tells whether an empty segment of the next generation exists.
    pub fn new(storage: S, segment_bytes: u64, at: Position, spare: bool) -> Self {
        let spare = if spare { Spare::Ready } else { Spare::Absent };
        let group = GroupBuffer::default();
        let end = End { frames: 0, seq: at.seq, chain: at.chain };
        Writer { storage, segment_bytes, at, spare, spare_failed: None, poisoned: false, group, end }
    }

    /// Appends whole frames as one group of at most [`GROUP_PAYLOAD_MAX`] bytes; when it returns they are durable.
    /// `committed` is the last committed sequence.
    pub fn append(&mut self, payload: &[u8], committed: Seq) -> Result<Seq, WriteError<S::Error>> {
        self.append_slices(&[payload], committed)
    }

    /// As [`append`](Self::append), of frames that lie in several places, each whole in one of them. Where one does
    /// not follow the one before it, none is written.
    pub fn append_slices(&mut self, frames: &[&[u8]], committed: Seq) -> Result<Seq, WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        assert_eq!(self.group.payload(), 0, "frames taken before are committed first");
        for slice in frames {
            match self.take(slice, GROUP_PAYLOAD_MAX) {
                Ok(taken) => assert_eq!(taken, slice.len(), "whoever appends keeps groups small"),
                Err(error) => {
                    self.clear();
                    return Err(error);
                }
            }
        }
        self.commit(committed)
    }

    /// Takes whole frames from the front of some into the open group, as many as `payload_max` bytes of frames in all
    /// allow, and at least one where there were none; how many bytes. Every byte is copied once, to where the disk takes it
    /// from: whoever keeps frames in a ring frees them as soon as this returns.
    pub fn take(&mut self, frames: &[u8], payload_max: usize) -> Result<usize, WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        let room = payload_max.min(GROUP_PAYLOAD_MAX).saturating_sub(self.group.payload());
        let (mut length, mut end) = (0, self.end);
        while length < frames.len() {
            let frame = FrameRef::parse(&frames[length..]).expect("only whole frames are appended");
            if length + frame.bytes().len() > room && end.frames > 0 {
                break;
            }
            end = follow(&end, &frame)?;
            length += frame.bytes().len();
        }
        self.group.add(&frames[..length]);
        self.end = end;
        Ok(length)
    }

    /// Bytes of frames in the open group.
    pub fn waiting(&self) -> usize {
        self.group.payload()
    }

    /// Writes the open group, if any frame is in it; when this returns they are durable. The last durable sequence.
    pub fn commit(&mut self, committed: Seq) -> Result<Seq, WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        if self.end.frames > 0 {
            let result = self.write(committed);
            self.poisoned = result.is_err();
            result.map_err(WriteError::Storage)?;
            self.at.group += 1;
            self.at.seq = self.end.seq;
            self.at.chain = self.end.chain;
            self.clear();
            self.look_ahead();
        }
        Ok(self.at.seq)
    }

    fn write(&mut self, committed: Seq) -> Result<(), S::Error> {
        let bytes = group_bytes(self.group.payload());
        if self.at.generation == 0 || self.at.offset + bytes > self.segment_bytes {
            self.next_segment()?;
        }
        let start = GroupStart {
            cluster: self.at.cluster,
            generation: self.at.generation,
            number: self.at.group + 1,
            committed: committed.0,
            first_seq: self.at.seq.0 + 1,
            frames: self.end.frames,
        };
        self.storage.write(self.at.generation, self.at.offset, self.group.seal(&start))?;
        self.at.offset += bytes;
        Ok(())
    }

    /// Empties the open group, which then begins where the journal ends.
    fn clear(&mut self) {
        self.group.clear();
        self.end = End { frames: 0, seq: self.at.seq, chain: self.at.chain };
    }

    fn next_segment(&mut self) -> Result<(), S::Error> {
        let generation = self.at.generation + 1;
        if self.spare != Spare::Ready {
            self.storage.create(generation, self.segment_bytes)?;
        }
        let start = SegmentStart {
            cluster: self.at.cluster,
            generation,
            bytes: self.segment_bytes,
            first_group: self.at.group + 1,
            first_seq: self.at.seq.0 + 1,
            previous: self.at.chain.0,
        };
        self.storage.write(generation, 0, aligned::bytes(&SegmentHeader::block(&start)))?;
        // Whether it stood ready or was made just now, the disk had room for it.
        self.spare = Spare::Absent;
        self.spare_failed = None;
        self.at.generation = generation;
        self.at.offset = BLOCK;
        Ok(())
    }

    /// Cuts the log behind a frame, given its chain hash; durable when it returns, and whole or not at all: a new
    /// segment begins behind the cut, and readers take what earlier segments hold there for taken back.
    pub fn cut(&mut self, to: Seq, chain: ChainHash) -> Result<(), WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        assert!(to <= self.at.seq, "a cut does not lengthen the log");
        assert_eq!(self.group.payload(), 0, "frames taken before are committed first");
        if to == self.at.seq {
            return Ok(());
        }
        self.at.seq = to;
        self.at.chain = chain;
        self.clear();
        let result = self.next_segment();
        self.poisoned = result.is_err();
        result.map_err(WriteError::Storage)
    }

    /// Begins the log anew behind a snapshot that reaches beyond its end, or that it does not lead to: what it holds behind
    /// the snapshot's frame is taken back. Durable when it returns. Until then the log is what it was; the snapshot must
    /// be on this disk.
    pub fn restart_behind(&mut self, base: &Base) -> Result<(), WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        assert_eq!(self.group.payload(), 0, "frames taken before are committed first");
        self.at.seq = base.seq;
        self.at.chain = base.chain;
        self.clear();
        let result = self.next_segment();
        self.poisoned = result.is_err();
        result.map_err(WriteError::Storage)
    }

    /// Keeps a snapshot beside the segments; `Ok(false)` where there is no room for it.
    pub fn keep_snapshot(&mut self, seq: Seq, bytes: &[u8]) -> Result<bool, WriteError<S::Error>> {
        match self.storage.write_snapshot(seq.0, bytes) {
            Ok(()) => Ok(true),
            Err(error) if S::is_full(&error) => Ok(false),
            Err(error) => Err(WriteError::Storage(error)),
        }
    }

    /// Forgets snapshots but the last `keep`, and the segments that the oldest of these makes superfluous; how many.
    pub fn prune(&mut self, keep: usize) -> Result<usize, WriteError<S::Error>> {
        self.prune_below(keep, u64::MAX)
    }

    /// As [`prune`](Self::prune), but of segments only those of a generation below one: the first that is not in the
    /// archive yet.
    pub fn prune_below(&mut self, keep: usize, generation: u64) -> Result<usize, WriteError<S::Error>> {
        let snapshots = self.storage.snapshots().map_err(WriteError::Storage)?;
        let old = snapshots.len().saturating_sub(keep);
        for seq in &snapshots[..old] {
            self.storage.remove_snapshot(*seq).map_err(WriteError::Storage)?;
        }
        match snapshots.get(old) {
            Some(oldest) if snapshots.len() >= keep => {
                base::prune(&mut self.storage, Seq(*oldest), generation).map_err(WriteError::Storage)
            }
            _ => Ok(0),
        }
    }

    /// Whether the open segment is half used, so that the next one should exist.
    fn near_end(&self) -> bool {
        self.at.offset > self.segment_bytes / 2
    }

    /// Whether the disk may be asked for room: it has not refused, or long ago.
    fn may_try(&self) -> bool {
        self.spare_failed.is_none_or(|group| self.at.group >= group + RETRY_GROUPS)
    }

    /// Sees to it, behind a group, that the next segment will be there.
    fn look_ahead(&mut self) {
        let due = match self.spare {
            Spare::Ready => false,
            Spare::Underway => true,
            Spare::Absent => self.near_end() && self.may_try(),
        };
        if due {
            self.allocate_ahead();
        }
    }

    /// Has the next segment made, or asks how far that is. A failure is remembered, not returned: what is open can still
    /// be used, so that suspensions and settlements are logged while tickets are refused. It counts until the segment is
    /// there: a disk that is being asked again has no room yet.
    pub fn allocate_ahead(&mut self) {
        match self.storage.prepare(self.at.generation + 1, self.segment_bytes) {
            Ok(true) => (self.spare, self.spare_failed) = (Spare::Ready, None),
            Ok(false) => self.spare = Spare::Underway,
            Err(_) => (self.spare, self.spare_failed) = (Spare::Absent, Some(self.at.group)),
        }
    }

    /// Whether the next segment could not be allocated.
    pub fn spare_failed(&self) -> bool {
        self.spare_failed.is_some()
    }

    /// Looks at once for room where there was none, and after a segment that is being made: for a journal that has nothing
    /// to write, so that no group waits for it, and none comes that would bring the next attempt.
    pub fn look_for_room(&mut self) {
        if (self.spare_failed() || self.spare == Spare::Underway) && !self.poisoned {
            self.allocate_ahead();
        }
    }

    /// Where the journal ends.
    pub fn position(&self) -> &Position {
        &self.at
    }

    /// Where it is written to.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Where it is written to, to set a simulated disk's faults.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Ends writing.
    pub fn into_storage(self) -> S {
        self.storage
    }
}

/// Checks that a frame continues sequence and chain, the pair of the reader's check; the end behind it.
fn follow<E: std::error::Error>(end: &End, frame: &FrameRef<'_>) -> Result<End, WriteError<E>> {
    let envelope = frame.envelope();
    if envelope.seq.0 != end.seq.0 + 1 || envelope.previous != end.chain {
        return Err(WriteError::Order { last: end.seq, found: envelope.seq });
    }
    Ok(End { frames: end.frames + 1, seq: envelope.seq, chain: frame.chain() })
}
