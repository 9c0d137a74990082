//! A stretch of a segment in memory: one read of the disk serves many groups.

use crate::storage::Storage;

/// Bytes read at once, where nobody wants more.
const STRETCH: u64 = 1 << 20;

/// What was read last.
#[derive(Default)]
pub(crate) struct Window {
    generation: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `length` bytes of a segment from an offset on, all within its `size`: as they were when they were read first.
    pub(crate) fn get<S: Storage>(
        &mut self,
        storage: &S,
        (generation, size): (u64, u64),
        offset: u64,
        length: u64,
    ) -> Result<&[u8], S::Error> {
        let held = self.offset..self.offset + self.bytes.len() as u64;
        if self.generation != generation || offset < held.start || offset + length > held.end {
            let stretch = STRETCH.max(length).min(size - offset);
            self.generation = 0;
            self.bytes.resize(stretch as usize, 0);
            storage.read(generation, offset, &mut self.bytes)?;
            (self.generation, self.offset) = (generation, offset);
        }
        let from = (offset - self.offset) as usize;
        Ok(&self.bytes[from..from + length as usize])
    }

    /// Whether what stands at an offset was read for another's sake, and the disk may say something else by now.
    pub(crate) fn may_be_stale(&self, offset: u64) -> bool {
        self.offset != offset
    }

    /// Has everything read again.
    pub(crate) fn forget(&mut self) {
        self.generation = 0;
    }
}
