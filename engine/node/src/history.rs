//! The log in memory, as the replication protocol reads it: frames by sequence, and where each epoch ends.

use std::collections::BTreeMap;
use touchline_lockstep::{Log, Point};
use touchline_protocol::{Epoch, FrameRef, Seq};

/// Every frame since the first.
#[derive(Debug, Default)]
pub struct History {
    bytes: Vec<u8>,
    /// Of each frame: where it ends in `bytes`, and its place in the log.
    frames: Vec<(usize, Point)>,
    /// Last frame of each epoch.
    epochs: BTreeMap<Epoch, Point>,
}

impl History {
    /// Adds the next frame.
    pub fn push(&mut self, frame: &FrameRef<'_>) {
        let point = Point::of(frame);
        assert_eq!(point.seq.0, self.frames.len() as u64 + 1, "the log has no gaps");
        self.bytes.extend_from_slice(frame.bytes());
        self.frames.push((self.bytes.len(), point));
        self.epochs.insert(point.epoch, point);
    }

    /// Forgets what lies behind a frame.
    pub fn cut(&mut self, to: Seq) {
        self.frames.truncate(to.0 as usize);
        self.bytes.truncate(self.offset(to.0));
        self.epochs.clear();
        self.epochs.extend(self.frames.iter().map(|(_, point)| (point.epoch, *point)));
    }

    /// Where the frame of a sequence ends.
    fn offset(&self, seq: u64) -> usize {
        seq.checked_sub(1).and_then(|place| self.frames.get(place as usize)).map_or(0, |(end, _)| *end)
    }
}

impl Log for History {
    fn end(&self) -> Point {
        self.frames.last().map(|(_, point)| *point).unwrap_or_default()
    }

    fn point(&self, seq: Seq) -> Option<Point> {
        match seq.0.checked_sub(1) {
            None => Some(Point::default()),
            Some(place) => self.frames.get(place as usize).map(|(_, point)| *point),
        }
    }

    fn epochs(&self) -> Vec<Point> {
        self.epochs.values().copied().collect()
    }

    fn read(&self, from: Seq, bytes_max: usize, out: &mut Vec<u8>) {
        let Some(before) = from.0.checked_sub(1).filter(|before| *before < self.frames.len() as u64) else {
            return;
        };
        let start = self.offset(before);
        let frames = &self.frames[before as usize..];
        let count = frames.partition_point(|(end, _)| end - start <= bytes_max).max(1);
        out.extend_from_slice(&self.bytes[start..frames[count - 1].0]);
    }
}
