//! Cuts a byte stream into frames.

use crate::frame::{FrameError, FrameRef, MAX_FRAME_BYTES, frame_length};

/// Collects bytes of one connection and hands out whole frames. It never holds more than one frame and one
/// read beyond it, and it refuses an impossible length as soon as the length has arrived.
#[derive(Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    from: usize,
}

impl Splitter {
    /// An empty splitter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.from > 0 && (self.from == self.bytes.len() || self.from > MAX_FRAME_BYTES) {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` where more bytes are needed. After an error the stream has no more
    /// frames to offer: nothing tells where the next one starts.
    pub fn next_frame(&mut self) -> Result<Option<FrameRef<'_>>, FrameError> {
        let rest = &self.bytes[self.from..];
        if rest.is_empty() {
            return Ok(None);
        }
        let length = match frame_length(rest) {
            Ok(length) if rest.len() >= length => length,
            Ok(_) | Err(FrameError::Incomplete(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let at = self.from;
        self.from += length;
        FrameRef::parse(&self.bytes[at..at + length]).map(Some)
    }

    /// Bytes of an unfinished frame.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.from
    }
}
