//! Reading behind a writer: group by group, never further than what the writer says is durable.

use crate::layout::{BLOCK, GROUP_HEADER, GroupHeader, SegmentHeader};
use crate::recovery::{RecoverError, Visit};
use crate::storage::Storage;
use crate::writer::Position;
use touchline_protocol::{ChainHash, FrameRef, Seq};

/// A place in a journal that is being written.
#[derive(Clone, Debug)]
pub struct Follower {
    at: Position,
}

impl Follower {
    /// Behind everything that was read before.
    pub fn behind(position: Position) -> Self {
        Follower { at: position }
    }

    /// The last frame that was read.
    pub fn seq(&self) -> Seq {
        self.at.seq
    }

    /// The hash of the log up to it.
    pub fn chain(&self) -> ChainHash {
        self.at.chain
    }

    /// Reads whole groups up to `durable`, at most about `bytes_max` of them, and hands every frame to `visit`; whether
    /// there is more. `storage` must list the segments as they are now. An error of `visit` leaves the place undefined.
    ///
    /// # Errors
    /// Durable frames that are not there, or do not follow: the journal is damaged, or not the writer's.
    pub fn read<S: Storage>(
        &mut self,
        storage: &S,
        durable: Seq,
        bytes_max: u64,
        visit: Visit<'_>,
    ) -> Result<bool, RecoverError<S::Error>> {
        let mut bytes = 0;
        while self.at.seq < durable {
            if bytes >= bytes_max {
                return Ok(true);
            }
            bytes += match self.group(storage, visit)? {
                Some(length) => length,
                None => self.next_segment(storage)?,
            };
        }
        Ok(false)
    }

    /// The group at this place; its length, or `None` where the segment holds no more.
    fn group<S: Storage>(
        &mut self,
        storage: &S,
        visit: Visit<'_>,
    ) -> Result<Option<u64>, RecoverError<S::Error>> {
        let Position { generation, offset, .. } = self.at;
        if generation == 0 {
            return Ok(None);
        }
        let size = storage.size(generation).map_err(RecoverError::Storage)?;
        if offset + GROUP_HEADER as u64 > size {
            return Ok(None);
        }
        let mut head = vec![0; GROUP_HEADER];
        storage.read(generation, offset, &mut head).map_err(RecoverError::Storage)?;
        let Some(length) = GroupHeader::length(&head).filter(|length| offset + length <= size) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length as usize];
        storage.read(generation, offset, &mut bytes).map_err(RecoverError::Storage)?;
        let Some((start, payload)) = GroupHeader::parse(&bytes).filter(|(s, _)| s.generation == generation)
        else {
            return Ok(None);
        };
        if start.first_seq != self.at.seq.0 + 1 {
            return Err(self.contradiction(format!(
                "a group begins with frame {} where {} is next",
                start.first_seq,
                self.at.seq.0 + 1
            )));
        }
        let mut rest = payload;
        while !rest.is_empty() {
            let frame = FrameRef::parse(rest)
                .map_err(|error| self.contradiction(format!("a frame in a sound group: {error}")))?;
            let envelope = frame.envelope();
            if envelope.seq.0 != self.at.seq.0 + 1 || envelope.previous != self.at.chain {
                let last = self.at.seq;
                return Err(self.contradiction(format!("frame {} does not follow {last}", envelope.seq)));
            }
            visit(frame).map_err(|why| RecoverError::Visitor { seq: envelope.seq, why })?;
            (self.at.seq, self.at.chain) = (envelope.seq, frame.chain());
            rest = &rest[frame.bytes().len()..];
        }
        self.at.offset += length;
        Ok(Some(length))
    }

    /// Goes on behind the header of the next segment.
    fn next_segment<S: Storage>(&mut self, storage: &S) -> Result<u64, RecoverError<S::Error>> {
        let next = self.at.generation + 1;
        if !storage.list().map_err(RecoverError::Storage)?.contains(&next) {
            return Err(self.contradiction("durable frames are missing".into()));
        }
        let mut block = vec![0; BLOCK as usize];
        storage.read(next, 0, &mut block).map_err(RecoverError::Storage)?;
        let start = SegmentHeader::parse(&block).filter(|start| start.generation == next);
        match start {
            Some(start) if start.first_seq == self.at.seq.0 + 1 && start.previous == self.at.chain.0 => {
                (self.at.generation, self.at.offset) = (next, BLOCK);
                Ok(BLOCK)
            }
            _ => {
                Err(self
                    .contradiction("durable frames are missing, and the next segment does not go on".into()))
            }
        }
    }

    fn contradiction<E: std::error::Error>(&self, why: String) -> RecoverError<E> {
        RecoverError::Contradiction { generation: self.at.generation, offset: self.at.offset, why }
    }
}
