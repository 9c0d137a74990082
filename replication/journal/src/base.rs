//! What a snapshot stands for in a journal: the front of the log, which may then be forgotten.

use crate::layout::{BLOCK, SegmentHeader, SegmentStart};
use crate::storage::Storage;
use touchline_protocol::{At, ChainHash, Epoch, Seq};

/// The frame that a snapshot is the state after. Whoever names one has checked the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its sequence.
    pub seq: Seq,
    /// Its logical time.
    pub at: At,
    /// Its chain hash, which stands for the whole log up to it.
    pub chain: ChainHash,
}

/// What the header of a segment says; `None` where it has none.
pub(crate) fn start_of<S: Storage>(storage: &S, generation: u64) -> Result<Option<SegmentStart>, S::Error> {
    let size = storage.size(generation)?;
    let mut block = vec![0; BLOCK.min(size) as usize];
    storage.read(generation, 0, &mut block)?;
    Ok(SegmentHeader::parse(&block).filter(|start| start.generation == generation))
}

/// Of segments, by the first sequences in their headers, the one that the log is to be read from where a snapshot stands
/// for everything up to `base`: the last that begins at or before it and that no later one takes back as a whole. What
/// earlier ones hold lies before the base.
pub(crate) fn first_needed(starts: &[Option<u64>], base: Seq) -> usize {
    let needed = (0..starts.len()).rev().find(|place| {
        let taken_back = |first: u64| starts[place + 1..].iter().flatten().any(|later| *later <= first);
        starts[*place].is_some_and(|first| first <= base.0 + 1 && !taken_back(first))
    });
    needed.unwrap_or(0)
}

/// Removes the segments at the front, below a generation, that a snapshot makes superfluous, so that the log still begins
/// at or before it; how many that were.
pub(crate) fn prune<S: Storage>(storage: &mut S, base: Seq, below: u64) -> Result<usize, S::Error> {
    let generations = storage.list()?;
    let mut starts = Vec::new();
    for generation in &generations {
        starts.push(start_of(storage, *generation)?.map(|start| start.first_seq));
    }
    let superfluous = generations[..first_needed(&starts, base)].iter().take_while(|found| **found < below);
    let mut removed = 0;
    for generation in superfluous {
        storage.remove(*generation)?;
        removed += 1;
    }
    Ok(removed)
}
