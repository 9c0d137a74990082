//! The log in memory, as the replication protocol reads it: frames by sequence behind a snapshot, and where each epoch
//! ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use touchline_lockstep::{Log, Point};
use touchline_protocol::{Epoch, FrameRef, Seq};

/// Bytes of a block: neither growing nor forgetting ever moves or frees more than this at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Every frame since the first, or since a snapshot.
#[derive(Debug, Default)]
pub struct History {
    /// The frame that the log in memory begins behind.
    base: Point,
    /// The frames, in order; those up to the base leave a block at a time.
    blocks: VecDeque<Block>,
    /// Last frame of each epoch.
    epochs: BTreeMap<Epoch, Point>,
    /// The state at or behind the base that may be given to a peer, as a snapshot's bytes.
    state: Option<(Point, Arc<[u8]>)>,
}

/// Some frames, back to back.
#[derive(Debug)]
struct Block {
    /// The sequence before the first of them.
    before: Seq,
    bytes: Vec<u8>,
    /// Of each frame: where it ends in `bytes`, and its place in the log.
    frames: Vec<(usize, Point)>,
}

impl Block {
    fn last(&self) -> Point {
        self.frames.last().expect("no block is empty").1
    }

    /// Where the frame of a sequence, or of the one before the block, ends.
    fn offset(&self, seq: Seq) -> usize {
        let place = ((seq.0 - self.before.0) as usize).checked_sub(1);
        place.map_or(0, |place| self.frames[place].0)
    }
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
        let before = self.end().seq;
        assert_eq!(point.seq.0, before.0 + 1, "the log has no gaps");
        if self.blocks.front().is_some_and(|front| front.last().seq <= self.base.seq) {
            self.blocks.pop_front();
        }
        let bytes = frame.bytes();
        if self.blocks.back().is_none_or(|back| back.bytes.len() + bytes.len() > BLOCK_BYTES) {
            self.blocks.push_back(Block { before, bytes: Vec::new(), frames: Vec::new() });
        }
        let block = self.blocks.back_mut().expect("just seen to");
        block.bytes.extend_from_slice(bytes);
        block.frames.push((block.bytes.len(), point));
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
        let next = self.point(Seq(base.seq.0 + 1));
        self.epochs.retain(|_, last| last.seq > base.seq);
        if next.is_none_or(|next| next.epoch != base.epoch) {
            self.epochs.insert(base.epoch, base);
        }
        self.base = base;
    }

    /// The block that holds a frame behind the base.
    fn block_of(&self, seq: Seq) -> Option<usize> {
        if seq <= self.base.seq {
            return None;
        }
        let place = self.blocks.partition_point(|block| block.last().seq < seq);
        (place < self.blocks.len()).then_some(place)
    }
}

impl Log for History {
    fn base(&self) -> Point {
        self.base
    }

    fn end(&self) -> Point {
        self.blocks.back().map(Block::last).filter(|last| last.seq > self.base.seq).unwrap_or(self.base)
    }

    fn point(&self, seq: Seq) -> Option<Point> {
        if seq == self.base.seq {
            return Some(self.base);
        }
        let block = &self.blocks[self.block_of(seq)?];
        Some(block.frames[(seq.0 - block.before.0 - 1) as usize].1)
    }

    fn epochs(&self) -> Vec<Point> {
        self.epochs.values().copied().collect()
    }

    fn read(&self, from: Seq, bytes_max: usize, out: &mut Vec<u8>) {
        let Some(first) = self.block_of(from) else { return };
        let (mut seq, mut room) = (Seq(from.0 - 1), bytes_max);
        for (place, block) in self.blocks.iter().enumerate().skip(first) {
            let start = block.offset(seq);
            let rest = &block.frames[(seq.0 - block.before.0) as usize..];
            let fitting = rest.partition_point(|(end, _)| end - start <= room);
            // At least one frame, however little room there is.
            let count = if place == first { fitting.max(1) } else { fitting };
            let Some((end, last)) = count.checked_sub(1).map(|last| rest[last]) else { return };
            out.extend_from_slice(&block.bytes[start..end]);
            if count < rest.len() {
                return;
            }
            room = room.saturating_sub(end - start);
            seq = last.seq;
        }
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
    fn what_is_read_over_the_edges_of_blocks_is_what_was_pushed() {
        let frames = log(3 * (BLOCK_BYTES / 100) as u64);
        let mut whole = History::default();
        frames.iter().for_each(|bytes| whole.push(&FrameRef::parse(bytes).unwrap()));
        assert!(whole.blocks.len() > 2);
        let edge = whole.blocks[0].last().seq.0 as usize;
        for from in [1, edge - 1, edge, edge + 1, frames.len()] {
            for most in [0, frames[0].len(), 5 * frames[0].len(), usize::MAX] {
                let mut read = Vec::new();
                whole.read(Seq(from as u64), most, &mut read);
                let mut expected = frames[from - 1].clone();
                for frame in &frames[from..] {
                    if expected.len() + frame.len() > most {
                        break;
                    }
                    expected.extend_from_slice(frame);
                }
                assert!(read == expected, "from {from}, at most {most} bytes");
            }
        }
        let (first, last) = (whole.point(Seq(edge as u64 + 7)).unwrap(), whole.end());
        whole.keep(first, Arc::from([1].as_slice()));
        whole.keep(last, Arc::from([2].as_slice()));
        assert_eq!((whole.base(), whole.point(Seq(edge as u64 + 6)), whole.end()), (first, None, last));
        assert_eq!(whole.point(Seq(edge as u64 + 8)).map(|point| point.seq.0), Some(edge as u64 + 8));
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
