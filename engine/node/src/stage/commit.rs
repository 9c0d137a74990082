//! The journal stage: batches in, durable groups out, and the sequence up to which all is durable.

use touchline_journal::{Storage, WriteError, Writer};
use touchline_protocol::Seq;

/// Collects what arrives while a group is being written and writes it as the next group.
pub struct Committer<S: Storage> {
    writer: Writer<S>,
    payload: Vec<u8>,
    durable: Seq,
    group_bytes_max: usize,
}

impl<S: Storage> Committer<S> {
    /// A committer behind a recovered journal.
    pub fn new(writer: Writer<S>, durable: Seq, group_bytes_max: usize) -> Self {
        Committer { writer, payload: Vec::new(), durable, group_bytes_max }
    }

    /// Adds whole frames, back to back, to the next group.
    pub fn add(&mut self, frames: &[u8]) {
        self.payload.extend_from_slice(frames);
    }

    /// Whether the next group is as large as a group should get.
    pub fn is_full(&self) -> bool {
        self.payload.len() >= self.group_bytes_max
    }

    /// Writes what was added. On an error the node must stop: what is durable is then known only by recovery.
    pub fn write(&mut self) -> Result<Seq, WriteError<S::Error>> {
        let mut rest = self.payload.as_slice();
        while !rest.is_empty() {
            let part = whole_frames(rest, self.group_bytes_max);
            self.durable = self.writer.append(&rest[..part], self.durable)?;
            rest = &rest[part..];
        }
        self.payload.clear();
        Ok(self.durable)
    }

    /// Whether the journal failed to allocate room ahead.
    pub fn cannot_grow(&self) -> bool {
        self.writer.spare_failed()
    }

    /// While nothing waits to be written: looks whether the disk has room again.
    pub fn look_for_room(&mut self) {
        if self.payload.is_empty() {
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

/// Length of as many whole frames at the front as fit `most` bytes, at least one.
fn whole_frames(bytes: &[u8], most: usize) -> usize {
    let mut length = 0;
    while length < bytes.len() {
        let frame =
            touchline_protocol::frame::frame_length(&bytes[length..]).expect("the sequencer wrote it");
        if length > 0 && length + frame > most {
            break;
        }
        length += frame;
    }
    length
}
