//! A log as this protocol sees it: frames in sequence, each linked to the one before, in epochs.

use touchline_protocol::{ChainHash, Epoch, FrameRef, Seq};

/// A place in a log: a frame, its epoch, and the hash that stands for everything up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Epoch of the frame.
    pub epoch: Epoch,
    /// Its sequence; 0 before the first.
    pub seq: Seq,
    /// Its chain hash.
    pub chain: ChainHash,
}

impl Point {
    /// The place of a frame.
    pub fn of(frame: &FrameRef<'_>) -> Point {
        Point { epoch: frame.envelope().epoch, seq: frame.seq(), chain: frame.chain() }
    }

    /// Which of two logs that end here and there is the longer in the sense of the protocol: later epoch first,
    /// then sequence.
    pub fn is_beyond(&self, other: &Point) -> bool {
        (self.epoch, self.seq) > (other.epoch, other.seq)
    }
}

/// Frames that a node has: in memory, or in its journal.
pub trait Log {
    /// The frame that it begins behind: the place of a snapshot, or the default where it holds everything.
    fn base(&self) -> Point;

    /// Where it ends.
    fn end(&self) -> Point;

    /// The place of a frame, its base included; `None` where the log does not reach.
    fn point(&self, seq: Seq) -> Option<Point>;

    /// Last frame of each epoch, ascending; the last entry is the log's end.
    fn epochs(&self) -> Vec<Point>;

    /// Appends whole frames from `from` on, at most about `bytes_max` bytes and at least one frame where there is
    /// one.
    fn read(&self, from: Seq, bytes_max: usize, out: &mut Vec<u8>);

    /// The state that may be given to a peer whose log ends before this one begins: the frame it is the state after,
    /// at or behind the base, and its bytes.
    fn state(&self) -> Option<(Point, &[u8])>;

    /// Whether it certainly holds a frame. What lies before the base was committed, and is in it.
    fn holds(&self, point: Point) -> bool {
        point.seq == Seq(0) || point.seq < self.base().seq || self.point(point.seq) == Some(point)
    }
}

/// Where two logs part, seen from one of them, given the last frames of the other's epochs: the last point of
/// the own log that the other certainly has too.
///
/// One payload per (epoch, sequence) makes this exact: in the last epoch that both have, both hold the same
/// frames up to the shorter end. The chain hash is compared where it can be, and disagreement steps back.
pub fn common(own: &dyn Log, other: &[Point]) -> Point {
    let epochs = own.epochs();
    for theirs in other.iter().rev() {
        let Some(mine) = epochs.iter().rev().find(|mine| mine.epoch == theirs.epoch) else { continue };
        if theirs.seq <= mine.seq {
            match own.point(theirs.seq) {
                Some(point) if point == *theirs => return point,
                _ => continue,
            }
        }
        return *mine;
    }
    Point::default()
}

/// Whole frames, one after the other.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = FrameRef<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let frame = FrameRef::parse(rest).ok()?;
        rest = &rest[frame.bytes().len()..];
        Some(frame)
    })
}
