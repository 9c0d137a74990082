//! The journal stage: batches in, durable groups out, and the sequence up to which all is durable.

use touchline_journal::{Storage, WriteError, Writer};
use touchline_protocol::Seq;

/// Collects what arrives while a group is being written and writes it as the next group.
pub struct Committer<S: Storage> {
    writer: Writer<S>,
    /// What came in a batch that the open group had no room for.
    overflow: Vec<u8>,
    durable: Seq,
    group_bytes_max: usize,
}

impl<S: Storage> Committer<S> {
    /// A committer behind a recovered journal.
    pub fn new(writer: Writer<S>, durable: Seq, group_bytes_max: usize) -> Self {
        Committer { writer, overflow: Vec::new(), durable, group_bytes_max }
    }

    /// Takes whole frames from the front of some into the next group, as many as it has room for; how many bytes. For frames
    /// in a ring, which may be overwritten when this returns. On an error the node must stop.
    pub fn take(&mut self, frames: &[u8]) -> Result<usize, WriteError<S::Error>> {
        if self.overflow.is_empty() { self.writer.take(frames, self.group_bytes_max) } else { Ok(0) }
    }

    /// Adds whole frames, back to back, to the next groups.
    pub fn add(&mut self, frames: &[u8]) {
        // Frames that the journal refuses are offered once more when groups are written, which then fails.
        let taken = self.take(frames).unwrap_or(0);
        self.overflow.extend_from_slice(&frames[taken..]);
    }

    /// Whether the next group is as large as a group should get.
    pub fn is_full(&self) -> bool {
        !self.overflow.is_empty() || self.writer.waiting() >= self.group_bytes_max
    }

    /// Writes what was added. On an error the node must stop: what is durable is then known only by recovery.
    pub fn write(&mut self) -> Result<Seq, WriteError<S::Error>> {
        if self.writer.waiting() > 0 {
            self.durable = self.writer.commit(self.durable)?;
        }
        let mut done = 0;
        while done < self.overflow.len() {
            done += self.writer.take(&self.overflow[done..], self.group_bytes_max)?;
            self.durable = self.writer.commit(self.durable)?;
        }
        self.overflow.clear();
        Ok(self.durable)
    }

    /// Whether the journal failed to allocate room ahead.
    pub fn cannot_grow(&self) -> bool {
        self.writer.spare_failed()
    }

    /// While nothing waits to be written: looks whether the disk has room again.
    pub fn look_for_room(&mut self) {
        if self.writer.waiting() == 0 {
            self.writer.look_for_room();
        }
    }

    /// Everything up to here is durable.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// The journal, for what is kept beside its segments.
    pub fn writer_mut(&mut self) -> &mut Writer<S> {
        &mut self.writer
    }

    /// Ends the stage and gives the writer back.
    pub fn into_writer(self) -> Writer<S> {
        self.writer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::Batch;
    use touchline_journal::simulated::SimStorage;
    use touchline_journal::{read, recover};
    use touchline_protocol::frame::{encode, frame_length};
    use touchline_protocol::{At, ChainHash, Envelope, Epoch, FrameRef, SourceFresh, SourceId};

    /// So many frames, one behind the other.
    fn frames(count: u64) -> Batch {
        let mut batch = Batch { count: count as usize, last: Seq(count), ..Batch::default() };
        let mut previous = ChainHash(0);
        for seq in 1..=count {
            let from = batch.bytes.len();
            let envelope = Envelope { seq: Seq(seq), previous, ..Envelope::session(1, Epoch(1), 0) };
            let fresh = SourceFresh { source: SourceId(1), alive_until: At(0) };
            encode(&envelope, &fresh.into(), &mut batch.bytes);
            previous = FrameRef::parse(&batch.bytes[from..]).unwrap().chain();
        }
        batch
    }

    fn written(committer: Committer<SimStorage>) -> Vec<u8> {
        let mut found = Vec::new();
        let storage = committer.into_writer().into_storage();
        read(&storage, None, &mut |frame| {
            found.extend_from_slice(frame.bytes());
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn batches_of_any_size_and_slices_of_a_ring_end_up_as_the_same_frames() {
        let all = frames(40);
        let frame = frame_length(&all.bytes).unwrap();
        for groups in [1, frame, 3 * frame + 5, 100 * frame] {
            let open = || {
                let (writer, _) = recover(SimStorage::new(), 1, 2 << 20, None, &mut |_| Ok(())).unwrap();
                Committer::new(writer, Seq(0), groups)
            };
            let mut whole = open();
            whole.add(&all.bytes);
            assert_eq!(whole.is_full(), groups < all.bytes.len());
            assert_eq!((whole.write().unwrap(), whole.is_full()), (Seq(40), false));
            let (mut ring, mut done) = (open(), 0);
            while done < all.bytes.len() {
                match ring.take(&all.bytes[done..]).unwrap() {
                    0 => assert!(ring.write().unwrap() > Seq(0)),
                    taken => done += taken,
                }
            }
            assert_eq!(ring.write().unwrap(), Seq(40));
            assert!(written(whole) == all.bytes && written(ring) == all.bytes);
        }
    }
}
