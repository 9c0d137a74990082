//! The log in memory, as the replication protocol reads it: frames by sequence behind a snapshot, and where each epoch
//! ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use touchline_lockstep::{Log, Point};
use touchline_protocol::{Epoch, FrameRef, Seq};

/// Every frame since the first, or since a snapshot.
#[derive(Debug, Default)]
pub struct History {
    /// The frame that the log in memory begins behind.
    base: Point,
    bytes: Vec<u8>,
    /// Of each frame: where it ends in `bytes`, and its place in the log.
    frames: Vec<(usize, Point)>,
    /// Last frame of each epoch.
    epochs: BTreeMap<Epoch, Point>,
    /// The state at or behind the base that may be given to a peer, as a snapshot's bytes.
    state: Option<(Point, Arc<[u8]>)>,
}

impl History {
    /// A log that a snapshot stands for up to a point.
    pub fn behind(base: Point, snapshot: Arc<[u8]>) -> Self {
        let epochs = BTreeMap::from([(base.epoch, base)]);
        History { base, epochs, state: Some((base, snapshot)), ..History::default() }
    }

    /// Adds the next frame.
    pub fn push(&mut self, frame: &FrameRef<'_>) {
        let point = Point::of(frame);
        assert_eq!(point.seq.0, self.end().seq.0 + 1, "the log has no gaps");
        self.bytes.extend_from_slice(frame.bytes());
        self.frames.push((self.bytes.len(), point));
        self.epochs.insert(point.epoch, point);
    }

    /// A newer snapshot may be given to a peer from now on. Frames behind the one before it stay, for a peer that is only a
    /// little behind; what lies before that is forgotten.
    pub fn keep(&mut self, at: Point, snapshot: Arc<[u8]>) {
        assert_eq!(self.point(at.seq), Some(at), "the snapshot is of this log");
        if let Some((before, _)) = self.state.replace((at, snapshot)) {
            self.forget(before);
        }
    }

    fn forget(&mut self, base: Point) {
        let gone = (base.seq.0 - self.base.seq.0) as usize;
        let bytes = self.offset(base.seq);
        self.bytes.drain(..bytes);
        self.frames.drain(..gone);
        self.frames.iter_mut().for_each(|(end, _)| *end -= bytes);
        self.epochs.retain(|_, last| last.seq > base.seq);
        if self.frames.first().is_none_or(|(_, first)| first.epoch != base.epoch) {
            self.epochs.insert(base.epoch, base);
        }
        self.base = base;
    }

    /// Where the frame of a sequence ends.
    fn offset(&self, seq: Seq) -> usize {
        let place = (seq.0 - self.base.seq.0).checked_sub(1);
        place.and_then(|place| self.frames.get(place as usize)).map_or(0, |(end, _)| *end)
    }
}

impl Log for History {
    fn base(&self) -> Point {
        self.base
    }

    fn end(&self) -> Point {
        self.frames.last().map_or(self.base, |(_, point)| *point)
    }

    fn point(&self, seq: Seq) -> Option<Point> {
        if seq == self.base.seq {
            return Some(self.base);
        }
        let place = seq.0.checked_sub(self.base.seq.0 + 1)?;
        self.frames.get(place as usize).map(|(_, point)| *point)
    }

    fn epochs(&self) -> Vec<Point> {
        self.epochs.values().copied().collect()
    }

    fn read(&self, from: Seq, bytes_max: usize, out: &mut Vec<u8>) {
        let before =
            from.0.checked_sub(self.base.seq.0 + 1).filter(|before| *before < self.frames.len() as u64);
        let Some(before) = before else { return };
        let start = self.offset(Seq(self.base.seq.0 + before));
        let frames = &self.frames[before as usize..];
        let count = frames.partition_point(|(end, _)| end - start <= bytes_max).max(1);
        out.extend_from_slice(&self.bytes[start..frames[count - 1].0]);
    }

    fn state(&self) -> Option<(Point, &[u8])> {
        self.state.as_ref().map(|(at, bytes)| (*at, &**bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::frame::encode;
    use touchline_protocol::{At, ChainHash, Envelope, SourceFresh, SourceId};

    fn log(count: u64) -> Vec<Vec<u8>> {
        let mut chain = ChainHash(0);
        let frame = |seq| {
            let epoch = Epoch(1 + seq / 5);
            let envelope =
                Envelope { seq: Seq(seq), epoch, previous: chain, ..Envelope::session(1, epoch, 0) };
            let mut bytes = Vec::new();
            encode(&envelope, &SourceFresh { source: SourceId(1), alive_until: At(0) }.into(), &mut bytes);
            chain = FrameRef::parse(&bytes).unwrap().chain();
            bytes
        };
        (1..=count).map(frame).collect()
    }

    #[test]
    fn a_log_that_forgot_its_front_says_the_same_of_the_rest() {
        let frames = log(23);
        let mut whole = History::default();
        frames.iter().for_each(|bytes| whole.push(&FrameRef::parse(bytes).unwrap()));
        for base in 1..=23 {
            let point = whole.point(Seq(base)).unwrap();
            let mut short = History::default();
            frames.iter().for_each(|bytes| short.push(&FrameRef::parse(bytes).unwrap()));
            short.keep(point, Arc::from([6].as_slice()));
            assert_eq!(short.base(), Point::default());
            short.keep(point, Arc::from([7].as_slice()));
            let mut begun = History::behind(point, Arc::from([7].as_slice()));
            frames[base as usize..].iter().for_each(|bytes| begun.push(&FrameRef::parse(bytes).unwrap()));
            for history in [&short, &begun] {
                assert_eq!((history.base(), history.end()), (point, whole.end()));
                assert_eq!(history.state(), Some((point, [7].as_slice())));
                assert_eq!(history.point(Seq(base - 1)), None);
                let known: Vec<Point> =
                    whole.epochs().into_iter().filter(|last| last.seq >= Seq(base)).collect();
                assert_eq!(history.epochs(), known, "base {base}");
                for from in base + 1..=24 {
                    let mut read = [Vec::new(), Vec::new()];
                    whole.read(Seq(from), 300, &mut read[0]);
                    history.read(Seq(from), 300, &mut read[1]);
                    assert_eq!(read[0], read[1]);
                }
            }
        }
    }
}
