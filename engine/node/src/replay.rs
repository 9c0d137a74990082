//! Applies a recorded log on all cores: whoever reads it checks it and follows its order, each of some threads
//! applies its share of the partitions.
//!
//! Partitions meet in frames alone, so each thread goes through the log at its own pace, and what comes out is the same
//! as on one. Only bytes go to the threads: to decode them there again costs less than to free in one thread what
//! another allocated. A log of one batch is applied where it is read, since starting threads would take longer; so is any
//! log where one thread is all there may be, as on one core, or in a simulator that knows no other thread.

use crossbeam_channel::{Sender, bounded};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};
use touchline_core::{Effect, Engine, Sequencer, Shard};
use touchline_protocol::{Body, FrameRef};

/// Bytes of frames that go to the threads at once.
const BATCH_BYTES: usize = 1 << 18;
/// Batches that may wait for a thread.
const BATCHES_WAITING: usize = 8;

/// Checked frames back to back.
type Batch = Arc<Vec<u8>>;

/// A core that follows a recorded log.
pub(crate) struct Replay {
    sequencer: Sequencer,
    /// All shards as long as there are no threads.
    shards: Vec<Shard>,
    /// How many there are at the end.
    hosts: usize,
    threads: Vec<(Sender<Batch>, JoinHandle<Shard>)>,
    threads_max: usize,
    /// Frames that were followed and not applied yet.
    batch: Vec<u8>,
    batch_bytes: usize,
}

impl Replay {
    /// Goes on from a state, on a number of threads; 0 is one a core.
    pub(crate) fn of(engine: Engine, threads: usize) -> Self {
        let cores = || available_parallelism().map_or(1, NonZero::get);
        Replay::on(if threads == 0 { cores() } else { threads }, BATCH_BYTES, engine)
    }

    /// As [`Replay::of`], in batches of a size, bytes.
    fn on(threads_max: usize, batch_bytes: usize, engine: Engine) -> Self {
        let Engine { sequencer, shards, .. } = engine;
        let hosts = shards.len();
        Replay { sequencer, shards, hosts, threads: Vec::new(), threads_max, batch: Vec::new(), batch_bytes }
    }

    /// Follows the next frame. One that no core can have written panics, here or at the end.
    pub(crate) fn push(&mut self, frame: &FrameRef<'_>, body: &Body) {
        self.sequencer.follow(frame, body);
        self.batch.extend_from_slice(frame.bytes());
        if self.batch.len() >= self.batch_bytes {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        if self.threads_max == 1 {
            return self.apply_here();
        }
        if self.threads.is_empty() {
            let shards = Shard::spread(std::mem::take(&mut self.shards), self.threads_max);
            self.threads = shards.into_iter().map(start).collect();
        }
        let room = Vec::with_capacity(self.batch.capacity());
        let batch = Arc::new(std::mem::replace(&mut self.batch, room));
        for (to, _) in &self.threads {
            // A thread that is gone panicked; its panic goes on when it is joined.
            let _ = to.send(Arc::clone(&batch));
        }
    }

    fn apply_here(&mut self) {
        let mut effects = Vec::new();
        self.shards.iter_mut().for_each(|shard| apply(shard, &self.batch, &mut effects));
        self.batch.clear();
    }

    /// The state behind the last frame, on as many shards as before.
    pub(crate) fn finish(mut self) -> Engine {
        if self.threads.is_empty() {
            self.apply_here();
        } else {
            self.pass_on();
            let join = |(to, thread): (Sender<_>, JoinHandle<Shard>)| {
                drop(to);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            self.shards = Shard::spread(self.threads.into_iter().map(join).collect(), self.hosts);
        }
        Engine { sequencer: self.sequencer, shards: self.shards, refusals: Vec::new() }
    }
}

fn start(mut shard: Shard) -> (Sender<Batch>, JoinHandle<Shard>) {
    let (to, from) = bounded::<Batch>(BATCHES_WAITING);
    let work = move || {
        let mut effects = Vec::new();
        from.iter().for_each(|batch| apply(&mut shard, &batch, &mut effects));
        shard
    };
    (to, std::thread::spawn(work))
}

/// Applies what concerns a shard; nobody hears the effects.
fn apply(shard: &mut Shard, mut batch: &[u8], effects: &mut Vec<Effect>) {
    while !batch.is_empty() {
        let frame = FrameRef::known(batch).expect("it was checked before it was put here");
        if shard.may_concern(&frame) {
            let body = frame.body().expect("it was decoded before it was put here");
            shard.apply(&frame, &body, effects);
            effects.clear();
        }
        batch = &batch[frame.bytes().len()..];
    }
}

#[cfg(test)]
mod tests;
