//! The twin: replays the journal behind the node, compares states with the shards at marks, and keeps snapshots.
//!
//! A snapshot may be used once an independent replay agrees with it. A node that stands alone has nobody else to ask, so
//! it replays its own journal from disk, on a thread of low priority that nothing waits for: decisions are never held
//! up, however large the state is. What differs at a mark was changed by something else than the log: the node ends.

use crate::recovery::newest_snapshot;
use crate::shell::links::{Durable, Mark};
use crate::shell::measures::TwinMeasures;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use touchline_core::Engine;
use touchline_core::snapshot::Snapshot;
use touchline_journal::{FileError, FileStorage, Follower, Position, RecoverError, Storage, read};
use touchline_lockstep::Point;
use touchline_protocol::{Body, FrameRef, Seq};

/// Shards take fingerprints after every frame whose number is a multiple of this.
pub(crate) const MARK_EVERY: u64 = 8192;
/// Bytes of the journal that are replayed before it looks whether it is to end.
const BYTES_PER_STEP: u64 = 1 << 20;
/// How long it rests when it has caught up.
const REST: Duration = Duration::from_millis(20);
/// How long it waits before it tries again what the system refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it tries to read a journal whose end is being written.
const READS: usize = 5;
/// How much nicer it is than the threads that decide.
const NICENESS: i32 = 10;

/// What a twin is started with.
pub(crate) struct Setup {
    pub(crate) journal: PathBuf,
    pub(crate) cluster: u64,
    /// Frames from snapshot to snapshot.
    pub(crate) every: u64,
    pub(crate) shards: usize,
    /// Whether a peer may need the newest snapshot.
    pub(crate) for_peer: bool,
    /// Up to here the node's start has applied frames before there were shards to take marks.
    pub(crate) begun: Seq,
    pub(crate) shared: Arc<Shared>,
    pub(crate) durable: Arc<Durable>,
    pub(crate) marks: Receiver<Mark>,
    pub(crate) failed: Sender<String>,
    pub(crate) measures: TwinMeasures,
}

/// A running twin.
pub(crate) struct Twin {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the node sees of it.
#[derive(Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    /// Where it is to end, with a snapshot; 0 while it goes on for ever.
    end: AtomicU64,
    /// The last snapshot that it kept.
    kept: AtomicU64,
    /// The same with its bytes, for a peer, until it is taken.
    newest: Mutex<Option<(Point, Arc<[u8]>)>>,
    done: AtomicBool,
}

impl Shared {
    /// The last snapshot that was kept.
    pub(crate) fn kept(&self) -> Seq {
        Seq(self.kept.load(Ordering::Acquire))
    }

    /// The last snapshot, once, if it is of a frame up to one.
    pub(crate) fn take_newest(&self, up_to: Seq) -> Option<(Point, Arc<[u8]>)> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.take_if(|(at, _)| at.seq <= up_to)
    }
}

impl Twin {
    /// Starts it.
    pub(crate) fn start(setup: Setup) -> std::io::Result<Self> {
        let (shared, theirs) = (Arc::clone(&setup.shared), Arc::clone(&setup.shared));
        let work = move || {
            // Where the system does not allow it, it runs like the others.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let failed = setup.failed.clone();
            let replay =
                Replay { shared: Arc::clone(&theirs), setup, engine: None, parts: BTreeMap::new(), last: 0 };
            match replay.run() {
                Ok(()) | Err(Trouble::Passing(_)) => {}
                Err(Trouble::Journal(why)) => tracing::error!(
                    why,
                    "the journal on disk is not what was written; no more snapshots are kept: hand over or stop this node \
                     while it serves, and restore its journal from a copy"
                ),
                Err(Trouble::State(why)) => _ = failed.try_send(why),
            }
            theirs.done.store(true, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("twin".into()).spawn(work)?;
        Ok(Twin { shared, thread: Some(thread) })
    }

    /// Has it replay up to the last frame and keep a snapshot of that, if it can within a while.
    pub(crate) fn finish(mut self, last: Seq, patience: Duration) {
        self.shared.end.store(last.0, Ordering::Release);
        let begun = std::time::Instant::now();
        while !self.shared.done.load(Ordering::Acquire) && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.stop();
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What keeps the twin from going on.
enum Trouble {
    /// The system refused something, descriptors say: it is tried again.
    Passing(String),
    /// The journal cannot be read back. What the node serves from memory is not touched by that.
    Journal(String),
    /// The state in memory is not what the log leads to: the node must end.
    State(String),
}

impl Trouble {
    /// What went wrong while the journal was read.
    fn of(error: RecoverError<FileError>) -> Self {
        match error {
            RecoverError::Storage(error) => Trouble::Passing(error.to_string()),
            RecoverError::Visitor { why, .. } => Trouble::State(why),
            error => Trouble::Journal(error.to_string()),
        }
    }
}

impl From<FileError> for Trouble {
    fn from(error: FileError) -> Self {
        Trouble::Passing(error.to_string())
    }
}

struct Replay {
    setup: Setup,
    shared: Arc<Shared>,
    engine: Option<Engine>,
    /// Fingerprints of shards at marks that lie ahead.
    parts: BTreeMap<Seq, Vec<u128>>,
    /// The frame of the last snapshot.
    last: u64,
}

impl Replay {
    fn run(mut self) -> Result<(), Trouble> {
        let mut follower = None;
        while !self.stops() {
            match self.step(&mut follower) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Trouble::Passing(why)) => {
                    tracing::warn!(why, "the replay beside the node waits and tries again");
                    self.rest(PATIENCE);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Replays a little more; whether the end was reached.
    fn step(&mut self, follower: &mut Option<Follower>) -> Result<bool, Trouble> {
        let follower = match follower {
            Some(follower) => follower,
            None => follower.insert(self.catch_up()?),
        };
        let durable = self.setup.durable.seq();
        let more = self.follow(follower, durable)?;
        let end = Seq(self.shared.end.load(Ordering::Acquire));
        if end.0 > 0 && follower.seq() >= end {
            self.keep().map_err(Trouble::State)?;
            return Ok(true);
        }
        if !more && end.0 == 0 {
            std::thread::sleep(REST);
        }
        Ok(false)
    }

    fn stops(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Waits, but not beyond the node's end.
    fn rest(&self, time: Duration) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < time && !self.stops() && self.shared.end.load(Ordering::Acquire) == 0 {
            std::thread::sleep(REST);
        }
    }

    /// The state at the journal's end, or near it, from the newest snapshot and what follows.
    fn catch_up(&mut self) -> Result<Follower, Trouble> {
        let mut tries = 0;
        loop {
            let storage = FileStorage::open_read_only(&self.setup.journal)?;
            let newest = newest_snapshot(&storage, 1)?;
            let (base, engine) = newest.map_or((None, None), |(base, engine)| (Some(base), Some(engine)));
            self.engine = engine;
            self.last = base.as_ref().map_or(0, |base| base.seq.0);
            let found = read(&storage, base.as_ref(), &mut |frame| {
                if base.as_ref().is_some_and(|base| frame.seq() <= base.seq) {
                    return Ok(());
                }
                if self.stops() {
                    return Err("it is to end".into());
                }
                replay(&mut self.engine, self.setup.cluster, &frame)
            });
            match found {
                Ok(found) => return Ok(Follower::behind(found.position)),
                Err(_) if self.stops() => return Ok(Follower::behind(Position::default())),
                // What is read last may have been written after what was read before it: it is looked at again.
                Err(_) if tries < READS => tries += 1,
                Err(error) => return Err(Trouble::of(error)),
            }
        }
    }

    /// Replays a little more of what is durable; whether there is more.
    fn follow(&mut self, follower: &mut Follower, durable: Seq) -> Result<bool, Trouble> {
        if follower.seq() >= durable {
            return Ok(false);
        }
        let storage = FileStorage::open_read_only(&self.setup.journal)?;
        let more = follower.read(&storage, durable, BYTES_PER_STEP, &mut |frame| {
            replay(&mut self.engine, self.setup.cluster, &frame)?;
            let seq = frame.seq();
            if seq.0.is_multiple_of(MARK_EVERY) && self.agrees(seq)? && seq.0 >= self.last + self.setup.every
            {
                self.keep()?;
            }
            Ok(())
        });
        self.setup.measures.replayed.set(follower.seq().0);
        more.map_err(Trouble::of)
    }

    /// Whether the shards said of the state behind a frame what the replayed one is; `Ok(false)` where they said nothing,
    /// since the node ends.
    fn agrees(&mut self, seq: Seq) -> Result<bool, String> {
        if seq <= self.setup.begun {
            return Ok(false);
        }
        while self.parts.get(&seq).is_none_or(|found| found.len() < self.setup.shards) {
            // The shards may be a little behind the disk.
            match self.setup.marks.recv_timeout(REST) {
                Ok(Mark { seq, part }) => self.parts.entry(seq).or_default().push(part),
                Err(_) if self.shared.stop.load(Ordering::Acquire) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
        let said = self.parts[&seq].iter().fold(0, |sum, part| sum ^ part);
        self.parts.retain(|mark, _| *mark > seq);
        let engine = self.engine.as_mut().expect("it replayed a frame");
        let found = engine.shards.iter_mut().fold(0, |sum, shard| sum ^ shard.fingerprint());
        self.setup.measures.marks.add(1);
        if said == found {
            return Ok(true);
        }
        Err(format!(
            "behind frame {seq} the state in memory differs from a replay of the journal: memory or program is broken; \
             start this node again, its journal is sound"
        ))
    }

    /// Keeps a snapshot of the state as it is now.
    fn keep(&mut self) -> Result<(), String> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let seq = engine.sequencer.last().0;
        if seq == self.last {
            return Ok(());
        }
        let snapshot = Snapshot::of(engine)
            .map_err(|odd| format!("{odd} entities of the replayed state differ from their own hash"))?;
        let bytes = snapshot.to_bytes();
        let kept = FileStorage::open_read_only(&self.setup.journal)
            .and_then(|mut storage| storage.write_snapshot(seq, &bytes));
        match kept {
            Ok(()) => {
                if self.setup.for_peer {
                    let place = snapshot.place();
                    let at = Point { epoch: place.epoch, seq: place.seq, chain: place.chain };
                    let mut newest = self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner);
                    *newest = Some((at, bytes.into()));
                }
                self.last = seq;
                self.shared.kept.store(seq, Ordering::Release);
                self.setup.measures.snapshots.add(1);
                tracing::info!(seq, "snapshot kept");
            }
            // The journal goes on without; the next one is tried at its time.
            Err(error) => {
                self.last = seq;
                tracing::warn!(seq, %error, "no snapshot was kept");
            }
        }
        Ok(())
    }
}

fn replay(engine: &mut Option<Engine>, cluster: u64, frame: &FrameRef<'_>) -> Result<(), String> {
    let body = frame.body().map_err(|error| error.to_string())?;
    if let (Body::Genesis(genesis), None) = (&body, &engine) {
        *engine = Some(Engine::new(cluster, genesis.partitions, 1));
    }
    let engine = engine.as_mut().ok_or("the first frame is no genesis")?;
    // Nobody hears the effects of a replay.
    engine.replay(frame, &body, &mut Vec::new());
    Ok(())
}
