//! Cuts a byte stream into frames.

use crate::frame::{FrameError, FrameRef, MAX_FRAME_BYTES};

/// Collects bytes of one connection and hands out whole frames, and refuses an impossible length as soon as the
/// length has arrived.
///
/// Whoever takes every whole frame before pushing more keeps less than one frame pending, and in memory less
/// than two of the largest frames and one read.
#[derive(Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    from: usize,
    broken: Option<FrameError>,
}

impl Splitter {
    /// An empty splitter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read; after an error it is not kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        if self.from > 0 && (self.from == self.bytes.len() || self.from > MAX_FRAME_BYTES) {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` where more bytes are needed. An error is final and returned from then
    /// on: after a damaged frame nothing tells where the next one starts.
    pub fn next_frame(&mut self) -> Result<Option<FrameRef<'_>>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        match FrameRef::parse(&self.bytes[self.from..]) {
            Ok(frame) => {
                self.from += frame.bytes().len();
                Ok(Some(frame))
            }
            Err(FrameError::Incomplete(_)) => Ok(None),
            Err(error) => {
                self.broken = Some(error);
                Err(error)
            }
        }
    }

    /// Bytes behind the last frame handed out: those of an unfinished one.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.from
    }
}
