//! Snapshots of a simulated node: taken as the shards pass a frame, kept once that is committed and agreed, and taken
//! over from a peer.

use super::Node;
use crate::disk::Disk;
use std::collections::BTreeMap;
use std::sync::Arc;
use touchline_core::Engine;
use touchline_core::snapshot::{Place, Saved, Snapshot};
use touchline_lockstep::log::frames;
use touchline_lockstep::{Log, Point};
use touchline_node::recovery::base_of;
use touchline_protocol::*;

/// Snapshots that wait to be agreed.
const CANDIDATES: usize = 4;
/// Snapshots on a disk.
pub(crate) const KEPT: usize = 2;

/// What a node has of its next snapshots.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// A snapshot is taken after every so many frames; 0 is never.
    pub(crate) every: u64,
    /// Of each: its frame, the partitions saved so far, and how many shards are still to come.
    parts: BTreeMap<Seq, (Place, Vec<Saved>, usize)>,
    candidates: BTreeMap<Seq, Snapshot>,
    /// Whether a partition could not be saved, since something in it changed that no frame changed.
    pub(super) spoilt: bool,
}

impl Node {
    /// A shard has applied a frame: where a snapshot is due its partitions are saved.
    pub(super) fn save_shard(&mut self, index: usize, frame: &FrameRef<'_>) {
        let seq = frame.seq();
        if self.snapshots.every == 0 || !seq.0.is_multiple_of(self.snapshots.every) {
            return;
        }
        let shards = self.shards.len();
        let saved = self.shards[index].partitions_mut().iter_mut().map(touchline_core::Partition::save);
        // A state that is broken is not saved, and its node is not to go on with it.
        let Ok(saved) = saved.collect::<Result<Vec<Saved>, usize>>() else {
            return self.snapshots.spoilt = true;
        };
        let part = self.snapshots.parts.entry(seq).or_insert((Place::of(frame), Vec::new(), shards));
        part.1.extend(saved);
        part.2 -= 1;
        if part.2 == 0
            && let Some((place, partitions, _)) = self.snapshots.parts.remove(&seq)
        {
            self.snapshots.candidates.insert(seq, Snapshot::new(self.cluster, place, partitions));
            while self.snapshots.candidates.len() > CANDIDATES {
                self.snapshots.candidates.pop_first();
            }
        }
    }

    /// The state after a frame is committed and agreed: it is kept on the disk, and what it makes superfluous is
    /// forgotten. One that is `alone` may keep any state up to there. Whether one was kept.
    pub(crate) fn keep(&mut self, seq: Seq, alone: bool) -> Result<bool, String> {
        let mut older = self.snapshots.candidates.range(..=seq);
        let found = older.next_back().filter(|(at, _)| alone || **at == seq).map(|(at, _)| *at);
        let Some(snapshot) = found.and_then(|at| self.snapshots.candidates.remove(&at)) else {
            return Ok(false);
        };
        // Alone nobody else has a state to compare: an independent replay of the log makes the snapshot.
        let snapshot = if alone { self.replayed(&snapshot)? } else { snapshot };
        let (place, bytes) = (snapshot.place(), snapshot.to_bytes());
        let point = Point { epoch: place.epoch, seq: place.seq, chain: place.chain };
        let writer = self.committer.writer_mut();
        // With no room the older ones stay.
        if !writer.keep_snapshot(place.seq, &bytes).map_err(|error| error.to_string())? {
            return Ok(false);
        }
        writer.prune(KEPT).map_err(|error| error.to_string())?;
        self.snapshots.candidates.retain(|at, _| *at > place.seq);
        if let Some(history) = &mut self.history {
            history.keep(point, Arc::from(bytes));
        }
        Ok(true)
    }

    /// The state that the log leads to, from the last snapshot on; an error where the one in memory is another.
    fn replayed(&self, live: &Snapshot) -> Result<Snapshot, String> {
        let history = self.history();
        let state = history.state().map(|(_, bytes)| Snapshot::read(bytes).and_then(|s| s.engine(1)));
        let mut engine = match state {
            None => Engine::new(self.cluster, self.partitions(), 1),
            Some(engine) => engine.map_err(|error| error.to_string())?,
        };
        let mut bytes = Vec::new();
        history.read(Seq(engine.sequencer.last().0 + 1), usize::MAX, &mut bytes);
        let mut effects = Vec::new();
        for frame in frames(&bytes).take_while(|frame| frame.seq() <= live.place().seq) {
            engine.replay(&frame, &frame.body().map_err(|error| error.to_string())?, &mut effects);
        }
        let replayed =
            Snapshot::of(&mut engine).map_err(|odd| format!("{odd} entities changed unrecorded"))?;
        if replayed != *live {
            return Err(format!("the state after frame {} is not what the log leads to", live.place().seq));
        }
        Ok(replayed)
    }

    /// Where the log of this node has another frame than the one that a state is of: what lies before that.
    pub(crate) fn before_another(&self, at: Point) -> Option<Point> {
        let history = self.history.as_ref()?;
        history.point(at.seq).filter(|own| *own != at)?;
        history.point(Seq(at.seq.0 - 1))
    }

    /// Replaces log and state on the disk by a peer's state; the node is to be loaded again.
    pub(crate) fn install(self, at: Point, bytes: &[u8]) -> Result<(), String> {
        let snapshot = Snapshot::read(bytes).map_err(|error| error.to_string())?;
        let place = snapshot.place();
        if (place.epoch, place.seq, place.chain) != (at.epoch, at.seq, at.chain) {
            return Err(format!("the peer's state is of frame {}, not of {}", place.seq, at.seq));
        }
        snapshot.engine(1).map_err(|error| error.to_string())?;
        let own = self.history.as_ref().and_then(|history| history.point(at.seq));
        let before = self.before_another(at);
        let mut writer = self.committer.into_writer();
        // A state beside a log that contradicts it would be a start refused, were this the last that is written.
        if let Some(before) = before {
            writer.cut(before.seq, before.chain).map_err(|error| error.to_string())?;
        }
        if !writer.keep_snapshot(place.seq, bytes).map_err(|error| error.to_string())? {
            return Err("no room for the peer's state".into());
        }
        // A log may be longer than the state and yet not lead to it.
        if own != Some(at) {
            writer.restart_behind(&base_of(&place)).map_err(|error| error.to_string())?;
        }
        writer.prune(1).map_err(|error| error.to_string()).map(|_| ())
    }
}

/// Forgets the snapshots of what lies behind a frame, before the log is cut there.
pub(crate) fn forget_behind(disk: &mut Disk, to: Seq) -> Result<(), String> {
    use touchline_journal::Storage;
    let behind = disk.snapshots().map_err(|error| error.to_string())?.into_iter().filter(|seq| *seq > to.0);
    for seq in behind.collect::<Vec<_>>() {
        disk.remove_snapshot(seq).map_err(|error| error.to_string())?;
    }
    Ok(())
}
