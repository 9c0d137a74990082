//! The writer: one group in flight at a time, the next segment allocated ahead.

use crate::base::{self, Base};
use crate::layout::{
    BLOCK, GROUP_PAYLOAD_MAX, GroupHeader, GroupStart, SegmentHeader, SegmentStart, group_bytes,
};
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
    /// A segment behind the one being written exists.
    spare: bool,
    /// Number of the last group when allocating ahead last failed; `None` where it has not.
    spare_failed: Option<u64>,
    poisoned: bool,
    group: Vec<u8>,
}

impl<S: Storage> Writer<S> {
    /// A writer at a journal's end; `spare` tells whether an empty segment of the next generation exists.
    pub fn new(storage: S, segment_bytes: u64, at: Position, spare: bool) -> Self {
        Writer { storage, segment_bytes, at, spare, spare_failed: None, poisoned: false, group: Vec::new() }
    }

    /// Appends whole frames as one group of at most [`GROUP_PAYLOAD_MAX`] bytes; when it returns they are durable.
    /// `committed` is the last committed sequence.
    pub fn append(&mut self, payload: &[u8], committed: Seq) -> Result<Seq, WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        assert!(payload.len() <= GROUP_PAYLOAD_MAX, "the committer keeps groups small");
        let (frames, seq, chain) = self.follow(payload)?;
        let result = self.write(payload, frames, committed);
        self.poisoned = result.is_err();
        result.map_err(WriteError::Storage)?;
        self.at.group += 1;
        self.at.seq = seq;
        self.at.chain = chain;
        if self.near_end() && !self.spare && self.may_try() {
            self.allocate_ahead();
        }
        Ok(seq)
    }

    /// Checks that frames continue sequence and chain: the pair of the reader's check.
    fn follow(&self, payload: &[u8]) -> Result<(u32, Seq, ChainHash), WriteError<S::Error>> {
        let (mut frames, mut seq, mut chain) = (0, self.at.seq, self.at.chain);
        let mut rest = payload;
        while !rest.is_empty() {
            let frame = FrameRef::parse(rest).expect("only whole frames are appended");
            let envelope = frame.envelope();
            if envelope.seq.0 != seq.0 + 1 || envelope.previous != chain {
                return Err(WriteError::Order { last: seq, found: envelope.seq });
            }
            (frames, seq, chain) = (frames + 1, envelope.seq, frame.chain());
            rest = &rest[frame.bytes().len()..];
        }
        Ok((frames, seq, chain))
    }

    fn write(&mut self, payload: &[u8], frames: u32, committed: Seq) -> Result<(), S::Error> {
        let bytes = group_bytes(payload.len());
        if self.at.generation == 0 || self.at.offset + bytes > self.segment_bytes {
            self.next_segment()?;
        }
        let start = GroupStart {
            cluster: self.at.cluster,
            generation: self.at.generation,
            number: self.at.group + 1,
            committed: committed.0,
            first_seq: self.at.seq.0 + 1,
            frames,
        };
        GroupHeader::group(&start, payload, &mut self.group);
        self.storage.write(self.at.generation, self.at.offset, &self.group)?;
        self.at.offset += bytes;
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), S::Error> {
        let generation = self.at.generation + 1;
        if !self.spare {
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
        self.storage.write(generation, 0, &SegmentHeader::block(&start))?;
        // Whether it stood ready or was made just now, the disk had room for it.
        self.spare = false;
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
        if to == self.at.seq {
            return Ok(());
        }
        self.at.seq = to;
        self.at.chain = chain;
        let result = self.next_segment();
        self.poisoned = result.is_err();
        result.map_err(WriteError::Storage)
    }

    /// Begins the log anew behind a snapshot that reaches beyond its end; durable when it returns. Until then the log is
    /// what it was; the snapshot must be on this disk.
    pub fn restart_behind(&mut self, base: &Base) -> Result<(), WriteError<S::Error>> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        assert!(base.seq > self.at.seq, "a snapshot does not shorten the log");
        self.at.seq = base.seq;
        self.at.chain = base.chain;
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
        let snapshots = self.storage.snapshots().map_err(WriteError::Storage)?;
        let old = snapshots.len().saturating_sub(keep);
        for seq in &snapshots[..old] {
            self.storage.remove_snapshot(*seq).map_err(WriteError::Storage)?;
        }
        match snapshots.get(old) {
            Some(oldest) if snapshots.len() >= keep => {
                base::prune(&mut self.storage, Seq(*oldest)).map_err(WriteError::Storage)
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

    /// Allocates the next segment. A failure is remembered, not returned: what is open can still be used, so that
    /// suspensions and settlements are logged while tickets are refused.
    pub fn allocate_ahead(&mut self) {
        let made = self.storage.create(self.at.generation + 1, self.segment_bytes);
        self.spare = made.is_ok();
        self.spare_failed = made.is_err().then_some(self.at.group);
    }

    /// Whether the next segment could not be allocated.
    pub fn spare_failed(&self) -> bool {
        self.spare_failed.is_some()
    }

    /// Looks for room at once, where there was none: for a journal that has nothing to write, so that no group waits
    /// for it, and none comes that would bring the next attempt.
    pub fn look_for_room(&mut self) {
        if self.spare_failed() && !self.poisoned {
            self.allocate_ahead();
        }
    }

    /// Where the journal ends.
    pub fn position(&self) -> &Position {
        &self.at
    }

    /// Ends writing.
    pub fn into_storage(self) -> S {
        self.storage
    }
}
